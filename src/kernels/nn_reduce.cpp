#include "operations/nn_reduce.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/nn_reduce.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::PixelRect;
using operations::ReduceAxis;
using operations::ReduceType;

namespace {

/// What a reduction leaves for its gradient: which pixels it read.
class ReductionStateImplementation : public detail::GradientStateImplementation {
 public:
  ReductionStateImplementation(detail::Ref<detail::DeviceImplementation> device, CommandBuffer* commandBuffer,
                               detail::ForwardRecord record, PixelRect region)
      : GradientStateImplementation(std::move(device), commandBuffer, std::move(record)), region_(region) {}

  const PixelRect& region() const { return region_; }

 private:
  PixelRect region_;
};

bool isOverX(ReduceAxis axis) { return axis == ReduceAxis::row || axis == ReduceAxis::spatial; }
bool isOverY(ReduceAxis axis) { return axis == ReduceAxis::column || axis == ReduceAxis::spatial; }

/// @throws Error when nothing is left.
PixelRect regionRead(const Encoding& encoding, std::string_view property, const Region& region,
                     const Encoding::ImageOperand& source) {
  const PixelRect rect = detail::clipped(region, source.descriptor());
  if (rect.width == 0 || rect.height == 0) {
    encoding.refuse(fmt::format("The {} of {} leaves nothing of the {} x {} pixels of its source.", property,
                                encoding.kernelName(), source.width(), source.height()));
  }
  return rect;
}

void requireAsMany(const Encoding& encoding, const ImageOperands& operands) {
  for (const auto& batch : operands.sources) {
    if (batch.size() == operands.destinations.size()) continue;
    encoding.refuse(fmt::format("{} is given {} source images, but {} destination images.", encoding.kernelName(),
                                batch.size(), operands.destinations.size()));
  }
}

}  // namespace

// --- One source

NNReduceUnary::NNReduceUnary(const Device& device, std::string_view className, ReduceAxis axis, ReduceType type)
    : CNNKernel(device, className), axis_(axis), type_(type) {}

void NNReduceUnary::adjustDestination(const ImageBatch& sources, const StateBatch&, ImageDescriptor& suggested) {
  const PixelRect rect = detail::clipped(clipRectSource, sources.front().descriptor());
  suggested.width = isOverX(axis_) ? 1 : std::max<std::size_t>(rect.width, 1);  // an encode refuses an empty region
  suggested.height = isOverY(axis_) ? 1 : std::max<std::size_t>(rect.height, 1);
  if (axis_ == ReduceAxis::featureChannels) suggested.featureChannels = 1;
}

void NNReduceUnary::record(Encoding& encoding, const ImageOperands& operands) const {
  requireAsMany(encoding, operands);
  const auto settings = sourceSettings(0);
  const auto images = detail::destinationImages(clipRect, operands.destinations);
  auto source = encoding.source("sourceImage", operands.sources[0], clipRectSource.origin.z, images.count);
  auto destination = encoding.result("destinationImage", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);
  const std::size_t channels = channelsRead(encoding, settings, source.descriptor());
  PixelRect rect = regionRead(encoding, "clipRectSource", clipRectSource, source);
  PixelRect clip = detail::clipped(clipRect, destination.descriptor());
  const auto along = [](bool isReduced, std::size_t& read, std::size_t& written) {
    written = std::min(written, isReduced ? 1 : read);
    if (!isReduced) read = written;
  };
  along(isOverX(axis_), rect.width, clip.width);
  along(isOverY(axis_), rect.height, clip.height);
  encoding.record(operations::NNReduce{.source = source.view(rect, settings.featureChannelOffset, channels),
                                       .result = destination.view(clip, destinationFeatureChannelOffset,
                                                                  axis_ == ReduceAxis::featureChannels ? 1 : channels),
                                       .axis = axis_,
                                       .type = type_,
                                       .weight = factor()});
}

void NNReduceUnary::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitor.visit("clipRectSource", clipRectSource);
}

NNReduceRowMin::NNReduceRowMin(const Device& device)
    : NNReduceUnary(device, "NNReduceRowMin", ReduceAxis::row, ReduceType::minimum) {}
NNReduceRowMin::NNReduceRowMin(Unarchiver& coder, const Device& device) : NNReduceRowMin(device) { decode(coder); }

