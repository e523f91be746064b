#include "core/device_implementation.hpp"
#include "core/format.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"
#include "kernels/loss_settings.hpp"
#include "operations/cnn_loss.hpp"
#include "operations/image_copy.hpp"

#include <metalloid/error.hpp>
#include <metalloid/nn_forward_loss.hpp>

#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::SourceSettings;

namespace {

/// What NNForwardLoss leaves for its gradient: the properties that may have changed in between.
class ForwardLossState final : public detail::GradientStateImplementation {
 public:
  using GradientStateImplementation::GradientStateImplementation;

  std::string_view className() const override { return "NNGradientState"; }

  CNNLossDescriptor settings;
};

/// Every kernel here works on whole images.
void requireDefaults(const Encoding& encoding, const SourceSettings& source) {
  if (source.offset.x == 0 && source.offset.y == 0 && source.featureChannelOffset == 0 &&
      source.featureChannelMaxCount == all)
    return;
  encoding.refuse(fmt::format("{} works on whole images: offsets and feature channels must keep their defaults.",
                              encoding.kernelName()));
}
void requireDefaults(const Encoding& encoding, const Region& clipRect, std::size_t destinationFeatureChannelOffset) {
  if (clipRect.origin.x == 0 && clipRect.origin.y == 0 && clipRect.size.width == all && clipRect.size.height == all &&
      destinationFeatureChannelOffset == 0)
    return;
  encoding.refuse(
      fmt::format("{} works on whole images: clipRect and destinationFeatureChannelOffset must keep their "
                  "defaults.",
                  encoding.kernelName()));
}

void requireSize(const Encoding& encoding, std::string_view role, const Encoding::ImageOperand& operand,
                 const ImageDescriptor& size) {
  if (!operand.given() ||
      (operand.width() == size.width && operand.height() == size.height && operand.channels() == size.featureChannels))
    return;
  encoding.refuse(fmt::format("The {} of {} must be of {} x {} x {}, but is of {} x {} x {}.", role,
                              encoding.kernelName(), size.height, size.width, size.featureChannels, operand.height(),
                              operand.width(), operand.channels()));
}

/// Reads sources[index] of the operands, of as many images as the destinations are; not given when there is none.
Encoding::ImageOperand sourceAt(Encoding& encoding, std::string_view role, const ImageOperands& operands,
                                std::size_t index, detail::ImageRange range) {
  if (index >= operands.sources.size()) return {};
  const ImageBatch& batch = operands.sources[index];
  if (batch.size() != operands.destinations.size()) {
    encoding.refuse(fmt::format("There are {} images of the {}, but {} destination images.", batch.size(), role,
                                operands.destinations.size()));
  }
  return encoding.source(role, batch, range.first, range.count);
}

void checkLossOf(const Encoding& encoding, const CNNLossDescriptor& settings) {
  std::string complaint = detail::lossComplaint(encoding.kernelName(), settings);
  if (!complaint.empty()) encoding.refuse(std::move(complaint));
}

/// The descriptor with the four properties of a kernel.
template <class K>
CNNLossDescriptor withProperties(CNNLossDescriptor descriptor, const K& kernel) {
  descriptor.weight = kernel.weight;
  descriptor.labelSmoothing = kernel.labelSmoothing;
  descriptor.epsilon = kernel.epsilon;
  descriptor.delta = kernel.delta;
  return descriptor;
}

template <class K>
void visitLoss(detail::SettingsVisitor& visitor, std::string_view className, CNNLossDescriptor& descriptor, K& kernel) {
  descriptor = withProperties(descriptor, kernel);
  detail::visit(visitor, className, descriptor);
  kernel.weight = descriptor.weight;
  kernel.labelSmoothing = descriptor.labelSmoothing;
  kernel.epsilon = descriptor.epsilon;
  kernel.delta = descriptor.delta;
}

}  // namespace

// --- The value -------------------------------------------------------------------------------------------------------

NNForwardLoss::NNForwardLoss(const Device& device, const CNNLossDescriptor& lossDescriptor)
    : CNNKernel(device, "NNForwardLoss"),
      weight(lossDescriptor.weight),
      labelSmoothing(lossDescriptor.labelSmoothing),
      epsilon(lossDescriptor.epsilon),
      delta(lossDescriptor.delta),
      descriptor_(lossDescriptor) {
  detail::checkLoss("NNForwardLoss", descriptor_);
}

