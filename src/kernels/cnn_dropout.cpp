#include "operations/cnn_dropout.hpp"

#include "core/device_implementation.hpp"
#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_dropout.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;

namespace {

std::string complaintAbout(const CNNDropoutArguments& arguments) {
  if (!(arguments.keepProbability > 0 && arguments.keepProbability < 1))
    return fmt::format("The keepProbability is {}, but it must lie between 0 and 1.", arguments.keepProbability);
  const auto [width, height, depth] = arguments.maskStrideInPixels;
  if (width > 1 || height > 1 || depth > 1)
    return fmt::format("The maskStrideInPixels is ({}, {}, {}), but each must be 0 or 1.", width, height, depth);
  return {};
}

void check(std::string_view className, const CNNDropoutArguments& arguments) {
  std::string complaint = complaintAbout(arguments);
  if (!complaint.empty())
    throw Error(ErrorCode::invalidArgument, std::move(complaint)).during(fmt::format("making a {}", className));
}

void visit(detail::SettingsVisitor& visitor, std::string_view className, CNNDropoutArguments& arguments) {
  visitor.visit("keepProbability", arguments.keepProbability);
  visitor.visit("seed", arguments.seed);
  visitor.visit("maskStrideInPixels.width", arguments.maskStrideInPixels.width);
  visitor.visit("maskStrideInPixels.height", arguments.maskStrideInPixels.height);
  visitor.visit("maskStrideInPixels.depth", arguments.maskStrideInPixels.depth);
  const std::string complaint = complaintAbout(arguments);
  if (!complaint.empty()) detail::refuseSetting(className, "dropout", complaint);
}

operations::DropoutMask maskFor(const CNNDropoutArguments& arguments, std::size_t width, std::size_t height,
                                std::size_t channels) {
  return {.values = {},
          .width = width,
          .height = height,
          .channels = channels,
          .strideX = arguments.maskStrideInPixels.width,
          .strideY = arguments.maskStrideInPixels.height,
          .strideC = arguments.maskStrideInPixels.depth};
}

/// Behind CNNDropoutGradientState: a vector for each image of the batch.
class DropoutState final : public detail::GradientStateImplementation {
 public:
  DropoutState(detail::Ref<detail::DeviceImplementation> device, CommandBuffer* commandBuffer,
               detail::ForwardRecord record, const CNNDropoutArguments& dropout, const operations::DropoutMask& each,
               std::size_t count)
      : GradientStateImplementation(std::move(device), commandBuffer, std::move(record)),
        arguments(dropout),
        mask(each),
        images(count) {
    addVector(mask.length(), DataType::uInt8, images);
  }

  std::string_view className() const override { return "CNNDropoutGradientState"; }

  const CNNDropoutArguments arguments;
  const operations::DropoutMask mask;  // without values
  const std::size_t images;
};

/// The state of an encode. @throws Error for several, and for a state that `kernel` cannot use.
DropoutState& stateOf(const Encoding& encoding, const StateBatch& states, const CNNDropoutArguments& arguments,
                      std::size_t images) {
  auto& object = detail::implementation(states.front());
  auto* const state = dynamic_cast<DropoutState*>(&object);
  if (!state) {
    encoding.refuse(
        fmt::format("{} needs a CNNDropoutGradientState, but a {} is given.", encoding.kernelName(), object.name()));
  }
  if (std::count(states.begin(), states.end(), states.front()) != std::ssize(states))
    encoding.refuse(fmt::format("One state serves the batch of {}, but several are given.", encoding.kernelName()));
  if (state->images != images) {
    encoding.refuse(fmt::format("{} holds masks of {} images, but {} processes {}.", state->name(), state->images,
                                encoding.kernelName(), images));
  }
  if (state->arguments.keepProbability != arguments.keepProbability ||
      state->arguments.maskStrideInPixels != arguments.maskStrideInPixels) {
    encoding.refuse(fmt::format("{} was made with another keepProbability or maskStrideInPixels than {} has.",
                                state->name(), encoding.kernelName()));
  }
  return *state;
}

}  // namespace

CNNDropoutGradientState::CNNDropoutGradientState(const State& state) : NNGradientState(state.implementation()) {
  if (state) detail::implementationAs<DropoutState>(state, "CNNDropoutGradientState");
}

std::vector<std::uint8_t> CNNDropoutGradientState::maskData() const {
  return detail::implementationAs<DropoutState>(*this, "CNNDropoutGradientState")
      .vectors()
      .front()
      .read<std::uint8_t>();
}

CNNDropout::CNNDropout(const Device& device, const CNNDropoutArguments& arguments)
    : CNNKernel(device, "CNNDropout"), arguments_(arguments) {
  check("CNNDropout", arguments);
}

CNNDropout::CNNDropout(Unarchiver& coder, const Device& device) : CNNDropout(device) { decode(coder); }

State CNNDropout::makeResultState(const ResultStateArguments& arguments) {
  const auto destination = arguments.destination.descriptor();
  const auto clip = detail::clipped(clipRect, destination);
  const std::size_t available = arguments.sources.front().featureChannels();
  const std::size_t channels =
      std::min(sourceFeatureChannelMaxCount, available - std::min(available, sourceFeatureChannelOffset));
  const std::size_t inContainer =
      std::min(detail::destinationImages(clipRect, {arguments.destination}).count, destination.numberOfImages);
  return detail::stateHandle<CNNDropoutGradientState>(detail::makeRef<DropoutState>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      detail::recordOf(*this, arguments.sources, arguments.destination), arguments_,
      maskFor(arguments_, clip.width, clip.height, channels), std::max(arguments.count, inContainer)));
}

