#pragma once

#include <metalloid/nn_nodes.hpp>

#include <cstddef>
#include <memory>

namespace metalloid {

/// Pooling. Outside of the image stands the nearest pixel (edge mode clamp), other than with the kernels.
/// Source: MPSCNNPoolingNode.
class CNNPoolingNode : public NNFilterNode {
 public:
  CNNPoolingNode() = default;  ///< Nil.

  /// The parameters of the node. filterSize and stride stand for the four numbers after them.
  struct Arguments {
    NNImageNode source;               ///< What is read.
    std::size_t filterSize = 0;       ///< Width and height of the window, and the stride unless that is given.
    std::size_t stride = 0;           ///< In both directions.
    std::size_t kernelWidth = 0;      ///< Pixels of the window along x.
    std::size_t kernelHeight = 0;     ///< Pixels of the window along y.
    std::size_t strideInPixelsX = 0;  ///< Source pixels from window to window along x.
    std::size_t strideInPixelsY = 0;  ///< The same along y.
  };

  std::size_t kernelWidth() const;      ///< Pixels of the window along x.
  std::size_t kernelHeight() const;     ///< Pixels of the window along y.
  std::size_t strideInPixelsX() const;  ///< Source pixels from window to window along x.
  std::size_t strideInPixelsY() const;  ///< The same along y.

 protected:
  /// For derived classes.
  explicit CNNPoolingNode(detail::Ref<detail::RefCounted> implementation) : NNFilterNode(std::move(implementation)) {}
};

/// The largest of each window. Source: MPSCNNPoolingMaxNode.
class CNNPoolingMaxNode : public CNNPoolingNode {
 public:
  CNNPoolingMaxNode() = default;  ///< Nil.
  /// @throws Error (invalidArgument) for a nil source and sizes of 0.
  explicit CNNPoolingMaxNode(const Arguments& arguments);
};

/// The mean of each window's pixels inside the image. Source: MPSCNNPoolingAverageNode.
class CNNPoolingAverageNode : public CNNPoolingNode {
 public:
  CNNPoolingAverageNode() = default;                           ///< Nil.
  explicit CNNPoolingAverageNode(const Arguments& arguments);  ///< @throws as `CNNPoolingMaxNode`.
};

/// The Euclidean length of each window. Source: MPSCNNPoolingL2NormNode.
class CNNPoolingL2NormNode : public CNNPoolingNode {
 public:
  CNNPoolingL2NormNode() = default;                           ///< Nil.
  explicit CNNPoolingL2NormNode(const Arguments& arguments);  ///< @throws as `CNNPoolingMaxNode`.
};

/// The largest of taps that stand apart. Edge mode clamp. Source: MPSCNNDilatedPoolingMaxNode.
class CNNDilatedPoolingMaxNode : public NNFilterNode {
 public:
  CNNDilatedPoolingMaxNode() = default;  ///< Nil.
  /// The parameters of the node. filterSize, stride and dilationRate stand for the six numbers after them.
  struct Arguments {
    NNImageNode source;               ///< What is read.
    std::size_t filterSize = 0;       ///< Taps in both directions; stride and dilation rate unless those are given.
    std::size_t stride = 0;           ///< In both directions.
    std::size_t dilationRate = 0;     ///< In both directions.
    std::size_t kernelWidth = 0;      ///< Taps along x.
    std::size_t kernelHeight = 0;     ///< Taps along y.
    std::size_t strideInPixelsX = 0;  ///< Source pixels from window to window along x.
    std::size_t strideInPixelsY = 0;  ///< The same along y.
    std::size_t dilationRateX = 0;    ///< Source pixels from tap to tap along x.
    std::size_t dilationRateY = 0;    ///< The same along y.
  };
  /// @throws Error (invalidArgument) for a nil source and sizes of 0.
  explicit CNNDilatedPoolingMaxNode(const Arguments& arguments);

  std::size_t dilationRateX() const;  ///< Source pixels from tap to tap along x.
  std::size_t dilationRateY() const;  ///< The same along y.
};

/// The gradient of pooling nodes. Source: MPSCNNPoolingGradientNode.
class CNNPoolingGradientNode : public NNGradientFilterNode {
 public:
  CNNPoolingGradientNode() = default;  ///< Nil.

