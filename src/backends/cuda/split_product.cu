#include "backends/cuda/elements.cuh"
#include "backends/cuda/hopper.cuh"
#include "backends/cuda/products.hpp"

#include <cuda.h>

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

// --- the parts ---

using hopper::Tile;

/// A factor in parts, each of them stored as the factor is: [part][row][column].
struct Parts {
  __nv_bfloat16* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t rowElements = 0;  // whole packs of 16 bytes
  std::size_t partElements = 0;
};

/// Stores eight neighbours in parts.
__device__ void storeParts(const Parts& parts, std::size_t row, std::size_t column, const float (&values)[8]) {
  __align__(16) __nv_bfloat16 part[kParts][8];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    part[0][n] = __float2bfloat16_rn(values[n]);
    const float rest = values[n] - __bfloat162float(part[0][n]);  // exact, as is the next
    part[1][n] = __float2bfloat16_rn(rest);
    part[2][n] = __float2bfloat16_rn(rest - __bfloat162float(part[1][n]));
  }
  __nv_bfloat16* const to = parts.data + row * parts.rowElements + column;
#pragma unroll
  for (unsigned p = 0; p < kParts; ++p) {
    *reinterpret_cast<uint4*>(to + p * parts.partElements) = *reinterpret_cast<const uint4*>(part[p]);
  }
}

/// Eight neighbours a thread.
__global__ void splitKernel(MatrixView factor, Parts parts) {
  waitForFormer();
  const std::size_t packs = parts.rowElements / 8;
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(factor.data) | factor.rowBytes) % 16 == 0;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < parts.rows * packs;
       i += std::size_t{gridDim.x} * blockDim.x) {
    const std::size_t row = i / packs, column = i % packs * 8;
    const auto* const from = reinterpret_cast<const float*>(factor.data + row * factor.rowBytes) + column;
    float values[8];
    if (isAligned && column + 8 <= parts.columns) {
      *reinterpret_cast<float4*>(values) = __ldcs(reinterpret_cast<const float4*>(from));
      *reinterpret_cast<float4*>(values + 4) = __ldcs(reinterpret_cast<const float4*>(from) + 1);
    } else {
#pragma unroll
      for (unsigned n = 0; n < 8; ++n) values[n] = column + n < parts.columns ? from[n] : 0;
    }
    storeParts(parts, row, column, values);
  }
}

Parts split(const MatrixView& factor, Context& context) {
  Parts parts{.rows = factor.rows, .columns = factor.columns, .rowElements = (factor.columns + 7) / 8 * 8};
  parts.partElements = parts.rows * parts.rowElements;
  parts.data = context.scratch<__nv_bfloat16>(kParts * parts.partElements);
  const std::size_t most = static_cast<std::size_t>(context.multiprocessors) * 16;
  context.launchEarly(splitKernel, blocksFor(parts.partElements / 8, 256, most), 256, factor, parts);
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
template <Tile kLeft, Tile kRight>
__device__ void produce(const CUtensorMap& left, const CUtensorMap& right, const Schedule& schedule,
                        SharedMemory& shared, unsigned rank) {
  constexpr auto kAll = static_cast<std::uint16_t>((1u << kBlocksOfCluster) - 1);
  unsigned count = 0;  // of stages so far
  for (unsigned step = blockIdx.x / kBlocksOfCluster; step < schedule.count(); step += gridDim.x / kBlocksOfCluster) {
    const uint2 place = placeOf(schedule, step);
    const auto row = static_cast<int>((place.x * kBlocksOfCluster + rank) * kTile);
    const auto column = static_cast<int>(place.y * kTile + rank * kHalf);
    for (unsigned k = 0; k < schedule.stages; ++k, ++count) {
      const unsigned s = count % kStages;
      Stage& stage = shared.stages[s];
      hopper::waitFor(shared.empty[s], count / kStages % 2 ^ 1);
      hopper::arriveExpecting(shared.full[s], sizeof(Stage));
      const auto term = static_cast<int>(k * kDepth);
      for (unsigned half = 0; half < kConsumers; ++half) {
        const int first = row + static_cast<int>(half * kHalf);
        const int2 corner = kLeft == Tile::termsSideBySide ? int2{term, first} : int2{first, term};
        hopper::copyBox(stage.left[half], left, shared.full[s], corner.x, corner.y, 0);
      }
      const int2 corner = kRight == Tile::termsSideBySide ? int2{term, column} : int2{column, term};
      for (unsigned p = 0; p < kParts; ++p) {
        hopper::copyBoxToAll(stage.right[p][rank], right, shared.full[s], corner.x, corner.y, static_cast<int>(p),
                             kAll);
      }
    }
  }
}

/// The parts of a stage as a consumer multiplies them: its rows of the left factor in registers, since shared memory
/// would be too slow to give them again for each of the products.
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

/// A warp group computes its rows of every tile of its block.
template <Tile kLeft, Tile kRight>
__device__ void consume(const Product& p, const Schedule& schedule, SharedMemory& shared, unsigned rank) {
  const unsigned consumer = threadIdx.x / 128 - 1, thread = threadIdx.x % 128;
  Factors<kLeft, kRight> factors(shared, consumer);
  const bool isReleaser = thread % 32 < kBlocksOfCluster;  // one of each warp for each block
  const std::uint32_t firstEmpty = hopper::sameAddressIn(thread % kBlocksOfCluster, shared.empty);
  const auto release = [&](unsigned stage, bool isRead) {
    hopper::arriveAt(firstEmpty + stage % kStages * sizeof(shared.empty[0]), isRead && isReleaser);
  };
  const auto waitForStage = [&](unsigned stage) { hopper::waitFor(shared.full[stage % kStages], stage / kStages % 2); };
  unsigned count = 0;  // of stages so far
  for (unsigned step = blockIdx.x / kBlocksOfCluster; step < schedule.count(); step += gridDim.x / kBlocksOfCluster) {
    Sums sums;
    waitForStage(count);
    for (unsigned k = 0; k < schedule.stages; ++k, ++count) {
      sums.end([&] {
        factors.load(count % kStages);
        release(count - 1, k > 0);
      });
      // A vote, so that the compiler knows that threads do not diverge.
      if (__all_sync(~0u, k % kStagesOfRest == 0)) sums.normalize();
      sums.begin(factors, [&] {
        if (k + 1 < schedule.stages) waitForStage(count + 1);
      });
    }
    sums.end([] {});
    release(count - 1, true);
    sums.normalize();
    const uint2 place = placeOf(schedule, step);
    const unsigned row = (place.x * kBlocksOfCluster + rank) * kTile + consumer * kConsumerRows;
    writeTile(p, sums.sum, row + thread / 32 * 16 + thread % 32 / 4, place.y * kTile + thread % 4 * 2);
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

template <Tile kLeft, Tile kRight>
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
      hopper::makeBarrier(shared.empty[s], kBlocksOfCluster * kConsumers * kWarps);
    }
    hopper::publishBarriers();
  }
  const unsigned rank = hopper::rankInCluster();
  hopper::synchronizeCluster();
  if (threadIdx.x < 128) {
    hopper::giveRegisters<24>();
    if (threadIdx.x == 0) produce<kLeft, kRight>(left, right, schedule, shared, rank);
  } else {
    hopper::takeRegisters<240>();
    consume<kLeft, kRight>(p, schedule, shared, rank);
  }
  hopper::synchronizeCluster();  // nobody leaves while the other block still writes to its memory
#endif
}

