#include "graph/graph_node.hpp"

#include "core/format.hpp"
#include "graph/plan.hpp"

#include <metalloid/error.hpp>
#include <metalloid/nn_nodes.hpp>

#include <utility>

namespace metalloid {
namespace detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

class LabelHandle final : public metalloid::Handle {
 public:
  explicit LabelHandle(std::string label) : label_(std::move(label)) {}
  std::string label() const override { return label_; }

 private:
  std::string label_;
};

template <class Node>
GraphNode& vertexOf(const Node& node, const char* what) {
  if (!node) refuse(fmt::format("The {} node is nil.", what));
  return static_cast<GraphNode&>(*node.implementation());
}

}  // namespace

std::shared_ptr<metalloid::Handle> handleOf(std::string label) {
  return std::make_shared<LabelHandle>(std::move(label));
}

GraphNode::~GraphNode() {
  if (!filter) return;
  // What goes with this vertex goes one after another, not one inside the other: networks may be deep.
  thread_local std::vector<Ref<GraphNode>>* waiting = nullptr;
  std::vector<Ref<GraphNode>> mine;
  const bool isFirst = waiting == nullptr;
  if (isFirst) waiting = &mine;
  for (auto* const list : {&filter->sources, &filter->sourceStates}) {
    for (auto& node : *list) waiting->push_back(std::move(node));
  }
  if (!isFirst) return;
  while (!mine.empty()) {
    const Ref<GraphNode> next = std::move(mine.back());
    mine.pop_back();
  }
  waiting = nullptr;
}

std::string nameOf(const Filter& filter) { return nameOf(filter.className(), filter.name()); }

std::string GraphNode::name() const {
  if (filter) return nameOf(*filter);
  const auto& handle = kind == Kind::image ? image.handle : state.handle;
  const std::string_view type = kind == Kind::image ? "NNImageNode" : "NNLabelsNode";
  return handle ? fmt::format("{} \"{}\"", type, handle->label()) : std::string(type);
}

GraphNode& implementation(const NNImageNode& node) { return vertexOf(node, "image"); }
GraphNode& implementation(const NNStateNode& node) { return vertexOf(node, "state"); }
GraphNode& implementation(const NNFilterNode& node) { return vertexOf(node, "filter"); }

Ref<GraphNode> vertex(const NNImageNode& node, const char* role) {
  if (!node) refuse(fmt::format("The {} is nil.", role));
  return Ref<GraphNode>(&implementation(node));
}
Ref<GraphNode> vertex(const NNImageNode& node, const char* role, const Filter& reader) {
  if (!node) refuse(fmt::format("The {} of {} is nil.", role, nameOf(reader)));
  return Ref<GraphNode>(&implementation(node));
}
Ref<GraphNode> vertex(const NNStateNode& node, const char* role, const Filter& reader) {
  if (!node) refuse(fmt::format("The {} of {} is nil.", role, nameOf(reader)));
  return Ref<GraphNode>(&implementation(node));
}

Ref<RefCounted> makeFilter(std::unique_ptr<Filter> filter) {
  for (const auto& state : filter->sourceStates) {
    if (filter->isGradient() && !(state->filter && filter->isGradientOf(*state->filter)))
      refuse(fmt::format("{} is given the state of {}, but is not its gradient.", nameOf(*filter), state->name()));
  }
  auto node = makeRef<GraphNode>(GraphNode::Kind::filter);
  if (!filter->sources.empty()) node->image.format = filter->sources.front()->image.format;
  node->filter = std::move(filter);
  return node;
}

std::vector<GradientFilter> Filter::gradients(GraphNode& self, const Ref<GraphNode>&) const {
  refuse(
      fmt::format("{} has no gradient, but one arrives at it; stopGradient of its result image ends the training graph "
                  "there.",
                  self.name()));
}

namespace {

StateKind stateKindOf(const NNStateNode& node) {
  const GraphNode& vertex = implementation(node);
  return vertex.filter ? vertex.filter->stateKind() : StateKind::none;
}

void requireKind(const NNStateNode& node, const char* wanted, std::initializer_list<StateKind> kinds) {
  if (!node) return;
  for (const StateKind kind : kinds) {
    if (stateKindOf(node) == kind) return;
  }
  refuse(fmt::format("The state of {} is no {}.", implementation(node).name(), wanted));
}

}  // namespace
}  // namespace detail

