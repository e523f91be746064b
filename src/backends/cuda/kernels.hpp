#pragma once

#include "backends/cuda/context.hpp"
#include "backends/cuda/groups.hpp"
#include "operations/operation.hpp"

#include <array>

/// One function an operation, in the files of the same names: the candidates from fastest to plain, as on the
/// processor. The plain kernels take every type, stride and size.
namespace metalloid::cuda {

/// What to do with the candidates of an operation: run the first that accepts, or name it and the refusals.
struct Explainer {
  const char* implementation = "";
  void* context = nullptr;
  void (*refusal)(void* context, const char* implementation, const char* reason) = nullptr;
};

/// As detail::Candidate, in a file that nvcc compiles.
template <class Operation>
struct Candidate {
  const char* name;
  const char* (*refuses)(const Operation&, const Context&);  // why not, in a few words; nullptr: accepts
  void (*run)(const Operation&, Context&);
};

/// For the last candidate of a list.
template <class Operation>
const char* acceptsAll(const Operation&, const Context&) {
  return nullptr;
}

/// The list of an operation that has but one implementation.
template <class Operation, void (*kRun)(const Operation&, Context&)>
constexpr std::array<Candidate<Operation>, 1> kPlainOnly = {{{"plain", acceptsAll, kRun}}};

/// Runs the first candidate that accepts, or, given an explainer, only tells which one would.
template <class Operation, std::size_t kCount>
void runOrExplain(const std::array<Candidate<Operation>, kCount>& candidates, const Operation& operation,
                  Context& context, Explainer* explainer) {
  for (const auto& candidate : candidates) {
    const char* const reason = candidate.refuses(operation, context);
    if (!reason) {
      if (explainer) {
        explainer->implementation = candidate.name;
      } else {
        candidate.run(operation, context);
      }
      return;
    }
    if (explainer) explainer->refusal(explainer->context, candidate.name, reason);
  }
}

void run(const operations::MatrixFullyConnected& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixFullyConnectedGradientForData& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::MatrixFullyConnectedGradientForWeightsAndBias& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::MatrixNeuron& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixNeuronGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixBatchNormalization& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixBatchNormalizationGradient& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::MatrixSoftMax& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixSoftMaxGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixSoftMaxCrossEntropy& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixMultiplication& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixVectorMultiplication& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixSum& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixCopy& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixFindTopK& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::MatrixRandom& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::OptimizerStochasticGradientDescent& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::OptimizerRMSProp& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::OptimizerAdam& operation, Context& context, Explainer* explainer = nullptr);
/// One launch for updates that are a group of `groupsOf`; results are those of one launch each, to the bit.
void runTogether(Operations updates, Context& context);

void run(const operations::CNNNeuron& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNNeuronGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNConvolution& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNConvolutionGradientForData& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNConvolutionGradientForWeightsAndBias& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::CNNSubPixel& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNPooling& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNPoolingGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNBatchNormalizationStatistics& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::CNNBatchNormalization& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNBatchNormalizationStatisticsGradient& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::CNNBatchNormalizationGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNGroupNormalization& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNGroupNormalizationGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNSpatialNormalization& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNSpatialNormalizationGradient& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::CNNLocalContrastNormalization& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNLocalContrastNormalizationGradient& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::CNNCrossChannelNormalization& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNCrossChannelNormalizationGradient& operation, Context& context,
         Explainer* explainer = nullptr);
void run(const operations::CNNSoftMax& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNSoftMaxGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNDropout& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNDropoutGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNArithmetic& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNArithmeticGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::ImageCopy& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::ImageFill& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::NNReshape& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNUpsampling& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNUpsamplingGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::NNReduce& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::NNReduceWeighted& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::NNReductionSpatialMeanGradient& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::CNNLoss& operation, Context& context, Explainer* explainer = nullptr);
void run(const operations::NNLossGradient& operation, Context& context, Explainer* explainer = nullptr);

}  // namespace metalloid::cuda
