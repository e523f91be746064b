#pragma once

#include "training/layer_sources.hpp"
#include "training/model.hpp"
#include "training/network_graphs.hpp"

#include <metalloid/matrix_softmax_cross_entropy.hpp>
#include <metalloid/nn_graph.hpp>

#include <optional>

namespace metalloid::training {

/// A network of described layers, on graphs of image kernels. One graph trains; another, made when it is first wanted,
/// evaluates, and takes over the parameters after training steps.
class GraphModel final : public Model {
 public:
  /// @throws Error (malformedFile) for a description that is wrong, (invalidArgument) for one that does not fit the
  /// options' inputs and classes.
  GraphModel(const Device& device, const TrainingOptions& options, std::size_t maximumRows);

  const Device& device() const override { return context_.device; }
  const NetworkOptions& options() const override { return options_; }
  std::size_t maximumRows() const override { return logits_.numberOfImages(); }
  std::size_t minimumRows() const override;
  std::size_t parameters() const override { return network_.parameters(); }
  BatchLayout batchLayout() const override { return {.image = network_.input(), .classes = options_.classes}; }

  void initialize(const CommandQueue& queue, std::uint32_t seed) override;
  void encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results,
                          float learningRate) override;
  void encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) override;

  std::vector<NamedTensor> tensors() const override;
  void assign(const std::vector<NamedTensor>& tensors) override;
  std::vector<NamedTensor> state() const override;
  void restore(const Checkpoint& checkpoint, std::uint64_t images) override;
  std::vector<std::pair<std::string, std::vector<float>>> intermediates() const override;

  // For looking at the graphs.
  NNGraph& trainingGraph();
  NNGraph& inferenceGraph();

 private:
  GraphParts parts() const;
  std::vector<TrainedTensor*> trainedTensors() const;
  void begin(std::uint64_t images);
  void encodeLoss(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results, float smoothing);

  TrainingContext context_;
  NetworkOptions options_;
  LayeredNetwork network_;
  float labelSmoothing_;
  std::uint32_t seed_;
  std::uint64_t images_ = 0;                           // that the training graph has been encoded for
  std::vector<std::shared_ptr<LayerSource>> sources_;  // of the layers
  Image logits_;
  Matrix logitRows_;  // the same, one image a row
  std::shared_ptr<ImageAllocator> logitsAllocator_;
  MatrixSoftMaxCrossEntropy loss_;
  std::optional<NNGraph> training_, inference_;
  bool inferenceIsStale_ = false;
};

}  // namespace metalloid::training
