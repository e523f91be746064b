#include "core/format.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/image_copy.hpp"

#include <metalloid/error.hpp>
#include <metalloid/nn_reshape.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::PixelRect;
using operations::ImageView;

namespace {

void recordReshape(Encoding& encoding, ImageView source, ImageView result) {
  if (source.pixels() * source.channels != result.pixels() * result.channels) {
    encoding.refuse(fmt::format("{} keeps the elements, but {} x {} x {} cannot become {} x {} x {}.",
                                encoding.kernelName(), source.height, source.width, source.channels, result.height,
                                result.width, result.channels));
  }
  encoding.record(operations::NNReshape{.source = std::move(source), .result = std::move(result)});
}

/// All channels from the first one written on.
std::size_t channelsFrom(std::size_t first, const ImageDescriptor& image) {
  return image.featureChannels - std::min(image.featureChannels, first);
}

}  // namespace

NNReshape::NNReshape(const Device& device) : CNNKernel(device, "NNReshape") {}
NNReshape::NNReshape(Unarchiver& coder, const Device& device) : NNReshape(device) { decode(coder); }

Image NNReshape::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  CNNKernel::Arguments rest{.sourceImage = arguments.sourceImage,
                            .destinationState = arguments.destinationState,
                            .destinationStateIsTemporary = arguments.destinationStateIsTemporary,
                            .destinationImage = arguments.destinationImage};
  if (!rest.destinationImage) {
    rest.destinationImage =
        destinationsOf(commandBuffer, {.sourceImages = {arguments.sourceImage},
                                       .reshapedWidth = arguments.reshapedWidth,
                                       .reshapedHeight = arguments.reshapedHeight,
                                       .reshapedFeatureChannels = arguments.reshapedFeatureChannels})
            .front();
  }
  return CNNKernel::encode(commandBuffer, rest);
}

ImageBatch NNReshape::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  return CNNKernel::encodeBatch(commandBuffer, {.sourceImages = arguments.sourceImages,
                                                .destinationStates = arguments.destinationStates,
                                                .destinationStateIsTemporary = arguments.destinationStateIsTemporary,
                                                .destinationImages = arguments.destinationImages.empty()
                                                                         ? destinationsOf(commandBuffer, arguments)
                                                                         : arguments.destinationImages});
}

ImageBatch NNReshape::destinationsOf(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  const std::size_t count = arguments.sourceImages.size();
  try {
    if (count == 0 || !arguments.sourceImages.front())
      throw Error(ErrorCode::invalidArgument, "A source image is nil.");
    ImageDescriptor descriptor = destinationImageDescriptor({arguments.sourceImages.front()});
    const std::size_t elements =
        descriptor.width * descriptor.height * channelsFrom(destinationFeatureChannelOffset, descriptor);
    if (arguments.reshapedWidth) descriptor.width = arguments.reshapedWidth;
    if (arguments.reshapedHeight) descriptor.height = arguments.reshapedHeight;
    if (arguments.reshapedFeatureChannels)
      descriptor.featureChannels = destinationFeatureChannelOffset + arguments.reshapedFeatureChannels;
    const std::size_t channels = channelsFrom(destinationFeatureChannelOffset, descriptor);
    // A division, so that no product overflows.
    const std::size_t perRow = elements / descriptor.width;
    if (elements % descriptor.width != 0 || perRow % descriptor.height != 0 || perRow / descriptor.height != channels) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("{} keeps the elements, but {} of them do not make {} x {} x {}.", name(), elements,
                              descriptor.height, descriptor.width, channels));
    }
    return count == 1 ? ImageBatch{destinationImageAllocator->image(commandBuffer, descriptor, *this)}
                      : destinationImageAllocator->imageBatch(commandBuffer, descriptor, *this, count);
  } catch (const Error& error) {
    throw error.during(fmt::format("encoding {}", name()));
  }
}

State NNReshape::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void NNReshape::record(Encoding& encoding, const ImageOperands& operands) const {
  auto found = unaryOperands(encoding, *this, operands);
  ImageView source = found.source.view(sourceFeatureChannelOffset, found.channels);
  ImageView result =
      found.destination.view(found.clip, destinationFeatureChannelOffset,
                             channelsFrom(destinationFeatureChannelOffset, found.destination.descriptor()));
  recordReshape(encoding, std::move(source), std::move(result));
}

NNReshapeGradient::NNReshapeGradient(const Device& device) : CNNGradientKernel(device, "NNReshapeGradient") {}
NNReshapeGradient::NNReshapeGradient(Unarchiver& coder, const Device& device) : NNReshapeGradient(device) {
  decode(coder);
}

void NNReshapeGradient::configure(const State& gradientState) {
  const auto& record =
      detail::implementationAs<detail::GradientStateImplementation>(gradientState, "NNGradientState").record();
  const auto& settings = record.sources.front().settings;
  clipRect = regionNoClip;
  primaryOffset.x = static_cast<std::ptrdiff_t>(record.clip.x);
  primaryOffset.y = static_cast<std::ptrdiff_t>(record.clip.y);
  primarySourceFeatureChannelOffset = record.destinationFeatureChannelOffset;
  primarySourceFeatureChannelMaxCount = channelsFrom(record.destinationFeatureChannelOffset, record.destination);
  destinationFeatureChannelOffset = secondarySourceFeatureChannelOffset = settings.featureChannelOffset;
  secondarySourceFeatureChannelMaxCount = settings.featureChannelMaxCount;
}

void NNReshapeGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const auto& batch : operands.sources) {
    if (batch.size() == operands.destinations.size()) continue;
    encoding.refuse(fmt::format("There are {} source gradients, {} source images and {} destination gradients.",
                                operands.sources[0].size(), operands.sources[1].size(), operands.destinations.size()));
  }
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  const auto images = detail::destinationImages(clipRect, operands.destinations);
  const auto source = [&](std::string_view role, std::size_t index) {
    const auto range = detail::sourceImages(sourceSettings(index), images);
    return encoding.source(role, operands.sources[index], range.first, range.count);
  };
  auto gradient = source("sourceGradient", 0), forward = source("sourceImage", 1);
  auto destination = encoding.result("destinationGradient", operands.destinations, images.first, images.count);
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);

  PixelRect rect{.x = static_cast<std::size_t>(std::max<std::ptrdiff_t>(primaryOffset.x, 0)),
                 .y = static_cast<std::size_t>(std::max<std::ptrdiff_t>(primaryOffset.y, 0)),
                 .width = 0,
                 .height = 0};
  rect.width = gradient.width() - std::min(gradient.width(), rect.x);
  rect.height = gradient.height() - std::min(gradient.height(), rect.y);
  if (!operands.sourceStates.empty()) {
    const auto& written =
        detail::implementationAs<detail::GradientStateImplementation>(operands.sourceStates.front(), "NNGradientState")
            .record()
            .clip;
    rect.width = written.width;
    rect.height = written.height;
  }
  const auto clip = detail::clipped(clipRect, destination.descriptor());
  const std::size_t channels = channelsRead(encoding, sourceSettings(1), forward.descriptor());
  if (operands.destinationsAreNew)
    clearUncovered(encoding, destination, clip, destinationFeatureChannelOffset, channels);
  recordReshape(encoding,
                gradient.view(rect, primarySourceFeatureChannelOffset,
                              channelsRead(encoding, sourceSettings(0), gradient.descriptor())),
                destination.view(clip, destinationFeatureChannelOffset, channels));
}

}  // namespace metalloid
