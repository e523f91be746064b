#include "core/format.hpp"
#include "kernels/batch_normalization_state.hpp"
#include "kernels/image_geometry.hpp"
#include "math/neuron.hpp"
#include "operations/cnn_batch_normalization.hpp"

#include <metalloid/cnn_batch_normalization.hpp>

#include <algorithm>
#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::parameterView;

namespace {

/// The state, after the checks that both kernels share.
detail::BatchNormalizationStateImplementation& readState(Encoding& encoding, const ImageOperands& operands,
                                                         const detail::NeuronSettings& neuron) {
  auto& state = detail::batchNormalizationState(encoding, operands.sourceStates);
  encoding.reads("batchNormalizationState", operands.sourceStates.front());
  if (neuron.descriptor() != state.kernel().fusedNeuronDescriptor()) {
    encoding.refuse(fmt::format("The neuron of {} is another than that of the forward kernel {}.",
                                encoding.kernelName(), state.kernel().name()));
  }
  return state;
}

}  // namespace

// --- Gradients for scale and shift -----------------------------------------------------------------------------------

CNNBatchNormalizationStatisticsGradient::CNNBatchNormalizationStatisticsGradient(
    const Device& device, const NNNeuronDescriptor& fusedNeuronDescriptor)
    : CNNGradientKernel(device, "CNNBatchNormalizationStatisticsGradient") {
  neuron_.set(device, fusedNeuronDescriptor);
}

CNNBatchNormalizationStatisticsGradient::CNNBatchNormalizationStatisticsGradient(Unarchiver& coder,
                                                                                 const Device& device)
    : CNNBatchNormalizationStatisticsGradient(device) {
  decode(coder);
}

void CNNBatchNormalizationStatisticsGradient::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& a) {
  if (a.batchNormalizationState) configure(a.batchNormalizationState);
  encodeImages(commandBuffer, {.sources = {a.sourceGradients, a.sourceImages},
                               .sourceStates = {a.batchNormalizationState},
                               .destinationStates = {},
                               .destinations = {}});
}

void CNNBatchNormalizationStatisticsGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  if (!operands.destinations.empty())
    encoding.refuse(fmt::format("{} has no destination image, but is given one.", encoding.kernelName()));
  auto& state = readState(encoding, operands, neuron_);
  const auto primary = sourceSettings(0), secondary = sourceSettings(1);
  const auto& gradients = operands.sources.at(0);
  const auto& sources = operands.sources.at(1);
  if (gradients.size() != sources.size()) {
    encoding.refuse(
        fmt::format("There are {} source gradients, but {} source images.", gradients.size(), sources.size()));
  }
  const auto images = detail::destinationImages(clipRect, sources);
  const auto gradientImages = detail::sourceImages(primary, images), forward = detail::sourceImages(secondary, images);
  auto gradient = encoding.source("sourceGradient", gradients, gradientImages.first, gradientImages.count);
  auto source = encoding.source("sourceImage", sources, forward.first, forward.count);
  const std::size_t channels = std::min(detail::channelsRead(encoding, primary, gradient.descriptor()),
                                        detail::channelsRead(encoding, secondary, source.descriptor()));
  detail::requireChannels(encoding, state.channels(), channels);
  const std::size_t width = std::min(clipRect.size.width, source.width());
  const std::size_t height = std::min(clipRect.size.height, source.height());
  auto gradientView = encoding.region(gradient, primary.offset, width, height, primary.featureChannelOffset, channels,
                                      ImageEdgeMode::zero);
  auto sourceView = encoding.region(source, secondary.offset, width, height, secondary.featureChannelOffset, channels,
                                    secondary.edgeMode);
  const std::size_t count = sourceView.images * sourceView.pixels();
  const auto& parameters = state.parameters();
  const auto vector = [&](std::string_view role, const Vector& v) {
    return (state.hasGradients ? encoding.update(role, v) : encoding.result(role, v)).view(channels, {});
  };
  encoding.record(operations::CNNBatchNormalizationStatisticsGradient{
      .gradient = std::move(gradientView),
      .source = std::move(sourceView),
      .mean = parameterView(encoding, "mean", state.mean(), channels),
      .variance = parameterView(encoding, "variance", state.variance(), channels),
      .gamma = parameterView(encoding, "gamma", parameters.gamma, channels),
      .beta = parameterView(encoding, "beta", parameters.beta, channels),
      .slopes = detail::slopesFor(encoding, neuron_, channels),
      .resultForGamma = vector("gradientForGamma", state.gradientForGamma()),
      .resultForBeta = vector("gradientForBeta", state.gradientForBeta()),
      .accumulates = state.hasGradients,
      .epsilon = state.kernel().epsilon,
      .neuron = neuron_.function()});
  state.hasGradients = true;
  state.gradientCount += count;
}

