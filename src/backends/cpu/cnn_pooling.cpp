// CNNPooling: one pass (read the source, write the result).
// CNNPoolingGradient:
//   average: one pass (read the gradient, write the result).
//   max: one pass (read source and gradient, write the result); the largest of each window is found again.
//   L2 norm: two passes (read source and gradient, write their quotient; read quotient and source, write the result).

#include "operations/cnn_pooling.hpp"

#include "backends/cpu/axis_taps.hpp"
#include "backends/cpu/float_images.hpp"
#include "backends/cpu/kernels.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_pooling.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/pixel_taps-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

/// The zero outside against the largest inside.
struct NotBelowZero {
  bool readsZero;
  HWY_INLINE FloatVector operator()(FloatVector largest, std::size_t, std::size_t) const {
    const auto zero = hn::Zero(FloatTag());
    return readsZero ? hn::IfThenElse(hn::Lt(largest, zero), zero, largest) : largest;
  }
};

struct DividedBy {
  float divisor;
  HWY_INLINE FloatVector operator()(FloatVector sum, std::size_t, std::size_t) const {
    return hn::Div(sum, hn::Set(FloatTag(), divisor));
  }
};

struct Root {
  HWY_INLINE FloatVector operator()(FloatVector sum, std::size_t, std::size_t) const { return hn::Sqrt(sum); }
};

/// gradient / root, 0 where that is 0
struct GradientByRoot {
  const float* gradient;
  HWY_INLINE FloatVector operator()(FloatVector sum, std::size_t j, std::size_t lanes) const {
    const auto zero = hn::Zero(FloatTag());
    return hn::IfThenElse(hn::Eq(sum, zero), zero, hn::Div(loadSome(gradient + j, lanes), hn::Sqrt(sum)));
  }
};

struct TimesPixel {
  const float* pixel;
  HWY_INLINE FloatVector operator()(FloatVector sum, std::size_t j, std::size_t lanes) const {
    return hn::Mul(sum, loadSome(pixel + j, lanes));
  }
};

const float* floatsAt(const ImageView& view, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
  return reinterpret_cast<const float*>(view.pixel(n, y, x)) + c;
}

/// The images are float32; `rows` and `columns` are what the windows read.
void runForward(const operations::CNNPooling& operation, const AxisTaps& rows, const AxisTaps& columns,
                ThreadPool& pool) {
  const auto& source = operation.source;
  switch (operation.type) {
    case operations::PoolingType::max: {
      const bool isZeroOutside = operation.edgeMode == ImageEdgeMode::zero;
      reducePixels<Largest>(source, rows, columns, operation.result, pool,
                            [&](std::size_t, std::size_t y, std::size_t x, std::size_t) {
                              return NotBelowZero{isZeroOutside && (rows.readsOutside(y) || columns.readsOutside(x))};
                            });
      return;
    }
    case operations::PoolingType::average: {
      const auto divisors = [&](const operations::WindowAxis& axis, std::size_t outputs, std::size_t size,
                                std::size_t zeroPad) {
        std::vector<float> values(outputs);
        for (std::size_t o = 0; o < outputs; ++o)
          values[o] = static_cast<float>(operations::averageDivisor(axis, o, size, operation.edgeMode, zeroPad));
        return values;
      };
      const auto y = divisors(operation.window.y, rows.outputs(), source.height, operation.zeroPadSizeY);
      const auto x = divisors(operation.window.x, columns.outputs(), source.width, operation.zeroPadSizeX);
      reducePixels<WeightedSum>(
          source, rows, columns, operation.result, pool,
          [&](std::size_t, std::size_t i, std::size_t j, std::size_t) { return DividedBy{y[i] * x[j]}; });
      return;
    }
    default:
      reducePixels<SquareSum>(source, rows, columns, operation.result, pool,
                              [](std::size_t, std::size_t, std::size_t, std::size_t) { return Root(); });
  }
}

/// One window of a max gradient, and where it may write.
struct WindowTarget {
  const std::byte* source;  // of the image, at the first channel
  std::byte* result;        // as above
  std::span<const AxisTap> rows;
  std::span<const AxisTap> columns;
  bool readsZero;         // outside
  BlockRange resultRows;  // to be written
};

