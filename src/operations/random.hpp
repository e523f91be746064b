#pragma once

#include "operations/views.hpp"

#include <cstdint>

namespace metalloid::operations {

/// Philox 4x32-10: element e (counted over all matrices, packed row-major) takes word e mod 4 of block firstBlock + e
/// / 4.
struct MatrixRandom {
  static constexpr const char* kName = "MatrixRandom";
  enum class Distribution { bits, uniform, normal, truncatedNormal };
  MatrixView result;  // uInt32 for bits, float32 otherwise; a vector is a matrix of one row
  std::uint64_t seed = 0;
  std::uint64_t firstBlock = 0;
  Distribution distribution = Distribution::bits;
  float minimum = 0, maximum = 1;  // uniform: [minimum, maximum); truncated normal: [minimum, maximum]
  float mean = 0, standardDeviation = 1;

  friend bool operator==(const MatrixRandom&, const MatrixRandom&) = default;
};

}  // namespace metalloid::operations
