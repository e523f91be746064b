#include "operations/cnn_convolution.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/pixel_matrix.cuh"
#include "backends/cuda/pixel_sums.cuh"
#include "backends/cuda/products.hpp"
#include "backends/cuda/split_convolution.cuh"
#include "backends/cuda/windows.cuh"

// Three ways. Split products of patches: the copy engine gathers the source pixels under each output's window while
// tensor cores multiply. Products of patches: those pixels become a row of a matrix, and each gradient one product of
// matrices. Plain: each element by itself, for many small groups, such as depth-wise convolutions.
namespace metalloid::cuda {
namespace {

using operations::CNNConvolution;
using operations::CNNConvolutionGradientForData;
using operations::CNNConvolutionGradientForWeightsAndBias;
using operations::CNNSubPixel;

// --- Plain
// ------------------------------------------------------------------------------------------------------------

/// A convolution's window over its source, and the groups of channels.
struct Layer {
  Window window;
  ImageEdgeMode edgeMode;
  std::size_t groupChannels, groupResults;

  /// Where weight [k][q][p][c] stands.
  __device__ std::size_t weight(std::size_t k, std::size_t q, std::size_t p, std::size_t c) const {
    return ((k * window.y.taps + q) * window.x.taps + p) * groupChannels + c;
  }
};

/// The position of a tap. False: between two pixels.
__device__ bool isOnPixel(const WindowAxis& axis, std::size_t output, std::size_t tap, std::ptrdiff_t& position) {
  position =
      axis.step * static_cast<std::ptrdiff_t>(output) + axis.base + axis.tapStep * static_cast<std::ptrdiff_t>(tap);
  if (axis.divisor == 1) return true;
  const bool isExact = position % axis.divisor == 0;
  position /= axis.divisor;
  return isExact;
}

void runPlain(const CNNConvolution& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const Layer layer{o.window, o.edgeMode, o.source.channels / o.groups, o.result.channels / o.groups};
  const VectorView weights = o.weights, bias = o.bias, slopes = o.slopes;
  const math::Neuron neuron = o.neuron;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t j, std::size_t i, std::size_t k) {
    const std::size_t first = k / layer.groupResults * layer.groupChannels;
    double sum = atOr(bias, 0, k, 0);
    std::ptrdiff_t y, x;
    for (std::size_t q = 0; q < layer.window.y.taps; ++q) {
      if (!isOnPixel(layer.window.y, j, q, y)) continue;
      for (std::size_t p = 0; p < layer.window.x.taps; ++p) {
        if (!isOnPixel(layer.window.x, i, p, x)) continue;
        for (std::size_t c = 0; c < layer.groupChannels; ++c) {
          sum = fma(at(weights, 0, layer.weight(k, q, p, c)), at(source, layer.edgeMode, n, y, x, first + c), sum);
        }
      }
    }
    if (neuron.type != CNNNeuronType::none) {
      sum = neuronValue(neuron, static_cast<float>(sum), static_cast<float>(atOr(slopes, 0, k, 0)));
    }
    set(result, n, j, i, k, sum);
  });
}

void runPlain(const CNNConvolutionGradientForData& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const Layer layer{o.window, o.edgeMode, o.result.channels / o.groups, o.gradient.channels / o.groups};
  const VectorView weights = o.weights;
  const std::size_t height = o.sourceHeight, width = o.sourceWidth, firstY = o.resultY, firstX = o.resultX;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t channel) {
    const std::size_t group = channel / layer.groupChannels, c = channel % layer.groupChannels;
    double sum = 0;
    if (v + firstY < height && u + firstX < width) {
      const ReversedWindow reversed{layer.window, layer.edgeMode, height, width, gradient.height, gradient.width};
      reversed.forEachReader(v + firstY, u + firstX, [&](std::size_t q, std::size_t p, std::size_t j, std::size_t i) {
        for (std::size_t r = 0; r < layer.groupResults; ++r) {
          const std::size_t k = group * layer.groupResults + r;
          sum = fma(at(weights, 0, layer.weight(k, q, p, c)), at(gradient, n, j, i, k), sum);
        }
      });
    }
    set(result, n, v, u, channel, sum);
  });
}

/// resultForBias (+)= the sums of the gradient's channels.
void runBias(const CNNConvolutionGradientForWeightsAndBias& o, Context& context) {
  if (!o.resultForBias || sumPixels(matrixOf(o.gradient), o.resultForBias, o.accumulates, context)) return;
  const Images gradient = imagesOf(o.gradient, context);
  const VectorView result = o.resultForBias;
  const bool accumulates = o.accumulates;
  forEachChannelSum(
      context, {1, gradient.images * gradient.pixels(), gradient.channels},
      [=] __device__(std::size_t, std::size_t row, std::size_t c) -> double2 {
        const Place place = placeOf(gradient, row * gradient.channels, gradient.elements() <= 0xffffffffu);
        return {at(gradient, place.n, place.y, place.x, c), 0};
      },
      [=] __device__(std::size_t, std::size_t c, double2 sum) {
        set(result, 0, c, sum.x + (accumulates ? at(result, 0, c) : 0));
      });
}

