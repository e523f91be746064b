#include "kernels/kernel_checks.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/cnn_upsampling.hpp>
#include <metalloid/image.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using Values = std::vector<float>;
constexpr auto kFloat = ImageFeatureChannelFormat::float32;

Image imageOf(const Device& device, std::size_t width, std::size_t height, std::size_t channels, const Values& values) {
  Image image(device, {.channelFormat = kFloat, .width = width, .height = height, .featureChannels = channels});
  image.write(std::span(values));
  return image;
}
Image filled(const Device& device, std::size_t width, std::size_t height, std::size_t channels, float value) {
  return imageOf(device, width, height, channels, Values(width * height * channels, value));
}
Image rowOf(const Device& device, const Values& values) { return imageOf(device, values.size(), 1, 1, values); }

/// A sum of four products with weights of one rounding each, relative to elements of at most 16.
void expectValues(const Image& image, const Values& expected) {
  const auto actual = image.read<float>();
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], 9 * 0x1p-24 * 16) << "element " << i;
}

class UpsamplingValues : public OnDevice {
 protected:
  CNNUpsamplingNearest nearest(std::size_t x, std::size_t y = 1) const {
    return {device, {.integerScaleFactorX = x, .integerScaleFactorY = y}};
  }
  CNNUpsamplingBilinear bilinear(std::size_t x, bool alignCorners) const {
    return {device, {.integerScaleFactorX = x, .integerScaleFactorY = 1, .alignCorners = alignCorners}};
  }
  CNNUpsamplingNearestGradient nearestGradient(std::size_t x = 1, std::size_t y = 1) const {
    return {device, {.integerScaleFactorX = x, .integerScaleFactorY = y}};
  }
  CNNUpsamplingBilinearGradient bilinearGradient() const {
    return {device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}};
  }

  /// An encode that makes its destination.
  template <class K>
  Image enlarged(K kernel, const Image& source) const {
    kernel.destinationImageAllocator = Image::defaultAllocator();
    Image made;
    execute(device, [&](CommandBuffer& c) { made = kernel.encode(c, {.sourceImage = source}); });
    return made;
  }
  /// Forward and backward, the gradient configured by the state.
  template <class Forward, class Gradient>
  void expectGradient(Forward forward, Gradient gradient, const Image& source, const Image& g,
                      const Values& expected) const {
    SCOPED_TRACE(forward.description());
    gradient.destinationImageAllocator = Image::defaultAllocator();
    const Image result = filled(device, g.width(), g.height(), g.featureChannels(), 0);
    Image made;
    execute(device, [&](CommandBuffer& c) {
      State state;
      forward.encode(c, {.sourceImage = source, .destinationState = &state, .destinationImage = result});
      made = gradient.encode(c, {.sourceGradient = g, .sourceImage = source, .gradientState = state});
    });
    expectValues(made, expected);
  }
};
class UpsamplingChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, UpsamplingValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, UpsamplingChecks, testing::Values("reference", "cpu", "null"), deviceName);

TEST_P(UpsamplingValues, repeatsPixels) {
  const Image one = enlarged(nearest(2), rowOf(device, {3, 5}));
  EXPECT_EQ(one.width(), 4U);
  EXPECT_EQ(one.height(), 1U);
  expectValues(one, {3, 3, 5, 5});
  const Image two = enlarged(nearest(1, 3), imageOf(device, 2, 1, 2, {1, 2, 3, 4}));
  EXPECT_EQ(two.height(), 3U);
  expectValues(two, {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4});
  expectValues(enlarged(nearest(1), rowOf(device, {3, 5})), {3, 5});
  EXPECT_TRUE(std::isnan(enlarged(nearest(2), rowOf(device, {1, kNaN})).read<float>()[3]));
}

