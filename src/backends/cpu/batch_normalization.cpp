// MatrixBatchNormalization: statistics in one pass over memory (each tile is read twice, the second time from the
// cache), the result in a second (read x, write y).
// MatrixBatchNormalizationGradient: the sums in one pass (read dy and x), the data gradient in a second (read dy and x,
// write dx); f'(z) is computed in both, which is cheaper than keeping it.

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"
#include "math/neuron.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/batch_normalization.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/batch_normalization-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

/// Writes results of a range of columns in the vector's type, where it is wanted.
void store(const float* values, BlockRange range, const operations::VectorView& vector) {
  if (!vector) return;
  fromFloats(values + range.begin, range.size(), vector.type, vector.data + range.begin * sizeOfDataType(vector.type));
}

void runValue(const operations::MatrixBatchNormalization& operation, Context& context) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    const auto meanVector = operation.mean.vector(k), varianceVector = operation.variance.vector(k);
    const std::size_t count = input.columns;
    const Tiles tiles(input.rows, count, kColumnsPerTile);
    const float* mean = nullptr;
    const float* variance = nullptr;
    if (operation.computeStatistics) {
      ColumnMoments moments(tiles, count, context.scratch.take<double>(ColumnMoments::workspace(tiles, count)));
      moments.add(input, context.pool);
      auto* const computedMean = context.scratch.take<float>(count);
      auto* const computedVariance = context.scratch.take<float>(count);
      for (std::size_t j = 0; j < count; ++j) {
        computedMean[j] = static_cast<float>(moments.mean(j));
        computedVariance[j] = static_cast<float>(moments.variance(j));
      }
      store(computedMean, {0, count}, meanVector);
      store(computedVariance, {0, count}, varianceVector);
      mean = computedMean;
      variance = computedVariance;
    } else {
      mean = floats(meanVector, context.scratch);
      variance = floats(varianceVector, context.scratch);
    }
    auto* const s = context.scratch.take<float>(count);
    computeScale(variance, operation.epsilon, count, s);
    const Columns columns{mean, s, floats(operation.gamma.vector(k), context.scratch),
                          floats(operation.beta.vector(k), context.scratch)};
    normalize(input, result, tiles, columns, operation.neuron, context.pool);
  }
}

void runGradient(const operations::MatrixBatchNormalizationGradient& operation, Context& context) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), input = operation.input.matrix(k);
    const std::size_t count = input.columns;
    Scratch& scratch = context.scratch;

    auto* const s = scratch.take<float>(count);
    computeScale(floats(operation.variance.vector(k), scratch), operation.epsilon, count, s);
    const Columns columns{floats(operation.mean.vector(k), scratch), s, floats(operation.gamma.vector(k), scratch),
                          floats(operation.beta.vector(k), scratch)};

    const Tiles tiles(input.rows, count, kColumnsPerTile);
    GradientSums sums(tiles, count, scratch.take<double>(GradientSums::workspace(tiles, count)));
    sums.add(gradient, input, columns, operation.neuron, context.pool);

    auto* const forGamma = scratch.take<float>(count);
    auto* const forBeta = scratch.take<float>(count);
    auto* const scale = scratch.take<float>(count);
    auto* const shift = scratch.take<float>(count);
    auto* const slope = scratch.take<float>(count);
    const auto rows = static_cast<double>(input.rows);
    for (std::size_t j = 0; j < count; ++j) {
      forGamma[j] = static_cast<float>(sums.gXhat(j));
      forBeta[j] = static_cast<float>(sums.g(j));
      const double factor = static_cast<double>(columns.gamma ? columns.gamma[j] : 1.0F) * static_cast<double>(s[j]);
      scale[j] = static_cast<float>(factor);
      shift[j] = static_cast<float>(factor * sums.g(j) / rows);
      slope[j] = static_cast<float>(factor * sums.gXhat(j) / rows);
    }
    store(forGamma, {0, count}, operation.resultForGamma.vector(k));
    store(forBeta, {0, count}, operation.resultForBeta.vector(k));
    gradientForData(gradient, input, operation.resultForData.matrix(k), tiles, columns, {scale, shift, slope},
                    operation.neuron, context.pool);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runValue);
HWY_EXPORT(runGradient);

void runSimd(const operations::MatrixBatchNormalization& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runValue)(operation, context);
}

void runSimd(const operations::MatrixBatchNormalizationGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
