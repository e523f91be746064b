#pragma once

#include "graph/graph_kernel.hpp"

#include <metalloid/cnn_batch_normalization.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace metalloid::detail {

/// Statistics, if they are wanted, then the normalization.
class BatchNormalizationKernel final : public GraphKernel {
 public:
  BatchNormalizationKernel(CNNBatchNormalization normalization, bool calculatesStatistics)
      : normalization_(std::move(normalization)),
        statistics_(normalization_.device()),
        calculatesStatistics_(calculatesStatistics) {
    statistics_.label = normalization_.label;
  }

  CNNBatchNormalization& kernel() override { return normalization_; }
  void encode(CommandBuffer& commandBuffer, const ImageOperands& operands) override {
    ImageOperands withState = operands;
    State made;
    if (calculatesStatistics_) {
      if (operands.destinationStates.empty()) {
        // Statistics always, but nobody reads the state: one for this encode.
        made = normalization_.temporaryResultState(commandBuffer, {.sourceImage = operands.sources[0].front(),
                                                                   .destinationImage = operands.destinations.front(),
                                                                   .batchSize = operands.sources[0].size()});
        made.setReadCount(2);
        withState.destinationStates.assign(operands.sources[0].size(), made);
      }
      statistics_.encodeBatch(
          commandBuffer, {.sourceImages = operands.sources[0],
                          .batchNormalizationState = CNNBatchNormalizationState(withState.destinationStates.front())});
    }
    CNNBatchNormalization::BatchArguments arguments{.sourceImages = operands.sources[0],
                                                    .destinationImages = operands.destinations};
    if (!withState.destinationStates.empty())
      arguments.batchNormalizationState = CNNBatchNormalizationState(withState.destinationStates.front());
    normalization_.encodeBatch(commandBuffer, arguments);
    if (made && made.readCount() > 0) made.setReadCount(0);
  }
  void archive(Archiver& archiver) override;
  void reload() override {
    normalization_.reloadGammaAndBetaFromDataSource();
    normalization_.reloadMeanAndVarianceFromDataSource();
  }

 private:
  CNNBatchNormalization normalization_;
  CNNBatchNormalizationStatistics statistics_;
  bool calculatesStatistics_;
};

/// The gradients of scale and shift, then that of the source.
class BatchNormalizationGradientKernel final : public GraphKernel {
 public:
  BatchNormalizationGradientKernel(const Device& device, const NNNeuronDescriptor& neuron,
                                   CNNBatchNormalization forward)
      : statisticsGradient_(device, neuron), gradient_(device, neuron), forward_(std::move(forward)) {}
  /// Of an archive: there is no data source to train.
  BatchNormalizationGradientKernel(CNNBatchNormalizationStatisticsGradient statisticsGradient,
                                   CNNBatchNormalizationGradient gradient)
      : statisticsGradient_(std::move(statisticsGradient)), gradient_(std::move(gradient)) {}

  CNNBatchNormalizationGradient& kernel() override { return gradient_; }
  void encode(CommandBuffer& commandBuffer, const ImageOperands& operands) override {
    const CNNBatchNormalizationState state(operands.sourceStates.front());
    statisticsGradient_.encodeBatch(commandBuffer, {.sourceGradients = operands.sources[0],
                                                    .sourceImages = operands.sources[1],
                                                    .batchNormalizationState = state});
    if (operands.destinations.empty()) return;  // only the parameters are trained
    gradient_.encodeBatch(commandBuffer, {.sourceGradients = operands.sources[0],
                                          .sourceImages = operands.sources[1],
                                          .batchNormalizationState = state,
                                          .destinationGradients = operands.destinations});
  }
  bool canSkipResult() const override { return true; }
  void archive(Archiver& archiver) override {
    gradient_.encode(archiver);
    statisticsGradient_.encode(archiver);
  }

  // The forward kernel of the graph has the same parameters on the device.

  void update(CommandBuffer& commandBuffer, const StateBatch& states) override {
    if (!forward_) return;
    const CNNBatchNormalizationState state(states.front());
    if (const auto updated = forward_->dataSource()->updateGammaAndBeta(commandBuffer, state))
      forward_->reloadGammaAndBeta(commandBuffer, updated);
    if (const auto updated = forward_->dataSource()->updateMeanAndVariance(commandBuffer, state))
      forward_->reloadMeanAndVariance(commandBuffer, updated);
  }
  void updateOnHost(const StateBatch& states) override {
    if (!forward_) return;
    const CNNBatchNormalizationState state(states.front());
    if (forward_->dataSource()->updateGammaAndBeta(state)) forward_->reloadGammaAndBetaFromDataSource();
    if (forward_->dataSource()->updateMeanAndVariance(state)) forward_->reloadMeanAndVarianceFromDataSource();
  }

 private:
  CNNBatchNormalizationStatisticsGradient statisticsGradient_;
  CNNBatchNormalizationGradient gradient_;
  std::optional<CNNBatchNormalization> forward_;
};

}  // namespace metalloid::detail
