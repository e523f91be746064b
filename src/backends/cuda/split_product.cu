#include "backends/cuda/split_product.cuh"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/split_kernel.cuh"

#include <cstdlib>
#include <cstring>

namespace metalloid::cuda {

using namespace splitting;

namespace {

using Kernel = decltype(&splitProductKernel<Tile::termsSideBySide, Tile::termsSideBySide, Left::parts>);

template <Left kLeft>
Kernel kernelFor(Tile left, Tile right) {
  constexpr Tile kTerms = Tile::termsSideBySide, kRows = Tile::rowsSideBySide;
  if (left == kTerms && right == kTerms) return splitProductKernel<kTerms, kTerms, kLeft>;
  if (left == kTerms) return splitProductKernel<kTerms, kRows, kLeft>;
  if (right == kTerms) return splitProductKernel<kRows, kTerms, kLeft>;
  return splitProductKernel<kRows, kRows, kLeft>;
}

Kernel kernelFor(Left form, Tile left, Tile right) {
  switch (form) {
    case Left::parts:
      return kernelFor<Left::parts>(left, right);
    case Left::patchParts:
      return splitProductKernel<Tile::rowsSideBySide, Tile::rowsSideBySide, Left::patchParts>;
    case Left::numbers:
      return kernelFor<Left::numbers>(left, right);
    case Left::patchNumbers:
      return kernelFor<Left::patchNumbers>(left, right);
  }
  return nullptr;
}

/// How a product is done.
struct Plan {
  Left left = Left::parts;
  Schedule schedule = {};
  double microseconds = 0;
};

/// The plain product rounds the oftener the more terms there are. From so many on, the split one is still closer with
/// slices that are rounded, or with twice the truncation of leading products.
constexpr std::size_t kTermsOfRoundedSlices = 1024, kTermsOfPairs = 4096;

std::size_t bytesOfSlices(const SplitProduct& p) {
  return p.left.terms < kTermsOfRoundedSlices ? sizeof(double) : sizeof(float);
}

/// The time that a schedule takes, in microseconds, from rates that an H200 showed.
double timeOf(const SplitProduct& p, Left left, const Schedule& schedule, const Context& context) {
  constexpr double kTileEnd = 2, kLaunch = 3, kBytesOfCache = 4.5e6;  // which slices mostly stay in
  const double stage = !isInParts(left) ? 1.6 : schedule.leadingStages == 2 ? 1.0 : 1.2;
  const unsigned clusters = static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster;
  const double rounds = (schedule.count() + clusters - 1) / clusters;
  const auto elements = static_cast<double>(p.left.rows * p.right.rows);
  const bool isSliced = schedule.slices > 1 || p.isResultTurned;
  return rounds * (schedule.stagesOfSlice * stage + kTileEnd) +
         (isSliced ? kLaunch + elements * (2.0 * schedule.slices * bytesOfSlices(p) + sizeof(float)) / kBytesOfCache
                   : 0);
}

/// The fastest plan with the left factor in this form.
Plan planOf(const SplitProduct& p, Left left, const Context& context) {
  Schedule schedule{.pairs = blocksFor(p.left.rows, kTile * kBlocksOfCluster),
                    .columns = blocksFor(p.right.rows, kTile),
                    .stages = blocksFor(p.left.terms, kDepth)};
  schedule.stagesOfSlice = schedule.stages;
  schedule.stagesOfTap = schedule.stages / p.right.reversedTaps;
  schedule.leadingStages = isInParts(left) && p.left.terms >= kTermsOfPairs ? 2 : 1;
  Plan best{left, schedule, timeOf(p, left, schedule, context)};
  constexpr unsigned kMostSlices = 64, kLeastStages = 4;
  for (unsigned slices = 2; slices <= kMostSlices && schedule.stages / slices >= kLeastStages; ++slices) {
    schedule.stagesOfSlice = blocksFor(schedule.stages, slices);
    schedule.slices = blocksFor(schedule.stages, schedule.stagesOfSlice);  // none is empty
    const double microseconds = timeOf(p, left, schedule, context);
    if (microseconds < best.microseconds) best = {left, schedule, microseconds};
  }
  // Factors are split first.
  constexpr double kLaunch = 3, kBytesOfElement = sizeof(float) + kParts * sizeof(__nv_bfloat16);
  for (const SplitFactor* factor : {&p.left, &p.right}) {
    if (factor == &p.left && !isInParts(left)) continue;
    const auto elements = static_cast<double>(factor->matrix.rows * factor->matrix.columns);
    best.microseconds += kLaunch + elements * kBytesOfElement / kBytesOfMicrosecond;
  }
  return best;
}

Plan planOf(const SplitProduct& p, const Context& context) {
  if (p.left.isPatched) {
    // Boxes of parts have 64 rows, which must be channels of one tap.
    const bool canBeParts = p.left.tile == Tile::rowsSideBySide && p.right.tile == Tile::rowsSideBySide &&
                            p.left.patches.channels % kHalf == 0;
    return planOf(p, canBeParts ? Left::patchParts : Left::patchNumbers, context);
  }
  const Plan parts = planOf(p, Left::parts, context);
  if (!isCopyable(p.left.matrix)) return parts;
  const Plan numbers = planOf(p, Left::numbers, context);
  return numbers.microseconds < parts.microseconds ? numbers : parts;
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
  return planOf(p, context).microseconds < otherMicroseconds;
}

namespace {

/// A matrix that is split, with so many parts in a box.
CUtensorMap partsTensor(const SplitFactor& factor, unsigned parts, Context& context) {
  const uint2 box = factor.tile == Tile::rowsSideBySide ? uint2{kHalf, kDepth} : uint2{kDepth, kHalf};
  return tensorOf(split(factor.matrix, context), box.x, box.y, parts);
}

CUtensorMap leftTensor(const SplitFactor& left, Left form, Context& context) {
  const unsigned lines = left.tile == Tile::rowsSideBySide ? kDepth : kHalf;
  switch (form) {
    case Left::parts:
      return partsTensor(left, kParts, context);
    case Left::patchParts:
      return tensorOf(split(left.matrix, context), left.patches, lines);
    case Left::numbers:
      return tensorOf(left.matrix, lines);
    case Left::patchNumbers:
      return tensorOf(left.matrix, left.patches, lines);
  }
  return {};
}

}  // namespace

void runSplitProduct(const SplitProduct& product, Context& context) {
  if (context.mode == Context::Mode::patch) {
    context.isPatched = false;  // the tensors' descriptions are among the arguments, but a product is never patched
    return;
  }
  const ScratchMark mark(context);
  SplitProduct p = product;
  const Plan plan = planOf(p, context);
  const Schedule& schedule = plan.schedule;
  if (schedule.slices > 1 || p.isResultTurned) {
    p.areSlicesExact = bytesOfSlices(p) == sizeof(double);
    p.slices = context.scratch<std::byte>(schedule.slices * p.left.rows * p.sliceColumns() * bytesOfSlices(p));
  }
  const CUtensorMap left = leftTensor(p.left, plan.left, context);
  const CUtensorMap right = partsTensor(p.right, 1, context);
  const Kernel kernel = kernelFor(plan.left, p.left.tile, p.right.tile);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "A kernel cannot be set up");
  const unsigned clusters =
      std::min(schedule.count(), static_cast<unsigned>(context.multiprocessors) / kBlocksOfCluster);
  context.launchWith({.sharedBytes = kSharedBytes}, kernel, clusters * kBlocksOfCluster, kThreads, left, right, p,
                     schedule);
  if (!p.slices) return;
  context.launchEarly(sumSlicesKernel, dim3(blocksFor(p.right.rows, kSquare), blocksFor(p.left.rows, kSquare)),
                      dim3(kSquare, 8), p, schedule.slices);
}

namespace {

/// A product of matrices, without its neuron. Turned around where a single column of tiles has all rows of the left
/// factor: then each number of the right one, mostly weights, is read once.
SplitProduct splitProductOf(const Product& p) {
  const auto factor = [](const MatrixView& matrix, bool isTurned) {
    return SplitFactor{.matrix = matrix,
                       .tile = isTurned ? Tile::rowsSideBySide : Tile::termsSideBySide,
                       .patches = {},
                       .rows = isTurned ? matrix.columns : matrix.rows,
                       .terms = isTurned ? matrix.rows : matrix.columns};
  };
  SplitProduct product{.left = factor(p.left, p.transposeLeft),
                       .right = factor(p.right, !p.transposeRight),
                       .result = p.result,
                       .bias = p.bias,
                       .alpha = p.alpha};
  product.isResultTurned = product.left.rows <= kTile && product.right.rows > kTile;
  if (product.isResultTurned) std::swap(product.left, product.right);
  return product;
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
  // Narrow products take the time that memory takes.
  const auto elements = static_cast<double>(p.left.rows * p.left.columns + p.result.rows * p.result.columns);
  const double other = refusesNarrowProduct(p) ? plainMicroseconds(p.result.rows, p.result.columns, terms)
                                               : elements * sizeof(float) / kBytesOfMicrosecond;
  if (!isSplitFaster(splitProductOf(p), other, context)) {
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
