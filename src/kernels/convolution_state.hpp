#pragma once

#include "kernels/gradient_state.hpp"

#include <metalloid/cnn_convolution.hpp>
#include <metalloid/cnn_convolution_transpose.hpp>

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

namespace metalloid::detail {

/// Behind CNNConvolutionGradientState: gradients for weights and biases, in this order.
class ConvolutionGradientStateImplementation : public GradientStateImplementation {
 public:
  /// `convolution` may be null in the state of a transposed convolution.
  ConvolutionGradientStateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer,
                                         ForwardRecord record, std::shared_ptr<const CNNConvolution> convolution,
                                         const ConvolutionWeights& weights);

  const std::shared_ptr<const CNNConvolution>& convolution() const { return convolution_; }
  const Vector& gradientForWeights() const { return vectors()[0]; }
  const Vector& gradientForBiases() const { return vectors()[1]; }

  /// Whether a gradient encode has set the gradients, so that the next one adds to them.
  bool isSet() const { return isSet_; }
  void set() { isSet_ = true; }
  /// Begins another batch: the next encode sets.
  void restart() { isSet_ = false; }

  std::string_view className() const override { return "CNNConvolutionGradientState"; }

 private:
  std::shared_ptr<const CNNConvolution> convolution_;
  bool isSet_ = false;
};

/// Behind CNNConvolutionTransposeGradientState.
class ConvolutionTransposeGradientStateImplementation : public ConvolutionGradientStateImplementation {
 public:
  ConvolutionTransposeGradientStateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer,
                                                  ForwardRecord record,
                                                  std::shared_ptr<const CNNConvolution> convolution,
                                                  std::shared_ptr<const CNNConvolutionTranspose> transpose)
      : ConvolutionGradientStateImplementation(std::move(device), commandBuffer, std::move(record),
                                               std::move(convolution), transpose->sharedWeights()),
        transpose_(std::move(transpose)) {}

  const CNNConvolutionTranspose& transpose() const { return *transpose_; }

  std::string_view className() const override { return "CNNConvolutionTransposeGradientState"; }

 private:
  std::shared_ptr<const CNNConvolutionTranspose> transpose_;
};

/// Behind CNNConvolutionWeightsAndBiasesState: weights and, unless there are none, biases.
class ConvolutionWeightsStateImplementation : public StateImplementation {
 public:
  using StateImplementation::StateImplementation;

  const Vector& weights() const { return vectors()[0]; }
  Vector biases() const { return vectors().size() > 1 ? vectors()[1] : Vector(); }

  std::string_view className() const override { return "CNNConvolutionWeightsAndBiasesState"; }
};

/// The number of weights of a convolution. @throws Error (invalidArgument) for a shape that none has; `name` is whose.
std::size_t weightCount(const CNNConvolutionDescriptor& descriptor, std::string_view name);

}  // namespace metalloid::detail