  /// The parameters of the node; those of the forward node.
  struct Arguments {
    NNImageNode sourceGradient;                     ///< The gradient for the pooling's result.
    NNImageNode sourceImage;                        ///< The pooling's source.
    NNGradientStateNode gradientState;              ///< The pooling's result state.
    std::size_t kernelWidth = 0;                    ///< Pixels of the window along x.
    std::size_t kernelHeight = 0;                   ///< Pixels of the window along y.
    std::size_t strideInPixelsX = 0;                ///< Source pixels from window to window along x.
    std::size_t strideInPixelsY = 0;                ///< The same along y.
    std::shared_ptr<NNPadding> paddingPolicy = {};  ///< Nil: the state tells the size.
  };

  std::size_t kernelWidth() const;      ///< Pixels of the window along x.
  std::size_t kernelHeight() const;     ///< Pixels of the window along y.
  std::size_t strideInPixelsX() const;  ///< Source pixels from window to window along x.
  std::size_t strideInPixelsY() const;  ///< The same along y.

 protected:
  /// For derived classes.
  explicit CNNPoolingGradientNode(detail::Ref<detail::RefCounted> implementation)
      : NNGradientFilterNode(std::move(implementation)) {}
};

/// The gradient of `CNNPoolingMaxNode`. Source: MPSCNNPoolingMaxGradientNode.
class CNNPoolingMaxGradientNode : public CNNPoolingGradientNode {
 public:
  CNNPoolingMaxGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNPoolingMaxGradientNode(const NNFilterNode& node);
  /// @throws Error (invalidArgument) for nil nodes and sizes of 0.
  explicit CNNPoolingMaxGradientNode(const Arguments& arguments);
};

/// The gradient of `CNNPoolingAverageNode`. Source: MPSCNNPoolingAverageGradientNode.
class CNNPoolingAverageGradientNode : public CNNPoolingGradientNode {
 public:
  CNNPoolingAverageGradientNode() = default;                           ///< Nil.
  explicit CNNPoolingAverageGradientNode(const NNFilterNode& node);    ///< Narrows, as above.
  explicit CNNPoolingAverageGradientNode(const Arguments& arguments);  ///< @throws as above.
};

/// The gradient of `CNNPoolingL2NormNode`. Source: MPSCNNPoolingL2NormGradientNode.
class CNNPoolingL2NormGradientNode : public CNNPoolingGradientNode {
 public:
  CNNPoolingL2NormGradientNode() = default;                           ///< Nil.
  explicit CNNPoolingL2NormGradientNode(const NNFilterNode& node);    ///< Narrows, as above.
  explicit CNNPoolingL2NormGradientNode(const Arguments& arguments);  ///< @throws as above.
};

/// The gradient of `CNNDilatedPoolingMaxNode`. Source: MPSCNNDilatedPoolingMaxGradientNode.
class CNNDilatedPoolingMaxGradientNode : public NNGradientFilterNode {
 public:
  CNNDilatedPoolingMaxGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNDilatedPoolingMaxGradientNode(const NNFilterNode& node);
  /// The parameters of the node; those of the forward node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< The gradient for the pooling's result.
    NNImageNode sourceImage;            ///< The pooling's source.
    NNGradientStateNode gradientState;  ///< The pooling's result state.
    std::size_t kernelWidth = 0;        ///< Taps along x.
    std::size_t kernelHeight = 0;       ///< Taps along y.
    std::size_t strideInPixelsX = 0;    ///< Source pixels from window to window along x.
    std::size_t strideInPixelsY = 0;    ///< The same along y.
    std::size_t dilationRateX = 0;      ///< Source pixels from tap to tap along x.
    std::size_t dilationRateY = 0;      ///< The same along y.
  };
  /// @throws Error (invalidArgument) for nil nodes and sizes of 0.
  explicit CNNDilatedPoolingMaxGradientNode(const Arguments& arguments);

  std::size_t kernelWidth() const;      ///< Taps along x.
  std::size_t kernelHeight() const;     ///< Taps along y.
  std::size_t strideInPixelsX() const;  ///< Source pixels from window to window along x.
  std::size_t strideInPixelsY() const;  ///< The same along y.
  std::size_t dilationRateX() const;    ///< Source pixels from tap to tap along x.
  std::size_t dilationRateY() const;    ///< The same along y.
};

}  // namespace metalloid
