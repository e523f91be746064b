#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/neuron.hpp"

#include <cmath>
#include <vector>

namespace metalloid::reference {

void run(const operations::MatrixBatchNormalization& operation) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    const auto mean = operation.mean.vector(k), variance = operation.variance.vector(k);
    const auto gamma = operation.gamma.vector(k), beta = operation.beta.vector(k);
    const double count = static_cast<double>(input.rows);
    for (std::size_t j = 0; j < input.columns; ++j) {
      double m = 0, v = 0;
      if (operation.computeStatistics) {
        // Statistics of no rows are 0, as every empty sum.
        for (std::size_t i = 0; i < input.rows; ++i) m += at(input, i, j);
        if (input.rows > 0) m /= count;
        for (std::size_t i = 0; i < input.rows; ++i) v += (at(input, i, j) - m) * (at(input, i, j) - m);
        if (input.rows > 0) v /= count;
        set(mean, j, m);
        set(variance, j, v);
      } else {
        m = at(mean, j);
        v = at(variance, j);
      }
      const double s = 1 / std::sqrt(v + static_cast<double>(operation.epsilon));
      for (std::size_t i = 0; i < input.rows; ++i) {
        const double z = at(gamma, j, 1) * (at(input, i, j) - m) * s + at(beta, j, 0);
        set(result, i, j, math::neuronValue(operation.neuron, z));
      }
    }
  }
}

void run(const operations::MatrixBatchNormalizationGradient& operation) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), input = operation.input.matrix(k);
    const auto forData = operation.resultForData.matrix(k);
    const auto mean = operation.mean.vector(k), variance = operation.variance.vector(k);
    const auto gamma = operation.gamma.vector(k), beta = operation.beta.vector(k);
    const auto forGamma = operation.resultForGamma.vector(k), forBeta = operation.resultForBeta.vector(k);
    const double count = static_cast<double>(input.rows);
    std::vector<double> xhat(input.rows), g(input.rows);
    for (std::size_t j = 0; j < input.columns; ++j) {
      const double s = 1 / std::sqrt(at(variance, j) + static_cast<double>(operation.epsilon));
      double sumG = 0, sumGXhat = 0;
      for (std::size_t i = 0; i < input.rows; ++i) {
        xhat[i] = (at(input, i, j) - at(mean, j)) * s;
        g[i] =
            at(gradient, i, j) * math::neuronDerivative(operation.neuron, at(gamma, j, 1) * xhat[i] + at(beta, j, 0));
        sumG += g[i];
        sumGXhat += g[i] * xhat[i];
      }
      for (std::size_t i = 0; i < input.rows; ++i) {
        set(forData, i, j, at(gamma, j, 1) * s * (g[i] - sumG / count - xhat[i] * sumGXhat / count));
      }
      if (forGamma) set(forGamma, j, sumGXhat);
      if (forBeta) set(forBeta, j, sumG);
    }
  }
}

}  // namespace metalloid::reference
