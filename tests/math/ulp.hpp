#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace metalloid::math {

/// The spacing of float32 numbers at `value`, 2^-149 in the denormal range.
inline double unitInLastPlace(double value) {
  int exponent = 0;
  std::frexp(std::fabs(value), &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

/// |actual - expected| in units in the last place of float32. Where `expected` rounds to infinity, float32's largest
/// number counts as the one below it. Infinite when only one is NaN, or an infinity is wrong.
inline double ulpError(float actual, double expected) {
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  constexpr double kLargest = std::numeric_limits<float>::max();
  constexpr double kNext = 0x1p128;
  if (std::isnan(actual) || std::isnan(expected)) return std::isnan(actual) && std::isnan(expected) ? 0 : kWrong;
  const double limited = std::clamp(expected, -kNext, kNext);
  if (std::isinf(actual) && std::fabs(expected) < kLargest - 8 * unitInLastPlace(kLargest)) return kWrong;
  const double finite = std::isinf(actual) ? std::copysign(kNext, static_cast<double>(actual)) : double{actual};
  return std::fabs(finite - limited) / unitInLastPlace(std::clamp(expected, -kLargest, kLargest));
}

}  // namespace metalloid::math
