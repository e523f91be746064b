// Long: the four kernels of batch normalization work on one state, and are tested on the same layers.

#include "kernels/kernel_checks.hpp"
#include "support/normalization_sources.hpp"

#include <metalloid/cnn_batch_normalization.hpp>
#include <metalloid/nn_optimizer.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using metalloid::testing::batchNormalization;
using metalloid::testing::BatchNormalizationSource;
using metalloid::testing::NormalizationValues;
using Statistics = CNNBatchNormalizationStatistics;
using StatisticsGradient = CNNBatchNormalizationStatisticsGradient;
using Gradient = CNNBatchNormalizationGradient;
using Floats = std::vector<float>;

NNNeuronDescriptor reLU() { return {.neuronType = CNNNeuronType::reLU}; }

class BatchNormalization : public OnDevice {
 protected:
  /// One row of pixels of C channels.
  Image image(const Floats& values, std::size_t channels = 1) const {
    const Image result(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                                .width = values.size() / channels,
                                .featureChannels = channels});
    result.write(values);
    return result;
  }
  Image blank(std::size_t width, std::size_t channels = 1) const { return image(Floats(width * channels), channels); }
  void run(const std::function<void(CommandBuffer&)>& encode) const { execute(device, encode); }

  CNNBatchNormalizationState stateOf(CNNBatchNormalization& kernel, const Image& x) const {
    return kernel.resultState({.sourceImage = x, .destinationImage = x});
  }
};
class BatchNormalizationChecks : public BatchNormalization {};
INSTANTIATE_TEST_SUITE_P(Devices, BatchNormalization, ::testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, BatchNormalizationChecks, ::testing::Values("reference", "cpu", "null"), deviceName);

/// `roundings` to float32 of numbers up to 2, and one of the printed digits of the expected numbers.
void expectClose(const Floats& actual, const std::vector<double>& expected, double roundings) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], roundings * 0x1p-23 + 0.5e-6) << "element " << i;
}

// --- Values ---------------------------------------------------------------------------------------------------------

TEST_P(BatchNormalization, ComputesTheWorkedExample) {
  auto kernel = batchNormalization(device, {.gamma = {1}, .beta = {0}});
  const Image x = image({1, 2, 3, 4}), y = blank(4), g = image({1, 0, 0, 0}), dx = blank(4);
  const auto state = stateOf(kernel, x);
  EXPECT_FALSE(state.gradientForGamma());
  EXPECT_FALSE(state.gradientForBeta());
  run([&](CommandBuffer& commands) {
    Statistics(device).encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
    kernel.encode(commands, {.sourceImage = x, .batchNormalizationState = state, .destinationImage = y});
    StatisticsGradient(device).encodeBatch(
        commands, {.sourceGradients = {g}, .sourceImages = {x}, .batchNormalizationState = state});
    Gradient(device).encode(
        commands, {.sourceGradient = g, .sourceImage = x, .batchNormalizationState = state, .destinationGradient = dx});
  });
  EXPECT_EQ(state.mean().read<float>(), Floats{2.5f});
  EXPECT_EQ(state.variance().read<float>(), Floats{1.25f});
  expectClose(y.read<float>(), {-1.341641, -0.447214, 0.447214, 1.341641}, 3);
  EXPECT_EQ(state.gradientForBeta().read<float>(), Floats{1});
  expectClose(state.gradientForGamma().read<float>(), {-1.341641}, 3);
  expectClose(dx.read<float>(), {0.268328, -0.357771, -0.089443, 0.178885}, 6);
}

TEST_P(BatchNormalization, UsesTheStatisticsOfTheDataSourceUntilThereAreOthers) {
  // r = 1/2: y = 2 * (x - 1) / 2 + 3.
  auto kernel = batchNormalization(device, {.gamma = {2}, .beta = {3}, .mean = {1}, .variance = {3}, .epsilon = 1});
  const Image x = image({1, 2, -3}), alone = blank(3), withState = blank(3), g = image({1, 2, 4}), dx = blank(3);
  const auto state = stateOf(kernel, x);
  EXPECT_EQ(state.mean().read<float>(), Floats{1});
  EXPECT_EQ(state.variance().read<float>(), Floats{3});
  run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = x, .destinationImage = alone});
    kernel.encode(commands, {.sourceImage = x, .batchNormalizationState = state, .destinationImage = withState});
    // Without gradients of scale and shift: these statistics do not depend on x.
    Gradient(device).encode(
        commands, {.sourceGradient = g, .sourceImage = x, .batchNormalizationState = state, .destinationGradient = dx});
    StatisticsGradient(device).encodeBatch(
        commands, {.sourceGradients = {g}, .sourceImages = {x}, .batchNormalizationState = state});
  });
  EXPECT_EQ(alone.read<float>(), (Floats{3, 4, -1}));
  EXPECT_EQ(withState.read<float>(), (Floats{3, 4, -1}));
  EXPECT_EQ(dx.read<float>(), (Floats{1, 2, 4}));  // gamma * r = 1
  EXPECT_EQ(state.gradientForBeta().read<float>(), Floats{7});
  EXPECT_EQ(state.gradientForGamma().read<float>(), Floats{2 * 0.5f - 4 * 2.0f});
}