NNReduceRowMax::NNReduceRowMax(const Device& device)
    : NNReduceUnary(device, "NNReduceRowMax", ReduceAxis::row, ReduceType::maximum) {}
NNReduceRowMax::NNReduceRowMax(Unarchiver& coder, const Device& device) : NNReduceRowMax(device) { decode(coder); }

NNReduceRowMean::NNReduceRowMean(const Device& device)
    : NNReduceUnary(device, "NNReduceRowMean", ReduceAxis::row, ReduceType::mean) {}
NNReduceRowMean::NNReduceRowMean(Unarchiver& coder, const Device& device) : NNReduceRowMean(device) { decode(coder); }

NNReduceRowSum::NNReduceRowSum(const Device& device)
    : NNReduceUnary(device, "NNReduceRowSum", ReduceAxis::row, ReduceType::sum) {}
NNReduceRowSum::NNReduceRowSum(Unarchiver& coder, const Device& device) : NNReduceRowSum(device) { decode(coder); }

NNReduceColumnMin::NNReduceColumnMin(const Device& device)
    : NNReduceUnary(device, "NNReduceColumnMin", ReduceAxis::column, ReduceType::minimum) {}
NNReduceColumnMin::NNReduceColumnMin(Unarchiver& coder, const Device& device) : NNReduceColumnMin(device) {
  decode(coder);
}

NNReduceColumnMax::NNReduceColumnMax(const Device& device)
    : NNReduceUnary(device, "NNReduceColumnMax", ReduceAxis::column, ReduceType::maximum) {}
NNReduceColumnMax::NNReduceColumnMax(Unarchiver& coder, const Device& device) : NNReduceColumnMax(device) {
  decode(coder);
}

NNReduceColumnMean::NNReduceColumnMean(const Device& device)
    : NNReduceUnary(device, "NNReduceColumnMean", ReduceAxis::column, ReduceType::mean) {}
NNReduceColumnMean::NNReduceColumnMean(Unarchiver& coder, const Device& device) : NNReduceColumnMean(device) {
  decode(coder);
}

NNReduceColumnSum::NNReduceColumnSum(const Device& device)
    : NNReduceUnary(device, "NNReduceColumnSum", ReduceAxis::column, ReduceType::sum) {}
NNReduceColumnSum::NNReduceColumnSum(Unarchiver& coder, const Device& device) : NNReduceColumnSum(device) {
  decode(coder);
}

NNReduceFeatureChannelsMin::NNReduceFeatureChannelsMin(const Device& device)
    : NNReduceUnary(device, "NNReduceFeatureChannelsMin", ReduceAxis::featureChannels, ReduceType::minimum) {}
