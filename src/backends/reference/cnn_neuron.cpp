#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

namespace metalloid::reference {

void run(const operations::CNNNeuron& operation) {
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const double value = at(operation.source, n, y, x, c);
    set(operation.result, n, y, x, c, math::neuronValue(operation.neuron, value, at(operation.slopes, c, 0)));
  });
}

void run(const operations::CNNNeuronGradient& operation) {
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const double value = at(operation.source, n, y, x, c);
    const double derivative = math::neuronDerivative(operation.neuron, value, at(operation.slopes, c, 0));
    set(operation.result, n, y, x, c, at(operation.gradient, n, y, x, c) * derivative);
  });
}

}  // namespace metalloid::reference