using detail::GraphNode;
using detail::StateKind;

// --- Images
// -----------------------------------------------------------------------------------------------------------

NNImageNode::NNImageNode(const Arguments& arguments)
    : detail::Handle([&] {
        auto node = detail::makeRef<GraphNode>(GraphNode::Kind::image);
        node->image.handle = arguments.handle;
        if (!arguments.handle && !arguments.label.empty()) node->image.handle = detail::handleOf(arguments.label);
        return node;
      }()) {}

NNImageNode NNImageNode::exportedNode(const Arguments& arguments) {
  NNImageNode node(arguments);
  node.setExportFromGraph(true);
  return node;
}

const std::shared_ptr<metalloid::Handle>& NNImageNode::handle() const {
  return detail::implementation(*this).image.handle;
}
void NNImageNode::setHandle(std::shared_ptr<metalloid::Handle> handle) const {
  detail::implementation(*this).image.handle = std::move(handle);
}
ImageFeatureChannelFormat NNImageNode::format() const { return detail::implementation(*this).image.format; }
void NNImageNode::setFormat(ImageFeatureChannelFormat format) const {
  detail::implementation(*this).image.format = format;
}
const std::shared_ptr<ImageAllocator>& NNImageNode::imageAllocator() const {
  return detail::implementation(*this).image.allocator;
}
void NNImageNode::setImageAllocator(std::shared_ptr<ImageAllocator> allocator) const {
  if (!allocator) detail::refuse("The image allocator of a node is nil.");
  detail::implementation(*this).image.allocator = std::move(allocator);
}
bool NNImageNode::exportFromGraph() const { return detail::implementation(*this).image.isExported; }
void NNImageNode::setExportFromGraph(bool value) const { detail::implementation(*this).image.isExported = value; }
bool NNImageNode::synchronizeResource() const { return detail::implementation(*this).image.isSynchronized; }
void NNImageNode::setSynchronizeResource(bool value) const {
  detail::implementation(*this).image.isSynchronized = value;
}
bool NNImageNode::stopGradient() const { return detail::implementation(*this).image.stopsGradient; }
void NNImageNode::setStopGradient(bool value) const { detail::implementation(*this).image.stopsGradient = value; }

// --- States
// -----------------------------------------------------------------------------------------------------------

const std::shared_ptr<metalloid::Handle>& NNStateNode::handle() const {
  return detail::implementation(*this).state.handle;
}
void NNStateNode::setHandle(std::shared_ptr<metalloid::Handle> handle) const {
  detail::implementation(*this).state.handle = std::move(handle);
}
bool NNStateNode::exportFromGraph() const { return detail::implementation(*this).state.isExported; }
void NNStateNode::setExportFromGraph(bool value) const { detail::implementation(*this).state.isExported = value; }
bool NNStateNode::synchronizeResource() const { return detail::implementation(*this).state.isSynchronized; }
void NNStateNode::setSynchronizeResource(bool value) const {
  detail::implementation(*this).state.isSynchronized = value;
}

NNGradientStateNode::NNGradientStateNode(const NNStateNode& state) : NNStateNode(state) {
  detail::requireKind(state, "NNGradientStateNode",
                      {StateKind::gradient, StateKind::convolution, StateKind::convolutionTranspose});
}
CNNConvolutionGradientStateNode::CNNConvolutionGradientStateNode(const NNStateNode& state)
    : NNGradientStateNode(state) {
  detail::requireKind(state, "CNNConvolutionGradientStateNode",
                      {StateKind::convolution, StateKind::convolutionTranspose});
}
CNNConvolutionTransposeGradientStateNode::CNNConvolutionTransposeGradientStateNode(const NNStateNode& state)
    : CNNConvolutionGradientStateNode(state) {
  detail::requireKind(state, "CNNConvolutionTransposeGradientStateNode", {StateKind::convolutionTranspose});
}
NNBinaryGradientStateNode::NNBinaryGradientStateNode(const NNStateNode& state) : NNStateNode(state) {
  detail::requireKind(state, "NNBinaryGradientStateNode", {StateKind::binary, StateKind::arithmetic});
}
NNArithmeticGradientStateNode::NNArithmeticGradientStateNode(const NNStateNode& state)
    : NNBinaryGradientStateNode(state) {
  detail::requireKind(state, "NNArithmeticGradientStateNode", {StateKind::arithmetic});
}
NNMultiaryGradientStateNode::NNMultiaryGradientStateNode(const NNStateNode& state) : NNStateNode(state) {
  detail::requireKind(state, "NNMultiaryGradientStateNode", {StateKind::multiary});
}
NNLabelsNode::NNLabelsNode(const NNStateNode& state) : NNStateNode(state) {
  if (state && detail::implementation(state).kind != GraphNode::Kind::labels)
    detail::refuse(fmt::format("The state of {} is no NNLabelsNode.", detail::implementation(state).name()));
}

