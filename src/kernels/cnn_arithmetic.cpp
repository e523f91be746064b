#include "kernels/cnn_arithmetic.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"

#include <metalloid/cnn_arithmetic.hpp>

#include <algorithm>

namespace metalloid {

using detail::ArithmeticStateImplementation;
using detail::Encoding;
using detail::ImageOperands;
using detail::SourceSettings;
using operations::ArithmeticType;
using operations::Broadcast;
using operations::ImageView;

namespace detail {

ArithmeticStateImplementation::ArithmeticStateImplementation(Ref<DeviceImplementation> device,
                                                             CommandBuffer* commandBuffer, ForwardRecord record,
                                                             Strides strides, std::size_t channels, std::size_t images,
                                                             bool isMasked)
    : GradientStateImplementation(std::move(device), commandBuffer, std::move(record)),
      strides_(strides),
      channels_(channels) {
  const auto& clip = this->record().clip;
  const std::size_t elements = clip.width * clip.height * channels;
  if (isMasked && elements > 0) addVector(elements, DataType::uInt8, images);
}

ImageView masks(Encoding& encoding, const StateBatch& states, bool areWritten) {
  ImageView view;
  for (const State& state : states) {
    auto& one = implementationAs<ArithmeticStateImplementation>(state, "CNNArithmeticGradientState");
    if (!one.isMasked()) continue;
    const Vector& vector = one.vectors().front();
    auto operand = areWritten ? encoding.result("destinationState", vector) : encoding.source("gradientState", vector);
    const auto values = operand.view(vector.length(), {.start = 0, .count = vector.vectors()});
    const auto& clip = one.record().clip;
    view.width = clip.width;
    view.height = clip.height;
    view.channels = view.pixelBytes = one.channels();
    view.rowBytes = view.width * view.pixelBytes;
    view.imageBytes = view.height * view.rowBytes;
    view.type = DataType::uInt8;
    for (std::size_t n = 0; n < vector.vectors(); ++n) view.addresses.push_back(values.data + n * values.vectorBytes);
  }
  if (view.addresses.empty()) return {};
  view.data = view.addresses.front();
  view.images = view.addresses.size();
  return view;
}

Broadcast broadcastOf(const Encoding& encoding, const SourceSettings& settings, std::size_t inChannels,
                      std::string_view role) {
  const Broadcast stride{settings.shape.strideInPixelsX, settings.shape.strideInPixelsY, inChannels};
  for (const auto& [value, axis] : {std::pair{stride.x, "InPixelsX"}, std::pair{stride.y, "InPixelsY"},
                                    std::pair{stride.channels, "InFeatureChannels"}}) {
    if (value <= 1) continue;
    encoding.refuse(fmt::format("The {}Stride{} of {} is {}, but it must be 0, to broadcast, or 1.", role, axis,
                                encoding.kernelName(), value));
  }
  return stride;
}

ImageView broadcastRegion(Encoding& encoding, Encoding::ImageOperand& operand, const SourceSettings& settings,
                          const Broadcast& stride, std::size_t width, std::size_t height, std::size_t channels) {
  const auto along = [](std::size_t step, std::size_t size) { return step ? size : std::min<std::size_t>(size, 1); };
  return encoding.region(operand, settings.offset, along(stride.x, width), along(stride.y, height),
                         settings.featureChannelOffset, along(stride.channels, channels), settings.edgeMode);
}

}  // namespace detail

namespace {

/// As far as there are: an encode refuses what is not there.
std::size_t channelsOf(const SourceSettings& settings, std::size_t available) {
  return std::min(settings.featureChannelMaxCount, available - std::min(available, settings.featureChannelOffset));
}

/// Of one axis of the result, where sizes are given for the case that both sources are broadcast, or neither is.
std::size_t resultSize(std::size_t primaryStride, std::size_t primary, std::size_t secondaryStride,
                       std::size_t secondary, std::size_t both) {
  if (primaryStride) return primary;
  return secondaryStride ? secondary : both;
}

}  // namespace

CNNArithmeticGradientState::CNNArithmeticGradientState(const State& state) : NNBinaryGradientState(state) {
  if (state) detail::implementationAs<ArithmeticStateImplementation>(state, "CNNArithmeticGradientState");
}

CNNArithmetic::CNNArithmetic(const Device& device, std::string_view className, ArithmeticType type)
    : CNNBinaryKernel(device, className), type_(type) {}

void CNNArithmetic::adjustDestination(const ImageBatch& sources, const StateBatch&, ImageDescriptor& suggested) {
  const ImageDescriptor secondary = sources.at(1).descriptor();
  suggested.width = resultSize(primaryStrideInPixelsX, suggested.width, secondaryStrideInPixelsX, secondary.width, 1);
  suggested.height =
      resultSize(primaryStrideInPixelsY, suggested.height, secondaryStrideInPixelsY, secondary.height, 1);
  suggested.featureChannels =
      resultSize(primaryStrideInFeatureChannels, suggested.featureChannels, secondaryStrideInFeatureChannels,
                 channelsOf(sourceSettings(1), secondary.featureChannels), 1);
}

State CNNArithmetic::makeResultState(const ResultStateArguments& arguments) {
  if (type_ == ArithmeticType::divide) return {};
  auto forward = detail::recordOf(*this, arguments.sources, arguments.destination);
  const std::size_t channels = resultSize(
      primaryStrideInFeatureChannels, channelsOf(sourceSettings(0), forward.sources.at(0).image.featureChannels),
      secondaryStrideInFeatureChannels, channelsOf(sourceSettings(1), forward.sources.at(1).image.featureChannels),
      forward.destination.featureChannels -
          std::min(forward.destination.featureChannels, destinationFeatureChannelOffset));
  const bool mayCut = minimumValue > std::numeric_limits<float>::lowest() ||  //
                      maximumValue < std::numeric_limits<float>::max();
  return detail::stateHandle<CNNArithmeticGradientState>(detail::makeRef<ArithmeticStateImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      std::move(forward),
      ArithmeticStateImplementation::Strides{
          Broadcast{primaryStrideInPixelsX, primaryStrideInPixelsY, primaryStrideInFeatureChannels},
          Broadcast{secondaryStrideInPixelsX, secondaryStrideInPixelsY, secondaryStrideInFeatureChannels}},
      channels, detail::destinationImages(clipRect, {arguments.destination}).count, mayCut));
}

