#pragma once

#include "backends/cuda/elements.cuh"
#include "backends/cuda/hopper.cuh"
#include "backends/cuda/split_product.cuh"

#include <cfloat>

/// Products of float32 on tensor cores, with the accuracy of float32.
///
/// A float32 number is the sum of three bfloat16 numbers of 8 bits each, and bfloat16 has the range of float32:
/// a = a0 + a1 + a2. Of the nine products of a b, six are computed; what is left out is below 2^-24 |a b|:
///
///     a b = a0 b0 + (a0 b1 + a1 b0 + a1 b1 + a0 b2 + a2 b0)
///
/// Tensor cores truncate what they add. So they add the leading products, which are exact in 16 bits, only over 32
/// terms; from there on, sums are compensated: what rounding takes from a sum is kept beside it. The others, smaller by
/// 2^-8, are added to what is kept.
///
/// Where there are fewer tiles than multiprocessors have time for, the terms are cut into slices, whose sums are stored
/// and added up in a fixed order.
///
/// Infinities, NaN, and numbers that bfloat16 rounds to infinity, give a sum that is not finite. Such an element is
/// computed again, term by term in float32.
///
/// Numbers below 2^-110 have bits below the smallest of bfloat16: of those 2^-134 may be lost.
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

struct Stage {
  std::byte left[kConsumers][kParts][kHalfBytes];
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
  unsigned stagesOfTap = 0;  // of the terms' taps, if they have any

  __host__ __device__ unsigned tiles() const { return pairs * columns; }
  __host__ __device__ unsigned count() const { return tiles() * slices; }
};

/// One element as the plain product has it.
__device__ float plainElement(const SplitProduct& p, std::size_t i, std::size_t j) {
  float sum = 0;
#pragma unroll 1
  for (std::size_t t = 0; t < p.left.terms; ++t) sum = fmaf(p.left.at(i, t), p.right.at(j, t), sum);
  return sum;
}

/// What becomes of the sum of an element of column j.
__device__ float finished(const SplitProduct& p, float sum, std::size_t j) {
  const float z = static_cast<float>(p.alpha) * sum;
  return p.bias.data ? z + reinterpret_cast<const float*>(p.bias.data)[j] : z;
}

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

/// Brings half a tile of the left factor: 64 rows from `row` on and the terms of a stage.
template <Tile kLeft, bool kIsPatched>
__device__ void bringLeft(std::byte (&to)[kParts][kHalfBytes], const CUtensorMap& left, std::uint64_t& full,
                          const SplitProduct& p, unsigned row, unsigned stage) {
  constexpr bool kIsTurned = kLeft == Tile::rowsSideBySide;
  const unsigned term = stage * kDepth;
  if constexpr (!kIsPatched) {
    const int x = static_cast<int>(kIsTurned ? row : term), y = static_cast<int>(kIsTurned ? term : row);
    hopper::copyBox(to, left, full, x, y, 0);
  } else {
    const PatchWalk& walk = p.left.patches;
    // Beyond the last row, anything that is there.
    const unsigned there = row < p.left.rows ? row : 0;
    const PatchWalk::Corner corner = walk.corner(kIsTurned ? term : there);
    const PatchWalk::Element element = walk.element(kIsTurned ? there : term);
    for (unsigned part = 0; part < kParts; ++part) {
      hopper::copyPatches(to[part], left, full, element.channel, corner.x, corner.y,
                          corner.image + static_cast<int>(part) * walk.images, element.x, element.y);
    }
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
template <Tile kLeft, Tile kRight, bool kIsPatched>
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
      hopper::arriveExpecting(shared.full[s], sizeof(Stage));
      for (unsigned half = 0; half < kConsumers; ++half) {
        bringLeft<kLeft, kIsPatched>(stage.left[half], left, shared.full[s], p, row + half * kHalf, k);
      }
      const int2 corner = rightCorner<kRight>(p, schedule, column, k);
      for (unsigned part = 0; part < kParts; ++part) {
        hopper::copyBoxToAll(stage.right[part][rank], right, shared.full[s], corner.x, corner.y, static_cast<int>(part),
                             kAll);
      }
    }
  }
}

