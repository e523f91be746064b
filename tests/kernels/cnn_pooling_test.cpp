// Long: four poolings and their gradients go through the same checks, from the same fixtures.

#include "kernels/kernel_checks.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/cnn_pooling.hpp>
#include <metalloid/image.hpp>

#include <cmath>
#include <string>
#include <utility>
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
/// One row of one channel.
Image rowOf(const Device& device, const Values& values) { return imageOf(device, values.size(), 1, 1, values); }

/// Each value may carry three roundings to float32: of a sum's few exact terms, of a quotient or root, of a product.
void expectValues(const Image& image, const Values& expected) {
  const auto actual = image.read<float>();
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(actual[i])) << "element " << i;
    } else if (actual[i] != expected[i]) {  // infinities, too, are what they are
      EXPECT_NEAR(actual[i], expected[i], 3 * 0x1p-24 * std::fabs(expected[i])) << "element " << i;
    }
  }
}

CNNPooling::Descriptor row(std::size_t width, std::size_t stride = 1) {
  return {.kernelWidth = width, .kernelHeight = 1, .strideInPixelsX = stride};
}

/// A kernel with its edge mode.
template <class K>
K with(K kernel, ImageEdgeMode edgeMode) {
  kernel.edgeMode = edgeMode;
  return kernel;
}
CNNPoolingAverage average(const Device& device, std::size_t width, std::size_t stride, ImageEdgeMode edgeMode,
                          std::size_t zeroPad) {
  CNNPoolingAverage kernel(device, row(width, stride));
  kernel.edgeMode = edgeMode;
  kernel.zeroPadSizeX = zeroPad;
  return kernel;
}

/// The kernel over one row, with offset 0.
template <class K>
void expectRow(K kernel, const Values& source, const Values& expected) {
  SCOPED_TRACE(kernel.description());
  const Device& device = kernel.device();
  const Image from = rowOf(device, source), to = filled(device, expected.size(), 1, 1, -77);
  execute(device, [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = from, .destinationImage = to}); });
  expectValues(to, expected);
}

/// Forward and backward over one row, the gradient configured by the state.
template <class Gradient, class Forward>
void expectRowGradient(Forward forward, Gradient gradient, const Values& source, const Values& g,
                       const Values& expected) {
  SCOPED_TRACE(forward.description());
  const Device& device = forward.device();
  const Image from = rowOf(device, source), gradients = rowOf(device, g), to = filled(device, g.size(), 1, 1, 0);
  gradient.destinationImageAllocator = Image::defaultAllocator();
  Image made;
  execute(device, [&](CommandBuffer& c) {
    State state;
    forward.encode(c, {.sourceImage = from, .destinationState = &state, .destinationImage = to});
    made = gradient.encode(c, {.sourceGradient = gradients, .sourceImage = from, .gradientState = state});
  });
  expectValues(made, expected);
}

class PoolingValues : public OnDevice {
 protected:
  static constexpr auto zero = ImageEdgeMode::zero, clamp = ImageEdgeMode::clamp;
  CNNPoolingMax max(std::size_t width, std::size_t stride, ImageEdgeMode edgeMode) const {
    return with(CNNPoolingMax(device, row(width, stride)), edgeMode);
  }
  CNNPoolingL2Norm l2Norm(std::size_t width, std::size_t stride, ImageEdgeMode edgeMode) const {
    return with(CNNPoolingL2Norm(device, row(width, stride)), edgeMode);
  }
  CNNPoolingMaxGradient maxGradient() const { return {device, row(1)}; }
  CNNPoolingAverageGradient averageGradient() const { return {device, row(1)}; }
  CNNPoolingL2NormGradient l2NormGradient() const { return {device, row(1)}; }
};
class PoolingChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, PoolingValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, PoolingChecks, testing::Values("reference", "cpu", "null"), deviceName);

const Values kCount{1, 2, 3, 4, 5};

TEST_P(PoolingValues, averagesTheWindowOrItsPartInside) {
  expectRow(average(device, 3, 2, zero, 0), kCount, {1, 3, 3});
  expectRow(average(device, 3, 2, clamp, 0), kCount, {1.5F, 3, 4.5F});
  expectRow(average(device, 3, 2, clamp, 1), kCount, {1, 3, 3});
  expectRow(average(device, 4, 2, zero, 0), kCount, {0.75F, 2.5F, 3});
  expectRow(average(device, 4, 2, clamp, 0), kCount, {1.5F, 2.5F, 4});
  expectRow(average(device, 4, 2, clamp, 1), kCount, {1, 2.5F, 3});
  expectRow(average(device, 3, 2, zero, 7), kCount, {1, 3, 3});  // zeroPadSize belongs to clamp
  expectRow(average(device, 3, 2, clamp, all), kCount, {1, 3, 3});
}

