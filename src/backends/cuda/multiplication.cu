#include "operations/multiplication.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/products.hpp"

namespace metalloid::cuda {
namespace {

using operations::MatrixMultiplication;
using operations::MatrixVectorMultiplication;

Product productOf(const MatrixMultiplication& o) {
  return {.left = o.left,
          .right = o.right,
          .result = o.result,
          .transposeLeft = o.transposeLeft,
          .transposeRight = o.transposeRight,
          .alpha = o.alpha,
          .beta = o.beta,
          .allowReducedPrecision = o.allowReducedPrecision};
}

const char* refusesSplit(const MatrixMultiplication& o, const Context& context) {
  return refusesSplitProduct(productOf(o), context);
}
const char* refusesNarrow(const MatrixMultiplication& o, const Context&) { return refusesNarrowProduct(productOf(o)); }
const char* refusesLibrary(const MatrixMultiplication& o, const Context&) {
  return refusesLibraryProduct(productOf(o));
}
void runSplit(const MatrixMultiplication& o, Context& context) { runSplitProduct(productOf(o), context); }
void runNarrow(const MatrixMultiplication& o, Context& context) { runNarrowProduct(productOf(o), context); }
void runLibrary(const MatrixMultiplication& o, Context& context) { runLibraryProduct(productOf(o), context); }
void runPlain(const MatrixMultiplication& o, Context& context) { runPlainProduct(productOf(o), context); }

/// One warp an element of the result.
void runRows(const MatrixVectorMultiplication& o, Context& context) {
  forEachRow(context, {o.matrix.matrices, o.result.length, 1},
             [o] __device__(std::size_t k, std::size_t i, unsigned lane) {
               double sum = 0;
               for (std::size_t j = lane; j < o.input.length; j += 32) {
                 sum = fma(o.transpose ? at(o.matrix, k, j, i) : at(o.matrix, k, i, j), at(o.input, k, j), sum);
               }
               sum = warpSum(sum);
               if (lane == 0) set(o.result, k, i, o.alpha * sum + (o.beta == 0 ? 0 : o.beta * at(o.result, k, i)));
             });
}

constexpr std::array<Candidate<MatrixMultiplication>, 4> kCandidates = {
    {{"split precision on tensor cores", refusesSplit, runSplit},
     {"few outputs", refusesNarrow, runNarrow},
     {"cuBLASLt", refusesLibrary, runLibrary},
     {"plain", acceptsAll, runPlain}}};
constexpr std::array<Candidate<MatrixVectorMultiplication>, 1> kVectorCandidates = {
    {{"warp a row", acceptsAll, runRows}}};

}  // namespace

void run(const MatrixMultiplication& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const MatrixVectorMultiplication& operation, Context& context, Explainer* explainer) {
  runOrExplain(kVectorCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
