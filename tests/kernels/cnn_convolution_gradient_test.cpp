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

class CNNConvolutionGradientTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width, std::size_t height, std::size_t channels, const Floats& values = {}) const {
    return imageOf(device, width, height, channels, values);
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, CNNConvolutionGradientTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

/// The stride-2 example: source 1 ... 5, weights 1, 10, 100, E = 1, 1, 1.
struct StrideExample {
  explicit StrideExample(const Device& device)
      : weights(weightsOf({.kernelWidth = 3, .kernelHeight = 1, .strideInPixelsX = 2}, {1, 10, 100})),
        forward(device, weights),
        gradient(device, weights),
        source(imageOf(device, 5, 1, 1, {1, 2, 3, 4, 5})),
        result(imageOf(device, 3, 1, 1)),
        e(imageOf(device, 3, 1, 1, {1, 1, 1})) {
    gradient.destinationImageAllocator = Image::defaultAllocator();
  }

  CNNConvolutionGradientState state() {
    return CNNConvolutionGradientState(forward.resultState({.sourceImage = source, .destinationImage = result}));
  }

  std::shared_ptr<testing::ConvolutionWeights> weights;
  CNNConvolution forward;
  CNNConvolutionGradient gradient;
  Image source, result, e;
};

const Floats kDataGradient{10, 101, 10, 101, 10};

TEST_P(CNNConvolutionGradientTest, ComputesTheWorkedExample) {
  StrideExample x(device);
  State state;
  Image made;
  execute(device, [&](CommandBuffer& commands) {
    x.forward.encode(commands, {.sourceImage = x.source, .destinationState = &state, .destinationImage = x.result});
    made = x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state});
  });
  EXPECT_EQ(made.width(), 5u);
  EXPECT_EQ(made.read<float>(), kDataGradient);
  const CNNConvolutionGradientState gradients(state);
  EXPECT_EQ(gradients.gradientForWeights().read<float>(), (Floats{6, 9, 6}));
  EXPECT_EQ(gradients.gradientForBiases().read<float>(), (Floats{3}));
  EXPECT_EQ(gradients.sourceWidth(), 5u);
  EXPECT_EQ(gradients.sourceHeight(), 1u);
  EXPECT_EQ(gradients.convolution().dataSource(), x.weights);
  EXPECT_EQ(gradients.gradientForWeightsLayout(), CNNConvolutionWeightsLayout::OHWI);
}

TEST_P(CNNConvolutionGradientTest, TakesAGivenDestinationAndDefaultsFromTheState) {
  StrideExample x(device);
  const auto state = x.state();
  const Image destination = image(5, 1, 1, Floats(5, 7));
  execute(device, [&](CommandBuffer& commands) {
    x.gradient.encode(
        commands,
        {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state, .destinationGradient = destination});
  });
  EXPECT_EQ(destination.read<float>(), kDataGradient);
  EXPECT_EQ(state.gradientForWeights().read<float>(), (Floats{6, 9, 6}));
}

TEST_P(CNNConvolutionGradientTest, TakesPropertiesWithoutAState) {
  // Forward offset 0, odd window: kernelOffset 0, which is told from the default by secondaryOffset.
  StrideExample x(device);
  x.gradient.gradientOption = CNNConvolutionGradientOption::gradientWithData;
  x.gradient.secondaryOffset.x = -1;
  const Image whole = image(5, 1, 1, Floats(5, 7)), part = image(4, 1, 1, Floats(4, 7)),
              shifted = image(5, 1, 1, Floats(5, 7));
  const Image wide = image(5, 1, 1, {0, 1, 1, 1, 0});  // E with zeros around it
  execute(device, [&](CommandBuffer& commands) {
    const auto encode = [&](const Image& e, const Image& destination) {
      x.gradient.encode(commands, {.sourceGradient = e, .sourceImage = x.source, .destinationGradient = destination});
    };
    encode(x.e, whole);
    x.gradient.kernelOffsetX = 2;  // from source pixel 2 on
    x.gradient.clipRect = {{1, 0, 0}, {2, 1, 1}};
    encode(x.e, part);
    x.gradient.kernelOffsetX = 0;
    x.gradient.clipRect = regionNoClip;
    x.gradient.primaryOffset.x = 1;
    encode(wide, shifted);
  });
  EXPECT_EQ(whole.read<float>(), kDataGradient);
  EXPECT_EQ(part.read<float>(), (Floats{7, 10, 101, 7}));
  EXPECT_EQ(shifted.read<float>(), kDataGradient);
}

