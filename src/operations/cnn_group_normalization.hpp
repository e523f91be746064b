#pragma once

#include "operations/image_views.hpp"
#include "operations/views.hpp"

#include <cstddef>

namespace metalloid::operations {

/// result = gamma * (source - mean) / sqrt(variance + epsilon) + beta, the statistics over each image and each of
/// `groups` blocks of neighbouring channels. Instance normalization has as many groups as channels.
struct CNNGroupNormalization {
  static constexpr const char* kName = "CNNGroupNormalization";
  ImageView source;
  VectorView gamma;  // float32 [C], optional: 1
  VectorView beta;   // float32 [C], optional: 0
  ImageView result;
  std::size_t groups = 1;  // divides the number of channels
  float epsilon = 0;

  friend bool operator==(const CNNGroupNormalization&, const CNNGroupNormalization&) = default;
};

/// With h = gradient * gamma: result = r * (h - mean of h - xh * mean of h * xh), the means over a block of an image;
/// resultForGamma = sum of gradient * xh and resultForBeta = sum of gradient for each image and channel
struct CNNGroupNormalizationGradient {
  static constexpr const char* kName = "CNNGroupNormalizationGradient";
  ImageView gradient;
  ImageView source;
  VectorView gamma;           // float32 [C], optional: 1
  VectorView resultForGamma;  // float32 [C], one for each image, optional
  VectorView resultForBeta;   // float32 [C], one for each image, optional
  ImageView result;
  std::size_t groups = 1;
  float epsilon = 0;

  friend bool operator==(const CNNGroupNormalizationGradient&, const CNNGroupNormalizationGradient&) = default;
};

}  // namespace metalloid::operations
