#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_pooling.hpp>

namespace metalloid::image_conformance {
namespace {

/// A window, and where it stands.
struct Settings {
  CNNDilatedPoolingDescriptor window;
  Offset offset;
  ImageEdgeMode edgeMode;
  std::size_t zeroPadSizeX = 0;
  std::size_t zeroPadSizeY = 0;
};

std::ptrdiff_t around(ImageTrial& t, std::size_t range) {
  return static_cast<std::ptrdiff_t>(t.random().below(2 * range + 1)) - static_cast<std::ptrdiff_t>(range);
}

Settings draw(ImageTrial& t, std::size_t mostDilation) {
  const auto upTo = [&](std::size_t most) { return 1 + t.random().below(most); };
  return {.window = {.kernelWidth = upTo(5),
                     .kernelHeight = upTo(5),
                     .dilationRateX = upTo(mostDilation),
                     .dilationRateY = upTo(mostDilation),
                     .strideInPixelsX = upTo(3),
                     .strideInPixelsY = upTo(3)},
          .offset = {around(t, 4), around(t, 4), 0},
          .edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::clamp}),
          .zeroPadSizeX = t.random().below(3),
          .zeroPadSizeY = t.random().below(3)};
}

template <class K>
K make(const Device& device, const Settings& settings) {
  const auto& w = settings.window;
  if constexpr (std::is_same_v<typename K::Descriptor, CNNDilatedPoolingDescriptor>) {
    return K(device, w);
  } else {
    return K(device, {.kernelWidth = w.kernelWidth,
                      .kernelHeight = w.kernelHeight,
                      .strideInPixelsX = w.strideInPixelsX,
                      .strideInPixelsY = w.strideInPixelsY});
  }
}

template <class K>
K forwardKernel(const Device& device, const Settings& settings) {
  K kernel = make<K>(device, settings);
  kernel.offset = settings.offset;
  kernel.edgeMode = settings.edgeMode;
  if constexpr (std::is_same_v<K, CNNPoolingAverage>) {
    kernel.zeroPadSizeX = settings.zeroPadSizeX;
    kernel.zeroPadSizeY = settings.zeroPadSizeY;
  }
  return kernel;
}

template <class K>
K gradientKernel(const Device& device, const Settings& settings) {
  K kernel = make<K>(device, settings);
  kernel.secondaryOffset = settings.offset;
  kernel.secondaryEdgeMode = settings.edgeMode;
  if constexpr (std::is_same_v<K, CNNPoolingAverageGradient>) {
    kernel.zeroPadSizeX = settings.zeroPadSizeX;
    kernel.zeroPadSizeY = settings.zeroPadSizeY;
  }
  return kernel;
}

template <class K>
constexpr std::size_t kMostDilation = std::is_same_v<typename K::Descriptor, CNNDilatedPoolingDescriptor> ? 3 : 1;

/// A sum of 25 terms, divided or its root taken, each with its rounding; the largest is exact.
template <class K>
constexpr double kRoundings = std::is_same_v<K, CNNPoolingAverage> || std::is_same_v<K, CNNPoolingL2Norm> ? 28 : 0;