TEST_P(BatchNormalization, GathersABatchInPartsAndStartsAnewAfterReset) {
  auto kernel = batchNormalization(device, {.gamma = {1}, .mean = {7}, .variance = {8}});
  const Image low = image({1, 3}), high = image({5, 7}), g = image({1, 2}), dx = blank(2);
  const auto state = stateOf(kernel, low);
  const auto statistics = [&](const ImageBatch& images) {
    run([&](CommandBuffer& commands) {
      Statistics(device).encodeBatch(commands, {.sourceImages = images, .batchNormalizationState = state});
    });
  };
  const auto gradients = [&](const Image& x) {
    run([&](CommandBuffer& commands) {
      StatisticsGradient(device).encodeBatch(
          commands, {.sourceGradients = {g}, .sourceImages = {x}, .batchNormalizationState = state});
    });
  };
  statistics({low});
  EXPECT_EQ(state.mean().read<float>(), Floats{2});
  EXPECT_EQ(state.variance().read<float>(), Floats{1});
  statistics({high});
  EXPECT_EQ(state.mean().read<float>(), Floats{4});
  EXPECT_EQ(state.variance().read<float>(), Floats{5});

  gradients(low);
  expectEncodeRefused(
      device,
      [&](CommandBuffer& commands) {
        Gradient(device).encode(
            commands,
            {.sourceGradient = g, .sourceImage = low, .batchNormalizationState = state, .destinationGradient = dx});
      },
      {"CNNBatchNormalizationGradient", "statistics of 4 pixels", "gradients of 2"});
  gradients(high);
  EXPECT_EQ(state.gradientForBeta().read<float>(), Floats{6});
  expectClose(state.gradientForGamma().read<float>(), {(-3 - 2 + 1 + 6) / std::sqrt(5.0)}, 8);

  state.reset();
  EXPECT_FALSE(state.gradientForGamma());
  EXPECT_EQ(state.mean().read<float>(), Floats{7});
  EXPECT_EQ(state.variance().read<float>(), Floats{8});
  statistics({high, high});
  EXPECT_EQ(state.mean().read<float>(), Floats{6});
  EXPECT_EQ(state.variance().read<float>(), Floats{1});
  gradients(high);
  EXPECT_EQ(state.gradientForBeta().read<float>(), Floats{3});
}

TEST_P(BatchNormalization, TakesNilParametersForOneAndZero) {
  auto kernel = batchNormalization(device, {.channels = 2});
  const Image x = image({1, 10, 3, 30}, 2), y = blank(2, 2);
  const auto state = stateOf(kernel, x);
  EXPECT_EQ(state.gamma().read<float>(), (Floats{1, 1}));
  EXPECT_EQ(state.beta().read<float>(), (Floats{0, 0}));
  EXPECT_EQ(state.mean().read<float>(), (Floats{0, 0}));
  EXPECT_EQ(state.variance().read<float>(), (Floats{1, 1}));
  expectEncodeRefused(
      device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); },
      {"CNNBatchNormalization", "mean and variance", "batchNormalizationState"});
  run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = x, .batchNormalizationState = state, .destinationImage = y});
  });
  EXPECT_EQ(y.read<float>(), x.read<float>());
  run([&](CommandBuffer& commands) {
    Statistics(device).encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
    kernel.encode(commands, {.sourceImage = x, .batchNormalizationState = state, .destinationImage = y});
  });
  EXPECT_EQ(y.read<float>(), (Floats{-1, -1, 1, 1}));
}

TEST_P(BatchNormalization, AppliesItsNeuronToTheShiftedValue) {
  auto kernel = batchNormalization(device, {.beta = {1}, .mean = {0}, .variance = {1}}, reLU());
  const Image x = image({-2, -0.5f, 3}), y = blank(3), g = image({1, 2, 4}), dx = blank(3);
  const auto state = stateOf(kernel, x);
  run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = x, .destinationImage = y});
    StatisticsGradient(device, reLU())
        .encodeBatch(commands, {.sourceGradients = {g}, .sourceImages = {x}, .batchNormalizationState = state});
    Gradient(device, reLU())
        .encode(commands,
                {.sourceGradient = g, .sourceImage = x, .batchNormalizationState = state, .destinationGradient = dx});
  });
  EXPECT_EQ(y.read<float>(), (Floats{0, 0.5f, 4}));
  EXPECT_EQ(dx.read<float>(), (Floats{0, 2, 4}));
  EXPECT_EQ(state.gradientForBeta().read<float>(), Floats{6});
  EXPECT_EQ(state.gradientForGamma().read<float>(), Floats{-1 + 12});
}

