#pragma once

#include <metalloid/nn_nodes.hpp>

#include <cstddef>

namespace metalloid {

/// Enlarges images by repetition. Source: MPSCNNUpsamplingNearestNode.
class CNNUpsamplingNearestNode : public NNFilterNode {
 public:
  CNNUpsamplingNearestNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                   ///< What is read.
    std::size_t integerScaleFactorX = 0;  ///< Result pixels a source pixel, at least 1; must be given.
    std::size_t integerScaleFactorY = 0;  ///< The same along y.
  };
  /// @throws Error (invalidArgument) for a nil source and factors of 0.
  explicit CNNUpsamplingNearestNode(const Arguments& arguments);

  double scaleFactorX() const;  ///< Result pixels a source pixel.
  double scaleFactorY() const;  ///< The same along y.
};

/// The gradient of `CNNUpsamplingNearestNode`. Source: MPSCNNUpsamplingNearestGradientNode.
class CNNUpsamplingNearestGradientNode : public NNGradientFilterNode {
 public:
  CNNUpsamplingNearestGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNUpsamplingNearestGradientNode(const NNFilterNode& node);
  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the upsampling's result.
    NNImageNode sourceImage;            ///< The upsampling's source.
    NNGradientStateNode gradientState;  ///< Its result state.
    double scaleFactorX = 0;            ///< The forward node's.
    double scaleFactorY = 0;            ///< The forward node's.
  };
  /// @throws Error (invalidArgument) for nil nodes and factors that are no whole numbers from 1 on.
  explicit CNNUpsamplingNearestGradientNode(const Arguments& arguments);

  double scaleFactorX() const;  ///< Gradient pixels a result pixel.
  double scaleFactorY() const;  ///< The same along y.
};

/// Enlarges images by interpolation. Source: MPSCNNUpsamplingBilinearNode.
class CNNUpsamplingBilinearNode : public NNFilterNode {
 public:
  CNNUpsamplingBilinearNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;                   ///< What is read.
    std::size_t integerScaleFactorX = 0;  ///< Result pixels a source pixel, at least 1; must be given.
    std::size_t integerScaleFactorY = 0;  ///< The same along y.
    bool alignCorners = false;            ///< Whether the centres of the corner pixels fall on each other.
  };
  /// @throws Error (invalidArgument) for a nil source and factors of 0.
  explicit CNNUpsamplingBilinearNode(const Arguments& arguments);

  double scaleFactorX() const;  ///< Result pixels a source pixel.
  double scaleFactorY() const;  ///< The same along y.
  bool alignCorners() const;    ///< Whether the centres of the corner pixels fall on each other.
};

/// The gradient of `CNNUpsamplingBilinearNode`. Source: MPSCNNUpsamplingBilinearGradientNode.
class CNNUpsamplingBilinearGradientNode : public NNGradientFilterNode {
 public:
  CNNUpsamplingBilinearGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNUpsamplingBilinearGradientNode(const NNFilterNode& node);
  /// The parameters of the node; whether corners are aligned is the state's business.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the upsampling's result.
    NNImageNode sourceImage;            ///< The upsampling's source.
    NNGradientStateNode gradientState;  ///< Its result state.
    double scaleFactorX = 0;            ///< The forward node's.
    double scaleFactorY = 0;            ///< The forward node's.
  };
  /// @throws Error (invalidArgument) for nil nodes and factors that are no whole numbers from 1 on.
  explicit CNNUpsamplingBilinearGradientNode(const Arguments& arguments);

  double scaleFactorX() const;  ///< Gradient pixels a result pixel.
  double scaleFactorY() const;  ///< The same along y.
};

}  // namespace metalloid
