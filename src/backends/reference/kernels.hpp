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

}  // namespace metalloid::reference
