// The labelled cross entropy of the soft-max, loss and gradient in one pass over memory.

#include "operations/softmax_cross_entropy.hpp"

#include <cmath>
#include <cstdint>

#include "backends/cpu/kernels.hpp"
#include "backends/execution_checks.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/softmax_cross_entropy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/softmax_row-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

/// One row: the loss, whether the label's logit is the largest, and the gradient weight * (p - t).
struct RowLoss {
  double loss;
  bool correct;
};

RowLoss crossEntropyRow(const operations::MatrixSoftMaxCrossEntropy& operation, const float* x, std::size_t label,
                        float* scratch, float* gradient, std::size_t count) {
  const FloatTag d;
  const float maximum = rowMaximum(x, count);
  const double sum = exponentials(x, maximum, scratch, count);
  const double logSum = std::log(sum);
  const double smoothing = static_cast<double>(operation.labelSmoothing),
               share = smoothing / static_cast<double>(count);

  // -sum over j of t_j * (x_j - maximum - logSum), with t_j = share + (j == label) * (1 - smoothing)
  const auto shifted = [&](std::size_t j) { return static_cast<double>(x[j]) - static_cast<double>(maximum) - logSum; };
  double loss =
      smoothing == 1 ? 0 : -(1 - smoothing) * shifted(label);  // a term with t = 0 counts 0, never 0 * infinity
  if (operation.labelSmoothing != 0) {
    for (std::size_t j = 0; j < count; ++j) loss -= share * shifted(j);
  }
  // The first of the largest; NaN is smaller than every number.
  std::size_t largest = 0;
  for (std::size_t j = 1; j < count; ++j) {
    if (x[j] > x[largest] || (std::isnan(x[largest]) && !std::isnan(x[j]))) largest = j;
  }

  if (gradient) {
    const auto scale = hn::Set(d, static_cast<float>(static_cast<double>(operation.weight) / sum));
    const auto everywhere = hn::Set(d, static_cast<float>(-static_cast<double>(operation.weight) * share));
    const double target = share + (1 - smoothing);
    const double probability = static_cast<double>(scratch[label]) / sum;
    forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
      storeSome(hn::MulAdd(loadSome(scratch + j, n), scale, everywhere), gradient + j, n);
    });
    gradient[label] = static_cast<float>(static_cast<double>(operation.weight) * (probability - target));
  }
  return {static_cast<double>(operation.weight) * loss, largest == label};
}

void runCrossEntropy(const operations::MatrixSoftMaxCrossEntropy& operation, Context& context) {
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    const auto input = operation.input.matrix(k), forData = operation.resultGradient.matrix(k);
    const auto lossVector = operation.resultLoss.vector(k), correctVector = operation.resultCorrect.vector(k);
    const auto* const labels = reinterpret_cast<const std::uint32_t*>(operation.labels.vector(k).data);
    const std::size_t columns = input.columns;
    const BlockSplit split = rowBlocks(input.rows, columns);
    auto* const buffers = context.scratch.take<float>(split.count() * 3 * columns);
    context.pool.parallelFor(split.count(), [&](std::size_t block) {
      float* const exponentialsOfRow = buffers + block * 3 * columns;
      const WholeRow x(input, exponentialsOfRow + columns), dx(forData, exponentialsOfRow + 2 * columns);
      for (std::size_t i = split[block].begin; i < split[block].end; ++i) {
        const RowLoss row = crossEntropyRow(operation, x.read(i), labels[i], exponentialsOfRow,
                                            forData ? dx.place(i) : nullptr, columns);
        if (forData) dx.finish(i);
        const auto store = [&](const operations::VectorView& vector, float value) {
          if (vector) fromFloats(&value, 1, vector.type, vector.data + i * sizeOfDataType(vector.type));
        };
        store(lossVector, static_cast<float>(row.loss));
        store(correctVector, row.correct ? 1.0f : 0.0f);
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

HWY_EXPORT(runCrossEntropy);

void runSimd(const operations::MatrixSoftMaxCrossEntropy& operation, Context& context) {
  backends::checkLabels(operation);
  HWY_DYNAMIC_DISPATCH(runCrossEntropy)(operation, context);
}

}  // namespace metalloid::cpu
#endif
