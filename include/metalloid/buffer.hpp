#pragma once

#include <metalloid/detail/handle.hpp>
#include <metalloid/device.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace metalloid {

/// A range of bytes on a device. Source: MTLBuffer.
///
/// May be used from any thread. Storage is made, zero-filled, when it is first needed.
class Buffer : public detail::Handle {
 public:
  Buffer() = default;  ///< Nil.

  /// A buffer of `length` bytes. @throws Error (invalidArgument) for a nil device.
  Buffer(const Device& device, std::size_t length);

  /// The device that holds the bytes.
  Device device() const;

  /// Size in bytes.
  std::size_t length() const;

  /// The bytes themselves, where host and device share them. Not ordered after anything: use `read` and `write`, or
  /// wait for the command buffers concerned. @throws Error (unsupported) for storage that the host cannot see;
  /// (outOfMemory) when the storage cannot be made.
  std::span<std::byte> contents() const;

  /// Copies `bytes` to `offset` after all committed work on this buffer. @throws Error (invalidArgument) past the end;
  /// the stored error when the last committed work on the buffer failed.
  void write(std::span<const std::byte> bytes, std::size_t offset = 0) const;

  /// Copies `length` bytes from `offset` after all committed work on this buffer. @throws as `write`.
  std::vector<std::byte> read(std::size_t offset = 0, std::size_t length = kToTheEnd) const;

  /// Metalloid extension: a name for messages.
  std::string label() const;
  void setLabel(std::string label) const;  ///< Sets the name for messages.

 private:
  static constexpr std::size_t kToTheEnd = static_cast<std::size_t>(-1);
};

}  // namespace metalloid
