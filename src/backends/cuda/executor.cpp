#include "backends/cuda/executor.hpp"

#include "backends/cuda/violations.hpp"
#include "core/format.hpp"
#include "core/log.hpp"

#include <cstdio>
#include <utility>

namespace metalloid::cuda {

Error errorOf(const Status& status) {
  return Error(status.code == Status::Code::outOfMemory ? ErrorCode::outOfMemory : ErrorCode::device, status.message);
}

CudaExecutor::CudaExecutor(detail::DeviceImplementation& device, ModuleQueue& queue)
    : device_(device), queue_(queue), submitting_([this] { runSubmitting(); }), ending_([this] { runEnding(); }) {}

CudaExecutor::~CudaExecutor() {
  {
    std::scoped_lock lock(mutex_);
    isStopping_ = true;
  }
  changed_.notify_all();
  submitting_.join();
  ending_.join();
  if (detail::logIsOn()) {
    const QueueStatistics done = queue_.statistics();
    std::fprintf(stderr, "metalloid: a queue of %s ends: %llu command buffers, %llu graphs captured, %llu replayed\n",
                 device_.name().c_str(), static_cast<unsigned long long>(done.submissions),
                 static_cast<unsigned long long>(done.graphCaptures),
                 static_cast<unsigned long long>(done.graphReplays));
  }
  queue_.release();
}

void CudaExecutor::submit(detail::Ref<detail::CommandBufferImplementation> commandBuffer) {
  {
    std::scoped_lock lock(mutex_);
    pending_.push_back(std::move(commandBuffer));
  }
  changed_.notify_all();
}

void CudaExecutor::runSubmitting() {
  for (;;) {
    Submitted next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return isStopping_ || !pending_.empty(); });
      if (pending_.empty()) {  // stopping; pending work would have kept the queue alive
        isSubmittingOver_ = true;
        break;
      }
      next.commandBuffer = std::move(pending_.front());
      pending_.pop_front();
    }
    next.commandBuffer->begin();
    for (const auto& record : next.commandBuffer->records()) next.operations.push_back(&record.operation);
    next.status = queue_.submit(next.operations.data(), next.operations.size(), next.submission);
    {
      std::scoped_lock lock(mutex_);
      submitted_.push_back(std::move(next));
    }
    changed_.notify_all();
  }
  changed_.notify_all();
}

void CudaExecutor::runEnding() {
  for (;;) {
    Submitted next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return isSubmittingOver_ || !submitted_.empty(); });
      if (submitted_.empty()) return;
      next = std::move(submitted_.front());
      submitted_.pop_front();
    }
    auto error = end(next);
    detail::CommandBufferImplementation::finish(std::move(next.commandBuffer), std::move(error));
  }
}

std::optional<Error> CudaExecutor::end(const Submitted& submitted) {
  std::size_t violated = ModuleQueue::kNone;
  const Status waited = queue_.wait(submitted.submission.ticket, violated);
  const auto& commandBuffer = *submitted.commandBuffer;
  // What earlier command buffers left may be what the next one needs.
  if (submitted.status.code == Status::Code::outOfMemory) device_.releaseCachedBlocks();
  if (!submitted.status.isOk()) return located(errorOf(submitted.status), commandBuffer, submitted.submission.failed);
  if (!waited.isOk()) return located(errorOf(waited), commandBuffer, ModuleQueue::kNone);
  if (violated < commandBuffer.records().size()) {
    return located(violationOf(commandBuffer.records()[violated].operation, device_), commandBuffer, violated);
  }
  return std::nullopt;
}

Error CudaExecutor::located(const Error& error, const detail::CommandBufferImplementation& commandBuffer,
                            std::size_t record) const {
  const Error inDevice = record < commandBuffer.records().size()
                             ? error.during(fmt::format("executing {} on device {}",
                                                        commandBuffer.records()[record].kernel, device_.name()))
                             : error.during(fmt::format("executing a command buffer on device {}", device_.name()));
  return commandBuffer.label.empty()
             ? inDevice
             : inDevice.during(fmt::format("executing command buffer \"{}\"", commandBuffer.label));
}

}  // namespace metalloid::cuda
