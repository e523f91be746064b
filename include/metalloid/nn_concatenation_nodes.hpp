#pragma once

#include <metalloid/nn_nodes.hpp>

#include <vector>

namespace metalloid {

/// The channels of several images one after another, each source from a multiple of 4 on; see `NNConcatenation`. Where
/// the sources are made in the same graph they are written in place. Source: MPSNNConcatenationNode.
class NNConcatenationNode : public NNFilterNode {
 public:
  NNConcatenationNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    std::vector<NNImageNode> sources;  ///< In the order of their channels; at least one.
  };
  /// @throws Error (invalidArgument) for no sources and nil ones.
  explicit NNConcatenationNode(const Arguments& arguments);
};

/// The gradient of `NNConcatenationNode` for one source: its channels of the gradient.
/// Source: MPSNNConcatenationGradientNode.
class NNConcatenationGradientNode : public NNGradientFilterNode {
 public:
  NNConcatenationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNConcatenationGradientNode(const NNFilterNode& node);
  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the concatenation's result.
    NNImageNode sourceImage;            ///< The source that the gradient is for.
    NNGradientStateNode gradientState;  ///< The concatenation's result state.
  };
  /// @throws Error (invalidArgument) for nil nodes, and for an image that is no source of the state's concatenation.
  explicit NNConcatenationGradientNode(const Arguments& arguments);
};

}  // namespace metalloid
