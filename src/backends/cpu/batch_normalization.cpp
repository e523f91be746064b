// MatrixBatchNormalization: statistics in one pass over memory (each tile is read twice, the second time from the
// cache), the result in a second (read x, write y).
// MatrixBatchNormalizationGradient: the sums in one pass (read dy and x), the data gradient in a second (read dy and x,
// write dx); f'(z) is computed in both, which is cheaper than keeping it.

#include "backends/cpu/column_normalization.hpp"
#include "backends/cpu/columns.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"

namespace metalloid::cpu {
void runSimd(const operations::MatrixBatchNormalization& operation, Context& context) {
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
      storeVector(computedMean, meanVector);
      storeVector(computedVariance, varianceVector);
      mean = computedMean;
      variance = computedVariance;
    } else {
      mean = floatVector(meanVector, context.scratch);
      variance = floatVector(varianceVector, context.scratch);
    }
    auto* const s = context.scratch.take<float>(count);
    computeScale(variance, operation.epsilon, count, s);
    const Columns columns{mean, s, floatVector(operation.gamma.vector(k), context.scratch),
                          floatVector(operation.beta.vector(k), context.scratch)};
    normalize(input, result, tiles, columns, operation.neuron, context.pool);
  }
}

void runSimd(const operations::MatrixBatchNormalizationGradient& operation, Context& context) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), input = operation.input.matrix(k);
    const std::size_t count = input.columns;
    Scratch& scratch = context.scratch;

    auto* const s = scratch.take<float>(count);
    computeScale(floatVector(operation.variance.vector(k), scratch), operation.epsilon, count, s);
    const Columns columns{floatVector(operation.mean.vector(k), scratch), s,
                          floatVector(operation.gamma.vector(k), scratch),
                          floatVector(operation.beta.vector(k), scratch)};

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
    storeVector(forGamma, operation.resultForGamma.vector(k));
    storeVector(forBeta, operation.resultForBeta.vector(k));
    gradientForData(gradient, input, operation.resultForData.matrix(k), tiles, columns, {scale, shift, slope},
                    operation.neuron, context.pool);
  }
}

}  // namespace metalloid::cpu