/// Says only what a source must.
class PlainSource : public CNNBatchNormalizationDataSource {
 public:
  std::size_t numberOfFeatureChannels() const override { return 1; }
  std::string label() const override { return "plain"; }
  std::span<const float> gamma() override { return {}; }
  std::span<const float> beta() override { return {}; }
  std::span<const float> mean() override { return {}; }
  std::span<const float> variance() override { return {}; }
  bool load() override { return true; }
  void purge() override {}
};

TEST_P(BatchNormalization, HasTheSmallestNormalNumberForAnEpsilon) {
  const auto source = std::make_shared<PlainSource>();
  CNNBatchNormalization kernel(device, source);
  EXPECT_EQ(kernel.epsilon, 1.17549435e-38f);
  EXPECT_EQ(kernel.label, "plain");
  EXPECT_EQ(kernel.numberOfFeatureChannels(), 1u);
  EXPECT_EQ(kernel.dataSource(), source);
  EXPECT_EQ(kernel.fusedNeuronDescriptor(), NNNeuronDescriptor());
  EXPECT_TRUE(kernel.isResultStateReusedAcrossBatch());
  EXPECT_TRUE(Statistics(device).appendBatchBarrier());
  EXPECT_TRUE(Statistics(device).isStateModified());
  EXPECT_TRUE(StatisticsGradient(device).isStateModified());
  EXPECT_FALSE(Gradient(device).isStateModified());
  // Without it a constant image would be divided by 0.
  const Image x = image({2, 2}), y = image({5, 5});
  const auto state = stateOf(kernel, x);
  EXPECT_EQ(state.batchNormalization(), kernel);
  run([&](CommandBuffer& commands) {
    EXPECT_FALSE(source->updateGammaAndBeta(commands, state));
    EXPECT_FALSE(source->updateMeanAndVariance(commands, state));
    Statistics(device).encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
    kernel.encode(commands, {.sourceImage = x, .batchNormalizationState = state, .destinationImage = y});
  });
  EXPECT_FALSE(source->updateGammaAndBeta(state));
  EXPECT_FALSE(source->updateMeanAndVariance(state));
  EXPECT_EQ(source->copy(device), nullptr);
  EXPECT_EQ(y.read<float>(), (Floats{0, 0}));
}

TEST_P(BatchNormalization, MakesImagesAndTemporaryStates) {
  auto kernel = batchNormalization(device, {.mean = {0}, .variance = {1}});
  kernel.destinationImageAllocator = Image::defaultAllocator();
  StatisticsGradient sums(device);
  Gradient gradient(device);
  gradient.destinationImageAllocator = Image::defaultAllocator();
  const Image x = image({1, 3}), second = image({5, 7}), g = image({1, 2});
  ImageBatch y, dx;
  CNNBatchNormalizationState state;
  run([&](CommandBuffer& commands) {
    state = kernel.temporaryResultState(commands, {.sourceImage = x, .destinationImage = x});
    EXPECT_TRUE(state.isTemporary());
    kernel.offset = {5, 5, 0};  // which the padding policy sets anew
    state.setReadCount(3);
    Statistics(device).encodeBatch(commands, {.sourceImages = {x, second}, .batchNormalizationState = state});
    EXPECT_EQ(state.readCount(), 3u);  // writing is no reading
    y = kernel.encodeBatch(commands, {.sourceImages = {x, second}, .batchNormalizationState = state});
    EXPECT_EQ(state.readCount(), 2u);
    sums.encodeBatch(commands,
                     {.sourceGradients = {g, g}, .sourceImages = {x, second}, .batchNormalizationState = state});
    EXPECT_EQ(state.readCount(), 1u);
    dx = gradient.encodeBatch(
        commands, {.sourceGradients = {g, g}, .sourceImages = {x, second}, .batchNormalizationState = state});
    EXPECT_EQ(state.readCount(), 0u);
    expectRefused([&] { kernel.encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state}); },
                  {"CNNBatchNormalizationState", "readCount"});
  });
  EXPECT_EQ(kernel.offset, Offset());
  const double r = 1 / std::sqrt(5.0);
  expectClose(y[0].read<float>(), {-3 * r, -r}, 4);
  expectClose(y[1].read<float>(), {r, 3 * r}, 4);
  // dBeta = 6, dGamma = r * (-3 - 2 + 1 + 6).
  const auto expected = [&](double gradientOf, double deviation) {
    return r * (gradientOf - 6.0 / 4 - deviation * r * 2 * r / 4);
  };
  ASSERT_EQ(dx.size(), 2u);
  expectClose(dx[0].read<float>(), {expected(1, -3), expected(2, -1)}, 8);
  expectClose(dx[1].read<float>(), {expected(1, 1), expected(2, 3)}, 8);
}

