#include "training/training_options.hpp"

#include "core/format.hpp"
#include "training/json_members.hpp"

#include <metalloid/error.hpp>

#include <array>
#include <cmath>
#include <numbers>
#include <utility>

namespace metalloid::training {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

constexpr std::array kOptimizers{std::pair{OptimizerKind::sgd, "sgd"}, std::pair{OptimizerKind::rmsprop, "rmsprop"},
                                 std::pair{OptimizerKind::adam, "adam"}};
constexpr std::array kSchedules{std::pair{Schedule::constant, "constant"}, std::pair{Schedule::cosine, "cosine"},
                                std::pair{Schedule::step, "step"}};

template <class Table, class Value>
std::string_view nameIn(const Table& table, Value value) {
  for (const auto& [candidate, name] : table) {
    if (candidate == value) return name;
  }
  return "unknown";
}

template <class Table>
auto valueIn(const Table& table, std::string_view what, std::string_view name) {
  std::string names;
  for (const auto& [value, candidate] : table) {
    if (name == candidate) return value;
    names += (names.empty() ? "" : ", ") + std::string(candidate);
  }
  refuse(fmt::format("There is no {} \"{}\"; there are: {}.", what, name, names));
}

void requireNotNegative(std::string_view what, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    refuse(fmt::format("The {} is {}, but must be finite and not negative.", what, value));
  }
}

void requireAboveZero(std::string_view what, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    refuse(fmt::format("The {} is {}, but must be finite and above 0.", what, value));
  }
}

void requireBelowOne(std::string_view what, double value) {
  if (!(value >= 0 && value < 1)) {
    refuse(fmt::format("The {} is {}, but must not be negative and lie below 1.", what, value));
  }
}

void requireCount(std::string_view what, std::size_t value, std::size_t maximum) {
  if (value == 0 || value > maximum) {
    refuse(fmt::format("The {} is {}, but 1 to {} are possible.", what, value, maximum));
  }
}

}  // namespace

std::string_view name(OptimizerKind kind) { return nameIn(kOptimizers, kind); }
OptimizerKind optimizerNamed(std::string_view name) { return valueIn(kOptimizers, "optimizer", name); }
std::string_view name(Schedule schedule) { return nameIn(kSchedules, schedule); }
Schedule scheduleNamed(std::string_view name) { return valueIn(kSchedules, "schedule", name); }

float defaultLearningRate(OptimizerKind kind) { return kind == OptimizerKind::sgd ? 0.1f : 0.001f; }

void check(const TrainingOptions& options) {
  check(options.network);
  const auto& optimizer = options.optimizer;
  requireAboveZero("learning rate", optimizer.learningRate);
  requireBelowOne("momentum", optimizer.momentum);
  requireBelowOne("decay", optimizer.decay);
  requireNotNegative("epsilon", optimizer.epsilon);
  requireBelowOne("beta1", optimizer.beta1);
  requireBelowOne("beta2", optimizer.beta2);
  requireNotNegative("weight decay", optimizer.weightDecay);
  requireNotNegative("factor of L1 regularization", optimizer.l1);
  if (optimizer.weightDecay > 0 && optimizer.l1 > 0) {
    refuse(fmt::format("The weight decay is {} and the factor of L1 regularization is {}, but only one can be used.",
                       optimizer.weightDecay, optimizer.l1));
  }
  if (optimizer.gradientClip) requireAboveZero("bound of gradient clipping", *optimizer.gradientClip);
  requireCount("number of epochs in a schedule step", options.scheduleStepEpochs, 1'000'000);
  requireAboveZero("factor of a schedule step", options.scheduleStepFactor);
  requireBelowOne("label smoothing", options.labelSmoothing);
  requireCount("batch size", options.batchSize, 1'000'000);
  requireCount("number of epochs", options.epochs, 1'000'000);
  requireBelowOne("validation split", options.validationSplit);
  requireCount("number of checkpoints kept", options.keepCheckpoints, 1'000'000);
}

