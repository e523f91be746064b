#pragma once

#include "backends/candidate.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/reference/kernels.hpp"
#include "operations/operation.hpp"

#include <array>
#include <type_traits>

/// What executes each operation on the processor, from fastest to plain. The last is always the reference.
namespace metalloid::cpu {

template <class Operation>
using Candidate = detail::Candidate<Operation, Context>;

template <class Operation>
void runReference(const Operation& operation, Context&) {
  reference::run(operation);
}

template <class Operation>
inline constexpr Candidate<Operation> kReference{"reference", detail::acceptsAll<Operation, Context>,
                                                 runReference<Operation>};

/// The list for an operation; this one is for those that have no implementation of their own.
template <class Operation>
inline constexpr std::array kCandidates{kReference<Operation>};

/// One implementation for everything, by a product of our own (see gemm.hpp) or by SIMD loops.
template <class Operation>
inline constexpr std::array kGemmFirst{Candidate<Operation>{"gemm", detail::acceptsAll<Operation, Context>, runGemm},
                                       kReference<Operation>};
template <class Operation>
inline constexpr std::array kSimdFirst{Candidate<Operation>{"simd", detail::acceptsAll<Operation, Context>, runSimd},
                                       kReference<Operation>};

template <>
inline constexpr auto kCandidates<operations::MatrixFullyConnected> = kGemmFirst<operations::MatrixFullyConnected>;
template <>
inline constexpr auto kCandidates<operations::MatrixFullyConnectedGradientForData> =
    kGemmFirst<operations::MatrixFullyConnectedGradientForData>;
template <>
inline constexpr auto kCandidates<operations::MatrixFullyConnectedGradientForWeightsAndBias> =
    kGemmFirst<operations::MatrixFullyConnectedGradientForWeightsAndBias>;
template <>
inline constexpr auto kCandidates<operations::MatrixMultiplication> = kGemmFirst<operations::MatrixMultiplication>;
template <>
inline constexpr auto kCandidates<operations::MatrixVectorMultiplication> =
    kGemmFirst<operations::MatrixVectorMultiplication>;
template <>
inline constexpr auto kCandidates<operations::MatrixNeuron> = kSimdFirst<operations::MatrixNeuron>;
template <>
inline constexpr auto kCandidates<operations::MatrixNeuronGradient> = kSimdFirst<operations::MatrixNeuronGradient>;
template <>
inline constexpr auto kCandidates<operations::MatrixBatchNormalization> =
    kSimdFirst<operations::MatrixBatchNormalization>;
template <>
inline constexpr auto kCandidates<operations::MatrixBatchNormalizationGradient> =
    kSimdFirst<operations::MatrixBatchNormalizationGradient>;
template <>
inline constexpr auto kCandidates<operations::MatrixSoftMax> = kSimdFirst<operations::MatrixSoftMax>;
template <>
inline constexpr auto kCandidates<operations::MatrixSoftMaxGradient> = kSimdFirst<operations::MatrixSoftMaxGradient>;
template <>
inline constexpr auto kCandidates<operations::MatrixSoftMaxCrossEntropy> =
    kSimdFirst<operations::MatrixSoftMaxCrossEntropy>;
template <>
inline constexpr std::array kCandidates<operations::MatrixSum>{
    Candidate<operations::MatrixSum>{"simd", refusesSimd, runSimd}, kReference<operations::MatrixSum>};
template <>
inline constexpr std::array kCandidates<operations::MatrixCopy>{
    Candidate<operations::MatrixCopy>{"rows", refusesRows, runRows}, kReference<operations::MatrixCopy>};
template <>
inline constexpr std::array kCandidates<operations::MatrixFindTopK>{
    Candidate<operations::MatrixFindTopK>{"threads", detail::acceptsAll<operations::MatrixFindTopK, Context>,
                                          runThreads},
    kReference<operations::MatrixFindTopK>};
template <>
inline constexpr std::array kCandidates<operations::MatrixRandom>{
    Candidate<operations::MatrixRandom>{"threads", detail::acceptsAll<operations::MatrixRandom, Context>, runThreads},
    kReference<operations::MatrixRandom>};
template <>
inline constexpr auto kCandidates<operations::OptimizerStochasticGradientDescent> =
    kSimdFirst<operations::OptimizerStochasticGradientDescent>;
template <>
inline constexpr auto kCandidates<operations::OptimizerRMSProp> = kSimdFirst<operations::OptimizerRMSProp>;
template <>
inline constexpr auto kCandidates<operations::OptimizerAdam> = kSimdFirst<operations::OptimizerAdam>;

template <>
inline constexpr auto kCandidates<operations::CNNNeuron> = kSimdFirst<operations::CNNNeuron>;
template <>
inline constexpr auto kCandidates<operations::CNNNeuronGradient> = kSimdFirst<operations::CNNNeuronGradient>;
template <>
inline constexpr auto kCandidates<operations::CNNSpatialNormalization> =
    kSimdFirst<operations::CNNSpatialNormalization>;
template <>
inline constexpr std::array kCandidates<operations::CNNSpatialNormalizationGradient>{
    Candidate<operations::CNNSpatialNormalizationGradient>{"simd", refusesSimd, runSimd},
    kReference<operations::CNNSpatialNormalizationGradient>};
template <>
inline constexpr auto kCandidates<operations::CNNLocalContrastNormalization> =
    kSimdFirst<operations::CNNLocalContrastNormalization>;
template <>
inline constexpr std::array kCandidates<operations::CNNLocalContrastNormalizationGradient>{
    Candidate<operations::CNNLocalContrastNormalizationGradient>{"simd", refusesSimd, runSimd},
    kReference<operations::CNNLocalContrastNormalizationGradient>};
template <>
inline constexpr auto kCandidates<operations::CNNCrossChannelNormalization> =
    kSimdFirst<operations::CNNCrossChannelNormalization>;
template <>
inline constexpr auto kCandidates<operations::CNNCrossChannelNormalizationGradient> =
    kSimdFirst<operations::CNNCrossChannelNormalizationGradient>;
template <>
inline constexpr auto kCandidates<operations::CNNBatchNormalizationStatistics> =
    kSimdFirst<operations::CNNBatchNormalizationStatistics>;
template <>
inline constexpr auto kCandidates<operations::CNNBatchNormalization> = kSimdFirst<operations::CNNBatchNormalization>;
template <>
inline constexpr auto kCandidates<operations::CNNBatchNormalizationStatisticsGradient> =
    kSimdFirst<operations::CNNBatchNormalizationStatisticsGradient>;
template <>
inline constexpr auto kCandidates<operations::CNNBatchNormalizationGradient> =
    kSimdFirst<operations::CNNBatchNormalizationGradient>;
template <>
inline constexpr auto kCandidates<operations::CNNGroupNormalization> = kSimdFirst<operations::CNNGroupNormalization>;
template <>
inline constexpr auto kCandidates<operations::CNNGroupNormalizationGradient> =
    kSimdFirst<operations::CNNGroupNormalizationGradient>;

template <>
inline constexpr auto kCandidates<operations::CNNSubPixel> = kSimdFirst<operations::CNNSubPixel>;

template <>
inline constexpr auto kCandidates<operations::CNNArithmetic> = kSimdFirst<operations::CNNArithmetic>;
template <>
inline constexpr auto kCandidates<operations::CNNArithmeticGradient> = kSimdFirst<operations::CNNArithmeticGradient>;

template <>
inline constexpr std::array kCandidates<operations::CNNPooling>{
    Candidate<operations::CNNPooling>{"simd", refusesSimd, runSimd}, kReference<operations::CNNPooling>};
template <>
inline constexpr std::array kCandidates<operations::CNNPoolingGradient>{
    Candidate<operations::CNNPoolingGradient>{"simd", refusesSimd, runSimd},
    kReference<operations::CNNPoolingGradient>};
template <>
inline constexpr auto kCandidates<operations::CNNUpsampling> = kSimdFirst<operations::CNNUpsampling>;
template <>
inline constexpr auto kCandidates<operations::CNNUpsamplingGradient> = kSimdFirst<operations::CNNUpsamplingGradient>;

template <>
inline constexpr auto kCandidates<operations::ImageCopy> = kSimdFirst<operations::ImageCopy>;
template <>
inline constexpr auto kCandidates<operations::ImageFill> = kSimdFirst<operations::ImageFill>;
template <>
inline constexpr auto kCandidates<operations::NNReshape> = kSimdFirst<operations::NNReshape>;

template <>
inline constexpr std::array kCandidates<operations::CNNConvolution>{
    Candidate<operations::CNNConvolution>{"gemm", refusesGemm, runGemm}, kReference<operations::CNNConvolution>};
template <>
inline constexpr std::array kCandidates<operations::CNNConvolutionGradientForData>{
    Candidate<operations::CNNConvolutionGradientForData>{"gemm", refusesGemm, runGemm},
    kReference<operations::CNNConvolutionGradientForData>};

template <>
inline constexpr std::array kCandidates<operations::CNNConvolutionGradientForWeightsAndBias>{
    Candidate<operations::CNNConvolutionGradientForWeightsAndBias>{"gemm", refusesGemm, runGemm},
    kReference<operations::CNNConvolutionGradientForWeightsAndBias>};

template <>
inline constexpr std::array kCandidates<operations::NNReduce>{
    Candidate<operations::NNReduce>{"simd", refusesSimd, runSimd}, kReference<operations::NNReduce>};
template <>
inline constexpr auto kCandidates<operations::NNReduceWeighted> = kSimdFirst<operations::NNReduceWeighted>;
template <>
inline constexpr auto kCandidates<operations::NNReductionSpatialMeanGradient> =
    kSimdFirst<operations::NNReductionSpatialMeanGradient>;

template <>
inline constexpr auto kCandidates<operations::CNNSoftMax> = kSimdFirst<operations::CNNSoftMax>;
template <>
inline constexpr auto kCandidates<operations::CNNSoftMaxGradient> = kSimdFirst<operations::CNNSoftMaxGradient>;
template <>
inline constexpr auto kCandidates<operations::CNNDropout> = kSimdFirst<operations::CNNDropout>;
template <>
inline constexpr auto kCandidates<operations::CNNDropoutGradient> = kSimdFirst<operations::CNNDropoutGradient>;
template <>
inline constexpr auto kCandidates<operations::CNNLoss> = kSimdFirst<operations::CNNLoss>;
template <>
inline constexpr auto kCandidates<operations::NNLossGradient> = kSimdFirst<operations::NNLossGradient>;

}  // namespace metalloid::cpu
