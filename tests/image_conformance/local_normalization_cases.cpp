#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_local_normalization.hpp>

#include <algorithm>
#include <cmath>

namespace metalloid::image_conformance {
namespace {

constexpr double kLargest = 2;  // of a source's values

struct Settings {
  std::size_t size;
  float alpha, beta, delta;
  ImageEdgeMode edgeMode;

  void apply(auto& kernel) const {
    kernel.alpha = alpha;
    kernel.beta = beta;
    kernel.delta = delta;
  }
  /// What divides is at least delta^beta.
  double largestScale(double exponentMore = 0) const {
    return std::pow(static_cast<double>(delta), -static_cast<double>(beta) - exponentMore);
  }
  /// Roundings of T^(-beta): those of the sum of n non-negative terms, 3 more for T, times beta; 9 for the power.
  double powerRoundings(std::size_t n) const { return static_cast<double>(beta) * (static_cast<double>(n) + 3) + 9; }
};

Settings draw(ImageTrial& t, std::size_t mostSize) {
  auto& random = t.random();
  return {.size = 1 + random.below(mostSize),
          .alpha = static_cast<float>(random.uniform(0, 2)),
          .beta = t.oneOf({0.5F, 0.75F, 1.0F, 5.0F, 0.0F, 1.5F}),
          .delta = static_cast<float>(random.uniform(0.75, 2)),
          .edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::clamp})};
}

/// Of a window's sum: down the columns, and pairwise along the rows.
std::size_t sumRoundings(std::size_t size) { return 2 * size + 1; }

struct Contrast {
  float p0, pm, ps;

  void apply(auto& kernel) const {
    kernel.p0 = p0;
    kernel.pm = pm;
    kernel.ps = ps;
  }
};

Contrast drawContrast(ImageTrial& t) {
  return {.p0 = static_cast<float>(t.random().uniform(-1, 1.5)),
          .pm = static_cast<float>(t.random().uniform(-1, 1)),
          .ps = static_cast<float>(t.random().uniform(0.5, 2))};
}

// --- Spatial --------------------------------------------------------------------------------------------------------

void spatial(ImageTrial& t) {
  const auto settings = draw(t, 6);
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& y = t.result("destinationImage", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNSpatialNormalization kernel(device, settings.size, settings.size);
    settings.apply(kernel);
    kernel.edgeMode = settings.edgeMode;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, settings.powerRoundings(sumRoundings(settings.size)) + 2);
}

/// A clip rectangle, an offset that leaves the source, channel offsets.
template <class Kernel>
void encodeRegion(Kernel& kernel, CommandBuffer& commands, const Settings& settings, const Region& clip, Offset offset,
                  const Operand& x, const Operand& y) {
  settings.apply(kernel);
  kernel.edgeMode = settings.edgeMode;
  kernel.clipRect = clip;
  kernel.offset = offset;
  kernel.sourceFeatureChannelOffset = 4;
  kernel.sourceFeatureChannelMaxCount = 3;
  kernel.destinationFeatureChannelOffset = 4;
  kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
}

Region drawClip(ImageTrial& t, std::size_t w, std::size_t h) {
  return {{t.random().below(w), t.random().below(h), 0}, {1 + t.random().below(w), 1 + t.random().below(h), 1}};
}
Offset drawOffset(ImageTrial& t) {
  return {static_cast<std::ptrdiff_t>(t.random().below(7)) - 3, static_cast<std::ptrdiff_t>(t.random().below(7)) - 3,
          0};
}

void spatialRegion(ImageTrial& t) {
  const auto settings = draw(t, 5);
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(9);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& y = t.result("destinationImage", w + 2, h + 2, c + 5);
  const Region clip = drawClip(t, w, h);
  const Offset offset = drawOffset(t);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNSpatialNormalization kernel(device, settings.size, settings.size);
    encodeRegion(kernel, commands, settings, clip, offset, x, y);
  });
  t.compare(y, settings.powerRoundings(sumRoundings(settings.size)) + 2, settings.largestScale() * kLargest);
}

/// From the forward state: the gradient of a region.
template <class Forward, class Backward, class Set>
void gradientFrom(const Device& device, CommandBuffer& commands, const Settings& settings, const Set& set,
                  const Region& clip, Offset offset, const Operand& x, const Operand& g, const Operand& dx) {
  Forward forward(device, settings.size, settings.size);
  forward.edgeMode = settings.edgeMode;
  forward.clipRect = clip;
  forward.offset = offset;
  Backward backward(device, settings.size, settings.size);
  settings.apply(backward);
  set(backward);
  const StateBatch states = forward.resultStateBatch(
      {.sourceImage = x.images().front(), .destinationImage = g.images().front(), .batchSize = x.images().size()});
  backward.destinationImageDescriptor({g.images().front(), x.images().front()}, states);
  backward.encodeBatch(commands, {.sourceGradients = g.images(),
                                  .sourceImages = x.images(),
                                  .gradientStates = states,
                                  .destinationGradients = dx.images()});
}

void spatialGradient(ImageTrial& t) {
  const auto settings = draw(t, 6);
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& dx = t.result("destinationGradient", w, h, c);
  const bool isWhole = t.random().coin();
  const Region clip = isWhole ? regionNoClip : drawClip(t, w, h);
  const Offset offset = isWhole ? Offset{} : drawOffset(t);
  t.run([&](const Device& device, CommandBuffer& commands) {
    gradientFrom<CNNSpatialNormalization, CNNSpatialNormalizationGradient>(
        device, commands, settings, [](auto&) {}, clip, offset, x, g, dx);
  });
  // The scaled gradient less a sum over the window; each term has the power's roundings and a few of its own.
  const double through =
      2 * static_cast<double>(settings.alpha * settings.beta) * kLargest * kLargest * settings.largestScale(1);
  const auto n = sumRoundings(settings.size);
  t.compare(dx, settings.powerRoundings(n) + static_cast<double>(2 * n) + 9, settings.largestScale() + through);
}

