#include "kernels/optimizer_updates.hpp"

#include "core/format.hpp"
#include "kernels/vector_row.hpp"
#include "operations/copy.hpp"

#include <metalloid/error.hpp>

#include <cmath>

namespace metalloid::detail {

using operations::GradientPreprocessing;
using operations::MatrixView;

namespace {

GradientPreprocessing preprocessingOf(const NNOptimizer& optimizer) {
  using Regularization = GradientPreprocessing::Regularization;
  const auto type = optimizer.regularizationType();
  return {.learningRate = optimizer.learningRate(),
          .rescale = optimizer.gradientRescale(),
          .clip = optimizer.applyGradientClipping,
          .clipMaximum = optimizer.gradientClipMax(),
          .clipMinimum = optimizer.gradientClipMin(),
          .regularization = type == NNRegularizationType::L1   ? Regularization::l1
                            : type == NNRegularizationType::L2 ? Regularization::l2
                                                               : Regularization::none,
          .regularizationScale = optimizer.regularizationScale()};
}

}  // namespace

operations::Operation updateOf(const NNOptimizerStochasticGradientDescent& optimizer,
                               const operations::OptimizerOperands& operands, const MatrixView& momentum) {
  return operations::OptimizerStochasticGradientDescent{.operands = operands,
                                                        .momentum = momentum,
                                                        .preprocessing = preprocessingOf(optimizer),
                                                        .momentumScale = optimizer.momentumScale(),
                                                        .useNesterovMomentum = optimizer.useNesterovMomentum()};
}

operations::Operation updateOf(const NNOptimizerRMSProp& optimizer, const operations::OptimizerOperands& operands,
                               const MatrixView& sumOfSquares) {
  return operations::OptimizerRMSProp{.operands = operands,
                                      .sumOfSquares = sumOfSquares,
                                      .preprocessing = preprocessingOf(optimizer),
                                      .decay = optimizer.decay(),
                                      .epsilon = optimizer.epsilon()};
}

operations::Operation updateOf(const NNOptimizerAdam& optimizer, std::size_t step,
                               const operations::OptimizerOperands& operands, const AdamState& state) {
  const double t = static_cast<double>(step);
  const double correction = std::sqrt(1 - std::pow(optimizer.beta2(), t)) / (1 - std::pow(optimizer.beta1(), t));
  return operations::OptimizerAdam{
      .operands = operands,
      .momentum = state.momentum,
      .velocity = state.velocity,
      .maximumVelocity = state.maximumVelocity,
      .preprocessing = preprocessingOf(optimizer),
      .beta1 = optimizer.beta1(),
      .beta2 = optimizer.beta2(),
      .epsilon = optimizer.epsilon(),
      .correctedLearningRate = static_cast<float>(static_cast<double>(optimizer.learningRate()) * correction)};
}

std::size_t nextTimeStep(const NNOptimizerAdam& optimizer) {
  const std::size_t step = optimizer.timeStep + 1;
  if (step != 0) return step;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("The timeStep of {} is {}, the largest there is.", optimizer.name(), optimizer.timeStep))
      .during(fmt::format("encoding {}", optimizer.name()));
}

LayerUpdate::LayerUpdate(const NNOptimizer& optimizer, const CommandBuffer& commandBuffer,
                         std::span<const std::pair<std::string_view, State>> states,
                         std::span<const ParameterUpdate> parameters)
    : encoding_(optimizer, commandBuffer), parameters_(parameters), count_(parameters.size()) {
  for (const auto& [role, state] : states) encoding_.reads(role, state);
}

void LayerUpdate::takeArray(std::string_view role, const std::vector<Vector>& vectors, bool isRequired) {
  if (vectors.size() > parameters_.size()) {
    encoding_.refuse(
        fmt::format("The {} hold {} vectors, but there are {} parameters.", role, vectors.size(), parameters_.size()));
  }
  if (vectors.empty() && isRequired) encoding_.refuse(fmt::format("The {} are empty.", role));
  if (!vectors.empty()) {
    for (const Array& other : arrays_) {
      if (other.vectors.empty() || other.vectors.size() == vectors.size()) continue;
      encoding_.refuse(fmt::format("The {} hold {} vectors, but the {} hold {}.", role, vectors.size(), other.role,
                                   other.vectors.size()));
    }
    count_ = vectors.size();
  }
  arrays_.push_back({role, vectors});
}

void LayerUpdate::requireLength(std::string_view role, const Vector& vector, const ParameterUpdate& parameter) const {
  if (!vector) encoding_.refuse(fmt::format("The {} are nil.", role));
  if (vector.length() == parameter.values.length() && vector.vectors() == 1) return;
  encoding_.refuse(fmt::format("The {} have {} elements, but the {} have {}.", role, vector.vectors() * vector.length(),
                               parameter.valuesRole, parameter.values.length()));
}

operations::OptimizerOperands LayerUpdate::operandsOf(const ParameterUpdate& parameter) {
  requireLength(parameter.gradientRole, parameter.gradient, parameter);
  requireLength(parameter.resultRole, parameter.result, parameter);
  const std::size_t length = parameter.values.length();
  auto gradient = encoding_.source(parameter.gradientRole, parameter.gradient);
  auto values = encoding_.source(parameter.valuesRole, parameter.values);
  auto result = encoding_.result(parameter.resultRole, parameter.result);
  encoding_.allowInPlace(result, values);
  return {.gradient = rowOf(gradient.view(length, {})),
          .values = rowOf(values.view(length, {})),
          .result = rowOf(result.view(length, {}))};
}

std::vector<MatrixView> LayerUpdate::statesOf(std::size_t index) {
  std::vector<MatrixView> views;
  for (const Array& array : arrays_) {
    if (array.vectors.empty()) {
      views.emplace_back();
      continue;
    }
    const Vector& vector = array.vectors[index];
    requireLength(array.role, vector, parameters_[index]);
    auto operand = encoding_.update(array.role, vector);
    encoding_.requireType(operand, {DataType::float32, DataType::float16, DataType::bFloat16});
    views.push_back(rowOf(operand.view(vector.length(), {})));
  }
  return views;
}

void LayerUpdate::keep(const ParameterUpdate& parameter) {
  if (!parameter.result) return;
  requireLength(parameter.resultRole, parameter.result, parameter);
  auto values = encoding_.source(parameter.valuesRole, parameter.values);
  auto result = encoding_.result(parameter.resultRole, parameter.result);
  encoding_.allowInPlace(result, values);
  const auto from = values.view(parameter.values.length(), {}), to = result.view(parameter.values.length(), {});
  if (from.data == to.data) return;
  operations_.emplace_back(operations::MatrixCopy{.items = {{.source = rowOf(from), .destination = rowOf(to)}},
                                                  .offsets = {},
                                                  .rowPermute = {},
                                                  .columnPermute = {},
                                                  .rows = 1,
                                                  .columns = from.length});
}

}  // namespace metalloid::detail
