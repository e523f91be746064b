#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/error.hpp>

#include <algorithm>

namespace metalloid {

using detail::GradientStateImplementation;
using detail::ImageOperands;
using detail::SourceSettings;

namespace {

State firstOf(const StateBatch& states) { return states.empty() ? State() : states.front(); }

/// The library's own policy with these bits.
std::shared_ptr<NNPadding> policyOf(NNPaddingMethod method) {
  if (contains(method, NNPaddingMethod::custom)) {
    for (const auto& policy :
         {NNDefaultPadding::forTensorflowAveragePooling(), NNDefaultPadding::forTensorflowAveragePoolingValidOnly()}) {
      if (policy->paddingMethod() == method) return policy;
    }
  }
  try {
    return NNDefaultPadding::paddingWithMethod(method);
  } catch (const Error& error) {
    detail::refuseSetting("kernel", "padding", error.what());
  }
}

/// How a policy travels: its bits. Code of the caller's own cannot be in an archive.
void visitPadding(detail::SettingsVisitor& visitor, std::shared_ptr<NNPadding>& padding) {
  const auto before = padding ? padding->paddingMethod() : NNPaddingMethod::sizeSame;
  auto method = before;
  visitor.visit("padding", method);
  if (method != before) padding = policyOf(method);
}

void visit(detail::SettingsVisitor& visitor, std::string_view name, Offset& offset) {
  const std::string prefix(name);
  const auto one = [&](const char* axis, std::ptrdiff_t& value) {
    auto number = static_cast<std::uint64_t>(value);
    visitor.visit(prefix + axis, number);
    value = static_cast<std::ptrdiff_t>(number);
  };
  one(".x", offset.x);
  one(".y", offset.y);
  one(".z", offset.z);
}

void visit(detail::SettingsVisitor& visitor, std::string_view name, detail::KernelShape& shape) {
  const std::string prefix(name);
  visitor.visit(prefix + "kernelWidth", shape.kernelWidth);
  visitor.visit(prefix + "kernelHeight", shape.kernelHeight);
  visitor.visit(prefix + "strideInPixelsX", shape.strideInPixelsX);
  visitor.visit(prefix + "strideInPixelsY", shape.strideInPixelsY);
  visitor.visit(prefix + "dilationRateX", shape.dilationRateX);
  visitor.visit(prefix + "dilationRateY", shape.dilationRateY);
  for (const std::size_t value : {shape.kernelWidth, shape.kernelHeight, shape.strideInPixelsX, shape.strideInPixelsY,
                                  shape.dilationRateX, shape.dilationRateY}) {
    if (value == 0 || value > (std::size_t{1} << 31))
      detail::refuseSetting("kernel", name, "a size of its window is not possible.");
  }
}

void visitEdgeMode(detail::SettingsVisitor& visitor, std::string_view name, ImageEdgeMode& mode) {
  visitor.visit(name, mode);
  if (mode > ImageEdgeMode::constant) detail::refuseSetting("kernel", name, "there is no such edge mode.");
}

}  // namespace

namespace detail {

std::string_view GradientStateImplementation::className() const {
  switch (record_.sources.size()) {
    case 1:
      return "NNGradientState";
    case 2:
      return "NNBinaryGradientState";
    default:
      return "NNMultiaryGradientState";
  }
}

ForwardRecord recordOf(const ImageKernel& kernel, const ImageBatch& sources, const Image& destination) {
  ForwardRecord record;
  for (std::size_t i = 0; i < sources.size(); ++i)
    record.sources.push_back({kernel.sourceSettings(i), sources[i].descriptor()});
  record.destination = destination.descriptor();
  record.clip = clipped(kernel.destinationClipRect(), record.destination);
  record.destinationFeatureChannelOffset = kernel.destinationChannelOffset();
  return record;
}

}  // namespace detail

// --- One source ------------------------------------------------------------------------------------------------------

SourceSettings CNNKernel::sourceSettings(std::size_t) const {
  return {.offset = offset,
          .featureChannelOffset = sourceFeatureChannelOffset,
          .featureChannelMaxCount = sourceFeatureChannelMaxCount,
          .edgeMode = edgeMode,
          .shape = shape_};
}

void CNNKernel::setSourceOffset(std::size_t, Offset value) { offset = value; }

Image CNNKernel::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  ImageOperands operands{
      .sources = {{arguments.sourceImage}}, .sourceStates = {}, .destinationStates = {}, .destinations = {}};
  if (arguments.destinationState.given()) operands.destinationStates = {arguments.destinationState.given()};
  if (arguments.destinationImage) operands.destinations = {arguments.destinationImage};
  StateBatch made;
  State* const wanted = arguments.destinationState.made();
  const Image result =
      run(commandBuffer, std::move(operands), wanted ? &made : nullptr, arguments.destinationStateIsTemporary).front();
  if (wanted) *wanted = firstOf(made);
  return result;
}

