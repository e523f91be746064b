#pragma once

#include <metalloid/detail/image_kernel.hpp>

#include <cstddef>
#include <memory>

namespace metalloid {

/// A kernel that makes one image from one image. Source: MPSCNNKernel.
///
/// Destination pixel d of the clip rectangle reads, through tap t of a window of K (dilated) pixels, source pixel
/// `offset + stride * (d - clipRect.origin) - K/2 + dilation * t` along each axis: `offset` is where the centre of the
/// first window stands. Outside of the source stands what `edgeMode` says.
///
/// An encode that is given its destination reads `offset` and ignores `padding`; one that makes it lets `padding` size
/// it and set `offset`. All images of a batch have one size and format, and each holds one image.
class CNNKernel : public detail::ImageKernel {
 public:
  Offset offset = {};                               ///< Source position of clipRect.origin; z: first source image.
  Region clipRect = regionNoClip;                   ///< What of the destination is written; z, depth: which images.
  std::size_t destinationFeatureChannelOffset = 0;  ///< First destination channel written, a multiple of 4.
  std::size_t sourceFeatureChannelOffset = 0;       ///< First source channel read, a multiple of 4.
  std::size_t sourceFeatureChannelMaxCount = all;   ///< Most source channels read.
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;     ///< What stands outside the source: zero or clamp.
  /// Sizes destinations that the kernel makes. Default: same size, centred, remainder to top left.
  std::shared_ptr<NNPadding> padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame);
  /// Makes them. Default: temporary images.
  std::shared_ptr<ImageAllocator> destinationImageAllocator = TemporaryImage::defaultAllocator();

  std::size_t kernelWidth() const { return shape_.kernelWidth; }          ///< Taps along x. 1 without a window.
  std::size_t kernelHeight() const { return shape_.kernelHeight; }        ///< Taps along y.
  std::size_t strideInPixelsX() const { return shape_.strideInPixelsX; }  ///< Source pixels from result to result.
  std::size_t strideInPixelsY() const { return shape_.strideInPixelsY; }  ///< As above.
  std::size_t dilationRateX() const { return shape_.dilationRateX; }      ///< Source pixels from tap to tap.
  std::size_t dilationRateY() const { return shape_.dilationRateY; }      ///< As above.

  /// The operands of `encode`.
  struct Arguments {
    Image sourceImage;                               ///< What is read.
    detail::DestinationState destinationState = {};  ///< A state to fill, or where to put the one to be made.
    bool destinationStateIsTemporary = false;        ///< Of a state to be made.
    Image destinationImage = {};                     ///< Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceImages;                           ///< What is read.
    detail::DestinationStates destinationStates = {};  ///< States to fill, or where to put those to be made.
    bool destinationStateIsTemporary = false;          ///< Of states to be made.
    ImageBatch destinationImages = {};                 ///< Empty: the kernel makes them.
  };
  /// Records the kernel for every image and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// What an encode that makes its destination would make; sets `offset`.
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates = {}) {
    return sizeDestination(sourceImages, sourceStates);
  }

  /// For what a state is made.
  struct StateArguments {
    Image sourceImage;             ///< One of the batch.
    StateBatch sourceStates = {};  ///< What the encode reads.
    Image destinationImage;        ///< One of the batch.
    std::size_t batchSize = 1;     ///< Metalloid extension: images, for the batch forms.
  };
  /// The state that an encode fills for the gradient; nil for kernels without. All properties must be final.
  State resultState(const StateArguments& arguments);
  StateBatch resultStateBatch(const StateArguments& arguments);  ///< One for each image.
  /// The same, living within the command buffer.
  State temporaryResultState(CommandBuffer& commandBuffer, const StateArguments& arguments);
  StateBatch temporaryResultStateBatch(CommandBuffer& commandBuffer, const StateArguments& arguments);  ///< As above.

  // For the library's own use.
  std::size_t numberOfSources() const override { return 1; }
  detail::SourceSettings sourceSettings(std::size_t source) const override;
  void setSourceOffset(std::size_t source, Offset value) override;
  Region destinationClipRect() const override { return clipRect; }
  std::size_t destinationChannelOffset() const override { return destinationFeatureChannelOffset; }
  std::shared_ptr<NNPadding>& paddingPolicy() override { return padding; }
  std::shared_ptr<ImageAllocator>& allocator() override { return destinationImageAllocator; }

 protected:
  using ImageKernel::ImageKernel;
  void visitSettings(detail::SettingsVisitor& visitor) override;

  detail::KernelShape shape_;
};