nlohmann::json toJson(const TrainingOptions& options) {
  const auto& optimizer = options.optimizer;
  return {{"device", options.device},
          {"data", options.dataDirectory},
          {"network", toJson(options.network)},
          {"optimizer",
           {{"kind", std::string(name(optimizer.kind))},
            {"learning_rate", optimizer.learningRate},
            {"momentum", optimizer.momentum},
            {"nesterov", optimizer.nesterov},
            {"decay", optimizer.decay},
            {"epsilon", optimizer.epsilon},
            {"beta1", optimizer.beta1},
            {"beta2", optimizer.beta2},
            {"amsgrad", optimizer.amsgrad},
            {"weight_decay", optimizer.weightDecay},
            {"l1", optimizer.l1},
            {"gradient_clip", optimizer.gradientClip ? nlohmann::json(*optimizer.gradientClip) : nlohmann::json()}}},
          {"schedule", std::string(name(options.schedule))},
          {"schedule_step_epochs", options.scheduleStepEpochs},
          {"schedule_step_factor", options.scheduleStepFactor},
          {"label_smoothing", options.labelSmoothing},
          {"batch_size", options.batchSize},
          {"epochs", options.epochs},
          {"seed", options.seed},
          {"validation_split", options.validationSplit},
          {"checkpoint_every", options.checkpointEvery},
          {"keep_checkpoints", options.keepCheckpoints},
          {"report", options.report}};
}

TrainingOptions trainingOptionsFromJson(const nlohmann::json& json, const std::string& title) {
  const JsonMembers members(json, title);
  TrainingOptions options;
  std::string optimizerName;
  std::string scheduleName;
  members.get("device", options.device);
  members.get("data", options.dataDirectory);
  options.network = networkOptionsFromJson(members.object("network"));
  const JsonMembers optimizer = members.object("optimizer");
  optimizer.get("kind", optimizerName);
  optimizer.get("learning_rate", options.optimizer.learningRate);
  optimizer.get("momentum", options.optimizer.momentum);
  optimizer.get("nesterov", options.optimizer.nesterov);
  optimizer.get("decay", options.optimizer.decay);
  optimizer.get("epsilon", options.optimizer.epsilon);
  optimizer.get("beta1", options.optimizer.beta1);
  optimizer.get("beta2", options.optimizer.beta2);
  optimizer.get("amsgrad", options.optimizer.amsgrad);
  optimizer.get("weight_decay", options.optimizer.weightDecay);
  optimizer.get("l1", options.optimizer.l1);
  if (!optimizer.any("gradient_clip").is_null())
    optimizer.get("gradient_clip", options.optimizer.gradientClip.emplace());
  members.get("schedule", scheduleName);
  members.get("schedule_step_epochs", options.scheduleStepEpochs);
  members.get("schedule_step_factor", options.scheduleStepFactor);
  members.get("label_smoothing", options.labelSmoothing);
  members.get("batch_size", options.batchSize);
  members.get("epochs", options.epochs);
  members.get("seed", options.seed);
  members.get("validation_split", options.validationSplit);
  members.get("checkpoint_every", options.checkpointEvery);
  members.get("keep_checkpoints", options.keepCheckpoints);
  members.get("report", options.report);
  try {
    options.optimizer.kind = optimizerNamed(optimizerName);
    options.schedule = scheduleNamed(scheduleName);
    check(options);
  } catch (const Error& error) {
    members.fail(fmt::format("holds impossible options: {}", error.message()));
  }
  return options;
}

float learningRateAt(const TrainingOptions& options, std::uint64_t step, std::uint64_t stepsPerEpoch) {
  const double start = options.optimizer.learningRate;
  switch (options.schedule) {
    case Schedule::constant:
      return options.optimizer.learningRate;
    case Schedule::cosine: {
      const double share = static_cast<double>(step) / static_cast<double>(options.epochs * stepsPerEpoch);
      return static_cast<float>(start * 0.5 * (1 + std::cos(std::numbers::pi * share)));
    }
    case Schedule::step: {
      const std::uint64_t drops = step / (stepsPerEpoch * options.scheduleStepEpochs);
      return static_cast<float>(start * std::pow(double{options.scheduleStepFactor}, static_cast<double>(drops)));
    }
  }
  return options.optimizer.learningRate;
}

}  // namespace metalloid::training
