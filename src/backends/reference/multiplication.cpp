#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

namespace metalloid::reference {
namespace {

/// Element (i, j) of the matrix or of its transpose.
double at(const operations::MatrixView& view, bool transpose, std::size_t i, std::size_t j) {
  return transpose ? reference::at(view, j, i) : reference::at(view, i, j);
}

}  // namespace

void run(const operations::MatrixMultiplication& operation) {
  const std::size_t interior = operation.transposeLeft ? operation.left.rows : operation.left.columns;
  for (std::size_t n = 0; n < operation.result.matrices; ++n) {
    const auto left = operation.left.matrix(n), right = operation.right.matrix(n), result = operation.result.matrix(n);
    for (std::size_t i = 0; i < result.rows; ++i) {
      for (std::size_t j = 0; j < result.columns; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < interior; ++k) {
          sum += at(left, operation.transposeLeft, i, k) * at(right, operation.transposeRight, k, j);
        }
        const double old = operation.beta == 0 ? 0 : operation.beta * reference::at(result, i, j);
        set(result, i, j, operation.alpha * sum + old);
      }
    }
  }
}

void run(const operations::MatrixVectorMultiplication& operation) {
  for (std::size_t n = 0; n < operation.matrix.matrices; ++n) {
    const auto matrix = operation.matrix.matrix(n);
    const auto input = operation.input.vector(n), result = operation.result.vector(n);
    for (std::size_t i = 0; i < result.length; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < input.length; ++j) {
        sum += at(matrix, operation.transpose, i, j) * reference::at(input, j);
      }
      const double old = operation.beta == 0 ? 0 : operation.beta * reference::at(result, i);
      set(result, i, operation.alpha * sum + old);
    }
  }
}

}  // namespace metalloid::reference
