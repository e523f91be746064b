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

// --- Few channels a thread
// ----------------------------------------------------------------------------------------------

/// The largest of some channels of a window, and which of its taps that is: -1 where it is the 0 outside.
template <int kCount>
struct Largest {
  Channels<kCount> value{};
  int tap[kCount] = {};
  bool isEmpty = true;

  /// Without branches, behind which the next tap's load would wait.
  __device__ void take(const Channels<kCount>& x, int itsTap, bool isInside) {
#pragma unroll
    for (int c = 0; c < kCount; ++c) {
      const float candidate = x.value[c], best = value.value[c];
      const bool isFirstNaN = static_cast<bool>(isnan(candidate)) & !static_cast<bool>(isnan(best));
      const bool isTaken = isInside & (isEmpty | (candidate > best) | isFirstNaN);
      value.value[c] = isTaken ? candidate : best;
      tap[c] = isTaken ? itsTap : tap[c];
    }
    isEmpty = isEmpty & !isInside;
  }

  __device__ void takeOutside() {
#pragma unroll
    for (int c = 0; c < kCount; ++c) {
      if (!isEmpty && !(value.value[c] < 0)) continue;
      value.value[c] = 0;
      tap[c] = -1;
    }
  }
};

/// Windows of kTaps x kTaps, or of any size if that is 0, in 32-bit numbers.
template <int kCount, int kTaps>
struct SmallPool {
  Pool pool;

  __device__ int rows() const { return kTaps > 0 ? kTaps : static_cast<int>(pool.window.y.taps); }
  __device__ int columns() const { return kTaps > 0 ? kTaps : static_cast<int>(pool.window.x.taps); }

  __device__ static int position(const WindowAxis& axis, int output, int tap) {
    return static_cast<int>(axis.step) * output + static_cast<int>(axis.base) + static_cast<int>(axis.tapStep) * tap;
  }

  /// Calls f(tap, channels) for each tap that reads a pixel, in row-major order. Every tap loads one, so that none
  /// waits for another.
  /// @returns whether a tap reads the zero outside.
  template <class F>
  __device__ bool forEachTap(std::size_t n, int i, int j, std::size_t c, F&& f) const {
    constexpr int kUnroll = kTaps > 0 ? kTaps : 1;
    const Images& source = pool.source;
    const int height = static_cast<int>(source.height), width = static_cast<int>(source.width);
    const bool isClamped = pool.edgeMode == ImageEdgeMode::clamp && pool.type != PoolingType::average;
    const std::byte* const image = source.address(n, 0, 0, c);
    bool readsZero = false;
#pragma unroll kUnroll
    for (int q = 0; q < rows(); ++q) {
      const int y = position(pool.window.y, i, q), nearestY = min(max(y, 0), height - 1);
#pragma unroll kUnroll
      for (int p = 0; p < columns(); ++p) {
        const int x = position(pool.window.x, j, p), nearestX = min(max(x, 0), width - 1);
        const std::byte* const pixel = image + static_cast<std::size_t>(nearestY) * source.rowBytes +
                                       static_cast<std::size_t>(nearestX) * source.pixelBytes;
        const Channels<kCount> channels = *reinterpret_cast<const Channels<kCount>*>(pixel);
        const bool isInside = isClamped | ((y == nearestY) & (x == nearestX));
        f(q * columns() + p, channels, isInside);
        readsZero = readsZero | !isInside;
      }
    }
    return readsZero;
  }

  __device__ Largest<kCount> largest(std::size_t n, int i, int j, std::size_t c) const {
    Largest<kCount> best;
    const bool readsZero =
        forEachTap(n, i, j, c, [&](int tap, const Channels<kCount>& x, bool isInside) { best.take(x, tap, isInside); });
    if (readsZero) best.takeOutside();
    return best;
  }

  /// The average or the L2 norm.
  __device__ Channels<kCount> mean(std::size_t n, int i, int j, std::size_t c) const {
    double sum[kCount] = {};
    const bool isAverage = pool.type == PoolingType::average;
    forEachTap(n, i, j, c, [&](int, const Channels<kCount>& x, bool isInside) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        const double value = isInside ? double{x.value[k]} : 0;
        sum[k] += isAverage ? value : value * value;
      }
    });
    const double count = isAverage ? pool.divisor(i, j) : 1;
    Channels<kCount> result;
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      const double value = !isAverage ? sqrt(sum[k]) : count == 0 ? 0 : sum[k] / count;
      result.value[k] = static_cast<float>(value);
    }
    return result;
  }
};

