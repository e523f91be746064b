#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace metalloid {

/// The channels of several images one after another. Metalloid extension: the kernel of `NNConcatenationNode`.
///
/// Each source begins at a multiple of 4 channels: behind a source of 23 channels follows one of 0. The last is not
/// filled up. All sources have the same width and height, which are the destination's; formats may differ.
class NNConcatenation : public detail::ImageKernel {
 public:
  std::size_t destinationFeatureChannelOffset = 0;  ///< First destination channel written, a multiple of 4.
  /// May change what the kernel makes. Default: as CNNKernel.
  std::shared_ptr<NNPadding> padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame);
  /// Makes destinations. Default: temporary images.
  std::shared_ptr<ImageAllocator> destinationImageAllocator = TemporaryImage::defaultAllocator();

  /// @throws Error (invalidArgument) for a nil device, and for no sources at all.
  NNConcatenation(const Device& device, std::size_t sourceCount);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNConcatenation(Unarchiver& coder, const Device& device);

  std::size_t sourceCount() const { return sourceCount_; }  ///< Images that make one.

  /// The operands of `encode`.
  struct Arguments {
    ImageBatch sourceImages;                         ///< One for each source.
    detail::DestinationState destinationState = {};  ///< A state to fill, or where to put the one to be made.
    bool destinationStateIsTemporary = false;        ///< Of a state to be made.
    Image destinationImage = {};                     ///< Nil: the kernel makes it.
  };
  using Kernel::encode;
  /// Records the kernel and returns the destination. @throws Error (invalidArgument) naming what does not fit.
  Image encode(CommandBuffer& commandBuffer, const Arguments& arguments);

  /// The operands of `encodeBatch`.
  struct BatchArguments {
    std::vector<ImageBatch> sourceImages;              ///< A batch for each source.
    detail::DestinationStates destinationStates = {};  ///< States to fill, or where to put those to be made.
    bool destinationStateIsTemporary = false;          ///< Of states to be made.
    ImageBatch destinationImages = {};                 ///< Empty: the kernel makes them.
  };
  /// Records the kernel for every image of a batch and returns the destinations. @throws as `encode`.
  ImageBatch encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments);

  /// What an encode that makes its destination would make of one image of each source.
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates = {}) {
    return sizeDestination(sourceImages, sourceStates);
  }

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNConcatenation copy(const Device& device = {}) const { return copyOf(*this, device); }

  // For the library's own use.
  std::size_t numberOfSources() const override { return sourceCount_; }
  detail::SourceSettings sourceSettings(std::size_t) const override { return {}; }
  void setSourceOffset(std::size_t, Offset) override {}
  Region destinationClipRect() const override { return regionNoClip; }
  std::size_t destinationChannelOffset() const override { return destinationFeatureChannelOffset; }
  std::shared_ptr<NNPadding>& paddingPolicy() override { return padding; }
  std::shared_ptr<ImageAllocator>& allocator() override { return destinationImageAllocator; }

 protected:
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  std::size_t sourceCount_;
};

/// The gradient of `NNConcatenation` for one source: its channels of the gradient. Metalloid extension: the kernel of
/// `NNConcatenationGradientNode`.
///
/// The gradient state tells where the channels begin; without one `primarySourceFeatureChannelOffset` does.
class NNConcatenationGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit NNConcatenationGradient(const Device& device, std::size_t sourceIndex = 0);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNConcatenationGradient(Unarchiver& coder, const Device& device);

  std::size_t sourceIndex() const { return sourceIndex_; }  ///< Which source the gradient is for.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNConcatenationGradient copy(const Device& device = {}) const { return copyOf(*this, device); }

 protected:
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  std::size_t sourceIndex_;
};

}  // namespace metalloid
