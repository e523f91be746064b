#include "backends/cpu/thread_pool.hpp"

#include <metalloid/error.hpp>

#include <bit>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include <hwy/cache_control.h>

namespace metalloid::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the gap between two small loops of one training step, short against a scheduler's tick.
constexpr std::chrono::microseconds kSpinTime{60};
constexpr int kPausesPerLook = 32;  // reading the clock costs about as much as one or two pauses

// Enough to keep the threads level when one of them is slow or late.
constexpr std::size_t kClaimsPerThread = 16;

/// The bits [begin, end) of a word; end may lie beyond it.
constexpr std::uint64_t bitsFrom(std::size_t begin, std::size_t end) {
  const std::uint64_t below = end >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << end) - 1;
  return begin >= 64 ? 0 : below & (~std::uint64_t{0} << begin);
}

/// Watches `ready` for kSpinTime; whether it came true.
template <class Condition>
bool spinUntil(const Condition& ready) {
  const auto deadline = Clock::now() + kSpinTime;
  do {
    for (int pause = 0; pause < kPausesPerLook; ++pause) {
      if (ready()) return true;
      hwy::Pause();
    }
  } while (Clock::now() < deadline);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) : threads_(std::max(threads, 1U)) {
  if (threads <= 1) return;
  workers_.reserve(threads - 1);
  try {
    for (unsigned i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    const std::size_t started = workers_.size() + 1;
    stopWorkers();
    throw Error(ErrorCode::device, "The system starts only " + std::to_string(started) + " of the " +
                                       std::to_string(threads) + " threads of the CPU device: " + error.what() + ".");
  }
}

ThreadPool::~ThreadPool() { stopWorkers(); }

void ThreadPool::stopWorkers() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stop_.store(true);
  }
  workAnnounced_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::run(std::size_t tasks, Call call, const void* context) {
  if (tasks == 0) return;
  if (tasks == 1 || workers_.empty() || busy_.exchange(true, std::memory_order_acquire)) {
    runInline(tasks, call, context);
    return;
  }

  const std::size_t most = std::min(threads() * kClaimsPerThread, kWords * 64);
  const std::size_t tasksPerClaim = (tasks - 1) / most + 1;
  const std::size_t claims = (tasks - 1) / tasksPerClaim + 1;
  loop_ = {call, context, tasks, tasksPerClaim};
  claims_.store(claims, std::memory_order_relaxed);
  unfinished_.store(claims, std::memory_order_relaxed);
  for (std::size_t begin = 0; begin < claims; begin += 64) {
    unclaimed_[begin / 64].store(bitsFrom(0, std::min<std::size_t>(claims - begin, 64)));  // publishes the loop
  }
  wakeWorkers(claims - 1);

  takeClaims(0);
  waitUntilFinished();

  const std::exception_ptr exception = std::exchange(exception_, nullptr);
  busy_.store(false, std::memory_order_release);
  if (exception) std::rethrow_exception(exception);
}

void ThreadPool::runInline(std::size_t tasks, Call call, const void* context) {
  std::exception_ptr first;
  for (std::size_t i = 0; i < tasks; ++i) {
    try {
      call(context, i);
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

void ThreadPool::takeClaims(unsigned thread) {
  while (const auto claim = takeClaim(thread)) {
    // The claim keeps the loop from ending, so that loop_ is valid until unfinished_ is decremented.
    const std::size_t begin = *claim * loop_.tasksPerClaim;
    const std::size_t end = std::min(begin + loop_.tasksPerClaim, loop_.tasks);
    for (std::size_t i = begin; i < end; ++i) {
      try {
        loop_.call(loop_.context, i);
      } catch (...) {
        keepException(i);
      }
    }
    if (unfinished_.fetch_sub(1) == 1 && callerSleeps_.load()) {
      const std::scoped_lock lock(mutex_);  // the caller is either before its last look or already waiting
      workFinished_.notify_one();
    }
  }
}

/// Whoever clears a bit that was set owns that claim, be the bit of this loop or of a later one than it looked at.
std::optional<std::size_t> ThreadPool::takeClaim(unsigned thread) {
  const std::size_t claims = claims_.load(std::memory_order_relaxed);
  const std::size_t begin = (thread * claims + threads_ - 1) / threads_;
  const std::size_t end = ((thread + 1) * claims + threads_ - 1) / threads_;
  for (std::size_t word = begin / 64; word * 64 < end; ++word) {
    const std::uint64_t share = bitsFrom(begin - std::min(begin, word * 64), end - word * 64);
    while (const std::uint64_t bits = unclaimed_[word].load(std::memory_order_relaxed) & share) {
      const std::uint64_t first = bits & (~bits + 1);
      if ((unclaimed_[word].fetch_and(~first, std::memory_order_acquire) & first) != 0) {
        return word * 64 + static_cast<std::size_t>(std::countr_zero(first));
      }
    }
  }
  for (std::size_t word = kWords; word-- > 0;) {
    while (const std::uint64_t bits = unclaimed_[word].load(std::memory_order_relaxed)) {
      const std::uint64_t last = std::bit_floor(bits);
      if ((unclaimed_[word].fetch_and(~last, std::memory_order_acquire) & last) != 0) {
        return word * 64 + static_cast<std::size_t>(std::countr_zero(last));
      }
    }
  }
  return std::nullopt;
}

bool ThreadPool::anythingUnclaimed() const {
  return std::any_of(unclaimed_.begin(), unclaimed_.end(), [](const Word& word) { return word.load() != 0; });
}

void ThreadPool::keepException(std::size_t index) noexcept {
  const std::scoped_lock lock(mutex_);
  if (exception_ && exceptionIndex_ < index) return;
  exceptionIndex_ = index;
  exception_ = std::current_exception();
}

void ThreadPool::work(unsigned thread) {
  while (waitForClaims()) takeClaims(thread);
}

/// Waits for the next loop; false when the pool ends.
bool ThreadPool::waitForClaims() {
  const auto announced = [this] { return anythingUnclaimed() || stop_.load(); };
  if (!spinUntil(announced)) {
    // The caller first announces and then reads sleepers_, a worker first counts itself and then looks: one of the two
    // sees the other. All four are sequentially consistent.
    sleepers_.fetch_add(1);
    std::unique_lock lock(mutex_);
    workAnnounced_.wait(lock, announced);
    sleepers_.fetch_sub(1);
  }
  return !stop_.load();
}

void ThreadPool::wakeWorkers(std::size_t atMost) {
  const std::size_t count = std::min<std::size_t>(sleepers_.load(), atMost);
  if (count == 0) return;
  { const std::scoped_lock lock(mutex_); }  // whoever has looked in vain is waiting by now
  if (count >= workers_.size()) {
    workAnnounced_.notify_all();
  } else {
    for (std::size_t i = 0; i < count; ++i) workAnnounced_.notify_one();
  }
}

void ThreadPool::waitUntilFinished() {
  const auto finished = [this] { return unfinished_.load() == 0; };
  if (spinUntil([this] { return unfinished_.load(std::memory_order_acquire) == 0; })) return;
  callerSleeps_.store(true);
  {
    std::unique_lock lock(mutex_);
    workFinished_.wait(lock, finished);
  }
  callerSleeps_.store(false);
}

}  // namespace metalloid::cpu
