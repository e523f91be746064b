// Optimizers on the states of convolutions: weights and biases in one encode.

#include "kernels/optimizer_updates.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/error.hpp>
#include <metalloid/nn_optimizer.hpp>

#include <array>

namespace metalloid {
namespace {

using detail::LayerUpdate;
using operations::MatrixView;
using Views = std::vector<MatrixView>;

/// The states of one encode, as parameters.
class ConvolutionStates {
 public:
  template <class Arguments>
  ConvolutionStates(const NNOptimizer& optimizer, const Arguments& a)
      : states_{{{"convolutionGradientState", a.convolutionGradientState},
                 {"convolutionSourceState", a.convolutionSourceState}}} {
    const auto require = [&](const char* role, const State& state) {
      if (state) return;
      throw Error(ErrorCode::invalidArgument, fmt::format("The {} is nil.", role))
          .during(fmt::format("encoding {}", optimizer.name()));
    };
    require("convolutionGradientState", a.convolutionGradientState);
    require("convolutionSourceState", a.convolutionSourceState);
    require("resultState", a.resultState);
    parameters_ = {{{.gradientRole = "convolutionGradientState's gradientForWeights",
                     .valuesRole = "convolutionSourceState's weights",
                     .resultRole = "resultState's weights",
                     .gradient = a.convolutionGradientState.gradientForWeights(),
                     .values = a.convolutionSourceState.weights(),
                     .result = a.resultState.weights()},
                    {.gradientRole = "convolutionGradientState's gradientForBiases",
                     .valuesRole = "convolutionSourceState's biases",
                     .resultRole = "resultState's biases",
                     .gradient = a.convolutionGradientState.gradientForBiases(),
                     .values = a.convolutionSourceState.biases(),
                     .result = a.resultState.biases()}}};
  }

  LayerUpdate update(const NNOptimizer& optimizer, const CommandBuffer& commandBuffer) const {
    return LayerUpdate(optimizer, commandBuffer, states_, parameters_);
  }

 private:
  std::array<std::pair<std::string_view, State>, 2> states_;
  std::array<detail::ParameterUpdate, 2> parameters_;
};

}  // namespace

void NNOptimizerStochasticGradientDescent::encode(CommandBuffer& commandBuffer, const ConvolutionArguments& a) const {
  const ConvolutionStates states(*this, a);
  auto update = states.update(*this, commandBuffer);
  update.takeArray("inputMomentumVectors", a.inputMomentumVectors, /*isRequired=*/false);
  update.record([&](const operations::OptimizerOperands& operands, const Views& views) {
    return detail::updateOf(*this, operands, views[0]);
  });
}

void NNOptimizerRMSProp::encode(CommandBuffer& commandBuffer, const ConvolutionArguments& a) const {
  const ConvolutionStates states(*this, a);
  auto update = states.update(*this, commandBuffer);
  update.takeArray("inputSumOfSquaresVectors", a.inputSumOfSquaresVectors, /*isRequired=*/true);
  update.record([&](const operations::OptimizerOperands& operands, const Views& views) {
    return detail::updateOf(*this, operands, views[0]);
  });
}

void NNOptimizerAdam::encode(CommandBuffer& commandBuffer, const ConvolutionArguments& a) {
  const ConvolutionStates states(*this, a);
  auto update = states.update(*this, commandBuffer);
  update.takeArray("inputMomentumVectors", a.inputMomentumVectors, /*isRequired=*/true);
  update.takeArray("inputVelocityVectors", a.inputVelocityVectors, /*isRequired=*/true);
  update.takeArray("maximumVelocityVectors", a.maximumVelocityVectors, /*isRequired=*/false);
  const std::size_t step = detail::nextTimeStep(*this);
  update.record([&](const operations::OptimizerOperands& operands, const Views& views) {
    return detail::updateOf(*this, step, operands,
                            {.momentum = views[0], .velocity = views[1], .maximumVelocity = views[2]});
  });
  timeStep = step;
}

}  // namespace metalloid
