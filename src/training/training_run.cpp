#include "training/training_run.hpp"

#include "core/format.hpp"
#include "formats/file_reader.hpp"
#include "formats/file_writer.hpp"
#include "formats/json_parser.hpp"
#include "training/checkpoint_files.hpp"
#include "training/json_lines.hpp"
#include "training/json_members.hpp"
#include "training/meters.hpp"
#include "training/network_file.hpp"
#include "training/run_directory.hpp"
#include "training/run_report.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <sys/resource.h>

namespace metalloid::training {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

/// What tells one data set from another: a run must go on with the images it began with.
nlohmann::json fingerprint(const formats::ImageDataset& dataset) {
  const auto crc = [](const std::vector<std::uint8_t>& bytes) {
    return formats::crc32Of(std::as_bytes(std::span(bytes)));
  };
  return {{"train_images", dataset.train.count()},
          {"test_images", dataset.test.count()},
          {"train_pixels_crc32", crc(dataset.train.pixels)},
          {"train_labels_crc32", crc(dataset.train.labels)},
          {"test_labels_crc32", crc(dataset.test.labels)}};
}

std::uint64_t peakMemoryBytes() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_maxrss) * 1024 : 0;
}

/// A run at work: the trainer, the files, and who watches.
class Run {
 public:
  Run(const TrainingRequest& request, TrainingObserver& observer)
      : request_(request),
        observer_(observer),
        dataset_(formats::loadImageDataset(request.options.dataDirectory)),
        fingerprint_(fingerprint(dataset_)),
        trainer_(Device::named(request.options.device), request.options, dataset_),
        directory_(request.resume ? RunDirectory::open(request.run)
                                  : RunDirectory::create(request.run, request.options)) {}

  TrainingOutcome train(const std::function<bool()>& stopRequested) {
    if (request_.resume) resume();
    metrics_.emplace(JsonLinesWriter::append(RunDirectory::metrics(directory_.path())));
    observer_.started(trainer_, directory_.path());
    if (isComplete_) {
      observer_.noted(fmt::format("The run \"{}\" is complete already.", directory_.path().string()));
      observer_.finished(finalLine_);
      return TrainingOutcome::finished;
    }
    try {
      while (!trainer_.isFinished()) {
        if (stopRequested()) {
          if (!saved_ || *saved_ != trainer_.step()) save();
          finishSaving();
          return TrainingOutcome::stopped;
        }
        trainer_.trainStep();
        samplesDone_ = samplesPerEpoch() * trainer_.epoch() + trainer_.position();
        if (trainer_.isEpochComplete()) {
          endEpoch();
        } else if (observer_.wantsProgress()) {
          observer_.progressed(progress(trainer_.running()));
        }
        if (isCheckpointDue()) save();
        if (hasSaved()) finishSaving();
      }
      finishSaving();
      finish();
    } catch (const NonFiniteNumbers& failure) {
      explain(failure);
    }
    return TrainingOutcome::finished;
  }

 private:
  std::uint64_t samplesPerEpoch() const { return trainer_.trainingSamples(); }

  void resume() {
    auto newest = loadNewestCheckpoint(directory_.path());
    for (const auto& message : newest.damaged) observer_.noted(message);
    const fs::path metricsPath = RunDirectory::metrics(directory_.path());
    if (!newest.checkpoint) {
      truncateJsonLines(metricsPath, 0);
      return;
    }
    auto& checkpoint = *newest.checkpoint;
    requireSameData(checkpoint);
    trainer_.restore(checkpoint);
    saved_ = good_ = checkpoint.step;
    truncateJsonLines(metricsPath, checkpoint.step);
    for (auto& line : readMetrics(metricsPath)) {
      if (line.contains("final")) {
        isComplete_ = true;
        finalLine_ = std::move(line);
      }
    }
  }

