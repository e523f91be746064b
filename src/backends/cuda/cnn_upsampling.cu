#include "operations/cnn_upsampling.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::CNNUpsampling;
using operations::CNNUpsamplingGradient;
using operations::UpsamplingAxis;

void runPlain(const CNNUpsampling& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const UpsamplingAxis alongX = o.x, alongY = o.y;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const auto rows = alongY.taps(i, source.height), columns = alongX.taps(j, source.width);
    double sum = 0;
    const auto add = [&](std::size_t y, std::size_t x, double weight) {
      if (weight != 0) sum += weight * at(source, n, y, x, c);
    };
    add(rows.low, columns.low, (1 - rows.weight) * (1 - columns.weight));
    if (alongY.isBilinear) {
      add(rows.low, columns.high, (1 - rows.weight) * columns.weight);
      add(rows.high, columns.low, rows.weight * (1 - columns.weight));
      add(rows.high, columns.high, rows.weight * columns.weight);
    }
    set(result, n, i, j, c, sum);
  });
}

/// Outputs `first` to `end - 1`: all that may read a source pixel, and a few more.
struct Readers {
  std::ptrdiff_t first, end;
};

__device__ Readers readersOf(const UpsamplingAxis& axis, std::size_t pixel, std::size_t size, std::size_t outputs) {
  const double n = static_cast<double>(size), s = static_cast<double>(axis.scale), p = static_cast<double>(pixel);
  // How far two outputs stand apart that read neighbours; a pixel is read within one of these on each side.
  const double step = axis.isBilinear && axis.alignCorners && n > 1 ? (n * s - 1) / (n - 1) : s;
  const auto count = static_cast<std::ptrdiff_t>(outputs);
  const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(floor((p - 1) * step - s)) - axis.first - 1;
  const std::ptrdiff_t end = static_cast<std::ptrdiff_t>(ceil((p + 1) * step + s)) - axis.first + 2;
  // Whatever lies beyond the source reads the pixels at its edges.
  return {pixel == 0 || first < 0 ? 0 : first, pixel + 1 == size || end > count ? count : end};
}

/// The share of a pixel in an output, along one axis.
__device__ double shareOf(const UpsamplingAxis& axis, std::size_t output, std::size_t pixel, std::size_t size) {
  const auto taps = axis.taps(output, size);
  if (!axis.isBilinear) return taps.low == pixel ? 1 : 0;
  return (taps.low == pixel ? 1 - taps.weight : 0) + (taps.high == pixel ? taps.weight : 0);
}

void runGradientPlain(const CNNUpsamplingGradient& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const UpsamplingAxis alongX = o.x, alongY = o.y;
  const std::size_t height = o.sourceHeight, width = o.sourceWidth, firstY = o.resultY, firstX = o.resultX;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    const std::size_t y = v + firstY, x = u + firstX;
    double sum = 0;
    if (y < height && x < width) {
      const Readers rows = readersOf(alongY, y, height, gradient.height);
      const Readers columns = readersOf(alongX, x, width, gradient.width);
      for (std::ptrdiff_t i = rows.first; i < rows.end; ++i) {
        const double share = shareOf(alongY, i, y, height);
        if (share == 0) continue;
        for (std::ptrdiff_t j = columns.first; j < columns.end; ++j) {
          const double weight = share * shareOf(alongX, j, x, width);
          if (weight != 0) sum += weight * at(gradient, n, i, j, c);
        }
      }
    }
    set(result, n, v, u, c, sum);
  });
}

}  // namespace

void run(const CNNUpsampling& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNUpsampling, runPlain>, operation, context, explainer);
}

void run(const CNNUpsamplingGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNUpsamplingGradient, runGradientPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