NNReduceFeatureChannelsMin::NNReduceFeatureChannelsMin(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsMin(device) {
  decode(coder);
}

NNReduceFeatureChannelsMax::NNReduceFeatureChannelsMax(const Device& device)
    : NNReduceUnary(device, "NNReduceFeatureChannelsMax", ReduceAxis::featureChannels, ReduceType::maximum) {}
NNReduceFeatureChannelsMax::NNReduceFeatureChannelsMax(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsMax(device) {
  decode(coder);
}

NNReduceFeatureChannelsMean::NNReduceFeatureChannelsMean(const Device& device)
    : NNReduceUnary(device, "NNReduceFeatureChannelsMean", ReduceAxis::featureChannels, ReduceType::mean) {}
NNReduceFeatureChannelsMean::NNReduceFeatureChannelsMean(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsMean(device) {
  decode(coder);
}

NNReduceFeatureChannelsSum::NNReduceFeatureChannelsSum(const Device& device)
    : NNReduceUnary(device, "NNReduceFeatureChannelsSum", ReduceAxis::featureChannels, ReduceType::sum) {}
NNReduceFeatureChannelsSum::NNReduceFeatureChannelsSum(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsSum(device) {
  decode(coder);
}

void NNReduceFeatureChannelsSum::visitSettings(detail::SettingsVisitor& visitor) {
  NNReduceUnary::visitSettings(visitor);
  visitor.visit("weight", weight);
}

NNReduceFeatureChannelsArgumentMin::NNReduceFeatureChannelsArgumentMin(const Device& device)
    : NNReduceUnary(device, "NNReduceFeatureChannelsArgumentMin", ReduceAxis::featureChannels,
                    ReduceType::argumentMinimum) {}
NNReduceFeatureChannelsArgumentMin::NNReduceFeatureChannelsArgumentMin(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsArgumentMin(device) {
  decode(coder);
}

NNReduceFeatureChannelsArgumentMax::NNReduceFeatureChannelsArgumentMax(const Device& device)
    : NNReduceUnary(device, "NNReduceFeatureChannelsArgumentMax", ReduceAxis::featureChannels,
                    ReduceType::argumentMaximum) {}
NNReduceFeatureChannelsArgumentMax::NNReduceFeatureChannelsArgumentMax(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsArgumentMax(device) {
  decode(coder);
}

// --- Two sources

void NNReduceBinary::adjustDestination(const ImageBatch& sources, const StateBatch&, ImageDescriptor& suggested) {
  const PixelRect rect = detail::clipped(primarySourceClipRect, sources.front().descriptor());
  suggested.width = std::max<std::size_t>(rect.width, 1);
  suggested.height = std::max<std::size_t>(rect.height, 1);
  suggested.featureChannels = 1;
}

void NNReduceBinary::record(Encoding& encoding, const ImageOperands& operands) const {
  requireAsMany(encoding, operands);
  const auto images = detail::destinationImages(clipRect, operands.destinations);
  auto primary = encoding.source("primaryImage", operands.sources[0], primarySourceClipRect.origin.z, images.count);
  auto secondary =
      encoding.source("secondaryImage", operands.sources[1], secondarySourceClipRect.origin.z, images.count);
  auto destination = encoding.result("destinationImage", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);
  const std::size_t channels = channelsRead(encoding, sourceSettings(0), primary.descriptor());
  const std::size_t weightChannels = channelsRead(encoding, sourceSettings(1), secondary.descriptor());
  PixelRect rect = regionRead(encoding, "primarySourceClipRect", primarySourceClipRect, primary);
  PixelRect weightRect = regionRead(encoding, "secondarySourceClipRect", secondarySourceClipRect, secondary);
  if (rect.width != weightRect.width || rect.height != weightRect.height || channels != weightChannels) {
    encoding.refuse(fmt::format(
        "{} reads {} x {} pixels of {} channels of the primaryImage, but {} x {} of {} of the "
        "secondaryImage.",
        encoding.kernelName(), rect.width, rect.height, channels, weightRect.width, weightRect.height, weightChannels));
  }
  PixelRect clip = detail::clipped(clipRect, destination.descriptor());
  clip.width = rect.width = weightRect.width = std::min(clip.width, rect.width);
  clip.height = rect.height = weightRect.height = std::min(clip.height, rect.height);
  using Result = operations::NNReduceWeighted::Divisor;
  encoding.record(
      operations::NNReduceWeighted{.source = primary.view(rect, primarySourceFeatureChannelOffset, channels),
                                   .weights = secondary.view(weightRect, secondarySourceFeatureChannelOffset, channels),
                                   .result = destination.view(clip, destinationFeatureChannelOffset, 1),
                                   .divisor = divisor() == Divisor::channels         ? Result::channels
                                              : divisor() == Divisor::nonZeroWeights ? Result::nonZeroWeights
                                                                                     : Result::one});
}

void NNReduceBinary::visitSettings(detail::SettingsVisitor& visitor) {
  CNNBinaryKernel::visitSettings(visitor);
  visitor.visit("primarySourceClipRect", primarySourceClipRect);
  visitor.visit("secondarySourceClipRect", secondarySourceClipRect);
}

NNReduceFeatureChannelsAndWeightsSum::NNReduceFeatureChannelsAndWeightsSum(const Device& device,
                                                                           bool doWeightedSumByNonZeroWeights)
    : NNReduceBinary(device, "NNReduceFeatureChannelsAndWeightsSum"),
      isByNonZeroWeights_(doWeightedSumByNonZeroWeights) {}
NNReduceFeatureChannelsAndWeightsSum::NNReduceFeatureChannelsAndWeightsSum(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsAndWeightsSum(device) {
  decode(coder);
}

void NNReduceFeatureChannelsAndWeightsSum::visitSettings(detail::SettingsVisitor& visitor) {
  NNReduceBinary::visitSettings(visitor);
  visitor.visit("doWeightedSumByNonZeroWeights", isByNonZeroWeights_);
}

NNReduceFeatureChannelsAndWeightsMean::NNReduceFeatureChannelsAndWeightsMean(const Device& device)
    : NNReduceBinary(device, "NNReduceFeatureChannelsAndWeightsMean") {}
NNReduceFeatureChannelsAndWeightsMean::NNReduceFeatureChannelsAndWeightsMean(Unarchiver& coder, const Device& device)
    : NNReduceFeatureChannelsAndWeightsMean(device) {
  decode(coder);
}

// --- The spatial mean

NNReductionSpatialMean::NNReductionSpatialMean(const Device& device)
    : NNReduceUnary(device, "NNReductionSpatialMean", ReduceAxis::spatial, ReduceType::mean) {}
NNReductionSpatialMean::NNReductionSpatialMean(Unarchiver& coder, const Device& device)
    : NNReductionSpatialMean(device) {
  decode(coder);
}

State NNReductionSpatialMean::makeResultState(const ResultStateArguments& arguments) {
  return detail::stateHandle<NNGradientState>(detail::makeRef<ReductionStateImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      detail::recordOf(*this, arguments.sources, arguments.destination),
      detail::clipped(clipRectSource, arguments.sources.front().descriptor())));
}

NNReductionSpatialMeanGradient::NNReductionSpatialMeanGradient(const Device& device)
    : CNNGradientKernel(device, "NNReductionSpatialMeanGradient") {}
NNReductionSpatialMeanGradient::NNReductionSpatialMeanGradient(Unarchiver& coder, const Device& device)
    : NNReductionSpatialMeanGradient(device) {
  decode(coder);
}

void NNReductionSpatialMeanGradient::configure(const State& gradientState) {
  const auto& state =
      detail::implementationAs<ReductionStateImplementation>(gradientState, "state of an NNReductionSpatialMean");
  const auto& source = state.record().sources.front();
  clipRect.origin.x = state.region().x;
  clipRect.origin.y = state.region().y;
  clipRect.size.width = state.region().width;
  clipRect.size.height = state.region().height;
  primaryOffset.x = static_cast<std::ptrdiff_t>(state.record().clip.x);
  primaryOffset.y = static_cast<std::ptrdiff_t>(state.record().clip.y);
  primarySourceFeatureChannelOffset = state.record().destinationFeatureChannelOffset;
  destinationFeatureChannelOffset = secondarySourceFeatureChannelOffset = source.settings.featureChannelOffset;
  primarySourceFeatureChannelMaxCount = secondarySourceFeatureChannelMaxCount = source.settings.featureChannelMaxCount;
}

void NNReductionSpatialMeanGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  requireAsMany(encoding, operands);
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  const auto images = detail::destinationImages(clipRect, operands.destinations);
  const auto source = [&](std::string_view role, std::size_t index) {
    const auto range = detail::sourceImages(sourceSettings(index), images);
    return encoding.source(role, operands.sources[index], range.first, range.count);
  };
  auto gradient = source("sourceGradient", 0), forward = source("sourceImage", 1);
  auto destination = encoding.result("destinationGradient", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);
  const PixelRect clip = detail::clipped(clipRect, destination.descriptor());
  const std::size_t channels = std::min(channelsRead(encoding, sourceSettings(0), gradient.descriptor()),
                                        channelsRead(encoding, sourceSettings(1), forward.descriptor()));
  if (operands.destinationsAreNew)
    clearUncovered(encoding, destination, clip, destinationFeatureChannelOffset, channels);
  const std::size_t pixels = std::max<std::size_t>(clip.width * clip.height, 1);
  encoding.record(operations::NNReductionSpatialMeanGradient{
      .gradient = encoding.region(gradient, primaryOffset, 1, 1, primarySourceFeatureChannelOffset, channels,
                                  ImageEdgeMode::zero),
      .result = destination.view(clip, destinationFeatureChannelOffset, channels),
      .scale = static_cast<float>(1 / static_cast<double>(pixels))});
}

}  // namespace metalloid
