#pragma once

#include <metalloid/nn_nodes.hpp>

#include <cstddef>
#include <limits>
#include <vector>

namespace metalloid {

/// Arithmetic on two images with broadcasting; see `CNNArithmetic`. The left source is the primary one. Abstract.
/// Source: MPSNNBinaryArithmeticNode.
class NNBinaryArithmeticNode : public NNFilterNode {
 public:
  NNBinaryArithmeticNode() = default;  ///< Nil.

  /// The sources.
  struct Arguments {
    NNImageNode leftSource;   ///< Primary.
    NNImageNode rightSource;  ///< Secondary.
  };
  /// The sources as a list, which has two.
  struct SourcesArguments {
    std::vector<NNImageNode> sources;  ///< Primary, secondary.
  };

  float primaryScale() const;                               ///< Multiplies the primary source. Default 1.
  void setPrimaryScale(float value) const;                  ///< Sets it.
  float secondaryScale() const;                             ///< Multiplies the secondary source. Default 1.
  void setSecondaryScale(float value) const;                ///< Sets it.
  float bias() const;                                       ///< Added to the result. Default 0.
  void setBias(float value) const;                          ///< Sets it.
  float minimumValue() const;                               ///< Lower bound of the result. Default the lowest number.
  void setMinimumValue(float value) const;                  ///< Sets it.
  float maximumValue() const;                               ///< Upper bound of the result. Default the largest number.
  void setMaximumValue(float value) const;                  ///< Sets it.
  std::size_t primaryStrideInPixelsX() const;               ///< 1, or 0 to use the first pixel for all. Default 1.
  void setPrimaryStrideInPixelsX(std::size_t value) const;  ///< @throws Error (invalidArgument) for others.
  std::size_t primaryStrideInPixelsY() const;               ///< As above.
  void setPrimaryStrideInPixelsY(std::size_t value) const;  ///< As above.
  std::size_t primaryStrideInFeatureChannels() const;       ///< As above.
  void setPrimaryStrideInFeatureChannels(std::size_t value) const;    ///< As above.
  std::size_t secondaryStrideInPixelsX() const;                       ///< As above.
  void setSecondaryStrideInPixelsX(std::size_t value) const;          ///< As above.
  std::size_t secondaryStrideInPixelsY() const;                       ///< As above.
  void setSecondaryStrideInPixelsY(std::size_t value) const;          ///< As above.
  std::size_t secondaryStrideInFeatureChannels() const;               ///< As above.
  void setSecondaryStrideInFeatureChannels(std::size_t value) const;  ///< As above.

 protected:
  /// For derived classes.
  explicit NNBinaryArithmeticNode(detail::Ref<detail::RefCounted> implementation)
      : NNFilterNode(std::move(implementation)) {}
};

/// The sum. Source: MPSNNAdditionNode.
class NNAdditionNode : public NNBinaryArithmeticNode {
 public:
  NNAdditionNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNAdditionNode(const Arguments& arguments);
  explicit NNAdditionNode(const SourcesArguments& arguments);  ///< @throws as above, and unless there are two.
};

/// The difference. Source: MPSNNSubtractionNode.
class NNSubtractionNode : public NNBinaryArithmeticNode {
 public:
  NNSubtractionNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNSubtractionNode(const Arguments& arguments);
  explicit NNSubtractionNode(const SourcesArguments& arguments);  ///< @throws as above, and unless there are two.
};

/// The product. Source: MPSNNMultiplicationNode.
class NNMultiplicationNode : public NNBinaryArithmeticNode {
 public:
  NNMultiplicationNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNMultiplicationNode(const Arguments& arguments);
  explicit NNMultiplicationNode(const SourcesArguments& arguments);  ///< @throws as above, and unless there are two.
};

/// The quotient; it has no gradient. Source: MPSNNDivisionNode.
class NNDivisionNode : public NNBinaryArithmeticNode {
 public:
  NNDivisionNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source.
  explicit NNDivisionNode(const Arguments& arguments);
  explicit NNDivisionNode(const SourcesArguments& arguments);  ///< @throws as above, and unless there are two.
};

/// The gradient of arithmetic for one of its sources; see `CNNArithmeticGradient`. Abstract.
/// Source: MPSNNArithmeticGradientNode.
class NNArithmeticGradientNode : public NNGradientFilterNode {
 public:
  NNArithmeticGradientNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;               ///< The gradient for the forward result.
    NNImageNode sourceImage;                  ///< Product: the other source. Otherwise either.
    NNBinaryGradientStateNode gradientState;  ///< The forward node's result state.
    bool isSecondarySourceFilter = false;     ///< Whether it is the gradient for the secondary source.
  };
  /// The parameters from the forward node.
  struct ForwardArguments {
    std::vector<NNImageNode> gradientImages;  ///< Source gradient, source image.
    NNFilterNode forwardFilter;               ///< An arithmetic node of the class whose gradient this is.
    bool isSecondarySourceFilter = false;     ///< Whether it is the gradient for the secondary source.
  };

