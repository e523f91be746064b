#pragma once

#include "math/annotations.hpp"
#include "operations/image_views.hpp"
#include "operations/views.hpp"

#include <cstddef>
#include <cstdint>

namespace metalloid::operations {

/// The masks of a batch, a byte 0 or 1 for each element in the order [y][x][c]; along an axis whose stride is 0 there
/// is one for all.
struct DropoutMask {
  VectorView values;         // uInt8, one vector for each image
  std::size_t width = 0;     // of what the masks were made for
  std::size_t height = 0;    // as above
  std::size_t channels = 0;  // as above
  std::size_t strideX = 1;
  std::size_t strideY = 1;
  std::size_t strideC = 1;
  std::size_t firstX = 0;  // where the operation's first pixel stands in them
  std::size_t firstY = 0;

  METALLOID_HOST_DEVICE std::size_t rowLength() const { return (strideX ? width : 1) * pixelLength(); }
  METALLOID_HOST_DEVICE std::size_t pixelLength() const { return strideC ? channels : 1; }
  METALLOID_HOST_DEVICE std::size_t length() const { return (strideY ? height : 1) * rowLength(); }
  METALLOID_HOST_DEVICE std::size_t index(std::size_t y, std::size_t x, std::size_t c) const {
    return (firstY + y) * strideY * rowLength() + (firstX + x) * strideX * pixelLength() + c * strideC;
  }

  friend bool operator==(const DropoutMask&, const DropoutMask&) = default;
};

/// result = m * source / keepProbability. m of element e of the mask of image n is 1 where word e of the stream
/// `firstCounter + n` (math/dropout.hpp), as a uniform number in [0, 1), is below keepProbability.
struct CNNDropout {
  static constexpr const char* kName = "CNNDropout";
  ImageView source;
  ImageView result;
  DropoutMask mask;  // of the result's size; without values it is not kept
  float keepProbability = 0.5F;
  std::uint64_t seed = 0;
  std::uint64_t firstCounter = 0;

  friend bool operator==(const CNNDropout&, const CNNDropout&) = default;
};

/// result = m * gradient / keepProbability
struct CNNDropoutGradient {
  static constexpr const char* kName = "CNNDropoutGradient";
  ImageView gradient;
  ImageView result;  // the gradient's size
  DropoutMask mask;  // covers the result
  float keepProbability = 0.5F;

  friend bool operator==(const CNNDropoutGradient&, const CNNDropoutGradient&) = default;
};

}  // namespace metalloid::operations