/// Gives the gradients of one window to its largest pixels: `kVectors` (1 or 2) vectors from channel j on. `kIsOnly`:
/// no other window reads these pixels, which have no value yet.
template <int kVectors, bool kIsOnly>
HWY_INLINE void giveToLargest(const operations::CNNPoolingGradient& operation, const WindowTarget& window,
                              const float* gradient, std::size_t j, std::size_t lanes) {
  const FloatTag d;
  const auto load = [&](const float* from, std::size_t v)
                        HWY_ATTR { return kVectors == 1 ? loadSome(from, lanes) : hn::LoadU(d, from + v * lanes); };
  // Taps are counted in floats, exact up to 2^24.
  const auto one = hn::Set(d, 1.0F);
  auto tap = hn::Zero(d);
  auto largest0 = tap, largest1 = tap, where0 = hn::Set(d, -1.0F), where1 = where0;
  bool isFirst = true;
  for (const AxisTap& y : window.rows) {
    const std::byte* const row = window.source + y.position * operation.source.rowBytes;
    for (const AxisTap& x : window.columns) {
      const float* const pixel = reinterpret_cast<const float*>(row + x.position * operation.source.pixelBytes) + j;
      const auto take = [&](FloatVector value, FloatVector& largest, FloatVector& where) HWY_ATTR {
        if (isFirst) {
          largest = value;
          where = tap;
          return;
        }
        const auto larger = isLarger(value, largest);
        largest = hn::IfThenElse(larger, value, largest);
        where = hn::IfThenElse(larger, tap, where);
      };
      take(load(pixel, 0), largest0, where0);
      if constexpr (kVectors > 1) take(load(pixel, 1), largest1, where1);
      tap = hn::Add(tap, one);
      isFirst = false;
    }
  }
  if (window.readsZero) {
    const auto zero = hn::Zero(d), nowhere = hn::Set(d, -1.0F);
    where0 = hn::IfThenElse(hn::Lt(largest0, zero), nowhere, where0);
    where1 = hn::IfThenElse(hn::Lt(largest1, zero), nowhere, where1);
  }
  const auto g0 = load(gradient + j, 0);
  auto g1 = g0;
  if constexpr (kVectors > 1) g1 = load(gradient + j, 1);
  tap = hn::Zero(d);
  for (const AxisTap& y : window.rows) {
    const std::size_t v = y.position - operation.resultY;  // wraps for what lies before the result
    const bool isRow = v >= window.resultRows.begin && v < window.resultRows.end;
    std::byte* const row = window.result + (isRow ? v * operation.result.rowBytes : 0);
    for (const AxisTap& x : window.columns) {
      const std::size_t u = x.position - operation.resultX;
      if (isRow && u < operation.result.width) {
        float* const to = reinterpret_cast<float*>(row + u * operation.result.pixelBytes) + j;
        const auto give = [&](FloatVector where, FloatVector g, float* place) HWY_ATTR {
          const auto given = hn::IfThenElseZero(hn::Eq(where, tap), g);
          storeSome(kIsOnly ? given : hn::Add(loadSome(place, lanes), given), place, lanes);
        };
        give(where0, g0, to);
        if constexpr (kVectors > 1) give(where1, g1, to + lanes);
      }
      tap = hn::Add(tap, one);
    }
  }
}

template <bool kIsOnly>
void giveToLargest(const operations::CNNPoolingGradient& operation, const WindowTarget& window, const float* gradient,
                   std::size_t channels) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  std::size_t j = 0;
  for (; j + 2 * lanes <= channels; j += 2 * lanes) giveToLargest<2, kIsOnly>(operation, window, gradient, j, lanes);
  for (; j < channels; j += lanes)
    giveToLargest<1, kIsOnly>(operation, window, gradient, j, std::min(lanes, channels - j));
}

