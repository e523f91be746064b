#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include <metalloid/data_type.hpp>

namespace benchmark_program {

/// What one rounding to float32 may add, relative to the rounded value.
constexpr double kFloatRounding = 0x1p-24;

/// The same for a result's own type.
constexpr double rounding(metalloid::DataType type) {
  return type == metalloid::DataType::float32   ? kFloatRounding
         : type == metalloid::DataType::float16 ? 0x1p-11
                                                : 0x1p-8;
}

/// What storing a value may add: its rounding, or, below the smallest normal number of the type, half of the smallest.
inline double storing(metalloid::DataType type, double value) {
  return rounding(type) * std::abs(value) + (type == metalloid::DataType::float16 ? 0x1p-25 : 0);
}

/// What products of factors that are rounded to TensorFloat32 may add: 10 bits after the point, cut off at worst.
constexpr double kReducedProductRounding = 2 * 0x1p-10;

/// Roundings along the longest path of additions in a column sum over `rows` rows: the rows are cut into at most 64
/// tiles (of 8 rows at least), each is summed from top to bottom, and then the tiles are.
constexpr double columnSumRoundings(std::size_t rows) {
  return static_cast<double>(std::max<std::size_t>(8, (rows + 63) / 64)) + 64;
}

/// The largest |actual - exact| / allowed seen; infinity once a NaN was among them.
class WorstError {
 public:
  void add(double actual, double exact, double allowed) {
    if (actual == exact) return;  // infinities among them
    const double difference = std::abs(actual - exact);
    // The smallest normal float keeps 0/0 away; a difference below it is underflow.
    const double error = difference / std::max(allowed, static_cast<double>(std::numeric_limits<float>::min()));
    if (!(error <= worst_)) worst_ = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  double value() const { return worst_; }

 private:
  double worst_ = 0;
};

}  // namespace benchmark_program
