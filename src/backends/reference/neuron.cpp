#include "math/neuron.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

namespace metalloid::reference {
namespace {

constexpr double kNoBias = -0.0;  // what leaves every number as it is: -0 + 0 would be 0

}  // namespace

void run(const operations::MatrixNeuron& operation) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    const auto bias = operation.bias.vector(k);
    for (std::size_t i = 0; i < input.rows; ++i) {
      for (std::size_t j = 0; j < input.columns; ++j) {
        const double z = operation.alpha * at(input, i, j) + at(bias, j, kNoBias);
        set(result, i, j, math::neuronValue(operation.neuron, z, at(operation.slopes, j, 0)));
      }
    }
  }
}

void run(const operations::MatrixNeuronGradient& operation) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), input = operation.input.matrix(k);
    const auto forData = operation.resultForData.matrix(k);
    const auto bias = operation.bias.vector(k), forBias = operation.resultForBias.vector(k);
    for (std::size_t j = 0; j < gradient.columns; ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < gradient.rows; ++i) {
        const double z = operation.alpha * at(input, i, j) + at(bias, j, kNoBias);
        const double g = at(gradient, i, j) * math::neuronDerivative(operation.neuron, z, at(operation.slopes, j, 0));
        sum += g;
        set(forData, i, j, operation.alpha * g);
      }
      if (forBias) set(forBias, j, sum);
    }
  }
}

}  // namespace metalloid::reference
