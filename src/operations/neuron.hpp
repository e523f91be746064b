#pragma once

#include "math/neuron.hpp"
#include "operations/views.hpp"

namespace metalloid::operations {

/// result = f(alpha * input + bias), element by element
struct MatrixNeuron {
  static constexpr const char* kName = "MatrixNeuron";
  MatrixView input;   // [N, C]
  VectorView bias;    // [C], optional
  VectorView slopes;  // [C] float32, given for PReLU only
  MatrixView result;  // [N, C]; may be the input
  double alpha = 1;
  math::Neuron neuron{};

  friend bool operator==(const MatrixNeuron&, const MatrixNeuron&) = default;
};

/// With z = alpha * input + bias: resultForData = alpha * gradient * f'(z), resultForBias = column sums of gradient *
/// f'(z)
struct MatrixNeuronGradient {
  static constexpr const char* kName = "MatrixNeuronGradient";
  MatrixView gradient;       // [N, C]
  MatrixView input;          // [N, C]
  VectorView bias;           // [C], optional
  VectorView slopes;         // [C] float32, given for PReLU only
  MatrixView resultForData;  // [N, C]; may be the gradient or the input
  VectorView resultForBias;  // [C], optional
  double alpha = 1;
  math::Neuron neuron{};

  friend bool operator==(const MatrixNeuronGradient&, const MatrixNeuronGradient&) = default;
};

}  // namespace metalloid::operations
