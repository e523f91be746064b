#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/cnn_arithmetic.hpp"

#include <metalloid/cnn_arithmetic.hpp>

#include <algorithm>

namespace metalloid {

using detail::ArithmeticStateImplementation;
using detail::Encoding;
using detail::ImageOperands;
using detail::PixelRect;
using detail::SourceSettings;
using operations::Broadcast;
using operations::ImageView;

namespace {

const ArithmeticStateImplementation& implementationOf(const State& state) {
  return detail::implementationAs<ArithmeticStateImplementation>(state, "CNNArithmeticGradientState");
}

/// What one source received, along one axis, of a forward kernel that wrote `written` pixels from `clip` on.
struct Received {
  std::size_t first = 0;         // pixel of the source
  std::size_t count = 0;         // pixels
  std::size_t firstWritten = 0;  // forward result that read the first, from the clip rectangle on
};

Received received(std::ptrdiff_t offset, std::size_t stride, std::size_t available, std::size_t written) {
  // Where the forward kernel read outside of the source, nothing receives gradient.
  const auto reach = static_cast<std::ptrdiff_t>(stride ? written : std::min<std::size_t>(written, 1));
  const std::ptrdiff_t first = std::max<std::ptrdiff_t>(offset, 0);
  const std::ptrdiff_t end = std::min(offset + reach, static_cast<std::ptrdiff_t>(available));
  if (end <= first) return {};
  return {static_cast<std::size_t>(first), static_cast<std::size_t>(end - first),
          static_cast<std::size_t>(first - offset)};
}

/// One axis of a gradient: how much of it is read, and of the result written.
struct Axis {
  std::size_t stride;
  std::size_t read;
  std::size_t written;
};

/// `result`: as much as there is room for; `available`: of the gradient, to be summed.
Axis axisOf(std::size_t stride, std::size_t result, std::size_t available) {
  if (stride != 0) return {stride, result, result};
  return {stride, available, std::min<std::size_t>(result, 1)};
}

/// Of the masks in `states` what belongs to the gradient read from `offset` on.
ImageView maskOf(Encoding& encoding, const StateBatch& states, Offset offset, const ImageView& gradient) {
  ImageView mask = detail::masks(encoding, states, false);
  if (!mask) return mask;
  const auto& forward = implementationOf(states.front()).record().clip;
  const auto x = offset.x - static_cast<std::ptrdiff_t>(forward.x);
  const auto y = offset.y - static_cast<std::ptrdiff_t>(forward.y);
  if (x < 0 || y < 0 || static_cast<std::size_t>(x) + gradient.width > mask.width ||
      static_cast<std::size_t>(y) + gradient.height > mask.height || gradient.channels != mask.channels ||
      gradient.images != mask.images) {
    encoding.refuse(fmt::format("The gradient that {} reads is not what the forward kernel of its gradientState wrote.",
                                encoding.kernelName()));
  }
  const std::size_t bytes = static_cast<std::size_t>(y) * mask.rowBytes + static_cast<std::size_t>(x) * mask.pixelBytes;
  mask.data += bytes;
  for (auto& address : mask.addresses) address += bytes;
  mask.width = gradient.width;
  mask.height = gradient.height;
  return mask;
}

/// As far as there are.
std::size_t pixelsFrom(std::ptrdiff_t offset, std::size_t available) {
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(available) - offset, 0));
}

}  // namespace

CNNArithmeticGradient::CNNArithmeticGradient(const Device& device, std::string_view className,
                                             bool isSecondarySourceFilter, bool isProduct)
    : CNNGradientKernel(device, className), isSecondarySourceFilter_(isSecondarySourceFilter), isProduct_(isProduct) {}