TEST_P(BatchNormalization, TakesStatisticsOfTheClippedRegionOnly) {
  auto kernel = batchNormalization(device, {.channels = 1});
  const Image x = image({100, 1, 3, 100}, 1);
  const auto state = stateOf(kernel, x);
  Statistics statistics(device);
  statistics.offset.x = 1;
  statistics.clipRect.size.width = 2;
  run([&](CommandBuffer& commands) {
    statistics.encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
  });
  EXPECT_EQ(state.mean().read<float>(), Floats{2});
  state.reset();
  statistics.offset.x = 2;  // reaches beyond the image
  statistics.clipRect.size.width = 10;
  run([&](CommandBuffer& commands) {
    statistics.encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
  });
  EXPECT_EQ(state.mean().read<float>(), Floats{51.5f});
  state.reset();
  statistics.offset.x = -2;  // begins before it
  statistics.clipRect.size.width = 4;
  run([&](CommandBuffer& commands) {
    statistics.encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
  });
  EXPECT_EQ(state.mean().read<float>(), Floats{50.5f});
}

// --- Updates --------------------------------------------------------------------------------------------------------

TEST_P(BatchNormalization, ReloadsFromStatesAndFromItsSource) {
  const auto source = std::make_shared<BatchNormalizationSource>(
      NormalizationValues{.gamma = {1}, .beta = {0}, .mean = {0}, .variance = {1}});
  CNNBatchNormalization kernel(device, source);
  EXPECT_EQ(source->loaded, 0);
  const Image x = image({2}), y = blank(1);
  const auto value = [&] {
    run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
    return y.read<float>()[0];
  };
  const CNNNormalizationGammaAndBetaState scale(
      {.gamma = vectorOf(device, {3, 99}), .beta = vectorOf(device, {1, 99})});  // more than is needed
  const CNNNormalizationMeanAndVarianceState statistics(
      {.mean = vectorOf(device, {4}), .variance = vectorOf(device, {0.25f})});
  EXPECT_EQ(value(), 2);
  run([&](CommandBuffer& commands) { kernel.reloadGammaAndBeta(commands, scale); });
  EXPECT_EQ(value(), 7);
  run([&](CommandBuffer& commands) { kernel.reloadMeanAndVariance(commands, statistics); });
  EXPECT_EQ(value(), 3 * (2 - 4) * 2 + 1);
  // Copies made, not references.
  scale.gamma().write(Floats{0, 0});
  EXPECT_EQ(value(), -11);

  source->values.gamma = {5};
  source->values.beta = {};
  kernel.reloadGammaAndBetaFromDataSource();
  EXPECT_EQ(value(), 5 * (2 - 4) * 2);
  source->values.mean = {1};
  source->values.variance = {1};
  kernel.reloadMeanAndVarianceFromDataSource();
  EXPECT_EQ(value(), 5);
  EXPECT_EQ(source->loaded, 0);

  const auto replacement =
      std::make_shared<BatchNormalizationSource>(NormalizationValues{.gamma = {10}, .mean = {0}, .variance = {1}});
  kernel.reloadDataSource(replacement);
  EXPECT_EQ(value(), 20);
  EXPECT_EQ(kernel.dataSource(), replacement);
  EXPECT_EQ(replacement->loaded, 0);
}

/// Updates on the device, gamma in place and the statistics through a temporary state.
class TrainedSource : public BatchNormalizationSource {
 public:
  using BatchNormalizationSource::BatchNormalizationSource;
  using BatchNormalizationSource::updateGammaAndBeta;
  using BatchNormalizationSource::updateMeanAndVariance;

  CNNNormalizationGammaAndBetaState updateGammaAndBeta(CommandBuffer& commands,
                                                       const CNNBatchNormalizationState& state) override {
    const NNOptimizerStochasticGradientDescent optimizer(state.device(), 0.5f);
    optimizer.encode(commands, {.inputGradientVector = state.gradientForGamma(),
                                .inputValuesVector = state.gamma(),
                                .resultValuesVector = state.gamma()});
    return CNNNormalizationGammaAndBetaState({.gamma = state.gamma(), .beta = state.beta()});
  }
  CNNNormalizationMeanAndVarianceState updateMeanAndVariance(CommandBuffer& commands,
                                                             const CNNBatchNormalizationState& state) override {
    const auto result = CNNNormalizationMeanAndVarianceState::temporaryState(commands, values.channels);
    const NNOptimizerStochasticGradientDescent copier(state.device(), 0);  // w - 0 * g
    copier.encode(
        commands,
        {.inputGradientVector = state.mean(), .inputValuesVector = state.mean(), .resultValuesVector = result.mean()});
    copier.encode(commands, {.inputGradientVector = state.mean(),
                             .inputValuesVector = state.variance(),
                             .resultValuesVector = result.variance()});
    return result;
  }
};