/// The parts of a stage as a consumer multiplies them: its rows of the left factor in registers, which spares shared
/// memory to give them again for each of the products.
template <Tile kLeft, Tile kRight>
class Factors {
 public:
  __device__ Factors(const SharedMemory& shared, unsigned consumer)
      : firstRight_(hopper::describeAddress<kRight, kHalfBytes>(shared.stages[0].right)) {
#pragma unroll
    for (unsigned n = 0; n < kSteps; ++n) {
      firstLeft_[n] = hopper::rowsAddress<kLeft>(shared.stages[0].left[consumer], threadIdx.x / 32 % 4 * 16, n * 16);
    }
  }

  __device__ void load(unsigned stage) {
#pragma unroll
    for (unsigned part = 0; part < kParts; ++part) {
#pragma unroll
      for (unsigned n = 0; n < kSteps; ++n) {
        hopper::loadRows<kLeft>(left_[part][n], firstLeft_[n] + stage * sizeof(Stage) + part * kHalfBytes);
      }
    }
    right_ = firstRight_ + stage * hopper::describeDistance(sizeof(Stage));
  }

  /// sum = or += the product of two parts.
  __device__ void multiply(float (&sum)[64], unsigned leftPart, unsigned rightPart, bool isAdded) const {
#pragma unroll
    for (unsigned n = 0; n < kSteps; ++n) {
      const std::uint32_t right = right_ + rightPart * hopper::describeDistance(kPartBytes);
      hopper::multiplyTiles<kRight>(sum, left_[leftPart][n], right + n * hopper::kNextTerms<kRight>, isAdded || n > 0);
    }
  }

 private:
  static constexpr unsigned kSteps = kDepth / 16;
  std::uint32_t firstLeft_[kSteps];
  std::uint32_t firstRight_;
  std::uint32_t left_[kParts][kSteps][4];
  std::uint32_t right_ = 0;
};

/// sum += addend; what rounding takes away remains in the addend (Dekker's fast two-sum). In assembly, as the compiler
/// would compute many of them at once, for which there are no registers.
__device__ inline void addExactly(float& sum, float& addend) {
  asm volatile(
      "{\n"
      ".reg .f32 total, added;\n"
      "add.rn.f32 total, %0, %1;\n"
      "sub.rn.f32 added, total, %0;\n"
      "sub.rn.f32 %1, %1, added;\n"
      "mov.f32 %0, total;\n"
      "}"
      : "+f"(sum), "+f"(addend));
}

/// What a warp group knows of its rows of a tile: when nothing is under way, their sums are sum + rest.
struct Sums {
  float sum[64] = {};
  float rest[64] = {};
  float leading[64] = {};

  /// Begins to add a stage. Calls f when tensor cores have done half of it; they do the other half while the leading
  /// products are added.
  template <class Factors, class F>
  __device__ void begin(const Factors& factors, const F& f) {
    hopper::beginProducts();
    factors.multiply(leading, 0, 0, false);
    factors.multiply(rest, 0, 2, true);  // from the smallest on
    factors.multiply(rest, 2, 0, true);
    hopper::endProducts();
    factors.multiply(rest, 1, 1, true);
    factors.multiply(rest, 0, 1, true);
    factors.multiply(rest, 1, 0, true);
    hopper::endProducts();
    hopper::waitForProducts<1>();
    hopper::keepInOrder(leading);
    f();
#pragma unroll
    for (int n = 0; n < 64; ++n) addExactly(sum[n], leading[n]);
  }

  /// Ends what has begun, if anything has. Calls f as soon as it has.
  template <class F>
  __device__ void end(const F& f) {
    hopper::waitForProducts<0>();
    f();
    hopper::keepInOrder(rest);
#pragma unroll
    for (int n = 0; n < 64; ++n) rest[n] += leading[n];
  }

  /// Leaves in the rest what a float cannot hold of the sum: truncation does the less harm the smaller it is.
  __device__ void normalize() {
#pragma unroll
    for (int n = 0; n < 64; ++n) addExactly(sum[n], rest[n]);
  }
};

