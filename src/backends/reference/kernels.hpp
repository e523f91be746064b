#pragma once

#include "operations/operation.hpp"

/// The oracle: plain loops with double accumulators, one function an operation, in the files of the same names.
namespace metalloid::reference {

void run(const operations::MatrixFullyConnected& operation);
void run(const operations::MatrixFullyConnectedGradientForData& operation);
void run(const operations::MatrixFullyConnectedGradientForWeightsAndBias& operation);
void run(const operations::MatrixNeuron& operation);
void run(const operations::MatrixNeuronGradient& operation);
void run(const operations::MatrixBatchNormalization& operation);
void run(const operations::MatrixBatchNormalizationGradient& operation);
void run(const operations::MatrixSoftMax& operation);
void run(const operations::MatrixSoftMaxGradient& operation);
void run(const operations::MatrixSoftMaxCrossEntropy& operation);
void run(const operations::MatrixMultiplication& operation);
void run(const operations::MatrixVectorMultiplication& operation);
void run(const operations::MatrixSum& operation);
void run(const operations::MatrixCopy& operation);
void run(const operations::MatrixFindTopK& operation);
void run(const operations::MatrixRandom& operation);
void run(const operations::OptimizerStochasticGradientDescent& operation);
void run(const operations::OptimizerRMSProp& operation);
void run(const operations::OptimizerAdam& operation);

void run(const operations::CNNNeuron& operation);
void run(const operations::CNNNeuronGradient& operation);
void run(const operations::CNNConvolution& operation);
void run(const operations::CNNConvolutionGradientForData& operation);
void run(const operations::CNNConvolutionGradientForWeightsAndBias& operation);
void run(const operations::CNNSubPixel& operation);
void run(const operations::CNNPooling& operation);
void run(const operations::CNNPoolingGradient& operation);
void run(const operations::CNNBatchNormalizationStatistics& operation);
void run(const operations::CNNBatchNormalization& operation);
void run(const operations::CNNBatchNormalizationStatisticsGradient& operation);
void run(const operations::CNNBatchNormalizationGradient& operation);
void run(const operations::CNNGroupNormalization& operation);
void run(const operations::CNNGroupNormalizationGradient& operation);
void run(const operations::CNNSpatialNormalization& operation);
void run(const operations::CNNSpatialNormalizationGradient& operation);
void run(const operations::CNNLocalContrastNormalization& operation);
void run(const operations::CNNLocalContrastNormalizationGradient& operation);
void run(const operations::CNNCrossChannelNormalization& operation);
void run(const operations::CNNCrossChannelNormalizationGradient& operation);
void run(const operations::CNNSoftMax& operation);
void run(const operations::CNNSoftMaxGradient& operation);
void run(const operations::CNNDropout& operation);
void run(const operations::CNNDropoutGradient& operation);
void run(const operations::CNNArithmetic& operation);
void run(const operations::CNNArithmeticGradient& operation);
void run(const operations::ImageCopy& operation);
void run(const operations::ImageFill& operation);
void run(const operations::NNReshape& operation);
void run(const operations::CNNUpsampling& operation);
void run(const operations::CNNUpsamplingGradient& operation);
void run(const operations::NNReduce& operation);
void run(const operations::NNReduceWeighted& operation);
void run(const operations::NNReductionSpatialMeanGradient& operation);
void run(const operations::CNNLoss& operation);
void run(const operations::NNLossGradient& operation);

}  // namespace metalloid::reference
