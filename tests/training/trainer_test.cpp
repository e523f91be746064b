#include "training/trainer.hpp"

#include "formats/temporary_directory.hpp"
#include "training/network_file.hpp"
#include "training/predictor.hpp"
#include "training/run_directory.hpp"
#include "training/tiny_images.hpp"

#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace metalloid::training {
namespace {

using testing::TemporaryDirectory;

TrainingOptions tinyOptions() {
  TrainingOptions options;
  options.network.hidden = {9};
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

std::vector<NamedTensor> parameters(const Trainer& trainer) { return trainer.model().tensors(); }

class TrainerTest : public ::testing::Test {
 protected:
  const Device device_ = Device::named("cpu");
  const formats::ImageDataset dataset_ = testing::tinyDataset();
};

TEST_F(TrainerTest, LearnsAndCounts) {
  Trainer trainer(device_, tinyOptions(), dataset_);
  EXPECT_EQ(trainer.stepsPerEpoch(), 11u);  // 203 images: ten batches of 20 and one of 3
  EXPECT_EQ(trainer.steps(), 33u);
  std::vector<EpochMetrics> metrics;
  finish(trainer, &metrics);
  EXPECT_EQ(trainer.step(), 33u);
  ASSERT_EQ(metrics.size(), 3u);
  EXPECT_LT(metrics[2].trainLoss, metrics[0].trainLoss);
  EXPECT_GT(metrics[2].testAccuracy, 0.8);  // guessing gives 0.25
  EXPECT_EQ(metrics[2].epoch, 3u);
  EXPECT_EQ(metrics[2].step, 33u);
}

TEST_F(TrainerTest, TrainLossIsTheMeanOverAllSamples) {
  // With a learning rate of almost 0 the mean over the epoch is that of the untrained network in batches.
  TrainingOptions options = tinyOptions();
  options.network.batchNormalization = false;
  options.optimizer.kind = OptimizerKind::sgd;
  options.optimizer.learningRate = 1e-30f;
  options.epochs = 1;
  Trainer trainer(device_, options, dataset_);
  std::vector<EpochMetrics> metrics;
  finish(trainer, &metrics);
  formats::ImageDataset swapped = dataset_;
  swapped.test = dataset_.train;
  Trainer other(device_, options, swapped);
  const Evaluation evaluation = other.evaluateTest();
  EXPECT_NEAR(metrics[0].trainLoss, evaluation.loss, 1e-6);
  EXPECT_EQ(metrics[0].trainAccuracy, evaluation.accuracy);
}

TEST_F(TrainerTest, OneSampleIsLeftOutUnderBatchNormalizationOnly) {
  const auto dataset = testing::tinyDataset(201, 10);
  TrainingOptions options = tinyOptions();
  EXPECT_EQ(Trainer(device_, options, dataset).stepsPerEpoch(), 10u);
  options.network.batchNormalization = false;
  Trainer trainer(device_, options, dataset);
  EXPECT_EQ(trainer.stepsPerEpoch(), 11u);
  finish(trainer);
  EXPECT_EQ(trainer.step(), 33u);
}

TEST_F(TrainerTest, GoesOnFromACheckpointOfAnyStepWithEqualBits) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::rmsprop, OptimizerKind::adam}) {
    TrainingOptions options = tinyOptions();
    options.optimizer.kind = kind;
    options.optimizer.amsgrad = true;
    options.validationSplit = 0.1;
    Trainer whole(device_, options, dataset_);
    std::vector<Checkpoint> checkpoints{whole.checkpoint()};
    std::vector<EpochMetrics> metrics;
    while (!whole.isFinished()) {
      whole.trainStep();
      if (whole.isEpochComplete()) metrics.push_back(whole.endEpoch());
      checkpoints.push_back(whole.checkpoint());
    }
    for (const std::size_t step : {0u, 1u, 7u, 10u, 11u, 25u, static_cast<unsigned>(whole.steps())}) {
      Trainer trainer(device_, options, dataset_);
      for (int i = 0; i < 3; ++i) trainer.trainStep();  // what was there before must not matter
      trainer.restore(checkpoints[step]);
      EXPECT_EQ(trainer.step(), step);
      std::vector<EpochMetrics> rest;
      finish(trainer, &rest);
      EXPECT_EQ(parameters(trainer), parameters(whole)) << step;
      if (rest.empty()) continue;
      EXPECT_EQ(rest.back().trainLoss, metrics.back().trainLoss) << step;
      EXPECT_EQ(rest.back().testLoss, metrics.back().testLoss) << step;
      EXPECT_EQ(rest.back().validationLoss, metrics.back().validationLoss) << step;
    }
  }
}

