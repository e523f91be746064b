#include "backends/cuda/groups.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::cuda {
namespace {

using operations::MatrixNeuron;
using operations::MatrixView;
using operations::Operation;
using operations::OptimizerAdam;
using operations::OptimizerStochasticGradientDescent;

/// A vector at byte `place` of a memory that nobody looks into.
MatrixView vectorAt(std::uintptr_t place, std::size_t elements = 16) {
  return {.data = reinterpret_cast<std::byte*>(0x10000 + place),
          .rows = 1,
          .columns = elements,
          .rowBytes = elements * sizeof(float)};
}

/// An update in place of operands that follow each other from a place on, 64 bytes each.
OptimizerAdam adam(std::uintptr_t place) {
  OptimizerAdam update;
  update.operands = {.gradient = vectorAt(place), .values = vectorAt(place + 64), .result = vectorAt(place + 64)};
  update.momentum = vectorAt(place + 128);
  update.velocity = vectorAt(place + 192);
  return update;
}

OptimizerStochasticGradientDescent descent(std::uintptr_t place) {
  OptimizerStochasticGradientDescent update;
  update.operands = {.gradient = vectorAt(place), .values = vectorAt(place + 64), .result = vectorAt(place + 64)};
  return update;
}

/// The groups, as lists of places.
std::vector<std::vector<std::uint32_t>> grouped(const std::vector<Operation>& operations) {
  std::vector<const Operation*> pointers;
  for (const auto& operation : operations) pointers.push_back(&operation);
  const Groups groups = groupsOf(pointers);
  std::vector<std::vector<std::uint32_t>> lists;
  for (std::size_t g = 0; g < groups.size(); ++g) lists.emplace_back(groups[g].begin(), groups[g].end());
  return lists;
}

using Lists = std::vector<std::vector<std::uint32_t>>;

TEST(CudaGroups, UpdatesThatFollowEachOtherAreOne) {
  EXPECT_EQ(grouped({MatrixNeuron(), adam(0), adam(256), adam(512), MatrixNeuron()}), (Lists{{0}, {1, 2, 3}, {4}}));
}

TEST(CudaGroups, SettingsMayDiffer) {
  OptimizerAdam other = adam(256);
  other.preprocessing.regularization = operations::GradientPreprocessing::Regularization::l2;
  other.beta1 = 0.5;
  EXPECT_EQ(grouped({adam(0), other}), (Lists{{0, 1}}));
}

TEST(CudaGroups, UpdatesOfOtherKindsBetweenThemAreAnotherGroup) {
  EXPECT_EQ(grouped({adam(0), descent(256), adam(512), descent(768)}), (Lists{{0, 2}, {1, 3}}));
}

TEST(CudaGroups, WhatIsBetweenThemAndNoUpdateEndsAGroup) {
  EXPECT_EQ(grouped({adam(0), MatrixNeuron(), adam(256)}), (Lists{{0}, {1}, {2}}));
}

TEST(CudaGroups, TwoUpdatesOfOneTensorStayInOrder) {
  EXPECT_EQ(grouped({adam(0), adam(256), adam(0)}), (Lists{{0, 1}, {2}}));
}

TEST(CudaGroups, AnUpdateOfWhatAnotherOneReadsStaysInOrder) {
  OptimizerAdam reader = adam(256);
  reader.operands.gradient = vectorAt(64 + 16, 16);  // the end of what the first one writes
  EXPECT_EQ(grouped({adam(0), reader}), (Lists{{0}, {1}}));
  OptimizerStochasticGradientDescent writer = descent(256);
  writer.operands.result = vectorAt(0, 16);  // the gradient of the first one
  EXPECT_EQ(grouped({adam(0), writer, adam(512)}), (Lists{{0}, {1}, {2}}));
}

TEST(CudaGroups, OneGradientMayServeSeveral) {
  OptimizerAdam other = adam(256);
  other.operands.gradient = vectorAt(0);
  EXPECT_EQ(grouped({adam(0), other}), (Lists{{0, 1}}));
}

TEST(CudaGroups, WhatNoTableHoldsIsByItself) {
  OptimizerAdam half = adam(256), odd = adam(512), gaps = adam(768), empty = adam(1024);
  half.momentum.type = DataType::float16;
  odd.operands.gradient = vectorAt(512 + 4, 8);
  gaps.operands.values = {.data = vectorAt(768 + 64).data, .rows = 2, .columns = 4, .rowBytes = 32};
  empty.operands.gradient.columns = 0;
  EXPECT_EQ(grouped({adam(0), half, odd, gaps, empty, adam(2048)}), (Lists{{0}, {1}, {2}, {3}, {4}, {5}}));
}

TEST(CudaGroups, HaveALimit) {
  std::vector<Operation> many;
  for (std::size_t i = 0; i < 2 * kMostInGroup + 3; ++i) many.push_back(adam(256 * i));
  const auto groups = grouped(many);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].size(), kMostInGroup);
  EXPECT_EQ(groups[1].size(), kMostInGroup);
  EXPECT_EQ(groups[2], (std::vector<std::uint32_t>{64, 65, 66}));
}

}  // namespace
}  // namespace metalloid::cuda
