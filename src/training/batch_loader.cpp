#include "training/batch_loader.hpp"

#include "core/format.hpp"

#include <hwy/cache_control.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

namespace metalloid::training {
namespace {

/// In whole blocks, which compilers turn into vectors: pixels may be anything's bytes, also those of the result, and
/// what may overlap is computed one by one.
void normalize(std::span<const std::uint8_t> pixels, PixelNormalization normalization, float* to) {
  const auto normalized = [&](std::uint8_t pixel) {
    return static_cast<float>(pixel) * normalization.scale + normalization.offset;
  };
  constexpr std::size_t kBlock = 16;
  std::size_t i = 0;
  for (; i + kBlock <= pixels.size(); i += kBlock) {
    std::array<std::uint8_t, kBlock> block;
    std::copy_n(pixels.data() + i, kBlock, block.begin());
    std::array<float, kBlock> values;
    for (std::size_t k = 0; k < kBlock; ++k) values[k] = normalized(block[k]);
    std::copy_n(values.begin(), kBlock, to + i);
  }
  for (; i < pixels.size(); ++i) to[i] = normalized(pixels[i]);
}

/// Asks for an image that will be read soon. The order of images is random, and each would be waited for.
void prefetch(std::span<const std::uint8_t> pixels) {
  constexpr std::size_t kLine = 64;
  for (std::size_t i = 0; i < pixels.size(); i += kLine) hwy::Prefetch(pixels.data() + i);
}

}  // namespace

PixelNormalization PixelNormalization::of(const std::vector<std::uint8_t>& pixels) {
  // Counts are exact, whatever the number of pixels. Four tables, so that equal neighbours do not wait for each other.
  std::array<std::array<std::uint64_t, 256>, 4> counts{};
  std::size_t i = 0;
  for (; i + 4 <= pixels.size(); i += 4) {
    for (std::size_t k = 0; k < 4; ++k) ++counts[k][pixels[i + k]];
  }
  for (; i < pixels.size(); ++i) ++counts[0][pixels[i]];

  double sum = 0;
  double sumOfSquares = 0;
  for (std::size_t value = 0; value < 256; ++value) {
    const auto count = static_cast<double>(counts[0][value] + counts[1][value] + counts[2][value] + counts[3][value]);
    sum += static_cast<double>(value) * count;
    sumOfSquares += static_cast<double>(value * value) * count;
  }
  const auto number = static_cast<double>(std::max<std::size_t>(pixels.size(), 1));
  const double mean = sum / number;
  const double variance = sumOfSquares / number - mean * mean;
  const double scale = variance > 0 ? 1 / std::sqrt(variance) : 0;
  return {.scale = static_cast<float>(scale), .offset = static_cast<float>(-mean * scale)};
}

BatchLoader::BatchLoader(const Device& device, const BatchLayout& layout, std::size_t maximumRows,
                         PixelNormalization normalization)
    : normalization_(normalization), inputs_(layout.inputs()), pixels_(inputs_ * maximumRows), labels_(maximumRows) {
  for (std::size_t i = 0; i < kSlots; ++i) {
    slots_.emplace_back(device, layout, maximumRows);
    slots_.back().setLabel(fmt::format("batch slot {}", i));
  }
  thread_ = std::thread([this] { run(); });
}

BatchLoader::~BatchLoader() {
  {
    std::scoped_lock lock(mutex_);
    isStopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchLoader::begin(const formats::LabelledImages& images, Pass pass) {
  std::unique_lock lock(mutex_);
  isRunning_ = false;
  changed_.wait(lock, [this] { return !isLoading_; });
  images_ = &images;
  pass_ = std::move(pass);
  position_ = pass_.first;
  failure_ = nullptr;
  lent_.reset();
  ready_.clear();
  free_.clear();
  for (std::size_t i = kSlots; i-- > 0;) free_.push_back(i);
  isRunning_ = true;
  lock.unlock();
  changed_.notify_all();
}

std::optional<Batch> BatchLoader::next() {
  std::unique_lock lock(mutex_);
  if (lent_) {
    free_.push_back(*lent_);
    lent_.reset();
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return !ready_.empty() || !isRunning_; });
  if (ready_.empty()) {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return std::nullopt;
  }
  const Loaded loaded = ready_.front();
  ready_.pop_front();
  lent_ = loaded.slot;
  return slots_[loaded.slot].batch(loaded.rows);
}

void BatchLoader::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return isStopping_ || (isRunning_ && !free_.empty()); });
    if (isStopping_) return;
    const std::size_t slot = free_.front();
    free_.erase(free_.begin());  // the slot that has been free for longest: the device is done with it soonest
    isLoading_ = true;
    lock.unlock();
    std::optional<Loaded> loaded;
    std::exception_ptr failure;
    try {
      loaded = load(slot);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    isLoading_ = false;
    if (isRunning_) {  // unless begin() has dropped the pass
      if (loaded) {
        ready_.push_back(*loaded);
      } else {
        isRunning_ = false;
        failure_ = failure;
      }
    }
    changed_.notify_all();
  }
}

std::optional<BatchLoader::Loaded> BatchLoader::load(std::size_t slot) {
  const std::size_t rows = std::min(pass_.batchSize, pass_.order.size() - std::min(position_, pass_.order.size()));
  if (rows == 0 || rows < pass_.minimumRows) return std::nullopt;
  const auto pixelsOf = [&](std::size_t row) {
    return std::span(images_->pixels).subspan(pass_.order[position_ + row] * inputs_, inputs_);
  };
  constexpr std::size_t kAhead = 2;
  for (std::size_t row = 0; row < rows; ++row) {
    if (row + kAhead < rows) prefetch(pixelsOf(row + kAhead));
    normalize(pixelsOf(row), normalization_, pixels_.data() + row * inputs_);
    labels_[row] = images_->labels[pass_.order[position_ + row]];
  }
  position_ += rows;
  // Writing waits for the work that reads what was in the slot before.
  slots_[slot].write(rows, std::span<const float>(pixels_.data(), rows * inputs_),
                     std::span<const std::uint32_t>(labels_.data(), rows));
  return Loaded{.slot = slot, .rows = rows};
}

}  // namespace metalloid::training
