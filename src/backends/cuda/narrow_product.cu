#include "backends/cuda/elements.cuh"
#include "backends/cuda/packs.cuh"
#include "backends/cuda/products.hpp"

/// Products of float32 with a layer of few outputs, as the last one of a classifier is. They take the time that memory
/// takes, for which tiles of square products are too wide.
namespace metalloid::cuda {
namespace {

constexpr unsigned kMostOutputs = 16;

/// inputs [rows][terms], weights [terms][outputs], outputs [rows][outputs].
struct NarrowProduct {
  MatrixView inputs, weights, outputs;
  VectorView bias = {};
  float alpha = 1;
  std::size_t chunk = 0;  // terms or rows of a block, if several add up
  double* partials = nullptr;
  std::uint32_t* counters = nullptr;
};

__device__ float& element(const MatrixView& matrix, std::size_t i, std::size_t j) {
  return reinterpret_cast<float*>(matrix.data + i * matrix.rowBytes)[j];
}

/// Some rows of a matrix with few columns, on their way from memory to shared memory by the threads of a block; zeros
/// beyond its end.
template <unsigned kRows, unsigned kBlockThreads>
class Rows {
 public:
  __device__ Rows(const MatrixView& from, std::size_t first, std::size_t end) {
#pragma unroll
    for (unsigned n = 0; n < kCount; ++n) {
      const std::size_t i = first + firstRow() + n * kRowsAtOnce;
      values_[n] = i < end && column() < from.columns ? element(from, i, column()) : 0;
    }
  }

  template <unsigned kPitch>
  __device__ void store(float (&to)[kRows][kPitch]) const {
#pragma unroll
    for (unsigned n = 0; n < kCount; ++n) to[firstRow() + n * kRowsAtOnce][column()] = values_[n];
  }

 private:
  static constexpr unsigned kRowsAtOnce = kBlockThreads / kMostOutputs, kCount = kRows / kRowsAtOnce;

  __device__ static unsigned firstRow() { return threadIdx.x / kMostOutputs; }
  __device__ static unsigned column() { return threadIdx.x % kMostOutputs; }