TEST_P(PoolingValues, takesTheLargestOfTheWindow) {
  expectRow(max(3, 1, zero), {-1, -2, -3}, {0, -1, 0});
  expectRow(max(3, 1, clamp), {-1, -2, -3}, {-1, -1, -2});
  expectRow(max(2, 2, zero), kCount, {1, 3, 5});  // an even window leans to the left
  expectRow(max(1, 1, zero), {-1, 2, -3}, {-1, 2, -3});
  CNNDilatedPoolingMax dilated(device, {.kernelWidth = 2, .kernelHeight = 1, .dilationRateX = 3});
  expectRow(with(dilated, clamp), kCount, {2, 3, 4, 5, 5});
  expectRow(with(dilated, zero), {-1, -2, -3, -4, -5}, {0, 0, -1, -2, 0});
}

TEST_P(PoolingValues, takesTheLengthOfTheWindow) {
  expectRow(l2Norm(3, 2, zero), kCount, {std::sqrt(5.F), std::sqrt(29.F), std::sqrt(41.F)});
  expectRow(l2Norm(3, 2, clamp), kCount, {std::sqrt(6.F), std::sqrt(29.F), std::sqrt(66.F)});  // edges twice
}

TEST_P(PoolingValues, readsFarOutside) {
  for (const std::ptrdiff_t offset : {-9, 9}) {
    const float nearest = offset < 0 ? 1 : 5;
    const auto shifted = [&](auto kernel, ImageEdgeMode edgeMode) {
      kernel.edgeMode = edgeMode;
      kernel.offset.x = offset;
      return kernel;
    };
    expectRow(shifted(max(3, 1, zero), clamp), kCount, {nearest});
    expectRow(shifted(max(3, 1, zero), zero), {-1, -2}, {0});
    expectRow(shifted(average(device, 3, 1, zero, 0), clamp), kCount, {0});
    expectRow(shifted(average(device, 3, 1, zero, 9), clamp), kCount, {0});
    expectRow(shifted(average(device, 3, 1, zero, 0), zero), kCount, {0});
    expectRow(shifted(l2Norm(3, 1, zero), zero), kCount, {0});
    expectRow(shifted(l2Norm(3, 1, zero), clamp), kCount, {std::sqrt(3.F) * nearest});
  }
}

TEST_P(PoolingValues, propagatesNaN) {
  for (const auto edgeMode : {zero, clamp}) {
    expectRow(max(3, 1, edgeMode), {kNaN, 2, 3, 1, -1}, {kNaN, kNaN, 3, 3, 1});
    expectRow(max(3, 3, edgeMode), {1, 2, 3, 7, kNaN}, {2, kNaN});
    expectRow(average(device, 3, 1, edgeMode, 1), {kNaN, 2, 3, 4}, {kNaN, kNaN, 3, 7 / 3.F});
    expectRow(l2Norm(1, 1, edgeMode), {kNaN, 2}, {kNaN, 2});
  }
  expectRow(max(2, 1, clamp), {-kInfinity, -kInfinity, kInfinity}, {-kInfinity, -kInfinity, kInfinity});
}

TEST_P(PoolingValues, centresWindowsByHand) {
  // Offsets of the documentation, for L source pixels and stride s: even k floor(((L-1) mod s) / 2) + 1, odd k
  // ceil(((L-1) mod s) / 2).
  auto even = max(2, 2, zero), odd = max(3, 3, zero);
  even.offset.x = ((6 - 1) % 2) / 2 + 1;
  expectRow(even, {1, 2, 3, 4, 5, 6}, {2, 4, 6});
  odd.offset.x = ((6 - 1) % 3 + 1) / 2;
  expectRow(odd, {1, 2, 3, 4, 5, 6}, {3, 6});
}

TEST_P(PoolingValues, keepsChannelsApartInTwoDimensions) {
  // Two channels, the second the first's negative.
  Values values;
  for (const int v : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) {
    values.push_back(static_cast<float>(v));
    values.push_back(static_cast<float>(-v));
  }
  const Image source = imageOf(device, 4, 3, 2, values);
  CNNPoolingMax kernel(device, {.kernelWidth = 2, .kernelHeight = 3, .strideInPixelsX = 2, .strideInPixelsY = 1});
  kernel.offset = {1, 1, 0};
  const Image result = filled(device, 2, 1, 2, 9);
  execute(device, [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); });
  expectValues(result, {10, -1, 12, -3});
  CNNPoolingAverage mean(device, {.kernelWidth = 4, .kernelHeight = 3});
  mean.offset = {2, 1, 0};
  const Image one = filled(device, 1, 1, 2, 9);
  execute(device, [&](CommandBuffer& c) { mean.encode(c, {.sourceImage = source, .destinationImage = one}); });
  expectValues(one, {6.5F, -6.5F});
}

