#pragma once

#include <metalloid/nn_nodes.hpp>

#include <metalloid/geometry.hpp>

namespace metalloid {

/// One value of many; see `NNReduceUnary`. Abstract. Source: MPSNNUnaryReductionNode.
class NNUnaryReductionNode : public NNFilterNode {
 public:
  NNUnaryReductionNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
  };

  Region clipRectSource() const;                      ///< What of the source is read. Default all.
  void setClipRectSource(const Region& value) const;  ///< Sets it.

 protected:
  /// For derived classes.
  explicit NNUnaryReductionNode(detail::Ref<detail::RefCounted> implementation)
      : NNFilterNode(std::move(implementation)) {}
};

/// The smallest of each row (over x); it has no gradient. Source: MPSNNReductionRowMinNode.
class NNReductionRowMinNode : public NNUnaryReductionNode {
 public:
  NNReductionRowMinNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionRowMinNode(const Arguments& arguments);
};

/// The largest of each row (over x); it has no gradient. Source: MPSNNReductionRowMaxNode.
class NNReductionRowMaxNode : public NNUnaryReductionNode {
 public:
  NNReductionRowMaxNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionRowMaxNode(const Arguments& arguments);
};

/// The mean of each row (over x); it has no gradient. Source: MPSNNReductionRowMeanNode.
class NNReductionRowMeanNode : public NNUnaryReductionNode {
 public:
  NNReductionRowMeanNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionRowMeanNode(const Arguments& arguments);
};

/// The sum of each row (over x); it has no gradient. Source: MPSNNReductionRowSumNode.
class NNReductionRowSumNode : public NNUnaryReductionNode {
 public:
  NNReductionRowSumNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionRowSumNode(const Arguments& arguments);
};

/// The smallest of each column (over y); it has no gradient. Source: MPSNNReductionColumnMinNode.
class NNReductionColumnMinNode : public NNUnaryReductionNode {
 public:
  NNReductionColumnMinNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionColumnMinNode(const Arguments& arguments);
};

/// The largest of each column (over y); it has no gradient. Source: MPSNNReductionColumnMaxNode.
class NNReductionColumnMaxNode : public NNUnaryReductionNode {
 public:
  NNReductionColumnMaxNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionColumnMaxNode(const Arguments& arguments);
};

/// The mean of each column (over y); it has no gradient. Source: MPSNNReductionColumnMeanNode.
class NNReductionColumnMeanNode : public NNUnaryReductionNode {
 public:
  NNReductionColumnMeanNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionColumnMeanNode(const Arguments& arguments);
};

/// The sum of each column (over y); it has no gradient. Source: MPSNNReductionColumnSumNode.
class NNReductionColumnSumNode : public NNUnaryReductionNode {
 public:
  NNReductionColumnSumNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionColumnSumNode(const Arguments& arguments);
};

/// The smallest of each pixel (over its channels); it has no gradient. Source: MPSNNReductionFeatureChannelsMinNode.
class NNReductionFeatureChannelsMinNode : public NNUnaryReductionNode {
 public:
  NNReductionFeatureChannelsMinNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionFeatureChannelsMinNode(const Arguments& arguments);
};

/// The largest of each pixel (over its channels); it has no gradient. Source: MPSNNReductionFeatureChannelsMaxNode.
class NNReductionFeatureChannelsMaxNode : public NNUnaryReductionNode {
 public:
  NNReductionFeatureChannelsMaxNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionFeatureChannelsMaxNode(const Arguments& arguments);
};

/// The mean of each pixel (over its channels); it has no gradient. Source: MPSNNReductionFeatureChannelsMeanNode.
class NNReductionFeatureChannelsMeanNode : public NNUnaryReductionNode {
 public:
  NNReductionFeatureChannelsMeanNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionFeatureChannelsMeanNode(const Arguments& arguments);
};

/// The sum of each pixel (over its channels); it has no gradient. Source: MPSNNReductionFeatureChannelsSumNode.
class NNReductionFeatureChannelsSumNode : public NNUnaryReductionNode {
 public:
  NNReductionFeatureChannelsSumNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionFeatureChannelsSumNode(const Arguments& arguments);

  float weight() const;               ///< Multiplies the sum. Default 1.
  void setWeight(float value) const;  ///< Sets it.
};

/// The index of the smallest channel of each pixel (over its channels); it has no gradient. Source:
/// MPSNNReductionFeatureChannelsArgumentMinNode.
class NNReductionFeatureChannelsArgumentMinNode : public NNUnaryReductionNode {
 public:
  NNReductionFeatureChannelsArgumentMinNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionFeatureChannelsArgumentMinNode(const Arguments& arguments);
};

/// The index of the largest channel of each pixel (over its channels); it has no gradient. Source:
/// MPSNNReductionFeatureChannelsArgumentMaxNode.
class NNReductionFeatureChannelsArgumentMaxNode : public NNUnaryReductionNode {
 public:
  NNReductionFeatureChannelsArgumentMaxNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionFeatureChannelsArgumentMaxNode(const Arguments& arguments);
};

/// The mean over all pixels of each channel. Source: MPSNNReductionSpatialMeanNode.
class NNReductionSpatialMeanNode : public NNUnaryReductionNode {
 public:
  NNReductionSpatialMeanNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNReductionSpatialMeanNode(const Arguments& arguments);
};

/// The gradient of `NNReductionSpatialMeanNode`: g / (width * height) in every pixel that was read.
/// Source: MPSNNReductionSpatialMeanGradientNode.
class NNReductionSpatialMeanGradientNode : public NNGradientFilterNode {
 public:
  NNReductionSpatialMeanGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNReductionSpatialMeanGradientNode(const NNFilterNode& node);
  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the mean.
    NNImageNode sourceImage;            ///< What was averaged.
    NNGradientStateNode gradientState;  ///< The forward node's result state.
  };
  /// @throws Error (invalidArgument) for nil nodes.
  explicit NNReductionSpatialMeanGradientNode(const Arguments& arguments);
};

}  // namespace metalloid
