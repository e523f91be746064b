#include "image_conformance/image_trial.hpp"

#include <metalloid/nn_concatenation.hpp>
#include <metalloid/nn_reshape.hpp>
#include <metalloid/nn_slice.hpp>

#include <vector>

namespace metalloid::image_conformance {
namespace {

using enum ImageFeatureChannelFormat;

/// w x h x (a * b) becomes (w * a) x b x h, between formats.
void reshape(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), a = t.size(5), b = t.size(5);
  const auto& x = t.source("sourceImage", w, h, a * b);
  const auto& y = t.result("destinationImage", t.oneOf({float32, float16}), w * a, b, h);
  const auto& dx = t.result("destinationGradient", w, h, a * b);
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNReshape kernel(device);
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
    NNReshapeGradient gradient(device);
    gradient.encodeBatch(
        commands, {.sourceGradients = y.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  t.compare(y, 0);
  t.compare(dx, 0x1p13);  // of 11 bits of float16, the other of two roundings
}

/// Out of the middle, between formats.
void slice(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(9);
  const auto& x = t.source("sourceImage", w + 2, h + 3, c + 8);
  const auto& y = t.result("destinationImage", t.oneOf({float32, float16, unorm8, unorm16}), w + 1, h + 1, c + 4);
  const Offset offset{static_cast<std::ptrdiff_t>(t.random().below(3)),
                      static_cast<std::ptrdiff_t>(t.random().below(4)), 0};
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNSlice kernel(device);
    kernel.offset = offset;
    kernel.clipRect = {{1, 1, 0}, {w, h, 1}};
    kernel.sourceFeatureChannelOffset = 4;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, 2);
}

/// Sources of any number of channels, and the gradient of one of them.
void concatenation(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9);
  std::vector<const Operand*> sources;
  std::size_t channels = 4;
  const std::size_t count = 1 + t.random().below(4), own = t.random().below(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t c = t.size(9);
    sources.push_back(&t.source("sourceImage", w, h, c));
    channels = (channels + 3) / 4 * 4 + c;
  }
  const auto& y = t.result("destinationImage", w, h, channels);
  const auto& dx = t.result("destinationGradient", w, h, sources[own]->images().front().featureChannels());
  t.run([&](const Device& device, CommandBuffer& commands) {
    NNConcatenation kernel(device, count);
    kernel.destinationFeatureChannelOffset = 4;
    StateBatch states;
    NNConcatenation::BatchArguments arguments{
        .sourceImages = {}, .destinationStates = &states, .destinationImages = y.images()};
    for (const Operand* const source : sources) arguments.sourceImages.push_back(source->images());
    kernel.encodeBatch(commands, arguments);
    NNConcatenationGradient gradient(device, own);
    gradient.destinationImageDescriptor({y.images().front(), sources[own]->images().front()}, states);
    gradient.encodeBatch(commands, {.sourceGradients = y.images(),
                                    .sourceImages = sources[own]->images(),
                                    .gradientStates = states,
                                    .destinationGradients = dx.images()});
  });
  t.compare(y, 0);
  t.compare(dx, 0);
}

}  // namespace

std::vector<Case> shapeCases() {
  return {{"Reshape", reshape, {float32, float16}},
          {"Slice", slice, {float32, float16, unorm8, unorm16}},
          {"Concatenation", concatenation, {float32, float16, unorm8}}};
}

}  // namespace metalloid::image_conformance
