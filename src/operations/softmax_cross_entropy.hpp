#pragma once

#include "operations/views.hpp"

namespace metalloid::operations {

/// With p = softmax(input) along the row and t the smoothed one-hot label: loss = weight * -sum(t * log p), gradient =
/// weight * (p - t)
struct MatrixSoftMaxCrossEntropy {
  static constexpr const char* kName = "MatrixSoftMaxCrossEntropy";
  MatrixView input;           // [N, C] logits
  VectorView labels;          // [N] uInt32 class of each row; one not below C fails the command buffer
  VectorView resultLoss;      // [N], optional
  VectorView resultCorrect;   // [N], optional: 1 where the largest logit (the first of equals, NaN the smallest)
                              // is the label's, else 0
  MatrixView resultGradient;  // [N, C], optional; may be the input
  float weight = 1;
  float labelSmoothing = 0;  // t = (1 - labelSmoothing) * one-hot + labelSmoothing / C

  friend bool operator==(const MatrixSoftMaxCrossEntropy&, const MatrixSoftMaxCrossEntropy&) = default;
};

}  // namespace metalloid::operations
