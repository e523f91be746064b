#include "training/matrix_model.hpp"

#include <utility>

namespace metalloid::training {
namespace {

constexpr const char* kParameters = "parameters";
constexpr const char* kRunningStatistics = "running_statistics";
constexpr const char* kOptimizerPrefix = "optimizer.";

}  // namespace

MatrixModel::MatrixModel(const Device& device, const TrainingOptions& options, std::size_t maximumRows)
    : network_(device, options.network, maximumRows), optimizer_(device, options.optimizer, network_.parameters()) {
  network_.labelSmoothing = options.labelSmoothing;
}

std::size_t MatrixModel::minimumRows() const {
  return options().batchNormalization && !options().hidden.empty() ? 2 : 1;
}

void MatrixModel::initialize(const CommandQueue& queue, std::uint32_t seed) {
  network_.initialize(queue, seed);
  for (const auto& [name, state] : optimizer_.state()) state.write(std::vector<float>(state.length()));
  optimizer_.setTimeStep(0);
}

void MatrixModel::encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results,
                                     float learningRate) {
  network_.encodeTrainingStep(commandBuffer, batch, results);
  optimizer_.encode(commandBuffer, learningRate);
}

void MatrixModel::encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) {
  network_.encodeEvaluation(commandBuffer, batch, results);
}

std::vector<NamedTensor> MatrixModel::tensors() const {
  std::vector<NamedTensor> all;
  for (const auto& tensor : network_.tensors()) {
    all.push_back({.name = tensor.name, .shape = tensor.shape, .values = tensor.matrix.read<float>()});
  }
  return all;
}

void MatrixModel::assign(const std::vector<NamedTensor>& tensors) {
  const auto own = network_.tensors();
  for (const auto& tensor : own) tensor.matrix.write(tensorOf(tensors, tensor.name, tensor.shape).values);
  requireTensors(tensors, own.size());
}

std::vector<NamedTensor> MatrixModel::state() const {
  std::vector<NamedTensor> all;
  const Vector parameters = network_.parameters().values();
  all.push_back({.name = kParameters, .shape = {parameters.length()}, .values = parameters.read<float>()});
  if (const Matrix& statistics = network_.runningStatistics()) {
    all.push_back({.name = kRunningStatistics,
                   .shape = {statistics.rows(), statistics.columns()},
                   .values = statistics.read<float>()});
  }
  for (const auto& [name, state] : optimizer_.state()) {
    all.push_back({.name = kOptimizerPrefix + name, .shape = {state.length()}, .values = state.read<float>()});
  }
  return all;
}

void MatrixModel::restore(const Checkpoint& checkpoint, std::uint64_t /*images*/) {
  const Vector parameters = network_.parameters().values();
  const auto& values = tensorOf(checkpoint, kParameters, parameters.length());
  if (const Matrix& statistics = network_.runningStatistics()) {
    statistics.write(tensorOf(checkpoint, kRunningStatistics, statistics.rows() * statistics.columns()).values);
  }
  for (const auto& [name, state] : optimizer_.state()) {
    state.write(tensorOf(checkpoint, kOptimizerPrefix + name, state.length()).values);
  }
  parameters.write(values.values);
  optimizer_.setTimeStep(checkpoint.step);
}

std::vector<std::pair<std::string, std::vector<float>>> MatrixModel::intermediates() const {
  std::vector<std::pair<std::string, std::vector<float>>> all;
  for (const auto& [name, matrix] : network_.intermediates()) all.emplace_back(name, matrix.read<float>());
  return all;
}

}  // namespace metalloid::training
