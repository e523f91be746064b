#include "core/host_device.hpp"

#include "core/command_buffer_implementation.hpp"
#include "core/format.hpp"
#include "core/trace.hpp"

#include <metalloid/error.hpp>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include <sys/mman.h>

namespace metalloid::detail {
namespace {

constexpr std::size_t kAlignment = 64;                  // one cache line; the widest SIMD vector
constexpr std::size_t kMapFrom = std::size_t{1} << 20;  // from here on pages come zeroed from the system, untouched
constexpr std::size_t kHugePage = std::size_t{2} << 20;

class HostStorage final : public Storage {
 public:
  static Ref<Storage> make(Ref<DeviceImplementation> device, std::size_t bytes, bool zeroed) {
    const std::size_t size = bytes == 0 ? 1 : bytes;  // so that every storage has an address of its own
    void* address = nullptr;
    if (size >= kMapFrom) {
      address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (address == MAP_FAILED) address = nullptr;
      if (address && size >= 2 * kHugePage) madvise(address, size, MADV_HUGEPAGE);  // a hint: fewer TLB misses
    } else {
      address = ::operator new(size, std::align_val_t(kAlignment), std::nothrow);
      if (address && zeroed) std::memset(address, 0, size);
    }
    return address ? Ref<Storage>(new HostStorage(std::move(device), static_cast<std::byte*>(address), size))
                   : Ref<Storage>();
  }

 private:
  HostStorage(Ref<DeviceImplementation> device, std::byte* address, std::size_t length)
      : Storage(address, length), device_(std::move(device)) {
    device_->countAllocated(length);
  }
  ~HostStorage() override {
    if (length() >= kMapFrom) {
      munmap(address(), length());
    } else {
      ::operator delete(address(), std::align_val_t(kAlignment));
    }
    device_->countFreed(length());
  }

  Ref<DeviceImplementation> device_;
};

/// One thread that executes the command buffers of one queue.
class HostExecutor final : public Executor {
 public:
  explicit HostExecutor(HostDevice& device) : device_(device), thread_([this] { run(); }) {}

  ~HostExecutor() override {
    {
      std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    submitted_.notify_one();
    thread_.join();
  }

  void submit(Ref<CommandBufferImplementation> commandBuffer) override {
    {
      std::scoped_lock lock(mutex_);
      pending_.push_back(std::move(commandBuffer));
    }
    submitted_.notify_one();
  }

 private:
  void run() {
    for (;;) {
      Ref<CommandBufferImplementation> commandBuffer;
      {
        std::unique_lock lock(mutex_);
        submitted_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
        if (pending_.empty()) return;  // stopping; pending work would have kept the queue alive
        commandBuffer = std::move(pending_.front());
        pending_.pop_front();
      }
      commandBuffer->begin();
      auto error = execute(*commandBuffer);
      CommandBufferImplementation::finish(std::move(commandBuffer), std::move(error));
    }
  }

  std::optional<Error> execute(const CommandBufferImplementation& commandBuffer) {
    for (const Record& record : commandBuffer.records()) {
      const auto during = [&](const Error& error) {
        const Error located = error.during(fmt::format("executing {} on device {}", record.kernel, device_.name()));
        return commandBuffer.label.empty()
                   ? located
                   : located.during(fmt::format("executing command buffer \"{}\"", commandBuffer.label));
      };
      try {
        const TraceSpan span(record, device_.name());
        device_.execute(record.operation);
      } catch (const Error& error) {
        return during(error);
      } catch (const std::bad_alloc&) {
        return during(Error(ErrorCode::outOfMemory, "Memory for an operation's scratch space is not there."));
      } catch (const std::exception& exception) {
        return during(Error(ErrorCode::device, exception.what()));
      }
    }
    return std::nullopt;
  }

  HostDevice& device_;  // host devices live as long as the process
  std::mutex mutex_;
  std::condition_variable submitted_;
  std::deque<Ref<CommandBufferImplementation>> pending_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when everything above exists
};

void copyRows(std::byte* to, std::size_t toPitch, const std::byte* from, std::size_t fromPitch, ByteRectangle size) {
  if (size.rowLength == 0) return;
  if (toPitch == size.rowLength && fromPitch == size.rowLength) {
    std::memcpy(to, from, size.rowLength * size.rows);
    return;
  }
  for (std::size_t i = 0; i < size.rows; ++i) std::memcpy(to + i * toPitch, from + i * fromPitch, size.rowLength);
}

}  // namespace

Ref<Storage> HostDevice::allocate(std::size_t bytes, bool zeroed) {
  const Ref<DeviceImplementation> self(this);
  if (auto storage = HostStorage::make(self, bytes, zeroed)) return storage;
  releaseCachedBlocks();
  if (auto storage = HostStorage::make(self, bytes, zeroed)) return storage;
  throw Error(ErrorCode::outOfMemory,
              fmt::format("{} bytes are asked of device {}, which holds {} bytes already, and are not there.", bytes,
                          name(), allocatedBytes()));
}

void HostDevice::copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host, std::size_t hostPitch,
                              ByteRectangle size) {
  copyRows(device, devicePitch, host, hostPitch, size);
}

void HostDevice::copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device, std::size_t devicePitch,
                            ByteRectangle size) {
  copyRows(host, hostPitch, device, devicePitch, size);
}

Ref<Executor> HostDevice::makeExecutor() { return makeRef<HostExecutor>(*this); }

}  // namespace metalloid::detail
