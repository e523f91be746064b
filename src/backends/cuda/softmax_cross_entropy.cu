#include "operations/softmax_cross_entropy.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/softmax_row.cuh"

namespace metalloid::cuda {
namespace {

using operations::MatrixSoftMaxCrossEntropy;

/// Whether (x, i) comes before (y, j) as the largest: NaN is smaller than every number, equals go by column.
__device__ bool comesFirst(double x, std::size_t i, double y, std::size_t j) {
  if (isnan(x) != isnan(y)) return isnan(y);
  if (x > y || x < y) return x > y;
  return i < j;
}

void runRows(const MatrixSoftMaxCrossEntropy& o, Context& context) {
  std::uint32_t* const violation = context.violation;
  const std::uint32_t place = context.operation;
  forEachElement(context, {o.input.matrices, 1, o.input.rows},
                 [o, violation, place] __device__(std::size_t k, std::size_t, std::size_t i) {
                   if (word(o.labels, k, i) >= o.input.columns) atomicMin(violation, place);
                 });
  const double spread = o.input.columns == 0 ? 0 : double{o.labelSmoothing} / static_cast<double>(o.input.columns);
  forEachRow(context, extentOf(o.input),
             [o, violation, spread] __device__(std::size_t k, std::size_t i, unsigned lane) {
               if (hasViolation(violation)) return;
               const std::uint32_t label = word(o.labels, k, i);
               const SoftMaxRow row = softMaxRow(o.input, k, i, lane);
               if (o.resultCorrect.data) {
                 double best = at(o.input, k, i, 0);
                 std::uint32_t column = 0;
                 const auto take = [&](double x, std::uint32_t j) {
                   if (!comesFirst(x, j, best, column)) return;
                   best = x;
                   column = j;
                 };
                 for (std::size_t j = lane; j < o.input.columns; j += 32)
                   take(at(o.input, k, i, j), static_cast<std::uint32_t>(j));
                 for (int offset = 16; offset > 0; offset /= 2) {
                   const double x = __shfl_xor_sync(0xffffffffu, best, offset);
                   take(x, __shfl_xor_sync(0xffffffffu, column, offset));
                 }
                 if (lane == 0) set(o.resultCorrect, k, i, column == label ? 1 : 0);
               }
               const double logarithm = log(row.sum);
               double loss = 0;
               for (std::size_t j = lane; j < o.input.columns; j += 32) {
                 const double x = at(o.input, k, i, j) - row.maximum;
                 const double t = (j == label ? 1 - double{o.labelSmoothing} : 0) + spread;
                 if (t != 0) loss -= t * (x - logarithm);  // 0 * infinity is 0 here
                 if (o.resultGradient.data) set(o.resultGradient, k, i, j, double{o.weight} * (exp(x) / row.sum - t));
               }
               loss = warpSum(loss);
               if (o.resultLoss.data && lane == 0) set(o.resultLoss, k, i, double{o.weight} * loss);
             });
}

constexpr std::array<Candidate<MatrixSoftMaxCrossEntropy>, 1> kCandidates = {
    {{"warp a row, fused", acceptsAll, runRows}}};

}  // namespace

void run(const MatrixSoftMaxCrossEntropy& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
