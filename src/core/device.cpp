#include "core/device_implementation.hpp"

#include "core/format.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>
#include <metalloid/geometry.hpp>

#include <algorithm>

namespace metalloid {
namespace detail {

DeviceImplementation& implementation(const Device& device) {
  if (!device) throw Error(ErrorCode::invalidArgument, "The device is nil.");
  return static_cast<DeviceImplementation&>(*device.implementation());
}

namespace {
// A block may be larger than asked for, but not by so much that memory is wasted.
constexpr std::size_t largestAcceptable(std::size_t bytes) { return bytes + bytes / 4 + 4096; }
constexpr std::size_t kBlockGranule = 256;
}  // namespace

std::size_t DeviceImplementation::enterLane() {
  std::scoped_lock lock(blocksMutex_);
  const auto lane = std::find(isLaneTaken_.begin(), isLaneTaken_.end(), false);
  const auto number = static_cast<std::size_t>(lane - isLaneTaken_.begin());
  if (lane == isLaneTaken_.end()) isLaneTaken_.push_back(false);
  isLaneTaken_[number] = true;
  return number;
}

Ref<Storage> DeviceImplementation::takeBlock(std::size_t lane, std::size_t bytes) {
  const std::size_t rounded =
      bytes > metalloid::all - kBlockGranule ? bytes : (bytes + kBlockGranule - 1) / kBlockGranule * kBlockGranule;
  {
    std::scoped_lock lock(blocksMutex_);
    auto best = blocks_.end();
    for (auto it = blocks_.lower_bound(rounded); it != blocks_.end(); ++it) {
      if (it->first > largestAcceptable(rounded)) break;
      // Those of lower lanes are in use whenever this lane is, but for moments: taking them would change the addresses
      // that the lower lane finds next.
      if (it->second.lane < lane) continue;
      const bool isOwn = it->second.lane == lane;
      if (isOwn || best == blocks_.end()) best = it;
      if (isOwn) break;
    }
    if (best != blocks_.end()) {
      Ref<Storage> block = std::move(best->second.storage);
      blocks_.erase(best);
      return block;
    }
  }
  return allocate(rounded, /*zeroed=*/false);
}

void DeviceImplementation::leaveLane(std::size_t lane, std::vector<Ref<Storage>> blocks) {
  std::scoped_lock lock(blocksMutex_);
  // Among those of one size the one that was taken first shall be found first.
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    const std::size_t length = (*block)->length();
    blocks_.emplace_hint(blocks_.lower_bound(length), length, CachedBlock{std::move(*block), lane});
  }
  isLaneTaken_[lane] = false;
}

void DeviceImplementation::releaseCachedBlocks() {
  decltype(blocks_) blocks;  // destroyed outside the lock
  std::scoped_lock lock(blocksMutex_);
  blocks.swap(blocks_);
}

void DeviceImplementation::countAllocated(std::size_t bytes) {
  const std::size_t now = allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::size_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

}  // namespace detail

const std::string& Device::name() const { return detail::implementation(*this).name(); }

std::string Device::description() const { return detail::implementation(*this).description(); }

Buffer Device::makeBuffer(std::size_t length) const { return Buffer(*this, length); }

Buffer Device::makeBuffer(const void* bytes, std::size_t length) const {
  if (!bytes && length > 0) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The bytes for a buffer of length {} are nil.", length));
  }
  Buffer buffer(*this, length);
  buffer.write(std::span(static_cast<const std::byte*>(bytes), length));
  return buffer;
}

std::size_t Device::numberOfThreads() const { return detail::implementation(*this).numberOfThreads(); }

void Device::setNumberOfThreads(std::size_t count) const {
  if (count == 0) throw Error(ErrorCode::invalidArgument, "The number of threads is 0, but at least one computes.");
  detail::implementation(*this).setNumberOfThreads(count);
}

std::size_t Device::allocatedBytes() const { return detail::implementation(*this).allocatedBytes(); }

std::size_t Device::peakAllocatedBytes() const { return detail::implementation(*this).peakAllocatedBytes(); }

}  // namespace metalloid
