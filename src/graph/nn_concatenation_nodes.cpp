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
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(NNConcatenationGradient(device, index_));
  }

 private:
  std::size_t index_;  // of the source
};

class ConcatenationFilter final : public Filter {
 public:
  std::string_view className() const override { return "NNConcatenationNode"; }
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
        for (const NNImageNode& source : arguments.sources) filter->sources.push_back(detail::vertex(source, "source"));
        return detail::makeFilter(std::move(filter));
      }()) {}

NNConcatenationGradientNode::NNConcatenationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {"NNConcatenationGradientNode"});
}

NNConcatenationGradientNode::NNConcatenationGradientNode(const Arguments& arguments)
    : NNGradientFilterNode([&] {
        const auto forward = detail::vertex(arguments.gradientState, "gradientState");
        const auto image = detail::vertex(arguments.sourceImage, "sourceImage");
        const auto& sources = forward->filter->sources;
        const auto found = std::find(sources.begin(), sources.end(), image);
        if (!forward->filter->isConcatenation() || found == sources.end()) {
          throw Error(ErrorCode::invalidArgument,
                      "The sourceImage is no source of the concatenation that the gradientState belongs to.");
        }
        auto filter =
            std::make_unique<detail::ConcatenationGradientFilter>(static_cast<std::size_t>(found - sources.begin()));
        filter->sources = {detail::vertex(arguments.sourceGradient, "sourceGradient"), image};
        filter->sourceStates = {forward};
        return detail::makeFilter(std::move(filter));
      }()) {}

}  // namespace metalloid
