#pragma once

#include "backends/cuda/packs.cuh"

#include <type_traits>

/// Column sums and, from them, another pass over the same columns.
///
/// Few rows: a block sums a strip of columns and finishes it while its cache still holds it. Many rows: one launch sums
/// and another finishes, unless the strip stays in the shared memory of a cluster (resident_columns.cuh).
namespace metalloid::cuda {

/// `Body` has
///   kSources, const MatrixView& source(n): the matrices that are read,
///   Columns columns(j): what it needs of the Pack<T>::kSize columns from j on, for the sums,
///   Term: the type in which the terms of a batch of rows are added; batches are added in double,
///   void add(columns, row, sums): adds the terms of a pack to the sums x[], y[] of its columns,
///   float4 before(j): what `store` needs of a column, loaded when nothing is written yet,
///   float4 store(j, before, sums, isKept): takes a column's sums and gives what `finish` needs of it; stores what
///   there is to store, if it is to be kept,
///   finishing(columns, const float4* known): prepares the second pass from what `store` gave,
///   void finish(finishing, row, i, j): stores the result.
template <class T, class Term>
struct Sums {
  Term x[Pack<T>::kSize] = {};
  Term y[Pack<T>::kSize] = {};
};

/// The packs of one place in all sources.
template <class Body>
struct Row {
  uint4 pack[Body::kSources];
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

/// Rows as they are in memory, from column j on; isLast: nobody reads them again.
template <class T, class Body>
struct RowsOfMemory {
  using Index = std::size_t;
  /// Enough bytes in flight to hide how long memory takes.
  static constexpr int kBatch = 128 / static_cast<int>(sizeof(Row<Body>));

  const Body& body;
  std::size_t j;
  bool isLast;

  __device__ void await(std::size_t) {}
  __device__ Row<Body> load(std::size_t i) const {
    Row<Body> row;
#pragma unroll
    for (int n = 0; n < Body::kSources; ++n) {
      const MatrixView& source = body.source(n);
      const auto* const from = reinterpret_cast<const uint4*>(source.data + i * source.rowBytes + j * sizeof(T));
      row.pack[n] = isLast ? __ldcs(from) : __ldcg(from);
    }
    return row;
  }
};

/// Every `rowLanes`-th row from `begin` on, in batches: all loads of a batch, then f(row, i) for each of them.
/// `Rows` has
///   Index: what counts the rows,
///   kBatch: rows of a batch,
///   void await(end): waits until the rows before this one are there,
///   Row load(i): row i.
template <class Body, class Rows, class F, class AfterBatch>
__device__ void forEachRowOf(Rows& rows, typename Rows::Index begin, typename Rows::Index end, unsigned rowLanes,
                             const F& f, const AfterBatch& afterBatch) {
  using Index = typename Rows::Index;
  constexpr int kRows = Rows::kBatch;
  for (Index i = begin; i < end; i += kRows * rowLanes) {
    Row<Body> row[kRows];
    rows.await(min(i + (kRows - 1) * rowLanes + 1, end));
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (i + u * rowLanes < end) row[u] = rows.load(i + u * rowLanes);
    }
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (i + u * rowLanes < end) f(row[u], i + u * rowLanes);
    }
    afterBatch();
  }
}

/// Sums of a thread's rows.
template <class T, class Body, class Rows>
__device__ Sums<T, double> sumRows(const Body& body, const typename Body::Columns& columns, Rows& rows,
                                   typename Rows::Index begin, typename Rows::Index end, unsigned rowLanes) {
  Sums<T, double> sums;
  using Term = typename Body::Term;
  Sums<T, Term> batch;
  forEachRowOf<Body>(
      rows, begin, end, rowLanes,
      [&](const Row<Body>& row, typename Rows::Index) {
        if constexpr (std::is_same_v<Term, double>) {
          body.add(columns, row, sums);
        } else {
          body.add(columns, row, batch);
        }
      },
      [&] {
        if constexpr (!std::is_same_v<Term, double>) {
#pragma unroll
          for (int n = 0; n < Pack<T>::kSize; ++n) {
            sums.x[n] += double{batch.x[n]};
            sums.y[n] += double{batch.y[n]};
          }
          batch = {};
        }
      });
  return sums;
}

/// Finishes a thread's rows, of which number 0 is row `first` of the matrix.
template <class Body, class Rows, class Finishing>
__device__ void finishRows(const Body& body, const Finishing& finishing, Rows& rows, std::size_t j, std::size_t first,
                           typename Rows::Index begin, typename Rows::Index end, unsigned rowLanes) {
  forEachRowOf<Body>(
      rows, begin, end, rowLanes,
      [&](const Row<Body>& row, typename Rows::Index i) { body.finish(finishing, row, first + i, j); }, [] {});
}

/// Adds what the warps have put at shared[warp * width + c], in their order: into shared[c].
__device__ inline void addWarps(double2* shared, unsigned width) {
  __syncthreads();
  for (unsigned c = threadIdx.x; c < width; c += blockDim.x) {
    double2 total = shared[c];
    for (unsigned w = 1; w < blockDim.x / 32; ++w) {
      total.x += shared[w * width + c].x;
      total.y += shared[w * width + c].y;
    }
    shared[c] = total;
  }
  __syncthreads();
}