/// A warp for each weight.
void runPlain(const CNNConvolutionGradientForWeightsAndBias& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), source = imagesOf(o.source, context);
  const Layer layer{o.window, o.edgeMode, o.source.channels / o.groups, o.gradient.channels / o.groups};
  const VectorView result = o.resultForWeights;
  const bool accumulates = o.accumulates;
  const std::size_t taps = layer.window.x.taps * layer.window.y.taps;
  Images pixels = gradient;  // to count them
  pixels.channels = 1;
  forEachRow(context, {gradient.channels, taps * layer.groupChannels, 1},
             [=] __device__(std::size_t k, std::size_t weight, unsigned lane) {
               const std::size_t tap = weight / layer.groupChannels;
               const std::size_t channel = k / layer.groupResults * layer.groupChannels + weight % layer.groupChannels;
               double sum = 0;
               std::ptrdiff_t y, x;
               for (std::size_t e = lane; e < pixels.elements(); e += 32) {
                 const Place place = placeOf(pixels, e, pixels.elements() <= 0xffffffffu);
                 if (!isOnPixel(layer.window.y, place.y, tap / layer.window.x.taps, y)) continue;
                 if (!isOnPixel(layer.window.x, place.x, tap % layer.window.x.taps, x)) continue;
                 sum = fma(at(gradient, place.n, place.y, place.x, k),
                           at(source, layer.edgeMode, place.n, y, x, channel), sum);
               }
               sum = warpSum(sum);
               const std::size_t element = k * taps * layer.groupChannels + weight;
               if (lane == 0) set(result, 0, element, sum + (accumulates ? at(result, 0, element) : 0));
             });
  runBias(o, context);
}

// --- Products
// ---------------------------------------------------------------------------------------------------------

/// What the rows of windows may take of scratch memory.
constexpr std::size_t kMostColumnBytes = std::size_t{1} << 28;

/// Groups that a product each is worth starting for.
constexpr std::size_t kMostGroups = 8;

template <class Operation>
const char* refusesProducts(const Operation& o, const Context&) {
  if (o.groups > kMostGroups) return "there are more than 8 groups";
  constexpr std::size_t kLimit = 0x7fffffffu;
  const auto& outputs = [&]() -> const ImageView& {
    if constexpr (requires { o.gradient; })
      return o.gradient;
    else
      return o.result;
  }();
  if (outputs.images * outputs.pixels() > kLimit) return "there are more than 2^31 pixels";
  return nullptr;
}

/// What is left to do after a product: the neuron, and the way to where the result shall lie.
void finish(const CNNConvolution& o, const Images& result, const MatrixView& z, Context& context) {
  const VectorView slopes = o.slopes;
  const math::Neuron neuron = o.neuron;
  const Images values = imagesOf(z, result);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t j, std::size_t i, std::size_t k) {
    const auto value = static_cast<float>(at(values, n, j, i, k));
    const bool isPlain = neuron.type == CNNNeuronType::none;
    const auto slope = static_cast<float>(atOr(slopes, 0, k, 0));
    set(result, n, j, i, k, static_cast<double>(isPlain ? value : neuronValue(neuron, value, slope)));
  });
}

/// What the three products have in common: windows over a source, and a row of the matrices for each output.
struct WindowProducts {
  Window window;
  ImageEdgeMode edgeMode;
  std::size_t groups, groupChannels, groupResults;
  std::size_t images, height, width;  // of the outputs

  template <class Operation>
  WindowProducts(const Operation& o, const ImageView& source, const ImageView& outputs)
      : window(o.window),
        edgeMode(o.edgeMode),
        groups(o.groups),
        groupChannels(source.channels / o.groups),
        groupResults(outputs.channels / o.groups),
        images(outputs.images),
        height(outputs.height),
        width(outputs.width) {}

  std::size_t columns() const { return window.x.taps * window.y.taps * groupChannels; }

  /// The weights of a group as a matrix [results][taps y][taps x][channels].
  MatrixView weightsOf(const VectorView& weights, std::size_t group) const {
    MatrixView view{
        .data = weights.data, .rows = groupResults, .columns = columns(), .rowBytes = columns() * sizeof(float)};
    view.data += group * groupResults * view.rowBytes;
    return view;
  }

  /// The results of a group in a matrix with a row for each output.
  MatrixView resultsOf(const MatrixView& outputs, std::size_t group) const {
    MatrixView view = outputs;
    view.data += group * groupResults * sizeof(float);
    view.columns = groupResults;
    return view;
  }

  /// Calls f(first, count) for some images at a time, so that the rows of windows need no more scratch memory than
  /// kMostColumnBytes.
  template <class F>
  void forEachPart(Context& context, const F& f) const {
    const std::size_t imageBytes = std::max<std::size_t>(1, height * width * columns() * sizeof(float));
    const std::size_t atOnce = std::clamp<std::size_t>(kMostColumnBytes / imageBytes, 1, images);
    for (std::size_t first = 0; first < images; first += atOnce) {
      const ScratchMark mark(context);
      f(first, std::min(atOnce, images - first));
    }
  }

