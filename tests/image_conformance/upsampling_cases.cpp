#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_upsampling.hpp>

namespace metalloid::image_conformance {
namespace {

struct Factors {
  std::size_t x, y;
};
Factors draw(ImageTrial& t) { return {1 + t.random().below(4), 1 + t.random().below(4)}; }

/// Four products with weights of one rounding each.
constexpr double kRoundings = 8;

template <class K>
K make(const Device& device, Factors factors, bool alignCorners) {
  if constexpr (std::is_same_v<K, CNNUpsamplingBilinear>) {
    return K(device,
             {.integerScaleFactorX = factors.x, .integerScaleFactorY = factors.y, .alignCorners = alignCorners});
  } else {
    return K(device, {.integerScaleFactorX = factors.x, .integerScaleFactorY = factors.y});
  }
}

template <class K>
void upsampling(ImageTrial& t) {
  const std::size_t w = t.size(6), h = t.size(6), c = t.size(21);
  const Factors factors = draw(t);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", w * factors.x, h * factors.y, c);
  const bool alignCorners = t.random().coin();
  t.run([&](const Device& device, CommandBuffer& commands) {
    make<K>(device, factors, alignCorners)
        .encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings);
}

/// A part of the enlarged image, or more than there is of it.
template <class K>
void upsamplingRegion(ImageTrial& t) {
  const std::size_t w = t.size(6), h = t.size(6), c = 4 + t.size(9);
  const Factors factors = draw(t);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", w + 3, h + 3, c + 5);
  const bool alignCorners = t.random().coin();
  const Region clip{{t.random().below(w), t.random().below(h), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  const Offset offset{static_cast<std::ptrdiff_t>(t.random().below(w + 2)) - 1,
                      static_cast<std::ptrdiff_t>(t.random().below(h + 2)) - 1, 0};
  t.run([&](const Device& device, CommandBuffer& commands) {
    K kernel = make<K>(device, factors, alignCorners);
    kernel.clipRect = clip;
    kernel.offset = offset;
    kernel.sourceFeatureChannelOffset = 4;
    kernel.sourceFeatureChannelMaxCount = 3;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings);
}

template <class K>
void upsamplingGradient(ImageTrial& t) {
  const std::size_t w = t.size(6), h = t.size(6), c = t.size(21);
  const Factors factors = draw(t);
  const auto& g = t.source("sourceGradient", w * factors.x, h * factors.y, c, {-1, 1});
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& dx = t.result("destinationGradient", w + t.random().below(2), h + t.random().below(2), c);
  const bool alignCorners = t.random().coin();
  const Offset primaryOffset{static_cast<std::ptrdiff_t>(t.random().below(3)) - 1, 0, 0};
  const Offset secondaryOffset{0, static_cast<std::ptrdiff_t>(t.random().below(3)) - 1, 0};
  const Size part{t.oneOf({all, std::size_t{3}}), t.oneOf({all, std::size_t{3}}), all};
  t.run([&](const Device& device, CommandBuffer& commands) {
    K kernel = make<K>(device, factors, alignCorners);
    if constexpr (std::is_same_v<K, CNNUpsamplingBilinearGradient>) kernel.alignCorners = alignCorners;
    kernel.primaryOffset = primaryOffset;
    kernel.secondaryOffset = secondaryOffset;
    kernel.sourceSize = part;
    kernel.encodeBatch(
        commands, {.sourceGradients = g.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  // Along one axis a pixel at the edge gathers at most 16 gradients with weights of at most 11 together: 256 terms of
  // at most 1, in 16 groups of 16.
  t.compare(dx, 40, 121);
}

}  // namespace

std::vector<Case> upsamplingCases() {
  using enum ImageFeatureChannelFormat;
  return {{"UpsamplingNearest", upsampling<CNNUpsamplingNearest>, {float32, float16, unorm8, unorm16}},
          {"UpsamplingBilinear", upsampling<CNNUpsamplingBilinear>, {float32, float16, unorm8, unorm16}},
          {"UpsamplingNearestRegion", upsamplingRegion<CNNUpsamplingNearest>},
          {"UpsamplingBilinearRegion", upsamplingRegion<CNNUpsamplingBilinear>},
          {"UpsamplingNearestGradient", upsamplingGradient<CNNUpsamplingNearestGradient>},
          {"UpsamplingBilinearGradient", upsamplingGradient<CNNUpsamplingBilinearGradient>}};
}

}  // namespace metalloid::image_conformance
