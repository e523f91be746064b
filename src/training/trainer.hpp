#pragma once

#include "formats/image_dataset.hpp"
#include "training/batch_loader.hpp"
#include "training/checkpoint_files.hpp"
#include "training/evaluator.hpp"
#include "training/meters.hpp"
#include "training/model.hpp"
#include "training/sample_log.hpp"
#include "training/sample_order.hpp"
#include "training/training_options.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace metalloid::training {

/// What an epoch came to.
struct EpochMetrics {
  std::uint64_t epoch = 0;  ///< From 1.
  std::uint64_t step = 0;   ///< Optimizer steps since the start of the run.
  double learningRate = 0;  ///< Of the last step.
  double trainLoss = 0;     ///< Means over the epoch, each sample as it was when it was trained on.
  double trainAccuracy = 0;
  std::optional<double> validationLoss;
  std::optional<double> validationAccuracy;
  double testLoss = 0;
  double testAccuracy = 0;
  double samplesPerSecond = 0;  ///< Training alone, without evaluation.
  double seconds = 0;           ///< The same.
};

/// One line of a run's metrics.
nlohmann::json toJson(const EpochMetrics& metrics);

/// Thrown when a number is infinite or NaN that must not be.
class NonFiniteNumbers : public Error {
 public:
  NonFiniteNumbers(std::uint64_t step, std::string message)
      : Error(ErrorCode::invalidArgument, std::move(message)), step_(step) {}

  /// The optimizer step, from 0, whose results show it.
  std::uint64_t step() const { return step_; }

 private:
  std::uint64_t step_;
};

/// Trains a network: batch by batch, epoch by epoch, without files. The same options and data give the same bits, for
/// any number of threads and whether or not the training was taken up from a checkpoint.
///
/// A step encodes forward pass, loss, gradients and update into one command buffer, commits it and returns; several are
/// in flight. The last batch of an epoch has what remains of the images, or is left out where that is a single one and
/// batch normalization would make nothing of it.
class Trainer {
 public:
  /// The data set must outlive the trainer. `options.network` gets its inputs and classes from it.
  Trainer(const Device& device, TrainingOptions options, const formats::ImageDataset& dataset);

  const TrainingOptions& options() const { return options_; }
  const Model& model() const { return *model_; }
  const PixelNormalization& normalization() const { return normalization_; }

  std::size_t trainingSamples() const { return split_.training.size(); }
  std::size_t validationSamples() const { return split_.validation.size(); }
  std::uint64_t stepsPerEpoch() const { return stepsPerEpoch_; }
  std::uint64_t steps() const { return options_.epochs * stepsPerEpoch_; }

  /// Where the training is: optimizer steps done, epoch from 0, samples of it used up.
  std::uint64_t step() const { return step_; }
  std::uint64_t epoch() const { return epoch_; }
  std::size_t position() const { return position_; }

  bool isFinished() const { return epoch_ == options_.epochs; }

  /// Whether all batches of the epoch are trained on and `endEpoch` is due.
  bool isEpochComplete() const { return step_ == (epoch_ + 1) * stepsPerEpoch_; }

  /// Trains on the next batch. Does not wait for the device.
  void trainStep();

  /// Evaluates, and moves on to the next epoch. @throws NonFiniteNumbers
  EpochMetrics endEpoch();

  /// Mean loss and accuracy of the epoch so far. Waits for the steps in flight. @throws NonFiniteNumbers
  struct Running {
    double loss = 0;
    double accuracy = 0;
  };
  Running running();

  /// The whole state. Waits for the steps in flight. @throws NonFiniteNumbers when there is a number that would make
  /// the checkpoint useless.
  Checkpoint checkpoint();

  /// Goes on from a checkpoint of a run with the same options and data. @throws Error (malformedFile) when it does not
  /// fit.
  void restore(const Checkpoint& checkpoint);

  /// Goes back to the start: the seed's weights.
  void restart();

  /// The test images, with the classes they are given.
  Evaluation evaluateTest();

  /// Trains on until the given step has been done, looks at every intermediate of that step and the one before, and
  /// names the first that has an infinite number or NaN, with its step; nothing when all are finite.
  struct NonFinitePlace {
    std::uint64_t step = 0;
    std::string what;
  };
  std::optional<NonFinitePlace> findNonFinite(std::uint64_t lastStep);

 private:
  void encodeStep(CommandBuffer& commands, const Batch& batch);
  std::optional<Batch> nextBatch();
  void readLog();
  Evaluation evaluate(const formats::LabelledImages& images, const std::vector<std::uint32_t>& order);

  Device device_;
  TrainingOptions options_;
  const formats::ImageDataset& dataset_;
  PixelNormalization normalization_;
  Split split_;
  CommandQueue queue_;
  std::unique_ptr<Model> model_;
  std::uint64_t stepsPerEpoch_;
  BatchLoader loader_;
  SampleLog log_;
  Evaluator evaluator_;

  std::uint64_t step_ = 0;
  std::uint64_t epoch_ = 0;
  std::size_t position_ = 0;
  bool isLoading_ = false;  // the loader is in the pass of this epoch

  // What has been read of the log, and where reading stopped.
  MeanMeter loss_;
  AccuracyMeter accuracy_;
  std::size_t readUpTo_ = 0;

  std::chrono::steady_clock::time_point epochStart_;
  std::size_t epochStartPosition_ = 0;
};

}  // namespace metalloid::training
