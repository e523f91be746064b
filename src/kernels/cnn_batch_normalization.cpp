#include "operations/cnn_batch_normalization.hpp"

#include "core/format.hpp"
#include "kernels/batch_normalization_state.hpp"
#include "kernels/image_geometry.hpp"
#include "math/neuron.hpp"

#include <metalloid/cnn_batch_normalization.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::NormalizationParameters;
using detail::NormalizationValues;
using detail::parameterView;

namespace {

/// What an archive held.
class ArchivedSource final : public CNNBatchNormalizationDataSource {
 public:
  ArchivedSource(std::string label, float epsilon, NormalizationValues values)
      : label_(std::move(label)), epsilon_(epsilon), values_(std::move(values)) {}

  std::size_t numberOfFeatureChannels() const override { return values_.gamma.size(); }
  std::string label() const override { return label_; }
  std::span<const float> gamma() override { return values_.gamma; }
  std::span<const float> beta() override { return values_.beta; }
  std::span<const float> mean() override { return values_.mean; }
  std::span<const float> variance() override { return values_.variance; }
  float epsilon() const override { return epsilon_; }
  bool load() override { return true; }
  void purge() override {}

 private:
  std::string label_;
  float epsilon_;
  NormalizationValues values_;
};

/// Reads mean and variance of a loaded source.
void readMeanAndVariance(CNNBatchNormalizationDataSource& source, const std::string& kernel,
                         NormalizationParameters& parameters) {
  const auto mean = source.mean(), variance = source.variance();
  detail::checkLength(kernel, "mean", mean, parameters.channels());
  detail::checkLength(kernel, "variance", variance, parameters.channels());
  detail::writeOr(parameters.mean, mean, 0);
  detail::writeOr(parameters.variance, variance, 1);
  parameters.hasStatistics = !mean.empty() && !variance.empty();
}

/// Everything of a source that is not loaded yet.
std::shared_ptr<NormalizationParameters> readAll(const Device& device, CNNBatchNormalizationDataSource* source,
                                                 const std::string& kernel) {
  if (!source) throw Error(ErrorCode::invalidArgument, fmt::format("The data source of a {} is nil.", kernel));
  const detail::LoadedSource loaded(*source, kernel);
  const std::size_t channels = source->numberOfFeatureChannels();
  if (channels == 0)
    throw Error(ErrorCode::invalidArgument, fmt::format("The data source of a {} has 0 channels.", kernel));
  auto parameters = detail::makeParameters(device, channels, true);
  detail::readGammaAndBeta(*source, kernel, *parameters);
  readMeanAndVariance(*source, kernel, *parameters);
  return parameters;
}

}  // namespace

CNNBatchNormalization::CNNBatchNormalization(const Device& device,
                                             std::shared_ptr<CNNBatchNormalizationDataSource> dataSource,
                                             const NNNeuronDescriptor& fusedNeuronDescriptor)
    : CNNKernel(device, "CNNBatchNormalization"),
      dataSource_(std::move(dataSource)),
      parameters_(readAll(device, dataSource_.get(), name())) {
  epsilon = dataSource_->epsilon();
  label = dataSource_->label();
  neuron_.set(device, fusedNeuronDescriptor);
}

CNNBatchNormalization::CNNBatchNormalization(const CNNBatchNormalization& other,
                                             const NNNeuronDescriptor& fusedNeuronDescriptor)
    : CNNBatchNormalization(other) {
  neuron_.set(device(), fusedNeuronDescriptor);
}

CNNBatchNormalization::CNNBatchNormalization(Unarchiver& coder, const Device& device)
    : CNNKernel(device, "CNNBatchNormalization"), epsilon(0) {
  decode(coder);
  dataSource_ = std::make_shared<ArchivedSource>(label, epsilon, detail::valuesOf(*parameters_));
}

std::size_t CNNBatchNormalization::numberOfFeatureChannels() const { return parameters_->channels(); }

Image CNNBatchNormalization::encode(CommandBuffer& commandBuffer, const Arguments& a) {
  return encodeBatch(commandBuffer,
                     {.sourceImages = {a.sourceImage},
                      .batchNormalizationState = a.batchNormalizationState,
                      .destinationImages = a.destinationImage ? ImageBatch{a.destinationImage} : ImageBatch()})
      .front();
}

