#pragma once

#include "backends/cuda/context.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace metalloid::cuda {

class Queue;

/// The memory of a device: a stream-ordered pool, and copies from and to the host.
///
/// All of it goes through one stream. What is submitted to a queue later waits for it on the device, not on the host:
/// an upload returns when its bytes lie in pinned memory.
class DeviceMemory final : public ModuleDevice {
 public:
  explicit DeviceMemory(int index);

  DeviceInformation information() const override { return information_; }
  Status health() const override;
  Status allocate(std::size_t bytes, bool zeroed, std::byte*& address) override;
  void free(std::byte* address) override;
  Status copyToDevice(std::byte* device, std::size_t devicePitch, const std::byte* host, std::size_t hostPitch,
                      std::size_t rowLength, std::size_t rows) override;
  Status copyToHost(std::byte* host, std::size_t hostPitch, const std::byte* device, std::size_t devicePitch,
                    std::size_t rowLength, std::size_t rows) override;
  MemoryInformation memory() override;
  Status makeQueue(ModuleQueue*& queue) override;
  const char* explain(const operations::Operation& operation, void* context,
                      void (*refusal)(void*, const char*, const char*)) const override;

  /// Makes the device current on the calling thread.
  void use() const;

  /// Lets a stream wait for the copies and allocations made so far.
  void waitFor(cudaStream_t stream);

  /// Takes back a queue that nobody uses any more.
  void keep(Queue* queue);

  /// Gives the driver back what the pool and idle queues hold and nobody uses.
  void releaseUnused();

  /// A function at the boundary; does nothing when the device is lost, and notices when it is lost in it.
  template <class F>
  Status guarded(F f) {
    if (const Status known = health(); !known.isOk()) return known;
    const Status status = statusOf(f);
    return status.isOk() ? status : noticed(status);
  }

 private:
  /// Pinned memory that an upload passes through.
  struct Stage {
    std::byte* address = nullptr;
    cudaEvent_t copied = nullptr;
  };

  static constexpr std::size_t kStages = 8;
  static constexpr std::size_t kStageBytes = std::size_t{2} << 20;

  /// Chunks of a rectangle that fit a stage: f(stage, first row, rows, first byte of the rows, bytes of each).
  template <class F>
  void forEachChunk(std::size_t rowLength, std::size_t rows, F f);
  void noteWork();
  Status allocateFromPool(std::size_t bytes, bool zeroed, std::byte*& address);
  Status noticed(const Status& failed);

  int index_;
  DeviceInformation information_;
  Context context_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t worked_ = nullptr;  // after the last copy or allocation
  cudaMemPool_t pool_ = nullptr;
  std::mutex mutex_;
  Stage stages_[kStages];
  std::size_t nextStage_ = 0;
  std::map<std::byte*, std::size_t> held_;
  std::atomic<bool> isLost_ = false;
  mutable std::mutex lostMutex_;
  Status lost_;  // of what was noticed first
  std::mutex queuesMutex_;
  std::vector<std::unique_ptr<Queue>> idleQueues_;
};

}  // namespace metalloid::cuda
