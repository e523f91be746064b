// MatrixBatchNormalization: statistics in one pass over memory (each tile is read twice, the second time from the
// cache), the result in a second (read x, write y).
// MatrixBatchNormalizationGradient: the sums in one pass (read dy and x), the data gradient in a second (read dy and x,
// write dx); f'(z) is computed in both, which is cheaper than keeping it.

#include <array>
#include <cmath>

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"
#include "math/neuron.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/batch_normalization.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/column_sums-inl.hpp"
#include "backends/cpu/rows-inl.hpp"
#include "math/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using MathOps = math::HWY_NAMESPACE::VectorOps<FloatTag>;

constexpr std::size_t kColumnsPerTile = 512;  // a tile of a few dozen rows stays in L2 between its two readings

/// Per column: xhat = (x - mean) * s and z = gamma * xhat + beta.
struct Columns {
  const float* mean;
  const float* s;
  const float* gamma;  // or null: 1
  const float* beta;   // or null: 0

  Columns from(std::size_t j) const {
    return {mean + j, s + j, gamma ? gamma + j : nullptr, beta ? beta + j : nullptr};
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

/// One tile's means and sums of squared deviations from them.
struct TileStatistics {
  float* mean;
  float* squares;
};

/// Two sweeps over a tile that stays in the cache: the means, then the squared deviations from them. Nothing cancels.
void tileStatistics(const operations::MatrixView& input, const Tiles::Tile& tile, const TileStatistics& statistics) {
  const FloatTag d;
  const std::size_t count = tile.columns.size();
  GroupReader reader(input);
  std::memset(statistics.mean, 0, count * sizeof(float));
  std::memset(statistics.squares, 0, count * sizeof(float));
  forEachGroup(tile.rows, [&](auto group, std::size_t i) {
    addRows(reader.rows<group.value>(i, tile.columns), reader.ahead(), statistics.mean, count);
  });
  const auto rows = hn::Set(d, static_cast<float>(tile.rows.size()));
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    storeSome(hn::Div(loadSome(statistics.mean + j, n), rows), statistics.mean + j, n);
  });
  forEachGroup(tile.rows, [&](auto group, std::size_t i) {
    const auto x = reader.rows<group.value>(i, tile.columns);
    forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      const auto mean = loadSome(statistics.mean + j, n);
      auto squares = loadSome(statistics.squares + j, n);
      for (const float* const row : x) {
        const auto deviation = hn::Sub(loadSome(row + j, n), mean);
        squares = hn::MulAdd(deviation, deviation, squares);
      }
      storeSome(squares, statistics.squares + j, n);
    });
  });
}

/// Joins the tiles of a column from top to bottom, in double, by Chan's formula.
void joinStatistics(const Tiles& tiles, std::size_t columns, const float* means, const float* squares, BlockRange range,
                    float* mean, float* variance) {
  std::array<double, kColumnsPerTile> m{}, m2{};
  double count = 0;
  for (std::size_t block = 0; block < tiles.rows().count(); ++block) {
    const auto rows = static_cast<double>(tiles.rows()[block].size());
    const double total = count + rows, share = rows / total, spread = count * rows / total;
    const float* const blockMeans = means + block * columns + range.begin;
    const float* const blockSquares = squares + block * columns + range.begin;
    for (std::size_t j = 0; j < range.size(); ++j) {
      const double delta = static_cast<double>(blockMeans[j]) - m[j];
      m[j] += delta * share;
      m2[j] += static_cast<double>(blockSquares[j]) + delta * delta * spread;
    }
    count = total;
  }
  for (std::size_t j = 0; j < range.size(); ++j) {
    mean[range.begin + j] = static_cast<float>(m[j]);
    variance[range.begin + j] = count > 0 ? static_cast<float>(m2[j] / count) : 0.0f;
  }
}

/// Computes mean and variance of every column into scratch and writes them to the operation's vectors.
void computeStatistics(const operations::MatrixView& input, const operations::VectorView& meanVector,
                       const operations::VectorView& varianceVector, float* mean, float* variance, Context& context) {
  const std::size_t columns = input.columns;
  const Tiles tiles(input.rows, columns, kColumnsPerTile);
  auto* const means = context.scratch.take<float>(tiles.rows().count() * columns);
  auto* const squares = context.scratch.take<float>(tiles.rows().count() * columns);
  context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
    const auto tile = tiles[index];
    const std::size_t at = tile.rowBlock * columns + tile.columns.begin;
    tileStatistics(input, tile, {means + at, squares + at});
  });
  context.pool.parallelForBlocks(BlockSplit(columns, kColumnsPerTile), [&](BlockRange range) {
    joinStatistics(tiles, columns, means, squares, range, mean, variance);
    const auto store = [&](const float* values, const operations::VectorView& vector) {
      fromFloats(values + range.begin, range.size(), vector.type,
                 vector.data + range.begin * sizeOfDataType(vector.type));
    };
    store(mean, meanVector);
    store(variance, varianceVector);
  });
}