  float values_[kCount];
};

/// Sums values over the lanes of a warp; two halves of the lanes keep a half of the values each, and so on.
template <unsigned kValues>
__device__ float sumOfLane(const float (&values)[kValues]) {
  constexpr unsigned kHalf = kValues / 2;
  const bool isUpper = (threadIdx.x & kHalf) != 0;
  float sums[kHalf];
#pragma unroll
  for (unsigned i = 0; i < kHalf; ++i) {
    const float kept = isUpper ? values[i + kHalf] : values[i], sent = isUpper ? values[i] : values[i + kHalf];
    sums[i] = kept + __shfl_xor_sync(0xffffffffu, sent, kHalf);
  }
  if constexpr (kHalf > 1) {
    return sumOfLane(sums);
  } else {
    return sums[0];
  }
}

/// The sum of what blocks of a column of the grid have left.
__device__ double addChunks(const double* partials, std::size_t distance) {
  double total = 0;
#pragma unroll 8
  for (unsigned chunk = 0; chunk < gridDim.y; ++chunk) total += __ldcg(partials + chunk * distance);
  return total;
}

constexpr unsigned kOutputThreads = 256, kTermsOfTile = 256, kRowsOfWarp = 32 / kMostOutputs;
constexpr unsigned kRowsOfBlock = kOutputThreads / 32 * kRowsOfWarp;

/// outputs = alpha * inputs * weights + bias. A warp has a few rows, a lane every 32nd term of them. The blocks of a
/// column of the grid share the terms; the last one adds up.
__global__ void __launch_bounds__(kOutputThreads) outputsKernel(const __grid_constant__ NarrowProduct p) {
  waitForFormer();
  __shared__ float weights[kTermsOfTile][kMostOutputs + 1];  // rows begin at different banks
  const unsigned lane = threadIdx.x % 32;
  const std::size_t firstRow = std::size_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / 32 * kRowsOfWarp;
  const std::size_t begin = blockIdx.y * p.chunk, end = min(begin + p.chunk, p.inputs.columns);
  float sum[32] = {};
  for (std::size_t first = begin; first < end; first += kTermsOfTile) {
    const Rows<kTermsOfTile, kOutputThreads> ofTile(p.weights, first, end);
    __syncthreads();
    ofTile.store(weights);
    __syncthreads();
    // Not unrolled further: of kernels that are so short, fetching the instructions takes most of the time.
    constexpr unsigned kAtOnce = 4;
#pragma unroll 1
    for (unsigned t = lane; t < kTermsOfTile; t += 32 * kAtOnce) {
      float x[kRowsOfWarp][kAtOnce];
#pragma unroll
      for (unsigned r = 0; r < kRowsOfWarp; ++r) {
#pragma unroll
        for (unsigned s = 0; s < kAtOnce; ++s) {
          const std::size_t term = first + t + s * 32;
          x[r][s] = firstRow + r < p.inputs.rows && term < end ? element(p.inputs, firstRow + r, term) : 0;
        }
      }
#pragma unroll
      for (unsigned s = 0; s < kAtOnce; ++s) {
#pragma unroll
        for (unsigned n = 0; n < kMostOutputs; ++n) {
          const float weight = weights[t + s * 32][n];
#pragma unroll
          for (unsigned r = 0; r < kRowsOfWarp; ++r) {
            sum[r * kMostOutputs + n] = fmaf(x[r][s], weight, sum[r * kMostOutputs + n]);
          }
        }
      }
    }
  }
  double total = double{sumOfLane(sum)};  // of value `lane`
  const std::size_t row = firstRow + lane / kMostOutputs, n = lane % kMostOutputs;
  const bool isOwner = row < p.outputs.rows && n < p.outputs.columns;
  if (gridDim.y > 1) {
    const std::size_t size = p.outputs.rows * p.outputs.columns, place = row * p.outputs.columns + n;
    if (isOwner) p.partials[blockIdx.y * size + place] = total;
    if (!isLastBlock(p.counters + blockIdx.x, gridDim.y) || !isOwner) return;
    total = addChunks(p.partials + place, size);
  }
  if (!isOwner) return;
  const float z = p.alpha * static_cast<float>(total);
  element(p.outputs, row, n) = p.bias.data ? z + reinterpret_cast<const float*>(p.bias.data)[n] : z;
}

constexpr unsigned kThreads = 512, kWarps = kThreads / 32;
constexpr unsigned kRowsOfTile = 128, kColumnsOfBlock = 32;

/// weights = alpha * inputsᵀ * outputs. A lane has a term; warps share the rows, and so do the blocks of a column of
/// the grid, the last of which adds up.
__global__ void __launch_bounds__(kThreads) weightsKernel(const __grid_constant__ NarrowProduct p) {
  waitForFormer();
  __shared__ float outputs[kRowsOfTile][kMostOutputs];
  __shared__ float sums[kWarps][kMostOutputs][kColumnsOfBlock];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::size_t firstTerm = std::size_t{blockIdx.x} * kColumnsOfBlock, term = firstTerm + lane;
  const std::size_t begin = blockIdx.y * p.chunk, end = min(begin + p.chunk, p.inputs.rows);
  float sum[kMostOutputs] = {};
  for (std::size_t first = begin; first < end; first += kRowsOfTile) {
    constexpr unsigned kRowsAtOnce = kRowsOfTile / kWarps;
    float x[kRowsAtOnce];
#pragma unroll
    for (unsigned r = 0; r < kRowsAtOnce; ++r) {
      const std::size_t row = first + r * kWarps + warp;
      x[r] = row < end && term < p.inputs.columns ? element(p.inputs, row, term) : 0;
    }
    const Rows<kRowsOfTile, kThreads> ofTile(p.outputs, first, end);
    __syncthreads();
    ofTile.store(outputs);
    __syncthreads();
#pragma unroll
    for (unsigned r = 0; r < kRowsAtOnce; ++r) {
#pragma unroll
      for (unsigned n = 0; n < kMostOutputs; ++n) sum[n] = fmaf(x[r], outputs[r * kWarps + warp][n], sum[n]);
    }
  }
#pragma unroll
  for (unsigned n = 0; n < kMostOutputs; ++n) sums[warp][n][lane] = sum[n];
  __syncthreads();
  static_assert(kThreads == kMostOutputs * kColumnsOfBlock);  // an element of the result each
  const std::size_t count = p.weights.columns;
  const bool isOwner = warp < count && term < p.weights.rows;
  double total = 0;
  for (const auto& ofWarp : sums) total += double{ofWarp[warp][lane]};
  const auto store = [&] { element(p.weights, term, warp) = p.alpha * static_cast<float>(total); };
  if (gridDim.y == 1) {
    if (isOwner) store();
    return;
  }
  const std::size_t size = p.weights.rows * count, place = term * count + warp;
  if (isOwner) p.partials[blockIdx.y * size + place] = total;
  if (!isLastBlock(p.counters + blockIdx.x, gridDim.y) || !isOwner) return;
  total = addChunks(p.partials + place, size);
  store();
}

constexpr unsigned kInputThreads = 256, kInputRows = 16;

/// inputs = alpha * outputs * weightsᵀ. A thread has a term, whose weights it keeps, and some rows.
__global__ void __launch_bounds__(kInputThreads) inputsKernel(const __grid_constant__ NarrowProduct p) {
  waitForFormer();
  __shared__ float outputs[kInputRows][kMostOutputs];
  const std::size_t firstRow = std::size_t{blockIdx.y} * kInputRows, end = min(firstRow + kInputRows, p.outputs.rows);
  const std::size_t term = std::size_t{blockIdx.x} * kInputThreads + threadIdx.x;
  Rows<kInputRows, kInputThreads>(p.outputs, firstRow, end).store(outputs);
  float weights[kMostOutputs];
#pragma unroll
  for (unsigned n = 0; n < kMostOutputs; ++n) {
    weights[n] = term < p.weights.rows && n < p.weights.columns ? element(p.weights, term, n) : 0;
  }
  __syncthreads();
  if (term >= p.weights.rows) return;
#pragma unroll
  for (unsigned r = 0; r < kInputRows; ++r) {
    float sum = 0;
#pragma unroll
    for (unsigned n = 0; n < kMostOutputs; ++n) sum = fmaf(outputs[r][n], weights[n], sum);
    if (firstRow + r < end) element(p.inputs, firstRow + r, term) = p.alpha * sum;
  }
}

/// The grid that fills the device: `blocks` times as many as share `size` terms or rows in whole tiles.
dim3 shareChunks(NarrowProduct& p, unsigned blocks, std::size_t size, unsigned tile, std::size_t results,
                 Context& context) {
  const std::size_t wanted = (static_cast<std::size_t>(context.multiprocessors) * 2 + blocks - 1) / blocks;
  const std::size_t tiles = (size + tile - 1) / tile, most = std::min(wanted, tiles);
  p.chunk = (tiles + most - 1) / most * tile;
  const unsigned chunks = blocksFor(size, p.chunk);
  if (chunks > 1) p.partials = context.scratch<double>(chunks * results);
  p.counters = context.counters;
  return {blocks, chunks};
}

/// Which of the three a product computes.
enum class Form { outputs, weights, inputs, none };

Form formOf(const Product& p) {
  const std::size_t terms = p.transposeLeft ? p.left.rows : p.left.columns;
  if (!p.transposeRight && p.result.columns <= kMostOutputs) return p.transposeLeft ? Form::weights : Form::outputs;
  if (!p.transposeLeft && p.transposeRight && terms <= kMostOutputs) return Form::inputs;
  return Form::none;
}

}  // namespace

const char* refusesNarrowProduct(const Product& p) {
  if (formOf(p) == Form::none) return "there are more than 16 outputs";
  for (const MatrixView* view : {&p.left, &p.right, &p.result}) {
    if (view->type != DataType::float32) return "not all are of float32";
    if (view->rowBytes % sizeof(float) != 0) return "a stride is no whole element";
    if (view->rows * view->columns == 0) return "it is empty";
    if (view->rows > std::size_t{1} << 17) return "there are more than 2^17 rows";
  }
  if (p.result.matrices != 1) return "there are several matrices";
  if (p.beta != 0) return "it adds to its result";
  if (p.neuron.type != CNNNeuronType::none) return "it has a neuron";
  if (p.bias.data && (p.bias.type != DataType::float32 || formOf(p) != Form::outputs)) return "its bias";
  if (blocksFor(p.left.columns, kColumnsOfBlock) > Context::kCounters) return "there are too many inputs";
  return nullptr;
}

void runNarrowProduct(const Product& product, Context& context) {
  const auto alpha = static_cast<float>(product.alpha);
  switch (formOf(product)) {
    case Form::outputs: {
      NarrowProduct p{.inputs = product.left,
                      .weights = product.right,
                      .outputs = product.result,
                      .bias = product.bias,
                      .alpha = alpha};
      const dim3 grid = shareChunks(p, blocksFor(p.outputs.rows, kRowsOfBlock), p.inputs.columns, kTermsOfTile,
                                    p.outputs.rows * p.outputs.columns, context);
      return context.launchEarly(outputsKernel, grid, kOutputThreads, p);
    }
    case Form::weights: {
      NarrowProduct p{.inputs = product.left, .weights = product.result, .outputs = product.right, .alpha = alpha};
      const dim3 grid = shareChunks(p, blocksFor(p.weights.rows, kColumnsOfBlock), p.inputs.rows, kRowsOfTile,
                                    p.weights.rows * p.weights.columns, context);
      return context.launchEarly(weightsKernel, grid, kThreads, p);
    }
    case Form::inputs: {
      const NarrowProduct p{
          .inputs = product.result, .weights = product.right, .outputs = product.left, .alpha = alpha};
      return context.launchEarly(inputsKernel,
                                 dim3(blocksFor(p.weights.rows, kInputThreads), blocksFor(p.outputs.rows, kInputRows)),
                                 kInputThreads, p);
    }
    case Form::none:
      return;
  }
}

}  // namespace metalloid::cuda
