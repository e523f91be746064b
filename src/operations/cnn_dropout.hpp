#pragma once

#include "operations/image_views.hpp"
#include "operations/views.hpp"

#include <cstddef>
#include <cstdint>

namespace metalloid::operations {

/// The mask of one image: a byte 0 or 1 for each element, or, along an axis whose stride is 0, one for all; in the
/// order [y][x][c] of what is left.
struct DropoutMask {
  VectorView values;  // uInt8, one vector for each image
  std::size_t strideX = 1;
  std::size_t strideY = 1;
  std::size_t strideC = 1;

  std::size_t length(const ImageView& image) const {
    return (strideX ? image.width : 1) * (strideY ? image.height : 1) * (strideC ? image.channels : 1);
  }
  std::size_t index(const ImageView& image, std::size_t y, std::size_t x, std::size_t c) const {
    const std::size_t width = strideX ? image.width : 1, channels = strideC ? image.channels : 1;
    return (y * strideY * width + x * strideX) * channels + c * strideC;
  }

  friend bool operator==(const DropoutMask&, const DropoutMask&) = default;
};

/// result = m * source / keepProbability. m of element e of image n is 1 where word e of the Philox stream of key
/// `seed`, counter `firstCounter + n`, as a uniform number in [0, 1), is below keepProbability.
struct CNNDropout {
  static constexpr const char* kName = "CNNDropout";
  ImageView source;
  ImageView result;
  DropoutMask mask;  // result; without values it is not kept
  float keepProbability = 0.5F;
  std::uint64_t seed = 0;
  std::uint64_t firstCounter = 0;

  friend bool operator==(const CNNDropout&, const CNNDropout&) = default;
};

/// result = m * gradient / keepProbability
struct CNNDropoutGradient {
  static constexpr const char* kName = "CNNDropoutGradient";
  ImageView gradient;
  ImageView result;
  DropoutMask mask;
  float keepProbability = 0.5F;

  friend bool operator==(const CNNDropoutGradient&, const CNNDropoutGradient&) = default;
};

}  // namespace metalloid::operations