ImageBatch CNNKernel::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  return run(commandBuffer,
             {.sources = {arguments.sourceImages},
              .sourceStates = {},
              .destinationStates = arguments.destinationStates.given(),
              .destinations = arguments.destinationImages},
             arguments.destinationStates.made(), arguments.destinationStateIsTemporary);
}

StateBatch CNNKernel::resultStateBatch(const StateArguments& arguments) {
  return makeResultStates({.commandBuffer = nullptr,
                           .sources = {arguments.sourceImage},
                           .sourceStates = arguments.sourceStates,
                           .destination = arguments.destinationImage,
                           .count = arguments.batchSize});
}

StateBatch CNNKernel::temporaryResultStateBatch(CommandBuffer& commandBuffer, const StateArguments& arguments) {
  return makeResultStates({.commandBuffer = &commandBuffer,
                           .sources = {arguments.sourceImage},
                           .sourceStates = arguments.sourceStates,
                           .destination = arguments.destinationImage,
                           .count = arguments.batchSize});
}

State CNNKernel::resultState(const StateArguments& arguments) { return firstOf(resultStateBatch(arguments)); }

State CNNKernel::temporaryResultState(CommandBuffer& commandBuffer, const StateArguments& arguments) {
  return firstOf(temporaryResultStateBatch(commandBuffer, arguments));
}

void CNNKernel::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visit(visitor, "offset", offset);
  visitor.visit("clipRect", clipRect);
  visitor.visit("destinationFeatureChannelOffset", destinationFeatureChannelOffset);
  visitor.visit("sourceFeatureChannelOffset", sourceFeatureChannelOffset);
  visitor.visit("sourceFeatureChannelMaxCount", sourceFeatureChannelMaxCount);
  visitEdgeMode(visitor, "edgeMode", edgeMode);
  visitPadding(visitor, padding);
  visit(visitor, "", shape_);
}

// --- Two sources -----------------------------------------------------------------------------------------------------

SourceSettings CNNBinaryKernel::sourceSettings(std::size_t source) const {
  SourceSettings settings = source == 0
                                ? SourceSettings{.offset = primaryOffset,
                                                 .featureChannelOffset = primarySourceFeatureChannelOffset,
                                                 .featureChannelMaxCount = primarySourceFeatureChannelMaxCount,
                                                 .edgeMode = primaryEdgeMode,
                                                 .shape = primary_}
                                : SourceSettings{.offset = secondaryOffset,
                                                 .featureChannelOffset = secondarySourceFeatureChannelOffset,
                                                 .featureChannelMaxCount = secondarySourceFeatureChannelMaxCount,
                                                 .edgeMode = secondaryEdgeMode,
                                                 .shape = secondary_};
  settings.shape.strideInPixelsX = source == 0 ? primaryStrideInPixelsX : secondaryStrideInPixelsX;
  settings.shape.strideInPixelsY = source == 0 ? primaryStrideInPixelsY : secondaryStrideInPixelsY;
  return settings;
}

void CNNBinaryKernel::setSourceOffset(std::size_t source, Offset value) {
  (source == 0 ? primaryOffset : secondaryOffset) = value;
}

