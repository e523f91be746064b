#pragma once

#include "training/svg_chart.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::training {

/// How often an image of one class was taken for another.
struct ConfusionMatrix {
  std::vector<std::string> classNames;
  std::vector<std::uint64_t> counts;  ///< [actual class, predicted class], row-major.

  std::size_t classes() const noexcept { return classNames.size(); }
  std::uint64_t count(std::size_t actual, std::size_t predicted) const {
    return counts[actual * classes() + predicted];
  }
};

/// What a class's answers are worth. A share of nothing is NaN.
struct ClassScores {
  double precision = 0;      ///< Of the images given this class, the share that has it.
  double recall = 0;         ///< Of the images that have this class, the share that was given it.
  double f1 = 0;             ///< The harmonic mean of both.
  std::uint64_t images = 0;  ///< How many have it.
};

/// One entry per class.
std::vector<ClassScores> classScores(const ConfusionMatrix& matrix);

/// Rows of a two-column table.
using ReportRows = std::vector<std::pair<std::string, std::string>>;

/// What a report of a training run shows; an empty part is left out.
struct Report {
  std::string title;
  std::string summary;  ///< One sentence below the title.
  ReportRows results;   ///< Large: ("Test accuracy", "89.42 %").
  std::vector<LineChart> charts;
  ReportRows settings;
  ReportRows timings;
  ReportRows environment;     ///< Device, versions.
  ConfusionMatrix confusion;  ///< `invalidArgument` when counts has not classes² entries.
};

/// A page without scripts or external parts, readable in light and dark surroundings and on paper.
std::string htmlReport(const Report& report);

/// Replaces `path` by the page, entirely or not at all.
void writeHtmlReport(const std::filesystem::path& path, const Report& report);

}  // namespace metalloid::training
