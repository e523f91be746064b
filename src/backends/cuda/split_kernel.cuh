#pragma once

#include "backends/cuda/elements.cuh"
#include "backends/cuda/split_rows.cuh"

#include <cfloat>
#include <type_traits>

/// Products of float32 on tensor cores, with the accuracy of float32.
///
/// A float32 number is the sum of three bfloat16 numbers of 8 bits each, and bfloat16 has the range of float32:
/// a = a0 + a1 + a2. Of the nine products of a b, six are computed; what is left out is below 2^-24 |a b|:
///
///     a b = a0 b0 + (a0 b1 + a1 b0 + a1 b1 + a0 b2 + a2 b0)
///
/// Tensor cores truncate what they add. So they add the leading products, which are exact in 16 bits, only over 32
/// terms, or over 64 where there are so many that the plain product is further off anyway; from there on, sums are
/// compensated: what rounding takes from a sum is kept beside it. The others, smaller by 2^-8, are added to what is
/// kept.
///
/// Factors are split before. The left one may also be split on its way, in registers: that takes longer, but no memory.
///
/// Where there are fewer tiles than multiprocessors have time for, the terms are cut into slices, whose sums are stored
/// and added up in a fixed order.
///
/// Infinities, NaN, and numbers that bfloat16 rounds to infinity, give a sum that is not finite. Such an element is
/// computed again, term by term in float32.
///
/// Numbers below 2^-110 have bits below the smallest of bfloat16: of those 2^-134 may be lost.
namespace metalloid::cuda::splitting {

/// One element as the plain product has it.
__device__ float plainElement(const SplitProduct& p, std::size_t i, std::size_t j) {
  float sum = 0;
#pragma unroll 1
  for (std::size_t t = 0; t < p.left.terms; ++t) sum = fmaf(p.left.at(i, t), p.right.at(j, t), sum);
  return sum;
}

/// What becomes of the sum of an element in a column of the result.
__device__ float finished(const SplitProduct& p, float sum, std::size_t column) {
  const float z = static_cast<float>(p.alpha) * sum;
  return p.bias.data ? z + reinterpret_cast<const float*>(p.bias.data)[column] : z;
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

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

  /// Takes up the leading products. What rounding takes away from the sum remains of them.
  __device__ void takeLeading() {
    hopper::keepInOrder(leading);
#pragma unroll
    for (int n = 0; n < 64; ++n) addExactly(sum[n], leading[n]);
  }

  /// Takes up what remains.
  __device__ void takeRemains() {
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

/// Writes what a thread has of a tile: pairs in 2 rows and 16 columns, from a row and a column on.
__device__ void writePairs(const MatrixView& result, const float (&z)[64], unsigned row, unsigned column) {
  const auto to = [&](unsigned i) { return reinterpret_cast<float*>(result.data + i * result.rowBytes) + column; };
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(result.data) | result.rowBytes) % sizeof(float2) == 0;
  if (isAligned && row + 8 < result.rows && column + kTile - 8 + 1 < result.columns) {
    auto *const upper = reinterpret_cast<float2*>(to(row)), *const lower = reinterpret_cast<float2*>(to(row + 8));
#pragma unroll
    for (unsigned n = 0; n < 16; ++n) {
      upper[n * 4] = {z[4 * n], z[4 * n + 1]};
      lower[n * 4] = {z[4 * n + 2], z[4 * n + 3]};
    }
    return;
  }
#pragma unroll
  for (unsigned n = 0; n < 64; ++n) {
    const unsigned i = row + n / 2 % 2 * 8, j = n / 4 * 8 + n % 2;
    if (i < result.rows && column + j < result.columns) to(i)[j] = z[n];
  }
}

/// Writes the result, and computes again what is not finite.
__device__ void writeResult(const SplitProduct& p, const float (&sum)[64], unsigned row, unsigned column) {
  bool isFinite = true;
  float z[64];
#pragma unroll
  for (unsigned n = 0; n < 64; ++n) {
    isFinite = isFinite && fabsf(sum[n]) <= FLT_MAX;
    z[n] = static_cast<float>(p.alpha) * sum[n];
  }
  if (p.bias.data) {
    const auto* const bias = reinterpret_cast<const float*>(p.bias.data);
#pragma unroll
    for (unsigned n = 0; n < 64; n += 4) {
#pragma unroll
      for (unsigned c = 0; c < 2; ++c) {
        const unsigned j = column + n * 2 + c;
        const float b = j < p.result.columns ? bias[j] : 0;
        z[n + c] += b;
        z[n + 2 + c] += b;
      }
    }
  }
  writePairs(p.result, z, row, column);
  if (isFinite) return;
#pragma unroll 1
  for (unsigned n = 0; n < 64; ++n) {
    const unsigned i = row + n / 2 % 2 * 8, j = column + n / 4 * 8 + n % 2;
    if (i >= p.result.rows || j >= p.result.columns) continue;
    float& element = reinterpret_cast<float*>(p.result.data + i * p.result.rowBytes)[j];
    if (!(fabsf(element) <= FLT_MAX)) element = finished(p, plainElement(p, i, j), j);
  }
}

/// Writes the sums of a slice of the terms.
__device__ void writeSlice(const SplitProduct& p, unsigned slice, const Sums& sums, unsigned row, unsigned column) {
#pragma unroll
  for (unsigned n = 0; n < 64; n += 2) {
    const unsigned i = row + n / 2 % 2 * 8, j = column + n / 4 * 8;
    if (i >= p.left.rows || j >= p.right.rows) continue;
    const std::size_t to = (slice * p.left.rows + i) * p.sliceColumns() + j;
    if (p.areSlicesExact) {
      const auto exact = [&](unsigned m) { return double{sums.sum[m]} + double{sums.rest[m]}; };
      *reinterpret_cast<double2*>(p.slices + to * sizeof(double)) = {exact(n), exact(n + 1)};
    } else {
      *reinterpret_cast<float2*>(p.slices + to * sizeof(float)) = {sums.sum[n], sums.sum[n + 1]};
    }
  }
}

constexpr unsigned kStagesOfRest = 8;  // after which the rest is normalized: twice that where stages are paired

/// A warp group computes its rows of every tile of its block.
template <Tile kTileOfLeft, Tile kRight, Left kLeft>
__device__ void consume(const SplitProduct& p, const Schedule& schedule, SharedMemory& shared, unsigned rank) {
  const unsigned consumer = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  using Rows = std::conditional_t<isInParts(kLeft), PartsOfRows<kTileOfLeft>, NumbersOfRows<kTileOfLeft>>;
  Factors<Rows, kRight> factors(shared, consumer);
  const bool isReleaser = thread % 32 < kBlocksOfCluster;  // one of each warp for each block
  const std::uint32_t firstEmpty = hopper::sameAddressIn(thread % kBlocksOfCluster, shared.empty);
  const auto release = [&](unsigned stage) {
    hopper::arriveAt(firstEmpty + stage % kStages * sizeof(shared.empty[0]), isReleaser);
  };
  const auto waitForStage = [&](unsigned stage) { hopper::waitFor(shared.full[stage % kStages], stage / kStages % 2); };
  unsigned count = 0;  // of stages so far
  for (unsigned n = blockIdx.x / kBlocksOfCluster; n < schedule.count(); n += gridDim.x / kBlocksOfCluster) {
    const Step step = stepOf(schedule, n);
    const unsigned end = count + step.endStage - step.firstStage;
    Sums sums;
    waitForStage(count);
    for (unsigned untilNormal = 0; count < end;) {
      const unsigned stage = count % kStages;
      factors.load(stage);
      // Votes, so that the compiler knows that threads do not diverge.
      if (__all_sync(~0u, untilNormal == 0)) {
        sums.normalize();
        untilNormal = kStagesOfRest;
      }
      --untilNormal;
      if (isInParts(kLeft) && __all_sync(~0u, schedule.leadingStages == 2 && count + 1 < end)) {
        const unsigned next = (count + 1) % kStages;
        waitForStage(count + 1);
        hopper::beginProducts();
        factors.multiply(sums.leading, stage, 0, 0, false);
        factors.multiply(sums.leading, next, 0, 0);
        factors.multiplySmall(sums.rest, stage);
        hopper::endProducts();
        factors.multiplySmall(sums.rest, next);
        hopper::endProducts();
        hopper::waitForProducts<1>();
        release(count);
        ++count;
      } else {
        hopper::beginProducts();
        factors.multiply(sums.leading, stage, 0, 0, false);
        factors.multiply(sums.rest, stage, 0, 2);
        factors.multiply(sums.rest, stage, 2, 0);
        hopper::endProducts();
        factors.multiply(sums.rest, stage, 1, 1);
        factors.multiply(sums.rest, stage, 0, 1);
        factors.multiply(sums.rest, stage, 1, 0);
        hopper::endProducts();
        hopper::waitForProducts<1>();
      }
      sums.takeLeading();
      if (count + 1 < end) waitForStage(count + 1);
      hopper::waitForProducts<0>();
      release(count);
      ++count;
      sums.takeRemains();
    }
    sums.normalize();
    const unsigned row = (step.pair * kBlocksOfCluster + rank) * kTile + consumer * kConsumerRows;
    const unsigned threadRow = row + thread / 32 * 16 + thread % 32 / 4;
    const unsigned threadColumn = step.column * kTile + thread % 4 * 2;
    if (p.slices) {
      writeSlice(p, step.slice, sums, threadRow, threadColumn);
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

template <Tile kTileOfLeft, Tile kRight, Left kLeft>
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
    if (threadIdx.x == 0) produce<kTileOfLeft, kRight, kLeft>(left, right, p, schedule, shared, rank);
  } else {
    hopper::takeRegisters<240>();
    consume<kTileOfLeft, kRight, kLeft>(p, schedule, shared, rank);
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
    for (unsigned s = 0; s < slices; ++s) {
      const std::size_t from = (s * rows + i) * p.sliceColumns() + j;
      sum += p.areSlicesExact ? reinterpret_cast<const double*>(p.slices)[from]
                              : double{reinterpret_cast<const float*>(p.slices)[from]};
    }
    auto z = static_cast<float>(sum);
    if (!(fabsf(z) <= FLT_MAX)) z = plainElement(p, i, j);
    z = finished(p, z, p.isResultTurned ? i : j);
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
