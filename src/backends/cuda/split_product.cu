#include "backends/cuda/elements.cuh"
#include "backends/cuda/hopper.cuh"
#include "backends/cuda/products.hpp"
#include "backends/cuda/tensor_map.hpp"

#include <cfloat>
#include <cstdlib>
#include <cstring>

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
/// Infinities, NaN, and numbers that bfloat16 rounds to infinity, give a sum that is not finite. Such an element is
/// computed again, term by term in float32.
///
/// Numbers below 2^-110 have bits below the smallest of bfloat16: of those 2^-134 may be lost.
namespace metalloid::cuda {
namespace {

constexpr unsigned kParts = 3;
constexpr unsigned kTile = 128;           // rows and columns of the result that a block computes at a time
constexpr unsigned kDepth = 32;           // terms of a stage: rows of 64 bytes, the width of the swizzle
constexpr unsigned kStages = 4;           // that are loaded ahead
constexpr unsigned kBlocksOfCluster = 2;  // one above the other: they share the tile of the right factor
constexpr unsigned kConsumers = 2;        // warp groups that multiply, 64 rows each
[[maybe_unused]] constexpr unsigned kConsumerRows = kTile / kConsumers;
constexpr unsigned kThreads = (1 + kConsumers) * 128;
constexpr unsigned kPartBytes = kTile * kDepth * sizeof(__nv_bfloat16);

struct Stage {
  std::byte left[kParts][kPartBytes];
  std::byte right[kParts][kPartBytes];
};

struct SharedMemory {
  Stage stages[kStages];
  std::uint64_t full[kStages];   // the copy engine has brought the stage
  std::uint64_t empty[kStages];  // both blocks' consumers have read it
};
constexpr std::size_t kSharedAlignment = 1024;  // of tiles with the swizzle
constexpr std::size_t kSharedBytes = sizeof(SharedMemory) + kSharedAlignment;

// --- the parts ---

/// A factor in parts: [part][row][term], the terms of a row side by side, whatever the factor was stored like.
struct Parts {
  __nv_bfloat16* data = nullptr;
  std::size_t rows = 0;
  std::size_t terms = 0;
  std::size_t rowElements = 0;  // whole packs of 16 bytes
  std::size_t partElements = 0;
};

Parts makeParts(std::size_t rows, std::size_t terms, Context& context) {
  Parts parts{.rows = rows, .terms = terms, .rowElements = (terms + 7) / 8 * 8};
  parts.partElements = rows * parts.rowElements;
  parts.data = context.scratch<__nv_bfloat16>(kParts * parts.partElements);
  return parts;
}

/// Stores eight neighbours in parts.
__device__ void storeParts(const Parts& parts, std::size_t row, std::size_t term, const float (&values)[8]) {
  __align__(16) __nv_bfloat16 part[kParts][8];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    part[0][n] = __float2bfloat16_rn(values[n]);
    const float rest = values[n] - __bfloat162float(part[0][n]);  // exact, as is the next
    part[1][n] = __float2bfloat16_rn(rest);
    part[2][n] = __float2bfloat16_rn(rest - __bfloat162float(part[1][n]));
  }
  __nv_bfloat16* const to = parts.data + row * parts.rowElements + term;
#pragma unroll
  for (unsigned p = 0; p < kParts; ++p) {
    *reinterpret_cast<uint4*>(to + p * parts.partElements) = *reinterpret_cast<const uint4*>(part[p]);
  }
}

/// For factors whose rows are those of the parts: eight terms a thread.
__global__ void splitKernel(MatrixView factor, Parts parts) {
  waitForFormer();
  const std::size_t packs = parts.rowElements / 8;
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(factor.data) | factor.rowBytes) % 16 == 0;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < parts.rows * packs;
       i += std::size_t{gridDim.x} * blockDim.x) {
    const std::size_t row = i / packs, term = i % packs * 8;
    const auto* const from = reinterpret_cast<const float*>(factor.data + row * factor.rowBytes) + term;
    float values[8];
    if (isAligned && term + 8 <= parts.terms) {
      *reinterpret_cast<float4*>(values) = __ldcs(reinterpret_cast<const float4*>(from));
      *reinterpret_cast<float4*>(values + 4) = __ldcs(reinterpret_cast<const float4*>(from) + 1);
    } else {
#pragma unroll
      for (unsigned n = 0; n < 8; ++n) values[n] = term + n < parts.terms ? from[n] : 0;
    }
    storeParts(parts, row, term, values);
  }
}

