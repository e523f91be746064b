#include "backends/cpu/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <initializer_list>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::cpu {
namespace {

std::vector<std::size_t> sizes(std::initializer_list<std::size_t> list) { return list; }

TEST(BlockSplit, CoversTheRangeWithoutGapsOrOverlap) {
  for (const std::size_t size : sizes({0, 1, 2, 7, 64, 65, 1000})) {
    for (const std::size_t blockSize : sizes({1, 3, 64, 2000})) {
      const BlockSplit split(size, blockSize);
      std::size_t next = 0;
      for (std::size_t i = 0; i < split.count(); ++i) {
        EXPECT_EQ(split[i].begin, next);
        EXPECT_GT(split[i].end, split[i].begin);
        EXPECT_LE(split[i].size(), blockSize);
        next = split[i].end;
      }
      EXPECT_EQ(next, size);
    }
  }
}

TEST(BlockSplit, InAtMostKeepsCountAndGranule) {
  for (const std::size_t size : sizes({0, 1, 15, 16, 17, 1000, 4096})) {
    const BlockSplit split = BlockSplit::inAtMost(7, size, 16);
    EXPECT_LE(split.count(), 7U);
    for (std::size_t i = 0; i < split.count(); ++i) EXPECT_EQ(split[i].begin % 16, 0U);
    EXPECT_EQ(split.count() == 0 ? 0 : split[split.count() - 1].end, size);
  }
}

class ThreadPoolOf : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, testing::Values(0U, 1U, 2U, 3U, 4U, 9U),
                         testing::PrintToStringParamName());

TEST_P(ThreadPoolOf, RunsEachTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), std::max(GetParam(), 1U));
  for (const std::size_t tasks : sizes({0, 1, 2, 3, 5, 64, 1000, 50'000})) {
    std::vector<int> calls(tasks, 0);  // plain integers: a task run twice at once is a race that ThreadSanitizer sees
    pool.parallelFor(tasks, [&](std::size_t i) { ++calls[i]; });
    EXPECT_EQ(calls, std::vector<int>(tasks, 1)) << tasks << " tasks";
  }
}

TEST_P(ThreadPoolOf, ManyShortLoopsSeeEachOthersResults) {
  ThreadPool pool(GetParam());
  std::vector<std::size_t> values(16, 0);
  constexpr std::size_t kLoops = 5000;
  for (std::size_t loop = 0; loop < kLoops; ++loop) {
    const std::size_t shift = loop % values.size();
    pool.parallelFor(values.size(), [&](std::size_t i) { values[(i + shift) % values.size()] += i + shift; });
  }
  std::size_t expected = 0;
  for (std::size_t loop = 0; loop < kLoops; ++loop) expected += 120 + 16 * (loop % values.size());
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), std::size_t{0}), expected);
}

TEST_P(ThreadPoolOf, WorksAgainAfterItHasSlept) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // well beyond the time workers spin
    std::atomic<int> calls = 0;
    pool.parallelFor(8, [&](std::size_t) { ++calls; });
    EXPECT_EQ(calls, 8);
  }
}

TEST_P(ThreadPoolOf, CallerSleepsThroughALongTask) {
  ThreadPool pool(GetParam());
  std::atomic<int> calls = 0;
  pool.parallelFor(4, [&](std::size_t i) {
    if (i == 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ++calls;
  });
  EXPECT_EQ(calls, 4);
}

TEST_P(ThreadPoolOf, ThrowsTheExceptionOfTheLowestTaskAfterAllHaveRun) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> calls = 0;
    try {
      pool.parallelFor(100, [&](std::size_t i) {
        ++calls;
        if (i % 10 == 7) throw std::runtime_error("task " + std::to_string(i));
      });
      FAIL() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "task 7");
    }
    EXPECT_EQ(calls, 100);
  }
  int calls = 0;  // and the pool is as good as new
  pool.parallelFor(1, [&](std::size_t) { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST_P(ThreadPoolOf, LoopsInsideLoops) {
  ThreadPool pool(GetParam());
  std::vector<int> calls(12 * 34, 0);
  pool.parallelFor(12, [&](std::size_t i) { pool.parallelFor(34, [&](std::size_t j) { ++calls[i * 34 + j]; }); });
  EXPECT_EQ(calls, std::vector<int>(12 * 34, 1));
}

TEST_P(ThreadPoolOf, SeveralCallersAtOnce) {
  ThreadPool pool(GetParam());
  constexpr int kCallers = 4;
  std::vector<std::size_t> sums(kCallers, 0);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&pool, &sum = sums[static_cast<std::size_t>(caller)]] {
      std::vector<std::size_t> values(37, 0);
      for (int loop = 0; loop < 300; ++loop) pool.parallelFor(values.size(), [&](std::size_t i) { values[i] += i; });
      sum = std::accumulate(values.begin(), values.end(), std::size_t{0});
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sums, std::vector<std::size_t>(kCallers, 300 * 666));
}

TEST_P(ThreadPoolOf, IdleCostsNoProcessorTime) {
  ThreadPool pool(GetParam());
  pool.parallelFor(64, [](std::size_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, 0.02);  // one spinning thread alone would use 0.1
}

TEST(ThreadPool, BlocksGoThroughTheSameLoop) {
  ThreadPool pool(3);
  std::vector<int> calls(1000, 0);
  pool.parallelForBlocks(BlockSplit(calls.size(), 33), [&](BlockRange block) {
    for (std::size_t i = block.begin; i < block.end; ++i) ++calls[i];
  });
  EXPECT_EQ(calls, std::vector<int>(1000, 1));
}

TEST(ThreadPool, TakesConstAndTemporaryCallables) {
  ThreadPool pool(2);
  std::atomic<int> calls = 0;
  const auto constant = [&](std::size_t) { ++calls; };
  pool.parallelFor(3, constant);
  auto counting = [&, own = 0](std::size_t) mutable {
    own = 1;
    calls += own;
  };
  pool.parallelFor(1, counting);
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace metalloid::cpu
