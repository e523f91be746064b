#include "graph/graph.hpp"

#include <string>

namespace metalloid::detail {

NNGraphPlan Graph::planData() const {
  NNGraphPlan data;
  for (std::size_t index = 0; index < plan_.images.size(); ++index) {
    const PlannedImage& image = plan_.images[index];
    NNGraphPlan::Image& one = data.images.emplace_back();
    one.name = image.name;
    one.descriptor = sizes_.empty() ? ImageDescriptor{.width = 0, .height = 0, .featureChannels = 0} : sizes_[index];
    one.isInput = image.isInput;
    one.isResult = image.isResult;
    one.isExported = image.properties.isExported;
    // What fusion has left out keeps a number from before.
    const bool isMade = image.producer < plan_.steps.size() && plan_.steps[image.producer].result == index;
    if (!image.isInput && isMade) one.producer = image.producer;
    one.readers = image.readers;
  }
  for (std::size_t index = 0; index < plan_.states.size(); ++index) {
    const PlannedState& state = plan_.states[index];
    NNGraphPlan::State& one = data.states.emplace_back();
    one.name = state.name;
    one.isInput = state.isInput;
    const bool isMade = state.producer < plan_.steps.size() && plan_.steps[state.producer].state == index;
    if (!state.isInput && isMade) one.producer = state.producer;
    one.readers = state.readers;
  }
  for (const PlannedStep& step : plan_.steps) {
    NNGraphPlan::Step& one = data.steps.emplace_back();
    one.className = step.className;
    one.label = step.label;
    one.fused = step.fused;
    one.sources = step.sources;
    one.sourceStates = step.sourceStates;
    one.result = step.result;
    one.resultIsNeeded = step.resultIsNeeded;
    one.resultState = step.state;
    one.isGradient = step.isGradient;
    one.isInPlace = step.isInPlace;
    one.trainingStyle = step.trainingStyle;
  }
  return data;
}

}  // namespace metalloid::detail
