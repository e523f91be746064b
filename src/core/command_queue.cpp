#include "core/command_buffer_implementation.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace detail {

CommandQueueImplementation& implementation(const CommandQueue& queue) {
  if (!queue) throw Error(ErrorCode::invalidArgument, "The command queue is nil.");
  return static_cast<CommandQueueImplementation&>(*queue.implementation());
}

std::string CommandQueueImplementation::label() const {
  std::scoped_lock lock(mutex_);
  return label_;
}

void CommandQueueImplementation::setLabel(std::string label) {
  std::scoped_lock lock(mutex_);
  label_ = std::move(label);
}

}  // namespace detail

CommandQueue Device::makeCommandQueue() const {
  return CommandQueue(detail::makeRef<detail::CommandQueueImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(*this))));
}

Device CommandQueue::device() const { return detail::implementation(*this).device().handle(); }

CommandBuffer CommandQueue::makeCommandBuffer() const {
  return CommandBuffer(detail::makeRef<detail::CommandBufferImplementation>(
      detail::Ref<detail::CommandQueueImplementation>(&detail::implementation(*this))));
}

std::string CommandQueue::label() const { return detail::implementation(*this).label(); }

void CommandQueue::setLabel(std::string label) const { detail::implementation(*this).setLabel(std::move(label)); }

}  // namespace metalloid
