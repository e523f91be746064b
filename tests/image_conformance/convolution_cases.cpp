#include "image_conformance/image_trial.hpp"
#include "support/convolution.hpp"

#include <metalloid/cnn_convolution.hpp>
#include <metalloid/cnn_convolution_transpose.hpp>
#include <metalloid/cnn_fully_connected.hpp>
#include <metalloid/matrix_copy.hpp>

#include <algorithm>
#include <memory>

namespace metalloid::image_conformance {
namespace {

using testing::weightCount;

// |w| <= 1, |x| <= 2, |E| <= 1: no partial sum of n terms is larger than 2 n, and each term brings one rounding.
constexpr double kLargest = 2;
constexpr double kNeuronRoundings = 16;

std::vector<float> draw(ImageTrial& t, std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(t.random().uniform(-1, 1));
  return values;
}

/// A random layer and its weights.
struct Layer {
  CNNConvolutionDescriptor shape;
  std::shared_ptr<testing::ConvolutionWeights> weights;
  Offset offset;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;

  std::size_t taps() const { return shape.kernelWidth * shape.kernelHeight; }
  std::size_t groupChannels() const { return shape.isDepthWise ? 1 : shape.inputFeatureChannels / shape.groups; }
  std::size_t groupResults() const {
    return shape.outputFeatureChannels / (shape.isDepthWise ? shape.inputFeatureChannels : shape.groups);
  }
  /// Terms of an element of the forward result.
  double terms() const { return static_cast<double>(taps() * groupChannels() + 1); }
};

enum class Kind { any, oneByOne, threeByThree, depthWise, manyChannels };

Layer drawLayer(ImageTrial& t, Kind kind = Kind::any) {
  auto& random = t.random();
  Layer layer;
  auto& d = layer.shape;
  d = {.kernelWidth = 1 + random.below(4),
       .kernelHeight = 1 + random.below(4),
       .strideInPixelsX = 1 + random.below(3),
       .strideInPixelsY = 1 + random.below(3),
       .dilationRateX = 1 + random.below(2),
       .dilationRateY = 1 + random.below(2)};
  if (kind == Kind::oneByOne) d.kernelWidth = d.kernelHeight = 1;
  if (kind == Kind::threeByThree) {
    d.kernelWidth = d.kernelHeight = 3;
    d.strideInPixelsX = d.strideInPixelsY = d.dilationRateX = d.dilationRateY = 1;
  }
  if (kind == Kind::depthWise) {
    d.isDepthWise = true;
    d.inputFeatureChannels = t.size(13);
    d.outputFeatureChannels = d.inputFeatureChannels * (random.below(4) == 0 ? 2 : 1);
  } else if (kind == Kind::manyChannels) {
    d.inputFeatureChannels =
        t.oneOf({std::size_t{32}, std::size_t{64}, std::size_t{64}, std::size_t{192}, std::size_t{40}});
    d.outputFeatureChannels = t.oneOf({std::size_t{32}, std::size_t{64}, std::size_t{96}, std::size_t{40}});
  } else {
    d.groups = kind == Kind::any ? t.oneOf({std::size_t{1}, std::size_t{1}, std::size_t{2}, std::size_t{3}}) : 1;
    d.inputFeatureChannels = d.groups * t.size(9);
    d.outputFeatureChannels = d.groups * t.size(9);
  }
  layer.weights = testing::weightsOf(d, draw(t, weightCount(d)),
                                     random.coin() ? draw(t, d.outputFeatureChannels) : std::vector<float>());
  layer.offset = {static_cast<std::ptrdiff_t>(random.below(6)) - 2, static_cast<std::ptrdiff_t>(random.below(6)) - 2,
                  0};
  layer.edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::zero, ImageEdgeMode::clamp});
  return layer;
}

void drawNeuron(ImageTrial& t, Layer& layer) {
  using enum CNNNeuronType;
  auto& neuron = layer.weights->shape.fusedNeuronDescriptor;
  const auto type = t.oneOf({none, reLU, sigmoid, tanH, pReLU});
  neuron = type == pReLU ? NNNeuronDescriptor::cnnNeuronPReLUDescriptor(draw(t, layer.shape.outputFeatureChannels))
                         : NNNeuronDescriptor::cnnNeuronDescriptor(type);
}

