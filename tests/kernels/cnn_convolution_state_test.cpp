// States of convolutions, and what optimizers make of them.

#include <metalloid/cnn_convolution_state.hpp>

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

class CNNConvolutionStateTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();
  const CNNConvolutionDescriptor one{.kernelWidth = 1, .kernelHeight = 1};

  Vector vector(const Floats& values) const {
    const Vector result(device, {.length = values.size()});
    result.write(values);
    return result;
  }

  /// Gradients 6 for two weights each and 3 for the bias, weights 1 and 2, bias 5.
  struct Layer {
    CNNConvolutionGradientState gradients;
    CNNConvolutionWeightsAndBiasesState source;
  };
  Layer layer(bool withBias = true) const {
    const CNNConvolutionDescriptor two{.kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = 2};
    CNNConvolution forward(device, weightsOf(two, {1, 2}, withBias ? Floats{5} : Floats{}));
    const Image source = imageOf(device, 1, 1, 2, {2, 2}), result = imageOf(device, 1, 1, 1),
                e = imageOf(device, 1, 1, 1, {3});
    Layer made;
    made.gradients =
        CNNConvolutionGradientState(forward.resultState({.sourceImage = source, .destinationImage = result}));
    made.source = forward.sharedWeights().state();
    CNNConvolutionGradient gradient(device, forward.sharedWeights());
    execute(device, [&](CommandBuffer& commands) {
      gradient.encode(commands, {.sourceGradient = e, .sourceImage = source, .gradientState = made.gradients});
    });
    return made;
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, CNNConvolutionStateTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

TEST_P(CNNConvolutionStateTest, WeightsAndBiasesComeInThreeWays) {
  const Buffer weights(device, 3 * sizeof(float)), biases(device, sizeof(float));
  const CNNConvolutionWeightsAndBiasesState whole(weights, biases);
  EXPECT_EQ(whole.weights().length(), 3u);
  EXPECT_EQ(whole.weights().data(), weights);
  EXPECT_EQ(whole.biases().length(), 1u);
  EXPECT_EQ(whole.weightsOffset(), 0u);
  EXPECT_EQ(whole.biasesOffset(), 0u);
  const CNNConvolutionWeightsAndBiasesState unbiased(weights);
  EXPECT_FALSE(unbiased.biases());
  EXPECT_EQ(unbiased.resourceCount(), 1u);

  const CNNConvolutionDescriptor shape{
      .kernelWidth = 2, .kernelHeight = 3, .inputFeatureChannels = 4, .outputFeatureChannels = 6, .groups = 2};
  const CNNConvolutionWeightsAndBiasesState made(device, shape);
  EXPECT_EQ(made.weights().length(), 6u * 3 * 2 * 2);
  EXPECT_EQ(made.weights().read<float>(), Floats(72));
  EXPECT_EQ(made.biases().length(), 6u);
  EXPECT_FALSE(made.isTemporary());

  const CNNConvolutionWeightsAndBiasesState parts(weights, 8, weights, 4, one);
  EXPECT_EQ(parts.weights().length(), 1u);
  EXPECT_EQ(parts.weightsOffset(), 8u);
  EXPECT_EQ(parts.biasesOffset(), 4u);

  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const auto temporary =
      CNNConvolutionWeightsAndBiasesState::temporaryCNNConvolutionWeightsAndBiasesState(commands, shape);
  EXPECT_TRUE(temporary.isTemporary());
  EXPECT_EQ(temporary.readCount(), 1u);
  EXPECT_EQ(temporary.weights().length(), 72u);

  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(Buffer(), biases); }, {"weights", "nil"});
  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(Buffer(device, 7)); }, {"7 bytes"});
  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(weights, 2, biases, 0, one); }, {"weightsOffset", "2"});
  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(weights, 12, biases, 0, one); },
                {"weights", "byte 12", "12"});
  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(weights, 0, biases, 4, one); }, {"biases", "byte 4"});
  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(device, {.groups = 2}); }, {"2 groups"});
  const Device other = Device::named(device.name() == "reference" ? "cpu" : "reference");
  expectRefused([&] { CNNConvolutionWeightsAndBiasesState(weights, Buffer(other, 4)); }, {"one device"});
}

