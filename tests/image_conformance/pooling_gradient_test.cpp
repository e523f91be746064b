// Gradients of poolings and upsamplings against central differences of their forward kernels, element by element, with
// the geometry that the forward state hands over. Elements keep their distance from ties and from 0.

#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/cnn_pooling.hpp>
#include <metalloid/cnn_upsampling.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::image_conformance {
namespace {

constexpr std::size_t kWidth = 6, kHeight = 5, kChannels = 3;

class WindowGradients : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  /// `curvature` bounds what a result's third derivative adds to a difference, `roundings` what an encode adds to a
  /// result.
  template <class Forward, class Gradient>
  void check(const std::string& name, Forward forward, Gradient gradient, double curvature, double roundings) const {
    SCOPED_TRACE(name);
    constexpr double kStep = 0x1p-6;
    testing::Random random(testing::seedOf(name));
    const ImageDescriptor descriptor{.channelFormat = ImageFeatureChannelFormat::float32,
                                     .width = kWidth,
                                     .height = kHeight,
                                     .featureChannels = kChannels};
    // Odd multiples of 1/4 in random order: all differ by 1/2 or more.
    std::vector<double> x(kWidth * kHeight * kChannels);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = (static_cast<double>(i) - static_cast<double>(x.size() / 2) + 0.5) / 2;
    for (std::size_t i = x.size(); i > 1; --i) std::swap(x[i - 1], x[random.below(i)]);
    for (auto* const allocator : {&forward.destinationImageAllocator, &gradient.destinationImageAllocator})
      *allocator = Image::defaultAllocator();

    const Image source(device, descriptor);
    State state;
    const auto results = [&](const std::vector<double>& values) {
      source.write(values);
      Image made;
      testing::execute(device, [&](CommandBuffer& commands) {
        made = forward.encode(commands, {.sourceImage = source, .destinationState = &state});
      });
      return made;
    };
    const Image y = results(x);
    std::vector<double> g(y.width() * y.height() * kChannels);
    for (double& value : g) value = (static_cast<double>(random.below(16)) - 7.5) / 8;
    const Image sourceGradient(device, y.descriptor());
    sourceGradient.write(g);
    Image dx;
    testing::execute(device, [&](CommandBuffer& commands) {
      dx = gradient.encode(commands, {.sourceGradient = sourceGradient, .sourceImage = source, .gradientState = state});
    });
    ASSERT_EQ(dx.width(), kWidth);
    ASSERT_EQ(dx.height(), kHeight);
    const auto actual = dx.read<double>();

    for (std::size_t i = 0; i < x.size(); ++i) {
      auto moved = x;
      moved[i] = x[i] + kStep;
      const auto above = results(moved).template read<double>();
      moved[i] = x[i] - kStep;
      const auto below = results(moved).template read<double>();
      double expected = 0, tolerance = 0x1p-24 * roundings;
      for (std::size_t o = 0; o < g.size(); ++o) {
        if (above[o] == below[o]) continue;
        expected += g[o] * (above[o] - below[o]) / (2 * kStep);
        tolerance +=
            std::fabs(g[o]) * (curvature * kStep * kStep / 6 + roundings * 0x1p-24 * (std::fabs(above[o]) + 1) / kStep);
      }
      EXPECT_NEAR(actual[i], expected, tolerance) << "element " << i;
    }
  }

  /// With every policy, edge mode and a few windows; the average's zero padding with them.
  template <class Forward, class Gradient>
  void checkPooling(const std::string& name, double curvature, double roundings) const {
    using enum NNPaddingMethod;
    using Window = typename Forward::Descriptor;
    std::vector<Window> windows;
    for (const std::size_t size : {1, 2, 3, 4}) {
      for (const std::size_t stride : {1, 2, 3}) {
        Window window{.kernelWidth = size, .kernelHeight = 4 - size / 2};
        window.strideInPixelsX = stride;
        window.strideInPixelsY = 1 + size % 2;
        if constexpr (requires { window.dilationRateX; }) {
          window.dilationRateX = 1 + stride % 2;
          window.kernelHeight = 2;
          window.dilationRateY = size;
        }
        windows.push_back(window);
      }
    }
    int number = 0;
    for (const Window& window : windows) {
      for (const auto method :
           {sizeSame | addRemainderToBottomRight, sizeFull, sizeSame | alignTopLeft | excludeEdges}) {
        for (const auto edgeMode : {ImageEdgeMode::zero, ImageEdgeMode::clamp}) {
          Forward forward(device, window);
          forward.padding = NNDefaultPadding::paddingWithMethod(method);
          forward.edgeMode = edgeMode;
          if constexpr (requires { forward.zeroPadSizeX; }) forward.zeroPadSizeX = static_cast<std::size_t>(number % 3);
          check(name + std::to_string(number++), forward, Gradient(device, {.kernelWidth = 1, .kernelHeight = 1}),
                curvature, roundings);
        }
      }
    }
  }

  /// What an encode adds to a result made of `terms` terms.
  double roundings(double terms) const { return device.name() == "reference" ? 1 : terms; }
};

INSTANTIATE_TEST_SUITE_P(Devices, WindowGradients, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

TEST_P(WindowGradients, PoolingMax) { checkPooling<CNNPoolingMax, CNNPoolingMaxGradient>("PoolingMax", 0, 2); }
TEST_P(WindowGradients, DilatedPoolingMax) {
  checkPooling<CNNDilatedPoolingMax, CNNDilatedPoolingMaxGradient>("DilatedPoolingMax", 0, 2);
}
TEST_P(WindowGradients, PoolingAverage) {
  checkPooling<CNNPoolingAverage, CNNPoolingAverageGradient>("PoolingAverage", 0, roundings(18));
}
TEST_P(WindowGradients, PoolingL2Norm) {
  // |f'''| of sqrt(m x^2 + r^2) is 3 m^2 r^2 |x| / (m x^2 + r^2)^2.5, for any r at most 0.56 sqrt(m) / x^2. An edge has
  // the multiplicity m = 16 at most, and |x| > 0.23.
  checkPooling<CNNPoolingL2Norm, CNNPoolingL2NormGradient>("PoolingL2Norm", 48, roundings(18));
}

TEST_P(WindowGradients, Upsampling) {
  for (const std::size_t x : {1, 2, 3}) {
    for (const std::size_t y : {1, 4}) {
      check("nearest", CNNUpsamplingNearest(device, {.integerScaleFactorX = x, .integerScaleFactorY = y}),
            CNNUpsamplingNearestGradient(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}), 0, 8);
      for (const bool alignCorners : {false, true}) {
        check("bilinear",
              CNNUpsamplingBilinear(device,
                                    {.integerScaleFactorX = x, .integerScaleFactorY = y, .alignCorners = alignCorners}),
              CNNUpsamplingBilinearGradient(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}), 0, 8);
      }
    }
  }
}

}  // namespace
}  // namespace metalloid::image_conformance
