#pragma once

#include "core/device_implementation.hpp"
#include "core/storage.hpp"
#include "operations/operation.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/detail/handle.hpp>
#include <metalloid/error.hpp>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace metalloid::detail {

class ArrayImplementation;
class BufferImplementation;

class CommandQueueImplementation : public RefCounted {
 public:
  explicit CommandQueueImplementation(Ref<DeviceImplementation> device)
      : device_(std::move(device)), executor_(device_->makeExecutor()) {}

  DeviceImplementation& device() const { return *device_; }
  Executor& executor() const { return *executor_; }

  std::string label() const;
  void setLabel(std::string label);

 private:
  Ref<DeviceImplementation> device_;
  Ref<Executor> executor_;
  mutable std::mutex mutex_;
  std::string label_;
};

/// One recorded operation and the kernel that recorded it, for messages and traces.
struct Record {
  operations::Operation operation;
  std::string kernel;
};

class CommandBufferImplementation : public RefCounted {
 public:
  explicit CommandBufferImplementation(Ref<CommandQueueImplementation> queue);
  ~CommandBufferImplementation() override;

  CommandQueueImplementation& queue() const { return *queue_; }
  DeviceImplementation& device() const { return queue_->device(); }

  // Recording, from one thread.

  std::string label;

  /// @throws Error (invalidArgument) after the commit; `action` completes "... cannot ...".
  void requireOpen(std::string_view action) const;
  void record(operations::Operation operation, std::string kernel);
  void use(BufferImplementation& buffer);
  void addHandler(std::function<void(const CommandBuffer&)> handler);
  void commit();
  CommandBuffer handle() { return CommandBuffer(Ref<RefCounted>(this)); }

  /// Storage that temporaries of this command buffer share.
  Ref<Storage> takeTemporaryStorage(std::size_t bytes);
  void giveTemporaryStorage(Ref<Storage> storage);
  void adopt(ArrayImplementation& temporary);
  std::size_t temporaryBytes() const { return temporaryBytes_; }

  /// Takes back what was recorded last, of an encode that failed half-way.
  void dropRecordsFrom(std::size_t count) {
    records_.erase(records_.begin() + static_cast<std::ptrdiff_t>(count), records_.end());
  }
  const std::vector<Record>& records() const { return records_; }

  // Executing: called by executors, from any thread.

  void begin();
  /// Ends the work; `error` says how it failed. Handlers run, and resources go, on the completion thread.
  static void finish(Ref<CommandBufferImplementation> commandBuffer, std::optional<Error> error);

  // Observing, from any thread.

  CommandBufferStatus status() const;
  std::optional<Error> error() const;
  bool hasEnded() const;
  double startTime() const;
  double endTime() const;
  /// Blocks until the work has ended, without regard to handlers.
  void waitForWork() const;
  /// Blocks until work and handlers have ended, and throws what failed.
  void waitUntilCompleted() const;

 private:
  void runHandlers();
  void endTemporaries();
  void releaseResources();

  Ref<CommandQueueImplementation> queue_;
  std::vector<Record> records_;
  std::vector<Ref<BufferImplementation>> buffers_;
  std::vector<std::function<void(const CommandBuffer&)>> handlers_;

  std::vector<Ref<ArrayImplementation>> temporaries_;
  std::vector<Ref<Storage>> freeStorage_;  // given back by temporaries whose reads are over
  std::vector<Ref<Storage>> allStorage_;   // goes to the device's cache when the work has ended
  std::optional<std::size_t> lane_;        // of that cache, once something has been taken from it
  std::size_t temporaryBytes_ = 0;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  CommandBufferStatus status_ = CommandBufferStatus::notEnqueued;
  bool handlersEnded_ = true;
  std::optional<Error> error_;
  double startTime_ = 0;
  double endTime_ = 0;
};

/// The object behind a handle. @throws Error (invalidArgument) for nil.
CommandQueueImplementation& implementation(const CommandQueue& queue);
CommandBufferImplementation& implementation(const CommandBuffer& commandBuffer);

}  // namespace metalloid::detail
