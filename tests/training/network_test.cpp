#include "training/network.hpp"

#include "training/array_parts.hpp"
#include "training/double_network.hpp"
#include "training/gradient_check.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

const NetworkOptions kSmall{.inputs = 7, .classes = 3, .hidden = {6, 5}};

/// A batch of these rows, and where its results go.
struct Problem {
  Problem(const Device& device, std::size_t rows)
      : inputs(rows * kSmall.inputs),
        labels(rows),
        batch{.inputs = Matrix(device, {.rows = rows, .columns = kSmall.inputs}),
              .labels = Vector(device, {.length = rows, .dataType = DataType::uInt32})},
        results{.losses = Vector(device, {.length = rows}),
                .correct = Vector(device, {.length = rows}),
                .logits = Matrix(device, {.rows = rows, .columns = kSmall.classes})} {
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = std::sin(static_cast<float>(i * i % 101));
    for (std::size_t i = 0; i < rows; ++i) labels[i] = static_cast<std::uint32_t>(i * 5 % kSmall.classes);
    batch.inputs.write(inputs);
    batch.labels.write(labels);
  }

  std::vector<float> inputs;
  std::vector<std::uint32_t> labels;
  Batch batch;
  SampleResults results;
};

void run(const Device& device, const std::function<void(CommandBuffer&)>& encode) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  encode(commands);
  commands.commit();
  commands.waitUntilCompleted();
}

