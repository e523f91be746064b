#pragma once

#include "operations/image_views.hpp"

#include <cstdint>

namespace metalloid::operations {

enum class ReduceAxis : std::uint8_t { row, column, featureChannels, spatial };
enum class ReduceType : std::uint8_t { minimum, maximum, mean, sum, argumentMinimum, argumentMaximum };

/// One value for each row (over x), each column (over y), each pixel (over channels) or each channel (over x and y).
/// A sum is multiplied by `weight`; of equal extremes the first counts; NaN wins.
struct NNReduce {
  static constexpr const char* kName = "NNReduce";
  ImageView source;
  ImageView result;
  ReduceAxis axis = ReduceAxis::row;
  ReduceType type = ReduceType::sum;
  float weight = 1;

  friend bool operator==(const NNReduce&, const NNReduce&) = default;
};

/// Channels times weights, over the channels of each pixel: their sum, or sum / C, or sum / (number of weights != 0).
struct NNReduceWeighted {
  static constexpr const char* kName = "NNReduceWeighted";
  enum class Divisor : std::uint8_t { one, channels, nonZeroWeights };
  ImageView source;
  ImageView weights;
  ImageView result;
  Divisor divisor = Divisor::one;

  friend bool operator==(const NNReduceWeighted&, const NNReduceWeighted&) = default;
};

/// result[y][x][c] = scale * gradient[0][0][c]
struct NNReductionSpatialMeanGradient {
  static constexpr const char* kName = "NNReductionSpatialMeanGradient";
  ImageView gradient;  // one pixel
  ImageView result;
  float scale = 1;

  friend bool operator==(const NNReductionSpatialMeanGradient&, const NNReductionSpatialMeanGradient&) = default;
};

}  // namespace metalloid::operations