// --- Filters
// ----------------------------------------------------------------------------------------------------------

NNImageNode NNFilterNode::resultImage() const { return detail::implementation(*this).imageNode(); }

NNStateNode NNFilterNode::resultState() const {
  auto& node = detail::implementation(*this);
  return node.filter->stateKind() == StateKind::none ? NNStateNode() : node.stateNode();
}

std::vector<NNStateNode> NNFilterNode::resultStates() const {
  const NNStateNode state = resultState();
  return state ? std::vector{state} : std::vector<NNStateNode>();
}

const std::shared_ptr<NNPadding>& NNFilterNode::paddingPolicy() const {
  return detail::implementation(*this).filter->padding;
}

void NNFilterNode::setPaddingPolicy(std::shared_ptr<NNPadding> policy) const {
  auto& node = detail::implementation(*this);
  if (!policy) detail::refuse(fmt::format("The padding policy of {} is nil.", node.name()));
  node.filter->padding = std::move(policy);
}

std::string NNFilterNode::label() const { return detail::implementation(*this).filter->label; }
void NNFilterNode::setLabel(std::string label) const { detail::implementation(*this).filter->label = std::move(label); }

namespace {

const NNImageNode& onlyOne(const GraphNode& node, const std::vector<NNImageNode>& gradients) {
  if (gradients.size() != 1) {
    detail::refuse(
        fmt::format("{} has one result image, but {} source gradients are given.", node.name(), gradients.size()));
  }
  return gradients.front();
}

}  // namespace

NNGradientFilterNode NNFilterNode::gradientFilter(const NNImageNode& sourceGradient) const {
  auto& node = detail::implementation(*this);
  if (!node.filter->hasOneGradient()) {
    detail::refuse(fmt::format("{} has a gradient for each of its sources: use gradientFilters.", node.name()));
  }
  return gradientFilters(sourceGradient).front();
}

NNGradientFilterNode NNFilterNode::gradientFilter(const std::vector<NNImageNode>& sourceGradients) const {
  return gradientFilter(onlyOne(detail::implementation(*this), sourceGradients));
}

std::vector<NNGradientFilterNode> NNFilterNode::gradientFilters(const NNImageNode& sourceGradient) const {
  auto& node = detail::implementation(*this);
  if (node.filter->isGradient()) {
    throw Error(ErrorCode::unsupported,
                fmt::format("{} is a gradient filter, and second derivatives are not there.", node.name()));
  }
  if (node.filter->isItsOwnGradient()) detail::refuse(fmt::format("{} is its own gradient.", node.name()));
  std::vector<NNGradientFilterNode> nodes;
  for (const auto& [made, source] :
       node.filter->gradients(node, detail::vertex(sourceGradient, "source gradient", *node.filter)))
    nodes.emplace_back(made->filterNode());
  return nodes;
}

std::vector<NNGradientFilterNode> NNFilterNode::gradientFilters(const std::vector<NNImageNode>& sourceGradients) const {
  return gradientFilters(onlyOne(detail::implementation(*this), sourceGradients));
}

NNGradientFilterNode::NNGradientFilterNode(const NNFilterNode& node) : NNFilterNode(node) {
  if (node && !detail::implementation(node).filter->isGradient())
    detail::refuse(fmt::format("{} is no gradient filter.", detail::implementation(node).name()));
}

}  // namespace metalloid