  bool isSecondarySourceFilter() const;                       ///< Whether it is the gradient for the secondary source.
  float primaryScale() const;                                 ///< Multiplies the gradient. Default 1.
  void setPrimaryScale(float value) const;                    ///< Sets it.
  float secondaryScale() const;                               ///< Multiplies the other source of a product. Default 1.
  void setSecondaryScale(float value) const;                  ///< Sets it.
  float bias() const;                                         ///< Has no effect.
  void setBias(float value) const;                            ///< Sets it.
  float minimumValue() const;                                 ///< Has no effect: the state knows what was cut.
  void setMinimumValue(float value) const;                    ///< Sets it.
  float maximumValue() const;                                 ///< Has no effect: the state knows what was cut.
  void setMaximumValue(float value) const;                    ///< Sets it.
  std::size_t secondaryStrideInPixelsX() const;               ///< As in the forward node. Default 1.
  void setSecondaryStrideInPixelsX(std::size_t value) const;  ///< @throws Error (invalidArgument) beyond 1.
  std::size_t secondaryStrideInPixelsY() const;               ///< As above.
  void setSecondaryStrideInPixelsY(std::size_t value) const;  ///< As above.
  std::size_t secondaryStrideInFeatureChannels() const;       ///< As above.
  void setSecondaryStrideInFeatureChannels(std::size_t value) const;  ///< As above.

 protected:
  /// For derived classes.
  explicit NNArithmeticGradientNode(detail::Ref<detail::RefCounted> implementation)
      : NNGradientFilterNode(std::move(implementation)) {}
};

/// The gradient of `NNAdditionNode`. Source: MPSNNAdditionGradientNode.
class NNAdditionGradientNode : public NNArithmeticGradientNode {
 public:
  NNAdditionGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNAdditionGradientNode(const NNFilterNode& node);
  /// @throws Error (invalidArgument) for nil nodes.
  explicit NNAdditionGradientNode(const Arguments& arguments);
  /// @throws Error (invalidArgument) for nil nodes, another forward class, and unless there are two images.
  explicit NNAdditionGradientNode(const ForwardArguments& arguments);
};

/// The gradient of `NNSubtractionNode`. Source: MPSNNSubtractionGradientNode.
class NNSubtractionGradientNode : public NNArithmeticGradientNode {
 public:
  NNSubtractionGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNSubtractionGradientNode(const NNFilterNode& node);
  /// @throws Error (invalidArgument) for nil nodes.
  explicit NNSubtractionGradientNode(const Arguments& arguments);
  /// @throws Error (invalidArgument) for nil nodes, another forward class, and unless there are two images.
  explicit NNSubtractionGradientNode(const ForwardArguments& arguments);
};

/// The gradient of `NNMultiplicationNode`. Source: MPSNNMultiplicationGradientNode.
class NNMultiplicationGradientNode : public NNArithmeticGradientNode {
 public:
  NNMultiplicationGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit NNMultiplicationGradientNode(const NNFilterNode& node);
  /// @throws Error (invalidArgument) for nil nodes.
  explicit NNMultiplicationGradientNode(const Arguments& arguments);
  /// @throws Error (invalidArgument) for nil nodes, another forward class, and unless there are two images.
  explicit NNMultiplicationGradientNode(const ForwardArguments& arguments);
};

}  // namespace metalloid