/// s = 1 / sqrt(variance + epsilon), in double as it is done once a column. FLT_MIN must not be flushed to zero.
void computeScale(const float* variance, float epsilon, std::size_t columns, float* s) {
  for (std::size_t j = 0; j < columns; ++j) {
    s[j] = static_cast<float>(1 / std::sqrt(static_cast<double>(variance[j]) + static_cast<double>(epsilon)));
  }
}

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
  const MathOps ops;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const ColumnVectors c(columns, j, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      hwy::Prefetch(x[r] + j + ahead);
      const auto z = c.argument(c.xhat(loadSome(x[r] + j, n)));
      put<kStream>(math::HWY_NAMESPACE::neuronValue<kType>(ops, neuron, z, hn::Zero(FloatTag())), y[r] + j, n);
    }
  });
}

void runValue(const operations::MatrixBatchNormalization& operation, Context& context) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    const auto meanVector = operation.mean.vector(k), varianceVector = operation.variance.vector(k);
    const float* mean = nullptr;
    const float* variance = nullptr;
    if (operation.computeStatistics) {
      auto* const computedMean = context.scratch.take<float>(input.columns);
      auto* const computedVariance = context.scratch.take<float>(input.columns);
      computeStatistics(input, meanVector, varianceVector, computedMean, computedVariance, context);
      mean = computedMean;
      variance = computedVariance;
    } else {
      mean = floats(meanVector, context.scratch);
      variance = floats(varianceVector, context.scratch);
    }
    auto* const s = context.scratch.take<float>(input.columns);
    computeScale(variance, operation.epsilon, input.columns, s);
    const Columns columns{mean, s, floats(operation.gamma.vector(k), context.scratch),
                          floats(operation.beta.vector(k), context.scratch)};
    const bool stream = paysToStream(result) && result.data != input.data;
    const Tiles tiles(input.rows, input.columns, kSegment);
    context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
      const auto tile = tiles[index];
      const Columns here = columns.from(tile.columns.begin);
      GroupReader reader(input);
      GroupWriter writer(result);
      math::dispatch(operation.neuron.type, [&](auto type) {
        // The front end refuses PReLU here.
        constexpr auto kType = type.value == CNNNeuronType::pReLU ? CNNNeuronType::none : type.value;
        forEachGroup(tile.rows, [&](auto group, std::size_t i) {
          constexpr std::size_t kRows = group.value;
          const auto rows = stream ? valueRows<kType, kRows == kGroup, kRows> : valueRows<kType, false, kRows>;
          rows(operation.neuron, here, reader.rows<kRows>(i, tile.columns), reader.ahead(),
               writer.rows<kRows>(i, tile.columns), tile.columns.size());
          writer.finish<kRows>(i, tile.columns);
        });
      });
      if (stream) hwy::FlushStream();
    });
  }
}

/// g = dy * f'(z)
template <CNNNeuronType kType>
HWY_INLINE FloatVector gradientAt(const math::Neuron& neuron, const ColumnVectors& columns, FloatVector dy,
                                  FloatVector xhat) {
  if constexpr (kType == CNNNeuronType::none) {
    return dy;
  } else {
    const auto z = columns.argument(xhat);
    return hn::Mul(dy, math::HWY_NAMESPACE::neuronDerivative<kType>(MathOps(), neuron, z, hn::Zero(FloatTag())));
  }
}

/// sumsG += g, sumsGXhat += g * xhat
template <CNNNeuronType kType, std::size_t kRows>
void sumRows(const math::Neuron& neuron, const Columns& columns, const RowGroup<kRows>& dy, std::size_t aheadDy,
             const RowGroup<kRows>& x, std::size_t aheadX, float* sumsG, float* sumsGXhat, std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const ColumnVectors c(columns, j, n);
    auto sumG = loadSome(sumsG + j, n), sumGXhat = loadSome(sumsGXhat + j, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      hwy::Prefetch(dy[r] + j + aheadDy);
      hwy::Prefetch(x[r] + j + aheadX);
      const auto xhat = c.xhat(loadSome(x[r] + j, n));
      const auto g = gradientAt<kType>(neuron, c, loadSome(dy[r] + j, n), xhat);
      sumG = hn::Add(sumG, g);
      sumGXhat = hn::MulAdd(g, xhat, sumGXhat);
    }
    storeSome(sumG, sumsG + j, n);
    storeSome(sumGXhat, sumsGXhat + j, n);
  });
}

/// Per column, what the data gradient needs besides: dx = scale * (g - meanG - xhat * meanGXhat)
struct DataColumns {
  const float* scale;  // gamma * s
  const float* meanG;
  const float* meanGXhat;
};