TEST_P(CNNConvolutionGradientTest, DocumentedPropertiesEqualTheState) {
  // An even dilated window, another offset, strides: the properties of the documentation and the state agree.
  const auto weights =
      weightsOf({.kernelWidth = 2, .kernelHeight = 2, .strideInPixelsX = 2, .dilationRateX = 3}, {1, 10, 100, 1000});
  CNNConvolution forward(device, weights);
  forward.offset = {1, 1, 0};
  const Image source = image(5, 3, 1, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}), result = image(3, 2, 1),
              e = image(3, 2, 1, {1, 2, 3, 4, 5, 6});
  const CNNConvolutionGradientState ofState(forward.resultState({.sourceImage = source, .destinationImage = result})),
      ofProperties(forward.resultState({.sourceImage = source, .destinationImage = result}));
  CNNConvolutionGradient gradient(device, weights), manual(device, weights);
  gradient.destinationImageAllocator = Image::defaultAllocator();
  manual.kernelOffsetX = -1 + 1;  // K = 4
  manual.kernelOffsetY = -1 + 1;  // K = 2
  manual.secondaryOffset = {1 - 2, 1 - 1, 0};
  Image expected;
  const Image actual = image(5, 3, 1);
  execute(device, [&](CommandBuffer& commands) {
    expected = gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = ofState});
    manual.encode(
        commands,
        {.sourceGradient = e, .sourceImage = source, .gradientState = ofProperties, .destinationGradient = actual});
  });
  EXPECT_EQ(gradient.kernelOffsetX, manual.kernelOffsetX);
  EXPECT_EQ(gradient.kernelOffsetY, manual.kernelOffsetY);
  EXPECT_EQ(gradient.secondaryOffset, manual.secondaryOffset);
  EXPECT_EQ(gradient.primaryOffset, Offset{});
  EXPECT_EQ(actual.read<float>(), expected.read<float>());
  EXPECT_EQ(ofProperties.gradientForWeights().read<float>(), ofState.gradientForWeights().read<float>());
  EXPECT_NE(expected.read<float>(), Floats(15));
}

TEST_P(CNNConvolutionGradientTest, AccumulatesFromTheSecondEncodeOn) {
  StrideExample x(device);
  const auto state = x.state();
  execute(device, [&](CommandBuffer& commands) {
    for (int n = 0; n < 3; ++n)
      x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state});
  });
  EXPECT_EQ(state.gradientForWeights().read<float>(), (Floats{18, 27, 18}));
  EXPECT_EQ(state.gradientForBiases().read<float>(), (Floats{9}));
  // The batch that comes in one encode has the same sum.
  const StateBatch shared =
      x.forward.resultStateBatch({.sourceImage = x.source, .destinationImage = x.result, .batchSize = 3});
  EXPECT_EQ(shared[0], shared[2]);
  execute(device, [&](CommandBuffer& commands) {
    x.gradient.encodeBatch(
        commands,
        {.sourceGradients = {x.e, x.e, x.e}, .sourceImages = {x.source, x.source, x.source}, .gradientStates = shared});
  });
  EXPECT_EQ(CNNConvolutionGradientState(shared[0]).gradientForWeights().read<float>(), (Floats{18, 27, 18}));
}

TEST_P(CNNConvolutionGradientTest, ComputesWhatIsAskedFor) {
  StrideExample x(device);
  const auto state = x.state();
  const Image destination = image(5, 1, 1, Floats(5, 7));
  execute(device, [&](CommandBuffer& commands) {
    x.gradient.gradientOption = CNNConvolutionGradientOption::gradientWithWeightsAndBias;
    x.gradient.encode(
        commands,
        {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state, .destinationGradient = destination});
  });
  EXPECT_EQ(destination.read<float>(), Floats(5, 7));
  EXPECT_EQ(state.gradientForBiases().read<float>(), (Floats{3}));
  execute(device, [&](CommandBuffer& commands) {
    x.gradient.gradientOption = CNNConvolutionGradientOption::gradientWithData;
    x.gradient.encode(
        commands,
        {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state, .destinationGradient = destination});
    EXPECT_EQ(x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source}).width(), 5u);
  });
  EXPECT_EQ(destination.read<float>(), kDataGradient);
  EXPECT_EQ(state.gradientForBiases().read<float>(), (Floats{3}));
}