ImageBatch CNNBatchNormalization::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& a) {
  return run(commandBuffer,
             {.sources = {a.sourceImages},
              .sourceStates = a.batchNormalizationState ? StateBatch{a.batchNormalizationState} : StateBatch(),
              .destinationStates = {},
              .destinations = a.destinationImages},
             nullptr, false);
}

State CNNBatchNormalization::makeResultState(const ResultStateArguments& arguments) {
  return detail::stateHandle<CNNBatchNormalizationState>(detail::makeRef<detail::BatchNormalizationStateImplementation>(
      *this, arguments.commandBuffer, detail::recordOf(*this, arguments.sources, arguments.destination)));
}

CNNBatchNormalizationState CNNBatchNormalization::resultState(const StateArguments& arguments) {
  return CNNBatchNormalizationState(CNNKernel::resultState(arguments));
}

CNNBatchNormalizationState CNNBatchNormalization::temporaryResultState(CommandBuffer& commandBuffer,
                                                                       const StateArguments& arguments) {
  return CNNBatchNormalizationState(CNNKernel::temporaryResultState(commandBuffer, arguments));
}

void CNNBatchNormalization::record(Encoding& encoding, const ImageOperands& operands) const {
  if (!operands.destinationStates.empty())
    encoding.refuse(fmt::format("{} reads its state, but is given one to fill.", encoding.kernelName()));
  const NormalizationParameters* parameters = parameters_.get();
  Vector mean = parameters->mean, variance = parameters->variance;
  if (operands.sourceStates.empty()) {
    if (!parameters->hasStatistics) {
      encoding.refuse(fmt::format(
          "The data source of {} has no mean and variance, so that a batchNormalizationState is needed, which is nil.",
          encoding.kernelName()));
    }
  } else {
    const auto& state = detail::batchNormalizationState(encoding, operands.sourceStates);
    encoding.reads("batchNormalizationState", operands.sourceStates.front());
    parameters = &state.parameters();
    mean = state.mean();
    variance = state.variance();
  }
  auto views = detail::pointwiseViews(encoding, *this, operands);
  const std::size_t channels = parameters->channels();
  detail::requireChannels(encoding, channels, views.result.channels);
  encoding.record(
      operations::CNNBatchNormalization{.source = std::move(views.source),
                                        .mean = parameterView(encoding, "mean", mean, channels),
                                        .variance = parameterView(encoding, "variance", variance, channels),
                                        .gamma = parameterView(encoding, "gamma", parameters->gamma, channels),
                                        .beta = parameterView(encoding, "beta", parameters->beta, channels),
                                        .slopes = detail::slopesFor(encoding, neuron_, channels),
                                        .result = std::move(views.result),
                                        .epsilon = epsilon,
                                        .neuron = neuron_.function()});
}

void CNNBatchNormalization::reloadGammaAndBetaFromDataSource() {
  const detail::LoadedSource loaded(*dataSource_, name());
  detail::readGammaAndBeta(*dataSource_, name(), *parameters_);
}

void CNNBatchNormalization::reloadMeanAndVarianceFromDataSource() {
  const detail::LoadedSource loaded(*dataSource_, name());
  readMeanAndVariance(*dataSource_, name(), *parameters_);
}

void CNNBatchNormalization::reloadGammaAndBeta(CommandBuffer& commandBuffer,
                                               const CNNNormalizationGammaAndBetaState& state) {
  if (!state) Encoding(*this, commandBuffer).refuse("The gammaAndBetaState is nil.");
  detail::encodeReload(*this, commandBuffer, "gammaAndBetaState", state,
                       {{"gamma", state.gamma(), parameters_->gamma}, {"beta", state.beta(), parameters_->beta}});
}

void CNNBatchNormalization::reloadMeanAndVariance(CommandBuffer& commandBuffer,
                                                  const CNNNormalizationMeanAndVarianceState& state) {
  if (!state) Encoding(*this, commandBuffer).refuse("The meanAndVarianceState is nil.");
  detail::encodeReload(
      *this, commandBuffer, "meanAndVarianceState", state,
      {{"mean", state.mean(), parameters_->mean}, {"variance", state.variance(), parameters_->variance}});
  parameters_->hasStatistics = true;
}

