#pragma once

#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <vector>

namespace metalloid {

class CNNConvolution;
class CNNConvolutionTranspose;

/// What a convolution leaves for its gradient, and where that puts the gradients for weights and biases: one for all
/// images of a batch. Source: MPSCNNConvolutionGradientState.
///
/// The first gradient encode sets the gradients, each later one adds to them, so that a batch may come in parts: make a
/// new state for every batch. A gradient encode does not count as a read of a temporary state; what consumes the
/// gradients, such as an optimizer's encode, does.
class CNNConvolutionGradientState : public NNGradientState {
 public:
  CNNConvolutionGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNConvolutionGradientState(const State& state);

  /// dL/dw, float32 in the order of the weights: [output channel][row][column][input channel of the group].
  Vector gradientForWeights() const;
  /// dL/db, float32, one for each output channel, also where the data source has no biases.
  Vector gradientForBiases() const;
  /// The order of `gradientForWeights`.
  CNNConvolutionWeightsLayout gradientForWeightsLayout() const { return CNNConvolutionWeightsLayout::OHWI; }
  /// The kernel that made the state, as it then was; a fully connected one as the convolution that it is. For the state
  /// of a transposed convolution the convolution that it is paired with. @throws Error (invalidArgument) when there is
  /// none.
  CNNConvolution convolution() const;
  std::size_t sourceWidth() const;   ///< Of the forward source.
  std::size_t sourceHeight() const;  ///< As above.

 protected:
  /// For derived handles.
  explicit CNNConvolutionGradientState(detail::Ref<detail::RefCounted> implementation)
      : NNGradientState(std::move(implementation)) {}
};

/// One for each image, all of them the same. Source: MPSCNNConvolutionGradientStateBatch.
using CNNConvolutionGradientStateBatch = std::vector<CNNConvolutionGradientState>;

/// The same of a transposed convolution. Source: MPSCNNConvolutionTransposeGradientState.
class CNNConvolutionTransposeGradientState : public CNNConvolutionGradientState {
 public:
  CNNConvolutionTransposeGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNConvolutionTransposeGradientState(const State& state);

  /// The kernel that made the state, as it then was.
  CNNConvolutionTranspose convolutionTranspose() const;

 protected:
  /// For derived handles.
  explicit CNNConvolutionTransposeGradientState(detail::Ref<detail::RefCounted> implementation)
      : CNNConvolutionGradientState(std::move(implementation)) {}
};

/// One for each image, all of them the same.
using CNNConvolutionTransposeGradientStateBatch = std::vector<CNNConvolutionTransposeGradientState>;

/// Weights and biases on their way to or from a convolution: float32, weights in the order
/// [output channel][row][column][input channel of the group], [output channel][row][column] for a depth-wise one.
/// Source: MPSCNNConvolutionWeightsAndBiasesState.
class CNNConvolutionWeightsAndBiasesState : public State {
 public:
  CNNConvolutionWeightsAndBiasesState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNConvolutionWeightsAndBiasesState(const State& state);

  /// All of existing buffers. @throws Error (invalidArgument) for nil weights, several devices, and lengths that are no
  /// multiple of 4.
  explicit CNNConvolutionWeightsAndBiasesState(const Buffer& weights, const Buffer& biases = {});

  /// With storage for the weights and biases of such a convolution, zero-filled. @throws Error (invalidArgument) for a
  /// nil device and a descriptor that no convolution can have.
  CNNConvolutionWeightsAndBiasesState(const Device& device, const CNNConvolutionDescriptor& cnnConvolutionDescriptor);

  /// Parts of existing buffers, which may be one and the same. Offsets count bytes and are multiples of 4.
  /// @throws Error (invalidArgument) as above, and when the parts reach beyond their buffers.
  CNNConvolutionWeightsAndBiasesState(const Buffer& weights, std::size_t weightsOffset, const Buffer& biases,
                                      std::size_t biasesOffset,
                                      const CNNConvolutionDescriptor& cnnConvolutionDescriptor);

  /// One that lives within the command buffer. @throws Error (invalidArgument) for a nil or committed command buffer
  /// and as above.
  static CNNConvolutionWeightsAndBiasesState temporaryCNNConvolutionWeightsAndBiasesState(
      CommandBuffer& commandBuffer, const CNNConvolutionDescriptor& cnnConvolutionDescriptor);

  Vector weights() const;             ///< The weights.
  Vector biases() const;              ///< The biases; nil where there are none.
  std::size_t weightsOffset() const;  ///< Bytes before the weights in their buffer.
  std::size_t biasesOffset() const;   ///< Bytes before the biases in their buffer; 0 where there are none.

 protected:
  /// For derived handles.
  explicit CNNConvolutionWeightsAndBiasesState(detail::Ref<detail::RefCounted> implementation)
      : State(std::move(implementation)) {}
};

}  // namespace metalloid
