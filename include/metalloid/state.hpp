#pragma once

#include <metalloid/buffer.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/image.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace metalloid {

/// What a resource of a state is. Source: MPSStateResourceType.
enum class StateResourceType : std::uint32_t {
  none = 0,     ///< There is none at this index.
  buffer = 1,   ///< A buffer.
  texture = 2,  ///< An image.
};

/// The resources of a state to be made: images come before buffers. Source: MPSStateResourceList.
class StateResourceList {
 public:
  void appendTexture(const ImageDescriptor& descriptor) { textures_.push_back(descriptor); }  ///< One more image.
  void appendBuffer(std::size_t size) { buffers_.push_back(size); }  ///< One more buffer, of `size` bytes.

  const std::vector<ImageDescriptor>& textures() const { return textures_; }  ///< The images, in order.
  const std::vector<std::size_t>& buffers() const { return buffers_; }        ///< Sizes of the buffers, in order.

 private:
  std::vector<ImageDescriptor> textures_;
  std::vector<std::size_t> buffers_;
};

/// What one kernel leaves for another: buffers and images, mostly private to the class that wrote them. Source:
/// MPSState.
class State : public detail::Handle {
 public:
  State() = default;  ///< Nil.

  /// With one buffer. @throws Error (invalidArgument) for a nil device.
  State(const Device& device, std::size_t bufferSize);
  /// With one image. @throws as above, and as `Image`.
  State(const Device& device, const ImageDescriptor& textureDescriptor);
  /// With the listed resources. @throws as above.
  State(const Device& device, const StateResourceList& resourceList);
  /// With existing buffers. @throws Error (invalidArgument) for none, a nil one, or several devices.
  explicit State(std::span<const Buffer> resources);

  /// Temporary ones, which live within the command buffer. Without resources a state is not temporary.
  /// @throws Error (invalidArgument) for a nil or committed command buffer.
  static State temporaryState(CommandBuffer& commandBuffer);
  static State temporaryState(CommandBuffer& commandBuffer, std::size_t bufferSize);                    ///< As above.
  static State temporaryState(CommandBuffer& commandBuffer, const ImageDescriptor& textureDescriptor);  ///< As above.
  static State temporaryState(CommandBuffer& commandBuffer, const StateResourceList& resourceList);     ///< As above.

  Device device() const;     ///< The device of its resources.
  bool isTemporary() const;  ///< Whether it lives within one command buffer.

  /// Reads left before a temporary state's contents become undefined, initially 1; 0 for others.
  std::size_t readCount() const;
  /// Sets the reads left; 0 gives the storage back at once. @throws Error (invalidArgument) when the state is not
  /// temporary, and when the count is 0 already.
  void setReadCount(std::size_t count) const;

  std::size_t resourceCount() const;                               ///< Images and buffers.
  StateResourceType resourceTypeAtIndex(std::size_t index) const;  ///< Never makes storage.
  std::size_t bufferSizeAtIndex(std::size_t index) const;          ///< In bytes; 0 for what is not a buffer.
  ImageDescriptor textureInfoAtIndex(std::size_t index) const;     ///< Sizes of 0 for what is not an image.
  /// A buffer. @throws Error (invalidArgument) for what is not one, and for temporary states, whose storage is private.
  Buffer bufferAtIndex(std::size_t index) const;
  /// An image. @throws Error (invalidArgument) for what is not one.
  Image textureAtIndex(std::size_t index) const;

  /// Bytes of storage it has or would need.
  std::size_t resourceSize() const;
  /// A no-op here, see `Matrix::synchronize`.
  void synchronize(CommandBuffer& commandBuffer) const;

  /// A name for messages.
  std::string label() const;
  void setLabel(std::string label) const;  ///< Sets the name for messages.

 protected:
  /// For derived handles.
  explicit State(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

/// One state for each image of a batch, or one for all of them as often. Source: MPSStateBatch.
using StateBatch = std::vector<State>;

/// As `imageBatchIncrementReadCount`.
std::size_t stateBatchIncrementReadCount(const StateBatch& batch, std::ptrdiff_t amount);
/// `State::synchronize` for each distinct state.
void stateBatchSynchronize(const StateBatch& batch, CommandBuffer& commandBuffer);
/// The sum of `State::resourceSize` over the distinct states.
std::size_t stateBatchResourceSize(const StateBatch& batch);

/// What a forward kernel leaves for its gradient: its settings and the sizes of its images, and what the operation
/// adds. Made by the forward kernel's `resultState` methods. Source: MPSNNGradientState.
class NNGradientState : public State {
 public:
  NNGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit NNGradientState(const State& state);

 protected:
  /// For derived handles.
  explicit NNGradientState(detail::Ref<detail::RefCounted> implementation) : State(std::move(implementation)) {}
};

/// The same of a kernel with two sources. Source: MPSNNBinaryGradientState.
class NNBinaryGradientState : public State {
 public:
  NNBinaryGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit NNBinaryGradientState(const State& state);

 protected:
  /// For derived handles.
  explicit NNBinaryGradientState(detail::Ref<detail::RefCounted> implementation) : State(std::move(implementation)) {}
};

/// The same of a kernel with any number of sources. Source: MPSNNMultiaryGradientState.
class NNMultiaryGradientState : public State {
 public:
  NNMultiaryGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit NNMultiaryGradientState(const State& state);

 protected:
  /// For derived handles.
  explicit NNMultiaryGradientState(detail::Ref<detail::RefCounted> implementation) : State(std::move(implementation)) {}
};

}  // namespace metalloid