TEST_P(CNNConvolutionStateTest, HandlesNarrow) {
  const Layer x = layer();
  const State weights = x.source, gradients = x.gradients;
  EXPECT_EQ(CNNConvolutionWeightsAndBiasesState(weights), weights);
  EXPECT_EQ(CNNConvolutionGradientState(gradients), gradients);
  EXPECT_EQ(NNGradientState(gradients), gradients);
  EXPECT_FALSE(CNNConvolutionGradientState(State()));
  expectRefused([&] { (void)CNNConvolutionGradientState(weights); },
                {"CNNConvolutionGradientState is needed", "CNNConvolutionWeightsAndBiasesState is given"});
  expectRefused([&] { (void)CNNConvolutionWeightsAndBiasesState(gradients); },
                {"CNNConvolutionGradientState is given"});
  expectRefused([&] { (void)CNNConvolutionTransposeGradientState(gradients); },
                {"CNNConvolutionTransposeGradientState"});
  expectRefused([&] { (void)CNNConvolutionGradientState().gradientForWeights(); }, {"nil"});
  expectRefused([&] { (void)CNNConvolutionWeightsAndBiasesState().weights(); }, {"nil"});
}

TEST_P(CNNConvolutionStateTest, SGDUpdatesWeightsAndBiases) {
  const Layer x = layer();
  const CNNConvolutionWeightsAndBiasesState result(Buffer(device, 8), Buffer(device, 4));
  const NNOptimizerStochasticGradientDescent plain(device, 0.5f);
  execute(device, [&](CommandBuffer& commands) {
    plain.encode(commands,
                 {.convolutionGradientState = x.gradients, .convolutionSourceState = x.source, .resultState = result});
  });
  EXPECT_EQ(result.weights().read<float>(), (Floats{-2, -1}));
  EXPECT_EQ(result.biases().read<float>(), (Floats{3.5f}));
  EXPECT_EQ(x.source.weights().read<float>(), (Floats{1, 2}));

  // In place, with momentum: m = 0.5 * m + 1 * g, w = w - m.
  const NNOptimizerStochasticGradientDescent momentum(
      device, {.momentumScale = 0.5f, .optimizerDescriptor = {.learningRate = 1}});
  const Vector m = vector({2, 4}), mBias = vector({0});
  execute(device, [&](CommandBuffer& commands) {
    momentum.encode(commands, {.convolutionGradientState = x.gradients,
                               .convolutionSourceState = x.source,
                               .inputMomentumVectors = {m, mBias},
                               .resultState = x.source});
  });
  EXPECT_EQ(m.read<float>(), (Floats{7, 8}));
  EXPECT_EQ(mBias.read<float>(), (Floats{3}));
  EXPECT_EQ(x.source.weights().read<float>(), (Floats{-6, -6}));
  EXPECT_EQ(x.source.biases().read<float>(), (Floats{2}));
}

TEST_P(CNNConvolutionStateTest, OneVectorLeavesTheBiases) {
  const Layer x = layer();
  const CNNConvolutionWeightsAndBiasesState result(Buffer(device, 8), Buffer(device, 4));
  const Vector m = vector({0, 0});
  const NNOptimizerStochasticGradientDescent sgd(device, 1.0f);
  execute(device, [&](CommandBuffer& commands) {
    sgd.encode(commands, {.convolutionGradientState = x.gradients,
                          .convolutionSourceState = x.source,
                          .inputMomentumVectors = {m},
                          .resultState = result});
    sgd.encode(commands, {.convolutionGradientState = x.gradients,
                          .convolutionSourceState = x.source,
                          .inputMomentumVectors = {m},
                          .resultState = x.source});
  });
  EXPECT_EQ(result.weights().read<float>(), (Floats{-5, -4}));
  EXPECT_EQ(result.biases().read<float>(), (Floats{5}));
  EXPECT_EQ(x.source.biases().read<float>(), (Floats{5}));
}

