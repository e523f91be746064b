#include "backends/cuda/pixel_sums.cuh"

#include "backends/cuda/images.cuh"
#include "backends/cuda/packs.cuh"

namespace metalloid::cuda {
namespace {

constexpr unsigned kThreads = 512;
constexpr int kRowsAtOnce = 4;  // that a thread loads before it adds: enough bytes in flight

/// How threads and blocks share a matrix. Threads of a block stand in `width` columns of channels, each with every
/// (kThreads / width)-th row of the block's chunk.
struct PixelSums {
  MatrixView pixels;
  VectorView result;
  bool accumulates = false;
  unsigned width = 1;          // a power of two, at most 32
  std::size_t chunkRows = 0;   // of a block
  double* partials = nullptr;  // [chunks][columns]; null: one chunk
  std::uint32_t* counters = nullptr;

  __device__ void store(std::size_t column, double sum) const {
    set(result, 0, column, sum + (accumulates ? at(result, 0, column) : 0));
  }
};

/// Sums go four rows in float32, thread, warp, block, chunk in double precision: an order that only the shape and the
/// device decide.
template <int kCount>
__global__ void __launch_bounds__(kThreads) pixelSumKernel(const __grid_constant__ PixelSums o) {
  waitForFormer();
  __shared__ double shared[kThreads / 32][32 * kCount];
  const unsigned group = threadIdx.x % o.width, step = kThreads / o.width;
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, columns = o.width * kCount;
  const std::size_t first = std::size_t{blockIdx.x} * columns, column = first + group * kCount;
  const std::size_t begin = blockIdx.y * o.chunkRows, end = min(begin + o.chunkRows, o.pixels.rows);
  double sum[kCount] = {};
  if (column < o.pixels.columns) {
    for (std::size_t row = begin + threadIdx.x / o.width; row < end; row += kRowsAtOnce * step) {
      Channels<kCount> x[kRowsAtOnce];
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r) {
        const std::size_t i = row + r * step;
        x[r] =
            i < end ? *reinterpret_cast<const Channels<kCount>*>(address(o.pixels, 0, i, column)) : Channels<kCount>{};
      }
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        sum[k] += static_cast<double>((x[0].value[k] + x[1].value[k]) + (x[2].value[k] + x[3].value[k]));
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    for (unsigned offset = o.width; offset < 32; offset *= 2) sum[k] += __shfl_xor_sync(0xffffffffu, sum[k], offset);
    if (lane < o.width) shared[warp][lane * kCount + k] = sum[k];
  }
  __syncthreads();
  const std::size_t chunks = gridDim.y, c = first + threadIdx.x;
  const bool isOwner = threadIdx.x < columns && c < o.pixels.columns;
  if (isOwner) {
    double total = 0;
    for (const auto& ofWarp : shared) total += ofWarp[threadIdx.x];
    if (chunks == 1) {
      o.store(c, total);
    } else {
      o.partials[blockIdx.y * o.pixels.columns + c] = total;
    }
  }
  if (chunks == 1 || !isLastBlock(o.counters + blockIdx.x, gridDim.y)) return;
  // Teams of threads with a column each add every (kThreads / columns)-th chunk.
  double* const teams = &shared[0][0];
  const unsigned teamSum = threadIdx.x % columns;
  double total = 0;
  if (first + teamSum < o.pixels.columns) {
#pragma unroll 8
    for (std::size_t chunk = threadIdx.x / columns; chunk < chunks; chunk += kThreads / columns)
      total += __ldcg(o.partials + chunk * o.pixels.columns + first + teamSum);
  }
  teams[threadIdx.x] = total;
  __syncthreads();
  if (!isOwner) return;
  for (unsigned t = threadIdx.x + columns; t < kThreads; t += columns) total += teams[t];
  o.store(c, total);
}

template <int kCount>
void launchSums(PixelSums sums, Context& context) {
  const std::size_t groups = (sums.pixels.columns + kCount - 1) / kCount;
  sums.width = 1;
  while (sums.width < 32 && sums.width < groups) sums.width *= 2;
  const std::size_t strips = (groups + sums.width - 1) / sums.width;
  // Enough blocks to fill the device, of enough rows each to be worth adding up.
  const std::size_t rowsAtOnce = std::size_t{kThreads} / sums.width * kRowsAtOnce;
  const std::size_t wanted = (static_cast<std::size_t>(context.multiprocessors) * 2 + strips - 1) / strips;
  const std::size_t count =
      std::clamp<std::size_t>(sums.pixels.rows / rowsAtOnce, 1, std::min<std::size_t>(wanted, 65535));
  sums.chunkRows = (sums.pixels.rows + count - 1) / count;
  const auto chunks = static_cast<unsigned>((sums.pixels.rows + sums.chunkRows - 1) / sums.chunkRows);
  sums.partials = chunks > 1 ? context.scratch<double>(chunks * sums.pixels.columns) : nullptr;
  sums.counters = context.counters;
  context.launchEarly(pixelSumKernel<kCount>, dim3(static_cast<unsigned>(strips), chunks), kThreads, sums);
}

}  // namespace

bool sumPixels(const MatrixView& pixels, const VectorView& result, bool accumulates, Context& context) {
  if (!pixels || pixels.type != DataType::float32 || pixels.rows == 0 || pixels.columns == 0) return false;
  if ((pixels.columns + 31) / 32 > Context::kCounters) return false;
  const PixelSums sums{.pixels = pixels, .result = result, .accumulates = accumulates};
  if (isPacked(pixels)) {
    launchSums<4>(sums, context);
  } else {
    launchSums<1>(sums, context);
  }
  return true;
}

}  // namespace metalloid::cuda
