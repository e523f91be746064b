#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <algorithm>
#include <cmath>

namespace metalloid::reference {

void run(const operations::MatrixSoftMax& operation) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    if (input.columns == 0) continue;
    for (std::size_t i = 0; i < input.rows; ++i) {
      double maximum = at(input, i, 0);
      for (std::size_t j = 1; j < input.columns; ++j) maximum = std::max(maximum, at(input, i, j));
      double sum = 0;
      for (std::size_t j = 0; j < input.columns; ++j) sum += std::exp(at(input, i, j) - maximum);
      for (std::size_t j = 0; j < input.columns; ++j) {
        const double x = at(input, i, j) - maximum;
        set(result, i, j, operation.logarithm ? x - std::log(sum) : std::exp(x) / sum);
      }
    }
  }
}

void run(const operations::MatrixSoftMaxGradient& operation) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), output = operation.forwardOutput.matrix(k);
    const auto result = operation.result.matrix(k);
    for (std::size_t i = 0; i < gradient.rows; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < gradient.columns; ++j) {
        sum += operation.logarithm ? at(gradient, i, j) : at(gradient, i, j) * at(output, i, j);
      }
      for (std::size_t j = 0; j < gradient.columns; ++j) {
        const double dy = at(gradient, i, j), y = at(output, i, j);
        set(result, i, j, operation.logarithm ? dy - std::exp(y) * sum : y * (dy - sum));
      }
    }
  }
}

}  // namespace metalloid::reference
