#include <metalloid/cnn_convolution_transpose.hpp>

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

class CNNConvolutionTransposeTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width, std::size_t height, std::size_t channels, const Floats& values = {}) const {
    return imageOf(device, width, height, channels, values);
  }
  CNNConvolutionTranspose transpose(std::size_t taps, std::size_t stride, const Floats& weights,
                                    std::size_t dilation = 1) const {
    CNNConvolutionTranspose kernel(
        device,
        weightsOf({.kernelWidth = taps, .kernelHeight = 1, .strideInPixelsX = stride, .dilationRateX = dilation},
                  weights));
    kernel.destinationImageAllocator = Image::defaultAllocator();
    return kernel;
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, CNNConvolutionTransposeTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

TEST_P(CNNConvolutionTransposeTest, ComputesTheWorkedExample) {
  auto kernel = transpose(3, 2, {1, 10, 100});
  const Image source = image(4, 1, 1, {1, 2, 3, 4}), given = image(7, 1, 1);
  Image made;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = source, .destinationImage = given});
    made = kernel.encode(commands, {.sourceImage = source});  // same: (4 - 1) * 2 + 1
  });
  const Floats expected{10, 201, 20, 302, 30, 403, 40};
  EXPECT_EQ(given.read<float>(), expected);
  EXPECT_EQ(made.read<float>(), expected);
}

TEST_P(CNNConvolutionTransposeTest, OffsetsShiftTheWindow) {
  auto kernel = transpose(3, 2, {1, 10, 100});
  const Image source = image(4, 1, 1, {1, 2, 3, 4});
  const Image byKernelOffset = image(3, 1, 1), byOffset = image(3, 1, 1), clipped = image(3, 1, 1, {7, 7, 7});
  execute(device, [&](CommandBuffer& commands) {
    kernel.kernelOffsetX = -1;
    kernel.encode(commands, {.sourceImage = source, .destinationImage = byKernelOffset});
    kernel.offset.x = 2;  // 4 pixels of the enlarged source
    kernel.encode(commands, {.sourceImage = source, .destinationImage = byOffset});
    kernel.clipRect = {{1, 0, 0}, {1, 1, 1}};
    kernel.encode(commands, {.sourceImage = source, .destinationImage = clipped});
  });
  EXPECT_EQ(byKernelOffset.read<float>(), (Floats{100, 10, 201}));
  EXPECT_EQ(byOffset.read<float>(), (Floats{302, 30, 403}));
  EXPECT_EQ(clipped.read<float>(), (Floats{7, 302, 7}));
}

TEST_P(CNNConvolutionTransposeTest, SizesByThePolicySoThatNothingIsLost) {
  const Image source = image(2, 1, 1, {1, 2});
  const auto run = [&](CNNConvolutionTranspose kernel, NNPaddingMethod size) {
    kernel.padding = NNDefaultPadding::paddingWithMethod(size);
    Image made;
    execute(device, [&](CommandBuffer& commands) { made = kernel.encode(commands, {.sourceImage = source}); });
    return made.read<float>();
  };
  EXPECT_EQ(run(transpose(3, 1, {1, 10, 100}), NNPaddingMethod::sizeFull), (Floats{100, 210, 21, 2}));
  EXPECT_EQ(run(transpose(2, 1, {1, 10}), NNPaddingMethod::sizeFull), (Floats{10, 21, 2}));
  EXPECT_EQ(run(transpose(3, 2, {1, 10, 100}), NNPaddingMethod::sizeFull), (Floats{100, 10, 201, 20, 2}));
  EXPECT_EQ(run(transpose(2, 1, {1, 10}), NNPaddingMethod::sizeValidOnly), (Floats{21}));
  EXPECT_EQ(run(transpose(2, 3, {1, 10}), NNPaddingMethod::sizeValidOnly), (Floats{1, 0, 20}));
  EXPECT_EQ(run(transpose(2, 1, {1, 10}, 2), NNPaddingMethod::sizeFull), (Floats{10, 20, 1, 2}));
  EXPECT_EQ(run(transpose(1, 3, {5}), NNPaddingMethod::sizeSame), (Floats{5, 0, 0, 10}));
}

