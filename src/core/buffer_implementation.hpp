#pragma once

#include "core/command_buffer_implementation.hpp"
#include "core/device_implementation.hpp"
#include "core/storage.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/detail/handle.hpp>

#include <mutex>
#include <string>
#include <vector>

namespace metalloid::detail {

/// A buffer's storage, and the committed work that host access must wait for.
class BufferImplementation : public RefCounted {
 public:
  BufferImplementation(Ref<DeviceImplementation> device, std::size_t length)
      : device_(std::move(device)), length_(length) {}

  DeviceImplementation& device() const { return *device_; }
  std::size_t length() const { return length_; }

  /// The bytes, made and zero-filled on the first call.
  std::byte* address();

  /// Notes that committed work reads or writes the buffer.
  void addUse(Ref<CommandBufferImplementation> commandBuffer);

  /// Blocks until all committed work on the buffer has ended; throws the error of the last if it failed.
  void waitForCommittedWork();

  std::string label() const;
  void setLabel(std::string label);

 private:
  Ref<DeviceImplementation> device_;
  std::size_t length_;
  mutable std::mutex mutex_;
  Ref<Storage> storage_;
  std::vector<Ref<CommandBufferImplementation>> uses_;  // in the order of their commits; ended ones go when others come
  std::string label_;
};

/// The object behind a handle. @throws Error (invalidArgument) for nil.
BufferImplementation& implementation(const Buffer& buffer);

}  // namespace metalloid::detail