TEST_P(PoolingValues, writesTheClipRectangleAndItsChannelsOnly) {
  Values values(5 * 8);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 8 * 10 + i / 8);
  const Image source = imageOf(device, 5, 1, 8, values), result = filled(device, 4, 2, 12, -1);
  auto kernel = max(3, 2, clamp);
  kernel.sourceFeatureChannelOffset = 4;
  kernel.sourceFeatureChannelMaxCount = 2;
  kernel.destinationFeatureChannelOffset = 8;
  kernel.clipRect = {{1, 1, 0}, {2, 1, 1}};
  kernel.offset.x = 1;
  execute(device, [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); });
  Values expected(4 * 2 * 12, -1);
  for (std::size_t x : {1, 2}) {
    for (std::size_t channel : {0, 1})
      expected[(4 + x) * 12 + 8 + channel] = static_cast<float>((4 + channel) * 10 + (x == 1 ? 2 : 4));
  }
  expectValues(result, expected);
}

TEST_P(PoolingValues, readsAndWritesImagesOfContainers) {
  const ImageDescriptor three{.channelFormat = kFloat, .width = 2, .numberOfImages = 3};
  const Image source(device, three), result(device, {.channelFormat = kFloat, .numberOfImages = 3});
  const Values values{1, 2, 3, 4, 5, 6};
  source.write(std::span(values));
  auto kernel = max(2, 1, zero);
  kernel.offset = {1, 0, 1};
  kernel.clipRect = {{0, 0, 0}, {all, all, 2}};
  execute(device, [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); });
  expectValues(result, {4, 6, 0});
}

TEST_P(PoolingValues, sizesItsDestination) {
  struct Expected {
    std::size_t source, window, stride;
    NNPaddingMethod method;
    std::size_t size;
    std::ptrdiff_t offset;
  };
  using enum NNPaddingMethod;
  const std::vector<Expected> table{{5, 3, 2, sizeSame | addRemainderToBottomRight, 3, 0},
                                    {5, 3, 2, sizeSame, 3, 0},
                                    {6, 3, 2, sizeSame | addRemainderToBottomRight, 3, 1},
                                    {6, 3, 2, sizeSame, 3, 0},
                                    {5, 2, 2, sizeSame | addRemainderToBottomRight, 3, 1},
                                    {5, 2, 2, sizeSame, 3, 0},
                                    {4, 3, 1, sizeFull, 6, -1},
                                    {9, 2, 4, sizeValidOnly, 2, 2},
                                    {6, 1, 3, sizeSame | addRemainderToBottomRight, 2, 1},
                                    {6, 1, 3, sizeSame, 2, 0}};
  for (const Expected& e : table) {
    auto kernel = max(e.window, e.stride, zero);
    kernel.padding = NNDefaultPadding::paddingWithMethod(e.method);
    const auto descriptor = kernel.destinationImageDescriptor({filled(device, e.source, 1, 3, 0)});
    EXPECT_EQ(descriptor.width, e.size) << e.source << " " << e.window << " " << e.stride;
    EXPECT_EQ(descriptor.featureChannels, 3U);
    EXPECT_EQ(kernel.offset.x, e.offset) << e.source << " " << e.window << " " << e.stride;
    EXPECT_EQ(kernel.offset.y, 0);
    EXPECT_EQ(kernel.edgeMode, zero);
  }
  // The dilated window counts.
  CNNDilatedPoolingMax dilated(device, {.kernelWidth = 3, .kernelHeight = 1, .dilationRateX = 2});
  dilated.padding = NNDefaultPadding::paddingWithMethod(sizeValidOnly);
  EXPECT_EQ(dilated.destinationImageDescriptor({filled(device, 7, 1, 1, 0)}).width, 3U);
  EXPECT_EQ(dilated.offset.x, 2);
}

/// The divisors that a policy leads to: a kernel that makes its destination, over ones.
template <class K>
Values ofOnes(K kernel, std::size_t size) {
  kernel.destinationImageAllocator = Image::defaultAllocator();
  Image made;
  execute(kernel.device(),
          [&](CommandBuffer& c) { made = kernel.encode(c, {.sourceImage = filled(kernel.device(), size, 1, 1, 1)}); });
  return made.read<float>();
}

