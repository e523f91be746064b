#pragma once

#include "graph/graph_node.hpp"

#include <metalloid/error.hpp>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace metalloid::detail {

/// For nodes without any.
struct NoParameters {};

/// A filter that its parameters describe: most are. A node class is a row in a table (`Class`), and so is its gradient,
/// which has the same parameters.
template <class P>
class ParameterFilter final : public Filter {
 public:
  struct Class {
    std::string_view name;
    StateKind state = StateKind::none;
    std::unique_ptr<GraphKernel> (*makeKernel)(const Device& device, const P& parameters) = nullptr;
    const Class* gradient = nullptr;   // none: the node has no gradient
    bool gradientReadsResult = false;  // in the place of the source
    bool isGradient = false;
    ResultChannels (*resultChannels)(const P& parameters) = nullptr;  // none: those of the source
  };

  ParameterFilter(const Class& nodeClass, P given) : parameters(std::move(given)), class_(nodeClass) {}

  std::string_view className() const override { return class_.name; }
  StateKind stateKind() const override { return class_.state; }
  bool isGradient() const override { return class_.isGradient; }
  bool isGradientOf(const Filter& forward) const override {
    const auto* const filter = dynamic_cast<const ParameterFilter*>(&forward);
    return filter && filter->class_.gradient == &class_;
  }
  ResultChannels resultChannels(SourceChannels& channels) const override {
    return class_.resultChannels ? class_.resultChannels(parameters) : Filter::resultChannels(channels);
  }

  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    if (!class_.gradient) return Filter::gradients(self, gradient);
    auto filter = std::make_unique<ParameterFilter>(*class_.gradient, parameters);
    filter->sources = {gradient, class_.gradientReadsResult ? Ref<GraphNode>(&self) : sources.front()};
    filter->sourceStates = {Ref<GraphNode>(&self)};
    const auto made = makeFilter(std::move(filter));
    return {{Ref<GraphNode>(static_cast<GraphNode*>(made.get())), 0}};
  }

  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return class_.makeKernel(device, parameters);
  }

  P parameters;

 private:
  const Class& class_;  // of static storage
};

/// The vertex of a forward node. @throws Error (invalidArgument) for a nil source.
template <class P>
Ref<RefCounted> makeForward(const typename ParameterFilter<P>::Class& nodeClass, const NNImageNode& source,
                            P parameters) {
  auto filter = std::make_unique<ParameterFilter<P>>(nodeClass, std::move(parameters));
  filter->sources = {vertex(source, "source", *filter)};
  return makeFilter(std::move(filter));
}

/// The vertex of a gradient node. @throws Error (invalidArgument) for a nil node, and for the state of a filter whose
/// gradient it is not.
template <class P>
Ref<RefCounted> makeGradient(const typename ParameterFilter<P>::Class& nodeClass, const NNImageNode& sourceGradient,
                             const NNImageNode& sourceImage, const NNStateNode& gradientState, P parameters) {
  auto filter = std::make_unique<ParameterFilter<P>>(nodeClass, std::move(parameters));
  filter->sources = {vertex(sourceGradient, "sourceGradient", *filter), vertex(sourceImage, "sourceImage", *filter)};
  filter->sourceStates = {vertex(gradientState, "gradientState", *filter)};
  return makeFilter(std::move(filter));
}

/// What a node was made with, for the getters and setters of its class.
template <class P>
P& parametersOf(const NNFilterNode& node) {
  return filterAs<ParameterFilter<P>>(node).parameters;
}

/// For narrowing constructors. @throws Error (invalidArgument) unless the node is nil or of one of the classes.
inline void requireClass(const NNFilterNode& node, std::initializer_list<std::string_view> names) {
  if (!node) return;
  for (const std::string_view name : names) {
    if (implementation(node).filter->className() == name) return;
  }
  throw Error(ErrorCode::invalidArgument, implementation(node).name() + " is no " + std::string(*names.begin()) + ".");
}

/// A number that must be positive. @throws Error (invalidArgument) otherwise.
inline std::size_t positive(std::size_t value, std::string_view what, std::string_view className) {
  if (value > 0) return value;
  throw Error(ErrorCode::invalidArgument,
              "The " + std::string(what) + " of a " + std::string(className) + " is 0, but must be positive.");
}

}  // namespace metalloid::detail