  /// Calls f(group, patches). Scratch memory that is taken in it serves the next group, too.
  template <class F>
  void forEachGroup(Context& context, const F& f) const {
    for (std::size_t group = 0; group < groups; ++group) {
      const ScratchMark mark(context);
      f(group, Patches{.window = window,
                       .edgeMode = edgeMode,
                       .height = height,
                       .width = width,
                       .firstChannel = group * groupChannels,
                       .channels = groupChannels});
    }
  }
};

void runProducts(const CNNConvolution& o, Context& context) {
  const WindowProducts products(o, o.source, o.result);
  products.forEachPart(context, [&](std::size_t first, std::size_t count) {
    const ImageView source = imageRange(o.source, first, count), result = imageRange(o.result, first, count);
    const MatrixView direct = matrixOf(result);
    const MatrixView z = direct ? direct : scratchMatrix(count * result.pixels(), result.channels, context);
    products.forEachGroup(context, [&](std::size_t group, const Patches& patches) {
      VectorView bias = o.bias;
      if (bias) bias.data += group * products.groupResults * sizeof(float);
      runProduct({.left = patchMatrix(source, patches, context),
                  .right = products.weightsOf(o.weights, group),
                  .result = products.resultsOf(z, group),
                  .bias = bias,
                  .transposeRight = true},
                 context);
    });
    if (!direct || o.neuron.type != CNNNeuronType::none) finish(o, imagesOf(result, context), z, context);
  });
}

void runProducts(const CNNConvolutionGradientForData& o, Context& context) {
  const WindowProducts products(o, o.result, o.gradient);
  const bool isWhole =
      o.resultX == 0 && o.resultY == 0 && o.result.width == o.sourceWidth && o.result.height == o.sourceHeight;
  products.forEachPart(context, [&](std::size_t first, std::size_t count) {
    const ImageView result = imageRange(o.result, first, count), gradient = imageRange(o.gradient, first, count);
    const MatrixView e = pixelMatrix(gradient, context);
    products.forEachGroup(context, [&](std::size_t group, const Patches& patches) {
      const MatrixView direct = isWhole ? patchesInPlace(result, patches) : MatrixView{};
      const MatrixView forPatches =
          direct ? direct : scratchMatrix(count * gradient.pixels(), products.columns(), context);
      runProduct(
          {.left = products.resultsOf(e, group), .right = products.weightsOf(o.weights, group), .result = forPatches},
          context);
      if (direct) return;
      addPatches(forPatches, patches,
                 {.result = result,
                  .sourceHeight = o.sourceHeight,
                  .sourceWidth = o.sourceWidth,
                  .resultY = o.resultY,
                  .resultX = o.resultX},
                 context);
    });
  });
}

void runProducts(const CNNConvolutionGradientForWeightsAndBias& o, Context& context) {
  const WindowProducts products(o, o.source, o.gradient);
  products.forEachPart(context, [&](std::size_t first, std::size_t count) {
    const ImageView source = imageRange(o.source, first, count), gradient = imageRange(o.gradient, first, count);
    const MatrixView e = pixelMatrix(gradient, context);
    products.forEachGroup(context, [&](std::size_t group, const Patches& patches) {
      runProduct({.left = products.resultsOf(e, group),
                  .right = patchMatrix(source, patches, context),
                  .result = products.weightsOf(o.resultForWeights, group),
                  .transposeLeft = true,
                  .beta = o.accumulates || first > 0 ? 1.0 : 0.0},
                 context);
    });
  });
  runBias(o, context);
}

void runSubPixel(const CNNSubPixel& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const std::size_t r = o.factor;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(result, n, y, x, c, at(source, n, y / r, x / r, result.channels * (r * (y % r) + x % r) + c));
  });
}

template <class Operation>
const char* refusesSplit(const Operation& o, const Context& context) {
  return refusesSplitConvolution(o, context);
}

void runSplit(const CNNConvolution& o, Context& context) {
  runSplitConvolution(o, context);
  if (o.neuron.type != CNNNeuronType::none) finish(o, imagesOf(o.result, context), matrixOf(o.result), context);
}

void runSplit(const CNNConvolutionGradientForData& o, Context& context) { runSplitConvolution(o, context); }

void runSplit(const CNNConvolutionGradientForWeightsAndBias& o, Context& context) {
  runSplitConvolution(o, context);
  runBias(o, context);
}

template <class Operation>
constexpr std::array<Candidate<Operation>, 3> kCandidates = {
    {{"split products of patches", refusesSplit<Operation>, runSplit},
     {"products of patches", refusesProducts<Operation>, runProducts},
     {"plain", acceptsAll, runPlain}}};

}  // namespace

void run(const CNNConvolution& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNConvolution>, operation, context, explainer);
}

void run(const CNNConvolutionGradientForData& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNConvolutionGradientForData>, operation, context, explainer);
}

void run(const CNNConvolutionGradientForWeightsAndBias& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNConvolutionGradientForWeightsAndBias>, operation, context, explainer);
}

void run(const CNNSubPixel& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNSubPixel, runSubPixel>, operation, context, explainer);
}

}  // namespace metalloid::cuda
