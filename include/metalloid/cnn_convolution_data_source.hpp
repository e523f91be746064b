#pragma once

#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/data_type.hpp>
#include <metalloid/device.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace metalloid {

/// Where a convolution has its shape, weights and biases from, and who trains them. Source:
/// MPSCNNConvolutionDataSource.
///
/// Kernels and graphs call it from whatever thread makes or encodes them; one that several graphs share may be called
/// from several threads at once.
class CNNConvolutionDataSource {
 public:
  virtual ~CNNConvolutionDataSource() = default;

  /// The type of the weights: float32, float16 or uInt8.
  virtual DataType dataType() const = 0;
  /// The shape. Also asked for without a `load`.
  virtual CNNConvolutionDescriptor descriptor() const = 0;
  /// The weights [output channel][row][column][input channel of the group], the last index fastest; their number is
  /// outputFeatureChannels * kernelHeight * kernelWidth * inputFeatureChannels / groups, or without the last factors
  /// for a depth-wise convolution. Valid from `load` to `purge`.
  virtual std::span<const std::byte> weights() = 0;
  /// One for each output channel; empty: none, which is the same as zeros that are never trained.
  virtual std::span<const float> biasTerms() = 0;
  /// Called before weights are read. False: the kernel that wanted them throws.
  virtual bool load() = 0;
  /// Called once after each successful `load`.
  virtual void purge() = 0;
  /// The label of kernels made with it.
  virtual std::string label() const = 0;

  /// uInt8, linear: lower and upper bound for each output channel, weight = u / 255 * (upper - lower) + lower.
  virtual std::span<const std::array<float, 2>> rangesForUInt8Kernel() { return {}; }
  /// uInt8, lookupTable: 256 numbers, weight = table[u].
  virtual std::span<const float> lookupTableForUInt8Kernel() { return {}; }
  /// Which of these.
  virtual CNNWeightsQuantizationType weightsQuantizationType() const { return CNNWeightsQuantizationType::none; }
  /// The order of the weights.
  virtual CNNConvolutionWeightsLayout weightsLayout() const { return CNNConvolutionWeightsLayout::OHWI; }
  /// The precision in which a kernel may keep the weights. They are kept in float32 whatever it says.
  virtual DataType kernelWeightsDataType() const { return DataType::float32; }

  /// Training on the device: records the update of the weights and returns the new ones; nil leaves them as they are.
  /// `sourceState` holds the weights in use, to be updated from it and not from a copy of one's own. Returned after an
  /// update in place, it costs no copy. Whoever overrides this consumes both states: an optimizer's encode does.
  virtual CNNConvolutionWeightsAndBiasesState update(CommandBuffer& commandBuffer,
                                                     const CNNConvolutionGradientState& gradientState,
                                                     const CNNConvolutionWeightsAndBiasesState& sourceState);
  /// Training on the host: takes the gradients, changes the weights that `weights` gives, and returns whether it did;
  /// kernels then load them. The work that fills the states has been done.
  virtual bool update(const CNNConvolutionGradientState& gradientState,
                      const CNNConvolutionWeightsAndBiasesState& sourceState);

  /// The data source of a kernel's copy for `device`; nil: the same one.
  virtual std::shared_ptr<CNNConvolutionDataSource> copy(const Device& device);
};

}  // namespace metalloid