TEST_P(CNNConvolutionGradientTest, CutsTheGradientToWhatWasWritten) {
  // The forward kernel wrote pixels 1 ... 3 of 5, channels 4 and on of 5; other gradients must not count.
  StrideExample x(device);
  x.forward.clipRect = {{1, 0, 0}, {3, 1, 1}};
  x.forward.destinationFeatureChannelOffset = 4;
  const Image result = image(5, 1, 5);
  Floats values(25, 1000);
  for (const std::size_t i : {1u, 2u, 3u}) values[i * 5 + 4] = 1;
  const Image e = image(5, 1, 5, values);
  State state;
  Image made;
  execute(device, [&](CommandBuffer& commands) {
    x.forward.encode(commands, {.sourceImage = x.source, .destinationState = &state, .destinationImage = result});
    made = x.gradient.encode(commands, {.sourceGradient = e, .sourceImage = x.source, .gradientState = state});
  });
  EXPECT_EQ(made.read<float>(), kDataGradient);
  EXPECT_EQ(CNNConvolutionGradientState(state).gradientForWeights().read<float>(), (Floats{6, 9, 6}));
  EXPECT_EQ(x.gradient.primaryOffset.x, 1);
  EXPECT_EQ(x.gradient.primarySourceFeatureChannelOffset, 4u);
}

TEST_P(CNNConvolutionGradientTest, ChannelsThatWereNotReadGetZero) {
  CNNConvolution forward(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {3}));
  forward.sourceFeatureChannelOffset = 4;
  CNNConvolutionGradient gradient(device, forward.sharedWeights());
  gradient.destinationImageAllocator = Image::defaultAllocator();
  const Image source = image(1, 1, 6, {0, 0, 0, 0, 5, 0}), result = image(1, 1, 1), e = image(1, 1, 1, {2});
  State state;
  Image made;
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands, {.sourceImage = source, .destinationState = &state, .destinationImage = result});
    made = gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = state});
  });
  EXPECT_EQ(made.read<float>(), (Floats{0, 0, 0, 0, 6, 0}));
  EXPECT_EQ(CNNConvolutionGradientState(state).gradientForWeights().read<float>(), (Floats{10}));
}

TEST_P(CNNConvolutionGradientTest, ClampedTapsGiveTheirGradientToTheEdge) {
  CNNConvolution forward(device, weightsOf({.kernelWidth = 3, .kernelHeight = 1}, {1, 10, 100}));
  forward.edgeMode = ImageEdgeMode::clamp;
  CNNConvolutionGradient gradient(device, forward.sharedWeights());
  gradient.destinationImageAllocator = Image::defaultAllocator();
  const Image source = image(3, 1, 1, {1, 2, 3}), result = image(3, 1, 1), e = image(3, 1, 1, {1, 1, 1});
  State state;
  Image made;
  const Image last = image(1, 1, 1);
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands, {.sourceImage = source, .destinationState = &state, .destinationImage = result});
    made = gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = state});
    // The last source pixel alone.
    gradient.gradientOption = CNNConvolutionGradientOption::gradientWithData;
    gradient.kernelOffsetX += 2;
    gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .destinationGradient = last});
    gradient.kernelOffsetX += 1;
    expectRefused(
        [&] { gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .destinationGradient = last}); },
        {"clamp mode", "(3, 0)"});
  });
  EXPECT_EQ(made.read<float>(), (Floats{1 + 10 + 1, 111, 100 + 10 + 100}));
  EXPECT_EQ(last.read<float>(), (Floats{210}));
  EXPECT_EQ(CNNConvolutionGradientState(state).gradientForWeights().read<float>(), (Floats{1 + 1 + 2, 6, 2 + 3 + 3}));
}

TEST_P(CNNConvolutionGradientTest, TemporaryStatesOutliveTheGradient) {
  StrideExample x(device);
  const Vector out(device, {.length = 3});
  execute(device, [&](CommandBuffer& commands) {
    State state;
    x.forward.encode(commands, {.sourceImage = x.source,
                                .destinationState = &state,
                                .destinationStateIsTemporary = true,
                                .destinationImage = x.result});
    ASSERT_TRUE(state.isTemporary());
    x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state});
    EXPECT_EQ(state.readCount(), 1u);
    const CNNConvolutionGradientState gradients(state);
    NNOptimizerStochasticGradientDescent(device, 1.0f)
        .encode(commands, {.inputGradientVector = gradients.gradientForWeights(),
                           .inputValuesVector = Vector(device, {.length = 3}),
                           .resultValuesVector = out});
    state.setReadCount(0);
    expectRefused(
        [&] { x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = state}); },
        {"readCount"});
  });
  EXPECT_EQ(out.read<float>(), (Floats{-6, -9, -6}));
}