  void requireSameData(const Checkpoint& checkpoint) const {
    const JsonMembers random(checkpoint.random, fmt::format("The checkpoint of step {}", checkpoint.step));
    if (random.any("data") != fingerprint_) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("The run was begun with other images than those in \"{}\": {} then, {} now.",
                              request_.options.dataDirectory, formats::dumpJson(random.any("data")),
                              formats::dumpJson(fingerprint_)));
    }
  }

  bool isCheckpointDue() const {
    const std::uint64_t every = request_.options.checkpointEvery;
    const bool epochEnd = trainer_.position() == 0;
    // The last one is what a run that is killed while it writes its results goes on from.
    return trainer_.isFinished() || (every == 0 ? epochEnd : trainer_.step() % every == 0);
  }

  /// Takes a copy of the state, and writes it while the training goes on. What goes wrong shows at `finishSaving`.
  void save() {
    finishSaving();
    Checkpoint checkpoint = trainer_.checkpoint();
    checkpoint.random["data"] = fingerprint_;
    saved_ = checkpoint.step;
    // The policy lets the work wait for finishSaving() where no thread is to be had.
    saving_ = std::async(std::launch::async | std::launch::deferred, [this, checkpoint = std::move(checkpoint)] {
      metrics_->sync();  // the lines up to this step, before the checkpoint that counts on them
      writeCheckpoint(directory_.path(), checkpoint);
      keepLastCheckpoints(directory_.path(), request_.options.keepCheckpoints);
      return checkpoint.step;
    });
  }

  bool hasSaved() const {
    return saving_.valid() && saving_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  void finishSaving() {
    if (saving_.valid()) good_ = saving_.get();
  }

  Progress progress(const Trainer::Running& running) {
    rate_.update(samplesDone_, Clock::now());
    return {.epoch = trainer_.epoch() + 1,
            .epochs = request_.options.epochs,
            .epochShare = static_cast<double>(trainer_.position()) / static_cast<double>(samplesPerEpoch()),
            .loss = running.loss,
            .accuracy = running.accuracy,
            .validationAccuracy = validationAccuracy_,
            .samplesPerSecond = rate_.perSecond(),
            .secondsLeft = rate_.secondsUntil(samplesPerEpoch() * request_.options.epochs)};
  }

  void endEpoch() {
    const EpochMetrics metrics = trainer_.endEpoch();
    rate_.update(samplesDone_, Clock::now());
    validationAccuracy_ = metrics.validationAccuracy;
    const nlohmann::json line = toJson(metrics);
    metrics_->write(line);
    observer_.epochEnded(metrics,
                         {.epoch = metrics.epoch,
                          .epochs = request_.options.epochs,
                          .epochShare = 1,
                          .loss = metrics.trainLoss,
                          .accuracy = metrics.trainAccuracy,
                          .validationAccuracy = metrics.validationAccuracy,
                          .samplesPerSecond = metrics.samplesPerSecond,
                          .secondsLeft = rate_.secondsUntil(samplesPerEpoch() * request_.options.epochs)},
                         line);
  }

  /// Everything that a killed run would do again in the same way; the last line of the metrics closes it.
  void finish() {
    const fs::path& run = directory_.path();
    const Evaluation test = trainer_.evaluateTest();
    saveNetwork(RunDirectory::weights(run), {.description = {.network = trainer_.options().network,
                                                             .normalization = trainer_.normalization(),
                                                             .rows = dataset_.rows,
                                                             .columns = dataset_.columns,
                                                             .classNames = dataset_.classNames},
                                             .tensors = trainer_.model().tensors()});
    const auto epochs = readMetrics(RunDirectory::metrics(run));
    double best = 0;
    for (const auto& line : epochs) best = std::max(best, numberIn(line, "test_accuracy"));
    finalLine_ = {{"final", true},
                  {"step", trainer_.step()},
                  {"epochs", request_.options.epochs},
                  {"test_loss", test.loss},
                  {"test_accuracy", test.accuracy},
                  {"best_test_accuracy", best},
                  {"weights", RunDirectory::weights(run).filename().string()},
                  {"seconds", std::chrono::duration<double>(Clock::now() - start_).count()},
                  {"peak_memory_bytes", peakMemoryBytes()}};
    if (request_.options.report) {
      finalLine_["report"] = RunDirectory::report(run).filename().string();
      writeHtmlReport(
          RunDirectory::report(run),
          runReport({.trainer = trainer_,
                     .epochs = epochs,
                     .finalLine = finalLine_,
                     .confusion = confusionMatrix(dataset_.classNames, dataset_.test.labels, test.predicted)}));
    }
    metrics_->write(finalLine_);
    metrics_->sync();
    observer_.finished(finalLine_);
  }

  /// Goes over the steps since the last good checkpoint again, to say where the first number went wrong.
  [[noreturn]] void explain(const NonFiniteNumbers& failure) {
    std::string place;
    try {
      finishSaving();
      trainer_.restart();
      if (good_) trainer_.restore(loadCheckpoint(checkpointPath(directory_.path(), *good_)));
      if (const auto found = trainer_.findNonFinite(failure.step())) {
        place = fmt::format(" The first that is not finite is {}, in step {}.", found->what, found->step);
      }
    } catch (const Error& error) {
      place = fmt::format(" Where it began could not be found: {}", error.message());
    }
    const std::string checkpoint =
        good_ ? fmt::format("The last good checkpoint is \"{}\".", checkpointPath(directory_.path(), *good_).string())
              : std::string("There is no checkpoint yet.");
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The training has gone astray: {}{} {} A smaller learning rate or "
                            "a gradient clip may help.",
                            failure.message(), place, checkpoint));
  }

  const TrainingRequest& request_;
  TrainingObserver& observer_;
  Clock::time_point start_ = Clock::now();
  formats::ImageDataset dataset_;
  nlohmann::json fingerprint_;
  Trainer trainer_;
  RunDirectory directory_;  // after all that can refuse: a run that cannot begin leaves nothing behind
  std::optional<JsonLinesWriter> metrics_;
  RateMeter rate_;
  std::uint64_t samplesDone_ = 0;
  std::optional<double> validationAccuracy_;
  std::optional<std::uint64_t> saved_;  // step of the newest checkpoint, perhaps still being written
  std::optional<std::uint64_t> good_;   // of the newest that is whole on the disk
  bool isComplete_ = false;
  nlohmann::json finalLine_;
  std::future<std::uint64_t> saving_;  // last: its end waits for the writing, which uses what stands above
};

}  // namespace

TrainingOutcome runTraining(const TrainingRequest& request, TrainingObserver& observer,
                            const std::function<bool()>& stopRequested) {
  check(request.options);
  if (request.resume) {
    TrainingOptions stored = RunDirectory::readOptions(request.run);
    stored.dataDirectory =
        request.options.dataDirectory;  // the images may have moved; that they are the same is checked
    if (stored != request.options) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("The options asked for are not those of the run \"{}\".", request.run.string()));
    }
  } else {
    RunDirectory::requireUnused(request.run);
  }
  return Run(request, observer).train(stopRequested);
}

}  // namespace metalloid::training