void forward(ImageTrial& t, Kind kind) {
  Layer layer = drawLayer(t, kind);
  drawNeuron(t, layer);
  const auto& d = layer.shape;
  const auto& x = t.source("sourceImage", t.size(9), t.size(9), d.inputFeatureChannels);
  const auto& y = t.result("destinationImage", t.size(7), t.size(7), d.outputFeatureChannels);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNConvolution kernel(device, layer.weights);
    kernel.offset = layer.offset;
    kernel.edgeMode = layer.edgeMode;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, layer.terms() + kNeuronRoundings, kLargest * layer.terms());
}

void convolution(ImageTrial& t) { forward(t, Kind::any); }
void convolution1x1(ImageTrial& t) { forward(t, Kind::oneByOne); }
void convolution3x3(ImageTrial& t) { forward(t, Kind::threeByThree); }
void convolutionOfManyChannels(ImageTrial& t) { forward(t, Kind::manyChannels); }
void convolutionDepthWise(ImageTrial& t) { forward(t, Kind::depthWise); }

/// A clip rectangle and channel offsets: nothing else may be written.
void convolutionRegion(ImageTrial& t) {
  const Layer layer = drawLayer(t);
  const auto& d = layer.shape;
  const std::size_t width = 2 + t.size(7), height = 2 + t.size(7);
  const auto& x = t.source("sourceImage", t.size(9), t.size(9), d.inputFeatureChannels + 7);
  const auto& y = t.result("destinationImage", width, height, d.outputFeatureChannels + 6);
  const Region clip{{t.random().below(width), t.random().below(height), 0},
                    {1 + t.random().below(width), 1 + t.random().below(height), 1}};
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNConvolution kernel(device, layer.weights);
    kernel.offset = layer.offset;
    kernel.edgeMode = layer.edgeMode;
    kernel.clipRect = clip;
    kernel.sourceFeatureChannelOffset = 4;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, layer.terms(), kLargest * layer.terms());
}

void subPixel(ImageTrial& t) {
  Layer layer = drawLayer(t, Kind::oneByOne);
  const std::size_t r = 1 + t.random().below(3), channels = t.size(5);
  auto& d = layer.shape;
  d.outputFeatureChannels = channels * r * r;
  d.subPixelScaleFactor = r;
  layer.weights = testing::weightsOf(d, draw(t, weightCount(d)), draw(t, d.outputFeatureChannels));
  const auto& x = t.source("sourceImage", t.size(6), t.size(6), d.inputFeatureChannels);
  const auto& y = t.result("destinationImage", t.size(9), t.size(9), channels);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNConvolution kernel(device, layer.weights);
    kernel.offset = layer.offset;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, layer.terms(), kLargest * layer.terms());
}

/// Brings the gradients of a state to where the trial can compare them.
void take(CommandBuffer& commands, const Vector& from, const Operand& to) {
  const std::size_t count = from.length();
  const auto matrix = [&](const Vector& v) { return Matrix(v.data(), v.offset(), {.rows = 1, .columns = count}); };
  MatrixCopy(from.device(), {.copyRows = 1, .copyColumns = count})
      .encode(commands, {.copyDescriptor = MatrixCopyDescriptor(
                             {.sourceMatrix = matrix(from), .destinationMatrix = matrix(to.vector())})});
}