constexpr unsigned kTransposedTile = 64;

/// For factors whose columns are the rows of the parts: blocks of 256 threads turn tiles of 64 x 64 in shared memory.
__global__ void __launch_bounds__(256) splitTransposedKernel(MatrixView factor, Parts parts) {
  waitForFormer();
  __shared__ float tile[kTransposedTile][kTransposedTile + 1];
  const std::size_t firstRow = std::size_t{blockIdx.x} * kTransposedTile;
  const std::size_t firstTerm = std::size_t{blockIdx.y} * kTransposedTile;
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(factor.data) | factor.rowBytes) % 16 == 0;
  constexpr unsigned kLoads = kTransposedTile * kTransposedTile / 4 / 256;
  float4 loaded[kLoads];
#pragma unroll
  for (unsigned n = 0; n < kLoads; ++n) {
    const unsigned term = threadIdx.x / 16 + n * 16, row = threadIdx.x % 16 * 4;
    const auto* const from =
        reinterpret_cast<const float*>(factor.data + (firstTerm + term) * factor.rowBytes) + firstRow + row;
    const bool isThere = firstTerm + term < parts.terms;
    if (isThere && isAligned && firstRow + row + 4 <= parts.rows) {
      loaded[n] = __ldcs(reinterpret_cast<const float4*>(from));
    } else {
      const auto element = [&](unsigned c) { return isThere && firstRow + row + c < parts.rows ? from[c] : 0; };
      loaded[n] = {element(0), element(1), element(2), element(3)};
    }
  }
#pragma unroll
  for (unsigned n = 0; n < kLoads; ++n) {
    float* const to = &tile[threadIdx.x / 16 + n * 16][threadIdx.x % 16 * 4];
    to[0] = loaded[n].x;
    to[1] = loaded[n].y;
    to[2] = loaded[n].z;
    to[3] = loaded[n].w;
  }
  __syncthreads();
  constexpr unsigned kPacks = kTransposedTile / 8;
#pragma unroll
  for (unsigned i = threadIdx.x; i < kTransposedTile * kPacks; i += 256) {
    const unsigned row = i / kPacks, term = i % kPacks * 8;  // eight threads write 128 bytes side by side
    if (firstRow + row >= parts.rows || firstTerm + term >= parts.rowElements) continue;
    float values[8];
#pragma unroll
    for (unsigned n = 0; n < 8; ++n) values[n] = tile[term + n][row];
    storeParts(parts, firstRow + row, firstTerm + term, values);
  }
}

/// `isTransposed`: the terms of a row of the parts lie below each other in the factor.
Parts split(const MatrixView& factor, bool isTransposed, Context& context) {
  if (isTransposed) {
    const Parts parts = makeParts(factor.columns, factor.rows, context);
    context.launchEarly(splitTransposedKernel,
                        dim3(blocksFor(parts.rows, kTransposedTile), blocksFor(parts.terms, kTransposedTile)), 256,
                        factor, parts);
    return parts;
  }
  const Parts parts = makeParts(factor.rows, factor.columns, context);
  const std::size_t most = static_cast<std::size_t>(context.multiprocessors) * 16;
  context.launchEarly(splitKernel, blocksFor(parts.rows * parts.rowElements / 8, 256, most), 256, factor, parts);
  return parts;
}

// --- the product ---

