// Each kernel takes one pass over memory. A batch in one block is one matrix, a row for each pixel; others are one for
// each image or row of pixels, in order.

#include "operations/cnn_batch_normalization.hpp"

#include "backends/cpu/column_normalization.hpp"
#include "backends/cpu/image_matrices.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"

namespace metalloid::cpu {
namespace {

const float* floatsOf(const operations::VectorView& vector) { return reinterpret_cast<const float*>(vector.data); }
float* mutableFloatsOf(const operations::VectorView& vector) { return reinterpret_cast<float*>(vector.data); }

/// Rows of a tile whose sums are kept for themselves, at least: fewer make more to add up than they are themselves.
constexpr std::size_t kFewestSummedRows = 16;

/// What the kernels but the first know of each channel.
template <class Operation>
Columns columnsOf(const Operation& operation, Context& context) {
  const std::size_t channels = operation.source.channels;
  auto* const s = context.scratch.take<float>(channels);
  computeScale(floatsOf(operation.variance), operation.epsilon, channels, s);
  return {floatsOf(operation.mean), s, floatsOf(operation.gamma), floatsOf(operation.beta), floatsOf(operation.slopes)};
}

}  // namespace

void runSimd(const operations::CNNBatchNormalizationStatistics& operation, Context& context) {
  const std::size_t channels = operation.source.channels;
  const auto parts = partsOf(operation.source);
  const Tiles tiles(rowsOf(parts), channels, kColumnsPerTile, kFewestSummedRows);
  ColumnMoments moments(tiles, channels, context.scratch.take<double>(ColumnMoments::workspace(tiles, channels)));
  auto* const mean = mutableFloatsOf(operation.mean);
  auto* const variance = mutableFloatsOf(operation.variance);
  if (operation.previousCount > 0) moments.begin(static_cast<double>(operation.previousCount), mean, variance);
  for (const auto& [source] : parts) moments.add(source, context.pool);
  moments.store(mean, variance);
}

void runSimd(const operations::CNNBatchNormalization& operation, Context& context) {
  const auto parts = partsOf(operation.source, operation.result);
  const Tiles tiles(rowsOf(parts), operation.source.channels, kColumnsPerTile);
  const Columns columns = columnsOf(operation, context);
  for (const auto& [source, result] : parts) normalize(source, result, tiles, columns, operation.neuron, context.pool);
}

void runSimd(const operations::CNNBatchNormalizationStatisticsGradient& operation, Context& context) {
  const std::size_t channels = operation.source.channels;
  const auto parts = partsOf(operation.gradient, operation.source);
  const Tiles tiles(rowsOf(parts), channels, kColumnsPerTile, kFewestSummedRows);
  const Columns columns = columnsOf(operation, context);
  GradientSums sums(tiles, channels, context.scratch.take<double>(GradientSums::workspace(tiles, channels)));
  for (const auto& [gradient, source] : parts) sums.add(gradient, source, columns, operation.neuron, context.pool);
  auto* const forGamma = mutableFloatsOf(operation.resultForGamma);
  auto* const forBeta = mutableFloatsOf(operation.resultForBeta);
  for (std::size_t c = 0; c < channels; ++c) {
    const double gamma = operation.accumulates ? static_cast<double>(forGamma[c]) : 0;
    const double beta = operation.accumulates ? static_cast<double>(forBeta[c]) : 0;
    forGamma[c] = static_cast<float>(gamma + sums.gXhat(c));
    forBeta[c] = static_cast<float>(beta + sums.g(c));
  }
}

void runSimd(const operations::CNNBatchNormalizationGradient& operation, Context& context) {
  const std::size_t channels = operation.source.channels;
  const auto parts = partsOf(operation.gradient, operation.source, operation.result);
  const Tiles tiles(rowsOf(parts), channels, kColumnsPerTile);
  const Columns columns = columnsOf(operation, context);
  auto* const scale = context.scratch.take<float>(channels);
  auto* const shift = context.scratch.take<float>(channels);
  auto* const slope = context.scratch.take<float>(channels);
  const float* const forGamma = floatsOf(operation.gradientForGamma);
  const float* const forBeta = floatsOf(operation.gradientForBeta);
  const double share = operation.count > 0 ? 1 / static_cast<double>(operation.count) : 0;
  for (std::size_t c = 0; c < channels; ++c) {
    const double factor =
        static_cast<double>(columns.gamma ? columns.gamma[c] : 1.0F) * static_cast<double>(columns.s[c]);
    scale[c] = static_cast<float>(factor);
    shift[c] = operation.count > 0 ? static_cast<float>(factor * share * static_cast<double>(forBeta[c])) : 0;
    slope[c] = operation.count > 0 ? static_cast<float>(factor * share * static_cast<double>(forGamma[c])) : 0;
  }
  for (const auto& [gradient, source, result] : parts) {
    gradientForData(gradient, source, result, tiles, columns, {scale, shift, slope}, operation.neuron, context.pool);
  }
}

}  // namespace metalloid::cpu
