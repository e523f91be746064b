#pragma once

#include "backends/cuda/module.hpp"
#include "core/command_buffer_implementation.hpp"
#include "core/device_implementation.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

namespace metalloid::cuda {

/// Executes the command buffers of one queue: one thread submits them to the stream, so that the device never waits for
/// the host, and another one ends them as the device is done with each.
class CudaExecutor final : public detail::Executor {
 public:
  /// `device` lives as long as the process; `queue` belongs to the executor.
  CudaExecutor(detail::DeviceImplementation& device, ModuleQueue& queue);
  ~CudaExecutor() override;

  void submit(detail::Ref<detail::CommandBufferImplementation> commandBuffer) override;

  QueueStatistics statistics() const { return queue_.statistics(); }
  ModuleQueue& queue() const { return queue_; }

 private:
  struct Submitted {
    detail::Ref<detail::CommandBufferImplementation> commandBuffer;
    std::vector<const operations::Operation*> operations;
    ModuleQueue::Submission submission;
    Status status;
  };

  void runSubmitting();
  void runEnding();
  std::optional<Error> end(const Submitted& submitted);
  Error located(const Error& error, const detail::CommandBufferImplementation& commandBuffer, std::size_t record) const;

  detail::DeviceImplementation& device_;
  ModuleQueue& queue_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<detail::Ref<detail::CommandBufferImplementation>> pending_;
  std::deque<Submitted> submitted_;
  bool isStopping_ = false;
  bool isSubmittingOver_ = false;
  std::thread submitting_;  // last: start when everything above exists
  std::thread ending_;
};

/// What a Status says, as an Error.
Error errorOf(const Status& status);

}  // namespace metalloid::cuda
