// The generator of training graphs: backwards through the description, a gradient filter for each forward filter, and
// additions where several filters read one image.

#include "graph/addition.hpp"
#include "graph/graph_node.hpp"

#include <metalloid/nn_nodes.hpp>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace metalloid {
namespace detail {
namespace {

class TrainingGraph {
 public:
  TrainingGraph(GraphNode& last, const NNFilterNode::TrainingArguments& arguments)
      : last_(last), handler_(arguments.nodeHandler) {
    const Ref<GraphNode> start =
        arguments.sourceGradient ? vertex(arguments.sourceGradient, "source gradient") : Ref<GraphNode>(&last);
    // What is its own gradient leaves the gradient for its source in its result.
    contributions_[last.filter->isItsOwnGradient() ? last.filter->sources.front().get() : &last].push_back(start);
  }

  std::vector<NNFilterNode> make() {
    for (GraphNode* const forward : upstream()) {
      if (forward == &last_ && last_.filter->isItsOwnGradient()) continue;
      const Ref<GraphNode> gradient = sum(*forward);
      if (!gradient || forward->image.stopsGradient) continue;
      for (auto& [made, source] : forward->filter->gradients(*forward, gradient)) {
        if (!forward->filter->isDifferentiated(source)) continue;
        GraphNode& inferenceSource = *forward->filter->sources[source];
        keep(made, forward, inferenceSource, *gradient);
        if (!made->image.stopsGradient) contributions_[&inferenceSource].push_back(made);
      }
    }
    for (GraphNode* const image : inputs_) sum(*image);
    return ends();
  }

 private:
  /// The filters before and with the last, each after all of those that read its result.
  std::vector<GraphNode*> upstream() {
    // Depth first without recursion, for networks of any depth; a filter comes after everything it reads.
    std::vector<GraphNode*> order;
    std::unordered_set<GraphNode*> seen{&last_};
    std::vector<std::pair<GraphNode*, std::size_t>> path{{&last_, 0}};
    while (!path.empty()) {
      auto& [node, next] = path.back();
      const auto& sources = node->filter->sources;
      if (next == sources.size()) {
        order.push_back(node);
        path.pop_back();
        continue;
      }
      GraphNode* const source = sources[next++].get();
      if (!seen.insert(source).second) continue;
      if (source->filter) {
        path.emplace_back(source, 0);
      } else {
        inputs_.push_back(source);
      }
    }
    std::reverse(order.begin(), order.end());
    return order;
  }

  /// The sum of the gradients that have arrived at an image; nil when there is none.
  Ref<GraphNode> sum(GraphNode& image) {
    const auto found = contributions_.find(&image);
    if (found == contributions_.end()) return {};
    auto& parts = found->second;
    while (parts.size() > 1) {
      const Ref<GraphNode> left = parts[0], right = parts[1];
      const Ref<GraphNode> addition = makeAddition(left, right);
      keep(addition, nullptr, image, *right);
      parts.erase(parts.begin());
      parts.front() = addition;
    }
    return parts.front();
  }

  void keep(const Ref<GraphNode>& made, GraphNode* forward, GraphNode& inferenceSource, GraphNode& gradientSource) {
    made_.push_back(made);
    if (handler_) {
      handler_(made->filterNode(), forward ? forward->filterNode() : NNFilterNode(), inferenceSource.imageNode(),
               gradientSource.imageNode());
    } else {
      made->image.handle = inferenceSource.image.handle;
    }
  }

  /// The new nodes whose results no other new node reads.
  std::vector<NNFilterNode> ends() const {
    std::unordered_set<const GraphNode*> read;
    for (const auto& node : made_) {
      for (const auto& source : node->filter->sources) read.insert(source.get());
    }
    std::vector<NNFilterNode> nodes;
    for (const auto& node : made_) {
      if (!read.contains(node.get())) nodes.push_back(node->filterNode());
    }
    return nodes;
  }

  GraphNode& last_;
  const NNFilterNode::NodeHandler& handler_;
  std::unordered_map<const GraphNode*, std::vector<Ref<GraphNode>>> contributions_;
  std::vector<GraphNode*> inputs_;
  std::vector<Ref<GraphNode>> made_;
};

}  // namespace
}  // namespace detail

std::vector<NNFilterNode> NNFilterNode::trainingGraph(const TrainingArguments& arguments) const {
  return detail::TrainingGraph(detail::implementation(*this), arguments).make();
}

}  // namespace metalloid
