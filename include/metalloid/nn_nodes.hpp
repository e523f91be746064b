#pragma once

#include <metalloid/detail/handle.hpp>
#include <metalloid/image.hpp>
#include <metalloid/nn_padding.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

/// @file
/// The description of a network: image nodes and state nodes stand for data, filter nodes for operations. Nodes hold no
/// device and no large storage; a description may be made into any number of graphs (`NNGraph`).

namespace metalloid {

namespace detail {
class GraphNode;
}

/// A tag by which an application knows a node of its own in the ordered lists of a graph. Source: MPSHandle.
class Handle {
 public:
  virtual ~Handle() = default;
  /// A name for messages, given to what is made for the node.
  virtual std::string label() const = 0;
};

/// Where the parameters of a node are updated when a graph trains. Source: MPSNNTrainingStyle.
enum class NNTrainingStyle : std::uint32_t {
  UpdateDeviceNone = 0,  ///< Not at all.
  UpdateDeviceCPU = 1,   ///< By the data source's host method, when the command buffer has completed.
  UpdateDeviceGPU = 2,   ///< By the data source's method with a command buffer, right after the gradient. Default.
};

/// A place for an image: a graph's input, or what a filter makes. One producer, any number of readers.
/// Source: MPSNNImageNode.
class NNImageNode : public detail::Handle {
 public:
  NNImageNode() = default;  ///< Nil.

  /// How to make an input.
  struct Arguments {
    std::shared_ptr<metalloid::Handle> handle = {};  ///< Its tag.
    std::string label = {};                          ///< Instead of a handle: one with this label is made.
  };
  /// An input of graphs.
  explicit NNImageNode(const Arguments& arguments);
  /// The same, exported; its images are temporary unless its allocator is changed.
  static NNImageNode exportedNode(const Arguments& arguments);

  const std::shared_ptr<metalloid::Handle>& handle() const;         ///< Its tag. Default nil.
  void setHandle(std::shared_ptr<metalloid::Handle> handle) const;  ///< Sets its tag.
  /// Storage of the image. Default none: the format of the first source of the filter that makes it, and in the end the
  /// graph's.
  ImageFeatureChannelFormat format() const;
  void setFormat(ImageFeatureChannelFormat format) const;  ///< Sets the format.
  /// What makes the image. Default: temporary images. The graph's own allocator makes its final result.
  const std::shared_ptr<ImageAllocator>& imageAllocator() const;
  void setImageAllocator(std::shared_ptr<ImageAllocator> allocator) const;  ///< Sets the allocator.
  bool exportFromGraph() const;                   ///< Whether encodes return the image. Default false.
  void setExportFromGraph(bool value) const;      ///< Sets that.
  bool synchronizeResource() const;               ///< Whether the host will read it. Default false.
  void setSynchronizeResource(bool value) const;  ///< Sets that.
  /// Whether a training graph ends here: the filter that makes the image gets no gradient. Default false.
  bool stopGradient() const;
  void setStopGradient(bool value) const;  ///< Sets that.

 protected:
  /// For the library's own use.
  explicit NNImageNode(detail::Ref<detail::RefCounted> implementation) : detail::Handle(std::move(implementation)) {}
  friend class NNFilterNode;
  friend class detail::GraphNode;
};

/// A place for a state. Source: MPSNNStateNode.
class NNStateNode : public detail::Handle {
 public:
  NNStateNode() = default;  ///< Nil.

  const std::shared_ptr<metalloid::Handle>& handle() const;         ///< Its tag. Default nil.
  void setHandle(std::shared_ptr<metalloid::Handle> handle) const;  ///< Sets its tag.
  bool exportFromGraph() const;                   ///< Whether encodes return the state. Default false.
  void setExportFromGraph(bool value) const;      ///< Sets that.
  bool synchronizeResource() const;               ///< Whether the host will read it. Default false.
  void setSynchronizeResource(bool value) const;  ///< Sets that.

