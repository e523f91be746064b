#pragma once

#include <metalloid/nn_nodes.hpp>

#include <cstddef>

namespace metalloid {

/// What the local normalizations share; see `CNNSpatialNormalization`. Abstract. Source: MPSCNNNormalizationNode.
class CNNNormalizationNode : public NNFilterNode {
 public:
  CNNNormalizationNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;          ///< What is read.
    std::size_t kernelSize = 5;  ///< Pixels of the window in both directions, or channels. Default 5.
  };

  float alpha() const;               ///< Factor of the mean of squares, not negative. Default 1.
  void setAlpha(float value) const;  ///< Sets it.
  float beta() const;                ///< Exponent. Default 5; local contrast: 0.5.
  void setBeta(float value) const;   ///< Sets it.
  float delta() const;               ///< Added. Default 1; local contrast: 1/1024.
  void setDelta(float value) const;  ///< Sets it.

 protected:
  /// For derived classes.
  explicit CNNNormalizationNode(detail::Ref<detail::RefCounted> implementation)
      : NNFilterNode(std::move(implementation)) {}
};

/// Each channel divided by a power of the mean square around the pixel. Source: MPSCNNSpatialNormalizationNode.
class CNNSpatialNormalizationNode : public CNNNormalizationNode {
 public:
  CNNSpatialNormalizationNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source and a size of 0.
  explicit CNNSpatialNormalizationNode(const Arguments& arguments);

  std::size_t kernelWidth() const;                ///< Pixels of the window along x.
  void setKernelWidth(std::size_t value) const;   ///< Sets it; must equal the height when a graph is built.
  std::size_t kernelHeight() const;               ///< Pixels of the window along y.
  void setKernelHeight(std::size_t value) const;  ///< Sets it; must equal the width when a graph is built.
};

/// Each channel less the mean around the pixel, divided by a power of the variance there. alpha is 1 by default, other
/// than with the kernel. Source: MPSCNNLocalContrastNormalizationNode.
class CNNLocalContrastNormalizationNode : public CNNNormalizationNode {
 public:
  CNNLocalContrastNormalizationNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source and a size of 0.
  explicit CNNLocalContrastNormalizationNode(const Arguments& arguments);

  float p0() const;                               ///< Factor of the mean. Default 1.
  void setP0(float value) const;                  ///< Sets it.
  float pm() const;                               ///< Added to the result. Default 0.
  void setPm(float value) const;                  ///< Sets it.
  float ps() const;                               ///< Factor of the result. Default 1.
  void setPs(float value) const;                  ///< Sets it.
  std::size_t kernelWidth() const;                ///< Pixels of the window along x.
  void setKernelWidth(std::size_t value) const;   ///< Sets it; must equal the height when a graph is built.
  std::size_t kernelHeight() const;               ///< Pixels of the window along y.
  void setKernelHeight(std::size_t value) const;  ///< Sets it; must equal the width when a graph is built.
};

/// Each channel divided by a power of the mean square of the channels around it.
/// Source: MPSCNNCrossChannelNormalizationNode.
class CNNCrossChannelNormalizationNode : public CNNNormalizationNode {
 public:
  CNNCrossChannelNormalizationNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source and a size of 0.
  explicit CNNCrossChannelNormalizationNode(const Arguments& arguments);

  std::size_t kernelSizeInFeatureChannels() const;               ///< Channels of the window.
  void setKernelSizeInFeatureChannels(std::size_t value) const;  ///< Sets it.
};

/// The gradient of `CNNSpatialNormalizationNode`. Source: MPSCNNSpatialNormalizationGradientNode.
class CNNSpatialNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNSpatialNormalizationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNSpatialNormalizationGradientNode(const NNFilterNode& node);
  /// The parameters of the node; must be the forward node's, as must the properties.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the forward result.
    NNImageNode sourceImage;            ///< The forward source.
    NNGradientStateNode gradientState;  ///< The forward node's result state.
    std::size_t kernelSize = 5;         ///< Pixels of the window in both directions.
  };
  /// @throws Error (invalidArgument) for nil nodes and a size of 0.
  explicit CNNSpatialNormalizationGradientNode(const Arguments& arguments);

  float alpha() const;                            ///< Default 1.
  void setAlpha(float value) const;               ///< Sets it.
  float beta() const;                             ///< Default 5.
  void setBeta(float value) const;                ///< Sets it.
  float delta() const;                            ///< Default 1.
  void setDelta(float value) const;               ///< Sets it.
  std::size_t kernelWidth() const;                ///< Pixels of the window along x.
  void setKernelWidth(std::size_t value) const;   ///< Sets it.
  std::size_t kernelHeight() const;               ///< Pixels of the window along y.
  void setKernelHeight(std::size_t value) const;  ///< Sets it.
};

/// The gradient of `CNNLocalContrastNormalizationNode`. Source: MPSCNNLocalContrastNormalizationGradientNode.
class CNNLocalContrastNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNLocalContrastNormalizationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNLocalContrastNormalizationGradientNode(const NNFilterNode& node);
  /// The parameters of the node; must be the forward node's, as must the properties.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the forward result.
    NNImageNode sourceImage;            ///< The forward source.
    NNGradientStateNode gradientState;  ///< The forward node's result state.
    std::size_t kernelWidth = 5;        ///< Pixels of the window along x.
    std::size_t kernelHeight = 5;       ///< Pixels of the window along y.
  };
  /// @throws Error (invalidArgument) for nil nodes and a size of 0.
  explicit CNNLocalContrastNormalizationGradientNode(const Arguments& arguments);

  float alpha() const;               ///< Default 0 when it is made by hand.
  void setAlpha(float value) const;  ///< Sets it.
  float beta() const;                ///< Default 0.5.
  void setBeta(float value) const;   ///< Sets it.
  float delta() const;               ///< Default 1/1024.
  void setDelta(float value) const;  ///< Sets it.
  float p0() const;                  ///< Default 1.
  void setP0(float value) const;     ///< Sets it.
  float pm() const;                  ///< Default 0.
  void setPm(float value) const;     ///< Sets it.
  float ps() const;                  ///< Default 1.
  void setPs(float value) const;     ///< Sets it.
  std::size_t kernelWidth() const;   ///< Pixels of the window along x.
  std::size_t kernelHeight() const;  ///< Pixels of the window along y.
};

/// The gradient of `CNNCrossChannelNormalizationNode`. Source: MPSCNNCrossChannelNormalizationGradientNode.
class CNNCrossChannelNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNCrossChannelNormalizationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNCrossChannelNormalizationGradientNode(const NNFilterNode& node);
  /// The parameters of the node; must be the forward node's. alpha, beta and delta are 1, 5 and 1 when it is made by
  /// hand, and the forward node's when that makes it.
  using Arguments = CNNSpatialNormalizationGradientNode::Arguments;
  /// @throws Error (invalidArgument) for nil nodes and a size of 0.
  explicit CNNCrossChannelNormalizationGradientNode(const Arguments& arguments);

  std::size_t kernelSize() const;  ///< Channels of the window.
};

}  // namespace metalloid
