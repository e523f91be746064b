// Sums and extremes over axes of images, in an order that depends on the sizes alone.

#if defined(METALLOID_CPU_IMAGE_REDUCTION_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_IMAGE_REDUCTION_INL
#undef METALLOID_CPU_IMAGE_REDUCTION_INL
#else
#define METALLOID_CPU_IMAGE_REDUCTION_INL
#endif

#include "backends/cpu/image_segments-inl.hpp"
#include "backends/cpu/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

struct SumOfValues {
  static constexpr float kNeutral = 0;
  static HWY_INLINE FloatVector apply(FloatVector a, FloatVector b) { return hn::Add(a, b); }
  static float applyToOne(float a, float b) { return a + b; }
  static HWY_INLINE float ofLanes(FloatVector a) { return hn::GetLane(hn::SumOfLanes(FloatTag(), a)); }
};

/// Of equal values the first stays; a NaN wins.
struct SmallestValue {
  static constexpr float kNeutral = std::numeric_limits<float>::infinity();
  static HWY_INLINE FloatVector apply(FloatVector a, FloatVector b) {
    return hn::IfThenElse(hn::Or(hn::Lt(b, a), hn::IsNaN(b)), b, a);
  }
  static float applyToOne(float a, float b) { return b < a || std::isnan(b) ? b : a; }
  static HWY_INLINE float ofLanes(FloatVector a) {
    const FloatTag d;
    if (!hn::AllFalse(d, hn::IsNaN(a))) return std::numeric_limits<float>::quiet_NaN();
    return hn::GetLane(hn::MinOfLanes(d, a));
  }
};
struct LargestValue {
  static constexpr float kNeutral = -std::numeric_limits<float>::infinity();
  static HWY_INLINE FloatVector apply(FloatVector a, FloatVector b) {
    return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a);
  }
  static float applyToOne(float a, float b) { return b > a || std::isnan(b) ? b : a; }
  static HWY_INLINE float ofLanes(FloatVector a) {
    const FloatTag d;
    if (!hn::AllFalse(d, hn::IsNaN(a))) return std::numeric_limits<float>::quiet_NaN();
    return hn::GetLane(hn::MaxOfLanes(d, a));
  }
};

/// Of `count` values.
template <class Op>
HWY_INLINE float reduced(const float* values, std::size_t count) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const auto neutral = hn::Set(d, Op::kNeutral);
  auto a = neutral, b = neutral;
  std::size_t j = 0;
  for (; j + 2 * lanes <= count; j += 2 * lanes) {
    a = Op::apply(a, hn::LoadU(d, values + j));
    b = Op::apply(b, hn::LoadU(d, values + j + lanes));
  }
  for (; j < count; j += lanes) {
    const std::size_t rest = std::min(lanes, count - j);
    a = Op::apply(a, hn::IfThenElse(hn::FirstN(d, rest), loadSome(values + j, rest), neutral));
  }
  return Op::ofLanes(Op::apply(a, b));
}

/// result[j] = op(result[j], values[j], values[j + step], …): `rows` of them
template <class Op>
HWY_INLINE void reduceRows(const float* values, std::size_t rows, std::size_t step, std::size_t count, float* result) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    auto one = loadSome(values + j, n);
    for (std::size_t r = 1; r < rows; ++r) one = Op::apply(one, loadSome(values + r * step + j, n));
    storeSome(Op::apply(loadSome(result + j, n), one), result + j, n);
  });
}

/// The axes over which values are taken together: each has one element in the result.
struct ReducedAxes {
  bool x = false;
  bool y = false;
  bool channels = false;
};

