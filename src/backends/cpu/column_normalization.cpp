// Normalization of the columns of matrices: statistics, value and gradient, each in one pass over memory. Batch
// normalization of matrices and of images, and instance and group normalization are made of these.

#if defined(METALLOID_CPU_BATCH_NORMALIZATION_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_BATCH_NORMALIZATION_INL
#undef METALLOID_CPU_BATCH_NORMALIZATION_INL
#else
#define METALLOID_CPU_BATCH_NORMALIZATION_INL
#endif

#include "backends/cpu/column_sums-inl.hpp"
#include "backends/cpu/rows-inl.hpp"
#include "backends/cpu/thread_pool.hpp"
#include "backends/cpu/tiles.hpp"
#include "math/neuron.hpp"
#include "math/vector_math-inl.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

/// Columns of a tile.
inline constexpr std::size_t kColumnsPerTile = 512;
static_assert(kColumnsPerTile <= kSegment);

/// Rows whose sums are float32; over more rows they are double.
inline constexpr std::size_t kRowsPerBlock = 64;

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

/// The same for one vector of columns.
struct ColumnVectors {
  FloatVector mean, s, gamma, beta;

  HWY_INLINE ColumnVectors(const Columns& columns, std::size_t j, std::size_t n)
      : mean(loadSome(columns.mean + j, n)),
        s(loadSome(columns.s + j, n)),
        gamma(columns.gamma ? loadSome(columns.gamma + j, n) : hn::Set(FloatTag(), 1.0f)),
        beta(columns.beta ? loadSome(columns.beta + j, n) : hn::Zero(FloatTag())) {}

  HWY_INLINE FloatVector xhat(FloatVector x) const { return hn::Mul(hn::Sub(x, mean), s); }
  HWY_INLINE FloatVector argument(FloatVector normalized) const { return hn::MulAdd(gamma, normalized, beta); }
};

template <CNNNeuronType kType>
HWY_INLINE FloatVector slopesAt(const Columns& columns, std::size_t j, std::size_t n) {
  if constexpr (kType == CNNNeuronType::pReLU) return loadSome(columns.slopes + j, n);
  return hn::Zero(FloatTag());
}

/// s = 1 / sqrt(variance + epsilon), in double as it is done once a column. FLT_MIN must not be flushed to zero.
HWY_INLINE float scaleOf(double variance, float epsilon) {
  return static_cast<float>(1 / std::sqrt(variance + static_cast<double>(epsilon)));
}

HWY_INLINE void computeScale(const float* variance, float epsilon, std::size_t columns, float* s) {
  for (std::size_t j = 0; j < columns; ++j) s[j] = scaleOf(static_cast<double>(variance[j]), epsilon);
}

// --- Statistics ------------------------------------------------------------------------------------------------------

/// Two sweeps over a few rows that stay in the cache: the means, then the squared deviations from them. Nothing
/// cancels.
HWY_INLINE void blockStatistics(GroupReader& reader, BlockRange rows, BlockRange columns, float* mean, float* squares) {
  const FloatTag d;
  const std::size_t count = columns.size();
  std::memset(mean, 0, count * sizeof(float));
  std::memset(squares, 0, count * sizeof(float));
  forEachGroup(rows, [&](auto group, std::size_t i) {
    addRows(reader.rows<group.value>(i, columns), reader.ahead(), mean, count);
  });
  const auto size = hn::Set(d, static_cast<float>(rows.size()));
  forEachVector(count, [&](std::size_t j, std::size_t n)
                           HWY_ATTR { storeSome(hn::Div(loadSome(mean + j, n), size), mean + j, n); });
  forEachGroup(rows, [&](auto group, std::size_t i) {
    const auto x = reader.rows<group.value>(i, columns);
    forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      const auto center = loadSome(mean + j, n);
      auto sum = loadSome(squares + j, n);
      for (const float* const row : x) {
        const auto deviation = hn::Sub(loadSome(row + j, n), center);
        sum = hn::MulAdd(deviation, deviation, sum);
      }
      storeSome(sum, squares + j, n);
    });
  });
}

/// Means and sums of squared deviations from them.
struct Moments {
  double* mean;
  double* squares;
};

