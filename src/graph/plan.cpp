#include "graph/plan.hpp"

#include "core/format.hpp"
#include "graph/fusion.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace metalloid::detail {
namespace {

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

/// Whether the filter does something besides making its result: trains parameters, or writes a loss.
bool hasEffect(const Filter& filter) {
  const auto style = filter.trainingStyle();
  const bool trains = filter.isGradient() && style && *style != NNTrainingStyle::UpdateDeviceNone;
  return trains || filter.writesLoss();
}

class Planner {
 public:
  Plan make(const std::vector<Plan::Wanted>& results) {
    std::vector<GraphNode*> required;
    for (const auto& [node, isNeeded] : results) {
      if (isNeeded) {
        required.push_back(node);
      } else {
        findRequired(*node, required);
      }
    }
    for (GraphNode* const node : required) add(*node);
    if (plan_.steps.empty())
      refuse("The graph has nothing to compute: no result is needed, and no parameter is trained.");
    for (const auto& [node, isNeeded] : results) {
      if (!isNeeded) {
        plan_.results.emplace_back();
        continue;
      }
      const std::size_t image = images_.at(node);
      if (plan_.images[image].isInput) refuse(fmt::format("{} is an input, and no result.", node->name()));
      plan_.images[image].isResult = true;
      plan_.results.emplace_back(image);
    }
    plan_.link();
    orderInputs();
    return std::move(plan_);
  }

 private:
  /// From an image that nobody needs, back to the first filters that have to be computed.
  void findRequired(GraphNode& last, std::vector<GraphNode*>& required) {
    std::vector<GraphNode*> pending{&last};
    std::unordered_set<const GraphNode*> seen{&last};
    while (!pending.empty()) {
      GraphNode* const node = pending.back();
      pending.pop_back();
      if (!node->filter) continue;
      const bool leavesState = node->filter->stateKind() != StateKind::none;
      if (hasEffect(*node->filter) || node->image.isExported || (leavesState && node->state.isExported)) {
        required.push_back(node);
        continue;  // what it reads comes with it
      }
      // In reverse, so that the first source is looked at first.
      for (auto it = node->filter->sources.rbegin(); it != node->filter->sources.rend(); ++it) {
        if (seen.insert(it->get()).second) pending.push_back(it->get());
      }
    }
  }

  /// The filter and everything it reads, each after what it reads itself.
  void add(GraphNode& last) {
    std::vector<std::pair<GraphNode*, std::size_t>> path;
    const auto enter = [&](GraphNode& node) {
      if (images_.contains(&node)) return;
      if (!node.filter) {
        addInput(node);
        return;
      }
      if (!onPath_.insert(&node).second) refuse(fmt::format("The graph has a cycle through {}.", node.name()));
      path.emplace_back(&node, 0);
    };
    enter(last);
    while (!path.empty()) {
      const auto [node, next] = path.back();
      const auto& filter = *node->filter;
      const std::size_t images = filter.sources.size();
      if (next < images) {
        ++path.back().second;
        enter(*filter.sources[next]);
      } else if (next < images + filter.sourceStates.size()) {
        ++path.back().second;
        GraphNode& state = *filter.sourceStates[next - images];
        if (state.filter) {
          enter(state);
        } else if (!states_.contains(&state)) {
          states_[&state] = plan_.states.size();
          plan_.states.push_back({.node = Ref<GraphNode>(&state),
                                  .properties = state.state,
                                  .name = state.name(),
                                  .isInput = true,
                                  .readers = {}});
        }
      } else {
        addStep(*node);
        onPath_.erase(node);
        path.pop_back();
      }
    }
  }

  void addInput(GraphNode& node) {
    if (node.kind != GraphNode::Kind::image) refuse(fmt::format("{} is no image.", node.name()));
    images_[&node] = plan_.images.size();
    plan_.images.push_back({.node = Ref<GraphNode>(&node),
                            .properties = node.image,
                            .name = node.name(),
                            .isInput = true,
                            .readers = {},
                            .concatenation = {}});
  }