TEST_F(TrainerTest, ReadingTheProgressChangesNothing) {
  Trainer quiet(device_, tinyOptions(), dataset_);
  Trainer watched(device_, tinyOptions(), dataset_);
  std::vector<EpochMetrics> quietMetrics;
  std::vector<EpochMetrics> watchedMetrics;
  finish(quiet, &quietMetrics);
  while (!watched.isFinished()) {
    watched.trainStep();
    EXPECT_GT(watched.running().loss, 0);
    if (watched.isEpochComplete()) watchedMetrics.push_back(watched.endEpoch());
  }
  EXPECT_EQ(parameters(quiet), parameters(watched));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(quietMetrics[i].trainLoss, watchedMetrics[i].trainLoss);
}

TEST_F(TrainerTest, RestartBeginsAnew) {
  Trainer trainer(device_, tinyOptions(), dataset_);
  finish(trainer);
  const auto first = parameters(trainer);
  trainer.restart();
  EXPECT_EQ(trainer.step(), 0u);
  EXPECT_NE(parameters(trainer), first);
  finish(trainer);
  EXPECT_EQ(parameters(trainer), first);
}

TEST_F(TrainerTest, RefusesCheckpointsThatDoNotFit) {
  Trainer trainer(device_, tinyOptions(), dataset_);
  trainer.trainStep();
  const Checkpoint good = trainer.checkpoint();
  const auto refused = [&](auto change) {
    Checkpoint bad = good;
    change(bad);
    try {
      trainer.restore(bad);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::malformedFile) << error.what();
    }
  };
  refused([](Checkpoint& checkpoint) { checkpoint.step = 2; });
  refused([](Checkpoint& checkpoint) { checkpoint.position = 21; });
  refused([](Checkpoint& checkpoint) { checkpoint.epoch = 9; });
  refused([](Checkpoint& checkpoint) { checkpoint.meters.erase("loss_sum"); });
  refused([](Checkpoint& checkpoint) { checkpoint.meters["samples"] = "many"; });
  refused([](Checkpoint& checkpoint) { checkpoint.tensors.front().values.pop_back(); });
  refused([](Checkpoint& checkpoint) { checkpoint.tensors.pop_back(); });
  refused([](Checkpoint& checkpoint) { checkpoint.position = std::uint64_t{1} << 63; });
  EXPECT_NO_THROW(trainer.restore(good));
}

TEST_F(TrainerTest, NonFiniteNumbersStopAndAreFound) {
  TrainingOptions options = tinyOptions();
  options.network.batchNormalization = false;
  options.optimizer.kind = OptimizerKind::sgd;
  options.optimizer.learningRate = 1e30f;
  Trainer trainer(device_, options, dataset_);
  std::uint64_t step = 0;
  try {
    finish(trainer);
    FAIL();
  } catch (const NonFiniteNumbers& failure) {
    step = failure.step();
  }
  trainer.restart();
  const auto place = trainer.findNonFinite(step);
  ASSERT_TRUE(place);
  EXPECT_LE(place->step, step);
  EXPECT_GE(place->step + 1, step);
  EXPECT_FALSE(place->what.empty());
}

TEST_F(TrainerTest, AGoodRunHasNothingToFind) {
  Trainer trainer(device_, tinyOptions(), dataset_);
  EXPECT_FALSE(trainer.findNonFinite(12));
}

