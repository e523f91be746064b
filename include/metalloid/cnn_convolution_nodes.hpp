#pragma once

#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/nn_nodes.hpp>

#include <memory>

namespace metalloid {

/// A convolution. A data source that is trained has neither neuron nor batch normalization in its descriptor: those are
/// nodes of their own. Source: MPSCNNConvolutionNode.
class CNNConvolutionNode : public NNFilterNode {
 public:
  CNNConvolutionNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                                 ///< What is read.
    std::shared_ptr<CNNConvolutionDataSource> weights;  ///< Shape, weights and biases.
  };
  /// @throws Error (invalidArgument) for a nil source or data source.
  explicit CNNConvolutionNode(const Arguments& arguments);

  /// No device makes use of the permission to sum in float16. Default float_.
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecision() const;
  void setAccumulatorPrecision(NNConvolutionAccumulatorPrecisionOption precision) const;  ///< Sets it.
  NNTrainingStyle trainingStyle() const;               ///< Of gradient nodes made from this one. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.

  /// For a later transposed convolution, whose result then has the size of this node's source.
  CNNConvolutionGradientStateNode convolutionGradientState() const;

 protected:
  /// For derived classes.
  explicit CNNConvolutionNode(detail::Ref<detail::RefCounted> implementation)
      : NNFilterNode(std::move(implementation)) {}
};

/// A fully connected layer: the window is the whole source, the result one pixel. Source: MPSCNNFullyConnectedNode.
class CNNFullyConnectedNode : public CNNConvolutionNode {
 public:
  CNNFullyConnectedNode() = default;  ///< Nil.
  /// @throws as `CNNConvolutionNode`.
  explicit CNNFullyConnectedNode(const Arguments& arguments);
};

/// A transposed convolution. Source: MPSCNNConvolutionTransposeNode.
class CNNConvolutionTransposeNode : public CNNConvolutionNode {
 public:
  CNNConvolutionTransposeNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                                             ///< What is read.
    CNNConvolutionGradientStateNode convolutionGradientState = {};  ///< Of the convolution that it undoes; may be nil.
    std::shared_ptr<CNNConvolutionDataSource> weights;              ///< Shape, weights and biases.
  };
  /// @throws as `CNNConvolutionNode`.
  explicit CNNConvolutionTransposeNode(const Arguments& arguments);

  CNNConvolutionGradientStateNode convolutionGradientState() const = delete;
};

/// The gradient of a convolution; it trains. Source: MPSCNNConvolutionGradientNode.
class CNNConvolutionGradientNode : public NNGradientFilterNode {
 public:
  CNNConvolutionGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNConvolutionGradientNode(const NNFilterNode& node);

  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;                                ///< The gradient for the convolution's result.
    NNImageNode sourceImage;                                   ///< The convolution's source.
    CNNConvolutionGradientStateNode convolutionGradientState;  ///< Its result state.
    std::shared_ptr<CNNConvolutionDataSource> weights = {};    ///< Nil: the convolution's.
  };
  /// @throws Error (invalidArgument) for nil nodes.
  explicit CNNConvolutionGradientNode(const Arguments& arguments);

  NNTrainingStyle trainingStyle() const;               ///< Where the parameters are updated. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.

 protected:
  /// For derived classes.
  explicit CNNConvolutionGradientNode(detail::Ref<detail::RefCounted> implementation)
      : NNGradientFilterNode(std::move(implementation)) {}
};

/// The gradient of a fully connected layer. Source: MPSCNNFullyConnectedGradientNode.
class CNNFullyConnectedGradientNode : public CNNConvolutionGradientNode {
 public:
  CNNFullyConnectedGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNFullyConnectedGradientNode(const NNFilterNode& node);
  /// @throws as `CNNConvolutionGradientNode`.
  explicit CNNFullyConnectedGradientNode(const Arguments& arguments);
};

/// The gradient of a transposed convolution. Source: MPSCNNConvolutionTransposeGradientNode.
class CNNConvolutionTransposeGradientNode : public CNNConvolutionGradientNode {
 public:
  CNNConvolutionTransposeGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNConvolutionTransposeGradientNode(const NNFilterNode& node);

  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;  ///< The gradient for the transposed convolution's result.
    NNImageNode sourceImage;     ///< Its source.
    CNNConvolutionTransposeGradientStateNode convolutionTransposeGradientState;  ///< Its result state.
    std::shared_ptr<CNNConvolutionDataSource> weights = {};                      ///< Nil: the forward node's.
  };
  /// @throws Error (invalidArgument) for nil nodes.
  explicit CNNConvolutionTransposeGradientNode(const Arguments& arguments);
};

}  // namespace metalloid
