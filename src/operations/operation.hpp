#pragma once

#include "operations/batch_normalization.hpp"
#include "operations/copy.hpp"
#include "operations/find_top_k.hpp"
#include "operations/fully_connected.hpp"
#include "operations/multiplication.hpp"
#include "operations/neuron.hpp"
#include "operations/optimizer.hpp"
#include "operations/random.hpp"
#include "operations/softmax.hpp"
#include "operations/softmax_cross_entropy.hpp"
#include "operations/sum.hpp"

#include <variant>

namespace metalloid::operations {

/// Everything that crosses from the front end to a back end: plain data, checked before it is recorded.
using Operation =
    std::variant<MatrixFullyConnected, MatrixFullyConnectedGradientForData,
                 MatrixFullyConnectedGradientForWeightsAndBias, MatrixNeuron, MatrixNeuronGradient,
                 MatrixBatchNormalization, MatrixBatchNormalizationGradient, MatrixSoftMax, MatrixSoftMaxGradient,
                 MatrixSoftMaxCrossEntropy, MatrixMultiplication, MatrixVectorMultiplication, MatrixSum, MatrixCopy,
                 MatrixFindTopK, MatrixRandom, OptimizerStochasticGradientDescent, OptimizerRMSProp, OptimizerAdam>;

}  // namespace metalloid::operations
