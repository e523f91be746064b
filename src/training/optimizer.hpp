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

/// Updates vectors of parameters of one size from their gradients, one after another in time.
class VectorOptimizer {
 public:
  /// The names of what an optimizer with these options remembers of earlier gradients.
  static std::vector<std::string> stateNames(const OptimizerOptions& options);

  /// `state`: a vector of zeros for each of these names. `regularized`: whether weight decay and L1 apply.
  VectorOptimizer(const Device& device, const OptimizerOptions& options, bool regularized, std::string label,
                  std::vector<Vector> state);

  /// Records an update of `values`, in place.
  void encode(CommandBuffer& commandBuffer, const Vector& gradient, const Vector& values, float learningRate);

  /// Updates encoded so far.
  void setTimeStep(std::uint64_t timeStep);

 private:
  std::variant<NNOptimizerStochasticGradientDescent, NNOptimizerRMSProp, NNOptimizerAdam> kernel_;
  std::vector<Vector> state_;
};

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
  /// One group of parameters, and what updates it.
  struct Update {
    VectorOptimizer optimizer;
    ParameterArena::Group parameters;
  };

  void add(const Device& device, const OptimizerOptions& options, const ParameterArena::Group& group,
           std::size_t firstElement, bool regularized);

  std::uint64_t timeStep_ = 0;
  std::vector<std::pair<std::string, Vector>> state_;
  std::vector<Update> updates_;
};

}  // namespace metalloid::training
