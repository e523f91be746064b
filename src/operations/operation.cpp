#include "operations/operation.hpp"

#include <utility>

namespace metalloid::operations {

Operation::Operation(const Operation& other) = default;
Operation::Operation(Operation&& other) noexcept = default;
Operation& Operation::operator=(const Operation& other) = default;
Operation& Operation::operator=(Operation&& other) noexcept = default;
Operation::~Operation() = default;

template <class Alternative>
requires(!std::derived_from<Alternative, AnyOperation>) Operation::Operation(Alternative operation)
noexcept : AnyOperation(std::move(operation)) {}

template Operation::Operation(MatrixFullyConnected);
template Operation::Operation(MatrixFullyConnectedGradientForData);
template Operation::Operation(MatrixFullyConnectedGradientForWeightsAndBias);
template Operation::Operation(MatrixNeuron);
template Operation::Operation(MatrixNeuronGradient);
template Operation::Operation(MatrixBatchNormalization);
template Operation::Operation(MatrixBatchNormalizationGradient);
template Operation::Operation(MatrixSoftMax);
template Operation::Operation(MatrixSoftMaxGradient);
template Operation::Operation(MatrixSoftMaxCrossEntropy);
template Operation::Operation(MatrixMultiplication);
template Operation::Operation(MatrixVectorMultiplication);
template Operation::Operation(MatrixSum);
template Operation::Operation(MatrixCopy);
template Operation::Operation(MatrixFindTopK);
template Operation::Operation(MatrixRandom);
template Operation::Operation(OptimizerStochasticGradientDescent);
template Operation::Operation(OptimizerRMSProp);
template Operation::Operation(OptimizerAdam);
template Operation::Operation(CNNNeuron);
template Operation::Operation(CNNNeuronGradient);
template Operation::Operation(CNNConvolution);
template Operation::Operation(CNNConvolutionGradientForData);
template Operation::Operation(CNNConvolutionGradientForWeightsAndBias);
template Operation::Operation(CNNSubPixel);
template Operation::Operation(CNNPooling);
template Operation::Operation(CNNPoolingGradient);
template Operation::Operation(CNNBatchNormalizationStatistics);
template Operation::Operation(CNNBatchNormalization);
template Operation::Operation(CNNBatchNormalizationStatisticsGradient);
template Operation::Operation(CNNBatchNormalizationGradient);
template Operation::Operation(CNNGroupNormalization);
template Operation::Operation(CNNGroupNormalizationGradient);
template Operation::Operation(CNNSpatialNormalization);
template Operation::Operation(CNNSpatialNormalizationGradient);
template Operation::Operation(CNNLocalContrastNormalization);
template Operation::Operation(CNNLocalContrastNormalizationGradient);
template Operation::Operation(CNNCrossChannelNormalization);
template Operation::Operation(CNNCrossChannelNormalizationGradient);
template Operation::Operation(CNNSoftMax);
template Operation::Operation(CNNSoftMaxGradient);
template Operation::Operation(CNNDropout);
template Operation::Operation(CNNDropoutGradient);
template Operation::Operation(CNNArithmetic);
template Operation::Operation(CNNArithmeticGradient);
template Operation::Operation(ImageCopy);
template Operation::Operation(ImageFill);
template Operation::Operation(NNReshape);
template Operation::Operation(CNNUpsampling);
template Operation::Operation(CNNUpsamplingGradient);
template Operation::Operation(NNReduce);
template Operation::Operation(NNReduceWeighted);
template Operation::Operation(NNReductionSpatialMeanGradient);
template Operation::Operation(CNNLoss);
template Operation::Operation(NNLossGradient);

}  // namespace metalloid::operations
