#pragma once

#include <metalloid/nn_nodes.hpp>

#include <cstddef>

namespace metalloid {

/// The same elements in another shape, in the order of rows, columns, channels. Source: MPSNNReshapeNode.
class NNReshapeNode : public NNFilterNode {
 public:
  NNReshapeNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                     ///< What is read.
    std::size_t resultWidth = 0;            ///< At least 1; must be given.
    std::size_t resultHeight = 0;           ///< At least 1; must be given.
    std::size_t resultFeatureChannels = 0;  ///< At least 1; must be given.
  };
  /// @throws Error (invalidArgument) for a nil source and sizes of 0.
  explicit NNReshapeNode(const Arguments& arguments);
};

/// The gradient of `NNReshapeNode`. Source: MPSNNReshapeGradientNode.
class NNReshapeGradientNode : public NNGradientFilterNode {
 public:
  NNReshapeGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNReshapeGradientNode(const NNFilterNode& node);
  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the reshape's result.
    NNImageNode sourceImage;            ///< The reshape's source.
    NNGradientStateNode gradientState;  ///< Its result state.
  };
  /// @throws Error (invalidArgument) for nil nodes.
  explicit NNReshapeGradientNode(const Arguments& arguments);
};

}  // namespace metalloid
