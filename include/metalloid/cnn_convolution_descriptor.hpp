#pragma once

#include <metalloid/cnn_neuron.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace metalloid {

/// The order of weights in memory. Source: MPSCNNConvolutionWeightsLayout.
enum class CNNConvolutionWeightsLayout : std::uint32_t {
  OHWI = 0,  ///< [output channel][kernel row][kernel column][input channel of the group]
};

/// How weights of one byte stand for numbers. Source: MPSCNNWeightsQuantizationType.
enum class CNNWeightsQuantizationType : std::uint32_t {
  none = 0,         ///< They do not: no weights of one byte.
  linear = 1,       ///< Evenly between two bounds for each output channel.
  lookupTable = 2,  ///< As a table of 256 numbers says.
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // `all` is also metalloid::all
/// What a gradient kernel computes. Combine with `|`. Source: MPSCNNConvolutionGradientOption.
enum class CNNConvolutionGradientOption : std::uint64_t {
  gradientWithData = 1,            ///< The gradient for the source.
  gradientWithWeightsAndBias = 2,  ///< The gradients for weights and biases, into the state.
  all = 3,                         ///< Both.
};
#pragma GCC diagnostic pop

/// Both sets of bits.
constexpr CNNConvolutionGradientOption operator|(CNNConvolutionGradientOption a, CNNConvolutionGradientOption b) {
  return static_cast<CNNConvolutionGradientOption>(static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b));
}
/// Whether every bit of `flags` is set.
constexpr bool contains(CNNConvolutionGradientOption option, CNNConvolutionGradientOption flags) {
  return (static_cast<std::uint64_t>(option) & static_cast<std::uint64_t>(flags)) == static_cast<std::uint64_t>(flags);
}

/// The precision of sums. Source: MPSNNConvolutionAccumulatorPrecisionOption.
enum class NNConvolutionAccumulatorPrecisionOption : std::uint64_t {
  half = 0,   ///< A permission to sum in float16, of which no device makes use.
  float_ = 1  ///< float32 or better.
};

/// Batch normalization with fixed statistics, applied between a convolution and its neuron: output channel k becomes
/// gamma[k] * (z - mean[k]) / sqrt(variance[k] + epsilon) + beta[k].
///
/// An empty array stands for what changes nothing: mean 0, no division, gamma 1, beta 0.
struct CNNConvolutionBatchNormalization {
  std::vector<float> mean = {};      ///< One for each output channel, or none.
  std::vector<float> variance = {};  ///< As above.
  std::vector<float> gamma = {};     ///< As above.
  std::vector<float> beta = {};      ///< As above.
  float epsilon = 0;                 ///< Added to the variance.

  friend bool operator==(const CNNConvolutionBatchNormalization&, const CNNConvolutionBatchNormalization&) = default;
};

/// The shape of a convolution. Source: MPSCNNConvolutionDescriptor.
///
/// Kernels take a copy: later changes do not touch them.
struct CNNConvolutionDescriptor {
  std::size_t kernelWidth = 3;                    ///< Taps along x, even numbers allowed.
  std::size_t kernelHeight = 3;                   ///< Taps along y.
  std::size_t inputFeatureChannels = 1;           ///< Channels of the source.
  std::size_t outputFeatureChannels = 1;          ///< Channels of the result.
  std::size_t strideInPixelsX = 1;                ///< Source pixels from result to result along x.
  std::size_t strideInPixelsY = 1;                ///< The same along y.
  std::size_t groups = 1;                         ///< Divides both numbers of channels.
  std::size_t dilationRateX = 1;                  ///< Source pixels from tap to tap along x.
  std::size_t dilationRateY = 1;                  ///< The same along y.
  NNNeuronDescriptor fusedNeuronDescriptor = {};  ///< Applied last. PReLU needs a slope for each output channel.
  std::size_t subPixelScaleFactor = 1;            ///< See `CNNSubPixelConvolutionDescriptor`.
  bool isDepthWise = false;                       ///< See `CNNDepthWiseConvolutionDescriptor`.
  std::optional<CNNConvolutionBatchNormalization> batchNormalization = {};  ///< Folded into weights and biases.

  /// Folds a batch normalization into the layer, for inference. An empty array means nil. Source:
  /// setBatchNormalizationParametersForInferenceWithMean:variance:gamma:beta:epsilon:.
  void setBatchNormalizationParametersForInferenceWithMean(std::span<const float> mean, std::span<const float> variance,
                                                           std::span<const float> gamma, std::span<const float> beta,
                                                           float epsilon) {
    batchNormalization = {.mean = {mean.begin(), mean.end()},
                          .variance = {variance.begin(), variance.end()},
                          .gamma = {gamma.begin(), gamma.end()},
                          .beta = {beta.begin(), beta.end()},
                          .epsilon = epsilon};
  }

  /// Depth-wise: outputFeatureChannels / inputFeatureChannels; 0 for other convolutions.
  std::size_t channelMultiplier() const {
    return isDepthWise && inputFeatureChannels > 0 ? outputFeatureChannels / inputFeatureChannels : 0;
  }

  friend bool operator==(const CNNConvolutionDescriptor&, const CNNConvolutionDescriptor&) = default;
};

/// A convolution whose result is rearranged: with r the scale factor, T its result and N its output channels,
///
///     destination[y][x][c] = T[y / r][x / r][(N / r^2) * (r * (y mod r) + (x mod r)) + c],  c < N / r^2
///
/// There is no gradient where r > 1. Source: MPSCNNSubPixelConvolutionDescriptor.
struct CNNSubPixelConvolutionDescriptor : CNNConvolutionDescriptor {
  /// The convolution, and r; r^2 divides its output channels.
  explicit CNNSubPixelConvolutionDescriptor(CNNConvolutionDescriptor descriptor, std::size_t factor = 1)
      : CNNConvolutionDescriptor(std::move(descriptor)) {
    subPixelScaleFactor = factor;
  }
};

/// A convolution of each channel by itself: output channel k * m + q, q < m, is made of input channel k alone, m being
/// the channel multiplier outputFeatureChannels / inputFeatureChannels. Weights are [output channel][row][column],
/// groups stays 1. Apple supports m = 1 only. Source: MPSCNNDepthWiseConvolutionDescriptor.
struct CNNDepthWiseConvolutionDescriptor : CNNConvolutionDescriptor {
  /// The convolution's shape.
  explicit CNNDepthWiseConvolutionDescriptor(CNNConvolutionDescriptor descriptor)
      : CNNConvolutionDescriptor(std::move(descriptor)) {
    isDepthWise = true;
  }
};

}  // namespace metalloid
