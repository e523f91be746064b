// Optimizers on the states of batch normalizations: gamma and beta in one encode.

#include "kernels/optimizer_updates.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_batch_normalization_state.hpp>
#include <metalloid/error.hpp>
#include <metalloid/nn_optimizer.hpp>

#include <array>
#include <span>

namespace metalloid {
namespace {

using detail::LayerUpdate;
using operations::MatrixView;
using Views = std::vector<MatrixView>;

/// The states of one encode, as parameters.
class BatchNormalizationStates {
 public:
  BatchNormalizationStates(const NNOptimizer& optimizer, const CNNBatchNormalizationState& state,
                           const CNNNormalizationGammaAndBetaState& result)
      : states_{{{"batchNormalizationState", state}, {}}}, count_(1) {
    take(optimizer, state, state, result);
  }
  BatchNormalizationStates(const NNOptimizer& optimizer, const CNNBatchNormalizationState& gradient,
                           const CNNBatchNormalizationState& source, const CNNNormalizationGammaAndBetaState& result)
      : states_{{{"batchNormalizationGradientState", gradient}, {"batchNormalizationSourceState", source}}}, count_(2) {
    take(optimizer, gradient, source, result);
  }

  LayerUpdate update(const NNOptimizer& optimizer, const CommandBuffer& commandBuffer) const {
    return LayerUpdate(optimizer, commandBuffer, std::span(states_).first(count_), parameters_);
  }

 private:
  void take(const NNOptimizer& optimizer, const CNNBatchNormalizationState& gradient,
            const CNNBatchNormalizationState& source, const CNNNormalizationGammaAndBetaState& result) {
    const auto require = [&](std::string_view role, const State& state) {
      if (state) return;
      throw Error(ErrorCode::invalidArgument, fmt::format("The {} is nil.", role))
          .during(fmt::format("encoding {}", optimizer.name()));
    };
    for (const auto& [role, state] : std::span(states_).first(count_)) require(role, state);
    require("resultState", result);
    parameters_ = {{{.gradientRole = "state's gradientForGamma",
                     .valuesRole = "state's gamma",
                     .resultRole = "resultState's gamma",
                     .gradient = gradient.gradientForGamma(),
                     .values = source.gamma(),
                     .result = result.gamma()},
                    {.gradientRole = "state's gradientForBeta",
                     .valuesRole = "state's beta",
                     .resultRole = "resultState's beta",
                     .gradient = gradient.gradientForBeta(),
                     .values = source.beta(),
                     .result = result.beta()}}};
  }

  std::array<std::pair<std::string_view, State>, 2> states_;
  std::size_t count_;
  std::array<detail::ParameterUpdate, 2> parameters_;
};

BatchNormalizationStates statesOf(const NNOptimizer& optimizer, const auto& a) {
  if constexpr (requires { a.batchNormalizationState; }) {
    return {optimizer, a.batchNormalizationState, a.resultState};
  } else {
    return {optimizer, a.batchNormalizationGradientState, a.batchNormalizationSourceState, a.resultState};
  }
}

void encodeUpdate(const NNOptimizerStochasticGradientDescent& optimizer, const CommandBuffer& commandBuffer,
                  const auto& a) {
  const auto states = statesOf(optimizer, a);
  auto update = states.update(optimizer, commandBuffer);
  update.takeArray("inputMomentumVectors", a.inputMomentumVectors, /*isRequired=*/false);
  update.record([&](const operations::OptimizerOperands& operands, const Views& views) {
    return detail::updateOf(optimizer, operands, views[0]);
  });
}

void encodeUpdate(const NNOptimizerRMSProp& optimizer, const CommandBuffer& commandBuffer, const auto& a) {
  const auto states = statesOf(optimizer, a);
  auto update = states.update(optimizer, commandBuffer);
  update.takeArray("inputSumOfSquaresVectors", a.inputSumOfSquaresVectors, /*isRequired=*/true);
  update.record([&](const operations::OptimizerOperands& operands, const Views& views) {
    return detail::updateOf(optimizer, operands, views[0]);
  });
}

void encodeUpdate(NNOptimizerAdam& optimizer, const CommandBuffer& commandBuffer, const auto& a) {
  const auto states = statesOf(optimizer, a);
  auto update = states.update(optimizer, commandBuffer);
  update.takeArray("inputMomentumVectors", a.inputMomentumVectors, /*isRequired=*/true);
  update.takeArray("inputVelocityVectors", a.inputVelocityVectors, /*isRequired=*/true);
  update.takeArray("maximumVelocityVectors", a.maximumVelocityVectors, /*isRequired=*/false);
  const std::size_t step = detail::nextTimeStep(optimizer);
  update.record([&](const operations::OptimizerOperands& operands, const Views& views) {
    return detail::updateOf(optimizer, step, operands,
                            {.momentum = views[0], .velocity = views[1], .maximumVelocity = views[2]});
  });
  optimizer.timeStep = step;
}

}  // namespace

using SGD = NNOptimizerStochasticGradientDescent;

void SGD::encode(CommandBuffer& commandBuffer, const BatchNormalizationArguments& a) const {
  encodeUpdate(*this, commandBuffer, a);
}
void SGD::encode(CommandBuffer& commandBuffer, const BatchNormalizationSourceArguments& a) const {
  encodeUpdate(*this, commandBuffer, a);
}
void NNOptimizerRMSProp::encode(CommandBuffer& commandBuffer, const BatchNormalizationArguments& a) const {
  encodeUpdate(*this, commandBuffer, a);
}
void NNOptimizerRMSProp::encode(CommandBuffer& commandBuffer, const BatchNormalizationSourceArguments& a) const {
  encodeUpdate(*this, commandBuffer, a);
}
void NNOptimizerAdam::encode(CommandBuffer& commandBuffer, const BatchNormalizationArguments& a) {
  encodeUpdate(*this, commandBuffer, a);
}
void NNOptimizerAdam::encode(CommandBuffer& commandBuffer, const BatchNormalizationSourceArguments& a) {
  encodeUpdate(*this, commandBuffer, a);
}

}  // namespace metalloid
