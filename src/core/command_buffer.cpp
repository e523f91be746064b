#include "core/array_implementation.hpp"
#include "core/buffer_implementation.hpp"
#include "core/command_buffer_implementation.hpp"
#include "core/completion_thread.hpp"
#include "core/format.hpp"

#include <metalloid/command_buffer.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace metalloid {
namespace detail {
namespace {

double secondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string quoted(const std::string& label) { return label.empty() ? "" : fmt::format(" \"{}\"", label); }

}  // namespace

CommandBufferImplementation& implementation(const CommandBuffer& commandBuffer) {
  if (!commandBuffer) throw Error(ErrorCode::invalidArgument, "The command buffer is nil.");
  return static_cast<CommandBufferImplementation&>(*commandBuffer.implementation());
}

CommandBufferImplementation::CommandBufferImplementation(Ref<CommandQueueImplementation> queue)
    : queue_(std::move(queue)) {}

CommandBufferImplementation::~CommandBufferImplementation() {
  endTemporaries();
  releaseResources();
}

void CommandBufferImplementation::requireOpen(std::string_view action) const {
  if (status() != CommandBufferStatus::notEnqueued) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Command buffer{} is committed already and cannot {}.", quoted(label), action));
  }
}

void CommandBufferImplementation::record(operations::Operation operation, std::string kernel) {
  records_.push_back({std::move(operation), std::move(kernel)});
}

void CommandBufferImplementation::use(BufferImplementation& buffer) { buffers_.emplace_back(&buffer); }

void CommandBufferImplementation::addHandler(std::function<void(const CommandBuffer&)> handler) {
  requireOpen("take a completion handler");
  handlers_.push_back(std::move(handler));
}

void CommandBufferImplementation::commit() {
  requireOpen("be committed again");
  device().requireUsable();
  endTemporaries();  // here, on the thread that uses them; their storage stays until the work has ended
  {
    std::scoped_lock lock(mutex_);
    status_ = CommandBufferStatus::committed;
    handlersEnded_ = handlers_.empty();
  }
  std::sort(buffers_.begin(), buffers_.end(),
            [](const auto& one, const auto& other) { return one.get() < other.get(); });
  buffers_.erase(std::unique(buffers_.begin(), buffers_.end()), buffers_.end());
  const Ref<CommandBufferImplementation> self(this);
  for (const auto& buffer : buffers_) buffer->addUse(self);
  queue_->executor().submit(self);
}

Ref<Storage> CommandBufferImplementation::takeTemporaryStorage(std::size_t bytes) {
  // Best fit among what earlier temporaries of this command buffer have given back; a block more than twice as large
  // as needed is left for those who need it. Small ones may be larger: the device gives such blocks as well.
  constexpr std::size_t kSmall = 4096;
  auto best = freeStorage_.end();
  for (auto it = freeStorage_.begin(); it != freeStorage_.end(); ++it) {
    const std::size_t length = (*it)->length();
    if (length >= bytes && length / 2 <= bytes + kSmall && (best == freeStorage_.end() || length < (*best)->length()))
      best = it;
  }
  if (best != freeStorage_.end()) {
    Ref<Storage> storage = std::move(*best);
    freeStorage_.erase(best);
    return storage;
  }
  if (!lane_) lane_ = device().enterLane();
  Ref<Storage> storage = device().takeBlock(*lane_, bytes);
  allStorage_.push_back(storage);
  temporaryBytes_ += storage->length();
  return storage;
}

void CommandBufferImplementation::giveTemporaryStorage(Ref<Storage> storage) {
  freeStorage_.push_back(std::move(storage));
}

void CommandBufferImplementation::adopt(ArrayImplementation& temporary) { temporaries_.emplace_back(&temporary); }

void CommandBufferImplementation::begin() {
  std::scoped_lock lock(mutex_);
  status_ = CommandBufferStatus::scheduled;
  startTime_ = secondsNow();
}

void CommandBufferImplementation::finish(Ref<CommandBufferImplementation> commandBuffer, std::optional<Error> error) {
  commandBuffer->releaseResources();
  {
    std::scoped_lock lock(commandBuffer->mutex_);
    commandBuffer->endTime_ = secondsNow();
    commandBuffer->status_ = error ? CommandBufferStatus::error : CommandBufferStatus::completed;
    commandBuffer->error_ = std::move(error);
  }
  commandBuffer->changed_.notify_all();
  CompletionThread::shared().post([commandBuffer = std::move(commandBuffer)] { commandBuffer->runHandlers(); });
}

