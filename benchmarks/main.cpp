// Times the kernels on problems from text files and prints one JSON line a problem.
//
//     metalloid-bench problems/training_step.txt
//     metalloid-bench --serve      problems from standard input, one answer each: how the peers' script interleaves
//     runs
//
// An iteration is one encode of the problem. A step is as many iterations, in one command buffer, as take about
// --step-seconds; its time is the wall clock from the first encode to the end of the wait, divided by the iterations. A
// trial is
// --steps steps; it gives the median and the quartiles. Every problem is checked before it is timed.

#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

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

double secondsOf(Case& work, CommandQueue& queue, std::size_t iterations) {
  const auto begin = std::chrono::steady_clock::now();
  CommandBuffer commands = queue.makeCommandBuffer();
  for (std::size_t i = 0; i < iterations; ++i) work.encode(commands);
  commands.commit();
  commands.waitUntilCompleted();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Iterations that take about the wanted time; also warms up.
std::size_t iterationsFor(Case& work, CommandQueue& queue, double seconds) {
  std::size_t iterations = 1;
  for (;;) {
    const double taken = secondsOf(work, queue, iterations);
    if (taken >= seconds / 2 || iterations >= 100'000) break;
    iterations =
        std::max(iterations + 1, static_cast<std::size_t>(static_cast<double>(iterations) *
                                                          std::min(10.0, 1.1 * seconds / std::max(taken, 1e-7))));
  }
  return iterations;
}

nlohmann::json time(const Problem& problem, const Settings& settings) {
  const Device device = Device::named(settings.device);
  if (settings.threads > 0) device.setNumberOfThreads(settings.threads);
  CommandQueue queue = device.makeCommandQueue();
  const auto work = benchmark_program::makeCase(device, problem);
  const double error = work->check(queue);
  if (!(error <= 1)) {
    return {{"problem", problem.line}, {"wrong", true}, {"error", error}};
  }
  const std::size_t iterations = iterationsFor(*work, queue, settings.stepSeconds);
  std::vector<double> samples;
  for (std::size_t step = 0; step < settings.steps; ++step) {
    samples.push_back(secondsOf(*work, queue, iterations) / static_cast<double>(iterations));
  }
  const auto statistics = benchmark_program::statisticsOf(samples);
  nlohmann::json line{{"problem", problem.line},
                      {"device", device.name()},
                      {"hardware", device.description()},
                      {"clock", "steady_clock"},
                      {"iterations", iterations},
                      {"steps", settings.steps},
                      {"error", error},
                      {"median_seconds", statistics.median},
                      {"lower_quartile_seconds", statistics.lowerQuartile},
                      {"upper_quartile_seconds", statistics.upperQuartile},
                      {"minimum_seconds", statistics.minimum}};
  if (work->operations > 0) line["gflops"] = work->operations / statistics.median * 1e-9;
  if (work->bytes > 0) line["gigabytes_per_second"] = work->bytes / statistics.median * 1e-9;
  return line;
}

void serve(const Settings& settings) {
  for (std::string text; std::getline(std::cin, text);) {
    nlohmann::json answer;
    try {
      if (const auto problem = benchmark_program::parseProblem(text)) answer = time(*problem, settings);
    } catch (const std::exception& error) {
      answer = {{"problem", text}, {"failed", error.what()}};
    }
    fmt::print("{}\n", answer.dump());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::vector<std::string> files;
  bool serving = false;
  CLI::App app("Times the kernels on problems from text files; one JSON line a problem.");
  app.add_option("files", files, "Problem files");
  app.add_flag("--serve", serving, "Read problems from standard input");
  app.add_option("--device", settings.device, "Device")->capture_default_str();
  app.add_option("--threads", settings.threads, "Threads of the cpu device; 0: as the device chooses");
  app.add_option("--step-seconds", settings.stepSeconds, "Seconds a step should take")->capture_default_str();
  app.add_option("--steps", settings.steps, "Steps a problem")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    if (serving) {
      serve(settings);
      return 0;
    }
    bool right = true;
    for (const std::string& file : files) {
      for (const Problem& problem : benchmark_program::readProblems(file)) {
        const auto line = time(problem, settings);
        right = right && !line.contains("wrong");
        fmt::print("{}\n", line.dump());
        std::fflush(stdout);
      }
    }
    return right ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "metalloid-bench: {}\n", error.what());
    return 1;
  }
}