/// A kernel that makes one image from two. Each has its own offset, edge mode and window. Source: MPSCNNBinaryKernel.
class CNNBinaryKernel : public detail::ImageKernel {
 public:
  Offset primaryOffset = {};                                ///< As CNNKernel::offset, for the primary source.
  Offset secondaryOffset = {};                              ///< For the secondary source.
  Region clipRect = regionNoClip;                           ///< As CNNKernel::clipRect.
  std::size_t destinationFeatureChannelOffset = 0;          ///< First destination channel written, a multiple of 4.
  std::size_t primarySourceFeatureChannelOffset = 0;        ///< First channel read, a multiple of 4.
  std::size_t secondarySourceFeatureChannelOffset = 0;      ///< As above.
  std::size_t primarySourceFeatureChannelMaxCount = all;    ///< Most channels read.
  std::size_t secondarySourceFeatureChannelMaxCount = all;  ///< As above.
  ImageEdgeMode primaryEdgeMode = ImageEdgeMode::zero;      ///< What stands outside: zero or clamp.
  ImageEdgeMode secondaryEdgeMode = ImageEdgeMode::zero;    ///< As above.
  std::size_t primaryStrideInPixelsX = 1;                   ///< Source pixels from result to result.
  std::size_t primaryStrideInPixelsY = 1;                   ///< As above.
  std::size_t secondaryStrideInPixelsX = 1;                 ///< As above.
  std::size_t secondaryStrideInPixelsY = 1;                 ///< As above.
  /// Sizes destinations that the kernel makes. Default: same size, centred, remainder to top left.
  std::shared_ptr<NNPadding> padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame);
  /// Makes them. Default: temporary images.
  std::shared_ptr<ImageAllocator> destinationImageAllocator = TemporaryImage::defaultAllocator();

  std::size_t primaryKernelWidth() const { return primary_.kernelWidth; }          ///< Taps along x.
  std::size_t primaryKernelHeight() const { return primary_.kernelHeight; }        ///< Taps along y.
  std::size_t secondaryKernelWidth() const { return secondary_.kernelWidth; }      ///< Taps along x.
  std::size_t secondaryKernelHeight() const { return secondary_.kernelHeight; }    ///< Taps along y.
  std::size_t primaryDilationRateX() const { return primary_.dilationRateX; }      ///< Source pixels from tap to tap.
  std::size_t primaryDilationRateY() const { return primary_.dilationRateY; }      ///< As above.
  std::size_t secondaryDilationRateX() const { return secondary_.dilationRateX; }  ///< As above.
  std::size_t secondaryDilationRateY() const { return secondary_.dilationRateY; }  ///< As above.

  /// The operands of `encode`.
  struct Arguments {
    Image primaryImage;                              ///< What is read.
    Image secondaryImage;                            ///< What is read with it.
    detail::DestinationState destinationState = {};  ///< A state to fill, or where to put the one to be made.
    bool destinationStateIsTemporary = false;        ///< Of a state to be made.
    Image destinationImage = {};                     ///< Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch primaryImages;                          ///< What is read.
    ImageBatch secondaryImages;                        ///< What is read with them.
    detail::DestinationStates destinationStates = {};  ///< States to fill, or where to put those to be made.
    bool destinationStateIsTemporary = false;          ///< Of states to be made.
    ImageBatch destinationImages = {};                 ///< Empty: the kernel makes them.
  };
  /// Records the kernel for every pair of images and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// What an encode that makes its destination would make of a primary and a secondary image; sets `primaryOffset`.
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates = {}) {
    return sizeDestination(sourceImages, sourceStates);
  }

  /// For what a state is made.
  struct StateArguments {
    Image primaryImage;            ///< One of the batch.
    Image secondaryImage;          ///< One of the batch.
    StateBatch sourceStates = {};  ///< What the encode reads.
    Image destinationImage;        ///< One of the batch.
    std::size_t batchSize = 1;     ///< Metalloid extension: pairs of images, for the batch forms.
  };
  /// The state that an encode fills for the gradient; nil for kernels without. All properties must be final.
  State resultState(const StateArguments& arguments);
  StateBatch resultStateBatch(const StateArguments& arguments);  ///< One for each pair of images.
  /// The same, living within the command buffer.
  State temporaryResultState(CommandBuffer& commandBuffer, const StateArguments& arguments);
  StateBatch temporaryResultStateBatch(CommandBuffer& commandBuffer, const StateArguments& arguments);  ///< As above.

  // For the library's own use.
  std::size_t numberOfSources() const override { return 2; }
  detail::SourceSettings sourceSettings(std::size_t source) const override;
  void setSourceOffset(std::size_t source, Offset value) override;
  Region destinationClipRect() const override { return clipRect; }
  std::size_t destinationChannelOffset() const override { return destinationFeatureChannelOffset; }
  std::shared_ptr<NNPadding>& paddingPolicy() override { return padding; }
  std::shared_ptr<ImageAllocator>& allocator() override { return destinationImageAllocator; }

 protected:
  using ImageKernel::ImageKernel;
  void visitSettings(detail::SettingsVisitor& visitor) override;

  detail::KernelShape primary_;    // strides are public members
  detail::KernelShape secondary_;  // as above
};

