#pragma once

#include "backends/cpu/scratch.hpp"
#include "backends/cpu/thread_pool.hpp"
#include "math/neuron.hpp"
#include "operations/operation.hpp"

#include <cstddef>

namespace metalloid::cpu {

/// What an implementation may use while it runs.
struct Context {
  ThreadPool& pool;
  Scratch& scratch;
};

// The implementations, each in the file of its operation's name.

void runGemm(const operations::MatrixFullyConnected& operation, Context& context);
void runGemm(const operations::MatrixFullyConnectedGradientForData& operation, Context& context);
void runGemm(const operations::MatrixFullyConnectedGradientForWeightsAndBias& operation, Context& context);
void runGemm(const operations::MatrixMultiplication& operation, Context& context);
void runGemm(const operations::MatrixVectorMultiplication& operation, Context& context);

void runSimd(const operations::MatrixNeuron& operation, Context& context);
void runSimd(const operations::MatrixNeuronGradient& operation, Context& context);
void runSimd(const operations::MatrixBatchNormalization& operation, Context& context);
void runSimd(const operations::MatrixBatchNormalizationGradient& operation, Context& context);
void runSimd(const operations::MatrixSoftMax& operation, Context& context);
void runSimd(const operations::MatrixSoftMaxGradient& operation, Context& context);
void runSimd(const operations::MatrixSoftMaxCrossEntropy& operation, Context& context);
void runSimd(const operations::OptimizerStochasticGradientDescent& operation, Context& context);
void runSimd(const operations::OptimizerRMSProp& operation, Context& context);
void runSimd(const operations::OptimizerAdam& operation, Context& context);

void runSimd(const operations::CNNNeuron& operation, Context& context);
void runSimd(const operations::CNNNeuronGradient& operation, Context& context);
void runSimd(const operations::CNNSubPixel& operation, Context& context);
void runSimd(const operations::CNNSpatialNormalization& operation, Context& context);
const char* refusesSimd(const operations::CNNSpatialNormalizationGradient& operation, const Context& context);
void runSimd(const operations::CNNSpatialNormalizationGradient& operation, Context& context);
void runSimd(const operations::CNNLocalContrastNormalization& operation, Context& context);
const char* refusesSimd(const operations::CNNLocalContrastNormalizationGradient& operation, const Context& context);
void runSimd(const operations::CNNLocalContrastNormalizationGradient& operation, Context& context);
void runSimd(const operations::CNNCrossChannelNormalization& operation, Context& context);
void runSimd(const operations::CNNCrossChannelNormalizationGradient& operation, Context& context);
void runSimd(const operations::CNNBatchNormalizationStatistics& operation, Context& context);
void runSimd(const operations::CNNBatchNormalization& operation, Context& context);
void runSimd(const operations::CNNBatchNormalizationStatisticsGradient& operation, Context& context);
void runSimd(const operations::CNNBatchNormalizationGradient& operation, Context& context);
void runSimd(const operations::CNNGroupNormalization& operation, Context& context);
void runSimd(const operations::CNNGroupNormalizationGradient& operation, Context& context);

void runSimd(const operations::CNNArithmetic& operation, Context& context);
void runSimd(const operations::CNNArithmeticGradient& operation, Context& context);

const char* refusesSimd(const operations::CNNPooling& operation, const Context& context);
void runSimd(const operations::CNNPooling& operation, Context& context);
const char* refusesSimd(const operations::CNNPoolingGradient& operation, const Context& context);
void runSimd(const operations::CNNPoolingGradient& operation, Context& context);
void runSimd(const operations::CNNUpsampling& operation, Context& context);
void runSimd(const operations::CNNUpsamplingGradient& operation, Context& context);

void runSimd(const operations::ImageCopy& operation, Context& context);
void runSimd(const operations::ImageFill& operation, Context& context);
void runSimd(const operations::NNReshape& operation, Context& context);

const char* refusesGemm(const operations::CNNConvolution& operation, const Context& context);
void runGemm(const operations::CNNConvolution& operation, Context& context);
const char* refusesGemm(const operations::CNNConvolutionGradientForData& operation, const Context& context);
void runGemm(const operations::CNNConvolutionGradientForData& operation, Context& context);
const char* refusesGemm(const operations::CNNConvolutionGradientForWeightsAndBias& operation, const Context& context);
void runGemm(const operations::CNNConvolutionGradientForWeightsAndBias& operation, Context& context);
const char* refusesSimd(const operations::NNReduce& operation, const Context& context);
void runSimd(const operations::NNReduce& operation, Context& context);
void runSimd(const operations::NNReduceWeighted& operation, Context& context);
void runSimd(const operations::NNReductionSpatialMeanGradient& operation, Context& context);

void runSimd(const operations::CNNSoftMax& operation, Context& context);
void runSimd(const operations::CNNSoftMaxGradient& operation, Context& context);
void runSimd(const operations::CNNDropout& operation, Context& context);
void runSimd(const operations::CNNDropoutGradient& operation, Context& context);
void runSimd(const operations::CNNLoss& operation, Context& context);
void runSimd(const operations::NNLossGradient& operation, Context& context);

const char* refusesSimd(const operations::MatrixSum& operation, const Context& context);
void runSimd(const operations::MatrixSum& operation, Context& context);
const char* refusesRows(const operations::MatrixCopy& operation, const Context& context);
void runRows(const operations::MatrixCopy& operation, Context& context);
void runThreads(const operations::MatrixFindTopK& operation, Context& context);
void runThreads(const operations::MatrixRandom& operation, Context& context);

/// values = f(values), in place: the end of a product whose rows are still in the cache. `slopes`, one for each value,
/// are given for PReLU only.
void applyNeuron(const math::Neuron& neuron, float* values, std::size_t count, const float* slopes = nullptr);

}  // namespace metalloid::cpu
