#pragma once

#include "operations/image_views.hpp"
#include "operations/window.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <cstddef>

namespace metalloid::operations {

/// Over a window of n = taps x * taps y pixels, each channel by itself; outside stands what the edge mode says:
///
///     T = delta + alpha / n * sum of source^2        result = source * T^(-beta)
struct CNNSpatialNormalization {
  static constexpr const char* kName = "CNNSpatialNormalization";
  ImageView source;
  ImageView result;
  Window window;  // step 1, tapStep 1, divisor 1
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  float alpha = 1, beta = 5, delta = 1;

  friend bool operator==(const CNNSpatialNormalization&, const CNNSpatialNormalization&) = default;
};

/// result[v][u] = sum over output pixels i of gradient[i] * d out[i] / d source[v + resultY][u + resultX].
struct CNNSpatialNormalizationGradient {
  static constexpr const char* kName = "CNNSpatialNormalizationGradient";
  ImageView gradient;
  ImageView source;
  ImageView result;
  Window window;  // the forward one
  std::size_t resultX = 0;
  std::size_t resultY = 0;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  float alpha = 1, beta = 5, delta = 1;

  friend bool operator==(const CNNSpatialNormalizationGradient&, const CNNSpatialNormalizationGradient&) = default;
};

/// With M and V the mean and variance of the window (divisor n):
///
///     T = delta + alpha * V        result = pm + ps * (source - p0 * M) * T^(-beta)
struct CNNLocalContrastNormalization {
  static constexpr const char* kName = "CNNLocalContrastNormalization";
  ImageView source;
  ImageView result;
  Window window;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  float alpha = 1, beta = 0.5F, delta = 0, p0 = 1, pm = 0, ps = 1;

  friend bool operator==(const CNNLocalContrastNormalization&, const CNNLocalContrastNormalization&) = default;
};

/// As `CNNSpatialNormalizationGradient`.
struct CNNLocalContrastNormalizationGradient {
  static constexpr const char* kName = "CNNLocalContrastNormalizationGradient";
  ImageView gradient;
  ImageView source;
  ImageView result;
  Window window;
  std::size_t resultX = 0;
  std::size_t resultY = 0;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  float alpha = 1, beta = 0.5F, delta = 0, p0 = 1, pm = 0, ps = 1;

  friend bool operator==(const CNNLocalContrastNormalizationGradient&,
                         const CNNLocalContrastNormalizationGradient&) = default;
};

/// With N = kernelSize and Q(k) the channels from k - N/2 to k + (N-1)/2 that there are:
///
///     L[k] = delta + alpha / N * sum over Q(k) of source^2        result[k] = source[k] * L[k]^(-beta)
struct CNNCrossChannelNormalization {
  static constexpr const char* kName = "CNNCrossChannelNormalization";
  ImageView source;
  ImageView result;
  std::size_t kernelSize = 5;
  float alpha = 1, beta = 5, delta = 1;

  friend bool operator==(const CNNCrossChannelNormalization&, const CNNCrossChannelNormalization&) = default;
};

/// The derivative of `CNNCrossChannelNormalization` times the gradient.
struct CNNCrossChannelNormalizationGradient {
  static constexpr const char* kName = "CNNCrossChannelNormalizationGradient";
  ImageView gradient;
  ImageView source;
  ImageView result;
  std::size_t kernelSize = 5;
  float alpha = 1, beta = 5, delta = 1;

  friend bool operator==(const CNNCrossChannelNormalizationGradient&,
                         const CNNCrossChannelNormalizationGradient&) = default;
};

}  // namespace metalloid::operations
