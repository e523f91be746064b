#include "backends/cpu/gemm_plan.hpp"

#include <algorithm>
#include <limits>

namespace metalloid::cpu {
namespace {

constexpr std::size_t roundUp(std::size_t a, std::size_t b) { return ceilingQuotient(a, b) * b; }

// Costs in cycles, measured on a machine with two 512-bit multiply-adds a cycle; only their ratios matter.
constexpr double kCyclesPerTileStep = 0.5;        // one row, one vector, one inner index
constexpr double kCyclesPerElement = 0.15;        // reading an element of a factor for the first time in a task,
constexpr double kCyclesPerCopy = 0.05;           // and copying it in passing
constexpr double kCyclesPerTransposition = 0.25;  // or transposing it beforehand
constexpr double kCyclesPerTask = 1500;
constexpr double kCyclesWorthASecondThread = 10'000;  // waking and joining others takes a microsecond or two

// Threads are late now and then, by this part of a task on average: small tasks lose less by it.
constexpr double kLateness = 0.04;

// Results smaller than this many elements are sliced along long inner dimensions.
constexpr std::size_t kResultWorthSlicing = 32 * 1024;
constexpr std::size_t kMaximumSlices = 32;

double taskCycles(const Gemm& problem, const TileShape& tile, std::size_t rows, std::size_t columns) {
  const auto inner = static_cast<double>(problem.inner);
  const auto m = static_cast<double>(rows);
  const auto vectors = static_cast<double>(ceilingQuotient(columns, tile.lanes));
  double cycles = kCyclesPerTask + inner * m * vectors * kCyclesPerTileStep;
  cycles += inner * m * (kCyclesPerElement + (problem.left.transposed ? kCyclesPerCopy : 0.0));
  cycles += inner * static_cast<double>(columns) *
            (kCyclesPerElement + (problem.right.transposed ? kCyclesPerTransposition : kCyclesPerCopy));
  return cycles;
}

/// Into how many rectangles a result is cut.
struct Division {
  std::size_t inColumns = 1;
  std::size_t inRows = 1;
};

/// The division among threads that should end first.
Division divide(const Gemm& problem, const TileShape& tile, std::size_t slices, unsigned threads) {
  Division best;
  double leastCycles = taskCycles(problem, tile, problem.rows, problem.columns);
  if (threads == 1 || leastCycles < kCyclesWorthASecondThread) return best;
  const std::size_t vectors = ceilingQuotient(problem.columns, tile.lanes);
  const std::size_t strips = ceilingQuotient(problem.rows, tile.rows);
  const std::size_t perSlice = ceilingQuotient(threads, slices);
  constexpr std::size_t kMostRounds = 4;
  for (std::size_t inColumns = 1; inColumns <= std::min(vectors, kMostRounds * perSlice); ++inColumns) {
    for (std::size_t wanted = 1; wanted <= kMostRounds; ++wanted) {
      const std::size_t inRows = std::min(ceilingQuotient(wanted * perSlice, inColumns), strips);
      const std::size_t columns = std::min(ceilingQuotient(vectors, inColumns) * tile.lanes, problem.columns);
      const std::size_t rows = std::min(ceilingQuotient(strips, inRows) * tile.rows, problem.rows);
      const std::size_t tasks =
          slices * ceilingQuotient(problem.columns, columns) * ceilingQuotient(problem.rows, rows);
      const auto rounds = static_cast<double>(ceilingQuotient(tasks, threads));
      const double cycles =
          (rounds + kLateness) * taskCycles(problem, tile, rows, columns) / static_cast<double>(slices);
      if (cycles < leastCycles) {
        leastCycles = cycles;
        best = {inColumns, inRows};
      }
    }
  }
  return best;
}

}  // namespace

GemmPlan planGemm(const Gemm& problem, const TileShape& tile, unsigned threads) {
  GemmPlan plan;
  plan.tile = tile;
  const std::size_t area = problem.rows > std::numeric_limits<std::size_t>::max() / problem.columns
                               ? std::numeric_limits<std::size_t>::max()
                               : problem.rows * problem.columns;

  // The order of the sums: from here to the slices, nothing may depend on threads or tile.
  const std::size_t blocks = std::max<std::size_t>(ceilingQuotient(problem.inner, kMaximumInnerBlock), 1);
  plan.innerBlock = std::max<std::size_t>(roundUp(ceilingQuotient(problem.inner, blocks), 4), 4);
  const std::size_t innerBlocks = ceilingQuotient(problem.inner, plan.innerBlock);
  plan.slices = 1;
  if (area < kResultWorthSlicing) {
    plan.slices = std::max<std::size_t>(std::min({innerBlocks, kMaximumPartialFloats / area, kMaximumSlices}), 1);
  }
  plan.blocksPerSlice = ceilingQuotient(innerBlocks, plan.slices);
  plan.slices = std::max<std::size_t>(ceilingQuotient(innerBlocks, std::max<std::size_t>(plan.blocksPerSlice, 1)), 1);

  plan.columnBlock = std::max(kRightBlockFloats / plan.innerBlock / tile.columns(), std::size_t{1}) * tile.columns();

  Division division = divide(problem, tile, plan.slices, threads);
  if (problem.result.type != GemmType::float32) {
    division.inColumns = std::max(division.inColumns, ceilingQuotient(problem.columns, kStagedColumns));
  }
  plan.columns = BlockSplit::inAtMost(division.inColumns, problem.columns, tile.lanes);
  plan.rows = BlockSplit::inAtMost(division.inRows, problem.rows, tile.rows);
  return plan;
}

std::optional<VectorProduct> planVectorProduct(const Gemm& problem, unsigned threads) {
  if (problem.rows != 1 && problem.columns != 1) return std::nullopt;
  const bool leftIsMatrix = problem.columns == 1;
  const GemmFactor& matrix = leftIsMatrix ? problem.left : problem.right;
  const GemmFactor& vector = leftIsMatrix ? problem.right : problem.left;
  VectorProduct product{};
  product.outputs = leftIsMatrix ? problem.rows : problem.columns;
  if (product.outputs > kMaximumPartialFloats) return std::nullopt;
  product.matrix = matrix.data;
  product.stride = matrix.stride;
  product.outputsAreRows = leftIsMatrix != matrix.transposed;
  product.vector = vector.data;
  product.vectorStride = leftIsMatrix == vector.transposed ? 1 : vector.stride;

  constexpr std::size_t kInnerWorthSlicing = 8192;
  product.slices = std::max<std::size_t>(
      std::min({problem.inner / kInnerWorthSlicing, kMaximumPartialFloats / product.outputs, kMaximumSlices}), 1);
  product.sliceLength = std::max<std::size_t>(ceilingQuotient(problem.inner, product.slices), 1);
  product.slices = std::max<std::size_t>(ceilingQuotient(problem.inner, product.sliceLength), 1);

  constexpr std::size_t kElementsPerTask = 32 * 1024;  // a few microseconds
  constexpr std::size_t kGranule = 64;                 // outputs: whole cache lines of each type
  const std::size_t perTask = std::max(ceilingQuotient(kElementsPerTask, product.sliceLength),
                                       ceilingQuotient(product.outputs, 4 * std::size_t{threads}));
  product.tasks = BlockSplit(product.outputs, threads == 1 ? product.outputs : roundUp(perTask, kGranule));
  return product;
}

}  // namespace metalloid::cpu