TEST_P(PoolingValues, dividesAsThePaddingPolicySays) {
  using enum NNPaddingMethod;
  CNNPoolingAverage kernel(device, row(3, 2));
  EXPECT_EQ(ofOnes(kernel, 5), (Values{2 / 3.F, 1, 2 / 3.F}));
  kernel.padding = NNDefaultPadding::forTensorflowAveragePooling();
  EXPECT_EQ(ofOnes(kernel, 5), (Values{1, 1, 1}));
  EXPECT_EQ(ofOnes(kernel, 6), (Values{1, 1, 1}));  // the remainder on the right
  kernel.padding = NNDefaultPadding::forTensorflowAveragePoolingValidOnly();
  EXPECT_EQ(ofOnes(kernel, 6), (Values{1, 1}));

  // Caffe's divisor: the window within image and padding.
  kernel.padding = NNDefaultPadding::paddingWithMethod(sizeFull | excludeEdges);
  kernel.destinationImageDescriptor({filled(device, 5, 4, 1, 0)});
  EXPECT_EQ(kernel.edgeMode, clamp);
  EXPECT_EQ(kernel.zeroPadSizeX, 2U);  // 4 windows read 9 pixels
  EXPECT_EQ(kernel.zeroPadSizeY, 0U);
  EXPECT_EQ(ofOnes(kernel, 5), (Values{1 / 3.F, 1, 1, 1 / 3.F}));
  kernel.padding = NNDefaultPadding::paddingWithMethod(sizeValidOnly | excludeEdges);
  kernel.destinationImageDescriptor({filled(device, 6, 1, 1, 0)});  // the last pixel is not read
  EXPECT_EQ(kernel.zeroPadSizeX, 0U);
}

TEST_P(PoolingValues, spreadsTheGradientOfAnAverage) {
  const Values ones{1, 1, 1};
  expectRowGradient(average(device, 3, 2, zero, 0), averageGradient(), kCount, ones,
                    {1 / 3.F, 2 / 3.F, 1 / 3.F, 2 / 3.F, 1 / 3.F});
  expectRowGradient(average(device, 3, 2, clamp, 0), averageGradient(), kCount, ones,
                    {1 / 2.F, 5 / 6.F, 1 / 3.F, 5 / 6.F, 1 / 2.F});
  expectRowGradient(average(device, 3, 2, clamp, 1), averageGradient(), kCount, ones,
                    {1 / 3.F, 2 / 3.F, 1 / 3.F, 2 / 3.F, 1 / 3.F});
  // A stride beyond the window leaves pixels without gradient.
  expectRowGradient(average(device, 1, 2, zero, 0), averageGradient(), kCount, {1, 2, 3}, {1, 0, 2, 0, 3});
}

TEST_P(PoolingValues, givesTheGradientToTheLargest) {
  expectRowGradient(max(3, 2, zero), maxGradient(), kCount, {1, 10, 100}, {0, 1, 0, 10, 100});
  // Of equals the first; in an image before the 0 outside of it.
  expectRowGradient(max(3, 1, clamp), maxGradient(), {2, 2, 2}, {1, 10, 100}, {11, 100, 0});
  expectRowGradient(max(3, 1, zero), maxGradient(), {0, -1, 0}, {1, 10, 100}, {11, 0, 100});
  // Where the 0 outside wins, the gradient is dropped.
  expectRowGradient(max(3, 1, zero), maxGradient(), {-1, -2, -3}, {1, 10, 100}, {10, 0, 0});
  expectRowGradient(max(3, 1, clamp), maxGradient(), {-1, -2, -3}, {1, 10, 100}, {11, 100, 0});
  // The first NaN.
  expectRowGradient(max(3, 1, zero), maxGradient(), {1, kNaN, kNaN}, {1, 10, 100}, {0, 111, 0});
  // Windows apart from each other.
  expectRowGradient(max(2, 3, zero), maxGradient(), {1, 2, 3, 4, 5}, {1, 10}, {1, 0, 0, 10, 0});
}

TEST_P(PoolingValues, givesTheGradientToTheLargestOfDilatedTaps) {
  CNNDilatedPoolingMax forward(device, {.kernelWidth = 2, .kernelHeight = 1, .dilationRateX = 3});
  const CNNDilatedPoolingMaxGradient gradient(device, {.kernelWidth = 1, .kernelHeight = 1});
  expectRowGradient(with(forward, clamp), gradient, kCount, {1, 10, 100, 1000, 10000}, {0, 1, 10, 100, 11000});
  expectRowGradient(with(forward, zero), gradient, kCount, {1, 10, 100, 1000, 10000}, {0, 1, 10010, 100, 1000});
}