TEST_P(CNNConvolutionStateTest, LayersWithoutBiasesTrainWithout) {
  const Layer x = layer(/*withBias=*/false);
  ASSERT_FALSE(x.source.biases());
  EXPECT_EQ(x.gradients.gradientForBiases().read<float>(), (Floats{3}));
  execute(device, [&](CommandBuffer& commands) {
    NNOptimizerStochasticGradientDescent(device, 1.0f)
        .encode(commands,
                {.convolutionGradientState = x.gradients, .convolutionSourceState = x.source, .resultState = x.source});
  });
  EXPECT_EQ(x.source.weights().read<float>(), (Floats{-5, -4}));
}

TEST_P(CNNConvolutionStateTest, RMSPropAndAdamEqualTheirVectorForms) {
  const Layer x = layer();
  const CNNConvolutionWeightsAndBiasesState result(Buffer(device, 8), Buffer(device, 4));
  const Vector s = vector({1, 4}), sBias = vector({2}), s2 = vector({1, 4}), w2 = vector({0, 0}), b2 = vector({0});
  const NNOptimizerRMSProp rms(device, 0.125f);
  const Vector sBias2 = vector({2});
  execute(device, [&](CommandBuffer& commands) {
    rms.encode(commands, {.convolutionGradientState = x.gradients,
                          .convolutionSourceState = x.source,
                          .inputSumOfSquaresVectors = {s, sBias},
                          .resultState = result});
    rms.encode(commands, {.inputGradientVector = x.gradients.gradientForWeights(),
                          .inputValuesVector = x.source.weights(),
                          .inputSumOfSquaresVector = s2,
                          .resultValuesVector = w2});
    rms.encode(commands, {.inputGradientVector = x.gradients.gradientForBiases(),
                          .inputValuesVector = x.source.biases(),
                          .inputSumOfSquaresVector = sBias2,
                          .resultValuesVector = b2});
  });
  EXPECT_EQ(result.weights().read<float>(), w2.read<float>());
  EXPECT_EQ(result.biases().read<float>(), b2.read<float>());
  EXPECT_EQ(s.read<float>(), s2.read<float>());
  EXPECT_NE(w2.read<float>(), x.source.weights().read<float>());

  for (const bool amsGrad : {false, true}) {
    NNOptimizerAdam adam(device, {.timeStep = 3}), ofWeights = adam, ofBiases = adam;
    const auto state = [&] { return std::vector<Vector>{vector({0.5f, 1}), vector({2})}; };
    const auto m = state(), v = state(), vmax = state(), mB = state(), vB = state(), vmaxB = state();
    execute(device, [&](CommandBuffer& commands) {
      adam.encode(commands, {.convolutionGradientState = x.gradients,
                             .convolutionSourceState = x.source,
                             .inputMomentumVectors = m,
                             .inputVelocityVectors = v,
                             .maximumVelocityVectors = amsGrad ? vmax : std::vector<Vector>(),
                             .resultState = result});
      ofWeights.encode(commands, {.inputGradientVector = x.gradients.gradientForWeights(),
                                  .inputValuesVector = x.source.weights(),
                                  .inputMomentumVector = mB[0],
                                  .inputVelocityVector = vB[0],
                                  .maximumVelocityVector = amsGrad ? vmaxB[0] : Vector(),
                                  .resultValuesVector = w2});
      ofBiases.encode(commands, {.inputGradientVector = x.gradients.gradientForBiases(),
                                 .inputValuesVector = x.source.biases(),
                                 .inputMomentumVector = mB[1],
                                 .inputVelocityVector = vB[1],
                                 .maximumVelocityVector = amsGrad ? vmaxB[1] : Vector(),
                                 .resultValuesVector = b2});
    });
    EXPECT_EQ(adam.timeStep, 4u);  // once for both
    EXPECT_EQ(result.weights().read<float>(), w2.read<float>());
    EXPECT_EQ(result.biases().read<float>(), b2.read<float>());
    EXPECT_EQ(m[1].read<float>(), mB[1].read<float>());
    EXPECT_EQ(v[0].read<float>(), vB[0].read<float>());
    EXPECT_EQ(vmax[1].read<float>(), vmaxB[1].read<float>());
  }
}

