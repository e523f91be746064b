#include "core/array_implementation.hpp"
#include "core/format.hpp"
#include "core/state_implementation.hpp"

#include <metalloid/error.hpp>
#include <metalloid/state.hpp>

#include <unordered_set>
#include <utility>

namespace metalloid {
namespace detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

}  // namespace

StateImplementation& implementation(const State& state) {
  if (!state) refuse("The state is nil.");
  return static_cast<StateImplementation&>(*state.implementation());
}

StateImplementation::StateImplementation(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer)
    : device_(std::move(device)), commandBuffer_(commandBuffer ? &detail::implementation(*commandBuffer) : nullptr) {
  if (commandBuffer_) commandBuffer_->requireOpen("take a temporary state");
}

const Vector& StateImplementation::addVector(std::size_t length, DataType type, std::size_t vectors) {
  const VectorDescriptor descriptor{.length = length, .vectors = vectors, .dataType = type};
  if (!commandBuffer_) return vectors_.emplace_back(device_->handle(), descriptor);
  CommandBuffer commandBuffer = commandBuffer_->handle();
  const TemporaryVector vector(commandBuffer, descriptor);
  vector.setReadCount(all);  // it is the state's reads that count
  return vectors_.emplace_back(vector);
}

const Vector& StateImplementation::addVector(Vector existing) { return vectors_.emplace_back(std::move(existing)); }

const Image& StateImplementation::addImage(const ImageDescriptor& descriptor) {
  if (!commandBuffer_) return images_.emplace_back(device_->handle(), descriptor);
  CommandBuffer commandBuffer = commandBuffer_->handle();
  const TemporaryImage image(commandBuffer, descriptor);
  image.setReadCount(all);
  return images_.emplace_back(image);
}

CommandBufferImplementation* StateImplementation::owner() const {
  if (!vectors_.empty()) return detail::implementation(vectors_.front()).owner();
  if (!images_.empty()) return detail::implementation(images_.front()).array().owner();
  return nullptr;
}

void StateImplementation::setReadCount(std::size_t count) {
  if (!isTemporary()) refuse(fmt::format("{} has no readCount: it is not temporary.", name()));
  if (readCount_ == 0) refuse(fmt::format("The readCount of {} is 0 already: its contents are gone.", name()));
  readCount_ = count;
  if (count > 0) return;
  for (const Vector& vector : vectors_) {
    if (auto& array = detail::implementation(vector); array.isTemporary()) array.setReadCount(0);
  }
  for (const Image& image : images_) detail::implementation(image).setReadCount(0);
}

std::string StateImplementation::name() const {
  return label_.empty() ? std::string(className()) : fmt::format("{} \"{}\"", className(), label_);
}

namespace {

Ref<StateImplementation> makeState(Ref<DeviceImplementation> device, CommandBuffer* commandBuffer,
                                   const StateResourceList& resources) {
  auto state = makeRef<StateImplementation>(std::move(device), commandBuffer);
  for (const auto& texture : resources.textures()) state->addImage(texture);
  for (const std::size_t size : resources.buffers()) state->addVector(size, DataType::uInt8);
  return state;
}

Ref<DeviceImplementation> deviceOf(const Device& device) {
  return Ref<DeviceImplementation>(&detail::implementation(device));
}

Ref<DeviceImplementation> deviceOf(const CommandBuffer& commandBuffer) {
  return Ref<DeviceImplementation>(&detail::implementation(commandBuffer).device());
}

StateResourceList buffer(std::size_t size) {
  StateResourceList list;
  list.appendBuffer(size);
  return list;
}

StateResourceList texture(const ImageDescriptor& descriptor) {
  StateResourceList list;
  list.appendTexture(descriptor);
  return list;
}

}  // namespace
}  // namespace detail

State::State(const Device& device, std::size_t bufferSize) : State(device, detail::buffer(bufferSize)) {}
State::State(const Device& device, const ImageDescriptor& textureDescriptor)
    : State(device, detail::texture(textureDescriptor)) {}
State::State(const Device& device, const StateResourceList& resourceList)
    : Handle(detail::makeState(detail::deviceOf(device), nullptr, resourceList)) {}

State::State(std::span<const Buffer> resources)
    : Handle([&]() -> detail::Ref<detail::RefCounted> {
        if (resources.empty()) detail::refuse("A state of existing buffers needs one.");
        auto state = detail::makeRef<detail::StateImplementation>(detail::deviceOf(resources.front().device()));
        for (const Buffer& buffer : resources) {
          if (buffer.device() != resources.front().device())
            detail::refuse("The buffers of a state are of one device.");
          state->addVector(Vector(buffer, {.length = buffer.length(), .dataType = DataType::uInt8}));
        }
        return state;
      }()) {}