/// What the blocks share among them: pairs of tiles.
struct Schedule {
  unsigned pairs;    // rows of pairs of tiles
  unsigned columns;  // columns of tiles
  unsigned stages;   // of each tile

  __host__ __device__ unsigned count() const { return pairs * columns; }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/// The row of pairs and the column of a step. What is computed at once lies close together, and is shared by the L2
/// cache.
__device__ uint2 placeOf(const Schedule& schedule, unsigned step) {
  constexpr unsigned kHeight = 8;
  const unsigned group = step / (kHeight * schedule.columns), within = step % (kHeight * schedule.columns);
  const unsigned height = min(kHeight, schedule.pairs - group * kHeight);
  return {group * kHeight + within % height, within / height};
}

/// One element as the plain product has it.
__device__ float plainElement(const Product& p, std::size_t i, std::size_t j) {
  const std::byte* left = p.left.data + (p.transposeLeft ? i * sizeof(float) : i * p.left.rowBytes);
  const std::byte* right = p.right.data + (p.transposeRight ? j * p.right.rowBytes : j * sizeof(float));
  const std::size_t leftStep = p.transposeLeft ? p.left.rowBytes : sizeof(float);
  const std::size_t rightStep = p.transposeRight ? sizeof(float) : p.right.rowBytes;
  const std::size_t terms = p.transposeLeft ? p.left.rows : p.left.columns;
  float sum = 0;
#pragma unroll 1
  for (std::size_t t = 0; t < terms; ++t) {
    sum = fmaf(*reinterpret_cast<const float*>(left), *reinterpret_cast<const float*>(right), sum);
    left += leftStep;
    right += rightStep;
  }
  return sum;
}

/// What becomes of the sum of an element of column j.
__device__ float finished(const Product& p, float sum, std::size_t j) {
  const float z = static_cast<float>(p.alpha) * sum;
  return p.bias.data ? z + reinterpret_cast<const float*>(p.bias.data)[j] : z;
}

/// One thread brings the stages of all tiles of its block, and half of the right factor's for both blocks.
__device__ void produce(const CUtensorMap& left, const CUtensorMap& right, const Schedule& schedule,
                        SharedMemory& shared, unsigned rank) {
  constexpr unsigned kShare = kTile / kBlocksOfCluster;  // rows of the right factor that a block brings
  constexpr auto kAll = static_cast<std::uint16_t>((1u << kBlocksOfCluster) - 1);
  unsigned count = 0;  // of stages so far
  for (unsigned step = blockIdx.x / kBlocksOfCluster; step < schedule.count(); step += gridDim.x / kBlocksOfCluster) {
    const uint2 place = placeOf(schedule, step);
    const auto row = static_cast<int>((place.x * kBlocksOfCluster + rank) * kTile);
    const auto column = static_cast<int>(place.y * kTile + rank * kShare);
    for (unsigned k = 0; k < schedule.stages; ++k, ++count) {
      const unsigned s = count % kStages;
      Stage& stage = shared.stages[s];
      hopper::waitFor(shared.empty[s], count / kStages % 2 ^ 1);
      hopper::arriveExpecting(shared.full[s], sizeof(Stage));
      const auto term = static_cast<int>(k * kDepth);
      hopper::copyBox(stage.left, left, shared.full[s], term, row, 0);
      for (unsigned p = 0; p < kParts; ++p) {
        hopper::copyBoxToAll(stage.right[p] + rank * (kPartBytes / kBlocksOfCluster), right, shared.full[s], term,
                             column, static_cast<int>(p), kAll);
      }
    }
  }
}

/// The parts of a stage as a consumer multiplies them.
struct Factors {
  std::uint64_t left[kParts], right[kParts];

  __device__ Factors(const Stage& stage, unsigned consumer) {
    constexpr unsigned kRowBytes = kDepth * sizeof(__nv_bfloat16);
#pragma unroll
    for (unsigned part = 0; part < kParts; ++part) {
      left[part] = hopper::describeTile(stage.left[part] + consumer * kConsumerRows * kRowBytes);
      right[part] = hopper::describeTile(stage.right[part]);
    }
  }

