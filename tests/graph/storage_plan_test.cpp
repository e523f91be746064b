#include "graph/storage_plan.hpp"
#include "support/random.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace metalloid::detail {
namespace {

using metalloid::testing::Random;

void expectNoOverlap(const std::vector<Lifetime>& lifetimes, const StoragePlan& plan) {
  for (std::size_t a = 0; a < lifetimes.size(); ++a) {
    EXPECT_LE(plan.offsets[a] + lifetimes[a].bytes, plan.used);
    for (std::size_t b = a + 1; b < lifetimes.size(); ++b) {
      const bool together = lifetimes[a].first <= lifetimes[b].last && lifetimes[b].first <= lifetimes[a].last;
      const bool apart = plan.offsets[a] + lifetimes[a].bytes <= plan.offsets[b] ||
                         plan.offsets[b] + lifetimes[b].bytes <= plan.offsets[a];
      EXPECT_TRUE(!together || apart) << a << " and " << b;
    }
  }
}

TEST(StoragePlanTest, NothingToPlace) {
  const StoragePlan plan = StoragePlan::make({});
  EXPECT_EQ(plan.used, 0u);
  EXPECT_EQ(plan.largestAlive, 0u);
}

TEST(StoragePlanTest, ChainTakesTwoPlaces) {
  // Each image lives from its making to the next step, as without training.
  std::vector<Lifetime> lifetimes;
  for (std::size_t i = 0; i < 10; ++i) lifetimes.push_back({.bytes = 640, .first = i, .last = i + 1});
  const StoragePlan plan = StoragePlan::make(lifetimes);
  expectNoOverlap(lifetimes, plan);
  EXPECT_EQ(plan.used, 1280u);
  EXPECT_EQ(plan.largestAlive, 1280u);
  EXPECT_EQ(plan.withoutReuse, 6400u);
}

TEST(StoragePlanTest, TrainingStaysWithinAFifthOfTheLeast) {
  // Forward images live until the step of their gradient; sizes as in networks that halve the image and double the
  // channels.
  for (const std::size_t layers : {4, 9, 16, 50}) {
    std::vector<Lifetime> lifetimes;
    for (std::size_t i = 0; i < layers; ++i) {
      const std::size_t bytes = std::size_t{1 << 20} >> (i / 4);
      lifetimes.push_back({.bytes = bytes, .first = i, .last = 2 * layers - i});                   // forward
      lifetimes.push_back({.bytes = bytes, .first = 2 * layers - i, .last = 2 * layers - i + 1});  // gradient
    }
    const StoragePlan plan = StoragePlan::make(lifetimes);
    expectNoOverlap(lifetimes, plan);
    EXPECT_LE(static_cast<double>(plan.used), 1.2 * static_cast<double>(plan.largestAlive)) << layers;
  }
}

TEST(StoragePlanTest, AnyLifetimes) {
  Random random(1);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<Lifetime> lifetimes(1 + random.below(40));
    for (auto& life : lifetimes) {
      life.first = random.below(30);
      life.last = life.first + random.below(10);
      life.bytes = random.below(5000);
    }
    const StoragePlan plan = StoragePlan::make(lifetimes);
    expectNoOverlap(lifetimes, plan);
    EXPECT_GE(plan.used, plan.largestAlive);
    EXPECT_LE(plan.used, plan.withoutReuse);
  }
}

}  // namespace
}  // namespace metalloid::detail
