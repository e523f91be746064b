#include "operations/cnn_pooling.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/windows.cuh"

namespace metalloid::cuda {
namespace {

using operations::CNNPooling;
using operations::CNNPoolingGradient;
using operations::PoolingType;

/// A pooling over a source.
struct Pool {
  Images source;
  Window window;
  PoolingType type;
  ImageEdgeMode edgeMode;
  std::size_t zeroPadSizeX, zeroPadSizeY;

  /// Calls f(y, x) for each tap of output (i, j) that reads a pixel, in row-major order.
  /// @returns whether a tap reads the zero outside.
  template <class F>
  __device__ bool forEachTap(std::size_t i, std::size_t j, F&& f) const {
    const auto height = static_cast<std::ptrdiff_t>(source.height), width = static_cast<std::ptrdiff_t>(source.width);
    // An average counts what lies outside, it does not read it.
    const bool isClamped = edgeMode == ImageEdgeMode::clamp && type != PoolingType::average;
    bool readsZero = false;
    for (std::size_t q = 0; q < window.y.taps; ++q) {
      std::ptrdiff_t y = window.y.step * static_cast<std::ptrdiff_t>(i) + window.y.base +
                         window.y.tapStep * static_cast<std::ptrdiff_t>(q);
      if (isClamped) y = min(max(y, std::ptrdiff_t{0}), height - 1);
      for (std::size_t p = 0; p < window.x.taps; ++p) {
        std::ptrdiff_t x = window.x.step * static_cast<std::ptrdiff_t>(j) + window.x.base +
                           window.x.tapStep * static_cast<std::ptrdiff_t>(p);
        if (isClamped) x = min(max(x, std::ptrdiff_t{0}), width - 1);
        if (y >= 0 && y < height && x >= 0 && x < width) {
          f(static_cast<std::size_t>(y), static_cast<std::size_t>(x));
        } else {
          readsZero = true;
        }
      }
    }
    return readsZero;
  }

  /// The largest of a window, and where it stands: nowhere when it is the 0 outside.
  struct Largest {
    double value = 0;
    bool isInside = false;
    std::size_t y = 0, x = 0;
  };

  __device__ Largest largest(std::size_t n, std::size_t i, std::size_t j, std::size_t c) const {
    Largest best;
    const bool readsZero = forEachTap(i, j, [&](std::size_t y, std::size_t x) {
      const double value = at(source, n, y, x, c);
      if (best.isInside && !(value > best.value) && !(isnan(value) && !isnan(best.value))) return;
      best = {value, true, y, x};
    });
    return readsZero && (!best.isInside || best.value < 0) ? Largest{} : best;
  }

  __device__ double l2Norm(std::size_t n, std::size_t i, std::size_t j, std::size_t c) const {
    double sum = 0;
    forEachTap(i, j, [&](std::size_t y, std::size_t x) {
      const double value = at(source, n, y, x, c);
      sum += value * value;
    });
    return sqrt(sum);
  }

  __device__ double divisor(std::size_t i, std::size_t j) const {
    return static_cast<double>(operations::averageDivisor(window.y, i, source.height, edgeMode, zeroPadSizeY)) *
           static_cast<double>(operations::averageDivisor(window.x, j, source.width, edgeMode, zeroPadSizeX));
  }

  __device__ double average(std::size_t n, std::size_t i, std::size_t j, std::size_t c) const {
    double sum = 0;
    forEachTap(i, j, [&](std::size_t y, std::size_t x) { sum += at(source, n, y, x, c); });
    const double count = divisor(i, j);
    return count == 0 ? 0 : sum / count;
  }
};

template <class Operation>
Pool poolOf(const Operation& o, Context& context) {
  return {imagesOf(o.source, context), o.window, o.type, o.edgeMode, o.zeroPadSizeX, o.zeroPadSizeY};
}

void runPlain(const CNNPooling& o, Context& context) {
  const Pool pool = poolOf(o, context);
  const Images result = imagesOf(o.result, context);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    set(result, n, i, j, c,
        pool.type == PoolingType::max       ? pool.largest(n, i, j, c).value
        : pool.type == PoolingType::average ? pool.average(n, i, j, c)
                                            : pool.l2Norm(n, i, j, c));
  });
}

