// Networks of described layers: what they learn, and that every way to the end of a run ends with the same bits.

#include "training/graph_model.hpp"

#include "formats/temporary_directory.hpp"
#include "training/network_file.hpp"
#include "training/predictor.hpp"
#include "training/sample_order.hpp"
#include "training/tiny_images.hpp"
#include "training/trainer.hpp"

#include <metalloid/error.hpp>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

constexpr const char* kConvolutions =
    "input 6x6x1\nconvolution 3x3x4\nrelu\nmax-pool 2x2\ndense 12\nrelu\ndropout 0.2\ndense 4\n";
constexpr const char* kNormalizations =
    "input 6x6x1\nconvolution 3x3x8 stride 2\nbatch-normalization\nrelu\ndropout 0.1\ngroup-normalization 4\n"
    "convolution 3x3x4\ninstance-normalization\ntanh\ndense 4\n";
constexpr const char* kBranches =
    "input 6x6x1\nx = convolution 3x3x8\na = relu from x\nb = tanh from x\ns = add a b\nm = multiply a s\n"
    "concatenate s m a\naverage-pool 2x2\np = reshape 1x1x216\nq = spatial-mean from x\nconcatenate p q\n"
    "dense 4\nsoftmax\n";

TrainingOptions optionsOf(const std::string& text) {
  TrainingOptions options;
  options.network.name = "tiny";
  options.network.text = text;
  options.batchSize = 20;
  options.epochs = 3;
  options.optimizer.learningRate = 0.02f;
  return options;
}

/// Trains to the end; what an epoch came to goes to `metrics`.
void finish(Trainer& trainer, std::vector<EpochMetrics>* metrics = nullptr) {
  while (!trainer.isFinished()) {
    trainer.trainStep();
    if (!trainer.isEpochComplete()) continue;
    const auto epoch = trainer.endEpoch();
    if (metrics) metrics->push_back(epoch);
  }
}

class GraphModelTest : public ::testing::TestWithParam<const char*> {
 protected:
  const Device device_ = Device::named("cpu");
  const formats::ImageDataset dataset_ = testing::tinyDataset();
};

TEST_P(GraphModelTest, Learns) {
  TrainingOptions options = optionsOf(GetParam());
  options.epochs = 6;
  Trainer trainer(device_, options, dataset_);
  EXPECT_EQ(trainer.stepsPerEpoch(), 11u);  // 203 images: ten batches of 20 and one of 3
  std::vector<EpochMetrics> metrics;
  finish(trainer, &metrics);
  EXPECT_LT(metrics.back().trainLoss, 0.8 * metrics.front().trainLoss);
  EXPECT_GT(metrics.back().testAccuracy, 0.6);  // guessing gives 0.25
}

TEST_P(GraphModelTest, GoesOnFromACheckpointOfAnyStepWithEqualBits) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::rmsprop, OptimizerKind::adam}) {
    TrainingOptions options = optionsOf(GetParam());
    options.epochs = 2;
    options.optimizer.kind = kind;
    options.optimizer.amsgrad = true;
    options.optimizer.learningRate = 0.005f;
    Trainer whole(device_, options, dataset_);
    std::vector<Checkpoint> checkpoints{whole.checkpoint()};
    std::vector<EpochMetrics> metrics;
    while (!whole.isFinished()) {
      whole.trainStep();
      if (whole.isEpochComplete()) metrics.push_back(whole.endEpoch());
      checkpoints.push_back(whole.checkpoint());
    }
    for (const std::size_t step : {0u, 1u, 10u, 11u, 15u}) {
      Trainer trainer(device_, options, dataset_);
      for (int i = 0; i < 2; ++i) trainer.trainStep();  // what was there before must not matter
      trainer.restore(checkpoints[step]);
      std::vector<EpochMetrics> rest;
      finish(trainer, &rest);
      EXPECT_EQ(trainer.model().tensors(), whole.model().tensors()) << step;
      EXPECT_EQ(rest.back().trainLoss, metrics.back().trainLoss) << step;
      EXPECT_EQ(rest.back().testLoss, metrics.back().testLoss) << step;
    }
  }
}

