#pragma once

#include "math/neuron.hpp"
#include "operations/views.hpp"

namespace metalloid::operations {

/// result = f(alpha * input * weights + bias)
struct MatrixFullyConnected {
  static constexpr const char* kName = "MatrixFullyConnected";
  MatrixView input;    // [N, I]
  MatrixView weights;  // [I, O]
  VectorView bias;     // [O], optional
  MatrixView result;   // [N, O]
  double alpha = 1;
  math::Neuron neuron{};
  bool allowReducedPrecision = false;

  friend bool operator==(const MatrixFullyConnected&, const MatrixFullyConnected&) = default;
};

/// result = alpha * gradient * weights^T
struct MatrixFullyConnectedGradientForData {
  static constexpr const char* kName = "MatrixFullyConnectedGradientForData";
  MatrixView gradient;  // [N, O]
  MatrixView weights;   // [I, O]
  MatrixView result;    // [N, I]
  double alpha = 1;
  bool allowReducedPrecision = false;

  friend bool operator==(const MatrixFullyConnectedGradientForData&,
                         const MatrixFullyConnectedGradientForData&) = default;
};

/// resultForWeights = alpha * input^T * gradient, resultForBias = column sums of gradient (without alpha)
struct MatrixFullyConnectedGradientForWeightsAndBias {
  static constexpr const char* kName = "MatrixFullyConnectedGradientForWeightsAndBias";
  MatrixView gradient;          // [N, O]
  MatrixView input;             // [N, I]
  MatrixView resultForWeights;  // [I, O]
  VectorView resultForBias;     // [O], optional
  double alpha = 1;
  bool allowReducedPrecision = false;

  friend bool operator==(const MatrixFullyConnectedGradientForWeightsAndBias&,
                         const MatrixFullyConnectedGradientForWeightsAndBias&) = default;
};

}  // namespace metalloid::operations