/// Joins those of `added` rows to those of `count`, in double, by Chan's formula.
template <class T>
HWY_INLINE void join(const Moments& to, double count, const T* mean, const T* squares, double added,
                     std::size_t columns) {
  const double share = added / (count + added), spread = count * share;
  for (std::size_t j = 0; j < columns; ++j) {
    const double delta = static_cast<double>(mean[j]) - to.mean[j];
    to.mean[j] += delta * share;
    to.squares[j] += static_cast<double>(squares[j]) + delta * delta * spread;
  }
}

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
  void begin(double count, const float* mean, const float* variance) {
    count_ = count;
    for (std::size_t j = 0; j < columns_; ++j) {
      all_.mean[j] = static_cast<double>(mean[j]);
      all_.squares[j] = static_cast<double>(variance[j]) * count;
    }
  }

  void add(const operations::MatrixView& matrix, ThreadPool& pool) {
    pool.parallelFor(tiles_.count(), [&](std::size_t index) {
      const auto tile = tiles_[index];
      addTile(matrix, tile, ofBlock(tile.rowBlock, tile.columns.begin));
    });
    pool.parallelForBlocks(BlockSplit(columns_, kColumnsPerTile), [&](BlockRange columns) {
      const Moments to{all_.mean + columns.begin, all_.squares + columns.begin};
      double count = count_;
      for (std::size_t block = 0; block < tiles_.rows().count(); ++block) {
        const Moments from = ofBlock(block, columns.begin);
        const auto rows = static_cast<double>(tiles_.rows()[block].size());
        join(to, count, from.mean, from.squares, rows, columns.size());
        count += rows;
      }
    });
    count_ += static_cast<double>(matrix.rows);
  }

  double count() const { return count_; }
  double mean(std::size_t j) const { return all_.mean[j]; }
  double squares(std::size_t j) const { return all_.squares[j]; }
  /// Of no rows it is 0, as every empty sum.
  double variance(std::size_t j) const { return count_ > 0 ? all_.squares[j] / count_ : 0; }

 private:
  Moments ofBlock(std::size_t rowBlock, std::size_t column) const {
    double* const mean = blocks_ + 2 * rowBlock * columns_ + column;
    return {mean, mean + columns_};
  }

  static void addTile(const operations::MatrixView& matrix, const Tiles::Tile& tile, const Moments& to) {
    constexpr std::size_t kFloats = 8192;  // of a block: two sweeps find it in L1, or at least in L2
    const std::size_t columns = tile.columns.size();
    const std::size_t blockRows = std::clamp(kFloats / columns / kGroup * kGroup, kGroup, kRowsPerBlock);
    alignas(64) float mean[kColumnsPerTile];
    alignas(64) float squares[kColumnsPerTile];
    std::fill_n(to.mean, columns, 0.0);
    std::fill_n(to.squares, columns, 0.0);
    GroupReader reader(matrix);
    for (std::size_t i = tile.rows.begin; i < tile.rows.end; i += blockRows) {
      const BlockRange rows{i, std::min(i + blockRows, tile.rows.end)};
      blockStatistics(reader, rows, tile.columns, mean, squares);
      join(to, static_cast<double>(i - tile.rows.begin), mean, squares, static_cast<double>(rows.size()), columns);
    }
  }

  const Tiles& tiles_;
  std::size_t columns_;
  Moments all_;
  double* blocks_;  // [row block][mean, squares][column]
  double count_ = 0;
};

// --- Value -----------------------------------------------------------------------------------------------------------

/// Writes past the caches where that pays and the vector is whole.
template <bool kStream>
HWY_INLINE void put(FloatVector value, float* to, std::size_t n) {
  if (kStream && n == hn::Lanes(FloatTag())) {
    hn::Stream(value, FloatTag(), to);
  } else {
    storeSome(value, to, n);
  }
}

template <CNNNeuronType kType, bool kStream, std::size_t kRows>
void valueRows(const math::Neuron& neuron, const Columns& columns, const RowGroup<kRows>& x, std::size_t ahead,
               const MutableRowGroup<kRows>& y, std::size_t count) {
  const math::HWY_NAMESPACE::VectorOps<FloatTag> ops;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const ColumnVectors c(columns, j, n);
    const auto slopes = slopesAt<kType>(columns, j, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      hwy::Prefetch(x[r] + j + ahead);
      const auto z = c.argument(c.xhat(loadSome(x[r] + j, n)));
      put<kStream>(math::HWY_NAMESPACE::neuronValue<kType>(ops, neuron, z, slopes), y[r] + j, n);
    }
  });
}

