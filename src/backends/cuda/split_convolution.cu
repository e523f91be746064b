#include "backends/cuda/split_convolution.cuh"

#include "backends/cuda/pixel_matrix.cuh"

namespace metalloid::cuda {
namespace {

using operations::CNNConvolution;
using operations::CNNConvolutionGradientForData;
using operations::CNNConvolutionGradientForWeightsAndBias;

/// A product, or why there is none.
struct Attempt {
  SplitProduct product = {};
  const char* refused = nullptr;
};

constexpr std::size_t kTermsOfStage = 32;  // which must be channels of one tap
constexpr std::size_t kRowsOfBox = 32;     // likewise

std::size_t tapsOf(const operations::Window& window) { return window.x.taps * window.y.taps; }

/// What all three have in common.
template <class Operation>
const char* refusesLayer(const Operation& o, const ImageView& source, const ImageView& outputs) {
  if (o.groups != 1) return "there are groups of channels";
  if (o.edgeMode != ImageEdgeMode::zero) return "the edges are clamped";
  if (o.window.x.divisor != 1 || o.window.y.divisor != 1) return "it is transposed";
  if (tapsOf(o.window) == 1) return "its patches are pixels";
  if (!matrixOf(source) || !matrixOf(outputs)) return "the images are no matrices of float32";
  if (!isCopyable(matrixOf(source)) || !isCopyable(matrixOf(outputs))) return "the images are not aligned to 16 bytes";
  constexpr std::size_t kLimit = std::size_t{1} << 28;
  for (const ImageView* view : {&source, &outputs}) {
    if (view->images * view->pixels() >= kLimit || view->channels >= kLimit) return "there are more than 2^28 pixels";
    if (view->images * view->pixels() * view->channels == 0) return "it is empty";
  }
  for (const WindowAxis* axis : {&o.window.x, &o.window.y}) {
    const auto isSmall = [](std::ptrdiff_t value) { return -1024 < value && value < 1024; };
    if (!isSmall(axis->step) || !isSmall(axis->base) || !isSmall(axis->tapStep) || axis->taps > 1024) {
      return "the window is too large";
    }
  }
  return nullptr;
}

PatchWalk::Axis axisOf(const WindowAxis& axis, std::size_t size, std::size_t outputs) {
  return {.size = static_cast<int>(size),
          .outputs = static_cast<int>(outputs),
          .taps = static_cast<int>(axis.taps),
          .step = static_cast<int>(axis.step),
          .base = static_cast<int>(axis.base),
          .tapStep = static_cast<int>(axis.tapStep)};
}

PatchWalk walkOf(const operations::Window& window, const ImageView& source, const ImageView& outputs) {
  return {.y = axisOf(window.y, source.height, outputs.height),
          .x = axisOf(window.x, source.width, outputs.width),
          .images = static_cast<int>(source.images),
          .channels = static_cast<int>(source.channels)};
}

/// The window with which the gradient reads the outputs: turned around. For strides of 1.
WindowAxis turned(const WindowAxis& axis) {
  return {.taps = axis.taps,
          .step = 1,
          .base = -axis.base - axis.tapStep * static_cast<std::ptrdiff_t>(axis.taps - 1),
          .tapStep = axis.tapStep};
}

SplitFactor patchesOf(const PatchWalk& walk, const ImageView& source, Tile tile) {
  const std::size_t elements = static_cast<std::size_t>(walk.x.taps * walk.y.taps) * source.channels;
  const std::size_t outputs = source.images * static_cast<std::size_t>(walk.x.outputs * walk.y.outputs);
  const bool isTurned = tile == Tile::rowsSideBySide;
  return {.matrix = matrixOf(source),
          .tile = tile,
          .isPatched = true,
          .patches = walk,
          .rows = isTurned ? elements : outputs,
          .terms = isTurned ? outputs : elements};
}

MatrixView weightsOf(const VectorView& weights, std::size_t results, std::size_t columns) {
  return {.data = weights.data, .rows = results, .columns = columns, .rowBytes = columns * sizeof(float)};
}

Attempt productOf(const CNNConvolution& o) {
  if (const char* const reason = refusesLayer(o, o.source, o.result)) return {.refused = reason};
  const std::size_t columns = tapsOf(o.window) * o.source.channels, results = o.result.channels;
  if (o.source.channels % kTermsOfStage != 0) return {.refused = "the channels are no multiple of 32"};
  const PatchWalk walk = walkOf(o.window, o.source, o.result);
  if (const char* const reason = refusesWalk(walk)) return {.refused = reason};
  return {
      .product = {
          .left = patchesOf(walk, o.source, Tile::termsSideBySide),
          .right = {.matrix = weightsOf(o.weights, results, columns), .patches = {}, .rows = results, .terms = columns},
          .result = matrixOf(o.result),
          .bias = o.bias}};
}

Attempt productOf(const CNNConvolutionGradientForData& o) {
  if (const char* const reason = refusesLayer(o, o.result, o.gradient)) return {.refused = reason};
  if (o.window.x.step != 1 || o.window.y.step != 1) return {.refused = "the stride is not 1"};
  if (o.resultX != 0 || o.resultY != 0 || o.result.width != o.sourceWidth || o.result.height != o.sourceHeight) {
    return {.refused = "the result is a part of the source"};
  }
  const std::size_t taps = tapsOf(o.window), channels = o.result.channels, outputs = o.gradient.channels;
  if (outputs % kTermsOfStage != 0) return {.refused = "the channels are no multiple of 32"};
  // Each tap's columns begin at an aligned address; the copy engine takes other ones for an illegal instruction.
  if (channels % 8 != 0) return {.refused = "the result's channels are no multiple of 8"};
  const operations::Window window{.x = turned(o.window.x), .y = turned(o.window.y)};
  const PatchWalk walk = walkOf(window, o.gradient, o.result);
  if (const char* const reason = refusesWalk(walk)) return {.refused = reason};
  return {.product = {.left = patchesOf(walk, o.gradient, Tile::termsSideBySide),
                      .right = {.matrix = weightsOf(o.weights, outputs, taps * channels),
                                .tile = Tile::rowsSideBySide,
                                .patches = {},
                                .reversedTaps = static_cast<unsigned>(taps),
                                .rows = channels,
                                .terms = taps * outputs},
                      .result = matrixOf(o.result)}};
}

Attempt productOf(const CNNConvolutionGradientForWeightsAndBias& o) {
  if (const char* const reason = refusesLayer(o, o.source, o.gradient)) return {.refused = reason};
  if (o.accumulates) return {.refused = "it adds to its result"};
  if (o.source.channels % kRowsOfBox != 0) return {.refused = "the channels are no multiple of 32"};
  const PatchWalk walk = walkOf(o.window, o.source, o.gradient);
  if (const char* const reason = refusesWalk(walk)) return {.refused = reason};
  const SplitFactor patches = patchesOf(walk, o.source, Tile::rowsSideBySide);
  return {.product = {.left = patches,
                      .right = {.matrix = matrixOf(o.gradient),
                                .tile = Tile::rowsSideBySide,
                                .patches = {},
                                .rows = o.gradient.channels,
                                .terms = patches.terms},
                      .result = weightsOf(o.resultForWeights, o.gradient.channels, patches.rows),
                      .isResultTurned = true}};
}

/// `source` and `outputs` are the forward pass's.
template <class Operation>
const char* refuses(const Operation& o, const ImageView& source, const ImageView& outputs, const Context& context) {
  if (const char* const reason = refusesSplitProducts(context)) return reason;
  const Attempt attempt = productOf(o);
  if (attempt.refused) return attempt.refused;
  const Patches patches{
      .window = o.window, .height = outputs.height, .width = outputs.width, .channels = source.channels};
  if (patchesInPlace(source, patches)) return "its patches are all in place";
  // Otherwise patches are written and read.
  const std::size_t rows = outputs.images * outputs.pixels(), columns = patches.taps() * source.channels;
  const double patchBytes = static_cast<double>(rows) * static_cast<double>(columns) * sizeof(float);
  const double other = plainMicroseconds(rows, columns, outputs.channels) + 2 * patchBytes / kBytesOfMicrosecond;
  return isSplitFaster(attempt.product, other, context) ? nullptr : "it is too small to be worth it";
}

}  // namespace

const char* refusesSplitConvolution(const CNNConvolution& o, const Context& context) {
  return refuses(o, o.source, o.result, context);
}
const char* refusesSplitConvolution(const CNNConvolutionGradientForData& o, const Context& context) {
  return refuses(o, o.result, o.gradient, context);
}
const char* refusesSplitConvolution(const CNNConvolutionGradientForWeightsAndBias& o, const Context& context) {
  return refuses(o, o.source, o.gradient, context);
}

void runSplitConvolution(const CNNConvolution& o, Context& context) { runSplitProduct(productOf(o).product, context); }
void runSplitConvolution(const CNNConvolutionGradientForData& o, Context& context) {
  runSplitProduct(productOf(o).product, context);
}
void runSplitConvolution(const CNNConvolutionGradientForWeightsAndBias& o, Context& context) {
  runSplitProduct(productOf(o).product, context);
}

}  // namespace metalloid::cuda
