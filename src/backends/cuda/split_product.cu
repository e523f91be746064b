#include "backends/cuda/split_product.cuh"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/split_kernel.cuh"

#include <cstdlib>
#include <cstring>

namespace metalloid::cuda {

using namespace splitting;

namespace {

using Kernel = decltype(&splitProductKernel<Tile::termsSideBySide, Tile::termsSideBySide, false>);

template <bool kIsPatched>
Kernel kernelFor(Tile left, Tile right) {
  constexpr Tile kTerms = Tile::termsSideBySide, kRows = Tile::rowsSideBySide;
  if (left == kTerms && right == kTerms) return splitProductKernel<kTerms, kTerms, kIsPatched>;
  if (left == kTerms) return splitProductKernel<kTerms, kRows, kIsPatched>;
  if (right == kTerms) return splitProductKernel<kRows, kTerms, kIsPatched>;
  return splitProductKernel<kRows, kRows, kIsPatched>;
}

/// The time that a schedule takes, in microseconds, from rates that an H200 showed.
double timeOf(const SplitProduct& p, const Schedule& schedule, const Context& context) {
  constexpr double kTileEnd = 4, kLaunch = 3;
  // Lines of 64 bytes that the copy engine gathers take longer than tensor cores.
  const double stage = p.left.isPatched && p.left.tile == Tile::termsSideBySide ? 1.75 : 1.25;
  const unsigned clusters = static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster;
  const double rounds = (schedule.count() + clusters - 1) / clusters;
  const auto bytes = static_cast<double>(p.left.rows * p.right.rows * sizeof(float));
  const bool isSliced = schedule.slices > 1 || p.isResultTurned;
  return rounds * (schedule.stagesOfSlice * stage + kTileEnd) +
         (isSliced ? kLaunch + bytes * (2.0 * schedule.slices + 1) / kBytesOfMicrosecond : 0);
}

/// The fastest schedule.
Schedule scheduleOf(const SplitProduct& p, const Context& context) {
  Schedule schedule{.pairs = blocksFor(p.left.rows, kTile * kBlocksOfCluster),
                    .columns = blocksFor(p.right.rows, kTile),
                    .stages = blocksFor(p.left.terms, kDepth)};
  schedule.stagesOfSlice = schedule.stages;
  schedule.stagesOfTap = schedule.stages / p.right.reversedTaps;
  Schedule best = schedule;
  constexpr unsigned kMostSlices = 64, kLeastStages = 4;
  for (unsigned slices = 2; slices <= kMostSlices && schedule.stages / slices >= kLeastStages; ++slices) {
    schedule.stagesOfSlice = blocksFor(schedule.stages, slices);
    schedule.slices = blocksFor(schedule.stages, schedule.stagesOfSlice);  // none is empty
    if (timeOf(p, schedule, context) < timeOf(p, best, context)) best = schedule;
  }
  return best;
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
  static const Wish wished = [] {
    const char* const value = std::getenv("METALLOID_CUDA_SPLIT_PRODUCTS");
    if (!value) return Wish::whereFaster;
    return std::strcmp(value, "0") == 0 ? Wish::never : std::strcmp(value, "1") == 0 ? Wish::always : Wish::whereFaster;
  }();
  return wished;
}

}  // namespace

const char* refusesSplitProducts(const Context& context) {
  if (wish() == Wish::never) return "METALLOID_CUDA_SPLIT_PRODUCTS is 0";
  if (context.computeMajor != 9 || !hasProduct()) return "it is made for compute capability 9.0, in code for 9.0a";
  return nullptr;
}

bool isSplitFaster(const SplitProduct& p, double otherMicroseconds, const Context& context) {
  if (wish() == Wish::always) return true;
  constexpr double kLaunches = 6, kBytesOfElement = sizeof(float) + kParts * sizeof(__nv_bfloat16);
  const MatrixView &left = p.left.matrix, &right = p.right.matrix;
  const auto elements = static_cast<double>(left.rows * left.columns + right.rows * right.columns);
  return elements * kBytesOfElement / kBytesOfMicrosecond + timeOf(p, scheduleOf(p, context), context) + kLaunches <
         otherMicroseconds;
}

void runSplitProduct(const SplitProduct& product, Context& context) {
  if (context.mode == Context::Mode::patch) {
    context.isPatched = false;  // the tensors' descriptions are among the arguments, but a product is never patched
    return;
  }
  const ScratchMark mark(context);
  SplitProduct p = product;
  const SplitParts left = split(p.left.matrix, context), right = split(p.right.matrix, context);
  const Schedule schedule = scheduleOf(p, context);
  if (schedule.slices > 1 || p.isResultTurned) {
    p.slices = context.scratch<float>(schedule.slices * p.left.rows * p.right.rows);
  }
  const auto box = [](Tile tile) { return tile == Tile::rowsSideBySide ? uint2{kHalf, kDepth} : uint2{kDepth, kHalf}; };
  const uint2 leftBox = box(p.left.tile), rightBox = box(p.right.tile);
  const auto kernel =
      p.left.isPatched ? kernelFor<true>(p.left.tile, p.right.tile) : kernelFor<false>(p.left.tile, p.right.tile);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "A kernel cannot be set up");
  const unsigned clusters =
      std::min(schedule.count(), static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster);
  context.launchWith({.sharedBytes = kSharedBytes}, kernel, clusters * kBlocksOfCluster, kThreads,
                     p.left.isPatched ? tensorOf(left, p.left.patches, leftBox.x, leftBox.y)
                                      : tensorOf(left, leftBox.x, leftBox.y, kParts),
                     tensorOf(right, rightBox.x, rightBox.y, 1), p, schedule);
  if (!p.slices) return;
  context.launchEarly(sumSlicesKernel, dim3(blocksFor(p.right.rows, kSquare), blocksFor(p.left.rows, kSquare)),
                      dim3(kSquare, 8), p, schedule.slices);
}

namespace {

/// A product of matrices, without its neuron.
SplitProduct splitProductOf(const Product& p) {
  const auto factor = [](const MatrixView& matrix, bool isTurned) {
    return SplitFactor{.matrix = matrix,
                       .tile = isTurned ? Tile::rowsSideBySide : Tile::termsSideBySide,
                       .patches = {},
                       .rows = isTurned ? matrix.columns : matrix.rows,
                       .terms = isTurned ? matrix.rows : matrix.columns};
  };
  return {.left = factor(p.left, p.transposeLeft),
          .right = factor(p.right, !p.transposeRight),
          .result = p.result,
          .bias = p.bias,
          .alpha = p.alpha};
}

}  // namespace

const char* refusesSplitProduct(const Product& p, const Context& context) {
  if (const char* const reason = refusesSplitProducts(context)) return reason;
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
  if (!isSplitFaster(splitProductOf(p), plainMicroseconds(p.result.rows, p.result.columns, terms), context)) {
    return "it is too small to be worth it";
  }
  return nullptr;
}

void runSplitProduct(const Product& product, Context& context) {
  runSplitProduct(splitProductOf(product), context);
  if (product.neuron.type == CNNNeuronType::none) return;
  forEachElement(context, extentOf(product.result), [product] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const auto z = static_cast<float>(at(product.result, k, i, j));
    set(product.result, k, i, j, static_cast<double>(neuronValue(product.neuron, z, 0)));
  });
}

}  // namespace metalloid::cuda
