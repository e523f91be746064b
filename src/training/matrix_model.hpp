#pragma once

#include "training/model.hpp"
#include "training/network.hpp"
#include "training/optimizer.hpp"

namespace metalloid::training {

/// The built-in network of fully connected layers, on matrix kernels.
class MatrixModel final : public Model {
 public:
  MatrixModel(const Device& device, const TrainingOptions& options, std::size_t maximumRows);

  const Device& device() const override { return network_.device(); }
  const NetworkOptions& options() const override { return network_.options(); }
  std::size_t maximumRows() const override { return network_.maximumRows(); }
  std::size_t minimumRows() const override;
  std::size_t parameters() const override { return network_.parameters().trainedElements(); }
  BatchLayout batchLayout() const override { return {.image = {1, 1, options().inputs}}; }

  void initialize(const CommandQueue& queue, std::uint32_t seed) override;
  void encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results,
                          float learningRate) override;
  void encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) override;

  std::vector<NamedTensor> tensors() const override;
  void assign(const std::vector<NamedTensor>& tensors) override;
  std::vector<NamedTensor> state() const override;
  void restore(const Checkpoint& checkpoint, std::uint64_t images) override;
  std::vector<std::pair<std::string, std::vector<float>>> intermediates() const override;

 private:
  Network network_;
  ParameterOptimizer optimizer_;
};

}  // namespace metalloid::training