bool isSmall(const WindowAxis& axis, std::size_t outputs, std::size_t size) {
  constexpr std::ptrdiff_t kLimit = std::ptrdiff_t{1} << 28;
  const auto fits = [](std::ptrdiff_t value) { return -kLimit < value && value < kLimit; };
  const auto count = static_cast<std::ptrdiff_t>(outputs), taps = static_cast<std::ptrdiff_t>(axis.taps);
  return fits(axis.base) && fits(axis.step) && fits(axis.tapStep) && fits(count) && fits(taps) &&
         fits(static_cast<std::ptrdiff_t>(size)) && fits(axis.step * count) && fits(axis.tapStep * taps);
}

/// What both directions refuse.
const char* refusesSmall(const Window& window, const ImageView& source, const ImageView& outputs) {
  if (source.type != DataType::float32 || outputs.type != DataType::float32) return "the images are not of float32";
  if (source.pixels() == 0) return "there are no pixels";
  const bool isWhole =
      isSmall(window.y, outputs.height, source.height) && isSmall(window.x, outputs.width, source.width);
  return isWhole ? nullptr : "a size is beyond 28 bits";
}

/// run(Channels a thread, taps of each axis or 0) as constants.
template <class Run>
void dispatchSmall(const Window& window, std::initializer_list<const ImageView*> views, const Run& run) {
  using std::integral_constant;
  const bool isPacked = std::all_of(views.begin(), views.end(), [](const ImageView* view) { return isInFours(*view); });
  if (!isPacked) {
    run(integral_constant<int, 1>{}, integral_constant<int, 0>{});
  } else if (window.x.taps == 2 && window.y.taps == 2) {
    run(integral_constant<int, 4>{}, integral_constant<int, 2>{});
  } else {
    run(integral_constant<int, 4>{}, integral_constant<int, 0>{});
  }
}

const char* refusesSmallPooling(const CNNPooling& o, const Context&) {
  return refusesSmall(o.window, o.source, o.result);
}

template <int kCount, int kTaps>
void poolSmall(const CNNPooling& o, Context& context) {
  const SmallPool<kCount, kTaps> small{poolOf(o, context)};
  const Images result = imagesOf(o.result, context);
  forEachChannels<kCount>(context, result, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const int row = static_cast<int>(i), column = static_cast<int>(j);
    *reinterpret_cast<Channels<kCount>*>(result.address(n, i, j, c)) =
        small.pool.type == PoolingType::max ? small.largest(n, row, column, c).value : small.mean(n, row, column, c);
  });
}

void runSmall(const CNNPooling& o, Context& context) {
  dispatchSmall(o.window, {&o.source, &o.result},
                [&](auto count, auto taps) { poolSmall<count.value, taps.value>(o, context); });
}

// --- Windows side by side
// ---------------------------------------------------------------------------------------------

/// One axis of windows that do not overlap, in 32-bit numbers: output o reads pixels first + step * o + [0, taps), and
/// writes all pixels of the result from there to the next window; the first and the last one also those at the ends.
struct SideBySide {
  int taps, step, first, outputs, size, resultFirst, resultEnd;

  struct Range {
    int begin, end;
  };
  __device__ Range pixels(int o) const {
    const int begin = first + step * o;
    return {o == 0 ? resultFirst : max(begin, resultFirst),
            o == outputs - 1 ? resultEnd : min(begin + step, resultEnd)};
  }

  /// Which tap of output o reads a pixel; -1: none.
  __device__ int tap(int o, int pixel) const {
    const int t = pixel - (first + step * o);
    return t >= 0 && t < taps && pixel < size ? t : -1;
  }
};

SideBySide sideBySide(const WindowAxis& axis, std::size_t outputs, std::size_t size, std::size_t resultFirst,
                      std::size_t resultSize) {
  // A window alone may be larger than the step to the next one, which there is not.
  const auto step = std::max(axis.step, static_cast<std::ptrdiff_t>(axis.taps));
  return {static_cast<int>(axis.taps),
          static_cast<int>(step),
          static_cast<int>(axis.base),
          static_cast<int>(outputs),
          static_cast<int>(size),
          static_cast<int>(resultFirst),
          static_cast<int>(resultFirst + resultSize)};
}

