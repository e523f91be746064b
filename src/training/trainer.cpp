#include "training/trainer.hpp"

#include "core/format.hpp"
#include "training/json_members.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace metalloid::training {
namespace {

TrainingOptions completed(TrainingOptions options, const formats::ImageDataset& dataset) {
  options.network.inputs = dataset.rows * dataset.columns;
  options.network.classes = dataset.classes;
  check(options);
  return options;
}

std::uint64_t countSteps(const TrainingOptions& options, std::size_t samples, std::size_t minimumRows) {
  const std::size_t rest = samples % options.batchSize;
  const std::uint64_t steps = samples / options.batchSize + (rest >= minimumRows ? 1 : 0);
  if (steps == 0 || options.batchSize < minimumRows) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Batch normalization needs batches of at least {} samples, but the batch size is {} and "
                            "there are {} training images.",
                            minimumRows, options.batchSize, samples));
  }
  return steps;
}

bool allFinite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

std::string_view spelled(double notFinite) { return std::isnan(notFinite) ? "NaN" : "infinite"; }

}  // namespace

nlohmann::json toJson(const EpochMetrics& metrics) {
  nlohmann::json line{{"epoch", metrics.epoch},
                      {"step", metrics.step},
                      {"learning_rate", metrics.learningRate},
                      {"train_loss", metrics.trainLoss},
                      {"train_accuracy", metrics.trainAccuracy},
                      {"test_loss", metrics.testLoss},
                      {"test_accuracy", metrics.testAccuracy},
                      {"samples_per_second", metrics.samplesPerSecond},
                      {"seconds", metrics.seconds}};
  if (metrics.validationLoss) line["validation_loss"] = *metrics.validationLoss;
  if (metrics.validationAccuracy) line["validation_accuracy"] = *metrics.validationAccuracy;
  return line;
}

Trainer::Trainer(const Device& device, TrainingOptions options, const formats::ImageDataset& dataset)
    : device_(device),
      options_(completed(std::move(options), dataset)),
      dataset_(dataset),
      normalization_(PixelNormalization::of(dataset.train.pixels)),
      split_(splitSamples(options_.seed, dataset.train.count(), options_.validationSplit)),
      queue_(device.makeCommandQueue()),
      model_(makeModel(device, options_, options_.batchSize)),
      stepsPerEpoch_(countSteps(options_, split_.training.size(), model_->minimumRows())),
      loader_(device, model_->batchLayout(), options_.batchSize, normalization_),
      log_(device, split_.training.size()),
      evaluator_(*model_, queue_, std::max(dataset.test.count(), split_.validation.size())) {
  restart();
}

void Trainer::restart() {
  model_->initialize(queue_, options_.seed);
  step_ = epoch_ = position_ = 0;
  loss_ = {};
  accuracy_ = {};
  readUpTo_ = 0;
  isLoading_ = false;
}

std::optional<Batch> Trainer::nextBatch() {
  if (!isLoading_) {
    auto order = shuffledOrder(options_.seed, static_cast<std::uint32_t>(epoch_), split_.training.size());
    for (auto& sample : order) sample = split_.training[sample];
    loader_.begin(dataset_.train, {.order = std::move(order),
                                   .first = position_,
                                   .batchSize = options_.batchSize,
                                   .minimumRows = model_->minimumRows()});
    log_.begin(split_.training.size(), options_.batchSize);
    isLoading_ = true;
    epochStart_ = std::chrono::steady_clock::now();
    epochStartPosition_ = position_;
  }
  return loader_.next();
}

void Trainer::encodeStep(CommandBuffer& commands, const Batch& batch) {
  commands.setLabel(fmt::format("training step {}", step_));
  model_->encodeTrainingStep(commands, batch, log_.results(position_, batch.rows()),
                             learningRateAt(options_, step_, stepsPerEpoch_));
}

void Trainer::trainStep() {
  const auto batch = nextBatch();
  if (!batch) throw Error(ErrorCode::invalidArgument, "A training step is asked for after the end of the epoch.");
  CommandBuffer commands = queue_.makeCommandBuffer();
  encodeStep(commands, *batch);
  commands.commit();
  ++step_;
  position_ += batch->rows();
}

void Trainer::readLog() {
  const auto samples = log_.read(readUpTo_, position_);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (!std::isfinite(samples[i].loss)) {
      const std::uint64_t step = epoch_ * stepsPerEpoch_ + (readUpTo_ + i) / options_.batchSize;
      throw NonFiniteNumbers(step, fmt::format("The loss of training step {} is {}.", step, spelled(samples[i].loss)));
    }
  }
  // One by one and in order, so that the sums do not depend on when they are read.
  for (const auto& sample : samples) {
    loss_.add(sample.loss);
    accuracy_.add(sample.isCorrect ? 1 : 0, 1);
  }
  readUpTo_ = position_;
}

Trainer::Running Trainer::running() {
  readLog();
  return {.loss = loss_.mean(), .accuracy = accuracy_.accuracy()};
}

Evaluation Trainer::evaluate(const formats::LabelledImages& images, const std::vector<std::uint32_t>& order) {
  isLoading_ = false;
  auto evaluation = evaluator_.evaluate(loader_, images, order);
  if (!std::isfinite(evaluation.loss)) {
    const std::uint64_t step = step_ == 0 ? 0 : step_ - 1;
    throw NonFiniteNumbers(
        step, fmt::format("The loss of the evaluation after training step {} is {}.", step, spelled(evaluation.loss)));
  }
  return evaluation;
}

