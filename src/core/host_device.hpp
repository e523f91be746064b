#pragma once

#include "core/device_implementation.hpp"

#include <memory>

namespace metalloid::detail {

/// A device whose memory is the host's and whose operations run on a thread of their queue. Back ends on the processor
/// derive from it and implement `execute` and `explain`.
class HostDevice : public DeviceImplementation {
 public:
  using DeviceImplementation::DeviceImplementation;

  bool isHostVisible() const override { return true; }
  Ref<Storage> allocate(std::size_t bytes, bool zeroed) override;
  void copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host, std::size_t hostPitch,
                    ByteRectangle size) override;
  void copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device, std::size_t devicePitch,
                  ByteRectangle size) override;
  Ref<Executor> makeExecutor() override;

  /// Executes one operation on the calling thread; what it throws ends the command buffer.
  virtual void execute(const operations::Operation& operation) = 0;
};

}  // namespace metalloid::detail
