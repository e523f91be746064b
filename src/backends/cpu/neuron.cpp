// MatrixNeuron: one pass over memory (read x, write y).
// MatrixNeuronGradient: one pass (read dy and x, write dx) that also gathers the bias gradient.

#include "math/neuron.hpp"

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/neuron.cpp"
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

/// What the neuron is applied to: z = alpha * x + bias. Absent vectors cost nothing: the choice is made once.
struct Argument {
  float alpha;
  const float* bias;    // of this segment, or null
  const float* slopes;  // of this segment, for PReLU
};

HWY_INLINE FloatVector argumentAt(const Argument& argument, FloatVector x, std::size_t j, std::size_t count) {
  const auto alpha = hn::Set(FloatTag(), argument.alpha);
  if (!argument.bias) return hn::Mul(alpha, x);
  return hn::MulAdd(alpha, x, loadSome(argument.bias + j, count));
}

HWY_INLINE FloatVector slopesAt(const Argument& argument, std::size_t j, std::size_t count) {
  return argument.slopes ? loadSome(argument.slopes + j, count) : hn::Zero(FloatTag());
}

template <CNNNeuronType kType>
void valueRow(const math::Neuron& neuron, const Argument& argument, const float* x, float* y, std::size_t count) {
  const MathOps ops;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto z = argumentAt(argument, loadSome(x + j, n), j, n);
    storeSome(math::HWY_NAMESPACE::neuronValue<kType>(ops, neuron, z, slopesAt(argument, j, n)), y + j, n);
  });
}

/// dx = alpha * dy * f'(z), and sums += dy * f'(z) where sums are wanted.
template <CNNNeuronType kType, bool kSums, bool kStream>
void gradientRow(const math::Neuron& neuron, const Argument& argument, const float* dy, const float* x, float* dx,
                 float* sums, std::size_t count, std::size_t aheadDy, std::size_t aheadX) {
  const FloatTag d;
  const MathOps ops;
  const auto alpha = hn::Set(d, argument.alpha);
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    hwy::Prefetch(dy + j + aheadDy);
    hwy::Prefetch(x + j + aheadX);
    const auto z = argumentAt(argument, loadSome(x + j, n), j, n);
    const auto g = hn::Mul(loadSome(dy + j, n),
                           math::HWY_NAMESPACE::neuronDerivative<kType>(ops, neuron, z, slopesAt(argument, j, n)));
    if constexpr (kSums) storeSome(hn::Add(loadSome(sums + j, n), g), sums + j, n);
    if (kStream && n == hn::Lanes(d)) {
      hn::Stream(hn::Mul(alpha, g), d, dx + j);
    } else {
      storeSome(hn::Mul(alpha, g), dx + j, n);
    }
  });
}

void runValue(const operations::MatrixNeuron& operation, Context& context) {
  const float* const slopes = reinterpret_cast<const float*>(operation.slopes.data);
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    const float* const bias = floats(operation.bias.vector(k), context.scratch);
    const Tiles tiles(input.rows, input.columns, kSegment);
    context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
      const auto tile = tiles[index];
      const std::size_t first = tile.columns.begin;
      const Argument argument{static_cast<float>(operation.alpha), bias ? bias + first : nullptr,
                              slopes ? slopes + first : nullptr};
      RowReader reader(input);
      RowWriter writer(result);
      math::dispatch(operation.neuron.type, [&](auto type) {
        for (std::size_t i = tile.rows.begin; i < tile.rows.end; ++i) {
          valueRow<type.value>(operation.neuron, argument, reader.row(i, tile.columns), writer.row(i, tile.columns),
                               tile.columns.size());
          writer.finish(i, tile.columns);
        }
      });
    });
  }
}

void runGradient(const operations::MatrixNeuronGradient& operation, Context& context) {
  const float* const slopes = reinterpret_cast<const float*>(operation.slopes.data);
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), input = operation.input.matrix(k);
    const auto forData = operation.resultForData.matrix(k);
    const auto forBias = operation.resultForBias.vector(k);
    const float* const bias = floats(operation.bias.vector(k), context.scratch);
    const Tiles tiles(gradient.rows, gradient.columns, kSegment);
    ColumnSums sums(forBias ? 1 : 0, tiles, gradient.columns, context.scratch);
    const bool stream = paysToStream(forData) && forData.data != gradient.data && forData.data != input.data;
    context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
      const auto tile = tiles[index];
      const std::size_t first = tile.columns.begin, count = tile.columns.size();
      const Argument argument{static_cast<float>(operation.alpha), bias ? bias + first : nullptr,
                              slopes ? slopes + first : nullptr};
      RowReader gradientReader(gradient), inputReader(input);
      RowWriter writer(forData);
      float* const partial = sums.begin(0, tile);
      math::dispatch(operation.neuron.type, [&](auto type) {
        const auto rows = [&](auto row) {
          for (std::size_t i = tile.rows.begin; i < tile.rows.end; ++i) {
            row(operation.neuron, argument, gradientReader.row(i, tile.columns), inputReader.row(i, tile.columns),
                writer.row(i, tile.columns), partial, count, gradientReader.ahead(), inputReader.ahead());
            writer.finish(i, tile.columns);
          }
        };
        if (partial) {
          stream ? rows(gradientRow<type.value, true, true>) : rows(gradientRow<type.value, true, false>);
        } else {
          stream ? rows(gradientRow<type.value, false, true>) : rows(gradientRow<type.value, false, false>);
        }
      });
      if (stream) hwy::FlushStream();
    });
    if (forBias) sums.store(0, forBias, context.pool);
  }
}

void applyToRow(const math::Neuron& neuron, float* values, std::size_t count, const float* slopes) {
  const Argument argument{1, nullptr, slopes};
  math::dispatch(neuron.type, [&](auto type) { valueRow<type.value>(neuron, argument, values, values, count); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runValue);
HWY_EXPORT(runGradient);
HWY_EXPORT(applyToRow);

void runSimd(const operations::MatrixNeuron& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runValue)(operation, context);
}

void runSimd(const operations::MatrixNeuronGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runGradient)(operation, context);
}

void applyNeuron(const math::Neuron& neuron, float* values, std::size_t count, const float* slopes) {
  HWY_DYNAMIC_DISPATCH(applyToRow)(neuron, values, count, slopes);
}

}  // namespace metalloid::cpu
#endif