void CommandBufferImplementation::runHandlers() {
  const CommandBuffer self = handle();
  for (const auto& handler : handlers_) {
    try {
      handler(self);
    } catch (...) {  // a handler's failure is the handler's; nobody waits here who could take it
    }
  }
  handlers_.clear();
  {
    std::scoped_lock lock(mutex_);
    handlersEnded_ = true;
  }
  changed_.notify_all();
}

void CommandBufferImplementation::endTemporaries() {
  for (const auto& temporary : temporaries_) temporary->endTemporary();
  temporaries_.clear();
}

void CommandBufferImplementation::releaseResources() {
  freeStorage_.clear();
  if (lane_) device().leaveLane(*lane_, std::exchange(allStorage_, {}));
  lane_.reset();
  buffers_.clear();
}

CommandBufferStatus CommandBufferImplementation::status() const {
  std::scoped_lock lock(mutex_);
  return status_;
}

std::optional<Error> CommandBufferImplementation::error() const {
  std::scoped_lock lock(mutex_);
  return error_;
}

bool CommandBufferImplementation::hasEnded() const {
  std::scoped_lock lock(mutex_);
  return status_ >= CommandBufferStatus::completed;
}

double CommandBufferImplementation::startTime() const {
  std::scoped_lock lock(mutex_);
  return startTime_;
}

double CommandBufferImplementation::endTime() const {
  std::scoped_lock lock(mutex_);
  return endTime_;
}

void CommandBufferImplementation::waitForWork() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return status_ >= CommandBufferStatus::completed; });
}

void CommandBufferImplementation::waitUntilCompleted() const {
  std::unique_lock lock(mutex_);
  if (status_ == CommandBufferStatus::notEnqueued) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Command buffer{} is waited for before its commit.", quoted(label)));
  }
  const bool insideHandler = CompletionThread::shared().isCurrent();
  changed_.wait(lock, [&] { return status_ >= CommandBufferStatus::completed && (handlersEnded_ || insideHandler); });
  if (error_) throw *error_;
}

}  // namespace detail

std::string_view name(CommandBufferStatus status) {
  switch (status) {
    case CommandBufferStatus::notEnqueued:
      return "notEnqueued";
    case CommandBufferStatus::enqueued:
      return "enqueued";
    case CommandBufferStatus::committed:
      return "committed";
    case CommandBufferStatus::scheduled:
      return "scheduled";
    case CommandBufferStatus::completed:
      return "completed";
    case CommandBufferStatus::error:
      return "error";
  }
  return "unknown";
}

Device CommandBuffer::device() const { return detail::implementation(*this).device().handle(); }

CommandQueue CommandBuffer::commandQueue() const {
  return CommandQueue(detail::Ref<detail::RefCounted>(&detail::implementation(*this).queue()));
}

std::string CommandBuffer::label() const { return detail::implementation(*this).label; }

void CommandBuffer::setLabel(std::string label) {
  auto& commandBuffer = detail::implementation(*this);
  commandBuffer.requireOpen("be labelled");
  commandBuffer.label = std::move(label);
}

void CommandBuffer::commit() { detail::implementation(*this).commit(); }

void CommandBuffer::waitUntilCompleted() const { detail::implementation(*this).waitUntilCompleted(); }

void CommandBuffer::addCompletedHandler(std::function<void(const CommandBuffer&)> handler) {
  detail::implementation(*this).addHandler(std::move(handler));
}

CommandBufferStatus CommandBuffer::status() const { return detail::implementation(*this).status(); }

std::optional<Error> CommandBuffer::error() const { return detail::implementation(*this).error(); }

double CommandBuffer::gpuStartTime() const { return detail::implementation(*this).startTime(); }

double CommandBuffer::gpuEndTime() const { return detail::implementation(*this).endTime(); }

std::vector<Explanation> CommandBuffer::explain() const {
  const auto& commandBuffer = detail::implementation(*this);
  std::vector<Explanation> explanations;
  for (const auto& record : commandBuffer.records()) {
    Explanation& explanation = explanations.emplace_back();
    explanation.operation = std::visit([](const auto& operation) { return operation.kName; }, record.operation);
    explanation.label = record.kernel;
    commandBuffer.device().explain(record.operation, explanation);
  }
  return explanations;
}

std::size_t CommandBuffer::temporaryBytes() const { return detail::implementation(*this).temporaryBytes(); }

}  // namespace metalloid
