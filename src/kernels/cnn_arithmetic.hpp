#pragma once

#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/cnn_arithmetic.hpp"

#include <array>
#include <cstddef>
#include <string_view>

/// What the arithmetic kernels and their gradients share.
namespace metalloid::detail {

/// Behind CNNArithmeticGradientState.
class ArithmeticStateImplementation : public GradientStateImplementation {
 public:
  using Strides = std::array<operations::Broadcast, 2>;  // of the primary and of the secondary source

  /// `images`: how many go with one state.
  ArithmeticStateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer, ForwardRecord record,
                                Strides strides, std::size_t channels, std::size_t images, bool isMasked);

  const Strides& strides() const { return strides_; }
  std::size_t channels() const { return channels_; }  ///< Written by the forward kernel.
  bool isMasked() const { return !vectors().empty(); }
  std::string_view className() const override { return "CNNArithmeticGradientState"; }

 private:
  Strides strides_;
  std::size_t channels_;
};

/// The masks in the states of a batch as images of bytes; nothing when there are none.
operations::ImageView masks(Encoding& encoding, const StateBatch& states, bool areWritten);

/// A source's strides. @throws Error unless all are 0 or 1.
operations::Broadcast broadcastOf(const Encoding& encoding, const SourceSettings& settings, std::size_t inChannels,
                                  std::string_view role);

/// What `width` x `height` pixels of `channels` read of a source.
operations::ImageView broadcastRegion(Encoding& encoding, Encoding::ImageOperand& operand,
                                      const SourceSettings& settings, const operations::Broadcast& stride,
                                      std::size_t width, std::size_t height, std::size_t channels);

}  // namespace metalloid::detail
