// NNReduce, NNReduceWeighted, NNReductionSpatialMeanGradient: one pass over memory.

#include "operations/nn_reduce.hpp"

#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/nn_reduce.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/image_reduction-inl.hpp"
#include "backends/cpu/image_segments-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using operations::ImageView;
using operations::NNReduce;
using operations::NNReduceWeighted;
using operations::ReduceAxis;
using operations::ReduceType;

template <class Op>
void reduce(const NNReduce& operation, Context& context) {
  const ReducedAxes axes{.x = operation.axis == ReduceAxis::row || operation.axis == ReduceAxis::spatial,
                         .y = operation.axis == ReduceAxis::column || operation.axis == ReduceAxis::spatial,
                         .channels = operation.axis == ReduceAxis::featureChannels};
  const auto& source = operation.source;
  const std::size_t terms =
      (axes.x ? source.width : 1) * (axes.y ? source.height : 1) * (axes.channels ? source.channels : 1);
  const auto finish = [&](float* values, std::size_t count) {
    if (operation.type == ReduceType::sum) {
      for (std::size_t i = 0; i < count; ++i) values[i] *= operation.weight;
    } else if (operation.type == ReduceType::mean) {
      for (std::size_t i = 0; i < count; ++i) values[i] /= static_cast<float>(terms);
    }
  };
  const auto makeProducer = [&] {
    return [reader = SegmentReader(operation.source)](const Segment& s) mutable { return reader.read(s); };
  };
  reduceImages<Op>(source, axes, operation.result, makeProducer, finish, context);
}

/// Calls f(n, y, x) for all pixels, in the threads.
template <class F>
void forEachPixel(const ImageView& view, std::size_t valuesPerPixel, ThreadPool& pool, const F& f) {
  constexpr std::size_t kValuesPerTask = std::size_t{16} << 10;
  const std::size_t pixels = view.images * view.pixels();
  const std::size_t perTask = std::max<std::size_t>(1, kValuesPerTask / std::max<std::size_t>(valuesPerPixel, 1));
  pool.parallelForBlocks(BlockSplit(pixels, perTask), [&](BlockRange range) {
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const std::size_t row = i / view.width;
      f(row / view.height, row % view.height, i % view.width);
    }
  });
}

HWY_INLINE void storeOne(const ImageView& view, std::size_t n, std::size_t y, std::size_t x, float value) {
  fromFloats(&value, 1, view.type, view.pixel(n, y, x));
}

/// The first place of a value, or of a NaN, that is there.
HWY_INLINE std::size_t indexOf(float value, const float* values, std::size_t count) {
  const FloatTag d;
  const auto wanted = hn::Set(d, value);
  const bool isNaN = std::isnan(value);
  for (std::size_t j = 0; j < count; j += hn::Lanes(d)) {
    const auto some = loadSome(values + j, std::min(hn::Lanes(d), count - j));
    const auto place = hn::FindFirstTrue(d, isNaN ? hn::IsNaN(some) : hn::Eq(some, wanted));
    if (place >= 0) return j + static_cast<std::size_t>(place);
  }
  return 0;
}

/// The extreme first, then where it stands.
template <class Op>
void findExtreme(const NNReduce& operation, Context& context) {
  const auto& source = operation.source;
  const std::size_t size = sizeOfDataType(source.type);
  forEachPixel(operation.result, source.channels, context.pool, [&](std::size_t n, std::size_t y, std::size_t x) {
    alignas(64) float buffer[kSegment];
    float best = Op::kNeutral;
    std::size_t index = 0;
    bool isFirst = true;
    for (std::size_t c = 0; c < source.channels; c += kSegment) {
      const std::size_t count = std::min(kSegment, source.channels - c);
      const float* const values = floatsAt(source.pixel(n, y, x) + c * size, source.type, count, buffer);
      const float extreme = reduced<Op>(values, count);
      const float either = Op::applyToOne(best, extreme);
      const bool isBetter = std::isnan(either) ? !std::isnan(best) : either != best;
      if (!isFirst && !isBetter) continue;
      isFirst = false;
      best = extreme;
      index = c + indexOf(extreme, values, count);
    }
    storeOne(operation.result, n, y, x, static_cast<float>(index));
  });
}

