#pragma once

#include "operations/views.hpp"

namespace metalloid::operations {

/// result = exp(input) / sum of exp(input) over the row, or its logarithm
struct MatrixSoftMax {
  static constexpr const char* kName = "MatrixSoftMax";
  MatrixView input;   // [N, C]
  MatrixView result;  // [N, C]; may be the input
  bool logarithm = false;

  friend bool operator==(const MatrixSoftMax&, const MatrixSoftMax&) = default;
};

/// With y = forwardOutput: result = y * (gradient - row sum of gradient * y); after log-softmax: gradient - exp(y) *
/// row sum of gradient
struct MatrixSoftMaxGradient {
  static constexpr const char* kName = "MatrixSoftMaxGradient";
  MatrixView gradient;       // [N, C]
  MatrixView forwardOutput;  // [N, C]
  MatrixView result;         // [N, C]; may be either source
  bool logarithm = false;

  friend bool operator==(const MatrixSoftMaxGradient&, const MatrixSoftMaxGradient&) = default;
};

}  // namespace metalloid::operations