TEST_P(BatchNormalization, IsUpdatedOnTheDevice) {
  const auto source = std::make_shared<TrainedSource>(NormalizationValues{.gamma = {2}, .mean = {0}, .variance = {1}});
  CNNBatchNormalization kernel(device, source);
  CNNBatchNormalization sameParameters = kernel;
  const Image x = image({1, 3}), g = image({1, 3}), y = blank(2);
  const auto state = stateOf(kernel, x);
  run([&](CommandBuffer& commands) {
    Statistics(device).encodeBatch(commands, {.sourceImages = {x}, .batchNormalizationState = state});
    StatisticsGradient(device).encodeBatch(
        commands, {.sourceGradients = {g}, .sourceImages = {x}, .batchNormalizationState = state});
    const auto scale = source->updateGammaAndBeta(commands, state);
    const auto before = commands.explain().size();
    kernel.reloadGammaAndBeta(commands, scale);
    EXPECT_EQ(commands.explain().size(), before) << "an update in place was copied";
    const auto statistics = source->updateMeanAndVariance(commands, state);
    kernel.reloadMeanAndVariance(commands, statistics);
    EXPECT_EQ(statistics.readCount(), 0u);
    sameParameters.encode(commands, {.sourceImage = x, .destinationImage = y});
  });
  // dGamma = -1 + 3: gamma = 2 - 0.5 * 2; mean 2, variance 1.
  EXPECT_EQ(state.gamma().read<float>(), Floats{1});
  EXPECT_EQ(y.read<float>(), (Floats{-1, 1}));
}

TEST_P(BatchNormalization, OptimizersUpdateItFromItsStates) {
  const auto source = std::make_shared<BatchNormalizationSource>(
      NormalizationValues{.gamma = {2}, .beta = {1}, .mean = {0}, .variance = {1}});
  CNNBatchNormalization kernel(device, source);
  const Image x = image({1, 3}), g = image({1, 3});
  const auto state = stateOf(kernel, x), gradients = stateOf(kernel, x);
  const auto result = [&] {
    return CNNNormalizationGammaAndBetaState({.gamma = vectorOf(device, {-9}), .beta = vectorOf(device, {-9})});
  };
  const auto one = result(), betaKept = result(), ofTwo = result(), byRMSProp = result(), byAdam = result();
  const Vector momentum = vectorOf(device, {1});
  const auto states = [&](std::size_t count) {
    std::vector<Vector> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(vectorOf(device, {0}));
    return all;
  };
  const NNOptimizerStochasticGradientDescent plain(device, 0.5f);
  const NNOptimizerStochasticGradientDescent heavy(device,
                                                   {.momentumScale = 0.5f, .optimizerDescriptor = {.learningRate = 1}});
  const NNOptimizerRMSProp rms(device, {.decay = 0, .epsilon = 0, .optimizerDescriptor = {.learningRate = 1}});
  NNOptimizerAdam adam(device, {.epsilon = 0, .optimizerDescriptor = {.learningRate = 1}});
  run([&](CommandBuffer& commands) {
    for (const auto& each : {state, gradients}) {
      StatisticsGradient(device).encodeBatch(
          commands, {.sourceGradients = {g}, .sourceImages = {x}, .batchNormalizationState = each});
    }
    plain.encode(commands, {.batchNormalizationState = state, .resultState = one});
    heavy.encode(commands,
                 {.batchNormalizationState = state, .inputMomentumVectors = {momentum}, .resultState = betaKept});
    plain.encode(
        commands,
        {.batchNormalizationGradientState = gradients, .batchNormalizationSourceState = state, .resultState = ofTwo});
    rms.encode(commands,
               {.batchNormalizationState = state, .inputSumOfSquaresVectors = states(2), .resultState = byRMSProp});
    adam.encode(commands, {.batchNormalizationGradientState = gradients,
                           .batchNormalizationSourceState = state,
                           .inputMomentumVectors = states(2),
                           .inputVelocityVectors = states(2),
                           .resultState = byAdam});
  });
  // dGamma = 1 * 1 + 3 * 3 and dBeta = 4.
  EXPECT_EQ(one.gamma().read<float>(), Floats{2 - 5});
  EXPECT_EQ(one.beta().read<float>(), Floats{1 - 2});
  EXPECT_EQ(betaKept.gamma().read<float>(), Floats{2 - 10.5f});
  EXPECT_EQ(betaKept.beta().read<float>(), Floats{1});
  EXPECT_EQ(momentum.read<float>(), Floats{10.5f});
  EXPECT_EQ(ofTwo.gamma().read<float>(), Floats{2 - 5});
  EXPECT_EQ(ofTwo.beta().read<float>(), Floats{1 - 2});
  // The first step of both is the sign of the gradient; Adam's with some roundings.
  EXPECT_EQ(byRMSProp.gamma().read<float>(), Floats{1});
  EXPECT_EQ(byRMSProp.beta().read<float>(), Floats{0});
  expectClose(byAdam.gamma().read<float>(), {1}, 8);
  expectClose(byAdam.beta().read<float>(), {0}, 8);
  EXPECT_EQ(adam.timeStep, 1u);

  const auto refuses = [&](const NNOptimizerAdam::BatchNormalizationArguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { adam.encode(commands, arguments); }, parts);
  };
  refuses({.batchNormalizationState = {},
           .inputMomentumVectors = states(2),
           .inputVelocityVectors = states(2),
           .resultState = one},
          {"NNOptimizerAdam", "batchNormalizationState", "nil"});
  refuses({.batchNormalizationState = state,
           .inputMomentumVectors = states(2),
           .inputVelocityVectors = states(2),
           .resultState = {}},
          {"NNOptimizerAdam", "resultState", "nil"});
  refuses({.batchNormalizationState = state,
           .inputMomentumVectors = {},
           .inputVelocityVectors = states(2),
           .resultState = one},
          {"inputMomentumVectors", "empty"});
  refuses({.batchNormalizationState = stateOf(kernel, x),
           .inputMomentumVectors = states(2),
           .inputVelocityVectors = states(2),
           .resultState = one},
          {"gradientForGamma", "nil"});
  EXPECT_EQ(adam.timeStep, 1u);
}