void runReduce(const NNReduce& operation, Context& context) {
  switch (operation.type) {
    case ReduceType::minimum:
      return reduce<SmallestValue>(operation, context);
    case ReduceType::maximum:
      return reduce<LargestValue>(operation, context);
    case ReduceType::mean:
    case ReduceType::sum:
      return reduce<SumOfValues>(operation, context);
    case ReduceType::argumentMinimum:
      return findExtreme<SmallestValue>(operation, context);
    case ReduceType::argumentMaximum:
      return findExtreme<LargestValue>(operation, context);
  }
}

void runWeighted(const NNReduceWeighted& operation, Context& context) {
  using Divisor = NNReduceWeighted::Divisor;
  const auto& source = operation.source;
  const auto& weights = operation.weights;
  const std::size_t size = sizeOfDataType(source.type), weightSize = sizeOfDataType(weights.type);
  forEachPixel(operation.result, 2 * source.channels, context.pool, [&](std::size_t n, std::size_t y, std::size_t x) {
    const FloatTag d;
    alignas(64) float buffer[kSegment], weightBuffer[kSegment], products[kSegment];
    float sum = 0;
    std::size_t nonZero = 0;
    for (std::size_t c = 0; c < source.channels; c += kSegment) {
      const std::size_t count = std::min(kSegment, source.channels - c);
      const float* const values = floatsAt(source.pixel(n, y, x) + c * size, source.type, count, buffer);
      const float* const factors = floatsAt(weights.pixel(n, y, x) + c * weightSize, weights.type, count, weightBuffer);
      forEachVector(count, [&](std::size_t j, std::size_t k) HWY_ATTR {
        const auto factor = loadSome(factors + j, k);  // zeros behind the last
        nonZero += hn::CountTrue(d, hn::Not(hn::Eq(factor, hn::Zero(d))));
        storeSome(hn::Mul(loadSome(values + j, k), factor), products + j, k);
      });
      sum += reduced<SumOfValues>(products, count);
    }
    if (operation.divisor == Divisor::channels) sum /= static_cast<float>(source.channels);
    if (operation.divisor == Divisor::nonZeroWeights && nonZero > 0) sum /= static_cast<float>(nonZero);
    storeOne(operation.result, n, y, x, sum);
  });
}

void runMeanGradient(const operations::NNReductionSpatialMeanGradient& operation, Context& context) {
  const Segments segments(operation.result);
  context.pool.parallelForBlocks(BlockSplit(segments.count(), kSegmentsPerTask), [&](BlockRange range) {
    SegmentReader gradient(operation.gradient, {.x = 0, .y = 0, .channels = 1});
    SegmentWriter result(operation.result);
    const auto scale = hn::Set(FloatTag(), operation.scale);
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const Segment s = segments[i];
      const float* const from = gradient.read(s);
      float* const to = result.begin(s);
      forEachVector(s.count(), [&](std::size_t j, std::size_t n)
                                   HWY_ATTR { storeSome(hn::Mul(scale, loadSome(from + j, n)), to + j, n); });
      result.finish(s);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runReduce);
HWY_EXPORT(runWeighted);
HWY_EXPORT(runMeanGradient);

const char* refusesSimd(const operations::NNReduce& operation, const Context&) {
  const bool isArgument = operation.type == operations::ReduceType::argumentMinimum ||
                          operation.type == operations::ReduceType::argumentMaximum;
  return isArgument && operation.axis != operations::ReduceAxis::featureChannels ? "an argument that is no channel"
                                                                                 : nullptr;
}

void runSimd(const operations::NNReduce& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runReduce)(operation, context);
}
void runSimd(const operations::NNReduceWeighted& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runWeighted)(operation, context);
}
void runSimd(const operations::NNReductionSpatialMeanGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runMeanGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