Image CNNBinaryKernel::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  ImageOperands operands{.sources = {{arguments.primaryImage}, {arguments.secondaryImage}},
                         .sourceStates = {},
                         .destinationStates = {},
                         .destinations = {}};
  if (arguments.destinationState.given()) operands.destinationStates = {arguments.destinationState.given()};
  if (arguments.destinationImage) operands.destinations = {arguments.destinationImage};
  StateBatch made;
  State* const wanted = arguments.destinationState.made();
  const Image result =
      run(commandBuffer, std::move(operands), wanted ? &made : nullptr, arguments.destinationStateIsTemporary).front();
  if (wanted) *wanted = firstOf(made);
  return result;
}

ImageBatch CNNBinaryKernel::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  return run(commandBuffer,
             {.sources = {arguments.primaryImages, arguments.secondaryImages},
              .sourceStates = {},
              .destinationStates = arguments.destinationStates.given(),
              .destinations = arguments.destinationImages},
             arguments.destinationStates.made(), arguments.destinationStateIsTemporary);
}

StateBatch CNNBinaryKernel::resultStateBatch(const StateArguments& arguments) {
  return makeResultStates({.commandBuffer = nullptr,
                           .sources = {arguments.primaryImage, arguments.secondaryImage},
                           .sourceStates = arguments.sourceStates,
                           .destination = arguments.destinationImage,
                           .count = arguments.batchSize});
}

StateBatch CNNBinaryKernel::temporaryResultStateBatch(CommandBuffer& commandBuffer, const StateArguments& arguments) {
  return makeResultStates({.commandBuffer = &commandBuffer,
                           .sources = {arguments.primaryImage, arguments.secondaryImage},
                           .sourceStates = arguments.sourceStates,
                           .destination = arguments.destinationImage,
                           .count = arguments.batchSize});
}

State CNNBinaryKernel::resultState(const StateArguments& arguments) { return firstOf(resultStateBatch(arguments)); }

State CNNBinaryKernel::temporaryResultState(CommandBuffer& commandBuffer, const StateArguments& arguments) {
  return firstOf(temporaryResultStateBatch(commandBuffer, arguments));
}

void CNNBinaryKernel::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visit(visitor, "primaryOffset", primaryOffset);
  visit(visitor, "secondaryOffset", secondaryOffset);
  visitor.visit("clipRect", clipRect);
  visitor.visit("destinationFeatureChannelOffset", destinationFeatureChannelOffset);
  visitor.visit("primarySourceFeatureChannelOffset", primarySourceFeatureChannelOffset);
  visitor.visit("secondarySourceFeatureChannelOffset", secondarySourceFeatureChannelOffset);
  visitor.visit("primarySourceFeatureChannelMaxCount", primarySourceFeatureChannelMaxCount);
  visitor.visit("secondarySourceFeatureChannelMaxCount", secondarySourceFeatureChannelMaxCount);
  visitEdgeMode(visitor, "primaryEdgeMode", primaryEdgeMode);
  visitEdgeMode(visitor, "secondaryEdgeMode", secondaryEdgeMode);
  visitor.visit("primaryStrideInPixelsX", primaryStrideInPixelsX);
  visitor.visit("primaryStrideInPixelsY", primaryStrideInPixelsY);
  visitor.visit("secondaryStrideInPixelsX", secondaryStrideInPixelsX);
  visitor.visit("secondaryStrideInPixelsY", secondaryStrideInPixelsY);
  visitPadding(visitor, padding);
  visit(visitor, "primary", primary_);
  visit(visitor, "secondary", secondary_);
}

// --- Gradients -------------------------------------------------------------------------------------------------------

Image CNNGradientKernel::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  ImageOperands operands{.sources = {{arguments.sourceGradient}, {arguments.sourceImage}},
                         .sourceStates = {},
                         .destinationStates = {},
                         .destinations = {}};
  if (arguments.gradientState) operands.sourceStates = {arguments.gradientState};
  if (arguments.destinationGradient) operands.destinations = {arguments.destinationGradient};
  return run(commandBuffer, std::move(operands), nullptr, false).front();
}

ImageBatch CNNGradientKernel::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  return run(commandBuffer,
             {.sources = {arguments.sourceGradients, arguments.sourceImages},
              .sourceStates = arguments.gradientStates,
              .destinationStates = {},
              .destinations = arguments.destinationGradients},
             nullptr, false);
}

