#include "operations/cnn_softmax.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/softmax_pixel.cuh"

namespace metalloid::cuda {
namespace {

using operations::CNNSoftMax;
using operations::CNNSoftMaxGradient;

void runPixels(const CNNSoftMax& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const bool isLogarithm = o.isLogarithm;
  forEachPixel(context, source, [=] __device__(std::size_t n, std::size_t y, std::size_t x, unsigned lane) {
    const SoftMaxPixel pixel = softMaxPixel(source, n, y, x, lane);
    const double logarithm = log(pixel.sum);
    for (std::size_t c = lane; c < source.channels; c += 32) {
      const double shifted = at(source, n, y, x, c) - pixel.maximum;
      set(result, n, y, x, c, isLogarithm ? shifted - logarithm : exp(shifted) / pixel.sum);
    }
  });
}

void runGradientPixels(const CNNSoftMaxGradient& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), output = imagesOf(o.forwardResult, context);
  const Images result = imagesOf(o.result, context);
  const bool isLogarithm = o.isLogarithm;
  forEachPixel(context, gradient, [=] __device__(std::size_t n, std::size_t y, std::size_t x, unsigned lane) {
    double sum = 0;
    for (std::size_t c = lane; c < gradient.channels; c += 32) {
      sum += at(gradient, n, y, x, c) * (isLogarithm ? 1 : at(output, n, y, x, c));
    }
    sum = warpSum(sum);
    for (std::size_t c = lane; c < gradient.channels; c += 32) {
      const double g = at(gradient, n, y, x, c), s = at(output, n, y, x, c);
      set(result, n, y, x, c, isLogarithm ? g - exp(s) * sum : s * (g - sum));
    }
  });
}

constexpr std::array<Candidate<CNNSoftMax>, 1> kCandidates = {{{"warp a pixel", acceptsAll, runPixels}}};
constexpr std::array<Candidate<CNNSoftMaxGradient>, 1> kGradientCandidates = {
    {{"warp a pixel", acceptsAll, runGradientPixels}}};

}  // namespace

void run(const CNNSoftMax& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const CNNSoftMaxGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
