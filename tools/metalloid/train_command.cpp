#include "command.hpp"
#include "core/format.hpp"
#include "interruption.hpp"
#include "training/json_lines.hpp"
#include "training/progress_line.hpp"
#include "training/run_directory.hpp"
#include "training/run_report.hpp"
#include "training/training_run.hpp"
#include "training_arguments.hpp"

#include <metalloid/device.hpp>
#include <metalloid/error.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fs = std::filesystem;
using namespace metalloid;
using namespace metalloid::training;

namespace {

/// Shows a run to a person, or line by line to a program.
class ShownRun final : public TrainingObserver {
 public:
  explicit ShownRun(bool json)
      : progress_(stdout, json ? ProgressStyle::silent : progressStyleFor(stdout)),
        isLive_(progressStyleFor(stdout) == ProgressStyle::live) {
    if (json) lines_.emplace(JsonLinesWriter::standardOutput());
  }

  /// The first line, before anything takes time.
  void begin(const TrainingOptions& options, const Device& device, const fs::path& run) {
    progress_.print(fmt::format("metalloid {} on {} ({})", METALLOID_VERSION, device.name(), device.description()));
    progress_.print(fmt::format("reading {}", options.dataDirectory));
    if (lines_) {
      lines_->write({{"version", METALLOID_VERSION},
                     {"device", device.name()},
                     {"device_description", device.description()},
                     {"data", options.dataDirectory},
                     {"run", run.string()}});
    }
  }

  bool hasStarted() const { return hasStarted_; }

  void started(const Trainer& trainer, const fs::path& run) override {
    hasStarted_ = true;
    progress_.print(
        fmt::format("network {}: {} parameters", describe(trainer.options().network), trainer.model().parameters()));
    std::string images = fmt::format("{} training images", trainer.trainingSamples());
    if (trainer.validationSamples() > 0) images += fmt::format(", {} for validation", trainer.validationSamples());
    progress_.print(fmt::format("{}; {} epochs of {} steps; run directory {}", images, trainer.options().epochs,
                                trainer.stepsPerEpoch(), run.string()));
    if (trainer.step() > 0) progress_.print(fmt::format("going on after step {}", trainer.step()));
  }

  void noted(std::string_view sentence) override {
    if (lines_) {
      fmt::print(stderr, "metalloid: {}\n", sentence);
    } else {
      progress_.print(sentence);
    }
  }

  bool wantsProgress() override {
    using namespace std::chrono_literals;
    if (lines_) return false;
    // An answer makes the device wait for the host once; often enough for the eye is seldom enough for the device.
    const auto now = std::chrono::steady_clock::now();
    const auto interval = isLive_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(5000);
    if (asked_ && now - *asked_ < interval) return false;
    asked_ = now;
    return true;
  }

  void progressed(const Progress& progress) override { progress_.update(progress); }

  void epochEnded(const EpochMetrics& metrics, const Progress& progress, const nlohmann::json& line) override {
    progress_.complete(progress);
    std::string text = fmt::format("epoch {} test loss {:.4f}  test accuracy {:.2f} %", metrics.epoch, metrics.testLoss,
                                   100 * metrics.testAccuracy);
    progress_.print(text);
    if (lines_) lines_->write(line);
  }

  void finished(const nlohmann::json& line) override {
    if (lines_) lines_->write(line);
    finalLine_ = line;
  }

  void end(const fs::path& run) {
    progress_.print(fmt::format("test accuracy {:.2f} %", 100 * numberIn(finalLine_, "test_accuracy")));
    progress_.print(fmt::format("weights {}", RunDirectory::weights(run).string()));
    if (finalLine_.contains("report")) progress_.print(fmt::format("report {}", RunDirectory::report(run).string()));
    progress_.finish();
  }

  void leave() { progress_.finish(); }

 private:
  ProgressLine progress_;
  bool isLive_;
  std::optional<JsonLinesWriter> lines_;
  bool hasStarted_ = false;
  std::optional<std::chrono::steady_clock::time_point> asked_;
  nlohmann::json finalLine_;
};

class TrainCommand {
 public:
  explicit TrainCommand(CLI::App& tool)
      : app_(tool.add_subcommand("train", "Train a network on images with labels, by default Fashion-MNIST")) {
    network_.addTo(*app_);
    training_.addTo(*app_);
    // Everything so far, but the place of the images, decides what the bits will be.
    for (const CLI::Option* option : app_->get_options({})) {
      const std::string name = option->get_name();
      if (name != "--data" && name != "--help") determining_.push_back(option);
    }
    device_.addTo(*app_);
    determining_.push_back(app_->get_option("--device"));
    out_ = app_->add_option("--out", outText_, "Directory of the run (default: runs/DATE-TIME)")->type_name("DIR");
    determining_.push_back(out_);
    resume_ = app_->add_option("--resume", resumeText_,
                               "Go on with the run in this directory; its options are those it was begun with")
                  ->type_name("DIR");
    app_->add_flag("--json", json_, "Print one JSON object per line");
  }

  CLI::App* app() const { return app_; }

  int run() {
    listenForInterruption();
    const TrainingRequest request = makeRequest();
    const Device device = device_.computingDevice(request.options.device);
    ShownRun shown(json_);
    shown.begin(request.options, device, request.run);
    try {
      if (runTraining(request, shown, isInterrupted) == TrainingOutcome::stopped) {
        shown.leave();
        throw Error(ErrorCode::device,
                    fmt::format("The training was stopped and a checkpoint written; go on with it by: metalloid train "
                                "--resume {}",
                                request.run.string()));
      }
    } catch (const Error& error) {
      shown.leave();
      // What the images or the run's directory show to be impossible was asked for on the command line.
      if (!shown.hasStarted() && error.code() == ErrorCode::invalidArgument) throw UsageError(error.what());
      throw;
    }
    shown.end(request.run);
    return 0;
  }

 private:
  TrainingRequest makeRequest() const {
    if (resume_->count() == 0) {
      TrainingOptions options = training_.options(network_);
      options.device = device_.name();
      return {.options = options,
              .run = out_->count() > 0 ? fs::path(outText_) : RunDirectory::freshPath(),
              .resume = false};
    }
    for (const CLI::Option* option : determining_) {
      if (option->count() > 0) {
        throw UsageError(
            fmt::format("--resume goes on with the options of the run and takes no {}.", option->get_name()));
      }
    }
    TrainingOptions options = asUsageIfAbsent();
    if (app_->get_option("--data")->count() > 0) options.dataDirectory = app_->get_option("--data")->as<std::string>();
    return {.options = options, .run = resumeText_, .resume = true};
  }

  /// The options of the run to go on with; that there is none is a mistake on the command line, a damaged one is not.
  TrainingOptions asUsageIfAbsent() const {
    try {
      return RunDirectory::readOptions(resumeText_);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::invalidArgument) throw UsageError(std::string(error.message()));
      throw;
    }
  }

  CLI::App* app_;
  NetworkArguments network_;
  TrainingArguments training_;
  DeviceArguments device_;
  std::vector<const CLI::Option*> determining_;
  CLI::Option* out_ = nullptr;
  CLI::Option* resume_ = nullptr;
  std::string outText_;
  std::string resumeText_;
  bool json_ = false;
};

}  // namespace

Command addTrainCommand(CLI::App& tool) {
  const auto command = std::make_shared<TrainCommand>(tool);
  return {.app = command->app(), .action = [command] { return command->run(); }};
}