/// Rows `rows` of one image of the result, some of its channels. Windows come in the order of rows, so that each pixel
/// gets its gradients in an order that does not depend on how the work is cut.
template <bool kIsOnly>
void giveRows(const operations::CNNPoolingGradient& operation, const AxisTaps& windowRows,
              const AxisTaps& windowColumns, bool coversAll, std::size_t n, BlockRange rows, BlockRange channels) {
  const auto& result = operation.result;
  const bool isZeroOutside = operation.edgeMode == ImageEdgeMode::zero;
  const std::size_t firstRow = operation.resultY + rows.begin, endRow = operation.resultY + rows.end;
  std::size_t cleared = rows.begin;
  const auto clearTo = [&](std::size_t end) {
    if (coversAll) return;
    for (; cleared < end; ++cleared) {
      for (std::size_t x = 0; x < result.width; ++x) {
        std::memset(reinterpret_cast<float*>(result.pixel(n, cleared, x)) + channels.begin, 0,
                    channels.size() * sizeof(float));
      }
    }
  };
  WindowTarget window{.source = operation.source.image(n) + channels.begin * sizeof(float),
                      .result = result.image(n) + channels.begin * sizeof(float),
                      .rows = {},
                      .columns = {},
                      .readsZero = false,
                      .resultRows = rows};
  for (std::size_t i = 0; i < operation.gradient.height; ++i) {
    window.rows = windowRows[i];
    if (window.rows.empty() || window.rows.back().position < firstRow) continue;
    if (window.rows.front().position >= endRow) break;
    clearTo(std::min(window.rows.back().position + 1, endRow) - operation.resultY);
    for (std::size_t k = 0; k < operation.gradient.width; ++k) {
      window.columns = windowColumns[k];
      window.readsZero = isZeroOutside && (windowRows.readsOutside(i) || windowColumns.readsOutside(k));
      giveToLargest<kIsOnly>(operation, window, floatsAt(operation.gradient, n, i, k, channels.begin), channels.size());
    }
  }
  clearTo(rows.end);
}

void runMaxGradient(const operations::CNNPoolingGradient& operation, const AxisTaps& windowRows,
                    const AxisTaps& windowColumns, ThreadPool& pool) {
  const auto& result = operation.result;
  if (result.pixels() == 0) return;
  const AxisTaps byRow = windowRows.transposed(operation.resultY, result.height);
  const AxisTaps byColumn = windowColumns.transposed(operation.resultX, result.width);
  const bool isOnly = byRow.most() <= 1 && byColumn.most() <= 1;
  const bool coversAll = isOnly && byRow.fewest() == 1 && byColumn.fewest() == 1;
  // Bands of rows where there are few images; windows that reach into two of them are looked at twice.
  constexpr std::size_t kTasks = 64, kRows = 8;
  const BlockSplit segments(result.channels, kChannelsAtOnce);
  const std::size_t bands = std::clamp<std::size_t>(kTasks / (result.images * segments.count()), 1,
                                                    std::max<std::size_t>(result.height / kRows, 1));
  const BlockSplit split = BlockSplit::inAtMost(bands, result.height);
  const std::size_t perImage = split.count() * segments.count();
  pool.parallelFor(result.images * perImage, [&](std::size_t index) {
    const std::size_t n = index / perImage;
    const BlockRange rows = split[index % perImage / segments.count()], channels = segments[index % segments.count()];
    const auto give = isOnly ? giveRows<true> : giveRows<false>;
    give(operation, windowRows, windowColumns, coversAll, n, rows, channels);
  });
}

/// As above; `quotient` is scratch of the size of the gradient for an L2 norm.
void runGradient(const operations::CNNPoolingGradient& operation, const AxisTaps& rows, const AxisTaps& columns,
                 const ImageView& quotient, ThreadPool& pool) {
  const auto& result = operation.result;
  if (operation.type == operations::PoolingType::max) {
    runMaxGradient(operation, rows, columns, pool);
    return;
  }
  const AxisTaps byRow = rows.transposed(operation.resultY, result.height);
  const AxisTaps byColumn = columns.transposed(operation.resultX, result.width);
  if (operation.type == operations::PoolingType::average) {
    reducePixels<WeightedSum>(operation.gradient, byRow, byColumn, result, pool,
                              [](std::size_t, std::size_t, std::size_t, std::size_t) { return Unchanged(); });
    return;
  }
  reducePixels<SquareSum>(operation.source, rows, columns, quotient, pool,
                          [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
                            return GradientByRoot{floatsAt(operation.gradient, n, y, x, c)};
                          });
  reducePixels<WeightedSum>(
      quotient, byRow, byColumn, result, pool, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
        return TimesPixel{floatsAt(operation.source, n, y + operation.resultY, x + operation.resultX, c)};
      });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runForward);
HWY_EXPORT(runGradient);

