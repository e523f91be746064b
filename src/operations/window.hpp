#pragma once

#include "math/annotations.hpp"

#include <cstddef>
#include <optional>

namespace metalloid::operations {

/// Which source pixel a window reads along one axis: tap t of output pixel o stands on
///
///     (step * o + base + tapStep * t) / divisor
///
/// and on no pixel unless the division is exact. A filter has divisor 1, step = its stride, tapStep = its dilation;
/// what goes backwards enlarges, and has step 1 and divisor = the stride.
struct WindowAxis {
  std::size_t taps = 1;
  std::ptrdiff_t step = 1;
  std::ptrdiff_t base = 0;
  std::ptrdiff_t tapStep = 1;
  std::ptrdiff_t divisor = 1;

  /// The position, which may lie outside the source; none where the division leaves a rest.
  METALLOID_HOST_DEVICE std::optional<std::ptrdiff_t> position(std::size_t output, std::size_t tap) const {
    const std::ptrdiff_t numerator =
        step * static_cast<std::ptrdiff_t>(output) + base + tapStep * static_cast<std::ptrdiff_t>(tap);
    if (divisor == 1) return numerator;
    if (numerator % divisor != 0) return std::nullopt;
    return numerator / divisor;
  }

  friend bool operator==(const WindowAxis&, const WindowAxis&) = default;
};

struct Window {
  WindowAxis x;
  WindowAxis y;

  friend bool operator==(const Window&, const Window&) = default;
};

}  // namespace metalloid::operations
