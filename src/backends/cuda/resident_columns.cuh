#pragma once

#include "backends/cuda/column_statistics.cuh"
#include "backends/cuda/hopper.cuh"
#include "backends/cuda/resident_plan.hpp"
#include "backends/cuda/tensor_map.hpp"

/// Column sums and another pass over the same columns, for which nothing is read a second time: the shared memory of a
/// cluster of blocks holds a strip of columns from the first pass on. For Hopper.
///
/// The copy engine brings a block all of its rows at once, and the threads sum what has arrived. Nobody waits for
/// another cluster, so that those on one multiprocessor are in different phases: while one waits, others use the
/// memory.
namespace metalloid::cuda {

/// As many threads as have registers for what they keep of their columns, with as many blocks as are wanted.
template <class T>
constexpr unsigned kResidentThreads = 1024 / Pack<T>::kSize;

template <class Body>
struct Tensors {
  CUtensorMap source[Body::kSources];
};

/// What a block has in its shared memory.
struct ResidentMemory {
  std::byte* boxes;         // [source][row][lane] packs
  double2* sums;            // [warp][column]; in the end [column]
  double2* sent;            // [block][column], by each block of the cluster
  float4* known;            // [column]
  std::uint64_t* full;      // [box] the copy engine has brought it, of all sources
  std::uint64_t* gathered;  // all blocks have sent theirs

  __device__ ResidentMemory(const ResidentPlan& plan, std::byte* bytes) {
    constexpr unsigned kAlignment = ResidentPlan::kAlignment;
    boxes = bytes + (kAlignment - reinterpret_cast<std::uintptr_t>(bytes) % kAlignment) % kAlignment;
    sums = reinterpret_cast<double2*>(boxes + plan.layout.sums);
    sent = reinterpret_cast<double2*>(boxes + plan.layout.sent);
    known = reinterpret_cast<float4*>(boxes + plan.layout.known);
    full = reinterpret_cast<std::uint64_t*>(boxes + plan.layout.full);
    gathered = reinterpret_cast<std::uint64_t*>(boxes + plan.layout.gathered);
  }
};

/// The rows of a block, for a thread at one of the lanes.
template <class Body>
struct RowsOfBlock {
  using Index = unsigned;
  static constexpr int kBatch = 4;

  const ResidentPlan& plan;
  const ResidentMemory& memory;
  unsigned lane;
  unsigned arrived = 0;  // boxes

  __device__ void await(unsigned end) {
    for (; arrived * plan.boxRows < end; ++arrived) hopper::waitFor(memory.full[arrived], 0);
  }
  __device__ Row<Body> load(unsigned i) const {
    Row<Body> row;
#pragma unroll
    for (int n = 0; n < Body::kSources; ++n) {
      row.pack[n] = reinterpret_cast<const uint4*>(memory.boxes + n * plan.sourceBytes)[i * plan.lanes + lane];
    }
    return row;
  }
};

/// One thread asks for all boxes of the block's rows.
template <class Body>
__device__ void bring(const Tensors<Body>& tensors, const ResidentPlan& plan, const ResidentMemory& memory,
                      unsigned strip, unsigned begin, unsigned rows) {
  const auto x = static_cast<int>(strip * plan.lanes * (ResidentPlan::kPackBytes / sizeof(std::uint32_t)));
  for (unsigned b = 0; b * plan.boxRows < rows; ++b) {
    hopper::arriveExpecting(memory.full[b], Body::kSources * plan.boxBytes);
    for (int n = 0; n < Body::kSources; ++n) {
      hopper::copyBox(memory.boxes + n * plan.sourceBytes + b * plan.boxBytes, tensors.source[n], memory.full[b], x,
                      static_cast<int>(begin + b * plan.boxRows));
    }
  }
}

/// One thread makes the barriers. All sums that the block gets are announced at once.
__device__ inline void makeBarriers(const ResidentPlan& plan, const ResidentMemory& memory) {
  for (unsigned b = 0; b < plan.boxes; ++b) hopper::makeBarrier(memory.full[b], 1);
  hopper::makeBarrier(*memory.gathered, 1);
  hopper::publishBarriers();
  hopper::arriveExpecting(*memory.gathered, plan.blocks * plan.stripColumns * sizeof(double2));
}

/// Sends the block's sums to every block of the cluster, itself too. The others' barriers must be there.
__device__ inline void sendSums(const ResidentPlan& plan, const ResidentMemory& memory, unsigned rank) {
  for (unsigned i = threadIdx.x; i < plan.blocks * plan.stripColumns; i += blockDim.x) {
    const unsigned block = i / plan.stripColumns, column = i % plan.stripColumns;
    hopper::sendTo(block, memory.sent[rank * plan.stripColumns + column], *memory.gathered, memory.sums[column]);
  }
}

/// Adds up a column's sums of all blocks, in their order: in each of them the same.
__device__ inline double2 gatherSums(const ResidentPlan& plan, const ResidentMemory& memory, unsigned column) {
  hopper::waitFor(*memory.gathered, 0);
  double2 total = {0, 0};
#pragma unroll 4
  for (unsigned b = 0; b < plan.blocks; ++b) {
    const double2 part = memory.sent[b * plan.stripColumns + column];
    total.x += part.x;
    total.y += part.y;
  }
  return total;
}

/// Blocks of a cluster give each other their sums, and part: none leaves before it has the sums of all.
template <class T, class Body>
__global__ void __launch_bounds__(kResidentThreads<T>, kLeastResident)
    residentKernel(const __grid_constant__ Tensors<Body> tensors, const __grid_constant__ ResidentPlan plan,
                   const __grid_constant__ Body body) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ std::byte bytes[];
  const ResidentMemory memory(plan, bytes);
  const unsigned rank = hopper::rankInCluster(), strip = blockIdx.x / plan.blocks, begin = rank * plan.blockRows;
  const unsigned rows = begin < plan.rows ? min(plan.blockRows, static_cast<unsigned>(plan.rows) - begin) : 0;
  if (threadIdx.x == 0) makeBarriers(plan, memory);
  hopper::arriveAtCluster();
  waitForFormer();
  if (threadIdx.x == 0) bring(tensors, plan, memory, strip, begin, rows);

