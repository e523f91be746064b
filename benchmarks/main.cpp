// Times the kernels on problems from text files and prints one JSON line a problem.
//
//     metalloid-bench                                the problem files of benchmarks/problems; not those in
//     problems/gpu metalloid-bench problems/training_step.txt metalloid-bench --serve                        commands
//     from standard input, one JSON answer each
//
// An iteration is one encode of the problem. A step is as many iterations as take about --step-seconds; its time is the
// wall clock from the first encode to the end of the wait, divided by the iterations. --steps steps are timed; reported
// are their median and quartiles. Every problem is checked before it is timed; a wrong result is reported, not timed.
//
// With the word `cold`, each iteration first overwrites more memory than caches hold. A step is then taken twice, with
// the work and without, and its time is the difference. Small work on a CPU is
// lost in the noise of the overwriting, which takes a GPU a tenth of a millisecond only.
//
// The commands of --serve let another program take turns with this one:
//
//     fully_connected 128x784x512    prepares and checks a problem; answers its error and its iterations a step
//     repeat 3                       runs one step to warm up, then times 3; answers {"seconds": [...]}
//     save FILE                      writes operands and results of the check (after one encode) as safetensors

#include "core/format.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "case.hpp"
#include "flush.hpp"
#include "formats/safetensors.hpp"
#include "problem.hpp"
#include "statistics.hpp"

namespace {

using namespace metalloid;
using benchmark_program::Case;
using benchmark_program::Problem;

struct Settings {
  std::string device = "cpu";
  std::size_t threads = 0;
  double stepSeconds = 0.02;
  std::size_t steps = 15;
};

/// A problem at a time: prepared, checked, then timed as often as wanted.
class Bench {
 public:
  explicit Bench(const Settings& settings)
      : stepSeconds_(settings.stepSeconds),
        device_(Device::named(settings.device)),
        queue_(device_.makeCommandQueue()) {
    if (settings.threads > 0) device_.setNumberOfThreads(settings.threads);
  }

  nlohmann::json prepare(const Problem& problem) {
    case_.reset();  // before the next one takes memory
    flush_.reset();
    Case work = benchmark_program::makeCase(device_, problem);
    const double error = work.check(queue_);
    nlohmann::json line{{"problem", problem.line},
                        {"device", device_.name()},
                        {"hardware", device_.description()},
                        {"threads", device_.numberOfThreads()},
                        {"error", error}};
    if (work.errorUnit > 0) line["largest_error"] = error * work.errorUnit;
    if (!(error <= 1)) {
      line["wrong"] = true;
      return line;
    }
    case_ = std::move(work);
    if (problem.has("cold")) flush_.emplace(device_);
    isFresh_ = true;
    iterations_ = 0;
    line["operations"] = case_->operations;
    line["bytes"] = case_->bytes;
    return line;
  }

  /// Seconds an iteration took, for each of some steps.
  std::vector<double> repeat(std::size_t steps) {
    requireProblem();
    isFresh_ = false;
    if (iterations_ == 0) findIterations();
    iterationSeconds();  // warms up
    std::vector<double> samples;
    for (std::size_t i = 0; i < steps; ++i) samples.push_back(iterationSeconds());
    return samples;
  }

  void save(const std::string& path) const {
    requireProblem();
    if (!isFresh_) throw Error(ErrorCode::invalidArgument, "Only what has not been timed yet can be saved.");
    std::vector<std::vector<float>> values;
    std::vector<formats::TensorView> views;
    const auto& tensors = case_->operands.tensors();
    for (const auto& tensor : tensors) values.push_back(tensor.read());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      views.push_back(formats::floatTensor(tensors[i].name, tensors[i].shape, values[i]));
    }
    formats::saveSafetensors(path, views);
  }

  std::size_t iterations() const { return iterations_; }
  double operations() const { return case_->operations; }
  double bytes() const { return case_->bytes; }

 private:
  void requireProblem() const {
    if (!case_) throw Error(ErrorCode::invalidArgument, "There is no problem that was found right.");
  }

