#pragma once

#include "math/neuron.hpp"
#include "operations/image_views.hpp"
#include "operations/views.hpp"

#include <cstddef>

namespace metalloid::operations {

/// Mean and biased variance of each channel over all pixels of all images, merged with those of `previousCount` pixels
/// that the results hold already.
struct CNNBatchNormalizationStatistics {
  static constexpr const char* kName = "CNNBatchNormalizationStatistics";
  ImageView source;
  VectorView mean;      // float32 [C], result
  VectorView variance;  // float32 [C], result
  std::size_t previousCount = 0;

  friend bool operator==(const CNNBatchNormalizationStatistics&, const CNNBatchNormalizationStatistics&) = default;
};

/// result = f(gamma * (source - mean) / sqrt(variance + epsilon) + beta), by channel
struct CNNBatchNormalization {
  static constexpr const char* kName = "CNNBatchNormalization";
  ImageView source;
  VectorView mean;      // float32 [C]
  VectorView variance;  // float32 [C]
  VectorView gamma;     // float32 [C], optional: 1
  VectorView beta;      // float32 [C], optional: 0
  VectorView slopes;    // float32 [C], given for PReLU only
  ImageView result;
  float epsilon = 0;
  math::Neuron neuron{};

  friend bool operator==(const CNNBatchNormalization&, const CNNBatchNormalization&) = default;
};

/// With r = 1/sqrt(variance + epsilon), xh = (source - mean) * r, g = gradient * f'(gamma * xh + beta):
/// resultForGamma (+)= sum of g * xh, resultForBeta (+)= sum of g, by channel over all pixels of all images
struct CNNBatchNormalizationStatisticsGradient {
  static constexpr const char* kName = "CNNBatchNormalizationStatisticsGradient";
  ImageView gradient;
  ImageView source;
  VectorView mean, variance, gamma, beta, slopes;  // as in CNNBatchNormalization
  VectorView resultForGamma;                       // float32 [C]
  VectorView resultForBeta;                        // float32 [C]
  bool accumulates = false;                        // adds to what the results hold
  float epsilon = 0;
  math::Neuron neuron{};

  friend bool operator==(const CNNBatchNormalizationStatisticsGradient&,
                         const CNNBatchNormalizationStatisticsGradient&) = default;
};

/// result = gamma * r * (g - gradientForBeta / M - xh * gradientForGamma / M), M = count;
/// result = gamma * r * g for count 0, when mean and variance are not of this batch
struct CNNBatchNormalizationGradient {
  static constexpr const char* kName = "CNNBatchNormalizationGradient";
  ImageView gradient;
  ImageView source;
  VectorView mean, variance, gamma, beta, slopes;  // as in CNNBatchNormalization
  VectorView gradientForGamma;                     // float32 [C]; not given for count 0
  VectorView gradientForBeta;                      // float32 [C]; not given for count 0
  ImageView result;
  std::size_t count = 0;
  float epsilon = 0;
  math::Neuron neuron{};

  friend bool operator==(const CNNBatchNormalizationGradient&, const CNNBatchNormalizationGradient&) = default;
};

}  // namespace metalloid::operations
