#pragma once

#include "backends/cuda/packs.cuh"

#include <type_traits>

/// Column sums and, from them, another pass over the same columns.
///
/// Few rows: a block sums a strip of columns and finishes it while its cache still holds it. Many rows: one launch sums
/// and another finishes.
namespace metalloid::cuda {

/// `Body` has
///   Columns columns(j): what it needs of the Pack<T>::kSize columns from j on, for the sums,
///   Row load(i, j, isLast): the loads of one pack; isLast: nobody reads them again,
///   Term: the type in which the terms of a batch of rows are added; batches are added in double,
///   void add(columns, row, sums): adds the terms of a pack to the sums x[], y[] of its columns,
///   float4 store(j, sums): takes a column's sums, stores what there is to store, and gives what `finish` needs of it,
///   finishing(j, const float4* known): prepares the second pass from what `store` gave,
///   void finish(finishing, row, i, j): stores the result.
template <class T, class Term>
struct Sums {
  Term x[Pack<T>::kSize] = {};
  Term y[Pack<T>::kSize] = {};
};

/// How a matrix is cut: into strips of neighbouring columns, and those into chunks of rows, one for each block.
struct StripPlan {
  std::size_t rows, columns;
  std::size_t chunkRows = 0;
  unsigned chunks = 1;                // of a strip
  double2* partials = nullptr;        // [chunks][columns]
  float4* known = nullptr;            // [columns]
  std::uint32_t* counters = nullptr;  // [strips], zeros
};

/// Columns of a strip that `kLanes` threads stand across, a pack each.
template <class T, unsigned kLanes>
constexpr unsigned kStripWidth = kLanes* Pack<T>::kSize;

/// Rows that a thread loads before it computes: enough bytes in flight to hide how long memory takes.
template <class Body>
constexpr int kBatchRows = 128 / static_cast<int>(sizeof(typename Body::Row));

/// Every `rowLanes`-th row from `begin` on, in batches: all loads of a batch, then f(row, i) for each of them.
template <class Body, class F, class AfterBatch>
__device__ void forEachRowOf(const Body& body, std::size_t j, std::size_t begin, std::size_t end, unsigned rowLanes,
                             bool isLast, const F& f, const AfterBatch& afterBatch) {
  constexpr int kRows = kBatchRows<Body>;
  for (std::size_t i = begin; i < end; i += kRows * rowLanes) {
    typename Body::Row row[kRows];
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (i + u * rowLanes < end) row[u] = body.load(i + u * rowLanes, j, isLast);
    }
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (i + u * rowLanes < end) f(row[u], i + u * rowLanes);
    }
    afterBatch();
  }
}

/// Adds what the warps have put there, in their order: into shared[0].
template <unsigned kWidth>
__device__ void addWarps(double2 (*shared)[kWidth]) {
  __syncthreads();
  for (unsigned c = threadIdx.x; c < kWidth; c += blockDim.x) {
    double2 total = shared[0][c];
    for (unsigned w = 1; w < blockDim.x / 32; ++w) {
      total.x += shared[w][c].x;
      total.y += shared[w][c].y;
    }
    shared[0][c] = total;
  }
  __syncthreads();
}

/// Sums of a block's rows of a strip, in shared memory: shared[0][c], in an order that only the shape decides.
template <class T, unsigned kLanes, class Body>
__device__ void sumStrip(const StripPlan& plan, const Body& body, std::size_t j, std::size_t begin, std::size_t end,
                         double2 (*shared)[kStripWidth<T, kLanes>]) {
  constexpr int kSize = Pack<T>::kSize;
  const unsigned lane = threadIdx.x % kLanes, rowLane = threadIdx.x / kLanes;
  const unsigned rowLanes = blockDim.x / kLanes, warp = threadIdx.x / 32;
  Sums<T, double> sums;
  if (j < plan.columns) {
    const auto own = body.columns(j);
    using Term = typename Body::Term;
    if constexpr (std::is_same_v<Term, double>) {
      forEachRowOf(
          body, j, begin + rowLane, end, rowLanes, false,
          [&](const typename Body::Row& row, std::size_t) { body.add(own, row, sums); }, [] {});
    } else {
      Sums<T, Term> batch;
      forEachRowOf(
          body, j, begin + rowLane, end, rowLanes, false,
          [&](const typename Body::Row& row, std::size_t) { body.add(own, row, batch); },
          [&] {
#pragma unroll
            for (int n = 0; n < kSize; ++n) {
              sums.x[n] += double{batch.x[n]};
              sums.y[n] += double{batch.y[n]};
            }
            batch = {};
          });
    }
  }
#pragma unroll
  for (int n = 0; n < kSize; ++n) {
#pragma unroll
    for (unsigned offset = kLanes; offset < 32; offset *= 2) {
      sums.x[n] += __shfl_xor_sync(0xffffffffu, sums.x[n], offset);
      sums.y[n] += __shfl_xor_sync(0xffffffffu, sums.y[n], offset);
    }
  }
  if (threadIdx.x % 32 < kLanes) {
#pragma unroll
    for (int n = 0; n < kSize; ++n) shared[warp][lane * kSize + n] = {sums.x[n], sums.y[n]};
  }
  addWarps(shared);
}

template <class T, unsigned kLanes, class Body>
__device__ void finishStrip(const StripPlan& plan, const Body& body, const float4 (&known)[Pack<T>::kSize],
                            std::size_t j, std::size_t begin, std::size_t end) {
  const auto finishing = body.finishing(j, known);
  forEachRowOf(
      body, j, begin + threadIdx.x / kLanes, end, blockDim.x / kLanes, true,
      [&](const typename Body::Row& row, std::size_t i) { body.finish(finishing, row, i, j); }, [] {});
}