  /// sum = or += the product of two parts.
  __device__ void multiply(float (&sum)[64], unsigned leftPart, unsigned rightPart, bool isFirst) const {
#pragma unroll
    for (unsigned n = 0; n < kDepth / 16; ++n) {
      hopper::multiplyTiles(sum, left[leftPart] + n * hopper::kNextColumns, right[rightPart] + n * hopper::kNextColumns,
                            !isFirst || n > 0);
    }
  }
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

/// What a warp group knows of its rows of a tile: their sums are sum + rest.
struct Sums {
  float sum[64] = {};
  float rest[64] = {};
  float leading[64];

  /// Adds a stage. Calls f when tensor cores have done half of it: what they get then joins without a gap.
  template <class F>
  __device__ void add(const Factors& factors, bool isFirst, const F& f) {
    hopper::beginProducts();
    factors.multiply(rest, 0, 2, isFirst);  // from the smallest on
    factors.multiply(rest, 2, 0, false);
    factors.multiply(rest, 1, 1, false);
    hopper::endProducts();
    factors.multiply(rest, 0, 1, false);
    factors.multiply(rest, 1, 0, false);
    factors.multiply(leading, 0, 0, true);
    hopper::endProducts();
    hopper::waitForProducts<1>();
    f();
    hopper::waitForProducts<0>();
    hopper::keepInOrder(rest);
    hopper::keepInOrder(leading);
#pragma unroll
    for (int n = 0; n < 64; ++n) {
      addExactly(sum[n], leading[n]);
      rest[n] += leading[n];
    }
  }