template <CNNNeuronType kType, bool kStream, std::size_t kRows>
void dataRows(const math::Neuron& neuron, const Columns& columns, const DataColumns& data, const RowGroup<kRows>& dy,
              std::size_t aheadDy, const RowGroup<kRows>& x, std::size_t aheadX, const MutableRowGroup<kRows>& dx,
              std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const ColumnVectors c(columns, j, n);
    const auto scale = loadSome(data.scale + j, n);
    const auto meanG = loadSome(data.meanG + j, n), meanGXhat = loadSome(data.meanGXhat + j, n);
    for (std::size_t r = 0; r < kRows; ++r) {
      hwy::Prefetch(dy[r] + j + aheadDy);
      hwy::Prefetch(x[r] + j + aheadX);
      const auto xhat = c.xhat(loadSome(x[r] + j, n));
      const auto g = gradientAt<kType>(neuron, c, loadSome(dy[r] + j, n), xhat);
      put<kStream>(hn::Mul(scale, hn::NegMulAdd(xhat, meanGXhat, hn::Sub(g, meanG))), dx[r] + j, n);
    }
  });
}

void runGradient(const operations::MatrixBatchNormalizationGradient& operation, Context& context) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), input = operation.input.matrix(k);
    const auto forData = operation.resultForData.matrix(k);
    const std::size_t count = input.columns;
    Scratch& scratch = context.scratch;

    auto* const s = scratch.take<float>(count);
    computeScale(floats(operation.variance.vector(k), scratch), operation.epsilon, count, s);
    const Columns columns{floats(operation.mean.vector(k), scratch), s, floats(operation.gamma.vector(k), scratch),
                          floats(operation.beta.vector(k), scratch)};

    const Tiles tiles(input.rows, count, kSegment);
    ColumnSums sums(2, tiles, count, scratch);
    context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
      const auto tile = tiles[index];
      const Columns here = columns.from(tile.columns.begin);
      GroupReader gradientReader(gradient), inputReader(input);
      float* const sumsG = sums.begin(0, tile);
      float* const sumsGXhat = sums.begin(1, tile);
      math::dispatch(operation.neuron.type, [&](auto type) {
        constexpr auto kType = type.value == CNNNeuronType::pReLU ? CNNNeuronType::none : type.value;
        forEachGroup(tile.rows, [&](auto group, std::size_t i) {
          constexpr std::size_t kRows = group.value;
          sumRows<kType, kRows>(operation.neuron, here, gradientReader.rows<kRows>(i, tile.columns),
                                gradientReader.ahead(), inputReader.rows<kRows>(i, tile.columns), inputReader.ahead(),
                                sumsG, sumsGXhat, tile.columns.size());
        });
      });
    });

    auto* const scale = scratch.take<float>(count);
    auto* const meanG = scratch.take<float>(count);
    auto* const meanGXhat = scratch.take<float>(count);
    const auto forGamma = operation.resultForGamma.vector(k), forBeta = operation.resultForBeta.vector(k);
    context.pool.parallelForBlocks(BlockSplit(count, kSegment), [&](BlockRange range) {
      sums.totals(0, range, meanG + range.begin);
      sums.totals(1, range, meanGXhat + range.begin);
      const auto store = [&](const float* values, const operations::VectorView& vector) {
        if (!vector) return;
        fromFloats(values + range.begin, range.size(), vector.type,
                   vector.data + range.begin * sizeOfDataType(vector.type));
      };
      store(meanG, forBeta);
      store(meanGXhat, forGamma);
      const auto rows = static_cast<float>(input.rows);
      for (std::size_t j = range.begin; j < range.end; ++j) {
        scale[j] = columns.gamma ? columns.gamma[j] * s[j] : s[j];
        meanG[j] /= rows;
        meanGXhat[j] /= rows;
      }
    });

    const DataColumns data{scale, meanG, meanGXhat};
    const bool stream = paysToStream(forData) && forData.data != gradient.data && forData.data != input.data;
    context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
      const auto tile = tiles[index];
      const std::size_t first = tile.columns.begin;
      const Columns here = columns.from(first);
      const DataColumns dataHere{data.scale + first, data.meanG + first, data.meanGXhat + first};
      GroupReader gradientReader(gradient), inputReader(input);
      GroupWriter writer(forData);
      math::dispatch(operation.neuron.type, [&](auto type) {
        constexpr auto kType = type.value == CNNNeuronType::pReLU ? CNNNeuronType::none : type.value;
        forEachGroup(tile.rows, [&](auto group, std::size_t i) {
          constexpr std::size_t kRows = group.value;
          const auto rows = stream ? dataRows<kType, kRows == kGroup, kRows> : dataRows<kType, false, kRows>;
          rows(operation.neuron, here, dataHere, gradientReader.rows<kRows>(i, tile.columns), gradientReader.ahead(),
               inputReader.rows<kRows>(i, tile.columns), inputReader.ahead(), writer.rows<kRows>(i, tile.columns),
               tile.columns.size());
          writer.finish<kRows>(i, tile.columns);
        });
      });
      if (stream) hwy::FlushStream();
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runValue);
HWY_EXPORT(runGradient);

void runSimd(const operations::MatrixBatchNormalization& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runValue)(operation, context);
}

void runSimd(const operations::MatrixBatchNormalizationGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
