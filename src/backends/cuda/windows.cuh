#pragma once

#include "operations/window.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

/// Windows read backwards: gradients ask which outputs have read a pixel, so that each pixel is written by one thread.
namespace metalloid::cuda {

using operations::Window;
using operations::WindowAxis;

/// Outputs `first` to `last`; none where `last` is before `first`.
struct Outputs {
  std::ptrdiff_t first, last;
};

__device__ inline std::ptrdiff_t floorDivide(std::ptrdiff_t numerator, std::ptrdiff_t divisor) {
  if (divisor == 1) return numerator;
  if (static_cast<std::int32_t>(numerator) == numerator && static_cast<std::int32_t>(divisor) == divisor) {
    // 64-bit divisions cost many times as much.
    const auto n = static_cast<std::int32_t>(numerator), d = static_cast<std::int32_t>(divisor);
    const std::int32_t quotient = n / d;
    return quotient * d > n ? quotient - 1 : quotient;
  }
  const std::ptrdiff_t quotient = numerator / divisor;
  return quotient * divisor > numerator ? quotient - 1 : quotient;
}

__device__ inline std::ptrdiff_t ceilDivide(std::ptrdiff_t numerator, std::ptrdiff_t divisor) {
  return -floorDivide(-numerator, divisor);
}

/// The positions that count for a pixel of a source: itself, and for the pixels at the edges what the edge mode adds.
struct Positions {
  std::ptrdiff_t first, last;
};

__device__ inline Positions positionsOf(std::size_t pixel, std::size_t size, ImageEdgeMode edgeMode) {
  constexpr std::ptrdiff_t kFar = std::ptrdiff_t{1} << 60;
  const auto p = static_cast<std::ptrdiff_t>(pixel);
  const bool isClamped = edgeMode == ImageEdgeMode::clamp;
  return {isClamped && pixel == 0 ? -kFar : p, isClamped && pixel + 1 == size ? kFar : p};
}

/// The outputs, `count` in all, whose tap stands on one of the positions; the axis has a positive step.
__device__ inline Outputs outputsOf(const WindowAxis& axis, std::size_t tap, const Positions& positions,
                                    std::size_t count) {
  const std::ptrdiff_t base = axis.base + axis.tapStep * static_cast<std::ptrdiff_t>(tap);
  // Far positions belong to edges that are clamped, where the divisor is 1.
  const std::ptrdiff_t first = ceilDivide(positions.first * axis.divisor - base, axis.step);
  const std::ptrdiff_t last = floorDivide(positions.last * axis.divisor - base, axis.step);
  return {std::max<std::ptrdiff_t>(first, 0), std::min<std::ptrdiff_t>(last, static_cast<std::ptrdiff_t>(count) - 1)};
}

/// All outputs with any tap on one of the positions, and some between them; the axis has a positive tapStep.
__device__ inline Outputs outputsOf(const WindowAxis& axis, const Positions& positions, std::size_t count) {
  return {outputsOf(axis, axis.taps - 1, positions, count).first, outputsOf(axis, 0, positions, count).last};
}

/// Windows of `height` x `width` outputs over a source, read backwards.
struct ReversedWindow {
  Window window;
  ImageEdgeMode edgeMode;
  std::size_t sourceHeight, sourceWidth, height, width;

  /// Calls f(q, p, j, i) for every tap (q, p) with which an output (j, i) reads pixel (y, x) of the source.
  template <class F>
  __device__ void forEachReader(std::size_t y, std::size_t x, F&& f) const {
    const Positions rows = positionsOf(y, sourceHeight, edgeMode), columns = positionsOf(x, sourceWidth, edgeMode);
    for (std::size_t q = 0; q < window.y.taps; ++q) {
      const Outputs js = outputsOf(window.y, q, rows, height);
      for (std::ptrdiff_t j = js.first; j <= js.last; ++j) {
        for (std::size_t p = 0; p < window.x.taps; ++p) {
          const Outputs is = outputsOf(window.x, p, columns, width);
          for (std::ptrdiff_t i = is.first; i <= is.last; ++i) f(q, p, j, i);
        }
      }
    }
  }
};

}  // namespace metalloid::cuda