TEST_P(UpsamplingValues, interpolates) {
  const Image source = rowOf(device, {0, 4});
  expectValues(enlarged(bilinear(2, false), source), {0, 1, 3, 4});
  expectValues(enlarged(bilinear(2, true), source), {0, 4 / 3.F, 8 / 3.F, 4});
  expectValues(enlarged(bilinear(3, false), source), {0, 0, 4 / 3.F, 8 / 3.F, 4, 4});
  for (const bool alignCorners : {false, true}) {
    expectValues(enlarged(bilinear(1, alignCorners), source), {0, 4});
    expectValues(enlarged(bilinear(3, alignCorners), rowOf(device, {7})), {7, 7, 7});
    expectValues(enlarged(bilinear(1, alignCorners), rowOf(device, {7})), {7});  // a destination of one pixel
  }
  // What has no weight is not read.
  EXPECT_EQ(enlarged(bilinear(3, false), rowOf(device, {1, kNaN})).read<float>()[1], 1);
  CNNUpsamplingBilinear both(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 2, .alignCorners = true});
  expectValues(enlarged(both, imageOf(device, 2, 2, 1, {0, 3, 6, 9})),
               {0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9});
}

TEST_P(UpsamplingValues, writesAPart) {
  Values values;
  for (std::size_t x = 0; x < 4; ++x)
    for (std::size_t c = 0; c < 8; ++c) values.push_back(static_cast<float>(10 * c + x));
  const Image source = imageOf(device, 4, 1, 8, values), result = filled(device, 5, 1, 12, -1);
  auto kernel = nearest(2);
  kernel.offset.x = 2;
  kernel.clipRect = {{1, 0, 0}, {3, 1, 1}};
  kernel.sourceFeatureChannelOffset = 4;
  kernel.sourceFeatureChannelMaxCount = 1;
  kernel.destinationFeatureChannelOffset = 8;
  execute(device, [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); });
  Values expected(5 * 12, -1);
  expected[1 * 12 + 8] = expected[2 * 12 + 8] = 42;
  expected[3 * 12 + 8] = 43;
  EXPECT_EQ(result.read<float>(), expected);
  EXPECT_EQ(kernel.offset.x, 2);
}

TEST_P(UpsamplingValues, repeatsTheEdgeBeyondTheImage) {
  const Image source = rowOf(device, {1, 3}), result = filled(device, 8, 1, 1, -1);
  const auto expect = [&](auto kernel, const Values& expected) {
    kernel.offset.x = -1;
    execute(device, [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); });
    expectValues(result, expected);
  };
  expect(nearest(2), {1, 1, 1, 1, 3, 3, 3, 3});
  expect(bilinear(2, false), {1, 1, 1, 1.5F, 2.5F, 3, 3, 3});
  expect(bilinear(2, true), {1, 1, 1, 5 / 3.F, 7 / 3.F, 3, 3, 3});
}

TEST_P(UpsamplingValues, sumsTheGradientsOfABlock) {
  expectGradient(nearest(2), nearestGradient(), rowOf(device, {0, 0}), rowOf(device, {1, 2, 4, 8}), {3, 12});
  expectGradient(nearest(1, 2), nearestGradient(), imageOf(device, 1, 2, 2, {0, 0, 0, 0}),
                 imageOf(device, 1, 4, 2, {1, 10, 2, 20, 3, 30, 4, 40}), {3, 30, 7, 70});
}

TEST_P(UpsamplingValues, givesGradientsByTheWeights) {
  const Image source = rowOf(device, {0, 0}), g = rowOf(device, {1, 2, 4, 8});
  expectGradient(bilinear(2, false), bilinearGradient(), source, g, {1 + 1.5F + 1, 0.5F + 3 + 8});
  expectGradient(bilinear(2, true), bilinearGradient(), source, g, {1 + 4 / 3.F + 4 / 3.F, 2 / 3.F + 8 / 3.F + 8});
  expectGradient(bilinear(3, true), bilinearGradient(), rowOf(device, {5}), rowOf(device, {1, 2, 4}), {7});
}

