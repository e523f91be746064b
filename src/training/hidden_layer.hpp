#pragma once

#include "training/network_options.hpp"
#include "training/parameter_arena.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_batch_normalization.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::training {

/// Mean and variance of each channel of a layer.
struct ChannelStatistics {
  Vector mean;
  Vector variance;
};

/// A hidden layer: its kernels, its parameters and what its forward pass leaves for its gradient.
///
///     z = x*W,  y = f(gamma * (z - mean)/sqrt(variance + epsilon) + beta)         with batch normalization
///     z = x*W,  y = f(z + b)                                                      without
///
/// The product has no bias of its own: before batch normalization it would have no effect, and otherwise the neuron's
/// kernels add it, and sum its gradient, in a pass that they make anyway. pReLU cannot be fused into batch
/// normalization and takes a pass of its own.
class HiddenLayer {
 public:
  struct Place {
    std::string name;  ///< For messages and tensors: "hidden.0".
    std::size_t inputs = 0;
    std::size_t units = 0;
    std::size_t maximumRows = 0;     ///< Largest batch.
    std::size_t firstParameter = 0;  ///< Index in the arena of the first of this layer's parameters.
  };

  /// The parameters that such a layer needs, in the order it expects them in the arena.
  static std::vector<ParameterArena::Request> parameters(const std::string& name, std::size_t inputs, std::size_t units,
                                                         const NetworkOptions& options);

  HiddenLayer(const Device& device, const NetworkOptions& options, const Place& place, const ParameterArena& arena);

  /// Where batch normalization keeps its statistics: those of the batch, and the running ones that evaluation uses.
  void setStatistics(const ChannelStatistics& batch, const ChannelStatistics& running);

  /// Records the forward pass over the rows of `input` and returns its output. `training` decides which statistics
  /// normalize.
  Matrix encodeForward(CommandBuffer& commandBuffer, const Matrix& input, bool training) const;

  /// Records the gradients of the parameters, given `gradient`, the gradient of the output, whose place it uses; and
  /// that of the input, unless `inputGradient` is nil.
  void encodeGradient(CommandBuffer& commandBuffer, const Matrix& gradient, const Matrix& input,
                      const Matrix& inputGradient) const;

  /// The gradient of the output, for the next layer to write.
  Matrix gradient(std::size_t rows) const;

  /// Sets gamma to 1 (everything else is 0 from the start, apart from the weights).
  void initialize() const;

  const std::string& name() const { return place_.name; }
  const Matrix& weights() const { return weights_; }
  std::size_t units() const { return place_.units; }

  /// The matrices of the last pass with their names, in the order of their making, for a search for wrong numbers.
  std::vector<std::pair<std::string, Matrix>> activations() const;

 private:
  bool separateNeuron() const { return !options_.batchNormalization || options_.neuron.type == CNNNeuronType::pReLU; }

  NetworkOptions options_;
  Place place_;

  Matrix weights_, weightGradient_;
  Vector gamma_, gammaGradient_;  // batch normalization only
  Vector bias_, biasGradient_;    // beta with batch normalization
  ChannelStatistics batch_, running_;

  Matrix product_;     // z
  Matrix normalized_;  // only where normalization and neuron are separate
  Matrix output_;      // y
  Matrix gradient_;    // of y, then of z

  MatrixFullyConnected multiply_;
  MatrixFullyConnectedGradient multiplyGradient_;
  MatrixBatchNormalization normalize_;
  MatrixBatchNormalizationGradient normalizeGradient_;
  MatrixNeuron neuron_;
  MatrixNeuronGradient neuronGradient_;
};

}  // namespace metalloid::training