/// result = f(gamma * xhat + beta)
HWY_INLINE void normalize(const operations::MatrixView& source, const operations::MatrixView& result,
                          const Tiles& tiles, const Columns& columns, const math::Neuron& neuron, ThreadPool& pool) {
  const bool stream = paysToStream(result) && result.data != source.data;
  pool.parallelFor(tiles.count(), [&](std::size_t index) {
    const auto tile = tiles[index];
    const Columns here = columns.from(tile.columns.begin);
    GroupReader reader(source);
    GroupWriter writer(result);
    math::dispatch(neuron.type, [&](auto type) {
      forEachGroup(tile.rows, [&](auto group, std::size_t i) {
        constexpr std::size_t kRows = group.value;
        const auto rows = stream ? valueRows<type.value, kRows == kGroup, kRows> : valueRows<type.value, false, kRows>;
        rows(neuron, here, reader.rows<kRows>(i, tile.columns), reader.ahead(), writer.rows<kRows>(i, tile.columns),
             tile.columns.size());
        writer.finish<kRows>(i, tile.columns);
      });
    });
    if (stream) hwy::FlushStream();
  });
}

// --- Gradient --------------------------------------------------------------------------------------------------------

/// g = dy * f'(z)
template <CNNNeuronType kType>
HWY_INLINE FloatVector gradientAt(const math::Neuron& neuron, const ColumnVectors& columns, FloatVector slopes,
                                  FloatVector dy, FloatVector xhat) {
  if constexpr (kType == CNNNeuronType::none) {
    return dy;
  } else {
    const math::HWY_NAMESPACE::VectorOps<FloatTag> ops;
    const auto z = columns.argument(xhat);
    return hn::Mul(dy, math::HWY_NAMESPACE::neuronDerivative<kType>(ops, neuron, z, slopes));
  }
}

/// sumsG += g, sumsGXhat += g * xhat
template <CNNNeuronType kType, std::size_t kRows>
void sumRows(const math::Neuron& neuron, const Columns& columns, const RowGroup<kRows>& dy, std::size_t aheadDy,
             const RowGroup<kRows>& x, std::size_t aheadX, float* sumsG, float* sumsGXhat, std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const ColumnVectors c(columns, j, n);
    const auto slopes = slopesAt<kType>(columns, j, n);
    auto sumG = loadSome(sumsG + j, n), sumGXhat = loadSome(sumsGXhat + j, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      hwy::Prefetch(dy[r] + j + aheadDy);
      hwy::Prefetch(x[r] + j + aheadX);
      const auto xhat = c.xhat(loadSome(x[r] + j, n));
      const auto g = gradientAt<kType>(neuron, c, slopes, loadSome(dy[r] + j, n), xhat);
      sumG = hn::Add(sumG, g);
      sumGXhat = hn::MulAdd(g, xhat, sumGXhat);
    }
    storeSome(sumG, sumsG + j, n);
    storeSome(sumGXhat, sumsGXhat + j, n);
  });
}

