#include "training/optimizer.hpp"

#include "training/array_parts.hpp"

#include <utility>

namespace metalloid::training {

std::vector<std::string> VectorOptimizer::stateNames(const OptimizerOptions& options) {
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

namespace {

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

void encodeUpdate(CommandBuffer& commands, const NNOptimizerStochasticGradientDescent& kernel, const Vector& gradient,
                  const Vector& values, const std::vector<Vector>& state) {
  kernel.encode(commands, {.inputGradientVector = gradient,
                           .inputValuesVector = values,
                           .inputMomentumVector = stateAt(state, 0),
                           .resultValuesVector = values});
}

void encodeUpdate(CommandBuffer& commands, const NNOptimizerRMSProp& kernel, const Vector& gradient,
                  const Vector& values, const std::vector<Vector>& state) {
  kernel.encode(commands, {.inputGradientVector = gradient,
                           .inputValuesVector = values,
                           .inputSumOfSquaresVector = stateAt(state, 0),
                           .resultValuesVector = values});
}

void encodeUpdate(CommandBuffer& commands, NNOptimizerAdam& kernel, const Vector& gradient, const Vector& values,
                  const std::vector<Vector>& state) {
  kernel.encode(commands, {.inputGradientVector = gradient,
                           .inputValuesVector = values,
                           .inputMomentumVector = stateAt(state, 0),
                           .inputVelocityVector = stateAt(state, 1),
                           .maximumVelocityVector = stateAt(state, 2),
                           .resultValuesVector = values});
}

}  // namespace

VectorOptimizer::VectorOptimizer(const Device& device, const OptimizerOptions& options, bool regularized,
                                 std::string label, std::vector<Vector> state)
    : kernel_(makeKernel(device, options, regularized)), state_(std::move(state)) {
  std::visit([&](auto& kernel) { kernel.label = std::move(label); }, kernel_);
}

void VectorOptimizer::encode(CommandBuffer& commandBuffer, const Vector& gradient, const Vector& values,
                             float learningRate) {
  std::visit(
      [&](auto& kernel) {
        kernel.setLearningRate(learningRate);
        encodeUpdate(commandBuffer, kernel, gradient, values, state_);
      },
      kernel_);
}

void VectorOptimizer::setTimeStep(std::uint64_t timeStep) {
  if (auto* adam = std::get_if<NNOptimizerAdam>(&kernel_)) adam->timeStep = static_cast<std::size_t>(timeStep);
}

ParameterOptimizer::ParameterOptimizer(const Device& device, const OptimizerOptions& options,
                                       const ParameterArena& arena) {
  for (const auto& name : VectorOptimizer::stateNames(options)) {
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
  std::vector<Vector> state;
  for (const auto& [name, whole] : state_) state.push_back(someElements(whole, firstElement, group.values.length()));
  updates_.push_back({.optimizer = VectorOptimizer(device, options, regularized,
                                                   regularized ? "weights" : "biases and scales", std::move(state)),
                      .parameters = group});
}

void ParameterOptimizer::encode(CommandBuffer& commandBuffer, float learningRate) {
  for (auto& update : updates_) {
    update.optimizer.encode(commandBuffer, update.parameters.gradients, update.parameters.values, learningRate);
  }
  ++timeStep_;
}

void ParameterOptimizer::setTimeStep(std::uint64_t timeStep) {
  timeStep_ = timeStep;
  for (auto& update : updates_) update.optimizer.setTimeStep(timeStep);
}

}  // namespace metalloid::training
