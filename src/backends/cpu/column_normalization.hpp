#pragma once

#include "backends/cpu/thread_pool.hpp"
#include "backends/cpu/tiles.hpp"
#include "math/neuron.hpp"
#include "operations/views.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

/// Normalization of the columns of matrices: statistics, value and gradient, each in one pass over memory. Batch
/// normalization of matrices and of images, and instance and group normalization are made of these.
namespace metalloid::cpu {

/// Columns of a tile.
inline constexpr std::size_t kColumnsPerTile = 512;

/// Per column: xhat = (x - mean) * s and z = gamma * xhat + beta.
struct Columns {
  const float* mean;
  const float* s;
  const float* gamma;             // or null: 1
  const float* beta;              // or null: 0
  const float* slopes = nullptr;  // of a PReLU

  Columns from(std::size_t j) const {
    return {mean + j, s + j, gamma ? gamma + j : nullptr, beta ? beta + j : nullptr, slopes ? slopes + j : nullptr};
  }
};

/// s = 1 / sqrt(variance + epsilon), in double as it is done once a column. FLT_MIN must not be flushed to zero.
inline float scaleOf(double variance, float epsilon) {
  return static_cast<float>(1 / std::sqrt(variance + static_cast<double>(epsilon)));
}

void computeScale(const float* variance, float epsilon, std::size_t columns, float* s);

/// Means and sums of squared deviations from them.
struct Moments {
  double* mean;
  double* squares;
};

/// The statistics of the columns of one matrix, or of several of one size one after another.
class ColumnMoments {
 public:
  /// How many doubles one needs to work with.
  static std::size_t workspace(const Tiles& tiles, std::size_t columns) {
    return 2 * (tiles.rows().count() + 1) * columns;
  }

  ColumnMoments(const Tiles& tiles, std::size_t columns, double* workspace)
      : tiles_(tiles), columns_(columns), all_{workspace, workspace + columns}, blocks_(workspace + 2 * columns) {
    std::fill_n(workspace, 2 * columns, 0.0);
  }

  /// Begins with what is known of `count` rows.
  void begin(double count, const float* mean, const float* variance);
  void add(const operations::MatrixView& matrix, ThreadPool& pool);

  double count() const { return count_; }
  double mean(std::size_t j) const { return all_.mean[j]; }
  double squares(std::size_t j) const { return all_.squares[j]; }
  /// Of no rows it is 0, as every empty sum.
  double variance(std::size_t j) const { return count_ > 0 ? all_.squares[j] / count_ : 0; }
  /// Those of all columns.
  void store(float* mean, float* variance) const;

 private:
  Moments ofBlock(std::size_t rowBlock, std::size_t column) const {
    double* const mean = blocks_ + 2 * rowBlock * columns_ + column;
    return {mean, mean + columns_};
  }

  const Tiles& tiles_;
  std::size_t columns_;
  Moments all_;
  double* blocks_;  // [row block][mean, squares][column]
  double count_ = 0;
};

/// result = f(gamma * xhat + beta)
void normalize(const operations::MatrixView& source, const operations::MatrixView& result, const Tiles& tiles,
               const Columns& columns, const math::Neuron& neuron, ThreadPool& pool);

/// Sums of g = dy * f'(z) and of g * xhat over the rows of one matrix, or of several of one size one after another.
class GradientSums {
 public:
  /// How many doubles one needs to work with.
  static std::size_t workspace(const Tiles& tiles, std::size_t columns) {
    return 2 * (tiles.rows().count() + 1) * columns;
  }

  GradientSums(const Tiles& tiles, std::size_t columns, double* workspace)
      : tiles_(tiles), columns_(columns), all_(workspace), blocks_(workspace + 2 * columns) {
    std::fill_n(workspace, 2 * columns, 0.0);
  }

  void add(const operations::MatrixView& gradient, const operations::MatrixView& source, const Columns& columns,
           const math::Neuron& neuron, ThreadPool& pool);

  double g(std::size_t j) const { return all_[j]; }
  double gXhat(std::size_t j) const { return all_[columns_ + j]; }

 private:
  const Tiles& tiles_;
  std::size_t columns_;
  double* all_;     // [g, g * xhat][column]
  double* blocks_;  // [row block][g, g * xhat][column]
};

/// Per column, what the data gradient needs besides.
struct DataColumns {
  const float* scale;
  const float* shift;
  const float* slope;

  DataColumns from(std::size_t j) const { return {scale + j, shift + j, slope + j}; }
};

/// result = scale * g - (shift + xhat * slope)
void gradientForData(const operations::MatrixView& gradient, const operations::MatrixView& source,
                     const operations::MatrixView& result, const Tiles& tiles, const Columns& columns,
                     const DataColumns& data, const math::Neuron& neuron, ThreadPool& pool);

}  // namespace metalloid::cpu
