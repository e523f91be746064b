#include "training/run_report.hpp"

#include "core/format.hpp"
#include "formats/file_reader.hpp"
#include "formats/json_parser.hpp"
#include "training/progress_line.hpp"

#include <metalloid/error.hpp>

#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

namespace metalloid::training {
namespace {

constexpr std::uint64_t kMaximumBytes = std::uint64_t{1} << 32;
constexpr std::size_t kMaximumDepth = 16;

/// A curve of one member of the lines; absent where no line has it.
void addCurve(LineChart& chart, const char* name, const char* member, const std::vector<nlohmann::json>& epochs) {
  Curve curve{.name = name, .points = {}};
  for (const auto& line : epochs) {
    if (line.contains(member)) curve.points.push_back({.x = numberIn(line, "epoch"), .y = numberIn(line, member)});
  }
  if (!curve.points.empty()) chart.curves.push_back(std::move(curve));
}

std::string percent(double share) { return fmt::format("{:.2f} %", 100 * share); }

std::string optimizerText(const OptimizerOptions& options) {
  std::string text = fmt::format("{}, learning rate {}", name(options.kind), options.learningRate);
  switch (options.kind) {
    case OptimizerKind::sgd:
      text += fmt::format(", momentum {}{}", options.momentum, options.nesterov ? " (Nesterov)" : "");
      break;
    case OptimizerKind::rmsprop:
      text += fmt::format(", decay {}, epsilon {}", options.decay, options.epsilon);
      break;
    case OptimizerKind::adam:
      text += fmt::format(", beta {} and {}, epsilon {}{}", options.beta1, options.beta2, options.epsilon,
                          options.amsgrad ? ", AMSGrad" : "");
      break;
  }
  if (options.weightDecay > 0) text += fmt::format(", weight decay {}", options.weightDecay);
  if (options.l1 > 0) text += fmt::format(", L1 {}", options.l1);
  if (options.gradientClip) text += fmt::format(", gradients clipped at {}", *options.gradientClip);
  return text;
}

}  // namespace

std::vector<nlohmann::json> readMetrics(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  const auto bytes = formats::readWholeFile(path, "file of metrics", kMaximumBytes);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<nlohmann::json> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string title = fmt::format("Line {} of \"{}\"", lines.size() + 1, path.string());
    lines.push_back(formats::parseJson(text.substr(0, end), title, kMaximumDepth));
    if (!lines.back().is_object()) throw Error(ErrorCode::malformedFile, fmt::format("{} is no JSON object.", title));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

double numberIn(const nlohmann::json& line, const char* member) {
  const auto found = line.find(member);
  return found != line.end() && found->is_number() ? found->get<double>() : 0.0;
}

Report runReport(const RunResults& results) {
  const Trainer& trainer = results.trainer;
  const TrainingOptions& options = trainer.options();
  const double testAccuracy = numberIn(results.finalLine, "test_accuracy");

  LineChart loss{.title = "Loss", .xTitle = "epoch", .yFormat = AxisFormat::number, .curves = {}};
  addCurve(loss, "training", "train_loss", results.epochs);
  addCurve(loss, "validation", "validation_loss", results.epochs);
  addCurve(loss, "test", "test_loss", results.epochs);
  LineChart accuracy{.title = "Accuracy", .xTitle = "epoch", .yFormat = AxisFormat::percent, .curves = {}};
  addCurve(accuracy, "training", "train_accuracy", results.epochs);
  addCurve(accuracy, "validation", "validation_accuracy", results.epochs);
  addCurve(accuracy, "test", "test_accuracy", results.epochs);

  double seconds = 0;
  for (const auto& line : results.epochs) seconds += numberIn(line, "seconds");
  const auto samples = static_cast<double>(trainer.trainingSamples() * results.epochs.size());

  Report report;
  report.title = "Metalloid training run";
  report.summary =
      fmt::format("{} on {} images: {} of the test images are told right after {} epochs.", describe(options.network),
                  trainer.trainingSamples(), percent(testAccuracy), options.epochs);
  report.results = {{"Test accuracy", percent(testAccuracy)},
                    {"Test loss", fmt::format("{:.4f}", numberIn(results.finalLine, "test_loss"))},
                    {"Best test accuracy", percent(numberIn(results.finalLine, "best_test_accuracy"))}};
  report.charts = {std::move(loss), std::move(accuracy)};
  report.settings = {{"Network", describe(options.network)},
                     {"Parameters", std::to_string(trainer.model().parameters())},
                     {"Optimizer", optimizerText(options.optimizer)},
                     {"Schedule", std::string(name(options.schedule))},
                     {"Batch size", std::to_string(options.batchSize)},
                     {"Epochs", std::to_string(options.epochs)},
                     {"Seed", std::to_string(options.seed)},
                     {"Training images", std::to_string(trainer.trainingSamples())},
                     {"Validation images", std::to_string(trainer.validationSamples())},
                     {"Label smoothing", fmt::format("{}", options.labelSmoothing)},
                     {"Data", options.dataDirectory}};
  report.timings = {{"Training", durationText(seconds)},
                    {"Samples per second", fmt::format("{:.0f}", seconds > 0 ? samples / seconds : 0.0)},
                    {"Peak memory", fmt::format("{:.0f} MB", numberIn(results.finalLine, "peak_memory_bytes") / 1e6)}};
  report.environment = {
      {"Device", fmt::format("{} ({})", trainer.model().device().name(), trainer.model().device().description())},
      {"Metalloid", METALLOID_VERSION}};
  report.confusion = results.confusion;
  return report;
}

}  // namespace metalloid::training
