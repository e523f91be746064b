#include "kernels/image_geometry.hpp"

#include "core/format.hpp"
#include "kernels/gradient_state.hpp"

#include <algorithm>

namespace metalloid::detail {

PixelRect clipped(const Region& clipRect, const ImageDescriptor& destination) {
  const auto along = [](std::size_t origin, std::size_t size, std::size_t available) {
    return origin >= available ? 0 : std::min(size, available - origin);
  };
  return {.x = std::min(clipRect.origin.x, destination.width),
          .y = std::min(clipRect.origin.y, destination.height),
          .width = along(clipRect.origin.x, clipRect.size.width, destination.width),
          .height = along(clipRect.origin.y, clipRect.size.height, destination.height)};
}

ImageRange destinationImages(const Region& clipRect, const ImageBatch& destinations) {
  if (destinations.size() != 1) return {};  // each holds one, which the encoding checks
  const std::size_t available = destinations.front() ? destinations.front().numberOfImages() : 1;
  const std::size_t first = clipRect.origin.z;
  return {first, first >= available ? clipRect.size.depth : std::min(clipRect.size.depth, available - first)};
}

ImageRange sourceImages(const SourceSettings& settings, ImageRange destination) {
  return {settings.offset.z < 0 ? all : static_cast<std::size_t>(settings.offset.z), destination.count};
}

void requireModerate(const Encoding& encoding, Offset offset) {
  constexpr std::ptrdiff_t kMost = std::ptrdiff_t{1} << 31;
  for (const std::ptrdiff_t value : {offset.x, offset.y}) {
    if (value >= -kMost && value <= kMost) continue;
    encoding.refuse(fmt::format("An offset of {} is {}, but it must be from {} to {}.", encoding.kernelName(), value,
                                -kMost, kMost));
  }
}

std::size_t channelsRead(const Encoding& encoding, const SourceSettings& settings, const ImageDescriptor& source) {
  const std::size_t offset = settings.featureChannelOffset;
  if (offset % 4 != 0 || offset >= source.featureChannels) {
    encoding.refuse(fmt::format(
        "The source's feature channel offset of {} is {}, but it must be a multiple of 4 below the source's "
        "{} channels.",
        encoding.kernelName(), offset, source.featureChannels));
  }
  return std::min(settings.featureChannelMaxCount, source.featureChannels - offset);
}

void checkDestinationChannel(const Encoding& encoding, std::size_t offset) {
  if (offset % 4 == 0) return;
  encoding.refuse(fmt::format("The destinationFeatureChannelOffset of {} is {}, but it must be a multiple of 4.",
                              encoding.kernelName(), offset));
}

UnaryOperands unaryOperands(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands) {
  UnaryOperands result;
  const auto settings = kernel.sourceSettings(0);
  encoding.requireEdgeMode(settings.edgeMode);
  const auto destination = destinationImages(kernel.clipRect, operands.destinations);
  const auto source = sourceImages(settings, destination);
  if (operands.sources.at(0).size() != operands.destinations.size()) {
    encoding.refuse(fmt::format("There are {} source images, but {} destination images.", operands.sources[0].size(),
                                operands.destinations.size()));
  }
  result.source = encoding.source("sourceImage", operands.sources[0], source.first, source.count);
  result.destination = encoding.result("destinationImage", operands.destinations, destination.first, destination.count);
  result.clip = clipped(kernel.clipRect, result.destination.descriptor());
  result.channels = channelsRead(encoding, settings, result.source.descriptor());
  checkDestinationChannel(encoding, kernel.destinationFeatureChannelOffset);
  return result;
}

PointwiseViews pointwiseViews(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands) {
  auto found = unaryOperands(encoding, kernel, operands);
  const auto settings = kernel.sourceSettings(0);
  return {.source = encoding.region(found.source, settings.offset, found.clip.width, found.clip.height,
                                    settings.featureChannelOffset, found.channels, settings.edgeMode),
          .result = found.destination.view(found.clip, kernel.destinationFeatureChannelOffset, found.channels)};
}

operations::Window windowOf(Offset offset, const KernelShape& shape) {
  const auto axis = [](std::ptrdiff_t first, std::size_t taps, std::size_t dilated, std::size_t stride,
                       std::size_t dilation) {
    return operations::WindowAxis{.taps = taps,
                                  .step = static_cast<std::ptrdiff_t>(stride),
                                  .base = first - static_cast<std::ptrdiff_t>(dilated / 2),
                                  .tapStep = static_cast<std::ptrdiff_t>(dilation)};
  };
  return {.x = axis(offset.x, shape.kernelWidth, shape.dilatedWidth(), shape.strideInPixelsX, shape.dilationRateX),
          .y = axis(offset.y, shape.kernelHeight, shape.dilatedHeight(), shape.strideInPixelsY, shape.dilationRateY)};
}

WindowedViews windowedViews(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands,
                            std::size_t resultChannels) {
  auto found = unaryOperands(encoding, kernel, operands);
  const auto settings = kernel.sourceSettings(0);
  requireModerate(encoding, settings.offset);
  return {.source = found.source.view(settings.featureChannelOffset, found.channels),
          .result = found.destination.view(found.clip, kernel.destinationFeatureChannelOffset,
                                           resultChannels ? resultChannels : found.channels),
          .window = windowOf(settings.offset, settings.shape)};
}

void clearUncovered(Encoding& encoding, Encoding::ImageOperand& destination, PixelRect written,
                    std::size_t firstChannel, std::size_t channels) {
  const bool isWhole = written == PixelRect{0, 0, destination.width(), destination.height()} && firstChannel == 0 &&
                       channels == destination.channels();
  if (!isWhole) encoding.prepend(operations::ImageFill{.result = destination.view(), .value = 0});
}

Part partOf(std::ptrdiff_t offset, std::size_t size, std::size_t available) {
  const std::size_t before = offset < 0 ? static_cast<std::size_t>(-offset) : 0;
  const std::size_t first = offset < 0 ? 0 : std::min(static_cast<std::size_t>(offset), available);
  return {first, std::min(size - std::min(size, before), available - first)};
}

GradientOperands gradientOperands(Encoding& encoding, const CNNGradientKernel& kernel, const ImageOperands& operands) {
  const auto primary = kernel.sourceSettings(0), secondary = kernel.sourceSettings(1);
  encoding.requireEdgeMode(secondary.edgeMode);
  const auto images = destinationImages(kernel.clipRect, operands.destinations);
  const auto gradientImages = sourceImages(primary, images), forwardImages = sourceImages(secondary, images);
  for (const auto& batch : operands.sources) {
    if (batch.size() == operands.destinations.size()) continue;
    encoding.refuse(fmt::format("There are {} source gradients, {} source images and {} destination gradients.",
                                operands.sources[0].size(), operands.sources[1].size(), operands.destinations.size()));
  }
  GradientOperands result;
  result.gradient = encoding.source("sourceGradient", operands.sources[0], gradientImages.first, gradientImages.count);
  result.source = encoding.source("sourceImage", operands.sources[1], forwardImages.first, forwardImages.count);
  result.destination = encoding.result("destinationGradient", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, kernel.destinationFeatureChannelOffset);
  result.clip = clipped(kernel.clipRect, result.destination.descriptor());
  result.channels = std::min(channelsRead(encoding, primary, result.gradient.descriptor()),
                             channelsRead(encoding, secondary, result.source.descriptor()));
  return result;
}

PointwiseGradientViews pointwiseGradientViews(Encoding& encoding, const CNNGradientKernel& kernel,
                                              const ImageOperands& operands) {
  const auto primary = kernel.sourceSettings(0), secondary = kernel.sourceSettings(1);
  auto found = gradientOperands(encoding, kernel, operands);
  const auto [x, y, width, height] = found.clip;
  if (operands.destinationsAreNew)
    clearUncovered(encoding, found.destination, found.clip, kernel.destinationFeatureChannelOffset, found.channels);
  return {.gradient = encoding.region(found.gradient, primary.offset, width, height, primary.featureChannelOffset,
                                      found.channels, ImageEdgeMode::zero),
          .source = encoding.region(found.source, secondary.offset, width, height, secondary.featureChannelOffset,
                                    found.channels, secondary.edgeMode),
          .result = found.destination.view(found.clip, kernel.destinationFeatureChannelOffset, found.channels)};
}

}  // namespace metalloid::detail
