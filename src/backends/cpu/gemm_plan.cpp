#include "backends/cpu/gemm_plan.hpp"

#include <algorithm>
#include <limits>

namespace metalloid::cpu {
namespace {

constexpr std::size_t ceilingQuotient(std::size_t a, std::size_t b) { return a / b + (a % b != 0 ? 1 : 0); }
constexpr std::size_t roundUp(std::size_t a, std::size_t b) { return ceilingQuotient(a, b) * b; }

// Costs in cycles, measured on a machine with two 512-bit multiply-adds a cycle; only their ratios matter.
constexpr double kCyclesPerTileStep = 0.5;       // one row, one vector, one inner index
constexpr double kCyclesPerCopiedElement = 0.1;  // copying a factor while it is used for the first time
constexpr double kCyclesPerTransposedElement = 0.25;
constexpr double kCyclesPerTask = 1500;
constexpr double kCyclesWorthASecondThread = 10'000;  // waking and joining others takes a microsecond or two

// Results smaller than this many elements are sliced along long inner dimensions.
constexpr std::size_t kResultWorthSlicing = 32 * 1024;
constexpr std::size_t kMaximumSlices = 32;

double taskCycles(const Gemm& problem, const TileShape& tile, std::size_t rows, std::size_t columns) {
  const auto inner = static_cast<double>(problem.inner);
  const auto m = static_cast<double>(rows);
  const auto vectors = static_cast<double>(ceilingQuotient(columns, tile.lanes));
  double cycles = kCyclesPerTask + inner * m * vectors * kCyclesPerTileStep;
  cycles += inner * static_cast<double>(columns) *
            (problem.right.transposed ? kCyclesPerTransposedElement : kCyclesPerCopiedElement);
  if (problem.left.transposed) cycles += inner * m * kCyclesPerCopiedElement;
  return cycles;
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

  // The rectangles: the division among threads that ends first.
  const std::size_t vectors = ceilingQuotient(problem.columns, tile.lanes);
  const std::size_t strips = ceilingQuotient(problem.rows, tile.rows);
  std::size_t bestColumns = 1;
  std::size_t bestRows = 1;
  const double whole = taskCycles(problem, tile, problem.rows, problem.columns);
  if (threads > 1 && whole > kCyclesWorthASecondThread) {
    double best = whole;
    const std::size_t perSlice = ceilingQuotient(threads, plan.slices);
    for (std::size_t inColumns = 1; inColumns <= std::min(vectors, 4 * perSlice); ++inColumns) {
      for (std::size_t round = 1; round <= 4; ++round) {
        const std::size_t inRows = std::min(ceilingQuotient(round * perSlice, inColumns), strips);
        const std::size_t columns = ceilingQuotient(vectors, inColumns) * tile.lanes;
        const std::size_t rows = ceilingQuotient(strips, inRows) * tile.rows;
        const std::size_t tasks =
            plan.slices * ceilingQuotient(problem.columns, columns) * ceilingQuotient(problem.rows, rows);
        const double cycles =
            static_cast<double>(ceilingQuotient(tasks, threads)) / static_cast<double>(plan.slices) *
            taskCycles(problem, tile, std::min(rows, problem.rows), std::min(columns, problem.columns));
        if (cycles < best) {
          best = cycles;
          bestColumns = inColumns;
          bestRows = inRows;
        }
      }
    }
  }
  if (problem.result.type != GemmType::float32) {
    bestColumns = std::max(bestColumns, ceilingQuotient(problem.columns, kStagedColumns));
  }
  plan.columns = BlockSplit::inAtMost(bestColumns, problem.columns, tile.lanes);
  plan.rows = BlockSplit::inAtMost(bestRows, problem.rows, tile.rows);
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