/// Gradients of a forward kernel that `configure` has set up, through its state; the weights' twice, to accumulate.
template <class Forward, class Gradient, class Configure>
void gradients(ImageTrial& t, const Layer& layer, std::size_t resultWidth, std::size_t resultHeight,
               std::size_t sourceWidth, std::size_t sourceHeight, const Configure& configure) {
  const auto& d = layer.shape;
  const auto& e = t.source("sourceGradient", resultWidth, resultHeight, d.outputFeatureChannels, {-1, 1});
  const auto& x = t.source("sourceImage", sourceWidth, sourceHeight, d.inputFeatureChannels);
  const auto& dx = t.result("destinationGradient", sourceWidth, sourceHeight, d.inputFeatureChannels);
  const auto& dw = t.resultVector("gradientForWeights", weightCount(d));
  const auto& db = t.resultVector("gradientForBiases", d.outputFeatureChannels);
  const bool twice = t.random().coin();
  t.run([&](const Device& device, CommandBuffer& commands) {
    Forward forwardKernel(device, layer.weights);
    configure(forwardKernel);
    const Image destination(device, {.channelFormat = t.variant().format,
                                     .width = resultWidth,
                                     .height = resultHeight,
                                     .featureChannels = d.outputFeatureChannels});
    const auto states = forwardKernel.resultStateBatch(
        {.sourceImage = x.images().front(), .destinationImage = destination, .batchSize = t.images()});
    Gradient kernel(device, forwardKernel.sharedWeights());
    for (int n = 0; n < (twice ? 2 : 1); ++n) {
      kernel.encodeBatch(commands, {.sourceGradients = e.images(),
                                    .sourceImages = x.images(),
                                    .gradientStates = states,
                                    .destinationGradients = dx.images()});
    }
    const CNNConvolutionGradientState state(states.front());
    take(commands, state.gradientForWeights(), dw);
    take(commands, state.gradientForBiases(), db);
  });
  // In clamp mode all that a window reads outside goes to the pixels of the edge.
  const auto pixels = static_cast<double>(resultWidth * resultHeight);
  const double reaching = static_cast<double>(layer.taps() * layer.groupResults());
  const double dataTerms = reaching * (layer.edgeMode == ImageEdgeMode::clamp ? pixels : 1);
  t.compare(dx, dataTerms, dataTerms);
  const double sumTerms = (twice ? 2 : 1) * static_cast<double>(t.images()) * pixels;
  t.compare(dw, sumTerms, kLargest * sumTerms);
  t.compare(db, sumTerms, sumTerms);
}

void convolutionGradients(ImageTrial& t, Kind kind) {
  const Layer layer = drawLayer(t, kind);
  gradients<CNNConvolution, CNNConvolutionGradient>(t, layer, t.size(7), t.size(7), t.size(9), t.size(9),
                                                    [&](CNNConvolution& kernel) {
                                                      kernel.offset = layer.offset;
                                                      kernel.edgeMode = layer.edgeMode;
                                                    });
}

void convolutionGradient(ImageTrial& t) { convolutionGradients(t, Kind::any); }
void convolutionGradient1x1(ImageTrial& t) { convolutionGradients(t, Kind::oneByOne); }
void convolutionGradient3x3(ImageTrial& t) { convolutionGradients(t, Kind::threeByThree); }
void convolutionGradientOfManyChannels(ImageTrial& t) { convolutionGradients(t, Kind::manyChannels); }
void convolutionGradientDepthWise(ImageTrial& t) { convolutionGradients(t, Kind::depthWise); }

