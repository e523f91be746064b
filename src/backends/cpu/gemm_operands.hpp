#pragma once

#include "backends/cpu/gemm.hpp"
#include "operations/views.hpp"

namespace metalloid::cpu {

/// The product engine's name for an element type; the front end lets only these through.
constexpr GemmType gemmType(DataType type) {
  switch (type) {
    case DataType::float16:
      return GemmType::float16;
    case DataType::bFloat16:
      return GemmType::bfloat16;
    case DataType::int8:
      return GemmType::int8;
    case DataType::int16:
      return GemmType::int16;
    default:
      return GemmType::float32;
  }
}

inline GemmFactor gemmFactor(const operations::MatrixView& view, bool transposed) {
  return {view.data, view.rowBytes / sizeOfDataType(view.type), gemmType(view.type), transposed};
}

/// result = left' * right' with alpha 1 and beta 0.
inline Gemm gemmOf(const operations::MatrixView& left, bool transposeLeft, const operations::MatrixView& right,
                   bool transposeRight, const operations::MatrixView& result) {
  Gemm product;
  product.rows = result.rows;
  product.columns = result.columns;
  product.inner = transposeLeft ? left.rows : left.columns;
  product.left = gemmFactor(left, transposeLeft);
  product.right = gemmFactor(right, transposeRight);
  product.result = {result.data, result.rowBytes / sizeOfDataType(result.type), gemmType(result.type)};
  return product;
}

}  // namespace metalloid::cpu
