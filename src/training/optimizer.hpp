#pragma once

#include "training/parameter_arena.hpp"
#include "training/training_options.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/nn_optimizer.hpp>
#include <metalloid/vector.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace metalloid::training {

/// Updates every parameter of an arena: one encode for the weight matrices, which are regularized, and one for the
/// rest.
class ParameterOptimizer {
 public:
  ParameterOptimizer(const Device& device, const OptimizerOptions& options, const ParameterArena& arena);

  /// Records one update with this learning rate.
  void encode(CommandBuffer& commandBuffer, float learningRate);

  /// Updates encoded so far.
  std::uint64_t timeStep() const { return timeStep_; }
  void setTimeStep(std::uint64_t timeStep);

  /// What the optimizer remembers of earlier gradients, with names; each has the arena's elements.
  const std::vector<std::pair<std::string, Vector>>& state() const { return state_; }

 private:
  using Kernel = std::variant<NNOptimizerStochasticGradientDescent, NNOptimizerRMSProp, NNOptimizerAdam>;

  /// The kernel and the operands of one group of parameters.
  struct Update {
    Kernel kernel;
    ParameterArena::Group parameters;
    std::vector<Vector> state;  ///< The group's part of each state.
  };

  void add(const Device& device, const OptimizerOptions& options, const ParameterArena::Group& group,
           std::size_t firstElement, bool regularized);

  std::uint64_t timeStep_ = 0;
  std::vector<std::pair<std::string, Vector>> state_;
  std::vector<Update> updates_;
};

}  // namespace metalloid::training