TEST_P(PoolingValues, sharesTheGradientOfALengthByTheElements) {
  const float a = 1 / std::sqrt(5.F), b = 10 / std::sqrt(29.F), c = 100 / std::sqrt(41.F);
  expectRowGradient(l2Norm(3, 2, zero), l2NormGradient(), kCount, {1, 10, 100},
                    {1 * a, 2 * (a + b), 3 * b, 4 * (b + c), 5 * c});
  // With clamp the pixel of an edge counts twice.
  const float d = 1 / std::sqrt(6.F), e = 100 / std::sqrt(66.F);
  expectRowGradient(l2Norm(3, 2, clamp), l2NormGradient(), kCount, {1, 10, 100},
                    {2 * d, 2 * (d + b), 3 * b, 4 * (b + e), 10 * e});
  expectRowGradient(l2Norm(3, 3, zero), l2NormGradient(), {0, 0, 0, 0, 3, 4}, {1, 1}, {0, 0, 0, 0, 1, 0});
}

TEST_P(PoolingValues, takesGradientsFarOutside) {
  for (const std::ptrdiff_t offset : {-9, 9}) {
    auto forward = max(3, 1, clamp);
    forward.offset.x = offset;
    expectRowGradient(forward, maxGradient(), {1, 2, 3}, {5, 6}, offset < 0 ? Values{11, 0, 0} : Values{0, 0, 11});
    forward.edgeMode = zero;
    expectRowGradient(forward, maxGradient(), {1, 2, 3}, {5, 6}, {0, 0, 0});
    auto mean = average(device, 3, 1, clamp, 0);
    mean.offset.x = offset;
    expectRowGradient(mean, averageGradient(), {1, 2, 3}, {5, 6}, {0, 0, 0});
    auto length = l2Norm(3, 1, clamp);
    length.offset.x = offset;
    const float root = std::sqrt(3.F) * 11;
    expectRowGradient(length, l2NormGradient(), {1, 2, 3}, {5, 6},
                      offset < 0 ? Values{root, 0, 0} : Values{0, 0, root});
  }
}

TEST_P(PoolingValues, configuresTheGradientFromTheState) {
  // A region of both images, some of the channels: everything else of the gradient is 0.
  auto forward = average(device, 2, 2, clamp, 3);
  forward.clipRect = {{1, 0, 0}, {2, 1, 1}};
  forward.offset.x = 3;
  forward.sourceFeatureChannelOffset = 4;
  forward.sourceFeatureChannelMaxCount = 1;
  forward.destinationFeatureChannelOffset = 8;
  const Image source = filled(device, 7, 1, 8, 1), result = filled(device, 4, 1, 12, 0);
  Values g(4 * 12, 99);
  g[1 * 12 + 8] = 2;
  g[2 * 12 + 8] = 4;
  CNNPoolingAverageGradient gradient(device, row(5, 7));
  gradient.destinationImageAllocator = Image::defaultAllocator();
  Image made;
  execute(device, [&](CommandBuffer& c) {
    State state;
    forward.encode(c, {.sourceImage = source, .destinationState = &state, .destinationImage = result});
    made = gradient.encode(
        c, {.sourceGradient = imageOf(device, 4, 1, 12, g), .sourceImage = source, .gradientState = state});
  });
  EXPECT_EQ(gradient.secondaryKernelWidth(), 2U);
  EXPECT_EQ(gradient.secondaryStrideInPixelsX, 2U);
  EXPECT_EQ(gradient.secondaryEdgeMode, clamp);
  EXPECT_EQ(gradient.zeroPadSizeX, 3U);
  EXPECT_EQ(gradient.primaryOffset, (Offset{1, 0, 0}));
  EXPECT_EQ(gradient.sourceSize, (Size{2, 1, all}));
  EXPECT_EQ(gradient.secondaryOffset, (Offset{3, 0, 0}));
  EXPECT_EQ(gradient.clipRect.origin, (Origin{2, 0, 0}));  // the first pixel that a window reads
  EXPECT_EQ(gradient.primarySourceFeatureChannelOffset, 8U);
  EXPECT_EQ(gradient.destinationFeatureChannelOffset, 4U);
  Values expected(7 * 8, 0);
  for (const auto& [x, value] : std::vector<std::pair<std::size_t, float>>{{2, 1.F}, {3, 1.F}, {4, 2.F}, {5, 2.F}})
    expected[x * 8 + 4] = value;
  expectValues(made, expected);
}

