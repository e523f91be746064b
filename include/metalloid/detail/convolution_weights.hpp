#pragma once

#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/detail/handle.hpp>
#include <metalloid/device.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <memory>
#include <string_view>

namespace metalloid {
class Kernel;
}

namespace metalloid::detail {

class SettingsVisitor;

/// Shape, data source, and weights and biases on the device, which forward and gradient kernels of one layer may share:
/// float32, batch normalization folded in.
class ConvolutionWeights : public Handle {
 public:
  ConvolutionWeights() = default;
  /// Asks the data source. `className` is for messages. @throws Error (invalidArgument) for a nil data source or
  /// device, a shape that no convolution has, a load that fails, and arrays of another length.
  ConvolutionWeights(const Device& device, std::string_view className,
                     std::shared_ptr<CNNConvolutionDataSource> dataSource);

  const CNNConvolutionDescriptor& descriptor() const;
  const std::shared_ptr<CNNConvolutionDataSource>& dataSource() const;
  const Vector& weights() const;
  /// Nil when there are none.
  const Vector& biases() const;
  /// Groups as an operation counts them: as many as input channels when depth-wise.
  std::size_t operationGroups() const;

  /// A state that refers to the weights themselves: what is written to it is in use from then on.
  CNNConvolutionWeightsAndBiasesState state() const;

  void reloadFromDataSource() const;
  /// Records a copy, unless the state refers to the weights themselves.
  void reload(const Kernel& kernel, CommandBuffer& commandBuffer,
              const CNNConvolutionWeightsAndBiasesState& state) const;
  CNNConvolutionWeightsAndBiasesState exported(const Kernel& kernel, CommandBuffer& commandBuffer,
                                               bool canBeTemporary) const;

  /// Weights of its own, of the same values.
  ConvolutionWeights copy(const Device& device) const;

  /// Archives, compares, describes all but the neuron, which is `neuron` of what is read.
  void visit(SettingsVisitor& visitor, const Device& device, std::string_view className,
             const NNNeuronDescriptor& neuron = {});

 private:
  explicit ConvolutionWeights(Ref<RefCounted> implementation) : Handle(std::move(implementation)) {}
};

}  // namespace metalloid::detail