CNNBatchNormalizationStatisticsGradient CNNBatchNormalizationStatisticsGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNBatchNormalizationStatisticsGradient::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
}

void CNNBatchNormalizationStatisticsGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  neuron_.visit(visitor, device());
}

// --- Gradient for the source -----------------------------------------------------------------------------------------

CNNBatchNormalizationGradient::CNNBatchNormalizationGradient(const Device& device,
                                                             const NNNeuronDescriptor& fusedNeuronDescriptor)
    : CNNGradientKernel(device, "CNNBatchNormalizationGradient") {
  neuron_.set(device, fusedNeuronDescriptor);
}

CNNBatchNormalizationGradient::CNNBatchNormalizationGradient(Unarchiver& coder, const Device& device)
    : CNNBatchNormalizationGradient(device) {
  decode(coder);
}

Image CNNBatchNormalizationGradient::encode(CommandBuffer& commandBuffer, const Arguments& a) {
  return encodeBatch(commandBuffer,
                     {.sourceGradients = {a.sourceGradient},
                      .sourceImages = {a.sourceImage},
                      .batchNormalizationState = a.batchNormalizationState,
                      .destinationGradients = a.destinationGradient ? ImageBatch{a.destinationGradient} : ImageBatch()})
      .front();
}

ImageBatch CNNBatchNormalizationGradient::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& a) {
  return run(commandBuffer,
             {.sources = {a.sourceGradients, a.sourceImages},
              .sourceStates = a.batchNormalizationState ? StateBatch{a.batchNormalizationState} : StateBatch(),
              .destinationStates = {},
              .destinations = a.destinationGradients},
             nullptr, false);
}

void CNNBatchNormalizationGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  const auto& state = readState(encoding, operands, neuron_);
  if (state.gradientCount != state.statisticsCount && state.hasStatistics()) {
    encoding.refuse(
        fmt::format("The batchNormalizationState has statistics of {} pixels, but gradients of {}: "
                    "CNNBatchNormalizationStatisticsGradient must have been encoded for the whole batch before {}.",
                    state.statisticsCount, state.gradientCount, encoding.kernelName()));
  }
  auto views = detail::pointwiseGradientViews(encoding, *this, operands);
  const std::size_t channels = state.channels();
  detail::requireChannels(encoding, channels, views.result.channels);
  const auto& parameters = state.parameters();
  operations::CNNBatchNormalizationGradient operation{
      .gradient = std::move(views.gradient),
      .source = std::move(views.source),
      .mean = parameterView(encoding, "mean", state.mean(), channels),
      .variance = parameterView(encoding, "variance", state.variance(), channels),
      .gamma = parameterView(encoding, "gamma", parameters.gamma, channels),
      .beta = parameterView(encoding, "beta", parameters.beta, channels),
      .slopes = detail::slopesFor(encoding, neuron_, channels),
      .gradientForGamma = {},
      .gradientForBeta = {},
      .result = std::move(views.result),
      .count = state.statisticsCount,
      .epsilon = state.kernel().epsilon,
      .neuron = neuron_.function()};
  if (state.hasStatistics()) {
    operation.gradientForGamma = parameterView(encoding, "gradientForGamma", state.gradientForGamma(), channels);
    operation.gradientForBeta = parameterView(encoding, "gradientForBeta", state.gradientForBeta(), channels);
  }
  encoding.record(std::move(operation));
}

CNNBatchNormalizationGradient CNNBatchNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNBatchNormalizationGradient::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
}

void CNNBatchNormalizationGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  neuron_.visit(visitor, device());
}

}  // namespace metalloid