TEST_P(GraphModelTest, BitsDoNotDependOnThreadsNorOnEvaluations) {
  const std::size_t threads = device_.numberOfThreads();
  std::vector<std::vector<NamedTensor>> results;
  for (const std::size_t count : {1u, 2u, 3u}) {
    device_.setNumberOfThreads(count);
    Trainer trainer(device_, optionsOf(GetParam()), dataset_);
    for (int step = 0; step < 15; ++step) {
      if (step == 11) trainer.endEpoch();
      trainer.trainStep();
      if (count == 2 && step % 4 == 0) trainer.running();
    }
    results.push_back(trainer.model().tensors());
  }
  device_.setNumberOfThreads(threads);
  for (const auto& result : results) EXPECT_EQ(result, results.front());
}

TEST_P(GraphModelTest, CpuAndReferenceAgree) {
  TrainingOptions options = optionsOf(GetParam());
  options.epochs = 1;
  options.optimizer.kind = OptimizerKind::sgd;
  std::vector<EpochMetrics> metrics;
  for (const char* name : {"cpu", "reference"}) {
    Trainer trainer(Device::named(name), options, dataset_);
    finish(trainer, &metrics);
  }
  EXPECT_NEAR(metrics[0].trainLoss, metrics[1].trainLoss, 1e-3 * metrics[1].trainLoss);
  EXPECT_NEAR(metrics[0].testLoss, metrics[1].testLoss, 1e-3 * metrics[1].testLoss);
}

TEST_P(GraphModelTest, WeightsFileGivesTheSamePredictions) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "weights.safetensors";
  Trainer trainer(device_, optionsOf(GetParam()), dataset_);
  finish(trainer);
  saveNetwork(path, {.description = {.network = trainer.options().network,
                                     .normalization = trainer.normalization(),
                                     .rows = 6,
                                     .columns = 6,
                                     .classNames = dataset_.classNames},
                     .tensors = trainer.model().tensors()});
  const TrainedNetwork trained = loadNetwork(path);
  EXPECT_EQ(trained.description.network, trainer.options().network);
  Predictor predictor(device_, trained, 2);
  const auto predictions = predictor.predict(dataset_.test, naturalOrder(dataset_.test.count()));
  const Evaluation evaluation = trainer.evaluateTest();
  for (std::size_t i = 0; i < predictions.size(); ++i) EXPECT_EQ(predictions[i][0].index, evaluation.predicted[i]);
}

INSTANTIATE_TEST_SUITE_P(Networks, GraphModelTest, ::testing::Values(kConvolutions, kNormalizations, kBranches),
                         [](const auto& tested) {
                           return std::string(tested.param == kConvolutions     ? "convolutions"
                                              : tested.param == kNormalizations ? "normalizations"
                                                                                : "branches");
                         });

TEST(GraphModel, TrainsAsTheMatricesDo) {
  // The same network both ways, from the same parameters: one layer, whose weights lie transposed.
  const Device device = Device::named("cpu");
  const formats::ImageDataset dataset = testing::tinyDataset();
  TrainingOptions described = optionsOf("input 6x6x1\ndense 4 name output\n");
  described.optimizer.kind = OptimizerKind::sgd;
  described.optimizer.weightDecay = 0.01f;
  described.labelSmoothing = 0.1f;
  TrainingOptions matrices = described;
  matrices.network = {};
  matrices.network.hidden = {};
  Trainer a(device, described, dataset), b(device, matrices, dataset);
  const auto tensors = b.model().tensors();
  ASSERT_EQ(tensors.front().shape, (std::vector<std::size_t>{36, 4}));
  Checkpoint own = a.checkpoint();
  for (auto& tensor : own.tensors) {
    if (tensor.name != "output.weight") continue;
    for (std::size_t input = 0; input < 36; ++input) {
      for (std::size_t unit = 0; unit < 4; ++unit)
        tensor.values[unit * 36 + input] = tensors.front().values[input * 4 + unit];
    }
  }
  a.restore(own);
  std::vector<EpochMetrics> metrics;
  finish(a, &metrics);
  finish(b, &metrics);
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    // Sums of 36 products in another order, over 33 steps of a contracting descent.
    EXPECT_NEAR(metrics[epoch].trainLoss, metrics[epoch + 3].trainLoss, 1e-5);
    EXPECT_NEAR(metrics[epoch].testLoss, metrics[epoch + 3].testLoss, 1e-5);
  }
}