NNForwardLoss::NNForwardLoss(Unarchiver& coder, const Device& device) : NNForwardLoss(device, CNNLossDescriptor{}) {
  decode(coder);
}

CNNLossDescriptor NNForwardLoss::settings() const { return withProperties(descriptor_, *this); }

ImageBatch NNForwardLoss::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  ImageOperands operands{.sources = {arguments.sourceImages, arguments.labels},
                         .sourceStates = {},
                         .destinationStates = arguments.destinationStates.given(),
                         .destinations = arguments.destinationImages};
  if (!arguments.weights.empty()) operands.sources.push_back(arguments.weights);
  return run(commandBuffer, std::move(operands), arguments.destinationStates.made(),
             arguments.destinationStateIsTemporary);
}

State NNForwardLoss::makeResultState(const ResultStateArguments& arguments) {
  auto state = detail::makeRef<ForwardLossState>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      detail::recordOf(*this, {arguments.sources.front()}, arguments.destination));
  state->settings = settings();
  return detail::stateHandle<NNGradientState>(state);
}

void NNForwardLoss::adjustDestination(const ImageBatch&, const StateBatch&, ImageDescriptor& suggested) {
  if (descriptor_.reductionType == CNNReductionType::none) return;
  suggested.width = suggested.height = suggested.featureChannels = 1;
}

void NNForwardLoss::record(Encoding& encoding, const ImageOperands& operands) const {
  const CNNLossDescriptor settings = this->settings();
  checkLossOf(encoding, settings);
  requireDefaults(encoding, sourceSettings(0));
  requireDefaults(encoding, clipRect, destinationFeatureChannelOffset);
  if (operands.sources.size() < 2) encoding.refuse(fmt::format("{} needs labels.", encoding.kernelName()));
  const auto destinations = detail::destinationImages(clipRect, operands.destinations);
  const auto sources = detail::sourceImages(sourceSettings(0), destinations);
  auto source = sourceAt(encoding, "sourceImage", operands, 0, sources);
  auto labels = sourceAt(encoding, "labels", operands, 1, sources);
  auto weights = sourceAt(encoding, "weights", operands, 2, sources);
  auto loss = encoding.result("destinationImage", operands.destinations, destinations.first, destinations.count);
  requireSize(encoding, "labels", labels, source.descriptor());
  requireSize(encoding, "weights", weights, source.descriptor());
  requireSize(encoding, "destinationImage", loss,
              settings.reductionType == CNNReductionType::none ? source.descriptor() : ImageDescriptor{});
  std::vector<ForwardLossState*> states;
  for (const State& state : operands.destinationStates) {
    auto* const forward = dynamic_cast<ForwardLossState*>(&detail::implementation(state));
    if (!forward) {
      encoding.refuse(fmt::format("The destinationState of {} must be one that it made, but a {} is given.",
                                  encoding.kernelName(), detail::implementation(state).name()));
    }
    states.push_back(forward);
  }
  operations::CNNLoss operation;
  operation.source = source.view();
  operation.labels = labels.view();
  operation.weights = weights.view();
  operation.loss = loss.view();
  operation.settings = detail::settingsOf(settings);
  encoding.record(std::move(operation));
  for (ForwardLossState* const state : states) state->settings = settings;
}

NNForwardLoss NNForwardLoss::copy(const Device& device) const { return copyOf(*this, device); }

void NNForwardLoss::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitLoss(visitor, "NNForwardLoss", descriptor_, *this);
}

// --- The gradient ----------------------------------------------------------------------------------------------------

NNLossGradient::NNLossGradient(const Device& device, const CNNLossDescriptor& lossDescriptor)
    : CNNBinaryKernel(device, "NNLossGradient"),
      weight(lossDescriptor.weight),
      labelSmoothing(lossDescriptor.labelSmoothing),
      epsilon(lossDescriptor.epsilon),
      delta(lossDescriptor.delta),
      descriptor_(lossDescriptor) {
  detail::checkLoss("NNLossGradient", descriptor_);
}

NNLossGradient::NNLossGradient(Unarchiver& coder, const Device& device) : NNLossGradient(device, CNNLossDescriptor{}) {
  decode(coder);
}

