#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_softmax.hpp>

namespace metalloid::image_conformance {
namespace {

/// An exponential and a division, and a sum over the channels; arguments up to 16 lose as many roundings.
double roundings(std::size_t channels) { return 24 + static_cast<double>(channels); }

template <class K>
void value(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(40);
  const auto& x = t.source("sourceImage", w, h, c, {-8, 8});
  const auto& y = t.result("destinationImage", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    K(device).encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, roundings(c));
}

/// Some channels of a rectangle, from a source of one type to a result of another.
template <class K>
void region(ImageTrial& t) {
  using enum ImageFeatureChannelFormat;
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(20);
  const auto& x = t.source("sourceImage", w, h, c, {-8, 8});
  const auto& y = t.result("destinationImage", t.oneOf({float32, float16, unorm16}), w + 2, h + 2, c + 4);
  const Region clip{{t.random().below(w), t.random().below(h), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  const Offset offset{static_cast<std::ptrdiff_t>(t.random().below(5)) - 2,
                      static_cast<std::ptrdiff_t>(t.random().below(5)) - 2, 0};
  t.run([&](const Device& device, CommandBuffer& commands) {
    K kernel(device);
    kernel.clipRect = clip;
    kernel.offset = offset;
    kernel.sourceFeatureChannelOffset = 4;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, roundings(c));
}

template <class K>
void gradient(ImageTrial& t, Range forward) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(40);
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& y = t.source("sourceImage", w, h, c, forward);
  const auto& dx = t.result("destinationGradient", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    K(device).encodeBatch(
        commands, {.sourceGradients = g.images(), .sourceImages = y.images(), .destinationGradients = dx.images()});
  });
  t.compare(dx, roundings(c), static_cast<double>(c));
}

}  // namespace

std::vector<Case> softMaxCases() {
  using enum ImageFeatureChannelFormat;
  return {{"SoftMax", value<CNNSoftMax>, {float32, float16, unorm8, unorm16}},
          {"LogSoftMax", value<CNNLogSoftMax>},
          {"SoftMaxRegion", region<CNNSoftMax>},
          {"LogSoftMaxRegion", region<CNNLogSoftMax>},
          {"SoftMaxGradient",
           [](ImageTrial& t) {
             gradient<CNNSoftMaxGradient>(t, {0, 1});
           }},
          {"LogSoftMaxGradient", [](ImageTrial& t) {
             gradient<CNNLogSoftMaxGradient>(t, {-4, 0});
           }}};
}

}  // namespace metalloid::image_conformance
