#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstddef>

namespace metalloid {

/// The same elements in another shape: result element i is source element i in the order of rows, columns, channels,
/// channels fastest. Source: MPSNNReshape.
///
/// The source is read whole, in the channels that the kernel reads; the result is the clip rectangle of the
/// destination, in all channels from `destinationFeatureChannelOffset` on. Both have as many elements. `offset` x and y
/// have no effect.
class NNReshape : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit NNReshape(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNReshape(Unarchiver& coder, const Device& device);

  /// The operands of `encode`.
  struct Arguments {
    Image sourceImage;                               ///< What is read.
    detail::DestinationState destinationState = {};  ///< A state to fill, or where to put the one to be made.
    bool destinationStateIsTemporary = false;        ///< Of a state to be made.
    Image destinationImage = {};                     ///< Nil: the kernel makes it, of the following size.
    std::size_t reshapedWidth = 0;                   ///< 0: as the source.
    std::size_t reshapedHeight = 0;                  ///< 0: as the source.
    std::size_t reshapedFeatureChannels = 0;         ///< 0: as the source.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceImages;                           ///< What is read.
    detail::DestinationStates destinationStates = {};  ///< States to fill, or where to put those to be made.
    bool destinationStateIsTemporary = false;          ///< Of states to be made.
    ImageBatch destinationImages = {};                 ///< Empty: the kernel makes them, of the following size.
    std::size_t reshapedWidth = 0;                     ///< 0: as the source.
    std::size_t reshapedHeight = 0;                    ///< 0: as the source.
    std::size_t reshapedFeatureChannels = 0;           ///< 0: as the source.
  };
  /// Records the kernel for every image and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNReshape copy(const Device& device = {}) const { return copyOf(*this, device); }

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  ImageBatch destinationsOf(CommandBuffer& commandBuffer, const BatchArguments& arguments);
};

/// The gradient of `NNReshape`: the gradient's elements in the forward source's shape. Source: MPSNNReshapeGradient.
///
/// The gradient state tells what the forward kernel wrote; without one it is the whole gradient from `primaryOffset`
/// on.
class NNReshapeGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit NNReshapeGradient(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNReshapeGradient(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNReshapeGradient copy(const Device& device = {}) const { return copyOf(*this, device); }

 protected:
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
};

}  // namespace metalloid