TEST_P(UpsamplingValues, configuresTheGradientFromTheState) {
  auto forward = bilinear(2, false);
  forward.offset.x = 1;
  forward.clipRect = {{1, 0, 0}, {3, 1, 1}};
  forward.sourceFeatureChannelOffset = 4;
  forward.sourceFeatureChannelMaxCount = 1;
  Values g(5 * 4, 99);
  g[1 * 4] = 4;   // pixel 2 of the enlarged image: 1/4 of source pixel 0, 3/4 of pixel 1
  g[2 * 4] = 8;   // 3/4 of pixel 1, 1/4 of pixel 2
  g[3 * 4] = 16;  // 1/4 of pixel 1, 3/4 of pixel 2
  const Image source = filled(device, 4, 1, 8, 0), result = filled(device, 5, 1, 4, 0);
  auto gradient = bilinearGradient();
  gradient.destinationImageAllocator = Image::defaultAllocator();
  Image made;
  execute(device, [&](CommandBuffer& c) {
    State state;
    forward.encode(c, {.sourceImage = source, .destinationState = &state, .destinationImage = result});
    made = gradient.encode(
        c, {.sourceGradient = imageOf(device, 5, 1, 4, g), .sourceImage = source, .gradientState = state});
  });
  EXPECT_EQ(gradient.scaleFactorX(), 2.0);
  EXPECT_EQ(gradient.primaryOffset, (Offset{1, 0, 0}));
  EXPECT_EQ(gradient.secondaryOffset, (Offset{1, 0, 0}));
  EXPECT_EQ(gradient.sourceSize, (Size{3, 1, all}));
  EXPECT_EQ(gradient.clipRect.origin, (Origin{0, 0, 0}));
  Values expected(4 * 8, 0);
  expected[0 * 8 + 4] = 1;
  expected[1 * 8 + 4] = 3 + 6 + 4;
  expected[2 * 8 + 4] = 2 + 12;
  expectValues(made, expected);

  auto aligned = bilinearGradient();
  aligned.destinationImageDescriptor(
      {source, source}, {bilinear(2, true).resultState({.sourceImage = source, .destinationImage = result})});
  EXPECT_TRUE(aligned.alignCorners);
}

TEST_P(UpsamplingValues, followsPropertiesSetByHand) {
  auto gradient = nearestGradient(2);
  const Image source = filled(device, 4, 1, 1, 0), g = rowOf(device, {1, 10, 100, 1000, 10000});
  const auto expect = [&](const Values& expected) {
    const Image result = filled(device, expected.size(), 1, 1, -1);
    execute(device, [&](CommandBuffer& c) {
      gradient.encode(c, {.sourceGradient = g, .sourceImage = source, .destinationGradient = result});
    });
    EXPECT_EQ(result.read<float>(), expected);
  };
  expect({11, 1100, 10000, 0, 0});
  gradient.primaryOffset.x = 1;
  expect({110, 11000, 0, 0});
  gradient.sourceSize.width = 3;
  expect({110, 1000, 0, 0});
  gradient.primaryOffset.x = -1;
  expect({1, 10, 0, 0});
  gradient.primaryOffset.x = 0;
  gradient.secondaryOffset.x = 2;  // the destination begins with the first pixel that is read
  expect({11, 100});
  gradient.clipRect.origin.x = 2;
  expect({-1, -1, 11, 100});
}

// --- Defaults, errors, archives, temporaries

TEST_P(UpsamplingChecks, hasTheDocumentedDefaults) {
  const CNNUpsamplingBilinear kernel(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3});
  EXPECT_EQ(kernel.scaleFactorX(), 2.0);
  EXPECT_EQ(kernel.scaleFactorY(), 3.0);
  EXPECT_FALSE(kernel.alignCorners());
  const CNNUpsamplingBilinearGradient gradient(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3});
  EXPECT_EQ(gradient.scaleFactorX(), 2.0);
  EXPECT_EQ(gradient.scaleFactorY(), 3.0);
  EXPECT_FALSE(gradient.alignCorners);
  EXPECT_EQ(gradient.sourceSize, (Size{all, all, all}));
}

