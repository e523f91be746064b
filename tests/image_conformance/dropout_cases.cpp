#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_dropout.hpp>

namespace metalloid::image_conformance {
namespace {

constexpr double kRoundings = 3;  // the reciprocal, the product

CNNDropoutArguments draw(ImageTrial& t) {
  return {.keepProbability = t.oneOf({0.5F, 0.25F, 0.9F, 0.01F}),
          .seed = t.random().bits(),
          .maskStrideInPixels = {t.random().below(4) ? 1U : 0U, t.random().below(4) ? 1U : 0U,
                                 t.random().below(4) ? 1U : 0U}};
}

/// The same elements must be dropped on every device, whatever the layout and the number of threads; and the gradient
/// must drop the same. With offsets and channels of its own.
void dropout(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(13);
  const bool isWhole = t.random().coin();
  const auto& x = t.source("sourceImage", w, h, c, {-2, 2});
  const auto& g = t.source("sourceGradient", w, h, c, {-2, 2});
  const auto& y = t.result("destinationImage", w, h, c);
  const auto& dx = t.result("destinationGradient", w, h, c);
  const CNNDropoutArguments arguments = draw(t);
  const std::uint64_t first = t.random().below(1000);
  const Offset offset{static_cast<std::ptrdiff_t>(t.random().below(5)) - 2,
                      static_cast<std::ptrdiff_t>(t.random().below(5)) - 2, 0};
  const Region clip{{t.random().below(w), t.random().below(h), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNDropout forward(device, arguments);
    forward.nextImage = first;
    if (!isWhole) {
      forward.offset = offset;
      forward.clipRect = clip;
      forward.sourceFeatureChannelOffset = 4;
    }
    StateBatch states;
    forward.encodeBatch(commands,
                        {.sourceImages = x.images(), .destinationStates = &states, .destinationImages = y.images()});
    CNNDropoutGradient backward(device, arguments);
    backward.destinationImageDescriptor({g.images().front(), x.images().front()}, states);
    backward.encodeBatch(commands, {.sourceGradients = g.images(),
                                    .sourceImages = x.images(),
                                    .gradientStates = states,
                                    .destinationGradients = dx.images()});
  });
  t.compare(y, kRoundings);
  t.compare(dx, kRoundings);
}

/// Without a state nobody keeps the mask.
void dropoutAlone(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& x = t.source("sourceImage", w, h, c, {-2, 2});
  const auto& y = t.result("destinationImage", w, h, c);
  const CNNDropoutArguments arguments = draw(t);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNDropout(device, arguments).encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings);
}

}  // namespace

std::vector<Case> dropoutCases() {
  using enum ImageFeatureChannelFormat;
  return {{"Dropout", dropout, {float32, float16, unorm8, unorm16}}, {"DropoutAlone", dropoutAlone}};
}

}  // namespace metalloid::image_conformance
