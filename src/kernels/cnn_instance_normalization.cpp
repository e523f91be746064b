#include "kernels/group_normalization_state.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_instance_normalization.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace {

constexpr std::string_view kState = "CNNInstanceNormalizationGradientState";

}  // namespace

CNNInstanceNormalizationGradientState::CNNInstanceNormalizationGradientState(const State& state)
    : NNGradientState(state ? detail::Ref<detail::RefCounted>(&detail::groupNormalizationState(state, kState))
                            : detail::Ref<detail::RefCounted>()) {}

const CNNInstanceNormalization& CNNInstanceNormalizationGradientState::instanceNormalization() const {
  return static_cast<const CNNInstanceNormalization&>(detail::groupNormalizationState(*this, kState).kernel());
}

Vector CNNInstanceNormalizationGradientState::gamma() const {
  return detail::groupNormalizationState(*this, kState).parameters().gamma;
}
Vector CNNInstanceNormalizationGradientState::beta() const {
  return detail::groupNormalizationState(*this, kState).parameters().beta;
}
Vector CNNInstanceNormalizationGradientState::gradientForGamma() const {
  return detail::groupNormalizationState(*this, kState).gradientForGamma();
}
Vector CNNInstanceNormalizationGradientState::gradientForBeta() const {
  return detail::groupNormalizationState(*this, kState).gradientForBeta();
}

CNNNormalizationGammaAndBetaState CNNInstanceNormalizationDataSource::updateGammaAndBeta(
    CommandBuffer&, const CNNInstanceNormalizationGradientStateBatch&) {
  return {};
}
bool CNNInstanceNormalizationDataSource::updateGammaAndBeta(const CNNInstanceNormalizationGradientStateBatch&) {
  return false;
}
std::shared_ptr<CNNInstanceNormalizationDataSource> CNNInstanceNormalizationDataSource::copy(const Device&) {
  return nullptr;
}

CNNInstanceNormalization::CNNInstanceNormalization(const Device& device,
                                                   std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource)
    : GroupNormalizationKernel(device, "CNNInstanceNormalization"), dataSource_(std::move(dataSource)) {
  if (!dataSource_) throw Error(ErrorCode::invalidArgument, "The data source of a CNNInstanceNormalization is nil.");
  loadFrom(*dataSource_, dataSource_->numberOfFeatureChannels());
}

CNNInstanceNormalization::CNNInstanceNormalization(Unarchiver& coder, const Device& device)
    : GroupNormalizationKernel(device, "CNNInstanceNormalization") {
  decode(coder);
  dataSource_ = std::make_shared<detail::ArchivedGroupNormalizationSource<CNNInstanceNormalizationDataSource>>(
      label, epsilon, detail::valuesOf(*parameters_));
}

void CNNInstanceNormalization::reloadDataSource(std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource) {
  if (!dataSource) throw Error(ErrorCode::invalidArgument, fmt::format("The data source for {} is nil.", name()));
  const detail::LoadedSource loaded(*dataSource, name());
  if (dataSource->numberOfFeatureChannels() != numberOfFeatureChannels()) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("{} has {} channels, but its new data source has {}.", name(), numberOfFeatureChannels(),
                            dataSource->numberOfFeatureChannels()));
  }
  detail::readGammaAndBeta(*dataSource, name(), *parameters_);
  dataSource_ = std::move(dataSource);
}

CNNInstanceNormalization CNNInstanceNormalization::copy(const Device& device) const {
  auto result = copyOf(*this, device);
  if (result.parameters_ == parameters_) result.parameters_ = detail::parametersOn(this->device(), *parameters_);
  return result;
}

std::shared_ptr<const detail::GroupNormalizationKernel> CNNInstanceNormalization::snapshot() const {
  return std::make_shared<const CNNInstanceNormalization>(*this);
}

void CNNInstanceNormalization::setDevice(const Device& device) {
  if (device == this->device()) return;
  GroupNormalizationKernel::setDevice(device);
  if (auto source = dataSource_->copy(device)) dataSource_ = std::move(source);
}

void CNNInstanceNormalization::visitSettings(detail::SettingsVisitor& visitor) {
  GroupNormalizationKernel::visitSettings(visitor);
  if (groups_ != numberOfFeatureChannels())
    detail::refuseSetting("CNNInstanceNormalization", "groups", "they are not the channels.");
}

CNNInstanceNormalizationGradient::CNNInstanceNormalizationGradient(const Device& device)
    : CNNGradientKernel(device, "CNNInstanceNormalizationGradient") {}

CNNInstanceNormalizationGradient::CNNInstanceNormalizationGradient(Unarchiver& coder, const Device& device)
    : CNNInstanceNormalizationGradient(device) {
  decode(coder);
}

void CNNInstanceNormalizationGradient::record(detail::Encoding& encoding, const detail::ImageOperands& operands) const {
  detail::recordGroupNormalizationGradient(encoding, *this, operands, kState);
}

CNNInstanceNormalizationGradient CNNInstanceNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

}  // namespace metalloid