#undef METALLOID_CLUSTER

using Kernel = decltype(&splitProductKernel<Tile::termsSideBySide, Tile::termsSideBySide>);

Kernel kernelFor(Tile left, Tile right) {
  constexpr Tile kTerms = Tile::termsSideBySide, kRows = Tile::rowsSideBySide;
  if (left == kTerms) return right == kTerms ? splitProductKernel<kTerms, kTerms> : splitProductKernel<kTerms, kRows>;
  return right == kTerms ? splitProductKernel<kRows, kTerms> : splitProductKernel<kRows, kRows>;
}

/// The parts as the copy engine sees them, in boxes of half a tile of one stage.
CUtensorMap tensorOf(const Parts& parts, Tile tile, unsigned partsOfBox) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
          "The driver knows no tensor copies");
    return reinterpret_cast<Encode>(function);
  }();
  const bool isTurned = tile == Tile::rowsSideBySide;
  const cuuint64_t sizes[] = {parts.columns, parts.rows, kParts};
  const cuuint64_t strides[] = {parts.rowElements * sizeof(__nv_bfloat16), parts.partElements * sizeof(__nv_bfloat16)};
  const cuuint32_t box[] = {isTurned ? kHalf : kDepth, isTurned ? kDepth : kHalf, partsOfBox}, steps[] = {1, 1, 1};
  CUtensorMap map;
  if (encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, parts.data, sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, isTurned ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS) {
    throw Failure(Status::Code::device, "A product was not set up", "the driver refused a tensor");
  }
  return map;
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
  const Parts left = split(p.left, context), right = split(p.right, context);
  const Schedule schedule = scheduleOf(p);
  const unsigned clusters =
      std::min(schedule.count(), static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster);
  const Tile leftTile = p.transposeLeft ? Tile::rowsSideBySide : Tile::termsSideBySide;
  const Tile rightTile = p.transposeRight ? Tile::termsSideBySide : Tile::rowsSideBySide;
  const auto kernel = kernelFor(leftTile, rightTile);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "A kernel cannot be set up");
  context.launchWith({.sharedBytes = kSharedBytes}, kernel, clusters * kBlocksOfCluster, kThreads,
                     tensorOf(left, leftTile, kParts), tensorOf(right, rightTile, 1), p, schedule);
  if (product.neuron.type == CNNNeuronType::none) return;
  forEachElement(context, extentOf(product.result), [product] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const auto z = static_cast<float>(at(product.result, k, i, j));
    set(product.result, k, i, j, static_cast<double>(neuronValue(product.neuron, z, 0)));
  });
}

}  // namespace metalloid::cuda
