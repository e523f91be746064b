#include "operations/fully_connected.hpp"

#include "backends/cuda/columns.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/products.hpp"

namespace metalloid::cuda {
namespace {

using operations::MatrixFullyConnected;
using operations::MatrixFullyConnectedGradientForData;
using operations::MatrixFullyConnectedGradientForWeightsAndBias;

Product productOf(const MatrixFullyConnected& o) {
  return {.left = o.input,
          .right = o.weights,
          .result = o.result,
          .bias = o.bias,
          .alpha = o.alpha,
          .neuron = o.neuron,
          .allowReducedPrecision = o.allowReducedPrecision};
}

Product productOf(const MatrixFullyConnectedGradientForData& o) {
  return {.left = o.gradient,
          .right = o.weights,
          .result = o.result,
          .transposeRight = true,
          .alpha = o.alpha,
          .allowReducedPrecision = o.allowReducedPrecision};
}

Product productOf(const MatrixFullyConnectedGradientForWeightsAndBias& o) {
  return {.left = o.input,
          .right = o.gradient,
          .result = o.resultForWeights,
          .transposeLeft = true,
          .alpha = o.alpha,
          .allowReducedPrecision = o.allowReducedPrecision};
}

template <class Operation>
const char* refusesSplit(const Operation& o, const Context& context) {
  return refusesSplitProduct(productOf(o), context);
}

template <class Operation>
const char* refusesNarrow(const Operation& o, const Context&) {
  return refusesNarrowProduct(productOf(o));
}

template <class Operation>
const char* refusesLibrary(const Operation& o, const Context&) {
  return refusesLibraryProduct(productOf(o));
}

void runBias(const MatrixFullyConnected&, Context&) {}
void runBias(const MatrixFullyConnectedGradientForData&, Context&) {}
void runBias(const MatrixFullyConnectedGradientForWeightsAndBias& o, Context& context) {
  if (o.resultForBias) sumColumns(o.gradient, o.resultForBias, context);
}

template <class Operation>
void runSplit(const Operation& o, Context& context) {
  runSplitProduct(productOf(o), context);
  runBias(o, context);
}

template <class Operation>
void runNarrow(const Operation& o, Context& context) {
  runNarrowProduct(productOf(o), context);
  runBias(o, context);
}

template <class Operation>
void runLibrary(const Operation& o, Context& context) {
  runLibraryProduct(productOf(o), context);
  runBias(o, context);
}

template <class Operation>
void runPlain(const Operation& o, Context& context) {
  runPlainProduct(productOf(o), context);
  runBias(o, context);
}

template <class Operation>
constexpr std::array<Candidate<Operation>, 4> kCandidates = {
    {{"split precision on tensor cores", refusesSplit<Operation>, runSplit<Operation>},
     {"few outputs", refusesNarrow<Operation>, runNarrow<Operation>},
     {"cuBLASLt", refusesLibrary<Operation>, runLibrary<Operation>},
     {"plain", acceptsAll, runPlain<Operation>}}};

}  // namespace

void run(const MatrixFullyConnected& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<MatrixFullyConnected>, operation, context, explainer);
}

void run(const MatrixFullyConnectedGradientForData& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<MatrixFullyConnectedGradientForData>, operation, context, explainer);
}

void run(const MatrixFullyConnectedGradientForWeightsAndBias& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<MatrixFullyConnectedGradientForWeightsAndBias>, operation, context, explainer);
}

}  // namespace metalloid::cuda