/// The gradient of a part of the source, into the middle of a larger destination.
void convolutionGradientRegion(ImageTrial& t) {
  const Layer layer = drawLayer(t);
  const auto& d = layer.shape;
  const std::size_t width = 1 + t.size(7), height = 1 + t.size(7);
  const auto& e = t.source("sourceGradient", t.size(7), t.size(7), d.outputFeatureChannels + 5, {-1, 1});
  const auto& x = t.source("sourceImage", width, height, d.inputFeatureChannels);
  const auto& dx = t.result("destinationGradient", width + 2, height + 2, d.inputFeatureChannels + 6);
  const Region clip{{2, 1, 0}, {1 + t.random().below(width), 1 + t.random().below(height), 1}};
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNConvolutionGradient kernel(device, layer.weights);
    kernel.gradientOption = CNNConvolutionGradientOption::gradientWithData;
    kernel.clipRect = clip;
    kernel.kernelOffsetX = layer.offset.x;
    kernel.kernelOffsetY = layer.offset.y;
    kernel.primaryOffset = {1, -1, 0};
    kernel.primarySourceFeatureChannelOffset = 4;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(
        commands, {.sourceGradients = e.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  const double terms = static_cast<double>(layer.taps() * layer.groupResults());
  t.compare(dx, terms, terms);
}

/// Where the transposed kernel's window begins.
void place(CNNConvolutionTranspose& kernel, const Layer& layer) {
  kernel.offset = {layer.offset.y, 0, 0};
  kernel.kernelOffsetX = layer.offset.x;
  kernel.kernelOffsetY = layer.offset.y;
}

void transpose(ImageTrial& t) {
  Layer layer = drawLayer(t, t.random().coin() ? Kind::any : Kind::threeByThree);
  drawNeuron(t, layer);
  const auto& d = layer.shape;
  const auto& x = t.source("sourceImage", t.size(6), t.size(6), d.inputFeatureChannels);
  const auto& y = t.result("destinationImage", t.size(11), t.size(11), d.outputFeatureChannels);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNConvolutionTranspose kernel(device, layer.weights);
    place(kernel, layer);
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, layer.terms() + kNeuronRoundings, kLargest * layer.terms());
}

void transposeGradient(ImageTrial& t) {
  Layer layer = drawLayer(t, t.random().coin() ? Kind::any : Kind::depthWise);
  layer.edgeMode = ImageEdgeMode::zero;
  gradients<CNNConvolutionTranspose, CNNConvolutionTransposeGradient>(
      t, layer, t.size(9), t.size(9), t.size(6), t.size(6),
      [&](CNNConvolutionTranspose& kernel) { place(kernel, layer); });
}

Layer drawFullyConnected(ImageTrial& t) {
  Layer layer = drawLayer(t, Kind::threeByThree);
  auto& d = layer.shape;
  d.kernelWidth = t.size(5);
  d.kernelHeight = t.size(5);
  layer.edgeMode = ImageEdgeMode::zero;
  layer.weights = testing::weightsOf(d, draw(t, weightCount(d)), draw(t, d.outputFeatureChannels));
  return layer;
}

void fullyConnected(ImageTrial& t) {
  Layer layer = drawFullyConnected(t);
  drawNeuron(t, layer);
  const auto& d = layer.shape;
  const auto& x = t.source("sourceImage", d.kernelWidth, d.kernelHeight, d.inputFeatureChannels);
  const auto& y = t.result("destinationImage", 1, 1, d.outputFeatureChannels);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNFullyConnected kernel(device, layer.weights);
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, layer.terms() + kNeuronRoundings, kLargest * layer.terms());
}

void fullyConnectedGradient(ImageTrial& t) {
  const Layer layer = drawFullyConnected(t);
  gradients<CNNFullyConnected, CNNFullyConnectedGradient>(t, layer, 1, 1, layer.shape.kernelWidth,
                                                          layer.shape.kernelHeight, [](CNNFullyConnected&) {});
}

}  // namespace

std::vector<Case> convolutionCases() {
  using enum ImageFeatureChannelFormat;
  return {{"Convolution", convolution, {float32, float16, unorm8, unorm16}},
          {"Convolution1x1", convolution1x1},
          {"Convolution3x3", convolution3x3},
          {"ConvolutionOfManyChannels", convolutionOfManyChannels},
          {"ConvolutionDepthWise", convolutionDepthWise},
          {"ConvolutionRegion", convolutionRegion},
          {"ConvolutionSubPixel", subPixel, {float32, float16, unorm8, unorm16}},
          {"ConvolutionGradient", convolutionGradient},
          {"ConvolutionGradient1x1", convolutionGradient1x1},
          {"ConvolutionGradient3x3", convolutionGradient3x3},
          {"ConvolutionGradientOfManyChannels", convolutionGradientOfManyChannels},
          {"ConvolutionGradientDepthWise", convolutionGradientDepthWise},
          {"ConvolutionGradientRegion", convolutionGradientRegion},
          {"ConvolutionTranspose", transpose},
          {"ConvolutionTransposeGradient", transposeGradient},
          {"FullyConnected", fullyConnected},
          {"FullyConnectedGradient", fullyConnectedGradient}};
}

}  // namespace metalloid::image_conformance