/// Adds the sums of a block's threads, of which `lanes` stand across a strip, in an order that only the shape decides:
/// into shared[c] for each column of the strip.
template <class T>
__device__ void addThreads(Sums<T, double>& sums, unsigned lanes, double2* shared) {
  constexpr int kSize = Pack<T>::kSize;
  for (unsigned offset = lanes; offset < 32; offset *= 2) {
#pragma unroll
    for (int n = 0; n < kSize; ++n) {
      sums.x[n] += __shfl_xor_sync(0xffffffffu, sums.x[n], offset);
      sums.y[n] += __shfl_xor_sync(0xffffffffu, sums.y[n], offset);
    }
  }
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, width = lanes * kSize;
  if (lane < lanes) {
#pragma unroll
    for (int n = 0; n < kSize; ++n) shared[warp * width + lane * kSize + n] = {sums.x[n], sums.y[n]};
  }
  addWarps(shared, width);
}

/// Sums of a block's rows of a strip, in shared[c].
template <class T, unsigned kLanes, class Body>
__device__ void sumStrip(const StripPlan& plan, const Body& body, std::size_t j, std::size_t begin, std::size_t end,
                         double2* shared) {
  Sums<T, double> sums;
  if (j < plan.columns) {
    RowsOfMemory<T, Body> rows{body, j, false};
    sums = sumRows<T>(body, body.columns(j), rows, begin + threadIdx.x / kLanes, end, blockDim.x / kLanes);
  }
  addThreads<T>(sums, kLanes, shared);
}

template <class T, unsigned kLanes, class Body>
__device__ void finishStrip(const Body& body, const float4 (&known)[Pack<T>::kSize], std::size_t j, std::size_t begin,
                            std::size_t end) {
  RowsOfMemory<T, Body> rows{body, j, true};
  finishRows(body, body.finishing(body.columns(j), known), rows, j, 0, begin + threadIdx.x / kLanes, end,
             blockDim.x / kLanes);
}

/// One block a strip, which holds all of its rows: for few rows.
template <class T, unsigned kLanes, class Body>
__global__ void __launch_bounds__(256) stripKernel(StripPlan plan, const __grid_constant__ Body body) {
  waitForFormer();
  constexpr unsigned kWidth = kStripWidth<T, kLanes>;
  __shared__ double2 shared[8 * kWidth];
  __shared__ float4 known[kWidth];
  const std::size_t first = std::size_t{blockIdx.x} * kWidth;
  const unsigned column = threadIdx.x % kLanes * Pack<T>::kSize;
  sumStrip<T, kLanes>(plan, body, first + column, 0, plan.rows, shared);
  for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
    known[c] = body.store(first + c, body.before(first + c), shared[c], true);
  }
  __syncthreads();
  if (first + column >= plan.columns) return;
  float4 own[Pack<T>::kSize];
#pragma unroll
  for (int n = 0; n < Pack<T>::kSize; ++n) own[n] = known[column + n];
  finishStrip<T, kLanes>(body, own, first + column, 0, plan.rows);
}

constexpr unsigned kWideLanes = 32;  // 512 bytes of a row: whole pages of memory are read one after the other

/// Sums chunks; the last block of a strip adds its chunks up.
template <class T, class Body>
__global__ void __launch_bounds__(256) sumKernel(StripPlan plan, const __grid_constant__ Body body) {
  waitForFormer();
  constexpr unsigned kWidth = kStripWidth<T, kWideLanes>;
  __shared__ double2 shared[8 * kWidth];
  const std::size_t first = std::size_t{blockIdx.x} * kWidth, begin = blockIdx.y * plan.chunkRows;
  sumStrip<T, kWideLanes>(plan, body, first + threadIdx.x % kWideLanes * Pack<T>::kSize, begin,
                          min(begin + plan.chunkRows, plan.rows), shared);
  for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
    plan.partials[blockIdx.y * plan.columns + first + c] = shared[c];
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
    shared[warp * kWidth + c] = total;
  }
  addWarps(shared, kWidth);
  for (unsigned c = threadIdx.x; c < kWidth && first + c < plan.columns; c += blockDim.x) {
    plan.known[first + c] = body.store(first + c, body.before(first + c), shared[c], true);
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
  finishStrip<T, kWideLanes>(body, known, j, begin, min(begin + plan.chunkRows, plan.rows));
}

constexpr std::size_t kFewRows = 512;  // that one block sums and finishes

template <class T, class Body>
void launchColumnStatistics(std::size_t rows, std::size_t columns, const Body& body, Context& context) {
  StripPlan plan{.rows = rows, .columns = columns};
  const auto strips = [&](unsigned width) { return static_cast<unsigned>((columns + width - 1) / width); };
  if (rows <= kFewRows) {
    // 32 bytes are the least that memory gives: many blocks for few columns. Wider strips have fewer sums to add up.
    constexpr unsigned kLanes = 2, kMoreLanes = 8;
    const unsigned narrow = strips(kStripWidth<T, kLanes>), wider = strips(kStripWidth<T, kMoreLanes>);
    return 4 * wider >= 3 * static_cast<unsigned>(context.multiprocessors)
               ? context.launchEarly(stripKernel<T, kMoreLanes, Body>, wider, 256, plan, body)
               : context.launchEarly(stripKernel<T, kLanes, Body>, narrow, 256, plan, body);
  }
  const unsigned wide = strips(kStripWidth<T, kWideLanes>);
  // As many blocks as are resident at once: what a block does before and after its rows is not little.
  int resident = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, sumKernel<T, Body>, 256, 0),
        "A kernel cannot be planned");
  constexpr std::size_t kBatch = 8 * RowsOfMemory<T, Body>::kBatch;
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
