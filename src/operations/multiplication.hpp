#pragma once

#include "operations/views.hpp"

namespace metalloid::operations {

/// result = alpha * op(left) * op(right) + beta * result; the result is not read when beta is 0
struct MatrixMultiplication {
  static constexpr const char* kName = "MatrixMultiplication";
  MatrixView left;    // [M, K], stored [K, M] when transposed
  MatrixView right;   // [K, N], stored [N, K] when transposed
  MatrixView result;  // [M, N]
  bool transposeLeft = false;
  bool transposeRight = false;
  double alpha = 1;
  double beta = 0;
  bool allowReducedPrecision = false;

  friend bool operator==(const MatrixMultiplication&, const MatrixMultiplication&) = default;
};

/// result = alpha * op(matrix) * input + beta * result; the result is not read when beta is 0
struct MatrixVectorMultiplication {
  static constexpr const char* kName = "MatrixVectorMultiplication";
  MatrixView matrix;  // [M, K], stored [K, M] when transposed
  VectorView input;   // [K]
  VectorView result;  // [M]
  bool transpose = false;
  double alpha = 1;
  double beta = 0;

  friend bool operator==(const MatrixVectorMultiplication&, const MatrixVectorMultiplication&) = default;
};

}  // namespace metalloid::operations
