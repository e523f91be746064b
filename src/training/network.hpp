#pragma once

#include "training/batch.hpp"
#include "training/hidden_layer.hpp"
#include "training/network_options.hpp"
#include "training/parameter_arena.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_softmax_cross_entropy.hpp>
#include <metalloid/matrix_sum.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::training {

/// A network on a device: parameters, activations and the kernels of a training step, all of it allocated once.
///
/// The loss of a batch is the mean cross entropy; the loss kernel therefore weighs each sample with 1/rows, and so are
/// the losses it writes: multiply by the batch's rows for the sample's own.
class Network {
 public:
  /// @throws Error (invalidArgument) for impossible options. `maximumRows` is the largest batch.
  Network(const Device& device, const NetworkOptions& options, std::size_t maximumRows);

  const NetworkOptions& options() const { return options_; }
  const Device& device() const { return device_; }
  std::size_t maximumRows() const { return maximumRows_; }

  /// Weights of hidden layers from a normal distribution of variance 2/inputs (neurons that pass half of their inputs)
  /// or 1/inputs, those of the output layer 1/inputs; gamma 1; the rest 0. Layer i draws from the Philox stream with
  /// the key (seed, i + 1). Waits for the device.
  void initialize(const CommandQueue& queue, std::uint32_t seed);

  /// Records a forward pass with the batch's own statistics, the loss, and the gradients of all parameters; updates the
  /// running statistics.
  void encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) const;

  /// Records a forward pass with the running statistics. Without labels there must be no losses and no correct.
  void encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) const;

  /// Share of the label that is spread over all classes in training; evaluation does not smooth.
  float labelSmoothing = 0;

  const ParameterArena& parameters() const { return arena_; }

  /// Two rows, the running means and the running variances of all layers; nil without batch normalization.
  const Matrix& runningStatistics() const { return runningStatistics_; }

  /// A tensor that belongs to the trained network: a parameter, or a running mean or variance.
  struct Tensor {
    std::string name;
    std::vector<std::size_t> shape;
    Matrix matrix;  ///< Of one row for vectors.
  };
  std::vector<Tensor> tensors() const;

  /// What the last training step has made, in the order of its making and with names for messages.
  std::vector<std::pair<std::string, Matrix>> intermediates() const;

 private:
  Matrix encodeForward(CommandBuffer& commandBuffer, const Matrix& inputs, bool training) const;
  void encodeRunningStatistics(CommandBuffer& commandBuffer) const;
  void makeStatistics();

  Device device_;
  NetworkOptions options_;
  std::size_t maximumRows_;
  ParameterArena arena_;
  std::vector<HiddenLayer> layers_;

  Matrix outputWeights_, outputWeightGradient_;
  Vector outputBias_, outputBiasGradient_;
  Matrix logits_, logitGradient_;
  MatrixFullyConnected multiply_;
  MatrixFullyConnectedGradient multiplyGradient_;
  MatrixSoftMaxCrossEntropy loss_;

  // Row 0 holds means, row 1 variances, the layers side by side: one kernel updates all running statistics.
  Matrix batchStatistics_;
  Matrix runningStatistics_;
  std::optional<MatrixSum> mix_;
  Vector mixScales_;  // 1 - momentum, momentum
};

}  // namespace metalloid::training