/// Writes what a thread has of a tile: pairs in 2 rows and 16 columns.
template <class F>
__device__ void writeTile(const MatrixView& result, const float (&sum)[64], unsigned row, unsigned column,
                          const F& finish) {
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(result.data) | result.rowBytes) % sizeof(float2) == 0;
#pragma unroll
  for (unsigned half = 0; half < 2; ++half) {
    const unsigned i = row + half * 8;
    auto* const to = reinterpret_cast<float*>(result.data + i * result.rowBytes);
#pragma unroll
    for (unsigned n = 0; n < 16; ++n) {
      const unsigned j = column + n * 8;
      const float first = sum[4 * n + 2 * half], second = sum[4 * n + 2 * half + 1];
      if (i >= result.rows || j >= result.columns) continue;
      if (isAligned && j + 1 < result.columns) {
        *reinterpret_cast<float2*>(to + j) = {finish(first, j), finish(second, j + 1)};
      } else {
        to[j] = finish(first, j);
        if (j + 1 < result.columns) to[j + 1] = finish(second, j + 1);
      }
    }
  }
}

/// The same, and computes again what is not finite.
__device__ void writeResult(const SplitProduct& p, const float (&sum)[64], unsigned row, unsigned column) {
  writeTile(p.result, sum, row, column, [&](float z, unsigned j) { return finished(p, z, j); });
  bool isFinite = true;
#pragma unroll
  for (const float z : sum) isFinite = isFinite && fabsf(z) <= FLT_MAX;
  if (isFinite) return;
#pragma unroll 1
  for (unsigned n = 0; n < 64; ++n) {
    const unsigned i = row + n / 32 * 8, j = column + n % 32 / 2 * 8 + n % 2;
    if (i >= p.result.rows || j >= p.result.columns) continue;
    float& element = reinterpret_cast<float*>(p.result.data + i * p.result.rowBytes)[j];
    if (!(fabsf(element) <= FLT_MAX)) element = finished(p, plainElement(p, i, j), j);
  }
}

/// The sums of a slice of the terms.
__device__ MatrixView sliceOf(const SplitProduct& p, unsigned slice) {
  const std::size_t rowBytes = p.right.rows * sizeof(float);
  MatrixView view{.rows = p.left.rows, .columns = p.right.rows, .rowBytes = rowBytes};
  view.data = reinterpret_cast<std::byte*>(p.slices) + slice * view.rows * rowBytes;
  return view;
}

constexpr unsigned kStagesOfRest = 8;  // in which tensor cores add up the small products

/// A warp group computes its rows of every tile of its block.
template <Tile kLeft, Tile kRight>
__device__ void consume(const SplitProduct& p, const Schedule& schedule, SharedMemory& shared, unsigned rank) {
  const unsigned consumer = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  Factors<kLeft, kRight> factors(shared, consumer);
  const bool isReleaser = thread % 32 < kBlocksOfCluster;  // one of each warp for each block
  const std::uint32_t firstEmpty = hopper::sameAddressIn(thread % kBlocksOfCluster, shared.empty);
  const auto release = [&](unsigned stage, bool isRead) {
    hopper::arriveAt(firstEmpty + stage % kStages * sizeof(shared.empty[0]), isRead && isReleaser);
  };
  const auto waitForStage = [&](unsigned stage) { hopper::waitFor(shared.full[stage % kStages], stage / kStages % 2); };
  unsigned count = 0;  // of stages so far
  for (unsigned n = blockIdx.x / kBlocksOfCluster; n < schedule.count(); n += gridDim.x / kBlocksOfCluster) {
    const Step step = stepOf(schedule, n);
    const unsigned stages = step.endStage - step.firstStage;
    Sums sums;
    waitForStage(count);
    for (unsigned k = 0; k < stages; ++k, ++count) {
      sums.end([&] {
        factors.load(count % kStages);
        release(count - 1, k > 0);
      });
      // A vote, so that the compiler knows that threads do not diverge.
      if (__all_sync(~0u, k % kStagesOfRest == 0)) sums.normalize();
      sums.begin(factors, [&] {
        if (k + 1 < stages) waitForStage(count + 1);
      });
    }
    sums.end([] {});
    release(count - 1, true);
    sums.normalize();
    const unsigned row = (step.pair * kBlocksOfCluster + rank) * kTile + consumer * kConsumerRows;
    const unsigned threadRow = row + thread / 32 * 16 + thread % 32 / 4;
    const unsigned threadColumn = step.column * kTile + thread % 4 * 2;
    if (p.slices) {
      writeTile(sliceOf(p, step.slice), sums.sum, threadRow, threadColumn, [](float z, unsigned) { return z; });
    } else {
      writeResult(p, sums.sum, threadRow, threadColumn);
    }
  }
}

