#pragma once

#include <metalloid/nn_nodes.hpp>

#include <metalloid/geometry.hpp>

#include <cstdint>

namespace metalloid {

/// Drops elements by chance; see `CNNDropout`. For training only: networks that infer leave it out.
/// Source: MPSCNNDropoutNode.
class CNNDropoutNode : public NNFilterNode {
 public:
  CNNDropoutNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                   ///< What is read.
    float keepProbability = 0.5F;         ///< That an element is kept: greater than 0, less than 1. Default 0.5.
    std::uint64_t seed = 0;               ///< Of the random numbers. Default 0.
    Size maskStrideInPixels = {1, 1, 1};  ///< Along x, y and channels: 1, or 0 for one mask value along the axis.
    /// Metalloid extension: the number of a graph's first image, for graphs that go on where another has ended; see
    /// `CNNDropout::nextImage`. Default 0.
    std::uint64_t nextImage = 0;
  };
  /// @throws Error (invalidArgument) for a nil source and for parameters out of their range.
  explicit CNNDropoutNode(const Arguments& arguments);

  float keepProbability() const;    ///< That an element is kept.
  std::uint64_t seed() const;       ///< Of the random numbers.
  Size maskStrideInPixels() const;  ///< Along x, y and channels.
  std::uint64_t nextImage() const;  ///< Metalloid extension: the number of a graph's first image.
};

/// The gradient of `CNNDropoutNode`. Source: MPSCNNDropoutGradientNode.
class CNNDropoutGradientNode : public NNGradientFilterNode {
 public:
  CNNDropoutGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNDropoutGradientNode(const NNFilterNode& node);
  /// The parameters of the node; those of the forward node.
  struct Arguments {
    NNImageNode sourceGradient;           ///< The gradient for the dropout's result.
    NNImageNode sourceImage;              ///< The dropout's source.
    NNGradientStateNode gradientState;    ///< The dropout's result state, which has the mask.
    float keepProbability = 0.5F;         ///< That an element was kept.
    std::uint64_t seed = 0;               ///< Of the random numbers.
    Size maskStrideInPixels = {1, 1, 1};  ///< Along x, y and channels.
  };
  /// @throws Error (invalidArgument) for nil nodes and for parameters out of their range.
  explicit CNNDropoutGradientNode(const Arguments& arguments);

  float keepProbability() const;    ///< That an element was kept.
  std::uint64_t seed() const;       ///< Of the random numbers.
  Size maskStrideInPixels() const;  ///< Along x, y and channels.
};

}  // namespace metalloid