TEST_F(TrainerTest, BitsDoNotDependOnThreads) {
  const std::size_t threads = device_.numberOfThreads();
  std::vector<std::vector<NamedTensor>> results;
  for (const std::size_t count : {1u, 2u, 3u, 4u}) {
    device_.setNumberOfThreads(count);
    Trainer trainer(device_, tinyOptions(), dataset_);
    finish(trainer);
    results.push_back(parameters(trainer));
  }
  device_.setNumberOfThreads(threads);
  for (const auto& result : results) EXPECT_EQ(result, results.front());
}

TEST_F(TrainerTest, CpuAndReferenceAgree) {
  TrainingOptions options = tinyOptions();
  options.epochs = 1;
  Trainer cpu(device_, options, dataset_);
  Trainer reference(Device::named("reference"), options, dataset_);
  std::vector<EpochMetrics> metrics;
  finish(cpu, &metrics);
  finish(reference, &metrics);
  // Adam divides by the gradients' size: rounding errors grow over the eleven steps, but not to a percent.
  EXPECT_NEAR(metrics[0].trainLoss, metrics[1].trainLoss, 0.01 * metrics[1].trainLoss);
}

class NetworkFileTest : public TrainerTest {
 protected:
  TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_ / "weights.safetensors";

  TrainedNetwork trainedBy(const Trainer& trainer) const {
    return {.description = {.network = trainer.options().network,
                            .normalization = trainer.normalization(),
                            .rows = 6,
                            .columns = 6,
                            .classNames = dataset_.classNames},
            .tensors = trainer.model().tensors()};
  }
};

TEST_F(NetworkFileTest, GivesBackTheNetwork) {
  Trainer trainer(device_, tinyOptions(), dataset_);
  finish(trainer);
  saveNetwork(path_, trainedBy(trainer));
  const TrainedNetwork trained = loadNetwork(path_);
  EXPECT_EQ(trained.description.network, trainer.options().network);
  EXPECT_EQ(trained.description.normalization, trainer.normalization());
  EXPECT_EQ(trained.description.classNames, dataset_.classNames);

  Predictor predictor(device_, trained, 3);
  const auto predictions = predictor.predict(dataset_.test, naturalOrder(dataset_.test.count()));
  const Evaluation evaluation = trainer.evaluateTest();
  ASSERT_EQ(predictions.size(), dataset_.test.count());
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    ASSERT_EQ(predictions[i].size(), 3u);
    EXPECT_EQ(predictions[i][0].index, evaluation.predicted[i]);
    EXPECT_GE(predictions[i][0].probability, predictions[i][1].probability);
  }
}

TEST_F(NetworkFileTest, RefusesTensorsOfAnotherNetwork) {
  Trainer trainer(device_, tinyOptions(), dataset_);
  saveNetwork(path_, trainedBy(trainer));
  TrainedNetwork trained = loadNetwork(path_);
  const auto model = makeModel(device_, trained.description.network, 20);
  const auto refused = [&](auto change) {
    TrainedNetwork bad = trained;
    change(bad);
    EXPECT_THROW(model->assign(bad.tensors), Error);
  };
  refused([](TrainedNetwork& network) { network.tensors.pop_back(); });
  refused([](TrainedNetwork& network) { network.tensors.front().name += "x"; });
  refused([](TrainedNetwork& network) { network.tensors.front().shape = {1}; });
  refused([](TrainedNetwork& network) { network.tensors.push_back({.name = "more", .shape = {1}, .values = {1}}); });
}

TEST(RunDirectory, IsMadeOnceAndHeldByOne) {
  const TemporaryDirectory directory;
  const auto path = directory / "run";
  {
    const RunDirectory run = RunDirectory::create(path, tinyOptions());
    EXPECT_EQ(RunDirectory::readOptions(path), tinyOptions());
    EXPECT_THROW(RunDirectory::create(path, tinyOptions()), Error);
    EXPECT_THROW(RunDirectory::open(path), Error);
  }
  EXPECT_NO_THROW(RunDirectory::open(path));
  EXPECT_THROW(RunDirectory::open(directory / "absent"), Error);
}

}  // namespace
}  // namespace metalloid::training