void CNNBatchNormalization::reloadDataSource(std::shared_ptr<CNNBatchNormalizationDataSource> dataSource) {
  if (!dataSource) throw Error(ErrorCode::invalidArgument, fmt::format("The data source for {} is nil.", name()));
  const detail::LoadedSource loaded(*dataSource, name());
  if (dataSource->numberOfFeatureChannels() != numberOfFeatureChannels()) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("{} has {} channels, but its new data source has {}.", name(), numberOfFeatureChannels(),
                            dataSource->numberOfFeatureChannels()));
  }
  detail::checkLength(name(), "mean", dataSource->mean(), numberOfFeatureChannels());
  detail::checkLength(name(), "variance", dataSource->variance(), numberOfFeatureChannels());
  detail::readGammaAndBeta(*dataSource, name(), *parameters_);
  readMeanAndVariance(*dataSource, name(), *parameters_);
  dataSource_ = std::move(dataSource);
}

CNNBatchNormalization CNNBatchNormalization::copy(const Device& device) const {
  auto result = copyOf(*this, device);
  if (result.parameters_ == parameters_) result.parameters_ = detail::parametersOn(this->device(), *parameters_);
  return result;
}

void CNNBatchNormalization::setDevice(const Device& device) {
  if (device == this->device()) return;
  Kernel::setDevice(device);
  neuron_.moveTo(device);
  parameters_ = detail::parametersOn(device, *parameters_);
  if (auto source = dataSource_->copy(device)) dataSource_ = std::move(source);
}

void CNNBatchNormalization::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitor.visit("epsilon", epsilon);
  neuron_.visit(visitor, device());
  detail::visitParameters(visitor, "CNNBatchNormalization", device(), true, parameters_);
}

// --- Statistics ------------------------------------------------------------------------------------------------------

CNNBatchNormalizationStatistics::CNNBatchNormalizationStatistics(const Device& device)
    : CNNKernel(device, "CNNBatchNormalizationStatistics") {}

CNNBatchNormalizationStatistics::CNNBatchNormalizationStatistics(Unarchiver& coder, const Device& device)
    : CNNBatchNormalizationStatistics(device) {
  decode(coder);
}

void CNNBatchNormalizationStatistics::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& a) {
  encodeImages(commandBuffer, {.sources = {a.sourceImages},
                               .sourceStates = {a.batchNormalizationState},
                               .destinationStates = {},
                               .destinations = {}});
}

namespace {

/// The pixels from `offset` on, at most `size`, that there are along one axis.
void alongAxis(std::ptrdiff_t offset, std::size_t size, std::size_t available, std::size_t& first,
               std::size_t& length) {
  const auto begin = static_cast<std::size_t>(std::max<std::ptrdiff_t>(offset, 0));
  const std::size_t before = offset < 0 ? static_cast<std::size_t>(-offset) : 0;
  first = std::min(begin, available);
  length = std::min(size - std::min(size, before), available - first);
}

}  // namespace

void CNNBatchNormalizationStatistics::record(Encoding& encoding, const ImageOperands& operands) const {
  if (!operands.destinations.empty())
    encoding.refuse(fmt::format("{} has no destination image, but is given one.", encoding.kernelName()));
  auto& state = detail::batchNormalizationState(encoding, operands.sourceStates);
  const auto settings = sourceSettings(0);
  const auto images = detail::sourceImages(settings, detail::destinationImages(clipRect, operands.sources.at(0)));
  auto source = encoding.source("sourceImage", operands.sources[0], images.first, images.count);
  const std::size_t channels = detail::channelsRead(encoding, settings, source.descriptor());
  detail::requireChannels(encoding, state.channels(), channels);
  detail::PixelRect rect;
  alongAxis(offset.x, clipRect.size.width, source.width(), rect.x, rect.width);
  alongAxis(offset.y, clipRect.size.height, source.height(), rect.y, rect.height);
  auto view = source.view(rect, settings.featureChannelOffset, channels);
  const std::size_t count = view.images * view.pixels();
  const auto vector = [&](std::string_view role, const Vector& v) {
    return (state.hasStatistics() ? encoding.update(role, v) : encoding.result(role, v)).view(channels, {});
  };
  const auto mean = vector("mean", state.batchMean()), variance = vector("variance", state.batchVariance());
  encoding.record(operations::CNNBatchNormalizationStatistics{
      .source = std::move(view), .mean = mean, .variance = variance, .previousCount = state.statisticsCount});
  state.statisticsCount += count;
}

CNNBatchNormalizationStatistics CNNBatchNormalizationStatistics::copy(const Device& device) const {
  return copyOf(*this, device);
}

}  // namespace metalloid
