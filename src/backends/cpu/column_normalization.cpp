#include "backends/cpu/column_normalization.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/column_normalization.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/column_sums-inl.hpp"
#include "backends/cpu/rows-inl.hpp"
#include "math/vector_math-inl.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

static_assert(kColumnsPerTile <= kSegment);

/// Rows whose sums are float32; over more rows they are double.
inline constexpr std::size_t kRowsPerBlock = 64;

/// What is known of the columns, for one vector of them.
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

void scales(const float* variance, float epsilon, std::size_t columns, float* s) {
  std::size_t j = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> dFloat;
  const auto one = hn::Set(d, 1.0), small = hn::Set(d, static_cast<double>(epsilon));
  for (; j + hn::Lanes(d) <= columns; j += hn::Lanes(d)) {
    const auto root = hn::Sqrt(hn::Add(hn::PromoteTo(d, hn::LoadU(dFloat, variance + j)), small));
    hn::StoreU(hn::DemoteTo(dFloat, hn::Div(one, root)), dFloat, s + j);
  }
#endif
  for (; j < columns; ++j) s[j] = scaleOf(static_cast<double>(variance[j]), epsilon);
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

/// Joins the moments of `added` rows to those of `count`, in double, by Chan's formula.
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

void addMoments(const operations::MatrixView& matrix, const Tiles::Tile& tile, const Moments& to) {
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

void joinMoments(const Moments& to, double count, const Moments& from, double added, std::size_t columns) {
  join(to, count, from.mean, from.squares, added, columns);
}

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

void normalizeTile(const operations::MatrixView& source, const operations::MatrixView& result, const Tiles::Tile& tile,
                   const Columns& columns, const math::Neuron& neuron) {
  const bool stream = paysToStream(result) && result.data != source.data;
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

void sumGradients(const operations::MatrixView& gradient, const operations::MatrixView& source, const Tiles::Tile& tile,
                  const Columns& columns, const math::Neuron& neuron, double* totalG, double* totalGXhat) {
  const std::size_t count = tile.columns.size();
  const Columns here = columns.from(tile.columns.begin);
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
        sumRows<type.value, kRows>(neuron, here, gradientReader.rows<kRows>(i, tile.columns), gradientReader.ahead(),
                                   sourceReader.rows<kRows>(i, tile.columns), sourceReader.ahead(), sumsG, sumsGXhat,
                                   count);
      });
      for (std::size_t j = 0; j < count; ++j) {
        totalG[j] += static_cast<double>(sumsG[j]);
        totalGXhat[j] += static_cast<double>(sumsGXhat[j]);
      }
    }
  });
}

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

void gradientForDataOfTile(const operations::MatrixView& gradient, const operations::MatrixView& source,
                           const operations::MatrixView& result, const Tiles::Tile& tile, const Columns& columns,
                           const DataColumns& data, const math::Neuron& neuron) {
  const bool stream = paysToStream(result) && result.data != gradient.data && result.data != source.data;
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
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(scales);
HWY_EXPORT(addMoments);
HWY_EXPORT(joinMoments);
HWY_EXPORT(normalizeTile);
HWY_EXPORT(sumGradients);
HWY_EXPORT(gradientForDataOfTile);

/// Columns whose partial results one task joins: few, as there may be many threads for them.
constexpr std::size_t kColumnsToJoin = 64;

void computeScale(const float* variance, float epsilon, std::size_t columns, float* s) {
  HWY_DYNAMIC_DISPATCH(scales)(variance, epsilon, columns, s);
}

void ColumnMoments::begin(double count, const float* mean, const float* variance) {
  count_ = count;
  for (std::size_t j = 0; j < columns_; ++j) {
    all_.mean[j] = static_cast<double>(mean[j]);
    all_.squares[j] = static_cast<double>(variance[j]) * count;
  }
}

void ColumnMoments::add(const operations::MatrixView& matrix, ThreadPool& pool) {
  pool.parallelFor(tiles_.count(), [&](std::size_t index) {
    const auto tile = tiles_[index];
    HWY_DYNAMIC_DISPATCH(addMoments)(matrix, tile, ofBlock(tile.rowBlock, tile.columns.begin));
  });
  pool.parallelForBlocks(BlockSplit(columns_, kColumnsToJoin), [&](BlockRange columns) {
    const Moments to{all_.mean + columns.begin, all_.squares + columns.begin};
    double count = count_;
    for (std::size_t block = 0; block < tiles_.rows().count(); ++block) {
      const auto rows = static_cast<double>(tiles_.rows()[block].size());
      HWY_DYNAMIC_DISPATCH(joinMoments)(to, count, ofBlock(block, columns.begin), rows, columns.size());
      count += rows;
    }
  });
  count_ += static_cast<double>(matrix.rows);
}

void ColumnMoments::store(float* mean, float* variance) const {
  const double* const means = all_.mean;
  const double* const squares = all_.squares;
  const double count = count_ > 0 ? count_ : 1;  // of no rows the squares are 0
  for (std::size_t j = 0; j < columns_; ++j) {
    mean[j] = static_cast<float>(means[j]);
    variance[j] = static_cast<float>(squares[j] / count);
  }
}

void normalize(const operations::MatrixView& source, const operations::MatrixView& result, const Tiles& tiles,
               const Columns& columns, const math::Neuron& neuron, ThreadPool& pool) {
  pool.parallelFor(tiles.count(), [&](std::size_t index) {
    HWY_DYNAMIC_DISPATCH(normalizeTile)(source, result, tiles[index], columns, neuron);
  });
}

void GradientSums::add(const operations::MatrixView& gradient, const operations::MatrixView& source,
                       const Columns& columns, const math::Neuron& neuron, ThreadPool& pool) {
  pool.parallelFor(tiles_.count(), [&](std::size_t index) {
    const auto tile = tiles_[index];
    double* const to = blocks_ + 2 * tile.rowBlock * columns_ + tile.columns.begin;
    HWY_DYNAMIC_DISPATCH(sumGradients)(gradient, source, tile, columns, neuron, to, to + columns_);
  });
  pool.parallelForBlocks(BlockSplit(2 * columns_, kColumnsToJoin), [&](BlockRange range) {
    for (std::size_t block = 0; block < tiles_.rows().count(); ++block) {
      const double* const from = blocks_ + 2 * block * columns_;
      for (std::size_t j = range.begin; j < range.end; ++j) all_[j] += from[j];
    }
  });
}

void gradientForData(const operations::MatrixView& gradient, const operations::MatrixView& source,
                     const operations::MatrixView& result, const Tiles& tiles, const Columns& columns,
                     const DataColumns& data, const math::Neuron& neuron, ThreadPool& pool) {
  pool.parallelFor(tiles.count(), [&](std::size_t index) {
    HWY_DYNAMIC_DISPATCH(gradientForDataOfTile)(gradient, source, result, tiles[index], columns, data, neuron);
  });
}

}  // namespace metalloid::cpu
#endif
