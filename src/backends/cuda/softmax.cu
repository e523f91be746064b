#include "operations/softmax.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/softmax_row.cuh"

namespace metalloid::cuda {
namespace {

using operations::MatrixSoftMax;
using operations::MatrixSoftMaxGradient;

// One warp a row, in double precision: memory is the limit for rows beyond a few elements.

void runRows(const MatrixSoftMax& o, Context& context) {
  if (o.input.columns == 0) return;
  forEachRow(context, extentOf(o.input), [o] __device__(std::size_t k, std::size_t i, unsigned lane) {
    const SoftMaxRow row = softMaxRow(o.input, k, i, lane);
    const double logarithm = log(row.sum);
    for (std::size_t j = lane; j < o.input.columns; j += 32) {
      const double x = at(o.input, k, i, j) - row.maximum;
      set(o.result, k, i, j, o.logarithm ? x - logarithm : exp(x) / row.sum);
    }
  });
}

void runGradientRows(const MatrixSoftMaxGradient& o, Context& context) {
  forEachRow(context, extentOf(o.gradient), [o] __device__(std::size_t k, std::size_t i, unsigned lane) {
    double sum = 0;
    for (std::size_t j = lane; j < o.gradient.columns; j += 32) {
      const double dy = at(o.gradient, k, i, j);
      sum += o.logarithm ? dy : dy * at(o.forwardOutput, k, i, j);
    }
    sum = warpSum(sum);
    for (std::size_t j = lane; j < o.gradient.columns; j += 32) {
      const double dy = at(o.gradient, k, i, j), y = at(o.forwardOutput, k, i, j);
      set(o.result, k, i, j, o.logarithm ? dy - exp(y) * sum : y * (dy - sum));
    }
  });
}

constexpr std::array<Candidate<MatrixSoftMax>, 1> kCandidates = {{{"warp a row", acceptsAll, runRows}}};
constexpr std::array<Candidate<MatrixSoftMaxGradient>, 1> kGradientCandidates = {
    {{"warp a row", acceptsAll, runGradientRows}}};

}  // namespace

void run(const MatrixSoftMax& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const MatrixSoftMaxGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
