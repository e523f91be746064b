#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

namespace metalloid::cpu {

/// The half-open range [begin, end) of one block.
struct BlockRange {
  std::size_t begin = 0;
  std::size_t end = 0;

  constexpr std::size_t size() const noexcept { return end - begin; }
};

/// Cuts [0, size) into blocks whose boundaries depend on the problem alone, never on the number of threads: what is
/// summed block by block, and then over the blocks in order, has the same bits on every machine.
class BlockSplit {
 public:
  /// Blocks of `blockSize`; the last one may be shorter. No block at all for an empty range.
  constexpr BlockSplit(std::size_t size, std::size_t blockSize) noexcept
      : size_(size), blockSize_(blockSize == 0 ? 1 : blockSize) {}

  /// At most `maximumCount` blocks of nearly equal length, each (but the last) a multiple of `granule`.
  static constexpr BlockSplit inAtMost(std::size_t maximumCount, std::size_t size, std::size_t granule = 1) noexcept {
    const std::size_t granules = size / granule + (size % granule != 0 ? 1 : 0);
    const std::size_t count = std::max<std::size_t>(maximumCount, 1);
    return {size, (granules / count + (granules % count != 0 ? 1 : 0)) * granule};
  }

  constexpr std::size_t count() const noexcept { return size_ / blockSize_ + (size_ % blockSize_ != 0 ? 1 : 0); }

  constexpr BlockRange operator[](std::size_t index) const noexcept {
    const std::size_t begin = index * blockSize_;
    return {begin, begin + std::min(blockSize_, size_ - begin)};
  }

 private:
  std::size_t size_;
  std::size_t blockSize_;
};

/// A fixed set of threads for short parallel loops.
///
/// Made for regions of a few microseconds: a call allocates nothing, the caller works too, and workers that have run
/// out of work watch for more for some tens of microseconds before they sleep, so that an idle process costs nothing.
/// The caller never waits for a worker that has not begun: what nobody else took, it does itself.
///
/// Any thread may call at any time. A pool runs one loop at once; a call that finds it busy (a second queue, or a loop
/// inside a loop) runs its tasks on the calling thread. Tasks tend to go to the same threads in each loop of as many
/// tasks, but which thread runs which is never fixed, and no result may depend on it.
class ThreadPool {
 public:
  /// A pool in which `threads` threads work, the caller among them; 0 counts as 1.
  /// Throws Error(device) when the system refuses to start them.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// How many threads work on a loop, the caller included.
  unsigned threads() const noexcept { return threads_; }

  /// Calls `f(i)` once for each i in [0, tasks) and returns when all calls have returned. When calls throw, all the
  /// others still run; then the exception of the lowest i is thrown here.
  template <class F>
  void parallelFor(std::size_t tasks, F&& f) {
    using Function = std::remove_reference_t<F>;
    const auto call = [](const void* context, std::size_t index) {
      (*static_cast<Function*>(const_cast<void*>(context)))(index);
    };
    run(tasks, call, std::addressof(f));
  }

  /// Calls `f(BlockRange)` for each block of `split`, as parallelFor does.
  template <class F>
  void parallelForBlocks(const BlockSplit& split, F&& f) {
    parallelFor(split.count(), [&](std::size_t index) { f(split[index]); });
  }

 private:
  using Call = void (*)(const void* context, std::size_t index);

  /// The loop under way, cut into claims. Written by the caller before the bits of `unclaimed_` announce it; it stays
  /// until `unfinished_` is zero.
  struct Loop {
    Call call = nullptr;
    const void* context = nullptr;
    std::size_t tasks = 0;
    std::size_t tasksPerClaim = 1;
  };

  void run(std::size_t tasks, Call call, const void* context);
  void runInline(std::size_t tasks, Call call, const void* context);
  void work(unsigned thread);
  void takeClaims(unsigned thread);
  std::optional<std::size_t> takeClaim(unsigned thread);
  bool anythingUnclaimed() const;
  void keepException(std::size_t index) noexcept;
  bool waitForClaims();
  void wakeWorkers(std::size_t atMost);
  void waitUntilFinished();
  void stopWorkers() noexcept;

  static constexpr std::size_t kCacheLine = 64;
  static constexpr std::size_t kWords = 4;  // 256 claims: as many threads as can take part
  using Word = std::atomic<std::uint64_t>;

  const unsigned threads_;
  Loop loop_;

  // One bit for each claim that nobody has taken yet. A thread first takes its own share from the front, so that the
  // same data meets the same core's cache in loop after loop, and then what is left from the back.
  alignas(kCacheLine) std::array<Word, kWords> unclaimed_{};
  std::atomic<std::size_t> claims_{0};  // for finding one's share
  alignas(kCacheLine) std::atomic<std::size_t> unfinished_{0};
  alignas(kCacheLine) std::atomic<bool> busy_{false};

  std::atomic<unsigned> sleepers_{0};
  std::atomic<bool> callerSleeps_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // of the two conditions and of the exception; never held while a task runs
  std::condition_variable workAnnounced_;
  std::condition_variable workFinished_;

  std::size_t exceptionIndex_ = 0;
  std::exception_ptr exception_;

  std::vector<std::thread> workers_;
};

}  // namespace metalloid::cpu