/// The gradient of one pixel: what each output that has read it gives.
struct PixelGradient {
  Pool pool;
  Images gradient;

  /// Windows whose largest is the pixel. They are looked at one by one: a window that meets the pixel with several
  /// taps, at a clamped edge, counts once.
  __device__ double ofMax(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    const Outputs rows = outputsOf(pool.window.y, positionsOf(y, pool.source.height, pool.edgeMode), gradient.height);
    const Outputs columns = outputsOf(pool.window.x, positionsOf(x, pool.source.width, pool.edgeMode), gradient.width);
    double sum = 0;
    for (std::ptrdiff_t i = rows.first; i <= rows.last; ++i) {
      for (std::ptrdiff_t j = columns.first; j <= columns.last; ++j) {
        const Pool::Largest largest = pool.largest(n, i, j, c);
        if (largest.isInside && largest.y == y && largest.x == x) sum += at(gradient, n, i, j, c);
      }
    }
    return sum;
  }

  /// Calls f(i, j) for every output and tap that reads the pixel.
  template <class F>
  __device__ void forEachReader(std::size_t y, std::size_t x, ImageEdgeMode edgeMode, F&& f) const {
    const ReversedWindow reversed{pool.window,       edgeMode,        pool.source.height,
                                  pool.source.width, gradient.height, gradient.width};
    reversed.forEachReader(y, x, [&](std::size_t, std::size_t, std::size_t i, std::size_t j) { f(i, j); });
  }

  __device__ double ofAverage(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    double sum = 0;
    forEachReader(y, x, ImageEdgeMode::zero,
                  [&](std::size_t i, std::size_t j) { sum += at(gradient, n, i, j, c) / pool.divisor(i, j); });
    return sum;
  }

  __device__ double ofL2Norm(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    const double value = at(pool.source, n, y, x, c);
    double sum = 0;
    forEachReader(y, x, pool.edgeMode, [&](std::size_t i, std::size_t j) {
      const double norm = pool.l2Norm(n, i, j, c);
      if (norm != 0) sum += at(gradient, n, i, j, c) * value / norm;
    });
    return sum;
  }
};

void runGradientPlain(const CNNPoolingGradient& o, Context& context) {
  const PixelGradient pixel{poolOf(o, context), imagesOf(o.gradient, context)};
  const Images result = imagesOf(o.result, context);
  const std::size_t firstY = o.resultY, firstX = o.resultX;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    const std::size_t y = v + firstY, x = u + firstX;
    const Images& source = pixel.pool.source;
    double sum = 0;
    if (y < source.height && x < source.width) {  // beyond the source nothing was read
      sum = pixel.pool.type == PoolingType::max       ? pixel.ofMax(n, y, x, c)
            : pixel.pool.type == PoolingType::average ? pixel.ofAverage(n, y, x, c)
                                                      : pixel.ofL2Norm(n, y, x, c);
    }
    set(result, n, v, u, c, sum);
  });
}

// --- Windows side by side
// ---------------------------------------------------------------------------------------------

/// One axis of windows that do not overlap, in 32-bit numbers: output o reads pixels first + step * o + [0, taps).
struct SideBySide {
  int taps, step, first, outputs, size, resultFirst;

  /// The output that reads a pixel of the result, or -1.
  __device__ int output(int pixel) const {
    const int distance = pixel - first;
    if (distance < 0) return -1;
    const int o = distance / step;
    return o < outputs && distance - o * step < taps ? o : -1;
  }
};

struct DisjointMaxGradient {
  Images source, gradient;
  SideBySide y, x;