/// One block a strip, which holds all of its rows: for few rows.
template <class T, unsigned kLanes, class Body>
__global__ void __launch_bounds__(256) stripKernel(StripPlan plan, const __grid_constant__ Body body) {
  waitForFormer();
  constexpr unsigned kWidth = kStripWidth<T, kLanes>;
  __shared__ double2 shared[8][kWidth];
  __shared__ float4 known[kWidth];
  const std::size_t first = std::size_t{blockIdx.x} * kWidth;
  const unsigned column = threadIdx.x % kLanes * Pack<T>::kSize;
  sumStrip<T, kLanes>(plan, body, first + column, 0, plan.rows, shared);
  for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
    known[c] = body.store(first + c, shared[0][c]);
  }
  __syncthreads();
  if (first + column >= plan.columns) return;
  float4 own[Pack<T>::kSize];
#pragma unroll
  for (int n = 0; n < Pack<T>::kSize; ++n) own[n] = known[column + n];
  finishStrip<T, kLanes>(plan, body, own, first + column, 0, plan.rows);
}

constexpr unsigned kWideLanes = 32;  // 512 bytes of a row: whole pages of memory are read one after the other

/// Sums chunks; the last block of a strip adds its chunks up.
template <class T, class Body>
__global__ void __launch_bounds__(256) sumKernel(StripPlan plan, const __grid_constant__ Body body) {
  waitForFormer();
  constexpr unsigned kWidth = kStripWidth<T, kWideLanes>;
  __shared__ double2 shared[8][kWidth];
  const std::size_t first = std::size_t{blockIdx.x} * kWidth, begin = blockIdx.y * plan.chunkRows;
  sumStrip<T, kWideLanes>(plan, body, first + threadIdx.x % kWideLanes * Pack<T>::kSize, begin,
                          min(begin + plan.chunkRows, plan.rows), shared);
  for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
    plan.partials[blockIdx.y * plan.columns + first + c] = shared[0][c];
  }
  if (!isLastBlock(plan.counters + blockIdx.x, gridDim.y)) return;
  const unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (unsigned c = threadIdx.x % 32; c < kWidth; c += 32) {
    double2 total = {0, 0};
#pragma unroll 4
    for (unsigned k = warp; k < plan.chunks && first + c < plan.columns; k += warps) {
      const double2 part = __ldcg(plan.partials + k * plan.columns + first + c);
      total.x += part.x;
      total.y += part.y;
    }
    shared[warp][c] = total;
  }
  addWarps(shared);
  for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
    plan.known[first + c] = body.store(first + c, shared[0][c]);
  }
}

template <class T, class Body>
__global__ void __launch_bounds__(256) finishKernel(StripPlan plan, const __grid_constant__ Body body) {
  waitForFormer();
  const std::size_t j = (blockIdx.x * kWideLanes + threadIdx.x % kWideLanes) * std::size_t{Pack<T>::kSize};
  if (j >= plan.columns) return;
  float4 known[Pack<T>::kSize];
#pragma unroll
  for (int n = 0; n < Pack<T>::kSize; ++n) known[n] = plan.known[j + n];
  const std::size_t begin = blockIdx.y * plan.chunkRows;
  finishStrip<T, kWideLanes>(plan, body, known, j, begin, min(begin + plan.chunkRows, plan.rows));
}

template <class T, class Body>
void launchColumnStatistics(std::size_t rows, std::size_t columns, const Body& body, Context& context) {
  StripPlan plan{.rows = rows, .columns = columns};
  const auto strips = [&](unsigned width) { return static_cast<unsigned>((columns + width - 1) / width); };
  constexpr unsigned kNarrowLanes = 2;  // 32 bytes, the least that memory gives: many blocks for few columns
  constexpr std::size_t kFewRows = 512;
  if (rows <= kFewRows) {
    return context.launchEarly(stripKernel<T, kNarrowLanes, Body>, strips(kStripWidth<T, kNarrowLanes>), 256, plan,
                               body);
  }
  const unsigned wide = strips(kStripWidth<T, kWideLanes>);
  // As many blocks as are resident at once: what a block does before and after its rows is not little.
  int resident = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, sumKernel<T, Body>, 256, 0),
        "A kernel cannot be planned");
  constexpr std::size_t kBatch = 8 * kBatchRows<Body>;
  const auto blocks = static_cast<std::size_t>(std::max(1, resident) * context.multiprocessors);
  const std::size_t most = std::min<std::size_t>(65535, (rows + kBatch - 1) / kBatch);
  const std::size_t chunks = std::clamp<std::size_t>(blocks / wide, 1, most);
  plan.chunkRows = (rows + chunks - 1) / chunks;
  plan.chunks = static_cast<unsigned>((rows + plan.chunkRows - 1) / plan.chunkRows);
  plan.partials = context.scratch<double2>(plan.chunks * columns);
  plan.known = context.scratch<float4>(columns);
  plan.counters = context.counters;
  context.launchEarly(sumKernel<T, Body>, dim3(wide, plan.chunks), 256, plan, body);
  context.launchEarly(finishKernel<T, Body>, dim3(wide, plan.chunks), 256, plan, body);
}

/// Why matrices of so many columns are refused; nullptr: they are not.
inline const char* refusesColumnStatistics(std::size_t columns) {
  return columns / 128 >= Context::kCounters ? "there are too many columns" : nullptr;
}

}  // namespace metalloid::cuda