TEST_P(PoolingValues, followsPropertiesSetByHand) {
  CNNPoolingMaxGradient gradient(device, row(2, 2));
  const Image source = rowOf(device, {1, 2, 3, 4, 5, 6}), g = rowOf(device, {1, 10, 100, 1000});
  const auto expect = [&](const Values& expected) {
    const Image result = filled(device, expected.size(), 1, 1, -1);
    execute(device, [&](CommandBuffer& c) {
      gradient.encode(c, {.sourceGradient = g, .sourceImage = source, .destinationGradient = result});
    });
    expectValues(result, expected);
  };
  gradient.secondaryOffset.x = 1;
  expect({0, 1, 0, 10, 0, 100});  // the last window lies outside
  gradient.sourceSize.width = 1;
  expect({0, 1, 0, 0, 0, 0});
  gradient.primaryOffset.x = 2;
  expect({0, 100, 0, 0, 0, 0});
  gradient.primaryOffset.x = -1;  // the first one that there is belongs to the second window
  gradient.sourceSize.width = 2;
  expect({0, 0, 0, 1, 0, 0});
  gradient.sourceSize.width = 1;
  expect({0, 0, 0, 0, 0, 0});
  gradient.primaryOffset.x = 9;
  gradient.sourceSize.width = all;
  expect({0, 0, 0, 0, 0, 0});
  // Windows that begin within the source: the destination begins with the first pixel that one reads.
  gradient.primaryOffset.x = 0;
  gradient.secondaryOffset.x = 3;
  expect({0, 1, 0, 10, 0});
  gradient.clipRect = {{2, 0, 0}, {4, 1, 1}};
  expect({-1, -1, 0, 1, 0, 10});  // what a caller gives is written within the clip rectangle only
  // Beyond the source there is no gradient.
  gradient.clipRect = regionNoClip;
  gradient.secondaryOffset.x = 0;
  expect({1, 0, 10, 0, 100, 1000, 0, 0});
}

TEST_P(PoolingValues, givesTheBatchWhatItGivesEachImage) {
  ImageBatch sources, gradients;
  std::vector<Values> expected;
  for (std::size_t n = 0; n < 5; ++n) {
    const auto v = static_cast<float>(n);
    sources.push_back(rowOf(device, {v, 2, 3 - v, 4}));
    gradients.push_back(rowOf(device, {1 + v, 2}));
    expected.push_back({v >= 2 ? 1 + v : 0, v >= 2 ? 0 : 1 + v, 0, 2});
  }
  CNNPoolingMax forward(device, row(2, 2));
  forward.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeValidOnly);
  CNNPoolingMaxGradient gradient(device, row(2, 2));
  gradient.destinationImageAllocator = Image::defaultAllocator();
  ImageBatch made;
  execute(device, [&](CommandBuffer& c) {
    StateBatch states;
    forward.encodeBatch(c, {.sourceImages = sources, .destinationStates = &states});
    ASSERT_EQ(states.size(), 5U);
    made = gradient.encodeBatch(c, {.sourceGradients = gradients, .sourceImages = sources, .gradientStates = states});
  });
  ASSERT_EQ(made.size(), 5U);
  for (std::size_t n = 0; n < 5; ++n) expectValues(made[n], expected[n]);
}

// --- Defaults, errors, archives, temporaries

TEST_P(PoolingChecks, hasTheDocumentedDefaults) {
  const CNNPoolingAverage kernel(device, {.kernelWidth = 3, .kernelHeight = 2});
  EXPECT_EQ(kernel.kernelWidth(), 3U);
  EXPECT_EQ(kernel.kernelHeight(), 2U);
  EXPECT_EQ(kernel.strideInPixelsX(), 1U);
  EXPECT_EQ(kernel.strideInPixelsY(), 1U);
  EXPECT_EQ(kernel.dilationRateX(), 1U);
  EXPECT_EQ(kernel.edgeMode, ImageEdgeMode::zero);
  EXPECT_EQ(kernel.offset, Offset{});
  EXPECT_EQ(kernel.zeroPadSizeX, 0U);
  EXPECT_EQ(kernel.zeroPadSizeY, 0U);
  EXPECT_EQ(kernel.padding->paddingMethod(), NNPaddingMethod::sizeSame);
  EXPECT_FALSE(kernel.isBackwards());
  const CNNDilatedPoolingMax dilated(device, {.kernelWidth = 3,
                                              .kernelHeight = 2,
                                              .dilationRateX = 4,
                                              .dilationRateY = 5,
                                              .strideInPixelsX = 6,
                                              .strideInPixelsY = 7});
  EXPECT_EQ(dilated.dilationRateX(), 4U);
  EXPECT_EQ(dilated.dilationRateY(), 5U);
  EXPECT_EQ(dilated.strideInPixelsX(), 6U);
  EXPECT_EQ(dilated.strideInPixelsY(), 7U);
  const CNNPoolingL2NormGradient gradient(device, {.kernelWidth = 3, .kernelHeight = 2, .strideInPixelsY = 4});
  EXPECT_EQ(gradient.sourceSize, (Size{all, all, all}));
  EXPECT_EQ(gradient.secondaryKernelWidth(), 3U);
  EXPECT_EQ(gradient.secondaryKernelHeight(), 2U);
  EXPECT_EQ(gradient.secondaryStrideInPixelsX, 1U);
  EXPECT_EQ(gradient.secondaryStrideInPixelsY, 4U);
  EXPECT_TRUE(gradient.isBackwards());
}

