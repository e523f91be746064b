#include "operations/cnn_convolution.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/pixel_matrix.cuh"
#include "backends/cuda/pixel_sums.cuh"
#include "backends/cuda/products.hpp"
#include "backends/cuda/windows.cuh"

// Two ways. Products: the source pixels under each output's window become a row of a matrix, and each gradient one
// product of matrices. Plain: each element by itself, for many small groups, such as depth-wise convolutions.
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
      const Positions rows = positionsOf(v + firstY, height, layer.edgeMode);
      const Positions columns = positionsOf(u + firstX, width, layer.edgeMode);
      for (std::size_t q = 0; q < layer.window.y.taps; ++q) {
        const Outputs js = outputsOf(layer.window.y, q, rows, gradient.height);
        for (std::ptrdiff_t j = js.first; j <= js.last; ++j) {
          for (std::size_t p = 0; p < layer.window.x.taps; ++p) {
            const Outputs is = outputsOf(layer.window.x, p, columns, gradient.width);
            for (std::ptrdiff_t i = is.first; i <= is.last; ++i) {
              for (std::size_t r = 0; r < layer.groupResults; ++r) {
                const std::size_t k = group * layer.groupResults + r;
                sum = fma(at(weights, 0, layer.weight(k, q, p, c)), at(gradient, n, j, i, k), sum);
              }
            }
          }
        }
      }
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

/// The rows of windows, some images at a time, so that they need no more scratch memory than this.
constexpr std::size_t kMostColumnBytes = std::size_t{1} << 28;

std::size_t imagesAtOnce(std::size_t images, std::size_t pixels, std::size_t columns) {
  return std::clamp<std::size_t>(kMostColumnBytes / std::max<std::size_t>(1, pixels * columns * sizeof(float)), 1,
                                 images);
}

/// The weights of a group as a matrix [results][taps y][taps x][channels].
MatrixView weightsOf(const VectorView& weights, std::size_t group, std::size_t results, std::size_t columns) {
  MatrixView view{.data = weights.data, .rows = results, .columns = columns, .rowBytes = columns * sizeof(float)};
  view.data += group * results * view.rowBytes;
  return view;
}

/// The channels of a group of matrices with a row for each pixel.
MatrixView columnsOf(const MatrixView& pixels, std::size_t group, std::size_t channels) {
  MatrixView view = pixels;
  view.data += group * channels * sizeof(float);
  view.columns = channels;
  return view;
}

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

void runProducts(const CNNConvolution& o, Context& context) {
  const std::size_t groupChannels = o.source.channels / o.groups, groupResults = o.result.channels / o.groups;
  const std::size_t columns = o.window.x.taps * o.window.y.taps * groupChannels;
  const std::size_t atOnce = imagesAtOnce(o.result.images, o.result.pixels(), columns);
  for (std::size_t first = 0; first < o.result.images; first += atOnce) {
    const std::size_t count = std::min(atOnce, o.result.images - first);
    const ImageView source = imageRange(o.source, first, count), result = imageRange(o.result, first, count);
    const ScratchMark mark(context);
    const MatrixView direct = matrixOf(result);
    const MatrixView z = direct ? direct : scratchMatrix(count * result.pixels(), result.channels, context);
    for (std::size_t group = 0; group < o.groups; ++group) {
      const Patches patches{.window = o.window,
                            .edgeMode = o.edgeMode,
                            .height = o.result.height,
                            .width = o.result.width,
                            .firstChannel = group * groupChannels,
                            .channels = groupChannels};
      VectorView bias = o.bias;
      if (bias) bias.data += group * groupResults * sizeof(float);
      runLibraryProduct({.left = patchMatrix(source, patches, context),
                         .right = weightsOf(o.weights, group, groupResults, columns),
                         .result = columnsOf(z, group, groupResults),
                         .bias = bias,
                         .transposeRight = true},
                        context);
    }
    if (!direct || o.neuron.type != CNNNeuronType::none) finish(o, imagesOf(result, context), z, context);
  }
}

void runProducts(const CNNConvolutionGradientForData& o, Context& context) {
  const std::size_t groupChannels = o.result.channels / o.groups, groupResults = o.gradient.channels / o.groups;
  const std::size_t columns = o.window.x.taps * o.window.y.taps * groupChannels;
  const std::size_t atOnce = imagesAtOnce(o.gradient.images, o.gradient.pixels(), columns);
  for (std::size_t first = 0; first < o.gradient.images; first += atOnce) {
    const std::size_t count = std::min(atOnce, o.gradient.images - first);
    const ImageView result = imageRange(o.result, first, count);
    const ImageView gradient = imageRange(o.gradient, first, count);
    const ScratchMark mark(context);
    const MatrixView e = pixelMatrix(gradient, context);
    for (std::size_t group = 0; group < o.groups; ++group) {
      const Patches patches{.window = o.window,
                            .edgeMode = o.edgeMode,
                            .height = o.gradient.height,
                            .width = o.gradient.width,
                            .firstChannel = group * groupChannels,
                            .channels = groupChannels};
      const Product product{.left = columnsOf(e, group, groupResults),
                            .right = weightsOf(o.weights, group, groupResults, columns),
                            .result = {}};
      const bool isWhole =
          o.resultX == 0 && o.resultY == 0 && result.width == o.sourceWidth && result.height == o.sourceHeight;
      Product into = product;
      into.result = isWhole ? patchesInPlace(result, patches) : MatrixView{};
      if (into.result) {
        runLibraryProduct(into, context);
        continue;
      }
      into.result = scratchMatrix(count * gradient.pixels(), columns, context);
      runLibraryProduct(into, context);
      addPatches(into.result, patches,
                 {.result = result,
                  .sourceHeight = o.sourceHeight,
                  .sourceWidth = o.sourceWidth,
                  .resultY = o.resultY,
                  .resultX = o.resultX},
                 context);
    }
  }
}

void runProducts(const CNNConvolutionGradientForWeightsAndBias& o, Context& context) {
  const std::size_t groupChannels = o.source.channels / o.groups, groupResults = o.gradient.channels / o.groups;
  const std::size_t columns = o.window.x.taps * o.window.y.taps * groupChannels;
  const std::size_t atOnce = imagesAtOnce(o.gradient.images, o.gradient.pixels(), columns);
  for (std::size_t first = 0; first < o.gradient.images; first += atOnce) {
    const std::size_t count = std::min(atOnce, o.gradient.images - first);
    const ImageView source = imageRange(o.source, first, count), gradient = imageRange(o.gradient, first, count);
    const ScratchMark mark(context);
    const MatrixView e = pixelMatrix(gradient, context);
    for (std::size_t group = 0; group < o.groups; ++group) {
      const Patches patches{.window = o.window,
                            .edgeMode = o.edgeMode,
                            .height = o.gradient.height,
                            .width = o.gradient.width,
                            .firstChannel = group * groupChannels,
                            .channels = groupChannels};
      runLibraryProduct({.left = columnsOf(e, group, groupResults),
                         .right = patchMatrix(source, patches, context),
                         .result = weightsOf(o.resultForWeights, group, groupResults, columns),
                         .transposeLeft = true,
                         .beta = o.accumulates || first > 0 ? 1.0 : 0.0},
                        context);
    }
  }
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
constexpr std::array<Candidate<Operation>, 2> kCandidates = {
    {{"products of patches", refusesProducts<Operation>, runProducts}, {"plain", acceptsAll, runPlain}}};
constexpr std::array<Candidate<CNNSubPixel>, 1> kSubPixelCandidates = {{{"plain", acceptsAll, runSubPixel}}};

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
  runOrExplain(kSubPixelCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