void CNNArithmetic::record(Encoding& encoding, const ImageOperands& operands) const {
  const auto settings = std::array{sourceSettings(0), sourceSettings(1)};
  const Broadcast primaryStride = broadcastOf(encoding, settings[0], primaryStrideInFeatureChannels, "primary");
  const Broadcast secondaryStride = broadcastOf(encoding, settings[1], secondaryStrideInFeatureChannels, "secondary");
  for (const auto& batch : operands.sources) {
    if (batch.size() == operands.destinations.size()) continue;
    encoding.refuse(fmt::format("There are {} primary images, {} secondary images and {} destination images.",
                                operands.sources[0].size(), operands.sources[1].size(), operands.destinations.size()));
  }
  const auto images = detail::destinationImages(clipRect, operands.destinations);
  const auto source = [&](std::string_view role, std::size_t index) {
    const auto range = detail::sourceImages(settings[index], images);
    return encoding.source(role, operands.sources[index], range.first, range.count);
  };
  auto primary = source("primaryImage", 0), secondary = source("secondaryImage", 1);
  auto destination = encoding.result("destinationImage", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);

  const std::size_t primaryChannels = channelsRead(encoding, settings[0], primary.descriptor());
  const std::size_t secondaryChannels = channelsRead(encoding, settings[1], secondary.descriptor());
  if (primaryStride.channels && secondaryStride.channels && primaryChannels != secondaryChannels) {
    encoding.refuse(
        fmt::format("{} reads {} channels of the primaryImage and {} of the secondaryImage, but without "
                    "broadcasting they must be as many.",
                    encoding.kernelName(), primaryChannels, secondaryChannels));
  }
  const std::size_t channels =
      resultSize(primaryStride.channels, primaryChannels, secondaryStride.channels, secondaryChannels,
                 destination.channels() - std::min(destination.channels(), destinationFeatureChannelOffset));
  const auto clip = detail::clipped(clipRect, destination.descriptor());
  ImageView result = destination.view(clip, destinationFeatureChannelOffset, channels);
  ImageView mask = detail::masks(encoding, operands.destinationStates, true);
  if (mask && (mask.images != result.images || mask.width != result.width || mask.height != result.height ||
               mask.channels != result.channels)) {
    encoding.refuse(
        fmt::format("The destinationStates hold masks of {} x {} x {} x {} elements, but {} writes {} x {} x {} x {}.",
                    mask.images, mask.height, mask.width, mask.channels, encoding.kernelName(), result.images,
                    result.height, result.width, result.channels));
  }
  encoding.record(operations::CNNArithmetic{
      .primary = broadcastRegion(encoding, primary, settings[0], primaryStride, clip.width, clip.height, channels),
      .secondary =
          broadcastRegion(encoding, secondary, settings[1], secondaryStride, clip.width, clip.height, channels),
      .result = std::move(result),
      .mask = std::move(mask),
      .type = type_,
      .primaryStride = primaryStride,
      .secondaryStride = secondaryStride,
      .primaryScale = primaryScale,
      .secondaryScale = secondaryScale,
      .bias = bias,
      .minimumValue = minimumValue,
      .maximumValue = maximumValue});
}

void CNNArithmetic::visitSettings(detail::SettingsVisitor& visitor) {
  CNNBinaryKernel::visitSettings(visitor);
  visitor.visit("primaryScale", primaryScale);
  visitor.visit("secondaryScale", secondaryScale);
  visitor.visit("bias", bias);
  visitor.visit("minimumValue", minimumValue);
  visitor.visit("maximumValue", maximumValue);
  visitor.visit("primaryStrideInFeatureChannels", primaryStrideInFeatureChannels);
  visitor.visit("secondaryStrideInFeatureChannels", secondaryStrideInFeatureChannels);
}

CNNAdd::CNNAdd(const Device& device) : CNNArithmetic(device, "CNNAdd", ArithmeticType::add) {}
CNNAdd::CNNAdd(Unarchiver& coder, const Device& device) : CNNAdd(device) { decode(coder); }

CNNSubtract::CNNSubtract(const Device& device) : CNNArithmetic(device, "CNNSubtract", ArithmeticType::subtract) {}
CNNSubtract::CNNSubtract(Unarchiver& coder, const Device& device) : CNNSubtract(device) { decode(coder); }

CNNMultiply::CNNMultiply(const Device& device) : CNNArithmetic(device, "CNNMultiply", ArithmeticType::multiply) {}
CNNMultiply::CNNMultiply(Unarchiver& coder, const Device& device) : CNNMultiply(device) { decode(coder); }

CNNDivide::CNNDivide(const Device& device) : CNNArithmetic(device, "CNNDivide", ArithmeticType::divide) {}
CNNDivide::CNNDivide(Unarchiver& coder, const Device& device) : CNNDivide(device) { decode(coder); }

}  // namespace metalloid