double sum(const std::vector<float>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

TEST(Network, LossIsThatOfTheDefinition) {
  for (const char* name : {"cpu", "reference"}) {
    const Device device = Device::named(name);
    Network network(device, kSmall, 9);
    network.initialize(device.makeCommandQueue(), 3);
    network.labelSmoothing = 0.1f;
    const Problem problem(device, 9);
    run(device, [&](CommandBuffer& commands) {
      network.encodeTrainingStep(commands, problem.batch,
                                 {.losses = problem.results.losses, .correct = {}, .logits = {}});
    });
    DoubleNetwork::Parameters parameters;
    const auto& list = network.parameters().parameters();
    for (std::size_t i = 0; i < list.size(); ++i) {
      parameters[list[i].name] = network.parameters().valueMatrix(i).read<double>();
    }
    const double expected =
        DoubleNetwork(kSmall, 0.1f)
            .loss(parameters, {.inputs = {problem.inputs.begin(), problem.inputs.end()}, .labels = problem.labels})
            .value;
    // Two layers of sums of 7 and 6 terms in float32: some 20 roundings of 6e-8.
    EXPECT_NEAR(sum(problem.results.losses.read<float>()), expected, 2e-6) << name;
  }
}

TEST(Network, ShortBatchGivesWhatANetworkOfItsSizeGives) {
  const Device device = Device::named("cpu");
  Network large(device, kSmall, 32);
  Network exact(device, kSmall, 5);
  large.initialize(device.makeCommandQueue(), 3);
  exact.initialize(device.makeCommandQueue(), 3);
  const Problem full(device, 32);
  run(device, [&](CommandBuffer& commands) { large.encodeTrainingStep(commands, full.batch, {}); });
  const Problem problem(device, 5);
  for (const Network* network : {&large, &exact}) {
    run(device, [&](CommandBuffer& commands) { network->encodeTrainingStep(commands, problem.batch, {}); });
  }
  EXPECT_EQ(large.parameters().gradients().read<float>(), exact.parameters().gradients().read<float>());
}

TEST(Network, RunningStatisticsMoveByTheMomentum) {
  const Device device = Device::named("cpu");
  NetworkOptions options = kSmall;
  options.hidden = {6};
  options.batchNormalizationMomentum = 0.25f;
  Network network(device, options, 9);
  network.initialize(device.makeCommandQueue(), 3);
  const Problem problem(device, 9);
  const auto weights = network.parameters().valueMatrix(0).read<double>();
  std::vector<double> mean(6), variance(6);
  for (std::size_t j = 0; j < 6; ++j) {
    std::vector<double> z(9);
    for (std::size_t i = 0; i < 9; ++i) {
      for (std::size_t k = 0; k < 7; ++k) z[i] += double{problem.inputs[i * 7 + k]} * weights[k * 6 + j];
      mean[j] += z[i] / 9;
    }
    for (const double value : z) variance[j] += (value - mean[j]) * (value - mean[j]) / 9;
  }
  run(device, [&](CommandBuffer& commands) { network.encodeTrainingStep(commands, problem.batch, {}); });
  const auto running = network.runningStatistics().read<double>();
  for (std::size_t j = 0; j < 6; ++j) {
    EXPECT_NEAR(running[j], 0.25 * mean[j], 1e-6);
    EXPECT_NEAR(running[6 + j], 0.75 + 0.25 * variance[j], 1e-6);
  }
}

TEST(Network, EvaluationTakesEachSampleByItself) {
  const Device device = Device::named("cpu");
  Network network(device, kSmall, 9);
  network.initialize(device.makeCommandQueue(), 3);
  const Problem problem(device, 9);
  run(device, [&](CommandBuffer& commands) { network.encodeEvaluation(commands, problem.batch, problem.results); });
  const auto together = problem.results.logits.read<float>();
  for (std::size_t row = 0; row < 9; ++row) {
    const Batch one{.inputs = someRows(problem.batch.inputs, row, 1),
                    .labels = someElements(problem.batch.labels, row, 1)};
    const Matrix logits(device, {.rows = 1, .columns = 3});
    run(device, [&](CommandBuffer& commands) {
      network.encodeEvaluation(commands, one, {.losses = {}, .correct = {}, .logits = logits});
    });
    const auto alone = logits.read<float>();
    for (std::size_t j = 0; j < 3; ++j) EXPECT_NEAR(alone[j], together[row * 3 + j], 1e-5);
  }
}

TEST(Network, WeightsHaveTheVarianceOfTheirLayerAndComeFromTheSeed) {
  const Device device = Device::named("cpu");
  const NetworkOptions options{.inputs = 200, .classes = 10, .hidden = {300}};
  Network network(device, options, 2);
  network.initialize(device.makeCommandQueue(), 11);
  const auto weights = network.parameters().valueMatrix(0).read<float>();
  double sumOfSquares = 0;
  for (const float weight : weights) sumOfSquares += double{weight} * weight;
  // 60,000 samples: the relative standard deviation of their variance is sqrt(2/60000) = 0.006.
  EXPECT_NEAR(sumOfSquares / 60'000, 2.0 / 200, 5 * 0.006 * 2.0 / 200);
  EXPECT_NEAR(sum(weights) / 60'000, 0, 5 * 0.1 / std::sqrt(60'000));

  Network same(device, options, 2);
  same.initialize(device.makeCommandQueue(), 11);
  EXPECT_EQ(same.parameters().values().read<float>(), network.parameters().values().read<float>());
  same.initialize(device.makeCommandQueue(), 12);
  EXPECT_NE(same.parameters().values().read<float>(), network.parameters().values().read<float>());
}

TEST(Network, ImpossibleOptionsAreRefused) {
  NetworkOptions options = kSmall;
  options.hidden = {0};
  EXPECT_THROW(Network(Device::named("cpu"), options, 4), Error);
}

TEST(ParameterArena, WeightsComeFirstAndNothingOverlaps) {
  const Device device = Device::named("cpu");
  const ParameterArena arena(
      device,
      {{.name = "a", .rows = 3, .columns = 5}, {.name = "b", .columns = 7}, {.name = "c", .rows = 2, .columns = 2}});
  EXPECT_EQ(arena.trainedElements(), 15u + 7 + 4);
  for (std::size_t i = 0; i < 3; ++i) {
    const Matrix matrix = arena.valueMatrix(i);
    matrix.write(std::vector<float>(matrix.rows() * matrix.columns(), static_cast<float>(i + 1)));
  }
  for (std::size_t i = 0; i < 3; ++i) {
    for (const float value : arena.valueMatrix(i).read<float>()) EXPECT_EQ(value, static_cast<float>(i + 1));
  }
  EXPECT_DOUBLE_EQ(sum(arena.weights().values.read<float>()), 15 * 1 + 4 * 3);
  EXPECT_DOUBLE_EQ(sum(arena.others().values.read<float>()), 7 * 2);
}

TEST(GradientCheck, HoldsForANetworkWithoutHiddenLayers) {
  GradientCheckOptions options;
  options.network = {.inputs = 9, .classes = 4, .hidden = {}};
  for (const char* device : {"cpu", "reference"}) {
    const auto result = checkGradients(Device::named(device), options);
    ASSERT_EQ(result.tensors.size(), 2u);
    EXPECT_TRUE(result.holds());
  }
}

TEST(GradientCheck, HoldsWithLabelSmoothingAndAWideNetwork) {
  GradientCheckOptions options;
  options.network = {.inputs = 50, .classes = 10, .hidden = {129, 65, 33}};
  options.labelSmoothing = 0.2f;
  EXPECT_TRUE(checkGradients(Device::named("cpu"), options).holds());
}

TEST(GradientCheck, SeesThatADeviceComputesNothing) {
  GradientCheckOptions options;
  options.network = kSmall;
  // The null device leaves weights and gradients at 0.
  EXPECT_FALSE(checkGradients(Device::named("null"), options).holds());
}

TEST(DoubleNetwork, KnowsTheKinks) {
  EXPECT_EQ(kinks({.type = CNNNeuronType::reLU}), std::vector<double>{0});
  EXPECT_EQ(kinks({.type = CNNNeuronType::hardSigmoid, .a = 0.5f, .b = 0.5f}), (std::vector<double>{-1, 1}));
  EXPECT_EQ(kinks({.type = CNNNeuronType::reLUN, .a = 0, .b = 6}), (std::vector<double>{0, 6}));
  EXPECT_TRUE(kinks({.type = CNNNeuronType::geLU}).empty());
}

}  // namespace
}  // namespace metalloid::training