void CNNGradientKernel::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                          ImageDescriptor& suggested) {
  ImageDescriptor source = sources.at(1).descriptor();
  if (!sourceStates.empty()) {
    configure(sourceStates.front());
    const auto* const state = dynamic_cast<GradientStateImplementation*>(&detail::implementation(sourceStates.front()));
    if (state && !state->record().sources.empty()) source = state->record().sources.front().image;
  }
  suggested.width = source.width;
  suggested.height = source.height;
  // The offset of channels stays within the forward source, whose channels the result has.
  suggested.featureChannels =
      source.featureChannels - std::min(source.featureChannels, destinationFeatureChannelOffset);
}

void CNNGradientKernel::configure(const State& gradientState) {
  const auto* const state = dynamic_cast<GradientStateImplementation*>(&detail::implementation(gradientState));
  if (!state) return;
  const auto& record = state->record();
  if (record.sources.size() != 1) return;
  const auto& source = record.sources.front();
  // Where the forward kernel read outside of its source, nothing receives gradient.
  const auto along = [](std::ptrdiff_t offset, std::size_t clip, std::size_t size, std::size_t available,
                        std::ptrdiff_t& primary, std::size_t& origin, std::size_t& length) {
    const std::ptrdiff_t first = std::max<std::ptrdiff_t>(offset, 0);
    const std::ptrdiff_t end =
        std::min(offset + static_cast<std::ptrdiff_t>(size), static_cast<std::ptrdiff_t>(available));
    origin = static_cast<std::size_t>(first);
    length = static_cast<std::size_t>(std::max<std::ptrdiff_t>(end - first, 0));
    primary = static_cast<std::ptrdiff_t>(clip) + first - offset;
  };
  along(source.settings.offset.x, record.clip.x, record.clip.width, source.image.width, primaryOffset.x,
        clipRect.origin.x, clipRect.size.width);
  along(source.settings.offset.y, record.clip.y, record.clip.height, source.image.height, primaryOffset.y,
        clipRect.origin.y, clipRect.size.height);
  secondaryOffset.x = static_cast<std::ptrdiff_t>(clipRect.origin.x);
  secondaryOffset.y = static_cast<std::ptrdiff_t>(clipRect.origin.y);
  primarySourceFeatureChannelOffset = record.destinationFeatureChannelOffset;
  destinationFeatureChannelOffset = secondarySourceFeatureChannelOffset = source.settings.featureChannelOffset;
  primarySourceFeatureChannelMaxCount = secondarySourceFeatureChannelMaxCount = source.settings.featureChannelMaxCount;
  secondaryEdgeMode = source.settings.edgeMode;
}

void CNNGradientKernel::visitSettings(detail::SettingsVisitor& visitor) {
  CNNBinaryKernel::visitSettings(visitor);
  Offset kernelOffset{kernelOffsetX, kernelOffsetY, 0};
  visit(visitor, "kernelOffset", kernelOffset);
  kernelOffsetX = kernelOffset.x;
  kernelOffsetY = kernelOffset.y;
}

namespace {

/// @throws Error (invalidArgument) unless it is the gradient state of a kernel with so many sources.
void requireSources(const State& state, std::string_view className, std::size_t least, std::size_t most) {
  if (!state) return;
  const auto& gradientState = detail::implementationAs<GradientStateImplementation>(state, className);
  const std::size_t sources = gradientState.record().sources.size();
  if (sources >= least && sources <= most) return;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("A {} is needed, but {} is given.", className, gradientState.name()));
}

}  // namespace

NNGradientState::NNGradientState(const State& state) : State(state) { requireSources(state, "NNGradientState", 0, 1); }
NNBinaryGradientState::NNBinaryGradientState(const State& state) : State(state) {
  requireSources(state, "NNBinaryGradientState", 2, 2);
}
NNMultiaryGradientState::NNMultiaryGradientState(const State& state) : State(state) {
  requireSources(state, "NNMultiaryGradientState", 3, all);
}

}  // namespace metalloid
