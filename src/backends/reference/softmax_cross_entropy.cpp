#include "backends/execution_checks.hpp"
#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <algorithm>
#include <cmath>

namespace metalloid::reference {
namespace {

/// The column of the row's largest element, the first of equals; NaN is smaller than every number.
std::size_t largest(const operations::MatrixView& input, std::size_t row) {
  std::size_t best = 0;
  for (std::size_t j = 1; j < input.columns; ++j) {
    const double x = at(input, row, j), champion = at(input, row, best);
    if (x > champion || (std::isnan(champion) && !std::isnan(x))) best = j;
  }
  return best;
}

}  // namespace

void run(const operations::MatrixSoftMaxCrossEntropy& operation) {
  backends::checkLabels(operation);
  const double weight = operation.weight, smoothing = operation.labelSmoothing;
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), gradient = operation.resultGradient.matrix(k);
    const auto labels = operation.labels.vector(k);
    const auto losses = operation.resultLoss.vector(k), correct = operation.resultCorrect.vector(k);
    const double spread = smoothing / static_cast<double>(input.columns);
    for (std::size_t i = 0; i < input.rows; ++i) {
      const auto label = static_cast<std::size_t>(at(labels, i));
      double maximum = at(input, i, 0);
      for (std::size_t j = 1; j < input.columns; ++j) maximum = std::max(maximum, at(input, i, j));
      double sum = 0;
      for (std::size_t j = 0; j < input.columns; ++j) sum += std::exp(at(input, i, j) - maximum);

      if (correct) set(correct, i, largest(input, i) == label ? 1 : 0);
      double loss = 0;
      for (std::size_t j = 0; j < input.columns; ++j) {
        const double x = at(input, i, j) - maximum;
        const double t = (j == label ? 1 - smoothing : 0) + spread;
        if (t != 0) loss -= t * (x - std::log(sum));                          // 0 * infinity is 0 here
        if (gradient) set(gradient, i, j, weight * (std::exp(x) / sum - t));  // may overwrite input (i, j): read above
      }
      if (losses) set(losses, i, weight * loss);
    }
  }
}

}  // namespace metalloid::reference