TEST_P(PoolingChecks, refusesWindowsWithoutSize) {
  expectRefused([&] { CNNPoolingMax(device, {}); }, {"kernelWidth of a CNNPoolingMax is 0"});
  expectRefused([&] { CNNPoolingAverage(device, {.kernelWidth = 1}); }, {"kernelHeight of a CNNPoolingAverage is 0"});
  expectRefused([&] { CNNPoolingL2Norm(device, {.kernelWidth = 1, .kernelHeight = 1, .strideInPixelsX = 0}); },
                {"strideInPixelsX of a CNNPoolingL2Norm is 0"});
  expectRefused([&] { CNNDilatedPoolingMax(device, {.kernelWidth = 1, .kernelHeight = 1, .dilationRateY = 0}); },
                {"dilationRateY of a CNNDilatedPoolingMax is 0"});
  expectRefused([&] { CNNPoolingMaxGradient(device, {.kernelWidth = all, .kernelHeight = 1}); },
                {"kernelWidth of a CNNPoolingMaxGradient is 18446744073709551615"});
  expectRefused(
      [&] { CNNDilatedPoolingMaxGradient(device, {.kernelWidth = 1, .kernelHeight = 1, .strideInPixelsY = 0}); },
      {"strideInPixelsY of a CNNDilatedPoolingMaxGradient is 0"});
  expectRefused([&] { CNNPoolingMax({}, {.kernelWidth = 1, .kernelHeight = 1}); }, {"nil"});
}

TEST_P(PoolingChecks, refusesWhatDoesNotFit) {
  const Image source = filled(device, 4, 3, 8, 0), result = filled(device, 4, 3, 8, 0);
  CNNPoolingMax kernel(device, row(3));
  kernel.label = "pool1";
  const auto encode = [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = result}); };
  const auto refused = [&](auto change, std::initializer_list<std::string_view> parts) {
    const CNNPoolingMax before = kernel;
    change(kernel);
    expectEncodeRefused(device, encode, parts);
    kernel = before;
  };
  const std::string_view name = "CNNPoolingMax \"pool1\"";
  refused([](auto& k) { k.edgeMode = ImageEdgeMode::mirror; }, {"edge mode", "is 2", name});
  refused([](auto& k) { k.offset.y = std::numeric_limits<std::ptrdiff_t>::min(); }, {"offset", name});
  refused([](auto& k) { k.sourceFeatureChannelOffset = 3; }, {"feature channel offset", "multiple of 4", name});
  refused([](auto& k) { k.destinationFeatureChannelOffset = 4; }, {"8 channels from 4 on", name});
  expectEncodeRefused(device,
                      [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = source, .destinationImage = source}); },
                      {"overlap in memory", name});
  expectRefusesCommandBuffers(device, encode);
  expectRefused(
      [&] {
        CNNPoolingMax valid(device, {.kernelWidth = 5, .kernelHeight = 1});
        valid.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeValidOnly);
        valid.destinationImageDescriptor({source});
      },
      {"CNNPoolingMax", "window of 5 pixels", "4 pixels"});
}

TEST_P(PoolingChecks, refusesGradientsThatDoNotFit) {
  const Image source = filled(device, 4, 3, 8, 0), g = filled(device, 4, 3, 8, 0), result = filled(device, 4, 3, 8, 0);
  CNNPoolingMaxGradient kernel(device, row(3));
  const auto encode = [&](CommandBuffer& c) {
    kernel.encode(c, {.sourceGradient = g, .sourceImage = source, .destinationGradient = result});
  };
  const auto refused = [&](auto change, std::initializer_list<std::string_view> parts) {
    const CNNPoolingMaxGradient before = kernel;
    change(kernel);
    expectEncodeRefused(device, encode, parts);
    kernel = before;
  };
  refused([](auto& k) { k.secondaryEdgeMode = ImageEdgeMode::constant; }, {"edge mode", "CNNPoolingMaxGradient"});
  refused([](auto& k) { k.secondaryStrideInPixelsX = 0; }, {"secondary stride", "is 0"});
  refused([](auto& k) { k.secondaryOffset.x = std::ptrdiff_t{1} << 40; }, {"offset"});
  refused([](auto& k) { k.primaryOffset.x = std::numeric_limits<std::ptrdiff_t>::min(); }, {"offset"});
  const auto withState = [&](const State& state) {
    return [&, state](CommandBuffer& c) {
      kernel.encode(c, {.sourceGradient = g, .sourceImage = source, .gradientState = state});
    };
  };
  expectEncodeRefused(device,
                      withState(CNNNeuron(device, {}).resultState({.sourceImage = source, .destinationImage = g})),
                      {"gradientState", "state of the forward pooling"});
  expectEncodeRefused(
      device, withState(CNNPoolingL2Norm(device, row(3)).resultState({.sourceImage = source, .destinationImage = g})),
      {"another kind of pooling"});
}

