#include "training/trained_tensor.hpp"

#include "core/format.hpp"
#include "training/model.hpp"

#include <functional>
#include <numeric>
#include <utility>

namespace metalloid::training {

TrainedTensor::TrainedTensor(const Device& device, std::string name, std::vector<std::size_t> shape,
                             const std::optional<OptimizerOptions>& optimizer, bool regularized)
    : name_(std::move(name)),
      shape_(std::move(shape)),
      values_(std::accumulate(shape_.begin(), shape_.end(), std::size_t{1}, std::multiplies<>())) {
  if (!optimizer) return;
  std::vector<Vector> state;
  for (const auto& stateName : VectorOptimizer::stateNames(*optimizer)) {
    state.emplace_back(device, VectorDescriptor{.length = values_.size()});
    state.back().setLabel(fmt::format("{} of {}", stateName, name_));
    optimizerState_.emplace_back(fmt::format("optimizer.{}.{}", stateName, name_), state.back());
  }
  optimizer_.emplace(device, *optimizer, regularized, name_, std::move(state));
}

std::span<const float> TrainedTensor::read() {
  if (live_) values_ = live_.read<float>();
  return values_;
}

void TrainedTensor::write(std::span<const float> values) {
  values_.assign(values.begin(), values.end());
  live_ = {};
}

void TrainedTensor::encodeUpdate(CommandBuffer& commandBuffer, const Vector& gradient, const Vector& live,
                                 float learningRate) {
  optimizer_->encode(commandBuffer, gradient, live, learningRate);
  live_ = live;
}

void TrainedTensor::appendState(std::vector<NamedTensor>& state) {
  read();
  state.push_back({.name = name_, .shape = shape_, .values = values_});
  for (const auto& [name, vector] : optimizerState_) {
    state.push_back({.name = name, .shape = shape_, .values = vector.read<float>()});
  }
}

void TrainedTensor::restore(const Checkpoint& checkpoint) {
  const auto& values = tensorOf(checkpoint, name_, elements());
  for (const auto& [name, vector] : optimizerState_) vector.write(tensorOf(checkpoint, name, elements()).values);
  write(values.values);
  if (optimizer_) optimizer_->setTimeStep(checkpoint.step);
}

void TrainedTensor::resetOptimizer() {
  for (const auto& [name, vector] : optimizerState_) vector.write(std::vector<float>(elements()));
  if (optimizer_) optimizer_->setTimeStep(0);
}

}  // namespace metalloid::training
