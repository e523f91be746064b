#pragma once

#include "math/annotations.hpp"
#include "operations/image_views.hpp"
#include "operations/window.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace metalloid::operations {

enum class PoolingType : std::uint8_t { max, average, l2Norm };

/// Each channel by itself, over the taps of the window.
///
///     max:     the largest; outside stands 0 (zero) or the nearest pixel (clamp); NaN wins
///     average: sum of the taps inside / N; N = taps (zero), or (clamp) the positions of the window that lie in the
///              source grown by zeroPad on each side; 0 where the window lies outside of the source
///     l2Norm:  sqrt(sum of squares)
struct CNNPooling {
  static constexpr const char* kName = "CNNPooling";
  ImageView source;
  ImageView result;
  Window window;  // divisors 1
  PoolingType type = PoolingType::max;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  std::size_t zeroPadSizeX = 0;
  std::size_t zeroPadSizeY = 0;

  friend bool operator==(const CNNPooling&, const CNNPooling&) = default;
};

/// What an average is divided by, along one axis: it depends on the window of output o and on where the source ends.
METALLOID_HOST_DEVICE inline std::ptrdiff_t averageDivisor(const WindowAxis& axis, std::size_t o, std::size_t source,
                                                           ImageEdgeMode edgeMode, std::size_t zeroPad) {
  const auto taps = static_cast<std::ptrdiff_t>(axis.taps), pad = static_cast<std::ptrdiff_t>(zeroPad);
  if (edgeMode == ImageEdgeMode::zero) return taps;
  const std::ptrdiff_t first = axis.step * static_cast<std::ptrdiff_t>(o) + axis.base;
  const std::ptrdiff_t end = std::min(first + taps, static_cast<std::ptrdiff_t>(source) + pad);
  return std::max<std::ptrdiff_t>(end - std::max(first, -pad), 0);
}

/// result[v][u] = sum over output pixels i of gradient[i] * d out[i] / d source[v + resultY][u + resultX].
/// The largest of a window is the first in row-major order, a pixel inside before the zero outside; where that zero
/// wins, and where an L2 norm is 0, nothing receives the gradient.
struct CNNPoolingGradient {
  static constexpr const char* kName = "CNNPoolingGradient";
  ImageView gradient;
  ImageView source;  // the forward source; of its values average uses none
  ImageView result;
  Window window;  // the forward one
  std::size_t resultX = 0;
  std::size_t resultY = 0;
  PoolingType type = PoolingType::max;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  std::size_t zeroPadSizeX = 0;
  std::size_t zeroPadSizeY = 0;

  friend bool operator==(const CNNPoolingGradient&, const CNNPoolingGradient&) = default;
};

}  // namespace metalloid::operations