TEST_P(CNNConvolutionTransposeTest, TheStateOfAConvolutionPinsSizeAndOffset) {
  // Undoes the geometry of a convolution of stride 2 on 6 pixels: with its weights turned, the transpose is the
  // gradient.
  for (const auto& [taps, remainder] : {std::pair{3, NNPaddingMethod::addRemainderToTopLeft},
                                        {3, NNPaddingMethod::addRemainderToBottomRight},
                                        {2, NNPaddingMethod::addRemainderToTopLeft},
                                        {4, NNPaddingMethod::addRemainderToBottomRight}}) {
    Floats weights{1, 10, 100, 1000};
    weights.resize(static_cast<std::size_t>(taps));
    const Floats turned(weights.rbegin(), weights.rend());
    CNNConvolution forward(
        device, weightsOf({.kernelWidth = weights.size(), .kernelHeight = 1, .strideInPixelsX = 2}, weights));
    forward.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame | remainder);
    CNNConvolutionGradient gradient(device, forward.sharedWeights());
    gradient.destinationImageAllocator = Image::defaultAllocator();
    auto kernel = transpose(weights.size(), 2, turned);
    const Image source = image(6, 1, 1, {1, 2, 3, 4, 5, 6}), e = image(3, 1, 1, {1, 2, 3}), given = image(6, 1, 1);
    State state;
    Image expected, made;
    execute(device, [&](CommandBuffer& commands) {
      forward.encode(commands, {.sourceImage = source, .destinationState = &state});
      expected = gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = state});
      const CNNConvolutionGradientState undone(state);
      made = kernel.encode(commands, {.sourceImage = e, .convolutionGradientState = undone});
      auto other = transpose(weights.size(), 2, turned);
      other.encode(commands, {.sourceImage = e, .convolutionGradientState = undone, .destinationImage = given});
    });
    EXPECT_EQ(made.width(), 6u);
    EXPECT_EQ(made.read<float>(), expected.read<float>()) << taps;
    EXPECT_EQ(given.read<float>(), expected.read<float>()) << taps;
  }
}

TEST_P(CNNConvolutionTransposeTest, ConsumesTheTemporaryStateOfTheConvolution) {
  CNNConvolution forward(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {2}));
  CNNConvolutionTranspose kernel(device, forward.sharedWeights());
  const Image x = image(1, 1, 1, {3}), y = image(1, 1, 1);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  State state, made;
  forward.encode(
      commands,
      {.sourceImage = x, .destinationState = &state, .destinationStateIsTemporary = true, .destinationImage = y});
  kernel.encode(commands, {.sourceImage = y,
                           .convolutionGradientState = CNNConvolutionGradientState(state),
                           .destinationState = &made,
                           .destinationStateIsTemporary = true});
  EXPECT_EQ(state.readCount(), 0u);
  const CNNConvolutionTransposeGradientState own(made);
  EXPECT_TRUE(own.isTemporary());
  EXPECT_EQ(own.convolution().dataSource(), forward.dataSource());
  EXPECT_EQ(own.convolutionTranspose().dataSource(), kernel.dataSource());
}

TEST_P(CNNConvolutionTransposeTest, GradientIsItsAdjoint) {
  // y = 10, 201, 20, ... of the worked example; E = 1, 2, 4, ..., 64 picks each.
  auto forward = transpose(3, 2, {1, 10, 100});
  CNNConvolutionTransposeGradient gradient(device, forward.sharedWeights());
  gradient.destinationImageAllocator = Image::defaultAllocator();
  const Image source = image(4, 1, 1, {1, 2, 3, 4}), e = image(7, 1, 1, {1, 2, 4, 8, 16, 32, 64});
  State state;
  Image made;
  const Image given = image(4, 1, 1);
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands, {.sourceImage = source, .destinationState = &state});
    made = gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = state});
    CNNConvolutionTransposeGradient other(device, forward.sharedWeights());
    other.gradientOption = CNNConvolutionGradientOption::gradientWithData;
    other.encode(commands, {.sourceGradient = e, .sourceImage = source, .destinationGradient = given});
  });
  // Source a is read by output 2a - 1 through tap 2, by 2a through tap 1, by 2a + 1 through tap 0.
  const Floats data{10 + 2, 200 + 40 + 8, 800 + 160 + 32, 3200 + 640};
  EXPECT_EQ(made.read<float>(), data);
  EXPECT_EQ(given.read<float>(), data);
  const CNNConvolutionTransposeGradientState gradients(state);
  EXPECT_EQ(gradients.gradientForWeights().read<float>(),
            (Floats{2 * 1 + 8 * 2 + 32 * 3, 1 + 4 * 2 + 16 * 3 + 64 * 4, 2 * 2 + 8 * 3 + 32 * 4}));
  EXPECT_EQ(gradients.gradientForBiases().read<float>(), (Floats{127}));
  expectRefused([&] { (void)gradients.convolution(); }, {"no convolution"});
}

