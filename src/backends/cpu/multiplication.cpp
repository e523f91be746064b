#include "operations/multiplication.hpp"

#include "backends/cpu/gemm.hpp"
#include "backends/cpu/gemm_operands.hpp"
#include "backends/cpu/kernels.hpp"

namespace metalloid::cpu {

void runGemm(const operations::MatrixMultiplication& operation, Context& context) {
  for (std::size_t n = 0; n < operation.result.matrices; ++n) {
    Gemm product = gemmOf(operation.left.matrix(n), operation.transposeLeft, operation.right.matrix(n),
                          operation.transposeRight, operation.result.matrix(n));
    product.alpha = static_cast<float>(operation.alpha);
    product.beta = static_cast<float>(operation.beta);
    gemm(context.pool, product);
  }
}

void runGemm(const operations::MatrixVectorMultiplication& operation, Context& context) {
  // A vector is a matrix of one column, whose rows are its elements.
  const auto column = [](const operations::VectorView& vector) {
    const std::size_t size = sizeOfDataType(vector.type);
    return operations::MatrixView{
        .data = vector.data, .rows = vector.length, .columns = 1, .rowBytes = size, .type = vector.type};
  };
  for (std::size_t n = 0; n < operation.matrix.matrices; ++n) {
    Gemm product = gemmOf(operation.matrix.matrix(n), operation.transpose, column(operation.input.vector(n)), false,
                          column(operation.result.vector(n)));
    product.alpha = static_cast<float>(operation.alpha);
    product.beta = static_cast<float>(operation.beta);
    gemm(context.pool, product);
  }
}

}  // namespace metalloid::cpu