 protected:
  /// For the library's own use.
  explicit NNStateNode(detail::Ref<detail::RefCounted> implementation) : detail::Handle(std::move(implementation)) {}
  friend class NNFilterNode;
  friend class detail::GraphNode;
};

/// The state that a filter leaves for its gradient. Source: MPSNNGradientStateNode.
class NNGradientStateNode : public NNStateNode {
 public:
  NNGradientStateNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit NNGradientStateNode(const NNStateNode& state);
};

/// The state of a convolution or fully connected filter. Source: MPSCNNConvolutionGradientStateNode.
class CNNConvolutionGradientStateNode : public NNGradientStateNode {
 public:
  CNNConvolutionGradientStateNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit CNNConvolutionGradientStateNode(const NNStateNode& state);
};

/// The state of a transposed convolution. Source: MPSCNNConvolutionTransposeGradientStateNode.
class CNNConvolutionTransposeGradientStateNode : public CNNConvolutionGradientStateNode {
 public:
  CNNConvolutionTransposeGradientStateNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit CNNConvolutionTransposeGradientStateNode(const NNStateNode& state);
};

/// The state of a filter with two sources. Source: MPSNNBinaryGradientStateNode.
class NNBinaryGradientStateNode : public NNStateNode {
 public:
  NNBinaryGradientStateNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit NNBinaryGradientStateNode(const NNStateNode& state);
};

/// The state of an arithmetic filter. Source: MPSNNArithmeticGradientStateNode.
class NNArithmeticGradientStateNode : public NNBinaryGradientStateNode {
 public:
  NNArithmeticGradientStateNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit NNArithmeticGradientStateNode(const NNStateNode& state);
};

/// The state of a filter with any number of sources. Source: MPSNNMultiaryGradientStateNode.
class NNMultiaryGradientStateNode : public NNStateNode {
 public:
  NNMultiaryGradientStateNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit NNMultiaryGradientStateNode(const NNStateNode& state);
};

/// Labels and weights of a loss: an input of graphs, whose states are `CNNLossLabels`. Source: MPSNNLabelsNode.
class NNLabelsNode : public NNStateNode {
 public:
  NNLabelsNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind; nil stays nil.
  explicit NNLabelsNode(const NNStateNode& state);
};

class NNGradientFilterNode;

/// An operation of a network. Source: MPSNNFilterNode.
class NNFilterNode : public detail::Handle {
 public:
  NNFilterNode() = default;  ///< Nil.

  NNImageNode resultImage() const;                                 ///< What it makes.
  NNStateNode resultState() const;                                 ///< The first of its states; nil without.
  std::vector<NNStateNode> resultStates() const;                   ///< What it leaves for its gradient.
  const std::shared_ptr<NNPadding>& paddingPolicy() const;         ///< How its result is sized.
  void setPaddingPolicy(std::shared_ptr<NNPadding> policy) const;  ///< @throws Error (invalidArgument) for nil.
  std::string label() const;               ///< A name for messages; where it has none, its data source's counts.
  void setLabel(std::string label) const;  ///< Sets the name.

  /// The gradient for the filter's source, given that for its result. @throws Error (invalidArgument) for filters that
  /// have several (arithmetic, concatenation) or none; (unsupported) for gradient filters.
  NNGradientFilterNode gradientFilter(const NNImageNode& sourceGradient) const;
  /// The same; one gradient is given. @throws as above.
  NNGradientFilterNode gradientFilter(const std::vector<NNImageNode>& sourceGradients) const;
  /// A gradient filter for each source, in their order. @throws as above.
  std::vector<NNGradientFilterNode> gradientFilters(const NNImageNode& sourceGradient) const;
  /// The same; one gradient is given. @throws as above.
  std::vector<NNGradientFilterNode> gradientFilters(const std::vector<NNImageNode>& sourceGradients) const;

  /// Sees every node that `trainingGraph` makes: the node, the filter whose gradient it is (nil for an addition), and
  /// the images that it corresponds to.
  using NodeHandler = std::function<void(const NNFilterNode& gradientNode, const NNFilterNode& inferenceNode,
                                         const NNImageNode& inferenceSource, const NNImageNode& gradientSource)>;
  /// What a training graph starts from.
  struct TrainingArguments {
    NNImageNode sourceGradient = {};  ///< The gradient for this filter's result; nil: that result itself.
    NodeHandler nodeHandler = {};     ///< None: each gradient gets the handle of the image that it is the gradient for.
  };
  /// Makes the gradients of this filter and of all before it, up to images that stop the gradient. Where several
  /// filters read one image, additions sum their gradients.
  /// @returns the nodes whose results no other new node reads, in the order of their making; empty when there is none.
  /// @throws Error (invalidArgument) naming a filter without a gradient that a gradient arrives at.
  std::vector<NNFilterNode> trainingGraph(const TrainingArguments& arguments) const;
  std::vector<NNFilterNode> trainingGraph() const { return trainingGraph(TrainingArguments()); }  ///< With defaults.

 protected:
  /// For the library's own use.
  explicit NNFilterNode(detail::Ref<detail::RefCounted> implementation) : detail::Handle(std::move(implementation)) {}
  friend class detail::GraphNode;
};

/// The gradient of a filter: from the gradient for its result to that for one of its sources. Has no gradient itself.
/// Constructors of its classes refuse the state of a filter whose gradient they are not: Error (invalidArgument).
/// Source: MPSNNGradientFilterNode.
class NNGradientFilterNode : public NNFilterNode {
 public:
  NNGradientFilterNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for a forward filter; nil stays nil.
  explicit NNGradientFilterNode(const NNFilterNode& node);

 protected:
  using NNFilterNode::NNFilterNode;
  friend class NNFilterNode;
};

}  // namespace metalloid
