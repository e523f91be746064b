#include <metalloid/cnn_fully_connected.hpp>

#include "kernels/kernel_checks.hpp"
#include "support/convolution.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

namespace metalloid {
namespace {

using test::expectRefused;
using testing::execute;
using testing::imageOf;
using testing::weightsOf;
using Floats = std::vector<float>;

class CNNFullyConnectedTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width, std::size_t height, std::size_t channels, const Floats& values = {}) const {
    return imageOf(device, width, height, channels, values);
  }
  /// 2 x 1 pixels of 2 channels to 2 channels.
  std::shared_ptr<testing::ConvolutionWeights> weights() const {
    return weightsOf({.kernelWidth = 2, .kernelHeight = 1, .inputFeatureChannels = 2, .outputFeatureChannels = 2},
                     {1, 10, 100, 1000, -1, 0, 0, 1}, {0.5f, 0});
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, CNNFullyConnectedTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

TEST_P(CNNFullyConnectedTest, MakesOnePixelOfAll) {
  CNNFullyConnected kernel(device, weights());
  EXPECT_EQ(kernel.padding->paddingMethod(), NNPaddingMethod::validOnly);
  kernel.destinationImageAllocator = Image::defaultAllocator();
  kernel.offset = {5, -3, 0};  // ignored
  const Image source = image(2, 1, 2, {1, 2, 3, 4}), given = image(1, 1, 2), large = image(3, 2, 2);
  Image made, padded;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = source, .destinationImage = given});
    made = kernel.encode(commands, {.sourceImage = source});
    kernel.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame);  // likewise
    padded = kernel.encode(commands, {.sourceImage = source});
    kernel.clipRect = {{2, 1, 0}, {1, 1, 1}};
    kernel.encode(commands, {.sourceImage = source, .destinationImage = large});
  });
  const Floats expected{4321.5f, 3};
  EXPECT_EQ(given.read<float>(), expected);
  EXPECT_EQ(made.read<float>(), expected);
  EXPECT_EQ(padded.read<float>(), expected);
  Floats inLarge(12);
  inLarge[10] = 4321.5f;
  inLarge[11] = 3;
  EXPECT_EQ(large.read<float>(), inLarge);
}

TEST_P(CNNFullyConnectedTest, GradientHasTheTransposedWeights) {
  CNNFullyConnected forward(device, weights());
  CNNFullyConnectedGradient gradient(device, forward.sharedWeights());
  gradient.destinationImageAllocator = Image::defaultAllocator();
  const Image a = image(2, 1, 2, {1, 2, 3, 4}), b = image(2, 1, 2, {5, 6, 7, 8}), e = image(1, 1, 2, {2, 3}),
              f = image(1, 1, 2, {1, 0}), given = image(2, 1, 2);
  ImageBatch made;
  StateBatch states;
  execute(device, [&](CommandBuffer& commands) {
    forward.encodeBatch(commands, {.sourceImages = {a, b}, .destinationStates = &states});
    made =
        gradient.encodeBatch(commands, {.sourceGradients = {e, f}, .sourceImages = {a, b}, .gradientStates = states});
    CNNFullyConnectedGradient plain(device, forward.sharedWeights());
    plain.gradientOption = CNNConvolutionGradientOption::gradientWithData;
    plain.encode(commands, {.sourceGradient = e, .sourceImage = a, .destinationGradient = given});
  });
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(states[0], states[1]);
  EXPECT_EQ(made[0].read<float>(), (Floats{2 - 3, 20, 200, 2000 + 3}));
  EXPECT_EQ(made[1].read<float>(), (Floats{1, 10, 100, 1000}));
  EXPECT_EQ(given.read<float>(), made[0].read<float>());
  const CNNConvolutionGradientState gradients(states[0]);
  EXPECT_EQ(gradients.gradientForWeights().read<float>(), (Floats{2 + 5, 4 + 6, 6 + 7, 8 + 8, 3, 6, 9, 12}));
  EXPECT_EQ(gradients.gradientForBiases().read<float>(), (Floats{3, 3}));
  EXPECT_EQ(gradients.convolution().dataSource(), forward.dataSource());
}

TEST_P(CNNFullyConnectedTest, BehavesAsAKernel) {
  CNNFullyConnected kernel(device, weights());
  kernel.label = "fc";
  auto changed = kernel;
  changed.destinationFeatureChannelOffset = 4;
  test::expectBehavesAsKernel(kernel, {changed}, device, "CNNFullyConnected");
  CNNFullyConnectedGradient gradient(device, weights());
  gradient.label = "fc";
  auto other = gradient;
  other.gradientOption = CNNConvolutionGradientOption::gradientWithData;
  test::expectBehavesAsKernel(gradient, {other}, device, "CNNFullyConnectedGradient");
}

TEST_P(CNNFullyConnectedTest, RefusesWhatDoesNotFit) {
  const auto make = [&](const CNNConvolutionDescriptor& d) {
    return [this, d] { CNNFullyConnected(device, weightsOf(d, Floats(testing::weightCount(d)))); };
  };
  expectRefused(make({.strideInPixelsX = 2}), {"strideInPixelsX", "CNNFullyConnected", "2"});
  expectRefused(make({.strideInPixelsY = 2}), {"strideInPixelsY"});
  expectRefused(make({.dilationRateX = 2}), {"dilationRateX"});
  expectRefused(make({.dilationRateY = 2}), {"dilationRateY"});
  expectRefused(make({.inputFeatureChannels = 2, .outputFeatureChannels = 2, .groups = 2}), {"groups"});
  expectRefused(make(CNNSubPixelConvolutionDescriptor({.outputFeatureChannels = 4}, 2)), {"subPixelScaleFactor"});
  expectRefused(make(CNNDepthWiseConvolutionDescriptor({})), {"depth-wise"});
  expectRefused([&] { CNNFullyConnectedGradient(device, weightsOf({.strideInPixelsX = 2}, Floats(9))); },
                {"strideInPixelsX", "CNNFullyConnectedGradient"});
  CNNFullyConnected kernel(device, weights());
  test::expectEncodeRefused(device,
                            [&](CommandBuffer& commands) {
                              kernel.encode(commands,
                                            {.sourceImage = image(3, 1, 2), .destinationImage = image(1, 1, 2)});
                            },
                            {"1 x 3 pixels", "1 x 2"});
  test::expectEncodeRefused(device,
                            [&](CommandBuffer& commands) {
                              kernel.encode(commands,
                                            {.sourceImage = image(2, 1, 2), .destinationImage = image(2, 2, 2)});
                            },
                            {"one pixel", "2 x 2"});
}

}  // namespace
}  // namespace metalloid