TEST_P(CNNConvolutionGradientTest, DefaultsAreTheDocumentedOnes) {
  StrideExample x(device);
  EXPECT_EQ(x.gradient.gradientOption, CNNConvolutionGradientOption::all);
  EXPECT_FALSE(x.gradient.serializeWeightsAndBiases);
  EXPECT_EQ(x.gradient.kernelOffsetX, 0);
  EXPECT_EQ(x.gradient.kernelOffsetY, 0);
  EXPECT_EQ(x.gradient.sourceGradientFeatureChannels(), 1u);
  EXPECT_EQ(x.gradient.sourceImageFeatureChannels(), 1u);
  EXPECT_EQ(x.gradient.groups(), 1u);
  EXPECT_EQ(x.gradient.channelMultiplier(), 0u);
  EXPECT_EQ(x.gradient.secondaryKernelWidth(), 3u);
  EXPECT_EQ(x.gradient.secondaryStrideInPixelsX, 2u);
  EXPECT_EQ(x.gradient.dataSource(), x.weights);
  EXPECT_TRUE(x.gradient.isBackwards());
  EXPECT_TRUE(x.gradient.isStateModified());
}

TEST_P(CNNConvolutionGradientTest, RefusesWhatDoesNotFit) {
  StrideExample x(device);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const auto state = x.state();
  expectRefused([&] { x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source}); },
                {"CNNConvolutionGradient", "gradientState is nil"});
  const State other = CNNNeuron(device, {}).resultState({.sourceImage = x.source, .destinationImage = x.source});
  expectRefused(
      [&] { x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = other}); },
      {"CNNConvolutionGradientState"});
  CNNConvolution larger(device, weightsOf({.kernelWidth = 5, .kernelHeight = 1}, Floats(5)));
  const State foreign = larger.resultState({.sourceImage = x.source, .destinationImage = x.source});
  expectRefused(
      [&] { x.gradient.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source, .gradientState = foreign}); },
      {"another convolution", "5 weights", "3"});
  expectRefused(
      [&] {
        x.gradient.encode(commands,
                          {.sourceGradient = image(4, 1, 1), .sourceImage = x.source, .gradientState = state});
      },
      {"sourceGradient", "1 x 4", "1 x 3"});
  expectRefused(
      [&] {
        x.gradient.encodeBatch(commands, {.sourceGradients = {x.e, x.e},
                                          .sourceImages = {x.source, x.source},
                                          .gradientStates = {state, x.state()}});
      },
      {"gradientStates", "differ"});
  CNNConvolutionGradient two(device,
                             weightsOf({.kernelWidth = 1, .kernelHeight = 1, .outputFeatureChannels = 2}, {1, 2}));
  two.gradientOption = CNNConvolutionGradientOption::gradientWithData;
  expectRefused([&] { two.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source}); },
                {"1 channels", "reads 2"});
  two.secondaryEdgeMode = ImageEdgeMode::constant;
  expectRefused([&] { two.encode(commands, {.sourceGradient = x.e, .sourceImage = x.source}); }, {"edge mode"});
  EXPECT_EQ(state.gradientForWeights().read<float>(), Floats(3));
}

TEST_P(CNNConvolutionGradientTest, RefusesDescriptorsWithoutAGradient) {
  CNNConvolutionDescriptor descriptor{.kernelWidth = 1, .kernelHeight = 1, .outputFeatureChannels = 4};
  const auto make = [&](const CNNConvolutionDescriptor& d) {
    return [this, d] { CNNConvolutionGradient(device, weightsOf(d, Floats(4))); };
  };
  auto neuron = descriptor;
  neuron.fusedNeuronDescriptor.neuronType = CNNNeuronType::reLU;
  expectRefused(make(neuron), {"CNNConvolutionGradient", "neuron"});
  auto normalized = descriptor;
  normalized.setBatchNormalizationParametersForInferenceWithMean({}, {}, {}, {}, 1);
  expectRefused(make(normalized), {"batch normalization"});
  expectRefused(make(CNNSubPixelConvolutionDescriptor(descriptor, 2)), {"subPixelScaleFactor"});
}

}  // namespace
}  // namespace metalloid
