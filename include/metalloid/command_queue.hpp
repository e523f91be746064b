#pragma once

#include <metalloid/detail/handle.hpp>
#include <metalloid/device.hpp>

#include <string>

namespace metalloid {

class CommandBuffer;

/// Executes command buffers, one after another, in the order of their commits. Source: MTLCommandQueue.
///
/// May be used from any thread.
class CommandQueue : public detail::Handle {
 public:
  CommandQueue() = default;  ///< Nil.

  /// The device the queue belongs to.
  Device device() const;

  /// A new, empty command buffer that will execute on this queue.
  CommandBuffer makeCommandBuffer() const;

  /// A name for messages.
  std::string label() const;
  void setLabel(std::string label) const;  ///< Sets the name for messages.

 private:
  friend class Device;
  friend class CommandBuffer;
  explicit CommandQueue(detail::Ref<detail::RefCounted> implementation) : Handle(std::move(implementation)) {}
};

}  // namespace metalloid
