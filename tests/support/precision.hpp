#pragma once

#include <metalloid/data_type.hpp>

#include <algorithm>
#include <cmath>

namespace metalloid::testing {

/// The distance between neighbouring numbers of a floating-point storage type around `value`; 0 for other types.
inline double spacing(DataType type, double value) {
  int significand = 0;     // bits, the implicit one included
  int lowestExponent = 0;  // of the smallest denormal
  switch (type) {
    case DataType::float32:
      significand = 24, lowestExponent = -149;
      break;
    case DataType::float16:
      significand = 11, lowestExponent = -24;
      break;
    case DataType::bFloat16:
      significand = 8, lowestExponent = -133;
      break;
    default:
      return 0;
  }
  int exponent = 0;
  std::frexp(value, &exponent);  // |value| in [2^(exponent-1), 2^exponent)
  return std::ldexp(1.0, std::max(exponent - significand, lowestExponent));
}

/// The error that one rounding to `type` can make: half the spacing.
inline double roundingError(DataType type, double value) { return spacing(type, std::fabs(value)) / 2; }

}  // namespace metalloid::testing
