#include "graph/parameter_filter.hpp"

#include <metalloid/nn_concatenation.hpp>
#include <metalloid/nn_concatenation_nodes.hpp>

#include <algorithm>
#include <utility>

namespace metalloid {
namespace detail {
namespace {

class ConcatenationGradientFilter final : public Filter {
 public:
  explicit ConcatenationGradientFilter(std::size_t index) : index_(index) {}

  std::string_view className() const override { return "NNConcatenationGradientNode"; }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& forward) const override { return forward.isConcatenation(); }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(NNConcatenationGradient(device, index_));
  }

  /// Which source of the concatenation the source image is. @throws Error (invalidArgument) when it is none.
  void findIndex() {
    const GraphNode& forward = *sourceStates.front();
    if (!forward.filter || !isGradientOf(*forward.filter)) return;  // is refused with the filter
    const auto& images = forward.filter->sources;
    const auto found = std::find(images.begin(), images.end(), sources[1]);
    if (found == images.end()) {
      throw Error(ErrorCode::invalidArgument, "The sourceImage of " + nameOf(*this) + ", " + sources[1]->name() +
                                                  ", is no source of " + forward.name() + ", whose state is given.");
    }
    index_ = static_cast<std::size_t>(found - images.begin());
  }

 private:
  std::size_t index_;  // of the source
};

class ConcatenationFilter final : public Filter {
 public:
  std::string_view className() const override { return "NNConcatenationNode"; }
  /// Each source begins at a multiple of 4.
  ResultChannels resultChannels(SourceChannels& channels) const override {
    std::size_t sum = 0;
    for (std::size_t source = 0; source < sources.size(); ++source) {
      const auto own = channels.of(source);
      if (!own) return ResultChannels::unknown();
      sum = (sum + 3) / 4 * 4 + *own;
    }
    return ResultChannels::number(sum);
  }
  StateKind stateKind() const override { return StateKind::gradient; }
  bool hasOneGradient() const override { return false; }
  bool isConcatenation() const override { return true; }

  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    std::vector<GradientFilter> made;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      auto filter = std::make_unique<ConcatenationGradientFilter>(i);
      filter->sources = {gradient, sources[i]};
      filter->sourceStates = {Ref<GraphNode>(&self)};
      const auto node = makeFilter(std::move(filter));
      made.push_back({Ref<GraphNode>(static_cast<GraphNode*>(node.get())), i});
    }
    return made;
  }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(NNConcatenation(device, sources.size()));
  }
};

}  // namespace
}  // namespace detail

NNConcatenationNode::NNConcatenationNode(const Arguments& arguments)
    : NNFilterNode([&] {
        if (arguments.sources.empty())
          throw Error(ErrorCode::invalidArgument, "An NNConcatenationNode needs a source, but none is given.");
        auto filter = std::make_unique<detail::ConcatenationFilter>();
        for (const NNImageNode& source : arguments.sources)
          filter->sources.push_back(detail::vertex(source, "source", *filter));
        return detail::makeFilter(std::move(filter));
      }()) {}

NNConcatenationGradientNode::NNConcatenationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {"NNConcatenationGradientNode"});
}

NNConcatenationGradientNode::NNConcatenationGradientNode(const Arguments& arguments)
    : NNGradientFilterNode([&] {
        auto filter = std::make_unique<detail::ConcatenationGradientFilter>(0);
        filter->sources = {detail::vertex(arguments.sourceGradient, "sourceGradient", *filter),
                           detail::vertex(arguments.sourceImage, "sourceImage", *filter)};
        filter->sourceStates = {detail::vertex(arguments.gradientState, "gradientState", *filter)};
        filter->findIndex();
        return detail::makeFilter(std::move(filter));
      }()) {}

}  // namespace metalloid
