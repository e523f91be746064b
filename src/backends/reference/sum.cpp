#include "backends/execution_checks.hpp"
#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/neuron.hpp"

namespace metalloid::reference {

void run(const operations::MatrixSum& operation) {
  backends::checkOffsets(operation);
  for (std::size_t r = 0; r < operation.rows; ++r) {
    for (std::size_t c = 0; c < operation.columns; ++c) {
      double sum = 0;
      for (std::size_t i = 0; i < operation.sources.size(); ++i) {
        const auto offset = backends::sourceOffset(operation, i);
        sum += at(operation.scale, i, 1) * at(operation.sources[i], offset.row + r, offset.column + c);
      }
      const std::size_t row = operation.transpose ? c : r, column = operation.transpose ? r : c;
      set(operation.result, row, column, math::neuronValue(operation.neuron, sum + at(operation.bias, column, 0)));
    }
  }
}

}  // namespace metalloid::reference
