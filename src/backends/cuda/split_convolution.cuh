#pragma once

#include "backends/cuda/split_product.cuh"
#include "operations/cnn_convolution.hpp"

/// Convolutions as split products of patches that are never stored: the copy engine gathers them.
namespace metalloid::cuda {

/// Why a convolution is not computed so; nullptr: it is. Reasons are those of the layer, of the device, and of time.
const char* refusesSplitConvolution(const operations::CNNConvolution& operation, const Context& context);
const char* refusesSplitConvolution(const operations::CNNConvolutionGradientForData& operation, const Context& context);
const char* refusesSplitConvolution(const operations::CNNConvolutionGradientForWeightsAndBias& operation,
                                    const Context& context);

/// Without the neuron.
void runSplitConvolution(const operations::CNNConvolution& operation, Context& context);
void runSplitConvolution(const operations::CNNConvolutionGradientForData& operation, Context& context);
/// Without the bias.
void runSplitConvolution(const operations::CNNConvolutionGradientForWeightsAndBias& operation, Context& context);

}  // namespace metalloid::cuda
