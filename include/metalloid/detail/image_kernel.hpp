#pragma once

#include <metalloid/geometry.hpp>
#include <metalloid/image.hpp>
#include <metalloid/image_edge_mode.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/nn_padding.hpp>
#include <metalloid/state.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace metalloid::detail {

class Encoding;

/// The window of a kernel over one of its sources.
struct KernelShape {
  std::size_t kernelWidth = 1;
  std::size_t kernelHeight = 1;
  std::size_t strideInPixelsX = 1;
  std::size_t strideInPixelsY = 1;
  std::size_t dilationRateX = 1;
  std::size_t dilationRateY = 1;

  std::size_t dilatedWidth() const { return (kernelWidth - 1) * dilationRateX + 1; }
  std::size_t dilatedHeight() const { return (kernelHeight - 1) * dilationRateY + 1; }

  friend bool operator==(const KernelShape&, const KernelShape&) = default;
};

/// How a kernel reads one of its sources.
struct SourceSettings {
  Offset offset;
  std::size_t featureChannelOffset = 0;
  std::size_t featureChannelMaxCount = all;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  KernelShape shape;
};

/// Everything that one encode works on. A source that is not given is an empty batch.
struct ImageOperands {
  std::vector<ImageBatch> sources;
  StateBatch sourceStates;
  StateBatch destinationStates;
  ImageBatch destinations;
  bool destinationsAreNew = false;  // made by the kernel: nothing stands there yet
};

/// A state to fill, or the address of a handle that receives the one that the kernel makes.
class DestinationState {
 public:
  DestinationState() = default;                                ///< None.
  DestinationState(State state) : given_(std::move(state)) {}  // NOLINT(google-explicit-constructor)
  DestinationState(State* made) : made_(made) {}               // NOLINT(google-explicit-constructor)

  const State& given() const { return given_; }
  State* made() const { return made_; }

 private:
  State given_;
  State* made_ = nullptr;
};

/// The same for a batch.
class DestinationStates {
 public:
  DestinationStates() = default;                                       ///< None.
  DestinationStates(StateBatch states) : given_(std::move(states)) {}  // NOLINT(google-explicit-constructor)
  DestinationStates(StateBatch* made) : made_(made) {}                 // NOLINT(google-explicit-constructor)

  const StateBatch& given() const { return given_; }
  StateBatch* made() const { return made_; }

 private:
  StateBatch given_;
  StateBatch* made_ = nullptr;
};

/// What all kernels over images share: sizing of destinations, states for gradients, and the encode itself. The public
/// bases give it the names that the documentation knows.
class ImageKernel : public Kernel {
 public:
  virtual std::size_t numberOfSources() const = 0;
  virtual SourceSettings sourceSettings(std::size_t source) const = 0;
  virtual void setSourceOffset(std::size_t source, Offset offset) = 0;
  virtual Region destinationClipRect() const = 0;
  virtual std::size_t destinationChannelOffset() const = 0;
  virtual std::shared_ptr<NNPadding>& paddingPolicy() = 0;
  virtual std::shared_ptr<ImageAllocator>& allocator() = 0;

  /// Whether strides enlarge.
  virtual bool isBackwards() const { return false; }
  /// Whether an encode changes the state passed in.
  virtual bool isStateModified() const { return false; }
  /// Whether one state serves all images of a batch.
  virtual bool isResultStateReusedAcrossBatch() const { return false; }
  /// Whether the gradient leaves something for each image in the state, so that none can serve several.
  virtual bool needsStateForEachImage() const { return false; }
  /// Whether all of a batch must be done before anything that depends on it begins.
  virtual bool appendBatchBarrier() const { return false; }

  /// Format, size and channels of the destination; sets the offset. `sources` holds one image of each source.
  ImageDescriptor sizeDestination(const ImageBatch& sources, const StateBatch& sourceStates);

  /// For what a state is made: one image of each source, the destination, and the number of images of the batch. With a
  /// command buffer it is temporary.
  struct ResultStateArguments {
    CommandBuffer* commandBuffer = nullptr;
    ImageBatch sources;
    StateBatch sourceStates;
    Image destination;
    std::size_t count = 1;
  };
  /// A state for each image, the same one as often where it is reused; empty for kernels without a gradient.
  virtual StateBatch makeResultStates(const ResultStateArguments& arguments);

  /// Checks and records.
  void encodeImages(CommandBuffer& commandBuffer, const ImageOperands& operands) const;

  /// What image-returning encodes do: sizes and makes what is missing, then encodes.
  ImageBatch run(CommandBuffer& commandBuffer, ImageOperands operands, StateBatch* madeStates,
                 bool madeStatesAreTemporary);

 protected:
  using Kernel::Kernel;

  /// The subclass's part of sizing, after the padding policy's bits: by default nothing. `suggested` has the format and
  /// the channels of the first source.
  virtual void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates, ImageDescriptor& suggested);
  /// Whether the padding policy's size and alignment mean anything: not for kernels that keep the size.
  virtual bool hasWindow() const { return false; }
  /// One state; nil for kernels without a gradient.
  virtual State makeResultState(const ResultStateArguments& arguments);
  /// Checks operands, resolves them to views and records operations.
  virtual void record(Encoding& encoding, const ImageOperands& operands) const = 0;
};

}  // namespace metalloid::detail