const char* refusesAxis(const WindowAxis& axis, std::size_t outputs, std::size_t size, std::size_t resultFirst,
                        std::size_t resultSize, bool isClamped) {
  constexpr std::size_t kLimit = std::size_t{1} << 28;
  constexpr std::ptrdiff_t kMostBetween = 64;  // that one thread shall write
  const auto count = static_cast<std::ptrdiff_t>(outputs), taps = static_cast<std::ptrdiff_t>(axis.taps);
  if (axis.tapStep != 1 && taps > 1) return "the windows have gaps";
  if (axis.step < taps && count > 1) return "the windows overlap";
  if (resultFirst >= kLimit || resultSize >= kLimit) return "a size is beyond 28 bits";
  const auto begin = static_cast<std::ptrdiff_t>(resultFirst), end = begin + static_cast<std::ptrdiff_t>(resultSize);
  const std::ptrdiff_t windowsEnd = axis.step * (count - 1) + axis.base + taps;
  if ((count > 1 && axis.step - taps > kMostBetween) || axis.base - begin > kMostBetween ||
      end - windowsEnd > kMostBetween) {
    return "there are more than 64 pixels between the windows, or beside them";
  }
  const bool isInside = axis.base >= 0 && windowsEnd <= static_cast<std::ptrdiff_t>(size);
  return isClamped && !isInside ? "windows reach over a clamped edge" : nullptr;
}

const char* refusesDisjoint(const CNNPoolingGradient& o, const Context&) {
  if (o.type == PoolingType::l2Norm) return "it is an L2 norm";
  if (o.result.type != DataType::float32) return "the images are not of float32";
  if (const char* reason = refusesSmall(o.window, o.source, o.gradient)) return reason;
  if (o.gradient.pixels() == 0) return "there are no windows";
  const bool isClamped = o.edgeMode == ImageEdgeMode::clamp && o.type == PoolingType::max;
  if (const char* reason =
          refusesAxis(o.window.y, o.gradient.height, o.source.height, o.resultY, o.result.height, isClamped)) {
    return reason;
  }
  return refusesAxis(o.window.x, o.gradient.width, o.source.width, o.resultX, o.result.width, isClamped);
}

/// A thread for each window: it reads the window once, and writes all of its pixels.
template <int kCount, int kTaps>
void spreadSmall(const CNNPoolingGradient& o, Context& context) {
  const SmallPool<kCount, kTaps> small{poolOf(o, context)};
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const SideBySide rows = sideBySide(o.window.y, o.gradient.height, o.source.height, o.resultY, o.result.height);
  const SideBySide columns = sideBySide(o.window.x, o.gradient.width, o.source.width, o.resultX, o.result.width);
  forEachChannels<kCount>(
      context, gradient, [=] __device__(std::size_t n, std::size_t row, std::size_t column, std::size_t c) {
        const int i = static_cast<int>(row), j = static_cast<int>(column);
        const bool isMax = small.pool.type == PoolingType::max;
        Channels<kCount> given = *reinterpret_cast<const Channels<kCount>*>(gradient.address(n, row, column, c));
        Largest<kCount> largest;
        if (isMax) {
          largest = small.largest(n, i, j, c);
        } else {
          const double count = small.pool.divisor(row, column);
#pragma unroll
          for (int k = 0; k < kCount; ++k) given.value[k] = static_cast<float>(double{given.value[k]} / count);
        }
        std::byte* const image = result.address(n, 0, 0, c);
        const SideBySide::Range ys = rows.pixels(i), xs = columns.pixels(j);
        for (int y = ys.begin; y < ys.end; ++y) {
          const int q = rows.tap(i, y);
          for (int x = xs.begin; x < xs.end; ++x) {
            const int p = columns.tap(j, x);
            const bool isRead = q >= 0 && p >= 0;
            const int tap = q * small.columns() + p;
            Channels<kCount> value;
#pragma unroll
            for (int k = 0; k < kCount; ++k)
              value.value[k] = isRead && (!isMax || largest.tap[k] == tap) ? given.value[k] : 0;
            std::byte* const pixel = image + static_cast<std::size_t>(y - rows.resultFirst) * result.rowBytes +
                                     static_cast<std::size_t>(x - columns.resultFirst) * result.pixelBytes;
            *reinterpret_cast<Channels<kCount>*>(pixel) = value;
          }
        }
      });
}

void runDisjoint(const CNNPoolingGradient& o, Context& context) {
  dispatchSmall(o.window, {&o.source, &o.gradient, &o.result},
                [&](auto count, auto taps) { spreadSmall<count.value, taps.value>(o, context); });
}

constexpr std::array<Candidate<CNNPooling>, 2> kCandidates = {
    {{"few channels a thread", refusesSmallPooling, runSmall}, {"plain", acceptsAll, runPlain}}};
constexpr std::array<Candidate<CNNPoolingGradient>, 2> kGradientCandidates = {
    {{"windows side by side", refusesDisjoint, runDisjoint}, {"plain", acceptsAll, runGradientPlain}}};

}  // namespace

void run(const CNNPooling& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const CNNPoolingGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
