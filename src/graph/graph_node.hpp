#pragma once

#include "graph/filter.hpp"

#include <metalloid/nn_nodes.hpp>

#include <memory>
#include <string>

namespace metalloid::detail {

/// One vertex of a description. An input is an image or a state alone; a filter is one object with the image and the
/// state that it makes, so that whoever holds one of these holds the filter, and no two of them hold each other.
class GraphNode final : public RefCounted {
 public:
  enum class Kind { image, labels, filter };

  explicit GraphNode(Kind vertexKind) : kind(vertexKind) {}
  ~GraphNode() override;

  const Kind kind;

  struct ImageProperties {
    std::shared_ptr<metalloid::Handle> handle;
    ImageFeatureChannelFormat format = ImageFeatureChannelFormat::none;
    std::shared_ptr<ImageAllocator> allocator = TemporaryImage::defaultAllocator();
    bool isExported = false;
    bool isSynchronized = false;
    bool stopsGradient = false;
  } image;

  struct StateProperties {
    std::shared_ptr<metalloid::Handle> handle;
    bool isExported = false;
    bool isSynchronized = false;
  } state;

  std::unique_ptr<Filter> filter;  // null for inputs

  NNImageNode imageNode() { return NNImageNode(Ref<RefCounted>(this)); }
  NNStateNode stateNode() { return NNStateNode(Ref<RefCounted>(this)); }
  NNFilterNode filterNode() { return NNFilterNode(Ref<RefCounted>(this)); }

  /// For messages: `CNNConvolutionNode "conv1"`, or the input's label.
  std::string name() const;
};

/// The object behind a node. @throws Error (invalidArgument) for nil.
GraphNode& implementation(const NNImageNode& node);
GraphNode& implementation(const NNStateNode& node);
GraphNode& implementation(const NNFilterNode& node);

/// What a label alone makes.
std::shared_ptr<metalloid::Handle> handleOf(std::string label);

/// A new filter. Its result takes the format of its first source. @throws Error (invalidArgument) for a gradient filter
/// that is given the state of a filter whose gradient it is not.
Ref<RefCounted> makeFilter(std::unique_ptr<Filter> filter);

/// For messages: `CNNConvolutionNode "conv1"`.
std::string nameOf(const Filter& filter);

/// A reference to the vertex that a node stands for. @throws Error (invalidArgument) for nil, naming `role`.
Ref<GraphNode> vertex(const NNImageNode& node, const char* role);
/// The same for what `reader` reads, which the message names too.
Ref<GraphNode> vertex(const NNImageNode& node, const char* role, const Filter& reader);
Ref<GraphNode> vertex(const NNStateNode& node, const char* role, const Filter& reader);

/// The filter behind a node, as the class that its node class made.
template <class F>
F& filterAs(const NNFilterNode& node) {
  return static_cast<F&>(*implementation(node).filter);
}

}  // namespace metalloid::detail
