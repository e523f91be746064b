#pragma once

#include "operations/image_views.hpp"

#include <cstddef>

namespace metalloid::operations {

/// Where output pixel o reads its source along one axis. Nearest: floor((o + first) / scale). Bilinear: position
/// (o + first) * (n-1) / (m-1) with aligned corners (n source pixels, m = n * scale; 0 for m = 1), else
/// (o + first + 1/2) / scale - 1/2, taps clamped to the source.
struct UpsamplingAxis {
  std::size_t scale = 1;
  std::ptrdiff_t first = 0;  // the pixel of the whole enlarged image on which the result begins

  friend bool operator==(const UpsamplingAxis&, const UpsamplingAxis&) = default;
};

struct CNNUpsampling {
  static constexpr const char* kName = "CNNUpsampling";
  ImageView source;
  ImageView result;
  UpsamplingAxis x;
  UpsamplingAxis y;
  bool isBilinear = false;
  bool alignCorners = false;

  friend bool operator==(const CNNUpsampling&, const CNNUpsampling&) = default;
};

/// The adjoint: each element of the gradient is added to its sources, with the same weights.
struct CNNUpsamplingGradient {
  static constexpr const char* kName = "CNNUpsamplingGradient";
  ImageView gradient;
  ImageView result;  // the size of the forward source
  UpsamplingAxis x;
  UpsamplingAxis y;
  bool isBilinear = false;
  bool alignCorners = false;

  friend bool operator==(const CNNUpsamplingGradient&, const CNNUpsamplingGradient&) = default;
};

}  // namespace metalloid::operations
