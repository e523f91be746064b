// Soft-max, log-soft-max and their gradients, row by row. A row stays in the cache for its sweeps; memory sees one read
// of each source and one write.

#include "operations/softmax.hpp"

#include <cmath>
#include <initializer_list>

#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/softmax_row-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

void softMaxRow(bool logarithm, const float* x, float* y, std::size_t count) {
  const FloatTag d;
  const float maximum = rowMaximum(x, count);
  if (logarithm) {
    const MathOps ops;
    RowSum sum;
    forEachVector(count, [&](std::size_t j, std::size_t n)
                             HWY_ATTR { sum.add(ops.exp(hn::Sub(loadSome(x + j, n), hn::Set(d, maximum))), n); });
    const auto logSum = hn::Set(d, static_cast<float>(std::log(sum.total())));
    forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      storeSome(hn::Sub(hn::Sub(loadSome(x + j, n), hn::Set(d, maximum)), logSum), y + j, n);
    });
  } else {
    const auto scale = hn::Set(d, static_cast<float>(1 / exponentials(x, maximum, y, count)));
    forEachVector(
        count, [&](std::size_t j, std::size_t n) HWY_ATTR { storeSome(hn::Mul(loadSome(y + j, n), scale), y + j, n); });
  }
}

void gradientRow(bool logarithm, const float* dy, const float* y, float* dx, std::size_t count) {
  const FloatTag d;
  const MathOps ops;
  RowSum sum;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto gradient = loadSome(dy + j, n);
    sum.add(logarithm ? gradient : hn::Mul(gradient, loadSome(y + j, n)), n);
  });
  const auto total = hn::Set(d, static_cast<float>(sum.total()));
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto gradient = loadSome(dy + j, n), output = loadSome(y + j, n);
    storeSome(logarithm ? hn::NegMulAdd(ops.exp(output), total, gradient) : hn::Mul(output, hn::Sub(gradient, total)),
              dx + j, n);
  });
}

/// Buffers for converted rows, `views.size()` of them for each block; none when every view is float32.
float* rowBuffers(std::initializer_list<const operations::MatrixView*> views, std::size_t blocks, Context& context) {
  bool isFloat = true;
  for (const auto* const view : views) isFloat = isFloat && view->type == DataType::float32;
  return isFloat ? nullptr : context.scratch.take<float>(blocks * views.size() * (*views.begin())->columns);
}

void runSoftMax(const operations::MatrixSoftMax& operation, Context& context) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), result = operation.result.matrix(k);
    if (input.columns == 0) continue;
    const BlockSplit split = rowBlocks(input.rows, input.columns);
    float* const buffers = rowBuffers({&input, &result}, split.count(), context);
    context.pool.parallelFor(split.count(), [&](std::size_t block) {
      float* const buffer = buffers ? buffers + block * 2 * input.columns : nullptr;
      const WholeRow x(input, buffer), y(result, buffers ? buffer + input.columns : nullptr);
      for (std::size_t i = split[block].begin; i < split[block].end; ++i) {
        softMaxRow(operation.logarithm, x.read(i), y.place(i), input.columns);
        y.finish(i);
      }
    });
  }
}

void runSoftMaxGradient(const operations::MatrixSoftMaxGradient& operation, Context& context) {
  for (std::size_t k = 0; k < operation.gradient.matrices; ++k) {
    const auto gradient = operation.gradient.matrix(k), output = operation.forwardOutput.matrix(k);
    const auto result = operation.result.matrix(k);
    const std::size_t columns = gradient.columns;
    if (columns == 0) continue;
    const BlockSplit split = rowBlocks(gradient.rows, columns);
    float* const buffers = rowBuffers({&gradient, &output, &result}, split.count(), context);
    context.pool.parallelFor(split.count(), [&](std::size_t block) {
      float* const buffer = buffers ? buffers + block * 3 * columns : nullptr;
      const WholeRow dy(gradient, buffer), y(output, buffers ? buffer + columns : nullptr);
      const WholeRow dx(result, buffers ? buffer + 2 * columns : nullptr);
      for (std::size_t i = split[block].begin; i < split[block].end; ++i) {
        gradientRow(operation.logarithm, dy.read(i), y.read(i), dx.place(i), columns);
        dx.finish(i);
      }
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runSoftMax);
HWY_EXPORT(runSoftMaxGradient);

void runSimd(const operations::MatrixSoftMax& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runSoftMax)(operation, context);
}

void runSimd(const operations::MatrixSoftMaxGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runSoftMaxGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