/// One segment into what stands for its row of results: `values` has an element for each pixel and channel kept.
template <class Op>
HWY_INLINE void reduceSegment(const float* source, const Segment& s, ReducedAxes axes, std::size_t channels,
                              float* values) {
  const std::size_t pixels = s.pixels.size(), count = s.channels.size();
  if (axes.channels && axes.x) {
    values[0] = Op::applyToOne(values[0], reduced<Op>(source, s.count()));
  } else if (axes.channels) {
    for (std::size_t x = 0; x < pixels; ++x) {
      float& value = values[s.pixels.begin + x];
      value = Op::applyToOne(value, reduced<Op>(source + x * count, count));
    }
  } else if (axes.x) {
    reduceRows<Op>(source, pixels, count, count, values + s.channels.begin);
  } else {
    reduceRows<Op>(source, 1, 0, s.count(), values + s.pixels.begin * channels + s.channels.begin);
  }
}

/// A row of results, packed as float32, to its place.
HWY_INLINE void storeRow(const operations::ImageView& view, std::size_t image, std::size_t y, const float* values) {
  if (view.pixelBytes == view.channels * sizeOfDataType(view.type)) {
    fromFloats(values, view.width * view.channels, view.type, view.pixel(image, y, 0));
    return;
  }
  for (std::size_t x = 0; x < view.width; ++x)
    fromFloats(values + x * view.channels, view.channels, view.type, view.pixel(image, y, x));
}

/// result = finish(op over `axes` of the values of `shape`'s size). Each thread takes them from a producer of its own,
/// `makeProducer()(segment)`; `finish(values, count)` has the last word on a row of results.
///
/// A row of results comes from one row of values, or, when y is reduced, from several blocks of rows, each with partial
/// results of its own, which are then taken together from top to bottom.
template <class Op, class MakeProducer, class Finish>
void reduceImages(const operations::ImageView& shape, ReducedAxes axes, const operations::ImageView& result,
                  const MakeProducer& makeProducer, const Finish& finish, Context& context) {
  constexpr std::size_t kMostBlocks = 32;                // enough for many threads; few enough to take together quickly
  constexpr std::size_t kFewest = std::size_t{8} << 10;  // values that are worth a block
  const std::size_t rowLength = result.width * result.channels;
  if (result.images * result.height * rowLength == 0) return;
  const std::size_t values = std::max<std::size_t>(shape.width * shape.channels, 1);
  const std::size_t blockRows =
      axes.y ? std::max((shape.height + kMostBlocks - 1) / kMostBlocks, (kFewest + values - 1) / values) : 1;
  const BlockSplit blocks(axes.y ? shape.height : 1, blockRows);
  const std::size_t count = blocks.count(), rows = result.images * result.height;
  float* const partials = context.scratch.take<float>(rows * count * rowLength);
  const Segments segments(shape);
  const auto complete = [&](std::size_t row) {
    float* const first = partials + row * count * rowLength;
    finish(first, rowLength);
    storeRow(result, row / result.height, row % result.height, first);
  };
  // Small rows go to a thread together.
  const std::size_t perTask = std::max<std::size_t>(1, kFewest / (values * std::min(blockRows, shape.height)));
  context.pool.parallelForBlocks(BlockSplit(rows * count, perTask), [&](BlockRange range) {
    auto produce = makeProducer();
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const std::size_t row = i / count;
      float* const partial = partials + i * rowLength;
      std::fill_n(partial, rowLength, Op::kNeutral);
      const BlockRange block = blocks[i % count];
      for (std::size_t k = block.begin; k < block.end; ++k) {
        const std::size_t y = axes.y ? k : row % result.height;
        for (std::size_t within = 0; within < segments.perRow(); ++within) {
          const Segment s = segments.at(row / result.height, y, within);
          reduceSegment<Op>(produce(s), s, axes, shape.channels, partial);
        }
      }
      if (count == 1) complete(row);
    }
  });
  if (count == 1) return;
  const BlockSplit columns(rowLength, 4096);
  context.pool.parallelFor(rows * columns.count(), [&](std::size_t index) {
    const BlockRange part = columns[index % columns.count()];
    float* const first = partials + index / columns.count() * count * rowLength + part.begin;
    reduceRows<Op>(first + rowLength, count - 1, rowLength, part.size(), first);
  });
  context.pool.parallelFor(rows, complete);
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
