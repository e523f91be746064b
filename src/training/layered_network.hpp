#pragma once

#include "training/network_options.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::training {

/// Rows, columns and channels of an image.
struct ImageShape {
  std::size_t height = 1;
  std::size_t width = 1;
  std::size_t channels = 1;

  std::size_t elements() const { return height * width * channels; }
  bool operator==(const ImageShape&) const = default;
};

/// "28x28x1"
std::string describe(const ImageShape& shape);

enum class LayerKind {
  input,
  convolution,
  dense,
  neuron,
  maxPool,
  averagePool,
  l2Pool,
  batchNormalization,
  instanceNormalization,
  groupNormalization,
  dropout,
  softMax,
  logSoftMax,
  spatialMean,
  reshape,
  add,
  subtract,
  multiply,
  concatenate,
};

/// How a window meets the border of its source.
enum class Border {
  same,   ///< ceil(n / stride) results
  valid,  ///< ceil((n - k + 1) / stride): windows within the source
  full,   ///< ceil((n + k - 1) / stride): all that touch it
};

/// One layer of a network. What a kind has no use for stays as it is.
struct Layer {
  LayerKind kind = LayerKind::input;
  std::string name;
  std::vector<std::size_t> sources;  ///< Earlier layers.
  ImageShape shape;                  ///< Of the result.

  // Convolutions and pooling; a dense layer's window is its source.
  std::size_t kernelHeight = 1, kernelWidth = 1;
  std::size_t strideY = 1, strideX = 1;
  std::size_t dilationY = 1, dilationX = 1;
  std::size_t groups = 1;  ///< Of group normalization, too.
  Border border = Border::same;

  NeuronOptions neuron;
  float dropped = 0.5f;   ///< Dropout: the share of elements that become 0.
  float epsilon = 1e-5f;  ///< Normalizations: added to the variance.
  float momentum = 0.1f;  ///< Batch normalization: what one batch contributes to the running statistics.

  bool hasWeights() const { return kind == LayerKind::convolution || kind == LayerKind::dense; }
  bool isNormalization() const {
    return kind == LayerKind::batchNormalization || kind == LayerKind::instanceNormalization ||
           kind == LayerKind::groupNormalization;
  }
};

/// Layers, each after those that it reads; the first is the only input, the last makes the result.
struct LayeredNetwork {
  std::vector<Layer> layers;

  const ImageShape& input() const { return layers.front().shape; }
  const ImageShape& result() const { return layers.back().shape; }
  /// The layer whose result a loss reads: the last, or the one before a closing soft-max, which the loss has in itself.
  std::size_t logits() const;
  /// Channels that a layer reads.
  std::size_t sourceChannels(const Layer& layer) const { return layers[layer.sources.front()].shape.channels; }
  /// Numbers that are trained.
  std::size_t parameters() const;
};

/// Reads the description of a network, see docs/network-descriptions.md. @throws Error (malformedFile):
/// "TITLE:LINE:COLUMN: what was expected, and what is there".
LayeredNetwork parseNetwork(std::string_view text, std::string_view title);

/// A description that the library has; empty when it has none of this name.
std::string_view builtInNetwork(std::string_view name);

}  // namespace metalloid::training
