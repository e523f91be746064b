#pragma once

#include "backends/cuda/packs.cuh"

/// One pass over matrices of packs that also sums columns.
namespace metalloid::cuda {

constexpr unsigned kPassWarps = 8;
constexpr unsigned kPassRows = 4;  // rows that a thread loads before it computes: enough bytes in flight

/// Blocks of 8 warps take a strip of 32 packs and a chunk of rows; each thread its column of packs and every eighth
/// row. `Body` has
///   Columns columns(j): what it needs of the Pack<T>::kSize columns from j on,
///   Row load(i, j): the loads of one pack, no arithmetic,
///   Pack<T> compute(columns, row, i, j): the terms of the sums; also stores what there is to store,
///   store(j, sum): a column's sum.
/// Sums go thread, block, chunk: an order that only the shape decides.
template <class T, class Body>
__global__ void __launch_bounds__(32 * kPassWarps)
    columnPassKernel(std::size_t rows, std::size_t columns, std::size_t chunkRows, float* partials,
                     std::uint32_t* counters, const __grid_constant__ Body body) {
  waitForFormer();
  constexpr int kSize = Pack<T>::kSize;
  constexpr unsigned kStrip = 32 * kSize;
  __shared__ float shared[kPassWarps][kStrip];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::size_t first = std::size_t{blockIdx.x} * kStrip, j = first + lane * kSize;
  const std::size_t begin = blockIdx.y * chunkRows, end = min(begin + chunkRows, rows);
  float sum[kSize] = {};
  if (j < columns) {
    const auto own = body.columns(j);
    std::size_t i = begin + warp;
    for (; i + (kPassRows - 1) * kPassWarps < end; i += kPassRows * kPassWarps) {
      typename Body::Row row[kPassRows];
#pragma unroll
      for (unsigned r = 0; r < kPassRows; ++r) row[r] = body.load(i + r * kPassWarps, j);
#pragma unroll
      for (unsigned r = 0; r < kPassRows; ++r) {
        const Pack<T> terms = body.compute(own, row[r], i + r * kPassWarps, j);
#pragma unroll
        for (int n = 0; n < kSize; ++n) sum[n] += terms.value[n];
      }
    }
    for (; i < end; i += kPassWarps) {
      const Pack<T> terms = body.compute(own, body.load(i, j), i, j);
#pragma unroll
      for (int n = 0; n < kSize; ++n) sum[n] += terms.value[n];
    }
  }
  if (!partials) return;  // nobody wants sums
#pragma unroll
  for (int n = 0; n < kSize; ++n) shared[warp][lane * kSize + n] = sum[n];
  __syncthreads();
  const std::size_t chunks = gridDim.y;
  for (unsigned c = threadIdx.x; c < kStrip; c += blockDim.x) {
    if (first + c >= columns) break;
    double total = 0;
    for (unsigned w = 0; w < kPassWarps; ++w) total += double{shared[w][c]};
    if (chunks == 1) {
      body.store(first + c, total);
    } else {
      partials[blockIdx.y * columns + first + c] = static_cast<float>(total);
    }
  }
  if (chunks == 1 || !isLastBlock(counters + blockIdx.x, gridDim.y)) return;
  for (unsigned c = threadIdx.x; c < kStrip; c += blockDim.x) {
    if (first + c >= columns) break;
    double total = 0;
    for (std::size_t k = 0; k < chunks; ++k) total += double{__ldcg(partials + k * columns + first + c)};
    body.store(first + c, total);
  }
}

template <class T, class Body>
void launchColumnPass(std::size_t rows, std::size_t columns, bool hasSums, const Body& body, Context& context) {
  constexpr std::size_t kStrip = 32 * Pack<T>::kSize;
  const std::size_t strips = (columns + kStrip - 1) / kStrip;
  // Enough blocks to fill the device a few times over, of enough rows each to be worth starting.
  constexpr std::size_t kLeastRows = kPassRows * kPassWarps;
  const std::size_t wanted = (static_cast<std::size_t>(context.multiprocessors) * 16 + strips - 1) / strips;
  const std::size_t most = (rows + kLeastRows - 1) / kLeastRows;
  const std::size_t count = std::max<std::size_t>(1, std::min({wanted, most, std::size_t{65535}}));
  const std::size_t chunkRows = ((rows + count - 1) / count + kPassWarps - 1) / kPassWarps * kPassWarps;
  const auto chunks = static_cast<unsigned>((rows + chunkRows - 1) / chunkRows);
  float* const partials = hasSums ? context.scratch<float>(chunks * columns) : nullptr;
  context.launchEarly(columnPassKernel<T, Body>, dim3(static_cast<unsigned>(strips), chunks), 32 * kPassWarps, rows,
                      columns, chunkRows, partials, context.counters, body);
}

/// Why the pass cannot take matrices; nullptr: it can.
inline const char* refusesColumnPass(std::initializer_list<const MatrixView*> views) {
  for (const MatrixView* view : views) {
    if (view->type != (*views.begin())->type) return "types differ";
    if (!isPacked(*view)) return "rows are no whole, aligned packs of 16 bytes, or there are several matrices";
  }
  if (((*views.begin())->columns + 127) / 128 > Context::kCounters) return "there are too many columns";
  return nullptr;
}

}  // namespace metalloid::cuda