TEST_P(BatchNormalization, GoesToAnotherDeviceWithItsParameters) {
  class Copied : public BatchNormalizationSource {
   public:
    using BatchNormalizationSource::BatchNormalizationSource;
    std::shared_ptr<CNNBatchNormalizationDataSource> copy(const Device&) override {
      return std::make_shared<PlainSource>();
    }
  };
  const NormalizationValues values{.gamma = {2}, .beta = {3}, .mean = {1}, .variance = {4}, .epsilon = 0.5f};
  CNNBatchNormalization kernel(device, std::make_shared<Copied>(values));
  run([&](CommandBuffer& commands) {
    kernel.reloadGammaAndBeta(
        commands, CNNNormalizationGammaAndBetaState({.gamma = vectorOf(device, {5}), .beta = vectorOf(device, {6})}));
  });
  const auto moved = kernel.copy(other);
  EXPECT_EQ(moved.device(), other);
  EXPECT_EQ(moved.dataSource()->label(), "plain");
  EXPECT_EQ(moved.copy(device), kernel);
  auto mine = kernel.copy();
  EXPECT_EQ(mine, kernel);
  EXPECT_EQ(mine.dataSource(), kernel.dataSource());
  mine.reloadGammaAndBetaFromDataSource();
  EXPECT_NE(mine, kernel) << "a copy shares its parameters";
}

// --- Errors ---------------------------------------------------------------------------------------------------------

TEST_P(BatchNormalizationChecks, RefuseWhatNoKernelCanBeMadeOf) {
  const auto refuses = [&](const NormalizationValues& values, std::initializer_list<std::string_view> parts) {
    expectRefused([&] { batchNormalization(device, values); }, parts);
  };
  expectRefused([&] { CNNBatchNormalization(device, nullptr); }, {"CNNBatchNormalization", "data source", "nil"});
  expectRefused([&] { batchNormalization(Device(), {}); }, {"CNNBatchNormalization", "device"});
  refuses({.channels = 0}, {"CNNBatchNormalization", "0 channels"});
  refuses({.channels = 2, .gamma = {1}}, {"gamma", "1 elements", "2 channels"});
  refuses({.channels = 2, .beta = {1, 2, 3}}, {"beta", "3 elements", "2 channels"});
  refuses({.channels = 2, .mean = {1}}, {"mean", "1 elements", "2 channels"});
  refuses({.channels = 2, .variance = {1}}, {"variance", "1 elements", "2 channels"});
  const auto source = std::make_shared<BatchNormalizationSource>(NormalizationValues{});
  source->loads = false;
  expectRefused([&] { CNNBatchNormalization(device, source); }, {"CNNBatchNormalization", "load"});
  EXPECT_EQ(source->loaded, 0);
  expectRefused([&] { batchNormalization(device, {}, {.neuronType = CNNNeuronType::reLUN, .b = kNaN}); }, {"reLUN"});

  auto kernel = batchNormalization(device, {});
  expectRefused([&] { kernel.reloadDataSource(nullptr); }, {"CNNBatchNormalization", "nil"});
  const auto wide = std::make_shared<BatchNormalizationSource>(NormalizationValues{.channels = 3});
  expectRefused([&] { kernel.reloadDataSource(wide); }, {"1 channels", "3"});
  EXPECT_EQ(wide->loaded, 0);
}

TEST_P(BatchNormalizationChecks, RefuseStatesThatDoNotFit) {
  const Vector two = vectorOf(device, {1, 2}), three = vectorOf(device, {1, 2, 3});
  using Scale = CNNNormalizationGammaAndBetaState;
  using Spread = CNNNormalizationMeanAndVarianceState;
  expectRefused([&] { Scale({.gamma = two, .beta = {}}); }, {"beta", "CNNNormalizationGammaAndBetaState", "nil"});
  expectRefused([&] { Scale({.gamma = two, .beta = three}); }, {"2", "3"});
  expectRefused([&] { Scale({.gamma = two, .beta = vectorOf(other, {1, 2})}); }, {"two devices"});
  expectRefused([&] { Spread({.mean = two, .variance = labelsOf(device, {1, 2})}); }, {"variance", "float32"});
  expectRefused([&] { Scale(State(device, 16)); }, {"CNNNormalizationGammaAndBetaState", "State"});
  expectRefused([&] { Scale(Spread({.mean = two, .variance = two})); }, {"CNNNormalizationMeanAndVarianceState"});
  expectRefused([&] { CNNBatchNormalizationState(State(device, 16)); }, {"CNNBatchNormalizationState"});
  EXPECT_FALSE(Scale(State()));
  EXPECT_FALSE(CNNBatchNormalizationState(State()));
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  expectRefused([&] { Scale::temporaryState(commands, 0); }, {"CNNNormalizationGammaAndBetaState", "0 channels"});

  auto kernel = batchNormalization(device, {.channels = 3});
  const auto refuses = [&](const std::function<void(CommandBuffer&)>& encode,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(device, encode, parts);
  };
  refuses([&](CommandBuffer& c) { kernel.reloadGammaAndBeta(c, {}); }, {"gammaAndBetaState", "nil"});
  refuses([&](CommandBuffer& c) { kernel.reloadMeanAndVariance(c, {}); }, {"meanAndVarianceState", "nil"});
  refuses([&](CommandBuffer& c) { kernel.reloadGammaAndBeta(c, Scale({.gamma = two, .beta = two})); },
          {"gamma", "2 elements", "CNNBatchNormalization", "3 channels"});
  refuses([&](CommandBuffer& c) { kernel.reloadMeanAndVariance(c, Spread({.mean = two, .variance = two})); },
          {"mean", "2 elements", "3 channels"});
}

