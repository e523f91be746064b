#pragma once

#include "core/storage.hpp"
#include "operations/operation.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/handle.hpp>
#include <metalloid/device.hpp>

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace metalloid::detail {

class CommandBufferImplementation;

/// Executes the committed command buffers of one queue in order, and ends each with
/// `CommandBufferImplementation::finish`.
class Executor : public RefCounted {
 public:
  virtual void submit(Ref<CommandBufferImplementation> commandBuffer) = 0;
};

/// One rectangle of bytes to copy between host and device: `rows` rows of `rowLength` bytes.
struct ByteRectangle {
  std::size_t rowLength = 0;
  std::size_t rows = 1;
};

/// What a back end implements: memory, an executor, and an account of which implementation runs what.
class DeviceImplementation : public RefCounted {
 public:
  explicit DeviceImplementation(std::string name) : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  Device handle() { return Device(Ref<RefCounted>(this)); }

  virtual std::string description() const = 0;
  virtual bool isHostVisible() const = 0;

  /// New storage. @throws Error (outOfMemory) with the bytes asked for and held.
  virtual Ref<Storage> allocate(std::size_t bytes, bool zeroed) = 0;

  virtual void copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host, std::size_t hostPitch,
                            ByteRectangle size) = 0;
  virtual void copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device, std::size_t devicePitch,
                          ByteRectangle size) = 0;

  virtual Ref<Executor> makeExecutor() = 0;

  /// Fills in implementation and refusals for an operation.
  virtual void explain(const operations::Operation& operation, Explanation& explanation) const = 0;

  virtual std::size_t numberOfThreads() const { return 1; }
  virtual void setNumberOfThreads(std::size_t /*count*/) {}

  /// @throws Error (device) when the device is lost: nothing can be committed to it any more.
  virtual void requireUsable() const {}

  // Storage for temporaries: blocks that ended command buffers gave back, where one fits.
  //
  // A lane is a number that one command buffer at a time has. What lies in the cache belongs to the lane that had it
  // last, or a lower one that needs it, so that the same work finds the same addresses again, whatever else is cached
  // and however many command buffers are under way: replaying work that has been captured takes equal addresses.

  /// The lowest number that nobody has.
  std::size_t enterLane();
  Ref<Storage> takeBlock(std::size_t lane, std::size_t bytes);
  void leaveLane(std::size_t lane, std::vector<Ref<Storage>> blocks);

  /// Frees the cached blocks; what `allocate` tries before it reports that memory is out.
  void releaseCachedBlocks();

  std::size_t allocatedBytes() const { return allocated_.load(std::memory_order_relaxed); }
  std::size_t peakAllocatedBytes() const { return peak_.load(std::memory_order_relaxed); }

  /// For storage classes: accounts for bytes taken and given back.
  void countAllocated(std::size_t bytes);
  void countFreed(std::size_t bytes) { allocated_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  std::string name_;
  std::atomic<std::size_t> allocated_ = 0;
  std::atomic<std::size_t> peak_ = 0;
  struct CachedBlock {
    Ref<Storage> storage;
    std::size_t lane;
  };
  std::mutex blocksMutex_;
  std::multimap<std::size_t, CachedBlock> blocks_;  // free ones, by size
  std::vector<bool> isLaneTaken_;
};

/// The object behind a handle. @throws Error (invalidArgument) for nil.
DeviceImplementation& implementation(const Device& device);

}  // namespace metalloid::detail