TEST(GraphModel, RunningStatisticsFollowThoseOfTheBatches) {
  const Device device = Device::named("cpu");
  TrainingOptions options = optionsOf("input 1x1x1\nbatch-normalization momentum 0.25\ndense 2\n");
  options.network.inputs = 1;
  options.network.classes = 2;
  GraphModel model(device, options, 4);
  const CommandQueue queue = device.makeCommandQueue();
  model.initialize(queue, 0);
  BatchSlot slot(device, model.batchLayout(), 4);
  const std::vector<std::uint32_t> labels{0, 1, 0, 1};
  for (const float shift : {0.0f, 4.0f}) {
    slot.write(4, std::vector<float>{1 + shift, 2 + shift, 3 + shift, 4 + shift}, labels);
    CommandBuffer commands = queue.makeCommandBuffer();
    model.encodeTrainingStep(commands, slot.batch(4), {}, 0.1f);
    commands.commit();
    commands.waitUntilCompleted();
  }
  std::map<std::string, float> values;
  for (const auto& tensor : model.tensors()) values[tensor.name] = tensor.values.front();
  // From 0 and 1; means 2.5 and 6.5, both variances 1.25.
  EXPECT_NEAR(values.at("batch-normalization1.running_mean"), 0.75f * (0.25f * 2.5f) + 0.25f * 6.5f, 1e-6);
  EXPECT_NEAR(values.at("batch-normalization1.running_variance"), 0.75f * (0.75f + 0.25f * 1.25f) + 0.25f * 1.25f,
              1e-6);
}

TEST(GraphModel, InitialWeightsHaveTheirVariance) {
  const Device device = Device::named("cpu");
  TrainingOptions options = optionsOf("input 8x8x4\nconvolution 5x5x64\nbatch-normalization\nrelu\ndense 50\ntanh\n");
  options.network.inputs = 256;
  options.network.classes = 50;
  GraphModel model(device, options, 1);
  model.initialize(device.makeCommandQueue(), 3);
  const auto variance = [](const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) sum += double{value} * value;
    return sum / static_cast<double>(values.size());
  };
  for (const auto& tensor : model.tensors()) {
    // The relative error of a variance of n samples is sqrt(2 / n): below 2 % for both; four of those.
    if (tensor.name == "convolution1.weight") {
      EXPECT_NEAR(variance(tensor.values) * 100 / 2, 1, 0.08);
    }
    if (tensor.name == "dense1.weight") {
      EXPECT_NEAR(variance(tensor.values) * 4096, 1, 0.08);
    }
  }
}

TEST(GraphModel, RefusesImagesAndClassesThatDoNotFit) {
  const Device device = Device::named("cpu");
  const formats::ImageDataset dataset = testing::tinyDataset();
  for (const char* text : {"input 6x6x1\ndense 5\n", "input 6x7x1\ndense 4\n", "input 6x6x1\nconvolution 3x3x4\n"}) {
    try {
      Trainer trainer(device, optionsOf(text), dataset);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalidArgument) << error.what();
    }
  }
  TrainedNetwork trained;
  trained.description.network = optionsOf("input 6x6x1\ndense 4\n").network;
  trained.description.network.inputs = 36;
  trained.description.network.classes = 4;
  EXPECT_THROW(Predictor(device, trained, 1), Error);
}

TEST(GraphModel, OptionsSurviveTheirFile) {
  TrainingOptions options = optionsOf(kBranches);
  EXPECT_EQ(trainingOptionsFromJson(toJson(options), "options"), options);
  auto json = toJson(options);
  json["network"]["description"] = "input 6x6\n";
  EXPECT_THROW(trainingOptionsFromJson(json, "options"), Error);
}

}  // namespace
}  // namespace metalloid::training