  /// Seconds that the iterations of a step take with this encode in each.
  double secondsOf(const std::function<void(CommandBuffer&)>& encode) const {
    const auto begin = std::chrono::steady_clock::now();
    benchmark_program::runRepeatedly(queue_, iterations_, case_->committedAlone, encode);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// Of a whole step, flushing included.
  double stepSeconds() const {
    if (!flush_) return secondsOf(case_->encode);
    return secondsOf([&](CommandBuffer& commands) {
      flush_->encode(commands);
      case_->encode(commands);
    });
  }

  double iterationSeconds() const {
    const double flushing = flush_ ? secondsOf([&](CommandBuffer& commands) { flush_->encode(commands); }) : 0;
    return (stepSeconds() - flushing) / static_cast<double>(iterations_);
  }

  /// Iterations that take about the wanted time.
  void findIterations() {
    constexpr std::size_t kMost = 100'000;
    iterations_ = 1;
    for (;;) {
      const double taken = stepSeconds();
      if (taken >= stepSeconds_ / 2 || iterations_ >= kMost) return;
      const double factor = std::clamp(stepSeconds_ / std::max(taken, 1e-9), 2.0, 10.0);
      iterations_ = std::min(kMost, static_cast<std::size_t>(static_cast<double>(iterations_) * factor));
    }
  }

  double stepSeconds_;
  Device device_;
  CommandQueue queue_;
  std::optional<Case> case_;
  std::optional<benchmark_program::Flush> flush_;
  std::size_t iterations_ = 0;
  bool isFresh_ = false;  // the results are those of the check
};

nlohmann::json timeProblem(Bench& bench, const Problem& problem, std::size_t steps) {
  nlohmann::json line = bench.prepare(problem);
  if (line.contains("wrong")) return line;
  const auto statistics = benchmark_program::statisticsOf(bench.repeat(steps));
  line["clock"] = "steady_clock";
  line["steps"] = steps;
  line["iterations"] = bench.iterations();
  line["median_seconds"] = statistics.median;
  line["lower_quartile_seconds"] = statistics.lowerQuartile;
  line["upper_quartile_seconds"] = statistics.upperQuartile;
  line["minimum_seconds"] = statistics.minimum;
  if (bench.operations() > 0) line["gflops"] = bench.operations() / statistics.median * 1e-9;
  if (bench.bytes() > 0) line["gigabytes_per_second"] = bench.bytes() / statistics.median * 1e-9;
  return line;
}

void print(const nlohmann::json& line) {
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
}

nlohmann::json answer(Bench& bench, const std::string& text) {
  std::istringstream words(text);
  std::string command;
  words >> command;
  if (command == "repeat") {
    std::size_t steps = 0;
    if (!(words >> steps)) throw Error(ErrorCode::invalidArgument, "The command repeat needs a number.");
    return {{"seconds", bench.repeat(steps)}, {"iterations", bench.iterations()}};
  }
  if (command == "save") {
    std::string path;
    std::getline(words >> std::ws, path);
    bench.save(path);
    return {{"saved", path}};
  }
  const auto problem = benchmark_program::parseProblem(text);
  return problem ? bench.prepare(*problem) : nlohmann::json::object();
}

void serve(const Settings& settings) {
  Bench bench(settings);
  for (std::string text; std::getline(std::cin, text);) {
    try {
      print(answer(bench, text));
    } catch (const std::exception& error) {
      print({{"command", text}, {"failed", error.what()}});
    }
  }
}

std::vector<std::string> allProblemFiles() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(METALLOID_PROBLEMS)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path().string());
  }
  std::ranges::sort(files);
  return files;
}

/// Whether every result was right.
bool timeFiles(const Settings& settings, const std::vector<std::string>& files) {
  Bench bench(settings);
  bool right = true;
  for (const std::string& file : files) {
    for (const Problem& problem : benchmark_program::readProblems(file)) {
      const auto line = timeProblem(bench, problem, settings.steps);
      right = right && !line.contains("wrong");
      print(line);
    }
  }
  return right;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::vector<std::string> files;
  bool serving = false;
  CLI::App app("Times the kernels on problems from text files; one JSON line a problem.");
  app.add_option("files", files, "Problem files; those of benchmarks/problems when none is given");
  app.add_flag("--serve", serving, "Take commands from standard input");
  app.add_option("--device", settings.device, "Device")->capture_default_str();
  app.add_option("--threads", settings.threads, "Threads of the cpu device; 0: as the device chooses");
  app.add_option("--step-seconds", settings.stepSeconds, "Seconds a step should take")->capture_default_str();
  app.add_option("--steps", settings.steps, "Steps a problem")->capture_default_str()->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    if (serving) {
      serve(settings);
      return 0;
    }
    return timeFiles(settings, files.empty() ? allProblemFiles() : files) ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "metalloid-bench: {}\n", error.what());
    return 1;
  }
}
