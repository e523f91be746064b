// CNNUpsampling: one pass (read the source, write the result); each result pixel is a weighted sum of one to four.
// CNNUpsamplingGradient: one pass as well, over the transposed weights.

#include "operations/cnn_upsampling.hpp"

#include "backends/cpu/axis_taps.hpp"
#include "backends/cpu/float_images.hpp"
#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_upsampling.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/pixel_taps-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

void sumTaps(const operations::ImageView& source, const AxisTaps& rows, const AxisTaps& columns,
             const operations::ImageView& result, ThreadPool& pool) {
  reducePixels<WeightedSum>(source, rows, columns, result, pool,
                            [](std::size_t, std::size_t, std::size_t, std::size_t) { return Unchanged(); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(sumTaps);

namespace {

/// What `outputs` pixels read of `source`.
AxisTaps tapsOf(const operations::UpsamplingAxis& axis, std::size_t outputs, std::size_t source) {
  AxisTaps result(outputs);
  for (std::size_t o = 0; o < outputs; ++o) {
    const auto taps = axis.taps(o, source);
    if (taps.weight != 1) result.add(taps.low, 1 - taps.weight);
    if (taps.weight != 0) result.add(taps.high, taps.weight);
    result.finishOutput();
  }
  return result;
}

}  // namespace

void runSimd(const operations::CNNUpsampling& operation, Context& context) {
  FloatImages images(context);
  const auto source = images.source(operation.source), result = images.result(operation.result);
  HWY_DYNAMIC_DISPATCH(sumTaps)
  (source, tapsOf(operation.y, result.height, source.height), tapsOf(operation.x, result.width, source.width), result,
   context.pool);
  images.finish();
}

void runSimd(const operations::CNNUpsamplingGradient& operation, Context& context) {
  FloatImages images(context);
  const auto gradient = images.source(operation.gradient), result = images.result(operation.result);
  HWY_DYNAMIC_DISPATCH(sumTaps)
  (gradient, tapsOf(operation.y, gradient.height, operation.sourceHeight).transposed(operation.resultY, result.height),
   tapsOf(operation.x, gradient.width, operation.sourceWidth).transposed(operation.resultX, result.width), result,
   context.pool);
  images.finish();
}

}  // namespace metalloid::cpu
#endif
