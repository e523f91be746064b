#include "core/completion_thread.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace metalloid::detail {
namespace {

using std::chrono::milliseconds;

TEST(CompletionThread, DrainWaitsForWhatWasPosted) {
  std::atomic<int> done = 0;
  for (int i = 0; i < 3; ++i) {
    CompletionThread::shared().post([&done] {
      std::this_thread::sleep_for(milliseconds(5));
      ++done;
    });
  }
  CompletionThread::shared().drain(std::chrono::seconds(60));
  EXPECT_EQ(done, 3);
}

TEST(CompletionThread, DrainGivesUpAfterAWhile) {
  std::atomic<bool> mayEnd = false;
  CompletionThread::shared().post([&mayEnd] {
    while (!mayEnd) std::this_thread::sleep_for(milliseconds(1));
  });
  CompletionThread::shared().drain(milliseconds(5));
  mayEnd = true;  // not reached if that had waited for the end
  CompletionThread::shared().drain(std::chrono::seconds(60));
}

TEST(CompletionThread, DrainOnTheThreadItselfReturnsAtOnce) {
  std::atomic<bool> hasReturned = false;
  CompletionThread::shared().post([&hasReturned] {
    CompletionThread::shared().drain(std::chrono::hours(1));
    hasReturned = true;
  });
  CompletionThread::shared().drain(std::chrono::seconds(60));
  EXPECT_TRUE(hasReturned);
}

}  // namespace
}  // namespace metalloid::detail
