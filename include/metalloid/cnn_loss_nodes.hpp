#pragma once

#include <metalloid/cnn_loss.hpp>
#include <metalloid/nn_nodes.hpp>

#include <memory>
#include <vector>

namespace metalloid {

/// A loss. Its result image is the gradient for its source; the loss itself goes into the labels' loss images.
/// Source: MPSCNNLossNode.
class CNNLossNode : public NNFilterNode {
 public:
  CNNLossNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                ///< The predictions.
    CNNLossDescriptor lossDescriptor;  ///< Which loss.
  };
  /// @throws Error (invalidArgument) for a nil source and a loss that `CNNLoss` refuses.
  explicit CNNLossNode(const Arguments& arguments);

  /// The place for the labels, an input of graphs.
  NNLabelsNode inputLabels() const;
};

/// Scales a loss while a graph is encoded. Source: MPSNNLossCallback.
class NNLossCallback {
 public:
  virtual ~NNLossCallback() = default;
  /// The weight of this encode, in the place of the descriptor's; of a batch one image of each kind is given.
  virtual float scalarWeight(const Image& sourceImage, const Image& destinationImage) = 0;
};

/// The value of a loss as an image. Source: MPSNNForwardLossNode.
class NNForwardLossNode : public NNFilterNode {
 public:
  NNForwardLossNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                ///< The predictions.
    NNImageNode labels;                ///< Of their size.
    NNImageNode weights = {};          ///< Of their size; nil: every weight is 1.
    CNNLossDescriptor lossDescriptor;  ///< Which loss.
  };
  /// The sources as a list: predictions, labels and, if there are any, weights.
  struct SourcesArguments {
    std::vector<NNImageNode> sources;  ///< Two or three.
    CNNLossDescriptor lossDescriptor;  ///< Which loss.
  };
  /// @throws Error (invalidArgument) for nil predictions or labels and a loss that `CNNLoss` refuses.
  explicit NNForwardLossNode(const Arguments& arguments);
  explicit NNForwardLossNode(const SourcesArguments& arguments);  ///< @throws as above, and for other numbers.

  CNNLossType lossType() const;                                              ///< The formula.
  CNNReductionType reductionType() const;                                    ///< Of the losses of an image.
  bool reduceAcrossBatch() const;                                            ///< And over the batch.
  std::size_t numberOfClasses() const;                                       ///< See `CNNLossDescriptor`.
  float weight() const;                                                      ///< See `CNNLossDescriptor`.
  float labelSmoothing() const;                                              ///< See `CNNLossDescriptor`.
  float epsilon() const;                                                     ///< See `CNNLossDescriptor`.
  float delta() const;                                                       ///< See `CNNLossDescriptor`.
  const std::shared_ptr<NNLossCallback>& propertyCallBack() const;           ///< Default nil.
  void setPropertyCallBack(std::shared_ptr<NNLossCallback> callBack) const;  ///< Sets it.
};

/// The gradient of `NNForwardLossNode` for its predictions or its labels. Source: MPSNNLossGradientNode.
class NNLossGradientNode : public NNGradientFilterNode {
 public:
  NNLossGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNLossGradientNode(const NNFilterNode& node);
  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;              ///< The gradient for the loss.
    NNImageNode sourceImage;                 ///< The predictions.
    NNImageNode labels;                      ///< Of their size.
    NNImageNode weights = {};                ///< Of their size; nil: every weight is 1.
    NNGradientStateNode gradientState = {};  ///< The forward node's result state; nil: the descriptor counts.
    CNNLossDescriptor lossDescriptor;        ///< Which loss.
    bool isLabelsGradientFilter = false;     ///< For the labels instead of the predictions.
  };
  /// The sources as a list: gradient, predictions, labels and, if there are any, weights.
  struct SourcesArguments {
    std::vector<NNImageNode> sources;        ///< Three or four.
    NNGradientStateNode gradientState = {};  ///< As above.
    CNNLossDescriptor lossDescriptor;        ///< Which loss.
    bool isLabelsGradientFilter = false;     ///< As above.
  };
  /// @throws Error (invalidArgument) for nil gradient, predictions or labels and a loss that `CNNLoss` refuses.
  explicit NNLossGradientNode(const Arguments& arguments);
  explicit NNLossGradientNode(const SourcesArguments& arguments);  ///< @throws as above, and for other numbers.

  CNNLossType lossType() const;                                     ///< The formula.
  CNNReductionType reductionType() const;                           ///< Of the losses of an image.
  bool reduceAcrossBatch() const;                                   ///< And over the batch.
  std::size_t numberOfClasses() const;                              ///< See `CNNLossDescriptor`.
  float weight() const;                                             ///< See `CNNLossDescriptor`.
  float labelSmoothing() const;                                     ///< See `CNNLossDescriptor`.
  float epsilon() const;                                            ///< See `CNNLossDescriptor`.
  float delta() const;                                              ///< See `CNNLossDescriptor`.
  bool isLabelsGradientFilter() const;                              ///< Whether it is the gradient for the labels.
  const std::shared_ptr<NNLossCallback>& propertyCallBack() const;  ///< Default nil.
  void setPropertyCallBack(std::shared_ptr<NNLossCallback> callBack) const;  ///< Sets it.
};

/// The gradient of a value for itself: 1 everywhere. Append it to what is to be differentiated and make its training
/// graph. Source: MPSNNInitialGradientNode.
class NNInitialGradientNode : public NNFilterNode {
 public:
  NNInitialGradientNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< Whose size the result has.
  };
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNInitialGradientNode(const Arguments& arguments);
};

}  // namespace metalloid
