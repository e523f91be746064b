#include "kernels/batch_normalization_state.hpp"

#include <utility>

namespace metalloid {

using detail::batchNormalizationState;

namespace detail {

BatchNormalizationStateImplementation::BatchNormalizationStateImplementation(const CNNBatchNormalization& kernel,
                                                                             CommandBuffer* commandBuffer,
                                                                             ForwardRecord record)
    : GradientStateImplementation(Ref<DeviceImplementation>(&implementation(kernel.device())), commandBuffer,
                                  std::move(record)),
      kernel_(kernel) {
  for (int i = 0; i < 4; ++i) addVector(channels(), DataType::float32);
}

BatchNormalizationStateImplementation& batchNormalizationState(const State& state) {
  return implementationAs<BatchNormalizationStateImplementation>(state, BatchNormalizationStateImplementation::kName);
}

BatchNormalizationStateImplementation& batchNormalizationState(const Encoding& encoding, const StateBatch& states) {
  if (states.empty() || !states.front()) encoding.refuse("The batchNormalizationState is nil.");
  auto* const state = dynamic_cast<BatchNormalizationStateImplementation*>(&implementation(states.front()));
  if (!state) {
    encoding.refuse("A " + std::string(BatchNormalizationStateImplementation::kName) + " is needed, but " +
                    implementation(states.front()).name() + " is given.");
  }
  for (const State& other : states) {
    if (other != states.front()) encoding.refuse("Several states are given, but one serves the whole batch.");
  }
  return *state;
}

}  // namespace detail

CNNBatchNormalizationState::CNNBatchNormalizationState(const State& state)
    : NNGradientState(state ? detail::Ref<detail::RefCounted>(&batchNormalizationState(state))
                            : detail::Ref<detail::RefCounted>()) {}

const CNNBatchNormalization& CNNBatchNormalizationState::batchNormalization() const {
  return batchNormalizationState(*this).kernel();
}

void CNNBatchNormalizationState::reset() const {
  auto& self = batchNormalizationState(*this);
  self.statisticsCount = self.gradientCount = 0;
  self.hasGradients = false;
}

Vector CNNBatchNormalizationState::gamma() const { return batchNormalizationState(*this).parameters().gamma; }
Vector CNNBatchNormalizationState::beta() const { return batchNormalizationState(*this).parameters().beta; }
Vector CNNBatchNormalizationState::mean() const { return batchNormalizationState(*this).mean(); }
Vector CNNBatchNormalizationState::variance() const { return batchNormalizationState(*this).variance(); }
Vector CNNBatchNormalizationState::gradientForGamma() const {
  const auto& self = batchNormalizationState(*this);
  return self.hasGradients ? self.gradientForGamma() : Vector();
}
Vector CNNBatchNormalizationState::gradientForBeta() const {
  const auto& self = batchNormalizationState(*this);
  return self.hasGradients ? self.gradientForBeta() : Vector();
}

CNNNormalizationGammaAndBetaState CNNBatchNormalizationDataSource::updateGammaAndBeta(
    CommandBuffer&, const CNNBatchNormalizationState&) {
  return {};
}
CNNNormalizationMeanAndVarianceState CNNBatchNormalizationDataSource::updateMeanAndVariance(
    CommandBuffer&, const CNNBatchNormalizationState&) {
  return {};
}
bool CNNBatchNormalizationDataSource::updateGammaAndBeta(const CNNBatchNormalizationState&) { return false; }
bool CNNBatchNormalizationDataSource::updateMeanAndVariance(const CNNBatchNormalizationState&) { return false; }
std::shared_ptr<CNNBatchNormalizationDataSource> CNNBatchNormalizationDataSource::copy(const Device&) {
  return nullptr;
}

}  // namespace metalloid