void CNNDropout::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = detail::pointwiseViews(encoding, *this, operands);
  const auto& result = views.result;
  auto mask = maskFor(arguments_, result.width, result.height, result.channels);
  if (!operands.destinationStates.empty()) {
    const auto& state = stateOf(encoding, operands.destinationStates, arguments_, result.images);
    if (state.mask != mask) {
      encoding.refuse(fmt::format("{} holds masks of {} x {} x {}, but {} processes {} x {} x {}.", state.name(),
                                  state.mask.height, state.mask.width, state.mask.channels, encoding.kernelName(),
                                  mask.height, mask.width, mask.channels));
    }
    mask.values = encoding.result("destinationState", state.vectors().front())
                      .view(mask.length(), {.start = 0, .count = result.images});
  }
  const std::size_t images = result.images;
  encoding.record(operations::CNNDropout{.source = std::move(views.source),
                                         .result = std::move(views.result),
                                         .mask = mask,
                                         .keepProbability = arguments_.keepProbability,
                                         .seed = arguments_.seed,
                                         .firstCounter = nextImage});
  nextImage += images;
}

CNNDropout CNNDropout::copy(const Device& device) const { return copyOf(*this, device); }

void CNNDropout::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visit(visitor, "CNNDropout", arguments_);
  visitor.visit("nextImage", nextImage);
}

CNNDropoutGradient::CNNDropoutGradient(const Device& device, const CNNDropoutArguments& arguments)
    : CNNGradientKernel(device, "CNNDropoutGradient"), arguments_(arguments) {
  check("CNNDropoutGradient", arguments);
}

CNNDropoutGradient::CNNDropoutGradient(Unarchiver& coder, const Device& device) : CNNDropoutGradient(device) {
  decode(coder);
}

namespace {

/// What of [0, size) along an axis meets a mask of `length` that begins at position -`first`.
struct Covered {
  std::size_t begin;
  std::size_t size;
};
Covered covered(std::ptrdiff_t first, std::size_t length, std::size_t stride, std::size_t size) {
  if (stride == 0) return {0, size};
  const auto n = static_cast<std::ptrdiff_t>(size);
  const std::ptrdiff_t begin = std::clamp<std::ptrdiff_t>(-first, 0, n);
  const std::ptrdiff_t end = std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(length) - first, begin, n);
  return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)};
}

}  // namespace

void CNNDropoutGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  if (operands.sourceStates.empty())
    encoding.refuse(fmt::format("{} needs the gradientState of the forward encode.", encoding.kernelName()));
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto found = detail::gradientOperands(encoding, *this, operands);
  detail::requireModerate(encoding, secondaryOffset);
  const auto& state = stateOf(encoding, operands.sourceStates, arguments_, found.destination.images());
  auto mask = state.mask;
  mask.values = encoding.source("gradientState", state.vectors().front())
                    .view(mask.length(), {.start = 0, .count = found.destination.images()});
  // Mask pixel 0 belongs to the forward source's pixel at the forward offset; secondaryOffset counts source pixels.
  const Offset forward = state.record().sources.front().settings.offset;
  const Offset first{secondaryOffset.x - forward.x, secondaryOffset.y - forward.y, 0};
  const auto clip = found.clip;
  const Covered x = covered(first.x, mask.width, mask.strideX, clip.width);
  const Covered y = covered(first.y, mask.height, mask.strideY, clip.height);
  const auto from = [](std::ptrdiff_t start, const Covered& part, std::size_t stride) {
    return stride == 0 || part.size == 0 ? 0 : static_cast<std::size_t>(std::max<std::ptrdiff_t>(start, 0));
  };
  mask.firstX = from(first.x, x, mask.strideX);
  mask.firstY = from(first.y, y, mask.strideY);
  const detail::PixelRect written{clip.x + x.begin, clip.y + y.begin, x.size, y.size};
  const auto primary = sourceSettings(0);
  const std::size_t channels = std::min(mask.channels, found.channels);
  const Offset gradientOffset{primary.offset.x + static_cast<std::ptrdiff_t>(x.begin),
                              primary.offset.y + static_cast<std::ptrdiff_t>(y.begin), primary.offset.z};
  operations::CNNDropoutGradient operation{
      .gradient = encoding.region(found.gradient, gradientOffset, written.width, written.height,
                                  primary.featureChannelOffset, channels, ImageEdgeMode::zero),
      .result = found.destination.view(written, destinationFeatureChannelOffset, channels),
      .mask = mask,
      .keepProbability = arguments_.keepProbability};
  if (operands.destinationsAreNew) {
    detail::clearUncovered(encoding, found.destination, written, destinationFeatureChannelOffset, channels);
  } else if (written != clip) {  // where the mask has no value
    encoding.prepend(operations::ImageFill{
        .result = found.destination.view(clip, destinationFeatureChannelOffset, channels), .value = 0});
  }
  encoding.record(std::move(operation));
}

CNNDropoutGradient CNNDropoutGradient::copy(const Device& device) const { return copyOf(*this, device); }

void CNNDropoutGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visit(visitor, "CNNDropoutGradient", arguments_);
}

}  // namespace metalloid