State State::temporaryState(CommandBuffer& commandBuffer) { return temporaryState(commandBuffer, StateResourceList()); }
State State::temporaryState(CommandBuffer& commandBuffer, std::size_t bufferSize) {
  return temporaryState(commandBuffer, detail::buffer(bufferSize));
}
State State::temporaryState(CommandBuffer& commandBuffer, const ImageDescriptor& textureDescriptor) {
  return temporaryState(commandBuffer, detail::texture(textureDescriptor));
}
State State::temporaryState(CommandBuffer& commandBuffer, const StateResourceList& resourceList) {
  return State(detail::Ref<detail::RefCounted>(
      detail::makeState(detail::deviceOf(commandBuffer), &commandBuffer, resourceList)));
}

Device State::device() const { return detail::implementation(*this).device().handle(); }
bool State::isTemporary() const { return detail::implementation(*this).isTemporary(); }
std::size_t State::readCount() const { return detail::implementation(*this).readCount(); }
void State::setReadCount(std::size_t count) const { detail::implementation(*this).setReadCount(count); }

std::size_t State::resourceCount() const {
  const auto& self = detail::implementation(*this);
  return self.images().size() + self.vectors().size();
}

StateResourceType State::resourceTypeAtIndex(std::size_t index) const {
  const auto& self = detail::implementation(*this);
  if (index < self.images().size()) return StateResourceType::texture;
  return index < resourceCount() ? StateResourceType::buffer : StateResourceType::none;
}

std::size_t State::bufferSizeAtIndex(std::size_t index) const {
  if (resourceTypeAtIndex(index) != StateResourceType::buffer) return 0;
  const auto& self = detail::implementation(*this);
  return self.vectors()[index - self.images().size()].resourceSize();
}

ImageDescriptor State::textureInfoAtIndex(std::size_t index) const {
  if (resourceTypeAtIndex(index) != StateResourceType::texture) {
    return {.width = 0, .height = 0, .featureChannels = 0, .numberOfImages = 0};
  }
  return detail::implementation(*this).images()[index].descriptor();
}

Buffer State::bufferAtIndex(std::size_t index) const {
  const auto& self = detail::implementation(*this);
  if (resourceTypeAtIndex(index) != StateResourceType::buffer)
    detail::refuse(fmt::format("Resource {} of {} is not a buffer.", index, self.name()));
  return self.vectors()[index - self.images().size()].data();
}

Image State::textureAtIndex(std::size_t index) const {
  const auto& self = detail::implementation(*this);
  if (resourceTypeAtIndex(index) != StateResourceType::texture)
    detail::refuse(fmt::format("Resource {} of {} is not an image.", index, self.name()));
  return self.images()[index];
}

std::size_t State::resourceSize() const {
  const auto& self = detail::implementation(*this);
  std::size_t bytes = 0;
  for (const Vector& vector : self.vectors()) bytes += vector.resourceSize();
  for (const Image& image : self.images()) bytes += image.resourceSize();
  return bytes;
}

void State::synchronize(CommandBuffer& commandBuffer) const {
  const auto& self = detail::implementation(*this);
  const auto& target = detail::implementation(commandBuffer);
  target.requireOpen("synchronize");
  if (&target.device() != &self.device()) {
    detail::refuse(fmt::format("{} is on device {}, but the command buffer is on device {}.", self.name(),
                               self.device().name(), target.device().name()));
  }
}

std::string State::label() const { return detail::implementation(*this).label(); }
void State::setLabel(std::string label) const { detail::implementation(*this).setLabel(std::move(label)); }

namespace {

template <class F>
std::size_t forEachDistinct(const StateBatch& batch, F&& f) {
  std::unordered_set<State> seen;
  for (const State& state : batch) {
    if (seen.insert(state).second) f(state);
  }
  return seen.size();
}

}  // namespace

std::size_t stateBatchIncrementReadCount(const StateBatch& batch, std::ptrdiff_t amount) {
  return forEachDistinct(batch, [&](const State& state) {
    if (!state.isTemporary() || state.readCount() == 0) return;
    const auto count = static_cast<std::ptrdiff_t>(state.readCount()) + amount;
    if (count < 0) {
      detail::refuse(fmt::format("The readCount of {} is {} and cannot become {}.",
                                 detail::implementation(state).name(), state.readCount(), count));
    }
    state.setReadCount(static_cast<std::size_t>(count));
  });
}

void stateBatchSynchronize(const StateBatch& batch, CommandBuffer& commandBuffer) {
  forEachDistinct(batch, [&](const State& state) { state.synchronize(commandBuffer); });
}

std::size_t stateBatchResourceSize(const StateBatch& batch) {
  std::size_t bytes = 0;
  forEachDistinct(batch, [&](const State& state) { bytes += state.resourceSize(); });
  return bytes;
}

}  // namespace metalloid
