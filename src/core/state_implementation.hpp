#pragma once

#include "core/command_buffer_implementation.hpp"
#include "core/image_implementation.hpp"

#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// What a State refers to. Buffers are vectors, so that encodes treat them like any operand; those of a temporary state
/// live in its command buffer until the state's reads are over.
class StateImplementation : public RefCounted {
 public:
  /// Without resources yet. With a command buffer the state is temporary.
  StateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer = nullptr);

  DeviceImplementation& device() const { return *device_; }

  /// Adds a buffer of `length` elements. A new one is zero-filled unless the state is temporary.
  const Vector& addVector(std::size_t length, DataType type, std::size_t vectors = 1);
  const Vector& addVector(Vector existing);
  const Image& addImage(const ImageDescriptor& descriptor);

  const std::vector<Vector>& vectors() const { return vectors_; }
  const std::vector<Image>& images() const { return images_; }

  bool isTemporary() const { return commandBuffer_ != nullptr && (!vectors_.empty() || !images_.empty()); }
  /// The command buffer of a temporary state; nil once it is committed or gone.
  CommandBufferImplementation* owner() const;
  std::size_t readCount() const { return isTemporary() ? readCount_ : 0; }
  void setReadCount(std::size_t count);
  void countRead() {
    if (isTemporary()) setReadCount(readCount_ - 1);
  }

  /// `State "x"`, with the name of its class.
  std::string name() const;
  const std::string& label() const { return label_; }
  void setLabel(std::string label) { label_ = std::move(label); }

  /// The public class, for messages and narrowing.
  virtual std::string_view className() const { return "State"; }

 private:
  Ref<DeviceImplementation> device_;
  CommandBufferImplementation* commandBuffer_ = nullptr;  // while the resources live; compared, never followed
  std::vector<Vector> vectors_;
  std::vector<Image> images_;
  std::size_t readCount_ = 1;
  std::string label_;
};

/// The object behind a handle. @throws Error (invalidArgument) for nil.
StateImplementation& implementation(const State& state);

/// The object as one of a derived class. @throws Error (invalidArgument) for nil and for another class.
template <class T>
T& implementationAs(const State& state, std::string_view className) {
  auto* const typed = dynamic_cast<T*>(&implementation(state));
  if (!typed) {
    throw Error(ErrorCode::invalidArgument,
                "A " + std::string(className) + " is needed, but " + implementation(state).name() + " is given.");
  }
  return *typed;
}

/// A handle of class `S` for an implementation.
template <class S>
S stateHandle(Ref<StateImplementation> implementation) {
  struct Make : S {
    explicit Make(Ref<RefCounted> object) : S(std::move(object)) {}
  };
  return Make(std::move(implementation));
}

}  // namespace metalloid::detail
