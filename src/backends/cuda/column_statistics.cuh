#pragma once

#include "backends/cuda/packs.cuh"

#include <cuda/atomic>

/// Column sums and, from them, another pass over the same columns, while those are still in the L2 cache.
///
/// A team of blocks walks over groups of columns that are small enough for the cache. It sums group g + 1 while it
/// finishes group g: each element is read once from memory and once from the cache, and no block ever waits for long,
/// since what it needs was begun a whole group earlier. For batch normalization that is two passes over memory instead
/// of three, and three instead of five for its gradient.
namespace metalloid::cuda {

constexpr unsigned kStripLanes = 8;  // packs across a strip: 128 bytes, a line of the cache

/// `Body` has
///   Columns columns(j): what it needs of the Pack<T>::kSize columns from j on, for the sums,
///   Row load(i, j, isLast): the loads of one pack; isLast: nobody reads them again,
///   void add(columns, row, sums): adds the terms of a pack to the sums x[], y[] of its columns,
///   float4 store(j, sums): takes a column's sums, stores what there is to store, and gives what `finish` needs of it,
///   finishing(j, const float4* known): prepares the second pass from what `store` gave,
///   void finish(finishing, row, i, j): stores the result.
template <class T>
struct Sums {
  double x[Pack<T>::kSize] = {};
  double y[Pack<T>::kSize] = {};
};

struct StripPlan {
  std::size_t rows, columns;
  std::size_t chunkRows;             // of a block
  unsigned chunks;                   // blocks of a strip
  unsigned strips;                   // of the matrix
  unsigned stripsAtOnce;             // strips of a group
  double2* partials = nullptr;       // [2][stripsAtOnce][chunks][columns of a strip]
  float4* known = nullptr;           // [columns]
  std::uint32_t* arrived = nullptr;  // [strips], zeros
  std::uint32_t* ready = nullptr;    // [strips], zeros
};

template <class T>
constexpr unsigned kStripWidth = kStripLanes* Pack<T>::kSize;

/// Sums of a block's rows of a strip, in shared memory: total[c], in an order that only the shape decides.
template <class T, class Body>
__device__ void sumStrip(const StripPlan& plan, const Body& body, std::size_t j, std::size_t begin, std::size_t end,
                         double2 (*shared)[kStripWidth<T>]) {
  constexpr int kSize = Pack<T>::kSize;
  const unsigned lane = threadIdx.x % kStripLanes, rowLane = threadIdx.x / kStripLanes;
  const unsigned rowLanes = blockDim.x / kStripLanes, warp = threadIdx.x / 32;
  Sums<T> sums;
  if (j < plan.columns) {
    const auto own = body.columns(j);
    constexpr int kUnroll = 4;
    std::size_t i = begin + rowLane;
    for (; i + (kUnroll - 1) * rowLanes < end; i += kUnroll * rowLanes) {
      typename Body::Row row[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) row[u] = body.load(i + u * rowLanes, j, false);
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) body.add(own, row[u], sums);
    }
    for (; i < end; i += rowLanes) body.add(own, body.load(i, j, false), sums);
  }
#pragma unroll
  for (int n = 0; n < kSize; ++n) {
#pragma unroll
    for (unsigned offset = kStripLanes; offset < 32; offset *= 2) {
      sums.x[n] += __shfl_xor_sync(0xffffffffu, sums.x[n], offset);
      sums.y[n] += __shfl_xor_sync(0xffffffffu, sums.y[n], offset);
    }
  }
  __syncthreads();  // the last use of the shared memory is over
  if (threadIdx.x % 32 < kStripLanes) {
#pragma unroll
    for (int n = 0; n < kSize; ++n) shared[warp][lane * kSize + n] = {sums.x[n], sums.y[n]};
  }
  __syncthreads();
  for (unsigned c = threadIdx.x; c < kStripWidth<T>; c += blockDim.x) {
    double2 total = shared[0][c];
    for (unsigned w = 1; w < blockDim.x / 32; ++w) {
      total.x += shared[w][c].x;
      total.y += shared[w][c].y;
    }
    shared[0][c] = total;
  }
  __syncthreads();
}