CNNLossDescriptor NNLossGradient::settings() const { return withProperties(descriptor_, *this); }

ImageBatch NNLossGradient::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  ImageOperands operands{.sources = {arguments.sourceGradients, arguments.sourceImages, arguments.labels},
                         .sourceStates = arguments.sourceStates,
                         .destinationStates = {},
                         .destinations = arguments.destinationGradients};
  if (!arguments.weights.empty()) operands.sources.push_back(arguments.weights);
  return run(commandBuffer, std::move(operands), nullptr, false);
}

void NNLossGradient::adjustDestination(const ImageBatch& sources, const StateBatch&, ImageDescriptor& suggested) {
  const bool forLabels = computeLabelGradients && sources.size() > 2;
  suggested = sources.at(forLabels ? 2 : 1).descriptor();
}

void NNLossGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  CNNLossDescriptor settings = this->settings();
  for (const State& state : operands.sourceStates) {
    encoding.reads("sourceState", state);
    const auto* const forward = dynamic_cast<const ForwardLossState*>(&detail::implementation(state));
    if (!forward) {
      encoding.refuse(fmt::format("The sourceState of {} must come from an NNForwardLoss, but a {} is given.",
                                  encoding.kernelName(), detail::implementation(state).name()));
    }
    settings = withProperties(settings, forward->settings);
  }
  checkLossOf(encoding, settings);
  for (std::size_t i = 0; i < 2; ++i) requireDefaults(encoding, sourceSettings(i));
  requireDefaults(encoding, clipRect, destinationFeatureChannelOffset);
  if (operands.sources.size() < 3) encoding.refuse(fmt::format("{} needs labels.", encoding.kernelName()));
  const auto destinations = detail::destinationImages(clipRect, operands.destinations);
  const auto gradients = detail::sourceImages(sourceSettings(0), destinations);
  const auto sources = detail::sourceImages(sourceSettings(1), destinations);
  auto gradient = sourceAt(encoding, "sourceGradient", operands, 0, gradients);
  auto source = sourceAt(encoding, "sourceImage", operands, 1, sources);
  auto labels = sourceAt(encoding, "labels", operands, 2, sources);
  auto weights = sourceAt(encoding, "weights", operands, 3, sources);
  auto result = encoding.result("destinationGradient", operands.destinations, destinations.first, destinations.count);
  const bool isOneForAll = gradient.width() == 1 && gradient.height() == 1 && gradient.channels() == 1;
  if (!isOneForAll) requireSize(encoding, "sourceGradient", gradient, source.descriptor());
  requireSize(encoding, "labels", labels, source.descriptor());
  requireSize(encoding, "weights", weights, source.descriptor());
  requireSize(encoding, "destinationGradient", result, source.descriptor());
  encoding.record(operations::NNLossGradient{.gradient = gradient.view(),
                                             .source = source.view(),
                                             .labels = labels.view(),
                                             .weights = weights.view(),
                                             .result = result.view(),
                                             .forLabels = computeLabelGradients,
                                             .isDivided = appliesReduction,
                                             .settings = detail::settingsOf(settings)});
}

NNLossGradient NNLossGradient::copy(const Device& device) const { return copyOf(*this, device); }

void NNLossGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNBinaryKernel::visitSettings(visitor);
  visitLoss(visitor, "NNLossGradient", descriptor_, *this);
  visitor.visit("computeLabelGradients", computeLabelGradients);
  visitor.visit("appliesReduction", appliesReduction);
}

// --- The seed --------------------------------------------------------------------------------------------------------

NNInitialGradient::NNInitialGradient(const Device& device) : CNNKernel(device, "NNInitialGradient") {}
NNInitialGradient::NNInitialGradient(Unarchiver& coder, const Device& device) : NNInitialGradient(device) {
  decode(coder);
}

void NNInitialGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  auto found = detail::unaryOperands(encoding, *this, operands);
  encoding.record(operations::ImageFill{
      .result = found.destination.view(found.clip, destinationFeatureChannelOffset, found.channels), .value = 1});
}

NNInitialGradient NNInitialGradient::copy(const Device& device) const { return copyOf(*this, device); }

}  // namespace metalloid
