#include "kernels/group_normalization_state.hpp"

#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace {

constexpr std::string_view kState = "CNNGroupNormalizationGradientState";

class ArchivedSource final : public detail::ArchivedGroupNormalizationSource<CNNGroupNormalizationDataSource> {
 public:
  ArchivedSource(std::string label, float epsilon, detail::NormalizationValues values, std::size_t groups)
      : ArchivedGroupNormalizationSource(std::move(label), epsilon, std::move(values)), groups_(groups) {}

  std::size_t numberOfGroups() const override { return groups_; }
  void setNumberOfGroups(std::size_t numberOfGroups) override { groups_ = numberOfGroups; }

 private:
  std::size_t groups_;
};

}  // namespace

CNNGroupNormalizationGradientState::CNNGroupNormalizationGradientState(const State& state)
    : NNGradientState(state ? detail::Ref<detail::RefCounted>(&detail::groupNormalizationState(state, kState))
                            : detail::Ref<detail::RefCounted>()) {}

const CNNGroupNormalization& CNNGroupNormalizationGradientState::groupNormalization() const {
  return static_cast<const CNNGroupNormalization&>(detail::groupNormalizationState(*this, kState).kernel());
}

Vector CNNGroupNormalizationGradientState::gamma() const {
  return detail::groupNormalizationState(*this, kState).parameters().gamma;
}
Vector CNNGroupNormalizationGradientState::beta() const {
  return detail::groupNormalizationState(*this, kState).parameters().beta;
}
Vector CNNGroupNormalizationGradientState::gradientForGamma() const {
  return detail::groupNormalizationState(*this, kState).gradientForGamma();
}
Vector CNNGroupNormalizationGradientState::gradientForBeta() const {
  return detail::groupNormalizationState(*this, kState).gradientForBeta();
}

CNNNormalizationGammaAndBetaState CNNGroupNormalizationDataSource::updateGammaAndBeta(
    CommandBuffer&, const CNNGroupNormalizationGradientStateBatch&) {
  return {};
}
bool CNNGroupNormalizationDataSource::updateGammaAndBeta(const CNNGroupNormalizationGradientStateBatch&) {
  return false;
}
std::shared_ptr<CNNGroupNormalizationDataSource> CNNGroupNormalizationDataSource::copy(const Device&) {
  return nullptr;
}

CNNGroupNormalization::CNNGroupNormalization(const Device& device,
                                             std::shared_ptr<CNNGroupNormalizationDataSource> dataSource)
    : GroupNormalizationKernel(device, "CNNGroupNormalization"), dataSource_(std::move(dataSource)) {
  if (!dataSource_) throw Error(ErrorCode::invalidArgument, "The data source of a CNNGroupNormalization is nil.");
  loadFrom(*dataSource_, dataSource_->numberOfGroups());
}

CNNGroupNormalization::CNNGroupNormalization(Unarchiver& coder, const Device& device)
    : GroupNormalizationKernel(device, "CNNGroupNormalization") {
  decode(coder);
  dataSource_ = std::make_shared<ArchivedSource>(label, epsilon, detail::valuesOf(*parameters_), groups_);
}

CNNGroupNormalization CNNGroupNormalization::copy(const Device& device) const {
  auto result = copyOf(*this, device);
  if (result.parameters_ == parameters_) result.parameters_ = detail::parametersOn(this->device(), *parameters_);
  return result;
}

std::shared_ptr<const detail::GroupNormalizationKernel> CNNGroupNormalization::snapshot() const {
  return std::make_shared<const CNNGroupNormalization>(*this);
}

void CNNGroupNormalization::setDevice(const Device& device) {
  if (device == this->device()) return;
  GroupNormalizationKernel::setDevice(device);
  if (auto source = dataSource_->copy(device)) dataSource_ = std::move(source);
}

CNNGroupNormalizationGradient::CNNGroupNormalizationGradient(const Device& device)
    : CNNGradientKernel(device, "CNNGroupNormalizationGradient") {}

CNNGroupNormalizationGradient::CNNGroupNormalizationGradient(Unarchiver& coder, const Device& device)
    : CNNGroupNormalizationGradient(device) {
  decode(coder);
}

void CNNGroupNormalizationGradient::record(detail::Encoding& encoding, const detail::ImageOperands& operands) const {
  detail::recordGroupNormalizationGradient(encoding, *this, operands, kState);
}

CNNGroupNormalizationGradient CNNGroupNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

}  // namespace metalloid
