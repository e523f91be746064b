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

#include <concepts>
#include <variant>

namespace metalloid::operations {

/// What an operation can be: the plain data of each, checked before it is recorded.
using AnyOperation = std::variant<
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

/// Everything that crosses from the front end to a back end. A class of its own, because what a variant of so many
/// types needs in order to be made, moved and destroyed is compiled once, in operation.cpp, and not for each kernel.
class Operation : public AnyOperation {
 public:
  /// For each alternative.
  template <class Alternative>
  requires(!std::derived_from<Alternative, AnyOperation>) Operation(Alternative operation)
  noexcept;  // NOLINT(google-explicit-constructor): as a variant's

  Operation(const Operation& other);
  Operation(Operation&& other) noexcept;
  Operation& operator=(const Operation& other);
  Operation& operator=(Operation&& other) noexcept;
  ~Operation();
};

}  // namespace metalloid::operations
