#include "math/philox.hpp"

#include <cstdint>
#include <set>

#include <gtest/gtest.h>

namespace metalloid::math {
namespace {

void expectBlock(const PhiloxBlock& actual, const PhiloxBlock& expected) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(actual.word[i], expected.word[i]) << "word " << i;
}

// The known answers that the authors of the algorithm published with Random123.
TEST(Philox, KnownAnswers) {
  expectBlock(Philox::permute({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  const std::uint32_t ones = 0xffffffff;
  expectBlock(Philox::permute({{ones, ones, ones, ones}}, ones, ones),
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  expectBlock(Philox::permute({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST(Philox, BlockIsTheCounterUnderTheSeedsKey) {
  expectBlock(Philox{7}.block(5), Philox::permute({{5, 0, 0, 0}}, 7, 0));
  expectBlock(Philox{0x300000002}.block(0x500000004), Philox::permute({{4, 5, 0, 0}}, 2, 3));
}

TEST(Philox, WordsAreTheBlocksInOrder) {
  const Philox philox{42};
  for (std::uint64_t index = 0; index < 16; ++index) {
    EXPECT_EQ(philox.word(index), philox.block(index / 4).word[index % 4]);
  }
}

TEST(Philox, WorksAtCompileTime) {
  static_assert(Philox{}.word(0) == 0x6627e8d5);
  static_assert(Philox{}.word(3) == 0x9b00dbd8);
}

TEST(Philox, SeedsAndCountersGiveDifferentBlocks) {
  std::set<std::uint32_t> firstWords;
  for (std::uint64_t i = 0; i < 100; ++i) {
    firstWords.insert(Philox{i}.block(0).word[0]);
    firstWords.insert(Philox{0}.block(i).word[0]);
  }
  EXPECT_EQ(firstWords.size(), 199u);  // seed 0, block 0 is in both
}

}  // namespace
}  // namespace metalloid::math
