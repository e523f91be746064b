#pragma once

#include <metalloid/detail/handle.hpp>

#include <cstddef>

namespace metalloid::detail {

/// Bytes on a device. Derived classes give them back on destruction.
class Storage : public RefCounted {
 public:
  std::byte* address() const { return address_; }
  std::size_t length() const { return length_; }

 protected:
  Storage(std::byte* address, std::size_t length) : address_(address), length_(length) {}

 private:
  std::byte* address_;  // where the device finds them; host-visible only if the device says so
  std::size_t length_;
};

}  // namespace metalloid::detail
