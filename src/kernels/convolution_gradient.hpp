#pragma once

#include "kernels/convolution_state.hpp"
#include "kernels/encoding.hpp"
#include "operations/window.hpp"

#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/cnn_kernel.hpp>
#include <metalloid/detail/convolution_weights.hpp>

#include <cstddef>
#include <string>
#include <string_view>

/// What convolutions, transposed and fully connected ones share.
namespace metalloid::detail {

KernelShape shapeOf(const CNNConvolutionDescriptor& descriptor);

/// @throws Error (invalidArgument) unless a PReLU has a slope for each channel.
void requireSlopes(const NeuronSettings& neuron, std::size_t channels, const std::string& kernel);

/// Pixels, far beyond any image; @throws Error (invalidArgument) for offsets whose windows no integer could count.
void requireReach(const Encoding& encoding, std::string_view role, std::ptrdiff_t x, std::ptrdiff_t y);

/// Zero, or clamp unless strides enlarge.
void requireEdgeMode(const Encoding& encoding, ImageEdgeMode edgeMode, bool enlarges);

/// The channels of the source that a convolution reads. @throws Error (invalidArgument) when there are too few.
operations::ImageView convolutionSource(Encoding& encoding, Encoding::ImageOperand& source, std::size_t firstChannel,
                                        std::size_t available, std::size_t needed);

/// @throws Error (invalidArgument) for neurons, batch normalization and sub-pixels, which the gradient does not know.
void requireDifferentiable(const CNNConvolutionDescriptor& descriptor, std::string_view kernel);

/// `ConvolutionWeights::visit` for a gradient kernel.
void visitDifferentiable(SettingsVisitor& visitor, ConvolutionWeights& weights, const Device& device,
                         std::string_view className);

/// Whether no offset, clip rectangle or channel offset has been set.
bool isUnconfigured(const CNNGradientKernel& kernel);

/// Channels, edge mode and clip rectangle as the forward kernel's record says; offsets are the kernels' own.
void configureConvolutionGradient(CNNGradientKernel& kernel, const ForwardRecord& record);

/// Sets `primaryOffset` to where the forward kernel's result begins in a gradient of this size.
void placeGradient(CNNGradientKernel& kernel, const State& gradientState, const ImageDescriptor& gradient);

/// The operands of a convolution's gradient, after the checks that do not depend on its window.
struct ConvolutionGradientOperands {
  Encoding::ImageOperand gradient;
  Encoding::ImageOperand source;
  Encoding::ImageOperand destination;                       // not given when no gradient for data is wanted
  PixelRect slice;                                          // of the gradient: what counts
  PixelRect clip;                                           // of the destination
  ConvolutionGradientStateImplementation* state = nullptr;  // null: none, and no gradient for weights is wanted
  bool destinationIsNew = false;
};
ConvolutionGradientOperands convolutionGradientOperands(Encoding& encoding, const CNNGradientKernel& kernel,
                                                        const ImageOperands& operands,
                                                        const ConvolutionWeights& weights,
                                                        CNNConvolutionGradientOption option);

/// The forward windows, for each of the gradients, and the source pixel of the destination's first.
struct ConvolutionGradientWindows {
  operations::Window forData;
  operations::Window forWeights;
  std::ptrdiff_t firstX = 0;
  std::ptrdiff_t firstY = 0;
};
void recordConvolutionGradient(Encoding& encoding, const CNNGradientKernel& kernel,
                               ConvolutionGradientOperands& operands, const ConvolutionWeights& weights,
                               CNNConvolutionGradientOption option, const ConvolutionGradientWindows& windows);

}  // namespace metalloid::detail
