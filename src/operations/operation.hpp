#pragma once

#include "operations/batch_normalization.hpp"
#include "operations/cnn_arithmetic.hpp"
#include "operations/cnn_batch_normalization.hpp"
#include "operations/cnn_convolution.hpp"
#include "operations/cnn_dropout.hpp"
#include "operations/cnn_group_normalization.hpp"
#include "operations/cnn_local_normalization.hpp"
#include "operations/cnn_loss.hpp"
#include "operations/cnn_neuron.hpp"
#include "operations/cnn_pooling.hpp"
#include "operations/cnn_softmax.hpp"
#include "operations/cnn_upsampling.hpp"
#include "operations/copy.hpp"
#include "operations/find_top_k.hpp"
#include "operations/fully_connected.hpp"
#include "operations/image_copy.hpp"
#include "operations/multiplication.hpp"
#include "operations/neuron.hpp"
#include "operations/nn_reduce.hpp"
#include "operations/optimizer.hpp"
#include "operations/random.hpp"
#include "operations/softmax.hpp"
#include "operations/softmax_cross_entropy.hpp"
#include "operations/sum.hpp"

#include <variant>

namespace metalloid::operations {

/// Everything that crosses from the front end to a back end: plain data, checked before it is recorded.
using Operation = std::variant<
    MatrixFullyConnected, MatrixFullyConnectedGradientForData, MatrixFullyConnectedGradientForWeightsAndBias,
    MatrixNeuron, MatrixNeuronGradient, MatrixBatchNormalization, MatrixBatchNormalizationGradient, MatrixSoftMax,
    MatrixSoftMaxGradient, MatrixSoftMaxCrossEntropy, MatrixMultiplication, MatrixVectorMultiplication, MatrixSum,
    MatrixCopy, MatrixFindTopK, MatrixRandom, OptimizerStochasticGradientDescent, OptimizerRMSProp, OptimizerAdam,
    // image kernels
    CNNNeuron, CNNNeuronGradient, CNNConvolution, CNNConvolutionGradientForData,
    CNNConvolutionGradientForWeightsAndBias, CNNSubPixel, CNNPooling, CNNPoolingGradient,
    CNNBatchNormalizationStatistics, CNNBatchNormalization, CNNBatchNormalizationStatisticsGradient,
    CNNBatchNormalizationGradient, CNNGroupNormalization, CNNGroupNormalizationGradient, CNNSpatialNormalization,
    CNNSpatialNormalizationGradient, CNNLocalContrastNormalization, CNNLocalContrastNormalizationGradient,
    CNNCrossChannelNormalization, CNNCrossChannelNormalizationGradient, CNNSoftMax, CNNSoftMaxGradient, CNNDropout,
    CNNDropoutGradient, CNNArithmetic, CNNArithmeticGradient, ImageCopy, ImageFill, NNReshape, CNNUpsampling,
    CNNUpsamplingGradient, NNReduce, NNReduceWeighted, NNReductionSpatialMeanGradient, CNNLoss, NNLossGradient>;

}  // namespace metalloid::operations