TEST_P(CNNConvolutionTransposeTest, GradientFollowsOffsetsAndClipRectangles) {
  auto forward = transpose(3, 2, {1, 10, 100});
  forward.offset.x = 1;
  forward.kernelOffsetX = -1;
  forward.clipRect = {{2, 0, 0}, {3, 1, 1}};
  const Image source = image(4, 1, 1, {1, 2, 3, 4}), result = image(6, 1, 1);
  // The outputs are 201, 20, 302 - with the centres 1, 2, 3 of the enlarged source; gradients elsewhere do not count.
  const Image e = image(6, 1, 1, {1000, 1000, 1, 2, 4, 1000});
  CNNConvolutionTransposeGradient gradient(device, forward.sharedWeights());
  gradient.destinationImageAllocator = Image::defaultAllocator();
  State state;
  Image made, cut;
  const auto sliced = image(3, 1, 1, {1, 2, 4});
  State second;
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands, {.sourceImage = source, .destinationState = &state, .destinationImage = result});
    forward.encode(commands, {.sourceImage = source, .destinationState = &second, .destinationImage = result});
    made = gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = state});
    cut = gradient.encode(commands, {.sourceGradient = sliced, .sourceImage = source, .gradientState = second});
  });
  EXPECT_EQ(result.read<float>(), (Floats{0, 0, 201, 20, 302, 0}));
  EXPECT_EQ(made.read<float>(), (Floats{1, 100 + 20 + 4, 400, 0}));
  EXPECT_EQ(cut.read<float>(), made.read<float>());
  const Floats weights{1 + 8, 4, 2 + 12};
  EXPECT_EQ(CNNConvolutionGradientState(state).gradientForWeights().read<float>(), weights);
  EXPECT_EQ(CNNConvolutionGradientState(second).gradientForWeights().read<float>(), weights);
}

TEST_P(CNNConvolutionTransposeTest, DefaultsAndArchives) {
  CNNConvolutionDescriptor descriptor{.kernelWidth = 2, .kernelHeight = 1, .strideInPixelsX = 3};
  descriptor.fusedNeuronDescriptor = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::sigmoid);
  const auto source = weightsOf(descriptor, {1, 2}, {3});
  source->name = "up";
  CNNConvolutionTranspose kernel(device, source);
  EXPECT_EQ(kernel.label, "up");
  EXPECT_EQ(kernel.kernelOffsetX, 0);
  EXPECT_EQ(kernel.kernelOffsetY, 0);
  EXPECT_EQ(kernel.accumulatorPrecisionOption, NNConvolutionAccumulatorPrecisionOption::float_);
  EXPECT_EQ(kernel.inputFeatureChannels(), 1u);
  EXPECT_EQ(kernel.outputFeatureChannels(), 1u);
  EXPECT_EQ(kernel.groups(), 1u);
  EXPECT_EQ(kernel.strideInPixelsX(), 3u);
  EXPECT_TRUE(kernel.isBackwards());
  EXPECT_TRUE(kernel.isResultStateReusedAcrossBatch());
  kernel.kernelOffsetX = -2;
  CNNConvolutionTranspose other = kernel;
  other.kernelOffsetY = 1;
  test::expectBehavesAsKernel(kernel, {other}, device, "CNNConvolutionTranspose");

  CNNConvolutionTransposeGradient gradient(device, weightsOf({.kernelWidth = 2, .kernelHeight = 1}, {1, 2}));
  gradient.label = "g";
  auto changed = gradient;
  changed.gradientOption = CNNConvolutionGradientOption::gradientWithData;
  test::expectBehavesAsKernel(gradient, {changed}, device, "CNNConvolutionTransposeGradient");
}

TEST_P(CNNConvolutionTransposeTest, RefusesWhatDoesNotFit) {
  expectRefused([&] { CNNConvolutionTranspose(device, nullptr); }, {"CNNConvolutionTranspose", "nil"});
  expectRefused(
      [&] {
        CNNConvolutionTranspose(
            device, weightsOf(CNNSubPixelConvolutionDescriptor({.outputFeatureChannels = 4}, 2), Floats(36)));
      },
      {"subPixelScaleFactor"});
  CNNConvolutionDescriptor withNeuron;
  withNeuron.fusedNeuronDescriptor.neuronType = CNNNeuronType::reLU;
  expectRefused([&] { CNNConvolutionTransposeGradient(device, weightsOf(withNeuron, Floats(9))); },
                {"CNNConvolutionTransposeGradient", "neuron"});
  auto kernel = transpose(3, 2, {1, 10, 100});
  const Image source = image(4, 1, 1), result = image(7, 1, 1);
  const auto refused = [&](std::initializer_list<std::string_view> words) {
    test::expectEncodeRefused(
        device,
        [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = source, .destinationImage = result}); },
        words);
  };
  kernel.edgeMode = ImageEdgeMode::clamp;
  refused({"clamp", "enlarge"});
  kernel.edgeMode = ImageEdgeMode::mirror;
  refused({"edge mode"});
  // Stride 1 enlarges nothing, and may clamp.
  auto flat = transpose(3, 1, {1, 10, 100});
  flat.edgeMode = ImageEdgeMode::clamp;
  const Image x = image(3, 1, 1, {1, 2, 3}), y = image(3, 1, 1);
  execute(device, [&](CommandBuffer& commands) { flat.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{211, 321, 332}));
  const State other = CNNNeuron(device, {}).resultState({.sourceImage = source, .destinationImage = source});
  expectRefused([&] { CNNConvolutionGradientState{other}; }, {"CNNConvolutionGradientState"});
}

}  // namespace
}  // namespace metalloid