// --- Local contrast -------------------------------------------------------------------------------------------------

/// Roundings of the variance: n squares of differences, each with the mean's.
std::size_t varianceRoundings(std::size_t size) { return size * size + 4; }
/// What is normalized is a difference: of |x| and |p0 * mean|, with the roundings of the mean.
double contrastMagnitude(const Settings& settings, const Contrast& contrast) {
  return std::fabs(static_cast<double>(contrast.pm)) + static_cast<double>(contrast.ps) * settings.largestScale() *
                                                           kLargest * (1 + std::fabs(static_cast<double>(contrast.p0)));
}

void contrast(ImageTrial& t) {
  const auto settings = draw(t, 6);
  const auto contrast = drawContrast(t);
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& y = t.result("destinationImage", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNLocalContrastNormalization kernel(device, settings.size, settings.size);
    settings.apply(kernel);
    contrast.apply(kernel);
    kernel.edgeMode = settings.edgeMode;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(
      y,
      settings.powerRoundings(varianceRoundings(settings.size)) + static_cast<double>(sumRoundings(settings.size)) + 6,
      contrastMagnitude(settings, contrast));
}

void contrastRegion(ImageTrial& t) {
  const auto settings = draw(t, 5);
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(9);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& y = t.result("destinationImage", w + 2, h + 2, c + 5);
  const Region clip = drawClip(t, w, h);
  const Offset offset = drawOffset(t);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNLocalContrastNormalization kernel(device, settings.size, settings.size);
    encodeRegion(kernel, commands, settings, clip, offset, x, y);
  });
  t.compare(
      y,
      settings.powerRoundings(varianceRoundings(settings.size)) + static_cast<double>(sumRoundings(settings.size)) + 6,
      contrastMagnitude(settings, {.p0 = 1, .pm = 0, .ps = 1}));
}

void contrastGradient(ImageTrial& t) {
  const auto settings = draw(t, 6);
  const auto contrast = drawContrast(t);
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& dx = t.result("destinationGradient", w, h, c);
  const bool isWhole = t.random().coin();
  const Region clip = isWhole ? regionNoClip : drawClip(t, w, h);
  const Offset offset = isWhole ? Offset{} : drawOffset(t);
  t.run([&](const Device& device, CommandBuffer& commands) {
    gradientFrom<CNNLocalContrastNormalization, CNNLocalContrastNormalizationGradient>(
        device, commands, settings, [&](auto& kernel) { contrast.apply(kernel); }, clip, offset, x, g, dx);
  });
  const double p0 = std::fabs(static_cast<double>(contrast.p0)), ps = static_cast<double>(contrast.ps);
  const double through = 2 * static_cast<double>(settings.alpha * settings.beta) * kLargest * (1 + p0) * 2 * kLargest *
                         settings.largestScale(1);
  const auto n = varianceRoundings(settings.size);
  t.compare(dx, settings.powerRoundings(n) + static_cast<double>(2 * n) + 12,
            ps * ((1 + p0) * settings.largestScale() + through));
}

// --- Cross channel --------------------------------------------------------------------------------------------------

void crossChannel(ImageTrial& t) {
  auto settings = draw(t, 9);
  if (t.random().below(4) == 0) settings.size = 1 + t.random().below(100);
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(40);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& y = t.result("destinationImage", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNCrossChannelNormalization kernel(device, settings.size);
    settings.apply(kernel);
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, settings.powerRoundings(20) + 2);  // sums by doubling: two roundings for each bit of the size
}

void crossChannelRegion(ImageTrial& t) {
  const auto settings = draw(t, 6);
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(9);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& y = t.result("destinationImage", w + 2, h + 2, c + 5);
  const Region clip = drawClip(t, w, h);
  const Offset offset = drawOffset(t);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNCrossChannelNormalization kernel(device, settings.size);
    encodeRegion(kernel, commands, settings, clip, offset, x, y);
  });
  t.compare(y, settings.powerRoundings(20) + 2);
}

void crossChannelGradient(ImageTrial& t) {
  const auto settings = draw(t, 9);
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(40);
  const auto& x = t.source("sourceImage", w, h, c, {-kLargest, kLargest});
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& dx = t.result("destinationGradient", w, h, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNCrossChannelNormalizationGradient kernel(device, settings.size);
    settings.apply(kernel);
    kernel.encodeBatch(
        commands, {.sourceGradients = g.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  const double through =
      2 * static_cast<double>(settings.alpha * settings.beta) * kLargest * kLargest * settings.largestScale(1);
  t.compare(dx, settings.powerRoundings(20) + 20 + 9, settings.largestScale() + through);
}

}  // namespace

std::vector<Case> localNormalizationCases() {
  using enum ImageFeatureChannelFormat;
  return {{"SpatialNormalization", spatial, {float32, float16, unorm8, unorm16}},
          {"SpatialNormalizationRegion", spatialRegion},
          {"SpatialNormalizationGradient", spatialGradient},
          {"LocalContrastNormalization", contrast, {float32, float16, unorm8, unorm16}},
          {"LocalContrastNormalizationRegion", contrastRegion},
          {"LocalContrastNormalizationGradient", contrastGradient},
          {"CrossChannelNormalization", crossChannel, {float32, float16, unorm8, unorm16}},
          {"CrossChannelNormalizationRegion", crossChannelRegion},
          {"CrossChannelNormalizationGradient", crossChannelGradient}};
}

}  // namespace metalloid::image_conformance