#endif

/// Whether the code that the driver has chosen for this device holds the product: machine code for 9.0 does not,
/// machine code for 9.0a does.
__device__ const bool kHasProduct =
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    true;
#else
    false;
#endif

// Elsewhere it is never launched, but compiled.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define METALLOID_CLUSTER
#else
#define METALLOID_CLUSTER __cluster_dims__(kBlocksOfCluster, 1, 1)
#endif

template <Tile kLeft, Tile kRight, bool kIsPatched>
__global__ void METALLOID_CLUSTER __launch_bounds__(kThreads, 1)
    splitProductKernel(const __grid_constant__ CUtensorMap left, const __grid_constant__ CUtensorMap right,
                       const __grid_constant__ SplitProduct p, Schedule schedule) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ std::byte bytes[];
  const auto address = reinterpret_cast<std::uintptr_t>(bytes);
  SharedMemory& shared =
      *reinterpret_cast<SharedMemory*>(bytes + (kSharedAlignment - address % kSharedAlignment) % kSharedAlignment);
  if (threadIdx.x == 0) {
    for (unsigned s = 0; s < kStages; ++s) {
      hopper::makeBarrier(shared.full[s], 1);
      hopper::makeBarrier(shared.empty[s], kBlocksOfCluster * kConsumers * kWarps);
    }
    hopper::publishBarriers();
  }
  const unsigned rank = hopper::rankInCluster();
  hopper::synchronizeCluster();
  if (threadIdx.x < 128) {
    hopper::giveRegisters<24>();
    if (threadIdx.x == 0) produce<kLeft, kRight, kIsPatched>(left, right, p, schedule, shared, rank);
  } else {
    hopper::takeRegisters<240>();
    consume<kLeft, kRight>(p, schedule, shared, rank);
  }
  hopper::synchronizeCluster();  // nobody leaves while the other block still writes to its memory
#endif
}

#undef METALLOID_CLUSTER

constexpr unsigned kSquare = 32;  // rows and columns that a block of sumSlicesKernel turns

/// Adds up the slices, in their order. 32 x 8 threads.
__global__ void __launch_bounds__(256) sumSlicesKernel(const __grid_constant__ SplitProduct p, unsigned slices) {
  waitForFormer();
  __shared__ float square[kSquare][kSquare + 1];
  const std::size_t rows = p.left.rows, columns = p.right.rows;
  const std::size_t firstRow = std::size_t{blockIdx.y} * kSquare, firstColumn = std::size_t{blockIdx.x} * kSquare;
  const std::size_t j = firstColumn + threadIdx.x;
  for (unsigned n = threadIdx.y; n < kSquare; n += 8) {
    const std::size_t i = firstRow + n;
    if (i >= rows || j >= columns) continue;
    double sum = 0;
#pragma unroll 4
    for (unsigned s = 0; s < slices; ++s) sum += double{p.slices[(s * rows + i) * columns + j]};
    auto z = static_cast<float>(sum);
    if (!(fabsf(z) <= FLT_MAX)) z = plainElement(p, i, j);
    z = finished(p, z, j);
    if (p.isResultTurned) {
      square[n][threadIdx.x] = z;
    } else {
      reinterpret_cast<float*>(p.result.data + i * p.result.rowBytes)[j] = z;
    }
  }
  if (!p.isResultTurned) return;
  __syncthreads();
  const std::size_t i = firstRow + threadIdx.x;
  for (unsigned n = threadIdx.y; n < kSquare; n += 8) {
    if (i >= rows || firstColumn + n >= columns) continue;
    reinterpret_cast<float*>(p.result.data + (firstColumn + n) * p.result.rowBytes)[i] = square[threadIdx.x][n];
  }
}

}  // namespace metalloid::cuda::splitting
