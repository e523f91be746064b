#pragma once

#include "kernels/encoding.hpp"
#include "operations/optimizer.hpp"

#include <metalloid/nn_optimizer.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace metalloid::detail {

// The operations, with the optimizer's settings.

operations::Operation updateOf(const NNOptimizerStochasticGradientDescent& optimizer,
                               const operations::OptimizerOperands& operands, const operations::MatrixView& momentum);
operations::Operation updateOf(const NNOptimizerRMSProp& optimizer, const operations::OptimizerOperands& operands,
                               const operations::MatrixView& sumOfSquares);

struct AdamState {
  operations::MatrixView momentum;
  operations::MatrixView velocity;
  operations::MatrixView maximumVelocity;  // optional
};
operations::Operation updateOf(const NNOptimizerAdam& optimizer, std::size_t step,
                               const operations::OptimizerOperands& operands, const AdamState& state);

/// The step that the next update is. @throws Error (invalidArgument) at the end of all numbers.
std::size_t nextTimeStep(const NNOptimizerAdam& optimizer);

/// One parameter of a layer, such as its weights, on its way from one state to another.
struct ParameterUpdate {
  std::string_view gradientRole, valuesRole, resultRole;
  Vector gradient;
  Vector values;  // nil: the layer has none, and nothing happens
  Vector result;
};

/// The parameters of one layer, of which an optimizer updates as many as there are state vectors; the others are
/// copied. All in one encode: refused as a whole, recorded as a whole.
class LayerUpdate {
 public:
  /// Counts as a read of `states`, each with its role.
  LayerUpdate(const NNOptimizer& optimizer, const CommandBuffer& commandBuffer,
              std::span<const std::pair<std::string_view, State>> states, std::span<const ParameterUpdate> parameters);

  /// Each array must be empty or have one vector for each of the first parameters. A required one must not be empty.
  void takeArray(std::string_view role, const std::vector<Vector>& vectors, bool isRequired);

  /// `operationFor(operands, states)` makes the operation of one parameter; `states` holds its view of each array, in
  /// the order of taking, empty for empty ones.
  template <class F>
  void record(F&& operationFor) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!parameters_[i].values) continue;
      if (i < count_) {
        const auto operands = operandsOf(parameters_[i]);
        operations_.push_back(operationFor(operands, statesOf(i)));
      } else {
        keep(parameters_[i]);
      }
    }
    encoding_.record(std::move(operations_));
  }

 private:
  struct Array {
    std::string_view role;
    const std::vector<Vector>& vectors;
  };

  operations::OptimizerOperands operandsOf(const ParameterUpdate& parameter);
  std::vector<operations::MatrixView> statesOf(std::size_t index);
  void keep(const ParameterUpdate& parameter);
  void requireLength(std::string_view role, const Vector& vector, const ParameterUpdate& parameter) const;

  Encoding encoding_;
  std::span<const ParameterUpdate> parameters_;
  std::vector<Array> arrays_;
  std::size_t count_;  // of the parameters that are updated
  std::vector<operations::Operation> operations_;
};

}  // namespace metalloid::detail
