#pragma once

#include "backends/cuda/hopper.cuh"
#include "backends/cuda/split_product.cuh"

/// The tiles of split products in shared memory, and how one thread of a block brings them.
namespace metalloid::cuda::splitting {

constexpr unsigned kParts = SplitParts::kParts;
constexpr unsigned kTile = 128;           // rows and columns of the result that a block computes at a time
constexpr unsigned kDepth = 32;           // terms of a stage: rows of 64 bytes, the width of the swizzle
constexpr unsigned kStages = 4;           // that are loaded ahead
constexpr unsigned kBlocksOfCluster = 2;  // one above the other: they share the tile of the right factor
constexpr unsigned kConsumers = 2;        // warp groups that multiply, 64 rows each
[[maybe_unused]] constexpr unsigned kConsumerRows = kTile / kConsumers;
static_assert(kConsumers == 2 && kBlocksOfCluster == 2);  // each has, and each brings, one half of a tile
constexpr unsigned kWarps = 4;                            // of a warp group
constexpr unsigned kThreads = (1 + kConsumers) * kWarps * 32;
constexpr unsigned kPartBytes = kTile * kDepth * sizeof(__nv_bfloat16);

constexpr unsigned kHalf = kTile / 2;  // rows that the copy engine brings at a time
constexpr unsigned kHalfBytes = kPartBytes / 2;

/// In what form the left factor comes: in parts that were stored before, or as numbers, which consumers split; as a
/// matrix, or gathered from patches.
enum class Left { parts, patchParts, numbers, patchNumbers };
__host__ __device__ constexpr bool isPatched(Left left) {
  return left == Left::patchParts || left == Left::patchNumbers;
}
__host__ __device__ constexpr bool isInParts(Left left) { return left == Left::parts || left == Left::patchParts; }
constexpr unsigned kNumberBytes = kHalf * kDepth * sizeof(float);  // of half a tile

struct Stage {
  std::byte left[kConsumers][kParts][kHalfBytes];  // or numbers: with rows side by side, two boxes of 32 rows
  std::byte right[kParts][2][kHalfBytes];
};

struct SharedMemory {
  Stage stages[kStages];
  std::uint64_t full[kStages];   // the copy engine has brought the stage
  std::uint64_t empty[kStages];  // both blocks' consumers have read it
};
constexpr std::size_t kSharedAlignment = 1024;  // of tiles with the swizzle
constexpr std::size_t kSharedBytes = sizeof(SharedMemory) + kSharedAlignment;

/// What the blocks share among them: pairs of tiles, and slices of their terms.
struct Schedule {
  unsigned pairs;    // rows of pairs of tiles
  unsigned columns;  // columns of tiles
  unsigned stages;   // of each tile
  unsigned slices = 1;
  unsigned stagesOfSlice = 0;
  unsigned stagesOfTap = 0;    // of the terms' taps, if they have any
  unsigned leadingStages = 1;  // over which tensor cores add the leading products: 1 or 2

