#include "core/format.hpp"
#include "kernels/encoding.hpp"
#include "kernels/gradient_state.hpp"

#include <metalloid/detail/image_kernel.hpp>
#include <metalloid/error.hpp>

namespace metalloid::detail {
namespace {

/// One axis of the default padding policies.
struct PaddedAxis {
  std::size_t size;
  std::ptrdiff_t offset;
};

/// The number after `step` of the enumeration's "size": -1, 0, +1.
std::ptrdiff_t style(NNPaddingMethod method) {
  switch (method & NNPaddingMethod::sizeMask) {
    case NNPaddingMethod::sizeSame:
      return 0;
    case NNPaddingMethod::sizeFull:
      return 1;
    default:
      return -1;
  }
}

/// `remainderFirst`: the odd pixel of centred padding goes to the left or the top.
PaddedAxis padAxis(NNPaddingMethod method, bool remainderFirst, bool isBackwards, std::size_t source,
                   std::size_t window, std::size_t stride, const std::string& kernel) {
  const auto n = static_cast<std::ptrdiff_t>(source), k = static_cast<std::ptrdiff_t>(window),
             s = static_cast<std::ptrdiff_t>(stride);
  const std::ptrdiff_t enlarged = isBackwards ? (n - 1) * s + 1 : n;
  const std::ptrdiff_t reached = enlarged + style(method) * (k - 1);
  const std::ptrdiff_t size = isBackwards ? reached : (reached + s - 1) / s;
  if (reached <= 0 || size <= 0) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("{} has a window of {} pixels, which does not fit into the {} pixels of its source.",
                            kernel, window, source));
  }
  if (isBackwards) return {static_cast<std::size_t>(size), 0};
  const std::ptrdiff_t extra = (size - 1) * s + k - n;
  std::ptrdiff_t left = 0;
  switch (method & NNPaddingMethod::alignMask) {
    case NNPaddingMethod::alignTopLeft:
      left = extra;
      break;
    case NNPaddingMethod::alignBottomRight:
      left = 0;
      break;
    default:
      left = (extra + (remainderFirst ? 1 : 0)) / 2;  // towards zero
  }
  return {static_cast<std::size_t>(size), k / 2 - left};
}

}  // namespace

void ImageKernel::adjustDestination(const ImageBatch&, const StateBatch&, ImageDescriptor&) {}

State ImageKernel::makeResultState(const ResultStateArguments&) { return {}; }

ImageDescriptor ImageKernel::sizeDestination(const ImageBatch& sources, const StateBatch& sourceStates) {
  if (sources.size() < numberOfSources()) {
    throw Error(ErrorCode::invalidArgument, fmt::format("{} has {} sources, but {} images are given to size it.",
                                                        name(), numberOfSources(), sources.size()));
  }
  ImageDescriptor suggested = sources.front().descriptor();
  const NNPaddingMethod method = paddingPolicy() ? paddingPolicy()->paddingMethod() : NNPaddingMethod::sizeSame;
  Offset offset = sourceSettings(0).offset;
  offset.x = offset.y = 0;
  if (hasWindow()) {
    const KernelShape shape = sourceSettings(0).shape;
    const auto remainder = method & NNPaddingMethod::addRemainderToMask;
    const bool toLeft =
        remainder == NNPaddingMethod::addRemainderToTopLeft || remainder == NNPaddingMethod::addRemainderToBottomLeft;
    const bool toTop =
        remainder == NNPaddingMethod::addRemainderToTopLeft || remainder == NNPaddingMethod::addRemainderToTopRight;
    const auto x =
        padAxis(method, toLeft, isBackwards(), suggested.width, shape.dilatedWidth(), shape.strideInPixelsX, name());
    const auto y =
        padAxis(method, toTop, isBackwards(), suggested.height, shape.dilatedHeight(), shape.strideInPixelsY, name());
    suggested.width = x.size;
    suggested.height = y.size;
    offset.x = x.offset;
    offset.y = y.offset;
  }
  setSourceOffset(0, offset);
  // Of a container the images from offset.z on are processed; an encode refuses what is not there.
  if (offset.z > 0 && static_cast<std::size_t>(offset.z) < suggested.numberOfImages)
    suggested.numberOfImages -= static_cast<std::size_t>(offset.z);
  suggested.featureChannels =
      std::min(sourceSettings(0).featureChannelMaxCount,
               suggested.featureChannels - std::min(suggested.featureChannels, sourceSettings(0).featureChannelOffset));
  adjustDestination(sources, sourceStates, suggested);
  suggested.featureChannels += destinationChannelOffset();
  if (contains(method, NNPaddingMethod::custom))
    suggested = paddingPolicy()->destinationImageDescriptor(sources, sourceStates, *this, suggested);
  return suggested;
}

StateBatch ImageKernel::makeResultStates(const ResultStateArguments& arguments) {
  StateBatch states;
  for (std::size_t n = 0; n < arguments.count; ++n) {
    states.push_back(n > 0 && isResultStateReusedAcrossBatch() ? states.front() : makeResultState(arguments));
    if (!states.front()) return {};
  }
  return states;
}

void ImageKernel::encodeImages(CommandBuffer& commandBuffer, const ImageOperands& operands) const {
  Encoding encoding(*this, commandBuffer);
  record(encoding, operands);
}

ImageBatch ImageKernel::run(CommandBuffer& commandBuffer, ImageOperands operands, StateBatch* madeStates,
                            bool madeStatesAreTemporary) {
  const auto refuse = [&](std::string message) {
    throw Error(ErrorCode::invalidArgument, std::move(message)).during(fmt::format("encoding {}", name()));
  };
  ImageBatch first;
  for (const auto& batch : operands.sources) {
    if (batch.empty() || !batch.front()) refuse("A source image is nil.");
    first.push_back(batch.front());
  }
  const std::size_t count = operands.sources.front().size();
  if (operands.destinations.empty()) {
    operands.destinationsAreNew = true;
    try {
      const ImageDescriptor descriptor = sizeDestination(first, operands.sourceStates);
      implementation(commandBuffer).requireOpen("take more work");
      operands.destinations = count == 1 ? ImageBatch{allocator()->image(commandBuffer, descriptor, *this)}
                                         : allocator()->imageBatch(commandBuffer, descriptor, *this, count);
    } catch (const Error& error) {
      throw error.during(fmt::format("encoding {}", name()));
    }
  }
  if (!operands.destinations.front()) refuse("A destination image is nil.");
  StateBatch made;
  if (madeStates) {
    made = makeResultStates({.commandBuffer = madeStatesAreTemporary ? &commandBuffer : nullptr,
                             .sources = first,
                             .sourceStates = operands.sourceStates,
                             .destination = operands.destinations.front(),
                             .count = count});
    operands.destinationStates = made;
  }
  encodeImages(commandBuffer, operands);
  if (madeStates) *madeStates = std::move(made);
  return std::move(operands.destinations);
}

}  // namespace metalloid::detail
