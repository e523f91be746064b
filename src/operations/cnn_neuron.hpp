#pragma once

#include "math/neuron.hpp"
#include "operations/image_views.hpp"
#include "operations/views.hpp"

namespace metalloid::operations {

/// result = f(source), element by element
struct CNNNeuron {
  static constexpr const char* kName = "CNNNeuron";
  ImageView source;
  VectorView slopes;  // [C] float32, given for PReLU only
  ImageView result;   // the source's size
  math::Neuron neuron{};

  friend bool operator==(const CNNNeuron&, const CNNNeuron&) = default;
};

/// result = gradient * f'(source)
struct CNNNeuronGradient {
  static constexpr const char* kName = "CNNNeuronGradient";
  ImageView gradient;
  ImageView source;   // the forward input
  VectorView slopes;  // [C] float32, given for PReLU only
  ImageView result;
  math::Neuron neuron{};

  friend bool operator==(const CNNNeuronGradient&, const CNNNeuronGradient&) = default;
};

}  // namespace metalloid::operations