  void addStep(GraphNode& node) {
    const Filter& filter = *node.filter;
    PlannedStep step{.node = Ref<GraphNode>(&node),
                     .className = std::string(filter.className()),
                     .label = filter.name(),
                     .name = node.name(),
                     .isGradient = filter.isGradient(),
                     .sources = {},
                     .sourceStates = {},
                     .state = {},
                     .fusedNeuron = {},
                     .fused = {}};
    for (const auto& source : filter.sources) step.sources.push_back(images_.at(source.get()));
    for (const auto& state : filter.sourceStates) {
      if (!states_.contains(state.get()))
        refuse(fmt::format("{} reads a state of {}, which makes none.", node.name(), state->name()));
      step.sourceStates.push_back(states_.at(state.get()));
    }
    if (filter.isGradient()) step.trainingStyle = filter.trainingStyle().value_or(NNTrainingStyle::UpdateDeviceNone);
    if (step.trainingStyle != NNTrainingStyle::UpdateDeviceNone &&
        step.trainingStyle != NNTrainingStyle::UpdateDeviceCPU &&
        step.trainingStyle != NNTrainingStyle::UpdateDeviceGPU) {
      refuse(fmt::format("The training style of {} names several devices; one updates its parameters.", node.name()));
    }
    const std::size_t index = plan_.steps.size();
    step.result = images_[&node] = plan_.images.size();
    plan_.images.push_back({.node = Ref<GraphNode>(&node),
                            .properties = node.image,
                            .name = fmt::format("result of {}", node.name()),
                            .producer = index,
                            .readers = {},
                            .concatenation = {}});
    if (filter.stateKind() != StateKind::none) {
      step.state = states_[&node] = plan_.states.size();
      plan_.states.push_back({.node = Ref<GraphNode>(&node),
                              .properties = node.state,
                              .name = node.name(),
                              .producer = index,
                              .readers = {}});
    }
    plan_.steps.push_back(std::move(step));
  }

  /// The inputs, in the order of their first use.
  void orderInputs() {
    const auto use = [](const auto& objects, std::size_t number, std::vector<std::size_t>& inputs) {
      if (objects[number].isInput && std::ranges::find(inputs, number) == inputs.end()) inputs.push_back(number);
    };
    for (const PlannedStep& step : plan_.steps) {
      for (const std::size_t source : step.sources) use(plan_.images, source, plan_.sourceImages);
      for (const std::size_t state : step.sourceStates) use(plan_.states, state, plan_.sourceStates);
    }
  }

  Plan plan_;
  std::unordered_map<const GraphNode*, std::size_t> images_;
  std::unordered_map<const GraphNode*, std::size_t> states_;
  std::unordered_set<const GraphNode*> onPath_;
};

}  // namespace

std::string nameOf(std::string_view className, std::string_view label) {
  return label.empty() ? std::string(className) : fmt::format("{} \"{}\"", className, label);
}

Plan Plan::make(const std::vector<Wanted>& results, bool allowFusion) {
  Plan plan = Planner().make(results);
  checkChannels(plan);
  if (allowFusion) fuse(plan);
  plan.finish();
  return plan;
}

void Plan::link() {
  for (PlannedImage& image : images) image.readers.clear();
  for (PlannedState& state : states) state.readers.clear();
  for (std::size_t index = 0; index < steps.size(); ++index) {
    const PlannedStep& step = steps[index];
    for (const std::size_t source : step.sources) images[source].readers.push_back(index);
    for (const std::size_t state : step.sourceStates) states[state].readers.push_back(index);
    images[step.result].producer = index;
    if (step.state) states[*step.state].producer = index;
  }
}

void Plan::finish() {
  for (PlannedStep& step : steps) {
    if (step.state) {
      const PlannedState& state = states[*step.state];
      if (state.readers.empty() && !state.properties.isExported) step.state.reset();
    }
    const PlannedImage& result = images[step.result];
    step.resultIsNeeded = result.isResult || result.properties.isExported || !result.readers.empty();
  }
  for (const PlannedStep& step : steps) {
    if (images[step.result].properties.isExported) intermediateImages.push_back(step.result);
    if (step.state && states[*step.state].properties.isExported) destinationStates.push_back(*step.state);
  }
}

}  // namespace metalloid::detail