template <class K>
void pooling(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(21);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", t.size(9), t.size(9), c);
  const Settings settings = draw(t, kMostDilation<K>);
  t.run([&](const Device& device, CommandBuffer& commands) {
    forwardKernel<K>(device, settings)
        .encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings<K>, 4);
}

/// Windows of more pixels than are read at once, up to all of the image.
template <class K>
void poolingWide(ImageTrial& t) {
  const std::size_t w = 5 + t.random().below(7), h = 5 + t.random().below(7), c = t.size(200);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", 2, 1, c);
  Settings settings = draw(t, 1);
  settings.window.kernelWidth = w - t.random().below(3);
  settings.window.kernelHeight = h - t.random().below(3);
  settings.offset = {static_cast<std::ptrdiff_t>(w / 2), static_cast<std::ptrdiff_t>(h / 2), 0};
  t.run([&](const Device& device, CommandBuffer& commands) {
    forwardKernel<K>(device, settings)
        .encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, std::is_same_v<K, CNNPoolingMax> ? 0 : 132, 22);  // 121 terms of at most 4, summed up in groups
}

/// Clip rectangle and channels: nothing else may be written.
void poolingRegion(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = 4 + t.size(9);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", w + 2, h + 2, c + 5);
  const Settings settings = draw(t, 1);
  const Region clip{{t.random().below(w), t.random().below(h), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  t.run([&](const Device& device, CommandBuffer& commands) {
    auto kernel = forwardKernel<CNNPoolingMax>(device, settings);
    kernel.clipRect = clip;
    kernel.sourceFeatureChannelOffset = 4;
    kernel.sourceFeatureChannelMaxCount = 3;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, 0);
}

/// Many equal elements, so that the order decides.
double coarse(ImageTrial& t) { return static_cast<double>(t.random().below(9)) / 4 - 1; }

template <class K>
void poolingGradient(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(21);
  const Settings settings = draw(t, kMostDilation<K>);
  const std::size_t gw = 1 + t.random().below(w / settings.window.strideInPixelsX + 2),
                    gh = 1 + t.random().below(h / settings.window.strideInPixelsY + 2);
  const auto& g = t.source("sourceGradient", t.variant().format, gw, gh, c, [&] { return coarse(t); });
  const auto& x = t.source("sourceImage", t.variant().format, w, h, c, [&] { return coarse(t); });
  const auto& dx = t.result("destinationGradient", w + t.random().below(2), h + t.random().below(2), c);
  const Offset primaryOffset{around(t, 2), around(t, 2), 0};
  const Size part{t.oneOf({all, std::size_t{2}}), t.oneOf({all, std::size_t{2}}), all};
  t.run([&](const Device& device, CommandBuffer& commands) {
    auto kernel = gradientKernel<K>(device, settings);
    kernel.primaryOffset = primaryOffset;
    kernel.sourceSize = part;
    kernel.encodeBatch(
        commands, {.sourceGradients = g.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  // Sums of quarters are exact. A pixel gathers at most 25 means. With edge mode clamp one of an edge may gather 12 *
  // 12 windows (5 that reach it, and those beyond), each with at most 25 / sqrt(25) of its gradient, in groups of 16.
  if constexpr (std::is_same_v<K, CNNPoolingAverageGradient>) {
    t.compare(dx, 30, 25);
  } else if constexpr (std::is_same_v<K, CNNPoolingL2NormGradient>) {
    t.compare(dx, 40, 720);
  } else {
    t.compare(dx, 0);
  }
}

/// Windows side by side over groups of four channels, as networks have them: both directions.
template <class K, class G>
void poolingSideBySide(ImageTrial& t) {
  const std::size_t taps = 2 + t.random().below(2), rows = t.size(5), columns = t.size(5), c = 4 * t.size(9);
  const std::size_t w = taps * columns + t.random().below(taps), h = taps * rows + t.random().below(taps);
  const auto& x = t.source("sourceImage", t.variant().format, w, h, c, [&] { return coarse(t); });
  const auto& y = t.result("destinationImage", columns, rows, c);
  const auto& g = t.source("sourceGradient", t.variant().format, columns, rows, c, [&] { return coarse(t); });
  const auto& dx = t.result("destinationGradient", w, h, c);
  const Settings settings{
      .window = {.kernelWidth = taps, .kernelHeight = taps, .strideInPixelsX = taps, .strideInPixelsY = taps},
      .offset = {around(t, 1) + 1, around(t, 1) + 1, 0},
      .edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::clamp})};
  t.run([&](const Device& device, CommandBuffer& commands) {
    forwardKernel<K>(device, settings)
        .encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
    gradientKernel<G>(device, settings)
        .encodeBatch(commands,
                     {.sourceGradients = g.images(), .sourceImages = x.images(), .destinationGradients = dx.images()});
  });
  t.compare(y, kRoundings<K>, 4);
  t.compare(dx, kRoundings<K>, 4);
}

}  // namespace

std::vector<Case> poolingCases() {
  using enum ImageFeatureChannelFormat;
  return {{"PoolingMax", pooling<CNNPoolingMax>, {float32, float16, unorm8, unorm16}},
          {"PoolingAverage", pooling<CNNPoolingAverage>, {float32, float16, unorm8, unorm16}},
          {"PoolingL2Norm", pooling<CNNPoolingL2Norm>},
          {"DilatedPoolingMax", pooling<CNNDilatedPoolingMax>},
          {"PoolingMaxWide", poolingWide<CNNPoolingMax>},
          {"PoolingAverageWide", poolingWide<CNNPoolingAverage>},
          {"PoolingL2NormWide", poolingWide<CNNPoolingL2Norm>},
          {"PoolingRegion", poolingRegion},
          {"PoolingMaxSideBySide", poolingSideBySide<CNNPoolingMax, CNNPoolingMaxGradient>},
          {"PoolingAverageSideBySide", poolingSideBySide<CNNPoolingAverage, CNNPoolingAverageGradient>},
          {"PoolingMaxGradient", poolingGradient<CNNPoolingMaxGradient>},
          {"PoolingAverageGradient", poolingGradient<CNNPoolingAverageGradient>},
          {"PoolingL2NormGradient", poolingGradient<CNNPoolingL2NormGradient>},
          {"DilatedPoolingMaxGradient", poolingGradient<CNNDilatedPoolingMaxGradient>}};
}

}  // namespace metalloid::image_conformance
