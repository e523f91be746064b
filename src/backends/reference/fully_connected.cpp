#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/neuron.hpp"

namespace metalloid::reference {

void run(const operations::MatrixFullyConnected& operation) {
  for (std::size_t n = 0; n < operation.input.matrices; ++n) {
    const auto input = operation.input.matrix(n), weights = operation.weights.matrix(n);
    const auto result = operation.result.matrix(n);
    const auto bias = operation.bias.vector(n);
    for (std::size_t i = 0; i < result.rows; ++i) {
      for (std::size_t o = 0; o < result.columns; ++o) {
        double sum = 0;
        for (std::size_t k = 0; k < input.columns; ++k) sum += at(input, i, k) * at(weights, k, o);
        set(result, i, o, math::neuronValue(operation.neuron, operation.alpha * sum + at(bias, o, 0)));
      }
    }
  }
}

void run(const operations::MatrixFullyConnectedGradientForData& operation) {
  for (std::size_t n = 0; n < operation.gradient.matrices; ++n) {
    const auto gradient = operation.gradient.matrix(n), weights = operation.weights.matrix(n);
    const auto result = operation.result.matrix(n);
    for (std::size_t i = 0; i < result.rows; ++i) {
      for (std::size_t k = 0; k < result.columns; ++k) {
        double sum = 0;
        for (std::size_t o = 0; o < gradient.columns; ++o) sum += at(gradient, i, o) * at(weights, k, o);
        set(result, i, k, operation.alpha * sum);
      }
    }
  }
}

void run(const operations::MatrixFullyConnectedGradientForWeightsAndBias& operation) {
  for (std::size_t n = 0; n < operation.gradient.matrices; ++n) {
    const auto gradient = operation.gradient.matrix(n), input = operation.input.matrix(n);
    const auto forWeights = operation.resultForWeights.matrix(n);
    const auto forBias = operation.resultForBias.vector(n);
    for (std::size_t k = 0; k < forWeights.rows; ++k) {
      for (std::size_t o = 0; o < forWeights.columns; ++o) {
        double sum = 0;
        for (std::size_t i = 0; i < gradient.rows; ++i) sum += at(input, i, k) * at(gradient, i, o);
        set(forWeights, k, o, operation.alpha * sum);
      }
    }
    if (!forBias) continue;
    for (std::size_t o = 0; o < gradient.columns; ++o) {
      double sum = 0;
      for (std::size_t i = 0; i < gradient.rows; ++i) sum += at(gradient, i, o);
      set(forBias, o, sum);
    }
  }
}

}  // namespace metalloid::reference