TEST_P(BatchNormalizationChecks, RefuseEncodesThatDoNotFit) {
  auto kernel = batchNormalization(device, {.mean = {0}, .variance = {1}}, reLU());
  const Image x = blank(3), y = blank(3), wide = blank(3, 2), g = blank(3);
  const auto state = stateOf(kernel, x);
  const auto refuses = [&](const std::function<void(CommandBuffer&)>& encode,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(device, encode, parts);
  };
  Statistics statistics(device);
  StatisticsGradient sums(device, reLU());
  Gradient gradient(device, reLU());
  refuses([&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = wide, .destinationImage = wide}); },
          {"2 channels are read", "CNNBatchNormalization", "has 1"});
  refuses([&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = {}, .destinationImage = y}); }, {"source", "nil"});
  refuses([&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = x, .destinationImage = x}); }, {"overlap"});
  refuses(
      [&](CommandBuffer& c) {
        kernel.encodeBatch(c, {.sourceImages = {x, g}, .destinationImages = {y}});
      },
      {"2 source images", "1 destination"});
  refuses(
      [&](CommandBuffer& c) {
        static_cast<CNNKernel&>(kernel).encode(
            c, {.sourceImage = x, .destinationState = State(state), .destinationImage = y});
      },
      {"CNNBatchNormalization", "state"});

  refuses([&](CommandBuffer& c) { statistics.encodeBatch(c, {.sourceImages = {x}, .batchNormalizationState = {}}); },
          {"CNNBatchNormalizationStatistics", "batchNormalizationState", "nil"});
  refuses([&](CommandBuffer& c) { statistics.encodeBatch(c, {.sourceImages = {}, .batchNormalizationState = state}); },
          {"sourceImage", "empty"});
  refuses(
      [&](CommandBuffer& c) { statistics.encodeBatch(c, {.sourceImages = {wide}, .batchNormalizationState = state}); },
      {"2 channels are read", "CNNBatchNormalizationStatistics", "has 1"});
  refuses([&](CommandBuffer& c) { static_cast<CNNKernel&>(statistics).encode(c, {.sourceImage = x}); },
          {"CNNBatchNormalizationStatistics", "no destination"});

  const auto sumsOf = [&](StatisticsGradient& k, const ImageBatch& gradients, const ImageBatch& images,
                          const CNNBatchNormalizationState& with) {
    return [&k, gradients, images, with](CommandBuffer& c) {
      k.encodeBatch(c, {.sourceGradients = gradients, .sourceImages = images, .batchNormalizationState = with});
    };
  };
  StatisticsGradient otherSums(device);
  refuses(sumsOf(otherSums, {g}, {x}, state), {"neuron", "CNNBatchNormalizationStatisticsGradient", "forward"});
  refuses(sumsOf(sums, {g}, {x}, {}), {"batchNormalizationState", "nil"});
  refuses(sumsOf(sums, {g, y}, {x}, state), {"2 source gradients", "1 source images"});
  refuses(sumsOf(sums, {wide}, {wide}, state), {"2 channels are read"});

  Gradient otherGradient(device);
  refuses(
      [&](CommandBuffer& c) {
        otherGradient.encode(c, {.sourceGradient = g, .sourceImage = x, .batchNormalizationState = state});
      },
      {"neuron", "CNNBatchNormalizationGradient", "forward"});
  refuses(
      [&](CommandBuffer& c) {
        gradient.encode(c, {.sourceGradient = g, .sourceImage = x, .batchNormalizationState = {}});
      },
      {"batchNormalizationState", "nil"});
  refuses(
      [&](CommandBuffer& c) {
        static_cast<CNNGradientKernel&>(gradient).encode(
            c, {.sourceGradient = g, .sourceImage = x, .gradientState = State(device, 16), .destinationGradient = y});
      },
      {"CNNBatchNormalizationState", "State"});
  auto foreign = batchNormalization(other, {});
  const Image elsewhere(other, x.descriptor());
  const auto foreignState = foreign.resultState({.sourceImage = elsewhere, .destinationImage = elsewhere});
  refuses(
      [&](CommandBuffer& c) {
        statistics.encodeBatch(c, {.sourceImages = {x}, .batchNormalizationState = foreignState});
      },
      {"device", other.name()});
  expectRefusesCommandBuffers(device,
                              [&](CommandBuffer& c) { kernel.encode(c, {.sourceImage = x, .destinationImage = y}); });
  expectRefusesCommandBuffers(device, [&](CommandBuffer& c) {
    statistics.encodeBatch(c, {.sourceImages = {x}, .batchNormalizationState = state});
  });
  EXPECT_EQ(state.batchNormalization().numberOfFeatureChannels(), 1u);
}

