#include "core/completion_thread.hpp"

#include <utility>

namespace metalloid::detail {

CompletionThread& CompletionThread::shared() {
  static auto* const thread = new CompletionThread;  // never destroyed: handlers may still come while statics go
  return *thread;
}

CompletionThread::CompletionThread() : thread_([this] { run(); }) {}

void CompletionThread::post(std::function<void()> task) {
  {
    std::scoped_lock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  posted_.notify_one();
}

void CompletionThread::drain(std::chrono::milliseconds longest) {
  if (isCurrent()) return;
  std::unique_lock lock(mutex_);
  idle_.wait_for(lock, longest, [this] { return tasks_.empty() && !isBusy_; });
}

void CompletionThread::run() {
  for (;;) {
    std::vector<std::function<void()>> tasks;
    {
      std::unique_lock lock(mutex_);
      isBusy_ = false;
      if (tasks_.empty()) idle_.notify_all();
      posted_.wait(lock, [this] { return !tasks_.empty(); });
      isBusy_ = true;
      tasks.swap(tasks_);
    }
    for (auto& task : tasks) {
      task();
      task = nullptr;  // let go of what it holds before the next one runs
    }
  }
}

}  // namespace metalloid::detail
