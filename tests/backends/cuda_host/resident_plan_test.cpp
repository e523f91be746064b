#include "backends/cuda/resident_plan.hpp"

#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>

namespace metalloid::cuda {
namespace {

constexpr unsigned kMultiprocessors = 132;  // of an H200

ResidentShape floats(std::size_t rows, std::size_t columns, unsigned sources = 1) {
  return {.rows = rows, .columns = columns, .sources = sources, .multiprocessors = kMultiprocessors};
}

ResidentShape halves(std::size_t rows, std::size_t columns, unsigned sources = 1) {
  return {.rows = rows,
          .columns = columns,
          .packColumns = 8,
          .sources = sources,
          .threads = 128,
          .multiprocessors = kMultiprocessors};
}

std::size_t resident(const ResidentShape& shape) { return residentBlocks(residentBytes(*planResident(shape))); }

TEST(CudaResidentPlan, BlocksShareAMultiprocessor) {
  for (const ResidentShape& shape : {floats(16384, 4096), floats(16384, 4096, 2), halves(16384, 4096),
                                     halves(16384, 4096, 2), floats(1024, 512), floats(513, 8)}) {
    EXPECT_GE(resident(shape), kLeastResident) << shape.rows << "x" << shape.columns << ", " << shape.sources;
  }
}

TEST(CudaResidentPlan, StripsAreAsWideAsTheMemoryAllows) {
  EXPECT_EQ(planResident(floats(4096, 4096))->lanes, 8u);
  EXPECT_EQ(planResident(floats(16384, 4096))->lanes, 4u);
  EXPECT_EQ(planResident(floats(16384, 4096, 2))->lanes, 2u);
}

TEST(CudaResidentPlan, FewColumnsAreNarrowStripsForManyMultiprocessors) {
  EXPECT_EQ(planResident(floats(1031, 136))->lanes, 4u);
  EXPECT_EQ(planResident(floats(1031, 64))->lanes, 2u);
}

TEST(CudaResidentPlan, ClustersAreNoLargerThanTheyMustBe) {
  EXPECT_EQ(planResident(floats(16384, 4096))->blocks, 16u);
  EXPECT_EQ(planResident(floats(4096, 4096))->blocks, 8u);
  EXPECT_EQ(planResident(floats(4096, 64))->blocks, 16u);
}

TEST(CudaResidentPlan, WhatABlockHoldsDoesNotOverlap) {
  const ResidentPlan plan = *planResident(halves(16384, 4096, 2));
  const ResidentLayout& layout = plan.layout;
  EXPECT_EQ(layout.sums, 2 * 1024 * 32u);                               // two matrices, 1024 rows of 32 bytes
  EXPECT_EQ(layout.sent - layout.sums, 4 * 16 * 2 * sizeof(double));    // four warps, 16 columns
  EXPECT_EQ(layout.known - layout.sent, 16 * 16 * 2 * sizeof(double));  // 16 blocks, 16 columns
  EXPECT_EQ(layout.full - layout.known, 16 * 4 * sizeof(float));        // 16 columns
  EXPECT_EQ(layout.gathered - layout.full, 4 * sizeof(std::uint64_t));  // four copies of 256 rows
  EXPECT_EQ(layout.end - layout.gathered, sizeof(std::uint64_t));
  EXPECT_EQ(residentBytes(plan), layout.end + ResidentPlan::kAlignment);
}

TEST(CudaResidentPlan, TooManyRowsAreRefused) {
  EXPECT_TRUE(planResident(floats(27000, 64, 2)));
  EXPECT_FALSE(planResident(floats(29000, 64, 2)));
  EXPECT_TRUE(planResident(floats(54000, 64)));
  EXPECT_FALSE(planResident(floats(58000, 64)));
  EXPECT_FALSE(planResident(halves(29000, 64, 2)));
  EXPECT_FALSE(planResident(halves(58000, 64)));
  EXPECT_FALSE(planResident(floats(std::size_t{1} << 40, 64)));
}

TEST(CudaResidentPlan, BoxesCoverTheRowsAndFitTheMemory) {
  for (const std::size_t rows : {1, 7, 16, 17, 513, 4095, 4096, 4097, 16384, 20001}) {
    for (const std::size_t columns : {8, 24, 136, 1000, 4096}) {
      for (const ResidentShape& shape : {floats(rows, columns), floats(rows, columns, 2), halves(rows, columns, 2)}) {
        const auto plan = planResident(shape);
        ASSERT_TRUE(plan) << rows;
        EXPECT_GE(std::size_t{plan->blocks} * plan->blockRows, rows);
        EXPECT_GE(plan->boxes * plan->boxRows, plan->blockRows);
        EXPECT_LE(plan->boxRows, ResidentPlan::kMostBoxRows);
        EXPECT_EQ(plan->boxBytes % ResidentPlan::kAlignment, 0u);
        EXPECT_GE(std::size_t{plan->strips} * plan->stripColumns, columns);
        EXPECT_GE(resident(shape), kLeastResident);
        EXPECT_LE(plan->stripColumns, shape.threads);  // one thread for each column's sums
      }
    }
  }
}

}  // namespace
}  // namespace metalloid::cuda
