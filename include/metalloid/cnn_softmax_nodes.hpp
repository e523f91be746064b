#pragma once

#include <metalloid/nn_nodes.hpp>

namespace metalloid {

/// Soft-max over the channels of each pixel. Source: MPSCNNSoftMaxNode.
class CNNSoftMaxNode : public NNFilterNode {
 public:
  CNNSoftMaxNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
  };
  /// @throws Error (invalidArgument) for a nil source.
  explicit CNNSoftMaxNode(const Arguments& arguments);
};

/// The logarithm of the soft-max. Source: MPSCNNLogSoftMaxNode.
class CNNLogSoftMaxNode : public NNFilterNode {
 public:
  CNNLogSoftMaxNode() = default;                ///< Nil.
  using Arguments = CNNSoftMaxNode::Arguments;  ///< What the constructor takes.
  /// @throws Error (invalidArgument) for a nil source.
  explicit CNNLogSoftMaxNode(const Arguments& arguments);
};

/// The gradient of `CNNSoftMaxNode`. Source: MPSCNNSoftMaxGradientNode.
class CNNSoftMaxGradientNode : public NNGradientFilterNode {
 public:
  CNNSoftMaxGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNSoftMaxGradientNode(const NNFilterNode& node);
  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the forward node's result.
    NNImageNode sourceImage;            ///< That result itself, not the source.
    NNGradientStateNode gradientState;  ///< The forward node's result state.
  };
  /// @throws Error (invalidArgument) for nil nodes.
  explicit CNNSoftMaxGradientNode(const Arguments& arguments);
};

/// The gradient of `CNNLogSoftMaxNode`. Source: MPSCNNLogSoftMaxGradientNode.
class CNNLogSoftMaxGradientNode : public NNGradientFilterNode {
 public:
  CNNLogSoftMaxGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNLogSoftMaxGradientNode(const NNFilterNode& node);
  using Arguments = CNNSoftMaxGradientNode::Arguments;  ///< What the constructor takes.
  /// @throws Error (invalidArgument) for nil nodes.
  explicit CNNLogSoftMaxGradientNode(const Arguments& arguments);
};

}  // namespace metalloid