  // What the columns need, while their rows are under way. A column's `known` is one thread's until its sums are.
  const std::size_t first = std::size_t{strip} * plan.stripColumns;
  const unsigned lane = threadIdx.x % plan.lanes, rowLane = threadIdx.x / plan.lanes;
  const unsigned rowLanes = blockDim.x / plan.lanes;
  const std::size_t j = first + lane * Pack<T>::kSize;
  const bool isOwner = threadIdx.x < plan.stripColumns && first + threadIdx.x < plan.columns;
  if (isOwner) memory.known[threadIdx.x] = body.before(first + threadIdx.x);
  typename Body::Columns columns;
  if (j < plan.columns) columns = body.columns(j);
  hopper::waitForCluster();  // all barriers are there

  RowsOfBlock<Body> rowsOfBlock{plan, memory, lane};
  Sums<T, double> sums;
  if (j < plan.columns) sums = sumRows<T>(body, columns, rowsOfBlock, rowLane, rows, rowLanes);
  addThreads<T>(sums, plan.lanes, memory.sums);
  sendSums(plan, memory, rank);
  if (isOwner) {
    float4& known = memory.known[threadIdx.x];
    known = body.store(first + threadIdx.x, known, gatherSums(plan, memory, threadIdx.x), rank == 0);
  }
  __syncthreads();
  if (j >= plan.columns) return;
  const auto finishing = body.finishing(columns, memory.known + lane * Pack<T>::kSize);
  finishRows(body, finishing, rowsOfBlock, j, begin, rowLane, rows, rowLanes);
#endif
}

/// The plan for a body's matrices; nothing if no cluster can hold a strip.
template <class T, class Body>
std::optional<ResidentPlan> planResidentColumns(std::size_t rows, std::size_t columns, const Context& context) {
  return planResident({.rows = rows,
                       .columns = columns,
                       .packColumns = Pack<T>::kSize,
                       .sources = Body::kSources,
                       .threads = kResidentThreads<T>,
                       .multiprocessors = static_cast<unsigned>(context.multiprocessors)});
}

/// Prepares a kernel for any cluster and all of the shared memory. Whether the device can have the clusters of a plan:
/// it may be a part of a GPU, or the driver may have compiled the kernel from code for an older one.
template <class Kernel>
bool canHold(Kernel kernel, const ResidentPlan& plan) {
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), "The module has no code for the device");
  if (attributes.ptxVersion < 90) return false;
  constexpr int kMostShared = 227 * 1024;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostShared),
        "A kernel cannot be set up");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
        "A kernel cannot be set up");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), "A kernel cannot be set up");
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = plan.blocks;
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = plan.strips * plan.blocks;
  configuration.blockDim = plan.threads;
  configuration.dynamicSmemBytes = residentBytes(plan);
  configuration.attrs = &cluster;
  configuration.numAttrs = 1;
  int clusters = 0;
  if (cudaOccupancyMaxActiveClusters(&clusters, kernel, &configuration) == cudaSuccess) return clusters > 0;
  cudaGetLastError();
  return false;
}

/// Why a matrix of so many rows and columns is refused; nullptr: it is not.
template <class T, class Body>
const char* refusesResidentColumns(std::size_t rows, std::size_t columns, const Context& context) {
  if (context.computeMajor != 9) return "it is made for compute capability 9.0";
  if (rows <= kFewRows) return "the rows are so few that one block does all of them";
  const auto plan = planResidentColumns<T, Body>(rows, columns, context);
  if (!plan) return "no cluster has the shared memory for the rows";
  if (!canHold(residentKernel<T, Body>, *plan)) return "the device has no such clusters";
  return nullptr;
}

/// The matrix's rows as the copy engine sees them, in boxes as wide as a strip.
inline CUtensorMap tensorOf(const MatrixView& matrix, const ResidentPlan& plan) {
  constexpr std::size_t kWords = ResidentPlan::kPackBytes / sizeof(std::uint32_t);
  return makeTensorMap<2>({.promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_128B}, matrix.data,
                          {matrix.columns * sizeOf(matrix.type) / sizeof(std::uint32_t), matrix.rows},
                          {matrix.rowBytes}, {static_cast<cuuint32_t>(plan.lanes * kWords), plan.boxRows});
}

template <class T, class Body>
void launchResidentColumns(std::size_t rows, std::size_t columns, const Body& body, Context& context) {
  const ResidentPlan plan = *planResidentColumns<T, Body>(rows, columns, context);
  Tensors<Body> tensors;
  for (int n = 0; n < Body::kSources; ++n) tensors.source[n] = tensorOf(body.source(n), plan);
  context.launchWith({.sharedBytes = residentBytes(plan), .isEarly = true, .clusterBlocks = plan.blocks},
                     residentKernel<T, Body>, plan.strips * plan.blocks, plan.threads, tensors, plan, body);
}

}  // namespace metalloid::cuda