TEST_P(UpsamplingChecks, refusesWhatDoesNotFit) {
  expectRefused([&] { CNNUpsamplingNearest(device, {.integerScaleFactorX = 1}); },
                {"scaleFactorY of a CNNUpsamplingNearest is 0"});
  expectRefused([&] { CNNUpsamplingBilinear(device, {.integerScaleFactorX = all, .integerScaleFactorY = 1}); },
                {"scaleFactorX of a CNNUpsamplingBilinear"});
  expectRefused([&] { CNNUpsamplingNearestGradient(device, {}); }, {"scaleFactorX of a CNNUpsamplingNearestGradient"});
  expectRefused([&] { CNNUpsamplingBilinearGradient(device, {.integerScaleFactorX = 1}); },
                {"scaleFactorY of a CNNUpsamplingBilinearGradient"});

  const Image source = filled(device, 2, 2, 1, 0), result = filled(device, 4, 4, 1, 0);
  CNNUpsamplingNearest kernel(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 2});
  const auto encode = [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); };
  expectRefusesCommandBuffers(device, encode);
  kernel.offset.x = std::numeric_limits<std::ptrdiff_t>::max();
  expectEncodeRefused(device, encode, {"offset", "CNNUpsamplingNearest"});

  CNNUpsamplingNearestGradient gradient(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 2});
  const auto withState = [&](const State& state) {
    return [&, state](CommandBuffer& c) {
      gradient.encode(c, {.sourceGradient = result, .sourceImage = source, .gradientState = state});
    };
  };
  expectEncodeRefused(device,
                      withState(CNNNeuron(device, {}).resultState({.sourceImage = source, .destinationImage = source})),
                      {"gradientState", "state of the forward upsampling"});
  expectEncodeRefused(device,
                      withState(CNNUpsamplingBilinear(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 2})
                                    .resultState({.sourceImage = source, .destinationImage = result})),
                      {"another kind of upsampling"});
}

TEST_P(UpsamplingChecks, behavesAsAKernel) {
  const auto check = [&](auto kernel, auto changed, const std::string& name) {
    kernel.label = changed.label = "up";
    expectBehavesAsKernel(kernel, {changed}, device, name);
    for (const std::uint64_t factor : {0U, 1U << 25}) {
      expectMalformed<decltype(kernel)>(forged(archiveOf(kernel), "scaleFactorX", factor), device, "a wrong factor");
    }
  };
  check(CNNUpsamplingNearest(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3}),
        CNNUpsamplingNearest(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 4}), "CNNUpsamplingNearest");
  check(CNNUpsamplingBilinear(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3, .alignCorners = true}),
        CNNUpsamplingBilinear(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3}), "CNNUpsamplingBilinear");
  CNNUpsamplingNearestGradient nearest(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3});
  auto part = nearest;
  part.sourceSize.height = 1;
  check(nearest, part, "CNNUpsamplingNearestGradient");
  CNNUpsamplingBilinearGradient bilinear(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3});
  auto aligned = bilinear;
  aligned.alignCorners = true;
  check(bilinear, aligned, "CNNUpsamplingBilinearGradient");
}

TEST_P(UpsamplingChecks, countsReadsOfTemporaries) {
  execute(device, [&](CommandBuffer& c) {
    const TemporaryImage source(c, {.channelFormat = kFloat, .width = 4});
    source.setReadCount(3);
    CNNUpsamplingNearest forward(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 3});
    State state;
    const Image result = forward.encode(c, {.sourceImage = source, .destinationState = &state});
    EXPECT_EQ(source.readCount(), 2U);
    EXPECT_EQ(result.width(), 8U);
    EXPECT_EQ(result.height(), 3U);
    CNNUpsamplingNearestGradient backward(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1});
    const Image made = backward.encode(c, {.sourceGradient = result, .sourceImage = source, .gradientState = state});
    EXPECT_EQ(source.readCount(), 1U);
    EXPECT_EQ(made.width(), 4U);
    EXPECT_EQ(made.height(), 1U);
  });
}

}  // namespace
}  // namespace metalloid::test
