#pragma once

#include "formats/image_dataset.hpp"
#include "training/network_options.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace metalloid::training {

/// Which optimizer updates the parameters.
enum class OptimizerKind { sgd, rmsprop, adam };

std::string_view name(OptimizerKind kind);

/// @throws Error (invalidArgument) with the names there are.
OptimizerKind optimizerNamed(std::string_view name);

/// The learning rate that a kind has when none is given.
float defaultLearningRate(OptimizerKind kind);

/// The settings of all three optimizers; each uses its own.
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adam;
  float learningRate = 0.001f;
  float momentum = 0.9f;  ///< sgd
  bool nesterov = false;  ///< sgd
  double decay = 0.9;     ///< rmsprop
  float epsilon = 1e-8f;  ///< rmsprop, adam
  double beta1 = 0.9;     ///< adam
  double beta2 = 0.999;   ///< adam
  bool amsgrad = false;   ///< adam
  float weightDecay = 0;  ///< Adds weightDecay*w to the gradient of each weight matrix (not of other parameters).
  float l1 = 0;           ///< Adds l1*sign(w) likewise; not together with weightDecay.
  std::optional<float> gradientClip;  ///< Each element of a gradient is brought into [-gradientClip, gradientClip].

  bool operator==(const OptimizerOptions&) const = default;
};

/// How the learning rate changes over a run.
enum class Schedule {
  constant,  ///< It does not.
  cosine,    ///< From the start value to 0 along half a cosine.
  step,      ///< Multiplied by stepFactor after every stepEpochs epochs.
};

std::string_view name(Schedule schedule);

/// @throws Error (invalidArgument) with the names there are.
Schedule scheduleNamed(std::string_view name);

/// Everything that determines the bits of a training run, apart from the data.
struct TrainingOptions {
  std::string device = "cpu";
  std::string dataDirectory = formats::kDebianFashionMnist;
  NetworkOptions network;  ///< `inputs` and `classes` come from the data.
  OptimizerOptions optimizer;
  Schedule schedule = Schedule::cosine;
  std::size_t scheduleStepEpochs = 3;
  float scheduleStepFactor = 0.1f;
  float labelSmoothing = 0;
  std::size_t batchSize = 256;
  std::size_t epochs = 10;
  std::uint32_t seed = 0;
  double validationSplit = 0;         ///< Share of the training images that is held back, in [0, 1).
  std::uint64_t checkpointEvery = 0;  ///< Steps between checkpoints; 0: at the end of each epoch.
  std::size_t keepCheckpoints = 2;    ///< The newest that stay.
  bool report = true;                 ///< Whether an HTML report is written.

  bool operator==(const TrainingOptions&) const = default;
};

/// @throws Error (invalidArgument) naming the option, its value and what is possible.
void check(const TrainingOptions& options);

nlohmann::json toJson(const TrainingOptions& options);

/// The options in a run's files; `title` starts the messages. @throws Error (malformedFile) naming the member.
TrainingOptions trainingOptionsFromJson(const nlohmann::json& json, const std::string& title);

/// The learning rate of optimizer step `step` (from 0).
float learningRateAt(const TrainingOptions& options, std::uint64_t step, std::uint64_t stepsPerEpoch);

}  // namespace metalloid::training