namespace {

/// Whether taps outside of the source read the nearest pixel; an average counts what lies outside, it does not read it.
template <class Operation>
bool readsNearest(const Operation& operation) {
  return operation.edgeMode == ImageEdgeMode::clamp && operation.type != operations::PoolingType::average;
}

/// The positions that each window reads. `weightOf(o)` is that of one tap.
template <class WeightOf>
AxisTaps tapsOf(const operations::WindowAxis& axis, std::size_t outputs, std::size_t source, bool isClamped,
                const WeightOf& weightOf) {
  AxisTaps result(outputs);
  const auto n = static_cast<std::ptrdiff_t>(source), taps = static_cast<std::ptrdiff_t>(axis.taps);
  const auto tapsBelow = [&](std::ptrdiff_t distance) {  // whole steps that stay below it
    return distance <= 0 ? 0 : std::min(taps, (distance + axis.tapStep - 1) / axis.tapStep);
  };
  for (std::size_t o = 0; o < outputs; ++o) {
    const std::ptrdiff_t first = axis.step * static_cast<std::ptrdiff_t>(o) + axis.base;
    const std::ptrdiff_t begin = tapsBelow(-first), end = std::max(tapsBelow(n - first), begin);
    const double weight = weightOf(o);
    const auto repeat = [&](std::size_t position, std::ptrdiff_t times) {
      if (isClamped && times > 0) result.add(position, weight * static_cast<double>(times));
    };
    repeat(0, begin);
    for (std::ptrdiff_t t = begin; t < end; ++t) result.add(static_cast<std::size_t>(first + axis.tapStep * t), weight);
    repeat(source - 1, taps - end);
    result.finishOutput(begin > 0 || end < taps);
  }
  return result;
}

std::size_t mostTaps(const operations::WindowAxis& axis, std::size_t source) { return std::min(axis.taps, source); }

template <class Operation>
const char* refusesWindows(const Operation& operation, std::size_t outputRows, std::size_t outputColumns) {
  constexpr std::size_t kMost = std::size_t{1} << 24;  // counted in floats, and listed for each axis
  const std::size_t rows = mostTaps(operation.window.y, operation.source.height),
                    columns = mostTaps(operation.window.x, operation.source.width);
  const auto isMore = [](std::size_t a, std::size_t b) { return b > 0 && a > kMost / b; };
  return isMore(rows, columns) || isMore(rows, outputRows) || isMore(columns, outputColumns)
             ? "windows of more than 2^24 pixels"
             : nullptr;
}

}  // namespace

const char* refusesSimd(const operations::CNNPooling& operation, const Context&) {
  return refusesWindows(operation, operation.result.height, operation.result.width);
}

void runSimd(const operations::CNNPooling& operation, Context& context) {
  FloatImages images(context);
  auto inFloats = operation;
  inFloats.source = images.source(operation.source);
  inFloats.result = images.result(operation.result);
  const auto one = [](std::size_t) { return 1.0; };
  const bool nearest = readsNearest(operation);
  const auto rows = tapsOf(operation.window.y, operation.result.height, operation.source.height, nearest, one);
  const auto columns = tapsOf(operation.window.x, operation.result.width, operation.source.width, nearest, one);
  HWY_DYNAMIC_DISPATCH(runForward)(inFloats, rows, columns, context.pool);
  images.finish();
}

const char* refusesSimd(const operations::CNNPoolingGradient& operation, const Context&) {
  return refusesWindows(operation, operation.gradient.height, operation.gradient.width);
}

void runSimd(const operations::CNNPoolingGradient& operation, Context& context) {
  using operations::PoolingType;
  FloatImages images(context);
  auto inFloats = operation;
  inFloats.gradient = images.source(operation.gradient);
  if (operation.type != PoolingType::average) inFloats.source = images.source(operation.source);
  inFloats.result = images.result(operation.result);
  const auto along = [&](const operations::WindowAxis& axis, std::size_t outputs, std::size_t size,
                         std::size_t zeroPad) {
    return tapsOf(axis, outputs, size, readsNearest(operation), [&, zeroPad, size](std::size_t o) {
      if (operation.type != PoolingType::average) return 1.0;
      const auto divisor = operations::averageDivisor(axis, o, size, operation.edgeMode, zeroPad);
      return 1.0 / static_cast<double>(std::max<std::ptrdiff_t>(divisor, 1));
    });
  };
  const auto rows =
      along(operation.window.y, operation.gradient.height, operation.source.height, operation.zeroPadSizeY);
  const auto columns =
      along(operation.window.x, operation.gradient.width, operation.source.width, operation.zeroPadSizeX);
  const auto quotient = operation.type == PoolingType::l2Norm ? images.scratch(operation.gradient) : operation.gradient;
  HWY_DYNAMIC_DISPATCH(runGradient)(inFloats, rows, columns, quotient, context.pool);
  images.finish();
}

}  // namespace metalloid::cpu
#endif