TEST_P(CNNConvolutionStateTest, OptimizersRefuseWhatDoesNotFit) {
  const Layer x = layer();
  const Vector two = vector({0, 0}), one_ = vector({0}), three = vector({0, 0, 0});
  const NNOptimizerRMSProp rms(device, 1.0f);
  const auto refused = [&](const NNOptimizerRMSProp::ConvolutionArguments& arguments,
                           std::initializer_list<std::string_view> words) {
    test::expectEncodeRefused(
        device, [&](CommandBuffer& commands) { rms.encode(commands, arguments); }, words);
  };
  NNOptimizerRMSProp::ConvolutionArguments good{.convolutionGradientState = x.gradients,
                                                .convolutionSourceState = x.source,
                                                .inputSumOfSquaresVectors = {two, one_},
                                                .resultState = x.source};
  auto bad = good;
  bad.convolutionGradientState = {};
  refused(bad, {"NNOptimizerRMSProp", "convolutionGradientState is nil"});
  bad = good;
  bad.convolutionSourceState = {};
  refused(bad, {"convolutionSourceState is nil"});
  bad = good;
  bad.resultState = {};
  refused(bad, {"resultState is nil"});
  bad = good;
  bad.inputSumOfSquaresVectors = {};
  refused(bad, {"inputSumOfSquaresVectors are empty"});
  bad.inputSumOfSquaresVectors = {two, one_, one_};
  refused(bad, {"inputSumOfSquaresVectors hold 3", "2"});
  bad.inputSumOfSquaresVectors = {two, two};
  refused(bad, {"inputSumOfSquaresVectors have 2 elements", "1"});
  bad.inputSumOfSquaresVectors = {two, three};
  refused(bad, {"inputSumOfSquaresVectors have 3 elements", "1"});
  bad.inputSumOfSquaresVectors = {two, Vector()};
  refused(bad, {"inputSumOfSquaresVectors are nil"});
  bad = good;
  bad.resultState = CNNConvolutionWeightsAndBiasesState(Buffer(device, 8));
  refused(bad, {"resultState's biases are nil"});
  bad.resultState = CNNConvolutionWeightsAndBiasesState(Buffer(device, 4), Buffer(device, 4));
  refused(bad, {"resultState's weights have 1", "2"});
  NNOptimizerAdam adam(device, 1.0f);
  test::expectEncodeRefused(device,
                            [&](CommandBuffer& commands) {
                              adam.encode(commands, {.convolutionGradientState = x.gradients,
                                                     .convolutionSourceState = x.source,
                                                     .inputMomentumVectors = {two, one_},
                                                     .inputVelocityVectors = {two},
                                                     .resultState = x.source});
                            },
                            {"inputVelocityVectors hold 1", "inputMomentumVectors hold 2"});
  EXPECT_EQ(adam.timeStep, 0u);
}

TEST_P(CNNConvolutionStateTest, OptimizersConsumeTemporaryStates) {
  const Layer x = layer();
  execute(device, [&](CommandBuffer& commands) {
    CNNConvolution forward(device, weightsOf(one, {1}, {2}));
    const auto source = forward.exportWeightsAndBiases(commands, /*resultStateCanBeTemporary=*/true);
    const Image image = imageOf(device, 1, 1, 1, {1}), result = imageOf(device, 1, 1, 1);
    const CNNConvolutionGradientState gradients(
        forward.temporaryResultState(commands, {.sourceImage = image, .destinationImage = result}));
    CNNConvolutionGradient gradient(device, forward.sharedWeights());
    gradient.encode(commands, {.sourceGradient = result, .sourceImage = image, .gradientState = gradients});
    EXPECT_EQ(gradients.readCount(), 1u);
    NNOptimizerStochasticGradientDescent(device, 1.0f)
        .encode(commands, {.convolutionGradientState = gradients,
                           .convolutionSourceState = source,
                           .resultState = forward.sharedWeights().state()});
    EXPECT_EQ(gradients.readCount(), 0u);
    EXPECT_EQ(source.readCount(), 0u);
  });
}

}  // namespace
}  // namespace metalloid