// --- Settings -------------------------------------------------------------------------------------------------------

const Device kNull = Device::named("null");

TEST(BatchNormalizationKernel, BehavesAsAKernel) {
  const NormalizationValues values{
      .channels = 2, .gamma = {1, 2}, .beta = {3, 4}, .mean = {5, 6}, .variance = {7, 8}, .epsilon = 0.5f};
  const auto make = [&](const auto& change, const NNNeuronDescriptor& neuron = reLU()) {
    NormalizationValues mine = values;
    if constexpr (std::is_invocable_v<decltype(change), NormalizationValues&>) change(mine);
    auto kernel = batchNormalization(kNull, mine, neuron);
    kernel.label = "bn";
    kernel.offset = {1, -2, 3};
    if constexpr (std::is_invocable_v<decltype(change), CNNBatchNormalization&>) change(kernel);
    return kernel;
  };
  using Values = NormalizationValues;
  using Kernel = CNNBatchNormalization;
  expectBehavesAsKernel<Kernel>(
      make([](Kernel&) {}),
      {make([](Kernel& k) { k.label = "other"; }), make([](Kernel& k) { k.epsilon = 0.25f; }),
       make([](Kernel& k) { k.offset.y = 0; }), make([](Kernel& k) { k.edgeMode = ImageEdgeMode::clamp; }),
       make([](Values& v) { v.gamma[1] = 0; }), make([](Values& v) { v.beta = {}; }),
       make([](Values& v) { v.mean[0] = 0; }), make([](Values& v) { v.variance[0] = 0; }),
       make([](Values& v) { v.mean = v.variance = {}; }), make([](Kernel&) {}, {}),
       make([](Kernel&) {}, NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::vector<float>{1, 2}))},
      kNull, "CNNBatchNormalization");
}

TEST(BatchNormalizationKernel, ArchivesAreSourcesOfWhatTheyHold) {
  const auto kernel = batchNormalization(kNull, {.gamma = {2}, .mean = {3}, .variance = {4}, .epsilon = 0.5f});
  const auto again = decoded<CNNBatchNormalization>(archiveOf(kernel), kNull);
  ASSERT_TRUE(again.dataSource());
  EXPECT_EQ(again.dataSource()->gamma()[0], 2);
  EXPECT_EQ(again.dataSource()->beta()[0], 0);
  EXPECT_EQ(again.dataSource()->mean()[0], 3);
  EXPECT_EQ(again.dataSource()->variance()[0], 4);
  EXPECT_EQ(again.dataSource()->epsilon(), 0.5f);
}

TEST(BatchNormalizationKernel, OthersBehaveAsKernels) {
  const auto statistics = [](const auto& change) {
    Statistics kernel(kNull);
    kernel.label = "s";
    kernel.offset.x = 2;
    change(kernel);
    return kernel;
  };
  expectBehavesAsKernel<Statistics>(
      statistics([](auto&) {}), {statistics([](auto& k) { k.label = ""; }), statistics([](auto& k) { k.offset = {}; })},
      kNull, "CNNBatchNormalizationStatistics");
  const auto check = [](auto kernel, auto without, const std::string& name) {
    kernel.label = without.label = "g";
    auto changed = kernel;
    changed.kernelOffsetX = 1;
    expectBehavesAsKernel<decltype(kernel)>(kernel, {without, changed}, kNull, name);
  };
  check(StatisticsGradient(kNull, reLU()), StatisticsGradient(kNull), "CNNBatchNormalizationStatisticsGradient");
  check(Gradient(kNull, reLU()), Gradient(kNull), "CNNBatchNormalizationGradient");
}

TEST(BatchNormalizationFlags, HaveApplesValues) {
  using enum CNNBatchNormalizationFlags;
  EXPECT_EQ(Default, calculateStatisticsAutomatic);
  EXPECT_EQ(static_cast<int>(calculateStatisticsAutomatic), 0);
  EXPECT_EQ(static_cast<int>(calculateStatisticsAlways), 1);
  EXPECT_EQ(static_cast<int>(calculateStatisticsNever), 2);
  EXPECT_EQ(static_cast<int>(calculateStatisticsMask), 3);
}

}  // namespace
}  // namespace metalloid::test
