#pragma once

#include "operations/image_views.hpp"

namespace metalloid::operations {

/// s = exp(x) / sum of exp(x), or x - ln(sum of exp(x)), over the channels of each pixel
struct CNNSoftMax {
  static constexpr const char* kName = "CNNSoftMax";
  ImageView source;
  ImageView result;
  bool isLogarithm = false;

  friend bool operator==(const CNNSoftMax&, const CNNSoftMax&) = default;
};

/// s * (g - sum of g * s), or g - exp(l) * sum of g, over the channels of each pixel; s, l the forward result
struct CNNSoftMaxGradient {
  static constexpr const char* kName = "CNNSoftMaxGradient";
  ImageView gradient;
  ImageView forwardResult;
  ImageView result;
  bool isLogarithm = false;

  friend bool operator==(const CNNSoftMaxGradient&, const CNNSoftMaxGradient&) = default;
};

}  // namespace metalloid::operations