TEST_P(PoolingChecks, behavesAsAKernel) {
  const auto change = [](auto kernel, std::initializer_list<void (*)(decltype(kernel)&)> changes) {
    std::vector<decltype(kernel)> changed;
    for (const auto& each : changes) {
      changed.push_back(kernel);
      each(changed.back());
    }
    return changed;
  };
  CNNPoolingAverage kernel(device, {.kernelWidth = 3, .kernelHeight = 2, .strideInPixelsX = 4, .strideInPixelsY = 5});
  kernel.label = "pool";
  kernel.offset = {-1, 2, 0};
  kernel.edgeMode = ImageEdgeMode::clamp;
  kernel.zeroPadSizeX = 6;
  kernel.zeroPadSizeY = 7;
  auto changed = change(kernel, {[](auto& k) { k.zeroPadSizeX = 1; }, [](auto& k) { k.zeroPadSizeY = 1; },
                                 [](auto& k) { k.edgeMode = ImageEdgeMode::zero; }});
  for (const CNNPooling::Descriptor& window :
       {CNNPooling::Descriptor{2, 2, 4, 5}, {3, 3, 4, 5}, {3, 2, 5, 5}, {3, 2, 4, 4}}) {
    CNNPoolingAverage one(device, window);
    one.label = kernel.label;
    one.offset = kernel.offset;
    one.edgeMode = kernel.edgeMode;
    one.zeroPadSizeX = 6;
    one.zeroPadSizeY = 7;
    changed.push_back(one);
  }
  expectBehavesAsKernel(kernel, changed, device, "CNNPoolingAverage");

  CNNPoolingAverageGradient gradient(device, row(3, 2));
  gradient.label = "pool'";
  gradient.zeroPadSizeX = 6;
  gradient.zeroPadSizeY = 7;
  gradient.sourceSize = {1, 2, 3};
  expectBehavesAsKernel(
      gradient,
      change(gradient, {[](auto& k) { k.zeroPadSizeX = 1; }, [](auto& k) { k.zeroPadSizeY = 1; },
                        [](auto& k) { k.sourceSize.width = 9; }, [](auto& k) { k.sourceSize.height = 9; },
                        [](auto& k) { k.sourceSize.depth = 9; }, [](auto& k) { k.secondaryStrideInPixelsX = 9; }}),
      device, "CNNPoolingAverageGradient");
  const auto same = [&](auto one, const std::string& name) {
    one.label = "x";
    auto renamed = one;
    renamed.label = "y";
    expectBehavesAsKernel(one, {renamed}, device, name);
    expectMalformed<decltype(one)>(
        forged(archiveOf(one), one.isBackwards() ? "secondarykernelWidth" : "kernelWidth", 0), device,
        "a window of width 0");
  };
  const CNNDilatedPoolingDescriptor dilated{
      .kernelWidth = 2, .kernelHeight = 3, .dilationRateX = 2, .dilationRateY = 4};
  same(CNNPoolingMax(device, row(2)), "CNNPoolingMax");
  same(CNNPoolingL2Norm(device, row(2)), "CNNPoolingL2Norm");
  same(CNNDilatedPoolingMax(device, dilated), "CNNDilatedPoolingMax");
  same(CNNPoolingMaxGradient(device, row(2)), "CNNPoolingMaxGradient");
  same(CNNPoolingL2NormGradient(device, row(2)), "CNNPoolingL2NormGradient");
  same(CNNDilatedPoolingMaxGradient(device, dilated), "CNNDilatedPoolingMaxGradient");
}

TEST_P(PoolingChecks, countsReadsOfTemporaries) {
  execute(device, [&](CommandBuffer& c) {
    const ImageDescriptor descriptor{.channelFormat = kFloat, .width = 4};
    const TemporaryImage source(c, descriptor);
    source.setReadCount(3);
    CNNPoolingMax forward(device, row(2, 2));
    State state;
    const Image result = forward.encode(c, {.sourceImage = source, .destinationState = &state});
    EXPECT_EQ(source.readCount(), 2U);
    EXPECT_TRUE(result.isTemporary());
    EXPECT_EQ(result.width(), 2U);
    const TemporaryImage gradient(result);
    gradient.setReadCount(2);
    CNNPoolingMaxGradient backward(device, row(2, 2));
    const Image made = backward.encode(c, {.sourceGradient = result, .sourceImage = source, .gradientState = state});
    EXPECT_EQ(source.readCount(), 1U);
    EXPECT_EQ(gradient.readCount(), 1U);
    EXPECT_EQ(made.width(), 4U);
  });
}

}  // namespace
}  // namespace metalloid::test
