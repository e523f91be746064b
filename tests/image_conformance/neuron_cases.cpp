#include "conformance/neurons.hpp"
#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_neuron.hpp>

namespace metalloid::image_conformance {
namespace {

NNNeuronDescriptor draw(ImageTrial& t, std::size_t channels) {
  if (t.random().below(5) == 0) {
    std::vector<float> slopes(channels);
    for (float& slope : slopes) slope = static_cast<float>(t.random().uniform(-0.5, 1.5));
    return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(slopes);
  }
  const auto example = conformance::someNeuron(t.random(), false, false);
  return NNNeuronDescriptor::cnnNeuronDescriptor(example.type, static_cast<float>(example.a),
                                                 static_cast<float>(example.b), static_cast<float>(example.c));
}

constexpr double kRoundings = 16;  // of a neuron's value, relative to the largest result

void neuron(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& x = t.source("sourceImage", w, h, c, {-3, 3});
  const auto& y = t.result("destinationImage", w, h, c);
  const auto descriptor = draw(t, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNNeuron kernel(device, descriptor);
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings);
}

/// A clip rectangle, an offset that leaves the source, and channel offsets: nothing else may be written.
void neuronRegion(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(9);
  const auto& x = t.source("sourceImage", w, h, c, {-3, 3});
  const auto& y = t.result("destinationImage", w + 2, h + 2, c + 5);
  const auto descriptor = draw(t, c);
  const Region clip{{t.random().below(w), t.random().below(h), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  const Offset offset{static_cast<std::ptrdiff_t>(t.random().below(5)) - 2,
                      static_cast<std::ptrdiff_t>(t.random().below(5)) - 2, 0};
  const auto edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::clamp});
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNNeuron kernel(device, descriptor);
    kernel.clipRect = clip;
    kernel.offset = offset;
    kernel.edgeMode = edgeMode;
    kernel.sourceFeatureChannelOffset = 4;
    kernel.sourceFeatureChannelMaxCount = 3;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings);
}

void neuronGradient(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  // Odd multiples of 2^-7, so that none falls on a knot, where the rounding of a*x + b would decide.
  const auto& x = t.source("sourceImage", t.variant().format, w, h, c,
                           [&] { return (2 * (static_cast<double>(t.random().below(384)) - 192) + 1) * 0x1p-7; });
  const auto& dx = t.result("destinationGradient", w, h, c);
  const auto descriptor = draw(t, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNNeuronGradient kernel(device, descriptor);
    kernel.encodeBatch(
        commands, {.sourceGradients = g.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  t.compare(dx, kRoundings);
}

}  // namespace

std::vector<Case> neuronCases() {
  using enum ImageFeatureChannelFormat;
  return {{"Neuron", neuron, {float32, float16, unorm8, unorm16}},
          {"NeuronRegion", neuronRegion},
          {"NeuronGradient", neuronGradient}};
}

}  // namespace metalloid::image_conformance