  /// Leaves in the rest what a float cannot hold of the sum: truncation does the less harm the smaller it is.
  __device__ void normalize() {
#pragma unroll
    for (int n = 0; n < 64; ++n) addExactly(sum[n], rest[n]);
  }
};

/// Writes what a thread has of a tile: pairs in 2 rows and 16 columns. Then computes again what is not finite.
__device__ void writeTile(const Product& p, const float (&sum)[64], unsigned row, unsigned column) {
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(p.result.data) | p.result.rowBytes) % sizeof(float2) == 0;
  bool isFinite = true;
#pragma unroll
  for (unsigned half = 0; half < 2; ++half) {
    const unsigned i = row + half * 8;
    auto* const to = reinterpret_cast<float*>(p.result.data + i * p.result.rowBytes);
#pragma unroll
    for (unsigned n = 0; n < 16; ++n) {
      const unsigned j = column + n * 8;
      const float first = sum[4 * n + 2 * half], second = sum[4 * n + 2 * half + 1];
      isFinite = isFinite && fabsf(first) <= FLT_MAX && fabsf(second) <= FLT_MAX;
      if (i >= p.result.rows || j >= p.result.columns) continue;
      if (isAligned && j + 1 < p.result.columns) {
        *reinterpret_cast<float2*>(to + j) = {finished(p, first, j), finished(p, second, j + 1)};
      } else {
        to[j] = finished(p, first, j);
        if (j + 1 < p.result.columns) to[j + 1] = finished(p, second, j + 1);
      }
    }
  }
  if (isFinite) return;
#pragma unroll 1
  for (unsigned n = 0; n < 64; ++n) {
    const unsigned i = row + n / 32 * 8, j = column + n % 32 / 2 * 8 + n % 2;
    if (i >= p.result.rows || j >= p.result.columns) continue;
    float& element = reinterpret_cast<float*>(p.result.data + i * p.result.rowBytes)[j];
    if (!(fabsf(element) <= FLT_MAX)) element = finished(p, plainElement(p, i, j), j);
  }
}

constexpr unsigned kStagesOfRest = 8;  // in which tensor cores add up the small products

/// A warp group computes its rows of every tile of its block. Tensor cores work for one while the other one adds.
__device__ void consume(const Product& p, const Schedule& schedule, SharedMemory& shared, unsigned rank) {
  const unsigned consumer = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  const unsigned ownTurn = 1 + consumer, otherTurn = 2 - consumer;
  if (consumer == 1) hopper::passTurn(otherTurn);
  unsigned count = 0;  // of stages so far
  for (unsigned step = blockIdx.x / kBlocksOfCluster; step < schedule.count(); step += gridDim.x / kBlocksOfCluster) {
    Sums sums;
    for (unsigned k = 0; k < schedule.stages; ++k, ++count) {
      const unsigned s = count % kStages;
      hopper::waitFor(shared.full[s], count / kStages % 2);
      hopper::waitForTurn(ownTurn);
      sums.add(Factors(shared.stages[s], consumer), k == 0, [&] { hopper::passTurn(otherTurn); });
      if (thread < kBlocksOfCluster) hopper::arriveAt(shared.empty[s], thread);
      if (k % kStagesOfRest == kStagesOfRest - 1) sums.normalize();
    }
    sums.normalize();
    const uint2 place = placeOf(schedule, step);
    const unsigned row = (place.x * kBlocksOfCluster + rank) * kTile + consumer * kConsumerRows;
    writeTile(p, sums.sum, row + thread / 32 * 16 + thread % 32 / 4, place.y * kTile + thread % 4 * 2);
  }
  if (consumer == 0) hopper::waitForTurn(ownTurn);  // what the other one passed on last
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

__global__ void METALLOID_CLUSTER __launch_bounds__(kThreads, 1)
    splitProductKernel(const __grid_constant__ CUtensorMap left, const __grid_constant__ CUtensorMap right,
                       const __grid_constant__ Product p, Schedule schedule) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ std::byte bytes[];
  const auto address = reinterpret_cast<std::uintptr_t>(bytes);
  SharedMemory& shared =
      *reinterpret_cast<SharedMemory*>(bytes + (kSharedAlignment - address % kSharedAlignment) % kSharedAlignment);
  if (threadIdx.x == 0) {
    for (unsigned s = 0; s < kStages; ++s) {
      hopper::makeBarrier(shared.full[s], 1);
      hopper::makeBarrier(shared.empty[s], kBlocksOfCluster * kConsumers);
    }
    hopper::publishBarriers();
  }
  const unsigned rank = hopper::rankInCluster();
  hopper::synchronizeCluster();
  if (threadIdx.x < 128) {
    hopper::giveRegisters<24>();
    if (threadIdx.x == 0) produce(left, right, schedule, shared, rank);
  } else {
    hopper::takeRegisters<240>();
    consume(p, schedule, shared, rank);
  }
  hopper::synchronizeCluster();  // nobody leaves while the other block still writes to its memory
#endif
}

#undef METALLOID_CLUSTER

/// The parts as the copy engine sees them, in boxes of `rows` rows of one stage.
CUtensorMap tensorOf(const Parts& parts, unsigned rows, unsigned partsOfBox) {
  return makeTensorMap<3>({.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, .swizzle = CU_TENSOR_MAP_SWIZZLE_64B}, parts.data,
                          {parts.terms, parts.rows, kParts},
                          {parts.rowElements * sizeof(__nv_bfloat16), parts.partElements * sizeof(__nv_bfloat16)},
                          {kDepth, rows, partsOfBox});
}

Schedule scheduleOf(const Product& p) {
  const std::size_t terms = p.transposeLeft ? p.left.rows : p.left.columns;
  return {.pairs = blocksFor(p.result.rows, kTile * kBlocksOfCluster),
          .columns = blocksFor(p.result.columns, kTile),
          .stages = blocksFor(terms, kDepth)};
}

/// Whether it is worth it: times in microseconds of both ways, from rates that an H200 showed.
bool isFaster(const Product& p, const Context& context) {
  constexpr double kFlopsOfPlain = 48e6, kBytesOfSplit = 3e6, kStage = 1.2, kTileEnd = 4, kLaunches = 8;
  const auto m = static_cast<double>(p.result.rows), n = static_cast<double>(p.result.columns);
  const auto k = static_cast<double>(p.transposeLeft ? p.left.rows : p.left.columns);
  const Schedule schedule = scheduleOf(p);
  const unsigned clusters = static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster;
  const double rounds = (schedule.count() + clusters - 1) / clusters;
  const double splitting = (m + n) * k * (sizeof(float) + kParts * sizeof(__nv_bfloat16)) / kBytesOfSplit;
  return splitting + rounds * (schedule.stages * kStage + kTileEnd) + kLaunches < 2 * m * n * k / kFlopsOfPlain;
}

bool hasProduct() {
  static const bool has = [] {
    bool value = false;
    check(cudaMemcpyFromSymbol(&value, kHasProduct, sizeof(value)), "The module has no code for the device");
    return value;
  }();
  return has;
}

/// METALLOID_CUDA_SPLIT_PRODUCTS: 0 never, 1 wherever it can be done, otherwise where it is faster.
enum class Wish { never, always, whereFaster };

Wish wish() {
  const char* const value = std::getenv("METALLOID_CUDA_SPLIT_PRODUCTS");
  if (!value) return Wish::whereFaster;
  return std::strcmp(value, "0") == 0 ? Wish::never : std::strcmp(value, "1") == 0 ? Wish::always : Wish::whereFaster;
}

}  // namespace