template <class T, class Body>
__device__ void finishStrip(const StripPlan& plan, const Body& body, std::size_t j, std::size_t begin,
                            std::size_t end) {
  if (j >= plan.columns) return;
  const unsigned rowLane = threadIdx.x / kStripLanes, rowLanes = blockDim.x / kStripLanes;
  float4 known[Pack<T>::kSize];
#pragma unroll
  for (int n = 0; n < Pack<T>::kSize; ++n) known[n] = __ldcg(plan.known + j + n);
  const auto finishing = body.finishing(j, known);
  constexpr int kUnroll = 4;
  std::size_t i = begin + rowLane;
  for (; i + (kUnroll - 1) * rowLanes < end; i += kUnroll * rowLanes) {
    typename Body::Row row[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) row[u] = body.load(i + u * rowLanes, j, true);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) body.finish(finishing, row[u], i + u * rowLanes, j);
  }
  for (; i < end; i += rowLanes) body.finish(finishing, body.load(i, j, true), i, j);
}

/// One block a strip, which holds all of its rows: for few rows.
template <class T, class Body>
__global__ void __launch_bounds__(512) stripKernel(StripPlan plan, const __grid_constant__ Body body) {
  __shared__ double2 shared[16][kStripWidth<T>];
  const std::size_t first = std::size_t{blockIdx.x} * kStripWidth<T>;
  const std::size_t j = first + threadIdx.x % kStripLanes * Pack<T>::kSize;
  sumStrip<T>(plan, body, j, 0, plan.rows, shared);
  for (unsigned c = threadIdx.x; c < kStripWidth<T> && first + c < plan.columns; c += blockDim.x) {
    plan.known[first + c] = body.store(first + c, shared[0][c]);
  }
  __syncthreads();
  finishStrip<T>(plan, body, j, 0, plan.rows);
}

/// All blocks are resident at once (a cooperative launch): they wait for each other.
template <class T, class Body>
__global__ void __launch_bounds__(256, 3) groupKernel(StripPlan plan, const __grid_constant__ Body body) {
  constexpr unsigned kWidth = kStripWidth<T>;
  __shared__ double2 shared[8][kWidth];
  __shared__ bool isLast;
  const unsigned slot = blockIdx.x % plan.stripsAtOnce, chunk = blockIdx.x / plan.stripsAtOnce;
  const std::size_t begin = chunk * plan.chunkRows, end = min(begin + plan.chunkRows, plan.rows);
  const unsigned groups = (plan.strips + plan.stripsAtOnce - 1) / plan.stripsAtOnce;
  const unsigned lane = threadIdx.x % kStripLanes;
  for (unsigned g = 0; g <= groups; ++g) {
    const unsigned strip = g * plan.stripsAtOnce + slot;
    if (g < groups && strip < plan.strips) {
      const std::size_t first = std::size_t{strip} * kWidth;
      sumStrip<T>(plan, body, first + lane * Pack<T>::kSize, begin, end, shared);
      double2* const partials = plan.partials + (std::size_t{g % 2} * plan.stripsAtOnce + slot) * plan.chunks * kWidth;
      for (unsigned c = threadIdx.x; c < kWidth; c += blockDim.x) partials[chunk * kWidth + c] = shared[0][c];
      __threadfence();
      __syncthreads();
      if (threadIdx.x == 0) isLast = atomicAdd(plan.arrived + strip, 1u) == plan.chunks - 1;
      __syncthreads();
      if (isLast) {
        __threadfence();
        // Every warp adds a share of the chunks, always the same.
        const unsigned warps = blockDim.x / 32, warp = threadIdx.x / 32;
        for (unsigned c = threadIdx.x % 32; c < kWidth; c += 32) {
          double2 total = {0, 0};
          for (unsigned k = warp; k < plan.chunks; k += warps) {
            const double2 part = __ldcg(partials + k * kWidth + c);
            total.x += part.x;
            total.y += part.y;
          }
          shared[warp][c] = total;
        }
        __syncthreads();
        for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
          double2 total = shared[0][c];
          for (unsigned w = 1; w < warps; ++w) {
            total.x += shared[w][c].x;
            total.y += shared[w][c].y;
          }
          plan.known[first + c] = body.store(first + c, total);
        }
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) {
          ::cuda::atomic_ref<std::uint32_t, ::cuda::thread_scope_device>(plan.ready[strip])
              .store(1u, ::cuda::memory_order_release);
        }
      }
    }
    if (g == 0) continue;
    const unsigned former = (g - 1) * plan.stripsAtOnce + slot;
    if (former >= plan.strips) continue;
    if (threadIdx.x == 0) {
      const ::cuda::atomic_ref<std::uint32_t, ::cuda::thread_scope_device> ready(plan.ready[former]);
      while (ready.load(::cuda::memory_order_acquire) == 0) {
      }
    }
    __syncthreads();
    finishStrip<T>(plan, body, std::size_t{former} * kWidth + lane * Pack<T>::kSize, begin, end);
  }
}

