#include "training/optimizer.hpp"

#include "training/array_parts.hpp"

namespace metalloid::training {
namespace {

std::vector<std::string> stateNames(const OptimizerOptions& options) {
  switch (options.kind) {
    case OptimizerKind::sgd:
      return options.momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{};
    case OptimizerKind::rmsprop:
      return {"sum_of_squares"};
    case OptimizerKind::adam:
      return options.amsgrad ? std::vector<std::string>{"momentum", "velocity", "maximum_velocity"}
                             : std::vector<std::string>{"momentum", "velocity"};
  }
  return {};
}

NNOptimizerDescriptor descriptor(const OptimizerOptions& options, bool regularized) {
  NNOptimizerDescriptor result{.learningRate = options.learningRate};
  if (options.gradientClip) {
    result.applyGradientClipping = true;
    result.gradientClipMax = *options.gradientClip;
    result.gradientClipMin = -*options.gradientClip;
  }
  if (regularized && options.weightDecay > 0) {
    result.regularizationType = NNRegularizationType::L2;
    result.regularizationScale = options.weightDecay;
  } else if (regularized && options.l1 > 0) {
    result.regularizationType = NNRegularizationType::L1;
    result.regularizationScale = options.l1;
  }
  return result;
}

std::variant<NNOptimizerStochasticGradientDescent, NNOptimizerRMSProp, NNOptimizerAdam> makeKernel(
    const Device& device, const OptimizerOptions& options, bool regularized) {
  const NNOptimizerDescriptor common = descriptor(options, regularized);
  switch (options.kind) {
    case OptimizerKind::sgd:
      break;
    case OptimizerKind::rmsprop:
      return NNOptimizerRMSProp(device,
                                {.decay = options.decay, .epsilon = options.epsilon, .optimizerDescriptor = common});
    case OptimizerKind::adam:
      return NNOptimizerAdam(
          device,
          {.beta1 = options.beta1, .beta2 = options.beta2, .epsilon = options.epsilon, .optimizerDescriptor = common});
  }
  return NNOptimizerStochasticGradientDescent(
      device,
      {.momentumScale = options.momentum, .useNesterovMomentum = options.nesterov, .optimizerDescriptor = common});
}

/// The k-th state, or nil for an optimizer that has fewer.
Vector stateAt(const std::vector<Vector>& state, std::size_t k) { return k < state.size() ? state[k] : Vector(); }

void encodeUpdate(CommandBuffer& commands, const NNOptimizerStochasticGradientDescent& kernel,
                  const ParameterArena::Group& parameters, const std::vector<Vector>& state) {
  kernel.encode(commands, {.inputGradientVector = parameters.gradients,
                           .inputValuesVector = parameters.values,
                           .inputMomentumVector = stateAt(state, 0),
                           .resultValuesVector = parameters.values});
}

void encodeUpdate(CommandBuffer& commands, const NNOptimizerRMSProp& kernel, const ParameterArena::Group& parameters,
                  const std::vector<Vector>& state) {
  kernel.encode(commands, {.inputGradientVector = parameters.gradients,
                           .inputValuesVector = parameters.values,
                           .inputSumOfSquaresVector = stateAt(state, 0),
                           .resultValuesVector = parameters.values});
}

void encodeUpdate(CommandBuffer& commands, NNOptimizerAdam& kernel, const ParameterArena::Group& parameters,
                  const std::vector<Vector>& state) {
  kernel.encode(commands, {.inputGradientVector = parameters.gradients,
                           .inputValuesVector = parameters.values,
                           .inputMomentumVector = stateAt(state, 0),
                           .inputVelocityVector = stateAt(state, 1),
                           .maximumVelocityVector = stateAt(state, 2),
                           .resultValuesVector = parameters.values});
}

}  // namespace

ParameterOptimizer::ParameterOptimizer(const Device& device, const OptimizerOptions& options,
                                       const ParameterArena& arena) {
  for (const auto& name : stateNames(options)) {
    Vector state(device, {.length = arena.elements()});
    state.setLabel(name);
    state_.emplace_back(name, state);
  }
  add(device, options, arena.weights(), 0, /*regularized=*/true);
  add(device, options, arena.others(), arena.weightElements(), /*regularized=*/false);
}

void ParameterOptimizer::add(const Device& device, const OptimizerOptions& options, const ParameterArena::Group& group,
                             std::size_t firstElement, bool regularized) {
  if (!group.values) return;
  Update update{.kernel = makeKernel(device, options, regularized), .parameters = group, .state = {}};
  std::visit([&](auto& kernel) { kernel.label = regularized ? "weights" : "biases and scales"; }, update.kernel);
  for (const auto& [name, whole] : state_) {
    update.state.push_back(someElements(whole, firstElement, group.values.length()));
  }
  updates_.push_back(std::move(update));
}

void ParameterOptimizer::encode(CommandBuffer& commandBuffer, float learningRate) {
  for (auto& update : updates_) {
    std::visit(
        [&](auto& kernel) {
          kernel.setLearningRate(learningRate);
          encodeUpdate(commandBuffer, kernel, update.parameters, update.state);
        },
        update.kernel);
  }
  ++timeStep_;
}

void ParameterOptimizer::setTimeStep(std::uint64_t timeStep) {
  timeStep_ = timeStep;
  for (auto& update : updates_) {
    if (auto* adam = std::get_if<NNOptimizerAdam>(&update.kernel)) adam->timeStep = static_cast<std::size_t>(timeStep);
  }
}

}  // namespace metalloid::training