Evaluation Trainer::evaluateTest() { return evaluate(dataset_.test, naturalOrder(dataset_.test.count())); }

EpochMetrics Trainer::endEpoch() {
  readLog();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - epochStart_).count();
  EpochMetrics metrics;
  metrics.epoch = epoch_ + 1;
  metrics.step = step_;
  metrics.learningRate = learningRateAt(options_, step_ - 1, stepsPerEpoch_);
  metrics.trainLoss = loss_.mean();
  metrics.trainAccuracy = accuracy_.accuracy();
  metrics.seconds = seconds;
  if (seconds > 0) metrics.samplesPerSecond = static_cast<double>(position_ - epochStartPosition_) / seconds;
  if (!split_.validation.empty()) {
    const Evaluation validation = evaluate(dataset_.train, split_.validation);
    metrics.validationLoss = validation.loss;
    metrics.validationAccuracy = validation.accuracy;
  }
  const Evaluation test = evaluateTest();
  metrics.testLoss = test.loss;
  metrics.testAccuracy = test.accuracy;
  ++epoch_;
  position_ = readUpTo_ = 0;
  loss_ = {};
  accuracy_ = {};
  isLoading_ = false;
  return metrics;
}

Checkpoint Trainer::checkpoint() {
  readLog();
  Checkpoint checkpoint;
  checkpoint.step = step_;
  checkpoint.epoch = epoch_;
  checkpoint.position = position_;
  checkpoint.toolVersion = METALLOID_VERSION;
  checkpoint.options = toJson(options_);
  checkpoint.random = {{"seed", options_.seed}, {"shuffle_stream", epoch_}};
  checkpoint.meters = {{"loss_sum", loss_.sum}, {"samples", loss_.count}, {"correct", accuracy_.right}};
  checkpoint.tensors = model_->state();
  for (const auto& tensor : checkpoint.tensors) {
    if (allFinite(tensor.values)) continue;
    const std::uint64_t step = step_ == 0 ? 0 : step_ - 1;
    throw NonFiniteNumbers(step, fmt::format("After training step {} the {} are not finite.", step, tensor.name));
  }
  return checkpoint;
}

void Trainer::restore(const Checkpoint& checkpoint) {
  const std::string title = fmt::format("The checkpoint of step {}", checkpoint.step);
  const JsonMembers meters(checkpoint.meters, title);
  MeanMeter loss;
  AccuracyMeter accuracy;
  meters.get("loss_sum", loss.sum);
  meters.get("samples", loss.count);
  meters.get("correct", accuracy.right);
  accuracy.count = loss.count;
  const bool fits = checkpoint.epoch <= options_.epochs && checkpoint.position <= split_.training.size() &&
                    checkpoint.position % options_.batchSize == 0 && loss.count == checkpoint.position &&
                    checkpoint.step == checkpoint.epoch * stepsPerEpoch_ + checkpoint.position / options_.batchSize;
  if (!fits) {
    throw Error(
        ErrorCode::malformedFile,
        fmt::format("{} stands at epoch {} and position {}, where a run of {} epochs of {} steps of {} samples "
                    "never is.",
                    title, checkpoint.epoch, checkpoint.position, options_.epochs, stepsPerEpoch_, options_.batchSize));
  }
  // Every step but an epoch's last takes a whole batch.
  const std::uint64_t rest = split_.training.size() % options_.batchSize;
  const std::uint64_t leftOut = rest < model_->minimumRows() ? rest : 0;
  model_->restore(checkpoint, checkpoint.epoch * (split_.training.size() - leftOut) + checkpoint.position);
  step_ = checkpoint.step;
  epoch_ = checkpoint.epoch;
  position_ = readUpTo_ = static_cast<std::size_t>(checkpoint.position);
  loss_ = loss;
  accuracy_ = accuracy;
  isLoading_ = false;
}

std::optional<Trainer::NonFinitePlace> Trainer::findNonFinite(std::uint64_t lastStep) {
  const auto moveOn = [&] {
    if (!isEpochComplete()) return;
    ++epoch_;
    position_ = readUpTo_ = 0;
    isLoading_ = false;
  };
  // A gradient that is not finite shows in the next step's loss: the step before is looked at, too.
  while (step_ + 1 < lastStep) {
    trainStep();
    moveOn();
  }
  while (step_ <= lastStep && !isFinished()) {
    const auto batch = nextBatch();
    if (!batch) break;
    CommandBuffer commands = queue_.makeCommandBuffer();
    encodeStep(commands, *batch);
    commands.commit();
    commands.waitUntilCompleted();
    for (const auto& [name, values] : model_->intermediates()) {
      // The rows beyond a short batch hold an earlier one, which was looked at or did no harm.
      if (!allFinite(values)) return NonFinitePlace{.step = step_, .what = name};
    }
    for (const auto& tensor : model_->tensors()) {
      if (!allFinite(tensor.values)) return NonFinitePlace{.step = step_, .what = "the updated " + tensor.name};
    }
    ++step_;
    position_ += batch->rows();
    moveOn();
  }
  return std::nullopt;
}

}  // namespace metalloid::training
