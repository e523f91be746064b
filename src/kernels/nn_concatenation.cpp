#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/image_copy.hpp"

#include <metalloid/error.hpp>
#include <metalloid/nn_concatenation.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;
using detail::GradientStateImplementation;
using detail::ImageOperands;

namespace {

constexpr std::size_t kMostSources = std::size_t{1} << 20;

std::size_t roundedUp(std::size_t channels) { return (channels + 3) / 4 * 4; }

const detail::ForwardRecord& recordIn(const State& state, std::size_t sourceIndex) {
  const auto& record = detail::implementationAs<GradientStateImplementation>(state, "NNMultiaryGradientState").record();
  if (sourceIndex < record.sources.size()) return record;
  throw Error(ErrorCode::invalidArgument, fmt::format("There is no gradient for source {} of a concatenation of {}.",
                                                      sourceIndex, record.sources.size()));
}

}  // namespace

NNConcatenation::NNConcatenation(const Device& device, std::size_t sourceCount)
    : ImageKernel(device, "NNConcatenation"), sourceCount_(sourceCount) {
  if (sourceCount == 0) throw Error(ErrorCode::invalidArgument, "A concatenation needs a source.");
}
NNConcatenation::NNConcatenation(Unarchiver& coder, const Device& device) : NNConcatenation(device, 1) {
  decode(coder);
}

Image NNConcatenation::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  BatchArguments batch{.sourceImages = {},
                       .destinationStates = {},
                       .destinationStateIsTemporary = arguments.destinationStateIsTemporary};
  for (const Image& image : arguments.sourceImages) batch.sourceImages.push_back({image});
  if (arguments.destinationImage) batch.destinationImages = {arguments.destinationImage};
  StateBatch made;
  State* const wanted = arguments.destinationState.made();
  if (wanted) batch.destinationStates = &made;
  const Image result = encodeBatch(commandBuffer, batch).front();
  if (wanted) *wanted = made.front();
  return result;
}

ImageBatch NNConcatenation::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  if (arguments.sourceImages.size() != sourceCount_) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("{} has {} sources, but is given {}.", name(), sourceCount_, arguments.sourceImages.size()))
        .during(fmt::format("encoding {}", name()));
  }
  return run(commandBuffer,
             {.sources = arguments.sourceImages,
              .sourceStates = {},
              .destinationStates = arguments.destinationStates.given(),
              .destinations = arguments.destinationImages},
             arguments.destinationStates.made(), arguments.destinationStateIsTemporary);
}

void NNConcatenation::adjustDestination(const ImageBatch& sources, const StateBatch&, ImageDescriptor& suggested) {
  suggested.featureChannels = 0;
  for (const Image& source : sources)
    suggested.featureChannels = roundedUp(suggested.featureChannels) + source.featureChannels();
}

State NNConcatenation::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNMultiaryGradientState>(*this, arguments);
}

void NNConcatenation::record(Encoding& encoding, const ImageOperands& operands) const {
  checkDestinationChannel(encoding, destinationFeatureChannelOffset);
  const auto images = detail::destinationImages(regionNoClip, operands.destinations);
  auto destination = encoding.result("destinationImage", operands.destinations, images.first, images.count);
  std::vector<operations::Operation> copies;
  std::size_t first = destinationFeatureChannelOffset;
  for (std::size_t i = 0; i < operands.sources.size(); ++i) {
    const ImageBatch& batch = operands.sources[i];
    if (batch.size() != operands.destinations.size()) {
      encoding.refuse(fmt::format("Source {} has {} images, but there are {} destination images.", i, batch.size(),
                                  operands.destinations.size()));
    }
    auto source = encoding.source("sourceImage", batch, 0, images.count);
    if (source.width() != destination.width() || source.height() != destination.height()) {
      encoding.refuse(fmt::format(
          "{} has sources and a destination of one size, but source {} is {} x {} and the "
          "destination {} x {} pixels.",
          encoding.kernelName(), i, source.height(), source.width(), destination.height(), destination.width()));
    }
    // The copy fills up with zeros.
    const bool isLast = i + 1 == operands.sources.size();
    const std::size_t channels = isLast ? source.channels() : roundedUp(source.channels());
    copies.emplace_back(operations::ImageCopy{.source = source.view(), .result = destination.view(first, channels)});
    first += channels;
  }
  destination.view(destinationFeatureChannelOffset, first - destinationFeatureChannelOffset);  // all that is written
  encoding.record(std::move(copies));
}

void NNConcatenation::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("destinationFeatureChannelOffset", destinationFeatureChannelOffset);
  visitor.visit("sourceCount", sourceCount_);
  if (sourceCount_ == 0 || sourceCount_ > kMostSources)
    detail::refuseSetting("NNConcatenation", "sourceCount", "as many sources are not possible.");
}

NNConcatenationGradient::NNConcatenationGradient(const Device& device, std::size_t sourceIndex)
    : CNNGradientKernel(device, "NNConcatenationGradient"), sourceIndex_(sourceIndex) {}
NNConcatenationGradient::NNConcatenationGradient(Unarchiver& coder, const Device& device)
    : NNConcatenationGradient(device) {
  decode(coder);
}

void NNConcatenationGradient::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                                ImageDescriptor& suggested) {
  ImageDescriptor source = sources.at(1).descriptor();
  if (!sourceStates.empty()) {
    configure(sourceStates.front());
    source = recordIn(sourceStates.front(), sourceIndex_).sources[sourceIndex_].image;
  }
  suggested.width = source.width;
  suggested.height = source.height;
  suggested.featureChannels = source.featureChannels;
}

void NNConcatenationGradient::configure(const State& gradientState) {
  const auto& record = recordIn(gradientState, sourceIndex_);
  primaryOffset.x = primaryOffset.y = 0;
  primarySourceFeatureChannelOffset = record.destinationFeatureChannelOffset;
  for (std::size_t i = 0; i < sourceIndex_; ++i)
    primarySourceFeatureChannelOffset += roundedUp(record.sources[i].image.featureChannels);
  primarySourceFeatureChannelMaxCount = record.sources[sourceIndex_].image.featureChannels;
}

void NNConcatenationGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto views = detail::pointwiseGradientViews(encoding, *this, operands);
  encoding.record(operations::ImageCopy{.source = std::move(views.gradient), .result = std::move(views.result)});
}

void NNConcatenationGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitor.visit("sourceIndex", sourceIndex_);
}

}  // namespace metalloid