/// Sums of g and of g * xhat over the rows of one matrix, or of several of one size one after another.
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
           const math::Neuron& neuron, ThreadPool& pool) {
    pool.parallelFor(tiles_.count(), [&](std::size_t index) {
      const auto tile = tiles_[index];
      double* const to = blocks_ + 2 * tile.rowBlock * columns_ + tile.columns.begin;
      addTile(gradient, source, tile, columns.from(tile.columns.begin), neuron, to, to + columns_);
    });
    pool.parallelForBlocks(BlockSplit(2 * columns_, kColumnsPerTile), [&](BlockRange range) {
      for (std::size_t block = 0; block < tiles_.rows().count(); ++block) {
        const double* const from = blocks_ + 2 * block * columns_;
        for (std::size_t j = range.begin; j < range.end; ++j) all_[j] += from[j];
      }
    });
  }

  double g(std::size_t j) const { return all_[j]; }
  double gXhat(std::size_t j) const { return all_[columns_ + j]; }

 private:
  static void addTile(const operations::MatrixView& gradient, const operations::MatrixView& source,
                      const Tiles::Tile& tile, const Columns& columns, const math::Neuron& neuron, double* totalG,
                      double* totalGXhat) {
    const std::size_t count = tile.columns.size();
    alignas(64) float sumsG[kColumnsPerTile];
    alignas(64) float sumsGXhat[kColumnsPerTile];
    std::fill_n(totalG, count, 0.0);
    std::fill_n(totalGXhat, count, 0.0);
    GroupReader gradientReader(gradient), sourceReader(source);
    math::dispatch(neuron.type, [&](auto type) {
      for (std::size_t first = tile.rows.begin; first < tile.rows.end; first += kRowsPerBlock) {
        std::memset(sumsG, 0, count * sizeof(float));
        std::memset(sumsGXhat, 0, count * sizeof(float));
        forEachGroup({first, std::min(first + kRowsPerBlock, tile.rows.end)}, [&](auto group, std::size_t i) {
          constexpr std::size_t kRows = group.value;
          sumRows<type.value, kRows>(neuron, columns, gradientReader.rows<kRows>(i, tile.columns),
                                     gradientReader.ahead(), sourceReader.rows<kRows>(i, tile.columns),
                                     sourceReader.ahead(), sumsG, sumsGXhat, count);
        });
        for (std::size_t j = 0; j < count; ++j) {
          totalG[j] += static_cast<double>(sumsG[j]);
          totalGXhat[j] += static_cast<double>(sumsGXhat[j]);
        }
      }
    });
  }

  const Tiles& tiles_;
  std::size_t columns_;
  double* all_;     // [g, g * xhat][column]
  double* blocks_;  // [row block][g, g * xhat][column]
};

/// Per column, what the data gradient needs besides: dx = scale * g - (shift + xhat * slope)
struct DataColumns {
  const float* scale;
  const float* shift;
  const float* slope;

  DataColumns from(std::size_t j) const { return {scale + j, shift + j, slope + j}; }
};

template <CNNNeuronType kType, bool kStream, std::size_t kRows>
void dataRows(const math::Neuron& neuron, const Columns& columns, const DataColumns& data, const RowGroup<kRows>& dy,
              std::size_t aheadDy, const RowGroup<kRows>& x, std::size_t aheadX, const MutableRowGroup<kRows>& dx,
              std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const ColumnVectors c(columns, j, n);
    const auto slopes = slopesAt<kType>(columns, j, n);
    const auto scale = loadSome(data.scale + j, n);
    const auto shift = loadSome(data.shift + j, n), slope = loadSome(data.slope + j, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      hwy::Prefetch(dy[r] + j + aheadDy);
      hwy::Prefetch(x[r] + j + aheadX);
      const auto xhat = c.xhat(loadSome(x[r] + j, n));
      const auto g = gradientAt<kType>(neuron, c, slopes, loadSome(dy[r] + j, n), xhat);
      put<kStream>(hn::MulSub(scale, g, hn::MulAdd(xhat, slope, shift)), dx[r] + j, n);
    }
  });
}

HWY_INLINE void gradientForData(const operations::MatrixView& gradient, const operations::MatrixView& source,
                                const operations::MatrixView& result, const Tiles& tiles, const Columns& columns,
                                const DataColumns& data, const math::Neuron& neuron, ThreadPool& pool) {
  const bool stream = paysToStream(result) && result.data != gradient.data && result.data != source.data;
  pool.parallelFor(tiles.count(), [&](std::size_t index) {
    const auto tile = tiles[index];
    const Columns here = columns.from(tile.columns.begin);
    const DataColumns dataHere = data.from(tile.columns.begin);
    GroupReader gradientReader(gradient), sourceReader(source);
    GroupWriter writer(result);
    math::dispatch(neuron.type, [&](auto type) {
      forEachGroup(tile.rows, [&](auto group, std::size_t i) {
        constexpr std::size_t kRows = group.value;
        const auto rows = stream ? dataRows<type.value, kRows == kGroup, kRows> : dataRows<type.value, false, kRows>;
        rows(neuron, here, dataHere, gradientReader.rows<kRows>(i, tile.columns), gradientReader.ahead(),
             sourceReader.rows<kRows>(i, tile.columns), sourceReader.ahead(), writer.rows<kRows>(i, tile.columns),
             tile.columns.size());
        writer.finish<kRows>(i, tile.columns);
      });
    });
    if (stream) hwy::FlushStream();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