const char* refusesSplitProduct(const Product& p, const Context& context) {
  static const Wish wished = wish();
  if (wished == Wish::never) return "METALLOID_CUDA_SPLIT_PRODUCTS is 0";
  if (context.computeMajor != 9 || !hasProduct()) return "it is made for compute capability 9.0, in code for 9.0a";
  if (p.allowReducedPrecision) return "less precision is allowed, and faster";
  for (const MatrixView* view : {&p.left, &p.right, &p.result}) {
    if (view->type != DataType::float32) return "not all are of float32";
    if (view->rowBytes % sizeof(float) != 0) return "a stride is no whole element";
    if (view->rows > 0x3fffffffu || view->columns > 0x3fffffffu) return "a size is beyond 30 bits";
  }
  if (p.beta != 0) return "it adds to its result";
  if (p.result.matrices != 1) return "there are several matrices";
  if (p.bias.data && p.bias.type != DataType::float32) return "the bias is not of float32";
  const std::size_t terms = p.transposeLeft ? p.left.rows : p.left.columns;
  if (p.result.rows == 0 || p.result.columns == 0 || terms == 0) return "it is empty";
  if (wished == Wish::whereFaster && !isFaster(p, context)) return "it is too small to be worth it";
  return nullptr;
}

void runSplitProduct(const Product& product, Context& context) {
  if (context.mode == Context::Mode::patch) {
    context.isPatched = false;  // the tensors' descriptions are among the arguments, but a product is never patched
    return;
  }
  const ScratchMark mark(context);
  Product p = product;
  p.neuron = {};  // in a pass of its own
  const Parts left = split(p.left, p.transposeLeft, context);
  const Parts right = split(p.right, !p.transposeRight, context);
  const Schedule schedule = scheduleOf(p);
  check(cudaFuncSetAttribute(splitProductKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "A kernel cannot be set up");
  const unsigned clusters =
      std::min(schedule.count(), static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster);
  context.launchWith({.sharedBytes = kSharedBytes}, splitProductKernel, clusters * kBlocksOfCluster, kThreads,
                     tensorOf(left, kTile, kParts), tensorOf(right, kTile / kBlocksOfCluster, 1), p, schedule);
  if (product.neuron.type == CNNNeuronType::none) return;
  forEachElement(context, extentOf(product.result), [product] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const auto z = static_cast<float>(at(product.result, k, i, j));
    set(product.result, k, i, j, static_cast<double>(neuronValue(product.neuron, z, 0)));
  });
}

}  // namespace metalloid::cuda