  /// What the window gives one of its pixels: all of its gradient if the pixel is the first that is largest.
  __device__ float at(std::size_t n, int pixelY, int pixelX, std::size_t c) const {
    const int i = y.output(pixelY), j = x.output(pixelX);
    if (i < 0 || j < 0) return 0;
    const int top = y.first + i * y.step, left = x.first + j * x.step;
    float best = 0;
    int bestY = -1, bestX = -1;
    bool readsZero = false;
    for (int v = top; v < top + y.taps; ++v) {
      for (int u = left; u < left + x.taps; ++u) {
        if (v < 0 || v >= y.size || u < 0 || u >= x.size) {
          readsZero = true;
          continue;
        }
        const float value = *reinterpret_cast<const float*>(source.address(n, v, u, c));
        if (bestY >= 0 && !(value > best) && !(isnan(value) && !isnan(best))) continue;
        best = value;
        bestY = v;
        bestX = u;
      }
    }
    if (bestY != pixelY || bestX != pixelX || (readsZero && best < 0)) return 0;
    return *reinterpret_cast<const float*>(gradient.address(n, i, j, c));
  }
};

SideBySide sideBySide(const WindowAxis& axis, std::size_t outputs, std::size_t size, std::size_t resultFirst) {
  // A window alone may be larger than the step to the next one, which there is not.
  const auto step = std::max(axis.step, static_cast<std::ptrdiff_t>(axis.taps));
  return {static_cast<int>(axis.taps), static_cast<int>(step), static_cast<int>(axis.base),
          static_cast<int>(outputs),   static_cast<int>(size), static_cast<int>(resultFirst)};
}

const char* refusesAxis(const WindowAxis& axis, std::size_t outputs, std::size_t size, std::size_t results,
                        ImageEdgeMode edgeMode) {
  constexpr std::ptrdiff_t kLimit = std::ptrdiff_t{1} << 28;
  const auto count = static_cast<std::ptrdiff_t>(outputs), taps = static_cast<std::ptrdiff_t>(axis.taps);
  const auto pixels = static_cast<std::ptrdiff_t>(size);
  if (axis.tapStep != 1 && axis.taps > 1) return "the windows have gaps";
  if (axis.step < taps && outputs > 1) return "the windows overlap";
  if (axis.step * count >= kLimit || taps >= kLimit || axis.base <= -kLimit || axis.base >= kLimit ||
      pixels >= kLimit || static_cast<std::ptrdiff_t>(results) >= kLimit) {
    return "a size is beyond 28 bits";
  }
  const bool isInside = axis.base >= 0 && axis.step * (count - 1) + axis.base + taps <= pixels;
  return edgeMode == ImageEdgeMode::clamp && !isInside ? "windows reach over a clamped edge" : nullptr;
}

const char* refusesDisjoint(const CNNPoolingGradient& o, const Context&) {
  if (o.type != PoolingType::max) return "it is no maximum";
  for (const ImageView* view : {&o.gradient, &o.source, &o.result}) {
    if (view->type != DataType::float32) return "the images are not of float32";
  }
  if (const char* reason =
          refusesAxis(o.window.y, o.gradient.height, o.source.height, o.resultY + o.result.height, o.edgeMode)) {
    return reason;
  }
  return refusesAxis(o.window.x, o.gradient.width, o.source.width, o.resultX + o.result.width, o.edgeMode);
}

void runDisjoint(const CNNPoolingGradient& o, Context& context) {
  const DisjointMaxGradient pixel{imagesOf(o.source, context), imagesOf(o.gradient, context),
                                  sideBySide(o.window.y, o.gradient.height, o.source.height, o.resultY),
                                  sideBySide(o.window.x, o.gradient.width, o.source.width, o.resultX)};
  const Images result = imagesOf(o.result, context);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    *reinterpret_cast<float*>(result.address(n, v, u, c)) =
        pixel.at(n, static_cast<int>(v) + pixel.y.resultFirst, static_cast<int>(u) + pixel.x.resultFirst, c);
  });
}

constexpr std::array<Candidate<CNNPoolingGradient>, 2> kGradientCandidates = {
    {{"windows side by side", refusesDisjoint, runDisjoint}, {"plain", acceptsAll, runGradientPlain}}};

}  // namespace

void run(const CNNPooling& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNPooling, runPlain>, operation, context, explainer);
}

void run(const CNNPoolingGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
