#pragma once

#include "math/annotations.hpp"
#include "operations/image_views.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace metalloid::operations {

/// Where output pixel o reads its source along one axis. Nearest: floor((o + first) / scale). Bilinear: position
/// (o + first) * (n-1) / (m-1) with aligned corners (n source pixels, m = n * scale; 0 for m = 1), else
/// (o + first + 1/2) / scale - 1/2. Taps are clamped to the source.
struct UpsamplingAxis {
  std::size_t scale = 1;
  std::ptrdiff_t first = 0;  // the pixel of the whole enlarged image on which the result begins
  bool isBilinear = false;
  bool alignCorners = false;

  /// The source pixels of one output pixel: value = (1 - weight) * source[low] + weight * source[high].
  struct Taps {
    std::size_t low = 0;
    std::size_t high = 0;
    double weight = 0;
  };
  METALLOID_HOST_DEVICE Taps taps(std::size_t output, std::size_t source) const {
    const double o = static_cast<double>(static_cast<std::ptrdiff_t>(output) + first);
    const double n = static_cast<double>(source), s = static_cast<double>(scale);
    const auto clamped = [&](double position) { return static_cast<std::size_t>(std::clamp(position, 0.0, n - 1)); };
    if (!isBilinear) return {clamped(std::floor(o / s)), clamped(std::floor(o / s)), 0};
    const double position = !alignCorners ? (o + 0.5) / s - 0.5 : n * s > 1 ? o * (n - 1) / (n * s - 1) : 0;
    const double low = std::floor(position);
    return {clamped(low), clamped(low + 1), position - low};
  }

  friend bool operator==(const UpsamplingAxis&, const UpsamplingAxis&) = default;
};

struct CNNUpsampling {
  static constexpr const char* kName = "CNNUpsampling";
  ImageView source;
  ImageView result;
  UpsamplingAxis x;
  UpsamplingAxis y;

  friend bool operator==(const CNNUpsampling&, const CNNUpsampling&) = default;
};

/// The adjoint: each element of the gradient is added to its sources, with the same weights. The result holds the part
/// of the forward source that begins at (resultX, resultY); what lies beyond that source becomes 0.
struct CNNUpsamplingGradient {
  static constexpr const char* kName = "CNNUpsamplingGradient";
  ImageView gradient;
  ImageView result;
  UpsamplingAxis x;  // the forward ones
  UpsamplingAxis y;
  std::size_t sourceWidth = 0;  // of the forward source
  std::size_t sourceHeight = 0;
  std::size_t resultX = 0;
  std::size_t resultY = 0;

  friend bool operator==(const CNNUpsamplingGradient&, const CNNUpsamplingGradient&) = default;
};

}  // namespace metalloid::operations
