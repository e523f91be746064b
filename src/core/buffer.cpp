#include "core/buffer_implementation.hpp"

#include "core/format.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace detail {

BufferImplementation& implementation(const Buffer& buffer) {
  if (!buffer) throw Error(ErrorCode::invalidArgument, "The buffer is nil.");
  return static_cast<BufferImplementation&>(*buffer.implementation());
}

std::byte* BufferImplementation::address() {
  std::scoped_lock lock(mutex_);
  if (!storage_) storage_ = device_->allocate(length_, /*zeroed=*/true);
  return storage_->address();
}

void BufferImplementation::addUse(Ref<CommandBufferImplementation> commandBuffer) {
  std::scoped_lock lock(mutex_);
  // What has ended matters only as long as nothing follows it.
  std::erase_if(uses_, [](const Ref<CommandBufferImplementation>& use) { return use->hasEnded(); });
  uses_.push_back(std::move(commandBuffer));
}

void BufferImplementation::waitForCommittedWork() {
  std::vector<Ref<CommandBufferImplementation>> uses;
  {
    std::scoped_lock lock(mutex_);
    uses = uses_;
  }
  for (const auto& use : uses) use->waitForWork();
  if (!uses.empty()) {
    if (const auto error = uses.back()->error()) throw *error;
  }
}

std::string BufferImplementation::label() const {
  std::scoped_lock lock(mutex_);
  return label_;
}

void BufferImplementation::setLabel(std::string label) {
  std::scoped_lock lock(mutex_);
  label_ = std::move(label);
}

namespace {

void requireRange(const Buffer& buffer, std::size_t offset, std::size_t length, std::string_view verb) {
  if (offset > buffer.length() || length > buffer.length() - offset) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Buffer \"{}\" has {} bytes, but {} bytes from offset {} are {}.", buffer.label(),
                            buffer.length(), length, offset, verb));
  }
}

}  // namespace
}  // namespace detail

Buffer::Buffer(const Device& device, std::size_t length)
    : Handle(detail::makeRef<detail::BufferImplementation>(
          detail::Ref<detail::DeviceImplementation>(&detail::implementation(device)), length)) {}

Device Buffer::device() const { return detail::implementation(*this).device().handle(); }

std::size_t Buffer::length() const { return detail::implementation(*this).length(); }

std::span<std::byte> Buffer::contents() const {
  auto& buffer = detail::implementation(*this);
  if (!buffer.device().isHostVisible()) {
    throw Error(ErrorCode::unsupported,
                fmt::format("Buffer \"{}\" lies on device {}, whose memory the host cannot see; use read and write.",
                            buffer.label(), buffer.device().name()));
  }
  return {buffer.address(), buffer.length()};
}

void Buffer::write(std::span<const std::byte> bytes, std::size_t offset) const {
  detail::requireRange(*this, offset, bytes.size(), "written");
  auto& buffer = detail::implementation(*this);
  buffer.waitForCommittedWork();
  if (bytes.empty()) return;
  buffer.device().copyToDevice(buffer.address() + offset, bytes.size(), bytes.data(), bytes.size(), {bytes.size(), 1});
}

std::vector<std::byte> Buffer::read(std::size_t offset, std::size_t length) const {
  auto& buffer = detail::implementation(*this);
  if (length == kToTheEnd && offset <= buffer.length()) length = buffer.length() - offset;
  detail::requireRange(*this, offset, length, "read");
  buffer.waitForCommittedWork();
  std::vector<std::byte> bytes(length);
  if (length > 0) buffer.device().copyToHost(bytes.data(), length, buffer.address() + offset, length, {length, 1});
  return bytes;
}

std::string Buffer::label() const { return detail::implementation(*this).label(); }

void Buffer::setLabel(std::string label) const { detail::implementation(*this).setLabel(std::move(label)); }

}  // namespace metalloid
