#pragma once

#include <metalloid/cnn_batch_normalization_state.hpp>
#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/cnn_instance_normalization.hpp>
#include <metalloid/nn_nodes.hpp>

#include <memory>

namespace metalloid {

/// Batch normalization: y = gamma * (x - mean) / sqrt(variance + epsilon) + beta for each channel, with the statistics
/// of the batch when the graph trains, else those of the data source. Source: MPSCNNBatchNormalizationNode.
class CNNBatchNormalizationNode : public NNFilterNode {
 public:
  CNNBatchNormalizationNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                                           ///< x.
    std::shared_ptr<CNNBatchNormalizationDataSource> dataSource;  ///< Parameters, and who updates them.
  };
  /// @throws Error (invalidArgument) for a nil source or data source.
  explicit CNNBatchNormalizationNode(const Arguments& arguments);

  /// Where the statistics are from. Automatic: from the batch when a filter of the graph reads the node's state, as its
  /// gradient does.
  CNNBatchNormalizationFlags flags() const;
  void setFlags(CNNBatchNormalizationFlags flags) const;  ///< Sets them.
  NNTrainingStyle trainingStyle() const;                  ///< Of gradient nodes made from this one. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;     ///< Sets it.
};

/// Instance normalization, with the statistics of each channel of each image. Source: MPSCNNInstanceNormalizationNode.
class CNNInstanceNormalizationNode : public NNFilterNode {
 public:
  CNNInstanceNormalizationNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                                              ///< What is read.
    std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource;  ///< Parameters, and who updates them.
  };
  /// @throws Error (invalidArgument) for a nil source or data source.
  explicit CNNInstanceNormalizationNode(const Arguments& arguments);

  NNTrainingStyle trainingStyle() const;               ///< Of gradient nodes made from this one. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.
};

/// Group normalization, with the statistics of blocks of channels of each image. Source: MPSCNNGroupNormalizationNode.
class CNNGroupNormalizationNode : public NNFilterNode {
 public:
  CNNGroupNormalizationNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                                           ///< What is read.
    std::shared_ptr<CNNGroupNormalizationDataSource> dataSource;  ///< Parameters, and who updates them.
  };
  /// @throws Error (invalidArgument) for a nil source or data source.
  explicit CNNGroupNormalizationNode(const Arguments& arguments);

  NNTrainingStyle trainingStyle() const;               ///< Of gradient nodes made from this one. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.
};

/// The parameters of the gradient nodes of this family.
struct CNNNormalizationGradientArguments {
  NNImageNode sourceGradient;         ///< The gradient for the normalization's result.
  NNImageNode sourceImage;            ///< The normalization's source.
  NNGradientStateNode gradientState;  ///< Its result state.
};

/// The gradient of `CNNBatchNormalizationNode`; it trains. Source: MPSCNNBatchNormalizationGradientNode.
class CNNBatchNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNBatchNormalizationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNBatchNormalizationGradientNode(const NNFilterNode& node);
  using Arguments = CNNNormalizationGradientArguments;  ///< What the constructor takes.
  /// @throws Error (invalidArgument) for nil nodes and for a state of another class.
  explicit CNNBatchNormalizationGradientNode(const Arguments& arguments);

  NNTrainingStyle trainingStyle() const;               ///< Where the parameters are updated. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.
};

/// The gradient of `CNNInstanceNormalizationNode`; it trains. Source: MPSCNNInstanceNormalizationGradientNode.
class CNNInstanceNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNInstanceNormalizationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNInstanceNormalizationGradientNode(const NNFilterNode& node);
  using Arguments = CNNNormalizationGradientArguments;  ///< What the constructor takes.
  /// @throws Error (invalidArgument) for nil nodes and for a state of another class.
  explicit CNNInstanceNormalizationGradientNode(const Arguments& arguments);

  NNTrainingStyle trainingStyle() const;               ///< Where the parameters are updated. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.
};

/// The gradient of `CNNGroupNormalizationNode`; it trains. Source: MPSCNNGroupNormalizationGradientNode.
class CNNGroupNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNGroupNormalizationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNGroupNormalizationGradientNode(const NNFilterNode& node);
  using Arguments = CNNNormalizationGradientArguments;  ///< What the constructor takes.
  /// @throws Error (invalidArgument) for nil nodes and for a state of another class.
  explicit CNNGroupNormalizationGradientNode(const Arguments& arguments);

  NNTrainingStyle trainingStyle() const;               ///< Where the parameters are updated. Default GPU.
  void setTrainingStyle(NNTrainingStyle style) const;  ///< Sets it.
};

}  // namespace metalloid
