#include "training/sample_order.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

TEST(SampleOrder, IsAPermutation) {
  for (const std::size_t count : {0u, 1u, 2u, 33u, 1000u}) {
    auto order = shuffledOrder(7, 3, count);
    std::ranges::sort(order);
    EXPECT_EQ(order, naturalOrder(count));
  }
}

TEST(SampleOrder, DependsOnSeedAndStreamAlone) {
  EXPECT_EQ(shuffledOrder(7, 3, 100), shuffledOrder(7, 3, 100));
  EXPECT_NE(shuffledOrder(7, 3, 100), shuffledOrder(7, 4, 100));
  EXPECT_NE(shuffledOrder(7, 3, 100), shuffledOrder(8, 3, 100));
}

TEST(SampleOrder, EveryPlaceIsEquallyLikely) {
  // 6,000 orders of 5: each number in each place 1,200 times, with a standard deviation of sqrt(6000*0.2*0.8) = 31.
  std::array<std::array<int, 5>, 5> counts{};
  for (std::uint32_t stream = 0; stream < 6000; ++stream) {
    const auto order = shuffledOrder(1, stream, 5);
    for (std::size_t place = 0; place < 5; ++place) ++counts[place][order[place]];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, 1200, 5 * 31);
  }
}

TEST(Split, HoldsBackItsShareAndKeepsTheRest) {
  const Split split = splitSamples(5, 100, 0.25);
  EXPECT_EQ(split.validation.size(), 25u);
  EXPECT_TRUE(std::ranges::is_sorted(split.training));
  std::vector<std::uint32_t> together = split.training;
  together.insert(together.end(), split.validation.begin(), split.validation.end());
  std::ranges::sort(together);
  EXPECT_EQ(together, naturalOrder(100));
  EXPECT_NE(split.validation, splitSamples(6, 100, 0.25).validation);
}

TEST(Split, WithoutAShareHoldsBackNothing) {
  EXPECT_EQ(splitSamples(5, 10, 0).training, naturalOrder(10));
  EXPECT_TRUE(splitSamples(5, 10, 0).validation.empty());
}

TEST(Split, RefusesShareThatLeavesOneSideEmpty) {
  EXPECT_THROW(splitSamples(5, 10, 0.01), Error);
  EXPECT_THROW(splitSamples(5, 10, 0.99), Error);
}

}  // namespace
}  // namespace metalloid::training
