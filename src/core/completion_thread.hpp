#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace metalloid::detail {

/// The one thread on which completion handlers run and finished command buffers are let go.
///
/// Not the thread that executes commands, so that a slow handler delays no work, and so that the last reference to a
/// queue is never dropped on the thread which that queue would have to join.
class CompletionThread {
 public:
  static CompletionThread& shared();

  void post(std::function<void()> task);

  /// Waits until what was posted is done, but not longer than this; returns at once on the thread itself.
  void drain(std::chrono::milliseconds longest);

  bool isCurrent() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  CompletionThread();
  void run();

  std::mutex mutex_;
  std::condition_variable posted_;
  std::condition_variable idle_;
  std::vector<std::function<void()>> tasks_;
  bool isBusy_ = false;
  std::thread thread_;  // last: starts when everything above exists
};

}  // namespace metalloid::detail