void CNNArithmeticGradient::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                              ImageDescriptor& suggested) {
  if (!sourceStates.empty()) {
    configure(sourceStates.front());
    const auto& source =
        implementationOf(sourceStates.front()).record().sources[isSecondarySourceFilter_ ? 1 : 0].image;
    suggested.width = source.width;
    suggested.height = source.height;
    suggested.featureChannels = source.featureChannels;
  } else if (!isProduct_) {
    const ImageDescriptor source = sources.at(1).descriptor();
    suggested.width = source.width;
    suggested.height = source.height;
    suggested.featureChannels = source.featureChannels;
  }  // else the gradient's: the image given is the other factor
  suggested.featureChannels -= std::min(suggested.featureChannels, destinationFeatureChannelOffset);
}

void CNNArithmeticGradient::configure(const State& gradientState) {
  const auto& state = implementationOf(gradientState);
  const auto& forward = state.record();
  const std::size_t own = isSecondarySourceFilter_ ? 1 : 0, other = 1 - own;
  const Broadcast stride = state.strides()[own], otherStride = state.strides()[other];
  const auto& source = forward.sources[own];
  const SourceSettings& otherSettings = forward.sources[other].settings;

  const auto x = received(source.settings.offset.x, stride.x, source.image.width, forward.clip.width);
  const auto y = received(source.settings.offset.y, stride.y, source.image.height, forward.clip.height);
  clipRect.origin.x = x.first;
  clipRect.origin.y = y.first;
  clipRect.size.width = x.count;
  clipRect.size.height = y.count;
  primaryOffset.x = static_cast<std::ptrdiff_t>(forward.clip.x + x.firstWritten);
  primaryOffset.y = static_cast<std::ptrdiff_t>(forward.clip.y + y.firstWritten);
  secondaryOffset.x = otherSettings.offset.x + static_cast<std::ptrdiff_t>(otherStride.x * x.firstWritten);
  secondaryOffset.y = otherSettings.offset.y + static_cast<std::ptrdiff_t>(otherStride.y * y.firstWritten);
  primarySourceFeatureChannelOffset = forward.destinationFeatureChannelOffset;
  primarySourceFeatureChannelMaxCount = state.channels();
  secondarySourceFeatureChannelOffset = otherSettings.featureChannelOffset;
  secondarySourceFeatureChannelMaxCount = otherSettings.featureChannelMaxCount;
  destinationFeatureChannelOffset = source.settings.featureChannelOffset;
  secondaryEdgeMode = otherSettings.edgeMode;
  secondaryStrideInPixelsX = otherStride.x;
  secondaryStrideInPixelsY = otherStride.y;
  secondaryStrideInFeatureChannels = otherStride.channels;
}

void CNNArithmeticGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  const auto gradientSettings = sourceSettings(0), otherSettings = sourceSettings(1);
  const auto* const state = operands.sourceStates.empty() ? nullptr : &implementationOf(operands.sourceStates.front());
  const Broadcast otherStride =
      state ? state->strides()[isSecondarySourceFilter_ ? 0 : 1]
            : broadcastOf(encoding, otherSettings, secondaryStrideInFeatureChannels, "secondary");
  for (const auto& batch : operands.sources) {
    if (batch.size() == operands.destinations.size()) continue;
    encoding.refuse(fmt::format("There are {} source gradients, {} source images and {} destination gradients.",
                                operands.sources[0].size(), operands.sources[1].size(), operands.destinations.size()));
  }
  for (const State& one : operands.sourceStates) encoding.reads("gradientState", one);
  const auto images = detail::destinationImages(clipRect, operands.destinations);
  const auto source = [&](std::string_view role, std::size_t index) {
    const auto range = detail::sourceImages(sourceSettings(index), images);
    return encoding.source(role, operands.sources[index], range.first, range.count);
  };
  auto gradient = source("sourceGradient", 0), other = source("sourceImage", 1);
  auto destination = encoding.result("destinationGradient", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);

  const std::size_t gradientChannels = channelsRead(encoding, gradientSettings, gradient.descriptor());
  const auto clip = detail::clipped(clipRect, destination.descriptor());
  const auto axis = [&](std::size_t Broadcast::*step, std::size_t written, std::size_t result, std::size_t available) {
    if (state) return axisOf(state->strides()[isSecondarySourceFilter_ ? 1 : 0].*step, result, written);
    const bool isBroadcast = (result == 1 && available > 1) || (!isProduct_ && otherStride.*step == 0);
    return axisOf(isBroadcast ? 0 : 1, result, available);
  };
  const auto x = axis(&Broadcast::x, state ? state->record().clip.width : 0, clip.width,
                      pixelsFrom(primaryOffset.x, gradient.width()));
  const auto y = axis(&Broadcast::y, state ? state->record().clip.height : 0, clip.height,
                      pixelsFrom(primaryOffset.y, gradient.height()));
  const std::size_t channelsLeft =
      destination.channels() - std::min(destination.channels(), destinationFeatureChannelOffset);
  const auto c = axis(&Broadcast::channels, gradientChannels, channelsLeft, gradientChannels);
  const std::size_t channels = c.stride ? gradientChannels : 1;

  // Where nothing reaches the source its gradient is 0: anywhere in a destination of the kernel's own, and in the clip
  // rectangle of one that was given.
  const bool isEmpty = x.read == 0 || y.read == 0 || x.written == 0 || y.written == 0;
  const PixelRect written = isEmpty ? PixelRect() : PixelRect{clip.x, clip.y, x.written, y.written};
  if (operands.destinationsAreNew) {
    clearUncovered(encoding, destination, written, destinationFeatureChannelOffset, channels);
  } else if (written != clip) {
    encoding.prepend(
        operations::ImageFill{.result = destination.view(clip, destinationFeatureChannelOffset, channels), .value = 0});
  }
  if (isEmpty) return encoding.record(std::vector<operations::Operation>());

  operations::CNNArithmeticGradient operation{
      .gradient = encoding.region(gradient, primaryOffset, x.read, y.read, primarySourceFeatureChannelOffset,
                                  gradientChannels, ImageEdgeMode::zero),
      .other = {},
      .mask = {},
      .result = destination.view(written, destinationFeatureChannelOffset, channels),
      .otherStride = {},
      .resultStride = {x.stride, y.stride, c.stride},
      .scale = primaryScale};
  if (isProduct_) {
    operation.other = broadcastRegion(encoding, other, otherSettings, otherStride, x.read, y.read, gradientChannels);
    operation.otherStride = otherStride;
    operation.scale *= secondaryScale;
  }
  if (state) operation.mask = maskOf(encoding, operands.sourceStates, primaryOffset, operation.gradient);
  encoding.record(std::move(operation));
}

void CNNArithmeticGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitor.visit("primaryScale", primaryScale);
  visitor.visit("secondaryScale", secondaryScale);
  visitor.visit("bias", bias);
  visitor.visit("minimumValue", minimumValue);
  visitor.visit("maximumValue", maximumValue);
  visitor.visit("secondaryStrideInFeatureChannels", secondaryStrideInFeatureChannels);
  visitor.visit("isSecondarySourceFilter", isSecondarySourceFilter_);
}

CNNAddGradient::CNNAddGradient(const Device& device, bool isSecondarySourceFilter)
    : CNNArithmeticGradient(device, "CNNAddGradient", isSecondarySourceFilter, false) {}
CNNAddGradient::CNNAddGradient(Unarchiver& coder, const Device& device) : CNNAddGradient(device, false) {
  decode(coder);
}

CNNSubtractGradient::CNNSubtractGradient(const Device& device, bool isSecondarySourceFilter)
    : CNNArithmeticGradient(device, "CNNSubtractGradient", isSecondarySourceFilter, false) {}
CNNSubtractGradient::CNNSubtractGradient(Unarchiver& coder, const Device& device) : CNNSubtractGradient(device, false) {
  decode(coder);
}

CNNMultiplyGradient::CNNMultiplyGradient(const Device& device, bool isSecondarySourceFilter)
    : CNNArithmeticGradient(device, "CNNMultiplyGradient", isSecondarySourceFilter, true) {}
CNNMultiplyGradient::CNNMultiplyGradient(Unarchiver& coder, const Device& device) : CNNMultiplyGradient(device, false) {
  decode(coder);
}

}  // namespace metalloid
