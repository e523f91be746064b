#pragma once

#include "math/neuron.hpp"
#include "operations/views.hpp"

namespace metalloid::operations {

/// With s = 1 / sqrt(variance + epsilon): result = f(gamma * (input - mean) * s + beta), statistics per column
struct MatrixBatchNormalization {
  static constexpr const char* kName = "MatrixBatchNormalization";
  MatrixView input;     // [N, C]
  VectorView mean;      // [C]; written first when computeStatistics
  VectorView variance;  // [C]; the biased variance, without epsilon; written first when computeStatistics
  VectorView gamma;     // [C], optional: 1
  VectorView beta;      // [C], optional: 0
  MatrixView result;    // [N, C]; may be the input
  float epsilon = 0;
  bool computeStatistics = false;
  math::Neuron neuron{};

  friend bool operator==(const MatrixBatchNormalization&, const MatrixBatchNormalization&) = default;
};

/// With xhat = (input - mean) * s, g = gradient * f'(gamma * xhat + beta): resultForBeta = column sums of g,
/// resultForGamma = column sums of g * xhat, resultForData = gamma * s * (g - resultForBeta/N - xhat *
/// resultForGamma/N)
struct MatrixBatchNormalizationGradient {
  static constexpr const char* kName = "MatrixBatchNormalizationGradient";
  MatrixView gradient;        // [N, C]
  MatrixView input;           // [N, C]
  VectorView mean;            // [C]
  VectorView variance;        // [C]
  VectorView gamma;           // [C], optional: 1
  VectorView beta;            // [C], optional: 0
  MatrixView resultForData;   // [N, C]; may be the gradient or the input
  VectorView resultForGamma;  // [C], optional
  VectorView resultForBeta;   // [C], optional
  float epsilon = 0;
  math::Neuron neuron{};

  friend bool operator==(const MatrixBatchNormalizationGradient&, const MatrixBatchNormalizationGradient&) = default;
};

}  // namespace metalloid::operations
