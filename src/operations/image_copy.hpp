#pragma once

#include "operations/image_views.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <cstddef>

namespace metalloid::operations {

/// result[y][x] = source[y + offsetY][x + offsetX], converted to the result's type; outside the source stands what the
/// edge mode says. Result channels beyond the source's become 0.
struct ImageCopy {
  static constexpr const char* kName = "ImageCopy";
  ImageView source;
  ImageView result;
  std::ptrdiff_t offsetX = 0;
  std::ptrdiff_t offsetY = 0;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;

  friend bool operator==(const ImageCopy&, const ImageCopy&) = default;
};

/// Every element becomes `value`.
struct ImageFill {
  static constexpr const char* kName = "ImageFill";
  ImageView result;
  float value = 0;

  friend bool operator==(const ImageFill&, const ImageFill&) = default;
};

/// The elements in the order [y][x][c], into another shape of as many.
struct NNReshape {
  static constexpr const char* kName = "NNReshape";
  ImageView source;
  ImageView result;

  friend bool operator==(const NNReshape&, const NNReshape&) = default;
};

}  // namespace metalloid::operations
