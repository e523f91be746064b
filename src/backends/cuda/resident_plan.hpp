#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

/// How a strip of columns is held on the chip by the shared memory of several multiprocessors. Nothing here is CUDA's.
namespace metalloid::cuda {

/// What is to be held.
struct ResidentShape {
  std::size_t rows = 0;
  std::size_t columns = 0;
  unsigned packColumns = 4;  // that 16 bytes hold
  unsigned sources = 1;      // matrices, of the same size
  unsigned threads = 256;    // of a block
  unsigned multiprocessors = 0;
};

/// Where a block has what in its shared memory, in bytes from the first box on.
struct ResidentLayout {
  unsigned sums = 0;      // [warp][column], pairs of double
  unsigned sent = 0;      // [block][column], the same
  unsigned known = 0;     // [column], four floats
  unsigned full = 0;      // [box], a barrier
  unsigned gathered = 0;  // a barrier
  unsigned end = 0;
};

/// A cluster of blocks holds a strip. Each block holds as many rows, one after the other, which the copy engine brings
/// in boxes.
struct ResidentPlan {
  static constexpr unsigned kPackBytes = 16;
  static constexpr unsigned kMostBlocks = 16;    // of a cluster, on a Hopper GPU
  static constexpr unsigned kMostBoxRows = 256;  // that the copy engine copies at once
  static constexpr unsigned kAlignment = 128;    // of a box

  std::size_t rows = 0, columns = 0;
  unsigned sources = 1;
  unsigned threads = 256;
  unsigned lanes = 1;         // packs of a row of the strip
  unsigned stripColumns = 0;  // their columns
  unsigned strips = 0;
  unsigned blocks = 1;     // of a cluster
  unsigned blockRows = 0;  // the last blocks may have fewer, or none
  unsigned boxRows = 0;
  unsigned boxes = 0;  // of a block, for each source
  unsigned boxBytes = 0;
  unsigned sourceBytes = 0;  // of all boxes of a source
  ResidentLayout layout = {};
};

constexpr ResidentLayout layoutOf(const ResidentPlan& plan) {
  constexpr unsigned kSum = 16, kKnown = 16, kBarrier = 8;
  ResidentLayout layout = {};
  layout.sums = plan.sources * plan.sourceBytes;
  layout.sent = layout.sums + plan.threads / 32 * plan.stripColumns * kSum;
  layout.known = layout.sent + plan.blocks * plan.stripColumns * kSum;
  layout.full = layout.known + plan.stripColumns * kKnown;
  layout.gathered = layout.full + plan.boxes * kBarrier;
  layout.end = layout.gathered + kBarrier;
  return layout;
}

/// Shared memory of a block, with what aligning the boxes takes.
constexpr std::size_t residentBytes(const ResidentPlan& plan) { return plan.layout.end + ResidentPlan::kAlignment; }

/// How many blocks a multiprocessor of a Hopper GPU has the shared memory for.
constexpr std::size_t residentBlocks(std::size_t bytes) {
  constexpr std::size_t kAll = 228 * 1024, kReserved = 1024;  // of each block
  return bytes + kReserved > kAll ? 0 : kAll / (bytes + kReserved);
}

/// Blocks that a multiprocessor must hold at least: while one waits for memory, or for the others of its cluster, the
/// other has something to do.
constexpr unsigned kLeastResident = 2;

/// The plan of strips so wide and clusters so large; nothing if such a block holds too many rows.
constexpr std::optional<ResidentPlan> residentPlanOf(const ResidentShape& shape, unsigned lanes, unsigned blocks) {
  const auto ceil = [](std::size_t a, std::size_t b) { return (a + b - 1) / b; };
  ResidentPlan plan{
      .rows = shape.rows, .columns = shape.columns, .sources = shape.sources, .threads = shape.threads, .lanes = lanes};
  plan.stripColumns = lanes * shape.packColumns;
  plan.strips = static_cast<unsigned>(ceil(shape.columns, plan.stripColumns));
  plan.blocks = blocks;
  constexpr std::size_t kMostBoxes = 64;  // more do not fit anyway
  const std::size_t blockRows = ceil(shape.rows, blocks), boxes = ceil(blockRows, ResidentPlan::kMostBoxRows);
  if (boxes == 0 || boxes > kMostBoxes) return std::nullopt;
  constexpr std::size_t kRowsOfAlignment = ResidentPlan::kAlignment / ResidentPlan::kPackBytes;
  plan.blockRows = static_cast<unsigned>(blockRows);
  plan.boxRows = static_cast<unsigned>(ceil(ceil(blockRows, boxes), kRowsOfAlignment) * kRowsOfAlignment);
  plan.boxes = static_cast<unsigned>(boxes);
  plan.boxBytes = plan.boxRows * plan.lanes * ResidentPlan::kPackBytes;
  plan.sourceBytes = plan.boxes * plan.boxBytes;
  plan.layout = layoutOf(plan);
  return plan;
}

/// How to hold a strip of all rows; nothing if no cluster can. Best are wide strips, which memory reads faster; of
/// those, small clusters, whose blocks wait less for each other. But every multiprocessor should have something to do.
constexpr std::optional<ResidentPlan> planResident(const ResidentShape& shape) {
  constexpr unsigned kWidest = 8, kNarrowest = 2;  // 128 and 32 bytes, a line and the least that memory gives
  const auto planOf = [&](unsigned lanes, unsigned blocks) {
    auto plan = residentPlanOf(shape, lanes, blocks);
    if (plan && residentBlocks(residentBytes(*plan)) < kLeastResident) plan.reset();
    return plan;
  };
  for (unsigned lanes = kWidest; lanes >= kNarrowest; lanes /= 2) {
    auto plan = planOf(lanes, ResidentPlan::kMostBlocks);
    if (!plan || (lanes > kNarrowest && plan->strips * plan->blocks < shape.multiprocessors)) continue;
    while (plan->blocks > 1) {
      const auto smaller = planOf(lanes, plan->blocks / 2);
      if (!smaller || smaller->strips * smaller->blocks < shape.multiprocessors * kLeastResident) break;
      plan = smaller;
    }
    return plan;
  }
  return std::nullopt;
}

}  // namespace metalloid::cuda
