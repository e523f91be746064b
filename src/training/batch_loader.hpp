#pragma once

#include "formats/image_dataset.hpp"
#include "training/batch.hpp"

#include <metalloid/device.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace metalloid::training {

/// What a network sees of a pixel p: p*scale + offset.
struct PixelNormalization {
  float scale = 1.0f / 255;
  float offset = 0;

  /// The one that gives these pixels a mean of 0 and a standard deviation of 1 (and constant pixels the value 0).
  static PixelNormalization of(const std::vector<std::uint8_t>& pixels);

  bool operator==(const PixelNormalization&) const = default;
};

/// Gathers batches of images, turns them into normalized floats and brings them to the device, on a thread of its own
/// and a few batches ahead: the next batches are made while the device computes.
///
/// The host memory and the device memory it uses are allocated once. Used from one thread.
class BatchLoader {
 public:
  /// `layout`: of an image and its batch; `maximumRows`: largest batch.
  BatchLoader(const Device& device, const BatchLayout& layout, std::size_t maximumRows,
              PixelNormalization normalization);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  /// What is to be loaded: `images` in this order, from the position `first` of the order on, in batches of `batchSize`
  /// and a last one with what remains, unless that is fewer than `minimumRows`.
  struct Pass {
    std::vector<std::uint32_t> order;
    std::size_t first = 0;
    std::size_t batchSize = 1;
    std::size_t minimumRows = 1;
  };

  /// Begins a pass; what is left of a former one is dropped. The images must stay where they are until the pass has
  /// ended or another begins.
  void begin(const formats::LabelledImages& images, Pass pass);

  /// The next batch, or nothing at the end of the pass. The work that reads a batch must be committed before the next
  /// call, which gives the batch's place to the loading thread: the device's own order does the rest.
  std::optional<Batch> next();

 private:
  /// Places for batches: one being computed, one waiting in the queue, one ready, one being made.
  static constexpr std::size_t kSlots = 4;

  struct Loaded {
    std::size_t slot = 0;
    std::size_t rows = 0;
  };

  void run();
  std::optional<Loaded> load(std::size_t slot);

  PixelNormalization normalization_;
  std::size_t inputs_;
  std::vector<BatchSlot> slots_;

  // The loading thread's own while a pass is running.
  const formats::LabelledImages* images_ = nullptr;
  Pass pass_;
  std::size_t position_ = 0;
  std::vector<float> pixels_;
  std::vector<std::uint32_t> labels_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::size_t> free_;    // slots to be filled
  std::deque<Loaded> ready_;         // batches in their order
  std::optional<std::size_t> lent_;  // the slot of the batch that next() gave last
  std::exception_ptr failure_;       // of the loading thread
  bool isRunning_ = false;           // a pass has batches left that are not loaded yet
  bool isLoading_ = false;           // the thread is filling a slot
  bool isStopping_ = false;
  std::thread thread_;  // last: starts when everything above exists
};

}  // namespace metalloid::training