/// The gradient of an image kernel: from the gradient for its result (primary) and its source (secondary) to the
/// gradient for its source. Source: MPSCNNGradientKernel.
///
/// The result has the forward source's size. With clip rectangles and channel offsets only the region and channels that
/// the forward kernel read receive gradient; where the kernel makes its result, everything else becomes 0.
/// Given the forward kernel's state, an encode configures itself; without one every property must have been set.
class CNNGradientKernel : public CNNBinaryKernel {
 public:
  std::ptrdiff_t kernelOffsetX = 0;  ///< Offset of the window in the gradient enlarged by the stride.
  std::ptrdiff_t kernelOffsetY = 0;  ///< As above.

  /// The operands of `encode`.
  struct Arguments {
    Image sourceGradient;            ///< The gradient for the forward result.
    Image sourceImage;               ///< The forward source (for soft-max: the forward result).
    State gradientState = {};        ///< What the forward encode left.
    Image destinationGradient = {};  ///< Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    ImageBatch sourceGradients;            ///< The gradients for the forward results.
    ImageBatch sourceImages;               ///< The forward sources.
    StateBatch gradientStates = {};        ///< What the forward encode left.
    ImageBatch destinationGradients = {};  ///< Empty: the kernel makes them.
  };
  /// Records the kernel for every image and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// What an encode that makes its destination would make; copies the state's record into the properties.
  /// `sourceImages` holds the gradient and the forward source.
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates = {}) {
    return sizeDestination(sourceImages, sourceStates);
  }

  /// Whether it is a gradient or transposed.
  bool isBackwards() const override { return true; }

 protected:
  using CNNBinaryKernel::CNNBinaryKernel;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  /// Takes offsets, clip rectangle, channels and edge mode from what the forward kernel left; subclasses add what is
  /// theirs.
  virtual void configure(const State& gradientState);
};

}  // namespace metalloid