  __host__ __device__ unsigned tiles() const { return pairs * columns; }
  __host__ __device__ unsigned count() const { return tiles() * slices; }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/// What a cluster does in a step.
struct Step {
  unsigned slice;
  unsigned pair, column;          // of tiles
  unsigned firstStage, endStage;  // of the slice
};

/// What is computed at once lies close together, and is shared by the L2 cache.
__device__ Step stepOf(const Schedule& schedule, unsigned number) {
  constexpr unsigned kHeight = 8;
  const unsigned slice = number / schedule.tiles(), tile = number % schedule.tiles();
  const unsigned group = tile / (kHeight * schedule.columns), within = tile % (kHeight * schedule.columns);
  const unsigned height = min(kHeight, schedule.pairs - group * kHeight), first = slice * schedule.stagesOfSlice;
  return {slice, group * kHeight + within % height, within / height, first,
          min(first + schedule.stagesOfSlice, schedule.stages)};
}

/// Brings half a tile of the left factor: 64 rows from `row` on and the terms of a stage. What is beyond the last row
/// may be anything.
template <Tile kTileOfLeft, Left kLeft>
__device__ void bringLeft(std::byte (&to)[kParts][kHalfBytes], const CUtensorMap& left, std::uint64_t& full,
                          const SplitProduct& p, unsigned row, unsigned stage) {
  constexpr bool kIsTurned = kTileOfLeft == Tile::rowsSideBySide;
  const unsigned term = stage * kDepth;
  const auto bring = [&](std::byte* box, unsigned firstRow, unsigned part) {
    if constexpr (isPatched(kLeft)) {
      const PatchWalk& walk = p.left.patches;
      const unsigned there = firstRow < p.left.rows ? firstRow : 0;
      const PatchWalk::Corner corner = walk.corner(kIsTurned ? term : there);
      const PatchWalk::Element element = walk.element(kIsTurned ? there : term);
      hopper::copyPatches(box, left, full, element.channel, corner.x, corner.y,
                          corner.image + static_cast<int>(part) * walk.images, element.x, element.y);
    } else {
      const int x = static_cast<int>(kIsTurned ? firstRow : term), y = static_cast<int>(kIsTurned ? term : firstRow);
      hopper::copyBox(box, left, full, x, y, 0);
    }
  };
  if constexpr (kLeft == Left::patchParts) {
    for (unsigned part = 0; part < kParts; ++part) bring(to[part], row, part);
  } else {
    bring(to[0], row, 0);
    // Lines hold 32 numbers.
    if constexpr (!isInParts(kLeft) && kIsTurned) bring(to[1], row + 32, 0);
  }
}

/// Where a stage of the right factor begins in its matrix: column and row.
template <Tile kRight>
__device__ int2 rightCorner(const SplitProduct& p, const Schedule& schedule, unsigned column, unsigned stage) {
  if (kRight == Tile::termsSideBySide) return {static_cast<int>(stage * kDepth), static_cast<int>(column)};
  const unsigned tap = stage / schedule.stagesOfTap, within = stage % schedule.stagesOfTap;
  const unsigned skipped = (p.right.reversedTaps - 1 - tap) * static_cast<unsigned>(p.right.rows);
  return {static_cast<int>(skipped + column), static_cast<int>(within * kDepth)};
}

/// One thread brings the stages of all tiles of its block, and half of the right factor's for both blocks.
template <Tile kTileOfLeft, Tile kRight, Left kLeft>
__device__ void produce(const CUtensorMap& left, const CUtensorMap& right, const SplitProduct& p,
                        const Schedule& schedule, SharedMemory& shared, unsigned rank) {
  constexpr auto kAll = static_cast<std::uint16_t>((1u << kBlocksOfCluster) - 1);
  unsigned count = 0;  // of stages so far
  for (unsigned n = blockIdx.x / kBlocksOfCluster; n < schedule.count(); n += gridDim.x / kBlocksOfCluster) {
    const Step step = stepOf(schedule, n);
    const unsigned row = (step.pair * kBlocksOfCluster + rank) * kTile, column = step.column * kTile + rank * kHalf;
    for (unsigned k = step.firstStage; k < step.endStage; ++k, ++count) {
      const unsigned s = count % kStages;
      Stage& stage = shared.stages[s];
      hopper::waitFor(shared.empty[s], count / kStages % 2 ^ 1);
      hopper::arriveExpecting(
          shared.full[s], sizeof(stage.right) + (isInParts(kLeft) ? sizeof(stage.left) : kConsumers * kNumberBytes));
      for (unsigned half = 0; half < kConsumers; ++half) {
        bringLeft<kTileOfLeft, kLeft>(stage.left[half], left, shared.full[s], p, row + half * kHalf, k);
      }
      const int2 corner = rightCorner<kRight>(p, schedule, column, k);
      for (unsigned part = 0; part < kParts; ++part) {
        hopper::copyBoxToAll(stage.right[part][rank], right, shared.full[s], corner.x, corner.y, static_cast<int>(part),
                             kAll);
      }
    }
  }
}

#endif

}  // namespace metalloid::cuda::splitting