/// `rowBytes`: what the first pass reads of a row of a strip, in bytes, all matrices together.
template <class T, class Body>
void launchColumnStatistics(std::size_t rows, std::size_t columns, std::size_t matricesRead, const Body& body,
                            Context& context) {
  constexpr unsigned kWidth = kStripWidth<T>;
  StripPlan plan{};
  plan.rows = rows;
  plan.columns = columns;
  plan.strips = static_cast<unsigned>((columns + kWidth - 1) / kWidth);
  plan.known = context.scratch<float4>(columns);
  constexpr std::size_t kFewRows = 1024;  // about the L1 cache for two matrices
  if (rows <= kFewRows) {
    plan.chunks = plan.stripsAtOnce = 1;
    plan.chunkRows = rows;
    context.launch(stripKernel<T, Body>, plan.strips, rows <= 64 ? 128 : 512, plan, body);
    return;
  }
  int perMultiprocessor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&perMultiprocessor, groupKernel<T, Body>, 256, 0),
        "A kernel cannot be planned");
  const unsigned blocks = static_cast<unsigned>(std::max(1, perMultiprocessor) * context.multiprocessors);
  // Two groups are in the cache at a time, and what is written passes through it.
  const std::size_t groupBytes = context.l2Bytes / 5;
  const std::size_t stripBytes = rows * matricesRead * kWidth * sizeof(T);
  plan.stripsAtOnce = static_cast<unsigned>(
      std::clamp<std::size_t>(groupBytes / stripBytes, 1, std::min<std::size_t>(plan.strips, blocks)));
  // Whole sets of 32 rows for a block, at least.
  constexpr std::size_t kRowLanes = 256 / kStripLanes;
  const std::size_t chunks = std::min<std::size_t>(blocks / plan.stripsAtOnce, (rows + kRowLanes - 1) / kRowLanes);
  plan.chunkRows = (rows + chunks - 1) / chunks;
  plan.chunks = static_cast<unsigned>((rows + plan.chunkRows - 1) / plan.chunkRows);
  plan.partials = context.scratch<double2>(2 * std::size_t{plan.stripsAtOnce} * plan.chunks * kWidth);
  plan.arrived = context.scratch<std::uint32_t>(2 * std::size_t{plan.strips});
  plan.ready = plan.arrived + plan.strips;
  context.fill(plan.arrived, 0, 2 * std::size_t{plan.strips} * sizeof(std::uint32_t));
  context.launchWith({.isCooperative = true}, groupKernel<T, Body>, plan.chunks * plan.stripsAtOnce, 256, plan, body);
}

}  // namespace metalloid::cuda
