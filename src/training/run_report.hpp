#pragma once

#include "training/html_report.hpp"
#include "training/trainer.hpp"

#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

namespace metalloid::training {

/// The lines of a run's metrics. @throws Error (malformedFile) naming the line that is no JSON object.
std::vector<nlohmann::json> readMetrics(const std::filesystem::path& path);

/// A member that is a number, or 0.
double numberIn(const nlohmann::json& line, const char* member);

/// What a run's report is made of.
struct RunResults {
  const Trainer& trainer;
  const std::vector<nlohmann::json>& epochs;  ///< Lines of the metrics, one an epoch.
  const nlohmann::json& finalLine;
  ConfusionMatrix confusion;
};

/// Loss and accuracy over the epochs, settings, timings and confusion matrix of a run.
Report runReport(const RunResults& results);

}  // namespace metalloid::training
