#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace benchmark_program {

/// Order statistics of repeated timings, which a few disturbed runs do not move.
struct Statistics {
  double median = 0;
  double lowerQuartile = 0;
  double upperQuartile = 0;
  double minimum = 0;
  std::size_t count = 0;
};

inline Statistics statisticsOf(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::ranges::sort(samples);
  const auto at = [&](double fraction) {
    return samples[static_cast<std::size_t>(fraction * static_cast<double>(samples.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.25), at(0.75), samples.front(), samples.size()};
}

}  // namespace benchmark_program
