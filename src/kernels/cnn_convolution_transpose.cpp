#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/convolution_gradient.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/cnn_convolution.hpp"

#include <metalloid/cnn_convolution_transpose.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {

using detail::ConvolutionGradientStateImplementation;
using detail::ConvolutionTransposeGradientStateImplementation;
using detail::ConvolutionWeights;
using detail::Encoding;
using detail::ImageOperands;

namespace {

constexpr const char* kTranspose = "CNNConvolutionTranspose";
constexpr const char* kGradient = "CNNConvolutionTransposeGradient";

ConvolutionWeights checked(ConvolutionWeights weights) {
  if (weights.descriptor().subPixelScaleFactor != 1) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The subPixelScaleFactor of a {} is {}, but must be 1.",
                                                        kTranspose, weights.descriptor().subPixelScaleFactor));
  }
  return weights;
}

/// The window over the source of what enlarges by the strides; `origin` is the position of the first window's centre in
/// the enlarged source.
operations::Window enlargingWindow(const detail::KernelShape& shape, std::ptrdiff_t originX, std::ptrdiff_t originY) {
  const auto axis = [](std::size_t taps, std::size_t dilated, std::size_t stride, std::size_t dilation,
                       std::ptrdiff_t origin) {
    return operations::WindowAxis{.taps = taps,
                                  .step = 1,
                                  .base = origin - static_cast<std::ptrdiff_t>(dilated / 2),
                                  .tapStep = static_cast<std::ptrdiff_t>(dilation),
                                  .divisor = static_cast<std::ptrdiff_t>(stride)};
  };
  return {.x = axis(shape.kernelWidth, shape.dilatedWidth(), shape.strideInPixelsX, shape.dilationRateX, originX),
          .y = axis(shape.kernelHeight, shape.dilatedHeight(), shape.strideInPixelsY, shape.dilationRateY, originY)};
}

void visitSigned(detail::SettingsVisitor& visitor, std::string_view name, std::ptrdiff_t& value) {
  auto number = static_cast<std::uint64_t>(value);
  visitor.visit(name, number);
  value = static_cast<std::ptrdiff_t>(number);
}

StateBatch statesOf(const CNNConvolutionGradientStateBatch& states) { return {states.begin(), states.end()}; }

}  // namespace

// --- Forward ---------------------------------------------------------------------------------------------------------

CNNConvolutionTranspose::CNNConvolutionTranspose(const Device& device,
                                                 std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNConvolutionTranspose(device, ConvolutionWeights(device, kTranspose, std::move(weights))) {}

CNNConvolutionTranspose::CNNConvolutionTranspose(Unarchiver& coder, const Device& device)
    : CNNKernel(device, kTranspose) {
  decode(coder);
}

CNNConvolutionTranspose::CNNConvolutionTranspose(const Device& device, const ConvolutionWeights& weights,
                                                 const std::optional<NNNeuronDescriptor>& neuron)
    : CNNKernel(device, kTranspose), weights_(checked(weights)) {
  label = dataSource()->label();
  neuron_.set(device, neuron.value_or(descriptor().fusedNeuronDescriptor));
  detail::requireSlopes(neuron_, outputFeatureChannels(), name());
  takeShape();
}

void CNNConvolutionTranspose::takeShape() { shape_ = detail::shapeOf(descriptor()); }

Image CNNConvolutionTranspose::encode(CommandBuffer& commandBuffer, const Arguments& arguments) {
  BatchArguments batch{.sourceImages = {arguments.sourceImage},
                       .destinationStateIsTemporary = arguments.destinationStateIsTemporary};
  if (arguments.convolutionGradientState) batch.convolutionGradientStates = {arguments.convolutionGradientState};
  if (arguments.destinationImage) batch.destinationImages = {arguments.destinationImage};
  StateBatch made;
  State* const wanted = arguments.destinationState.made();
  if (arguments.destinationState.given()) batch.destinationStates = StateBatch{arguments.destinationState.given()};
  if (wanted) batch.destinationStates = &made;
  const Image result = encodeBatch(commandBuffer, batch).front();
  if (wanted) *wanted = made.empty() ? State() : made.front();
  return result;
}

ImageBatch CNNConvolutionTranspose::encodeBatch(CommandBuffer& commandBuffer, const BatchArguments& arguments) {
  if (!arguments.convolutionGradientStates.empty()) configure(arguments.convolutionGradientStates.front());
  return run(commandBuffer,
             {.sources = {arguments.sourceImages},
              .sourceStates = statesOf(arguments.convolutionGradientStates),
              .destinationStates = arguments.destinationStates.given(),
              .destinations = arguments.destinationImages},
             arguments.destinationStates.made(), arguments.destinationStateIsTemporary);
}

void CNNConvolutionTranspose::configure(const State& convolutionGradientState) {
  const auto& record = detail::implementationAs<ConvolutionGradientStateImplementation>(convolutionGradientState,
                                                                                        "CNNConvolutionGradientState")
                           .record();
  const auto& forward = record.sources.front().settings;
  const auto undo = [](std::size_t dilated, std::ptrdiff_t forwardOffset) {
    return (dilated % 2 == 0 ? 1 : 0) - forwardOffset;
  };
  offset.x = offset.y = 0;
  kernelOffsetX = undo(forward.shape.dilatedWidth(), forward.offset.x);
  kernelOffsetY = undo(forward.shape.dilatedHeight(), forward.offset.y);
}

void CNNConvolutionTranspose::adjustDestination(const ImageBatch&, const StateBatch& sourceStates,
                                                ImageDescriptor& suggested) {
  suggested.featureChannels = outputFeatureChannels();
  if (!sourceStates.empty()) {
    configure(sourceStates.front());
    const CNNConvolutionGradientState forward(sourceStates.front());
    suggested.width = forward.sourceWidth();
    suggested.height = forward.sourceHeight();
    return;
  }
  const auto size = (padding ? padding->paddingMethod() : NNPaddingMethod::sizeSame) & NNPaddingMethod::sizeMask;
  if (size == NNPaddingMethod::sizeSame) return;
  // The first window ends, for full, or begins, for valid only, at the first pixel of the source.
  const auto first = [&](std::size_t dilated) {
    const auto k = static_cast<std::ptrdiff_t>(dilated);
    return size == NNPaddingMethod::sizeFull ? k / 2 - (k - 1) : k / 2;
  };
  kernelOffsetX = first(shape_.dilatedWidth());
  kernelOffsetY = first(shape_.dilatedHeight());
}

State CNNConvolutionTranspose::makeResultState(const ResultStateArguments& arguments) {
  std::shared_ptr<const CNNConvolution> convolution;
  if (!arguments.sourceStates.empty()) {
    convolution = detail::implementationAs<ConvolutionGradientStateImplementation>(arguments.sourceStates.front(),
                                                                                   "CNNConvolutionGradientState")
                      .convolution();
  }
  return detail::stateHandle<CNNConvolutionTransposeGradientState>(
      detail::makeRef<ConvolutionTransposeGradientStateImplementation>(
          detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
          detail::recordOf(*this, arguments.sources, arguments.destination), std::move(convolution),
          std::make_shared<const CNNConvolutionTranspose>(*this)));
}

void CNNConvolutionTranspose::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("convolutionGradientState", state);
  for (const State& state : operands.destinationStates) {
    detail::implementationAs<ConvolutionTransposeGradientStateImplementation>(state,
                                                                              "CNNConvolutionTransposeGradientState");
  }
  detail::requireEdgeMode(encoding, edgeMode, shape_.strideInPixelsX != 1 || shape_.strideInPixelsY != 1);
  detail::requireReach(encoding, "offset", offset.x, offset.y);
  detail::requireReach(encoding, "kernelOffset", kernelOffsetX, kernelOffsetY);
  auto found = detail::unaryOperands(encoding, *this, operands);
  const auto originOf = [](std::ptrdiff_t pixel, std::size_t stride, std::ptrdiff_t kernelOffset) {
    return pixel * static_cast<std::ptrdiff_t>(stride) + kernelOffset;
  };
  encoding.record(operations::CNNConvolution{
      .source = detail::convolutionSource(encoding, found.source, sourceFeatureChannelOffset, found.channels,
                                          inputFeatureChannels()),
      .weights = encoding.source("weights", weights_.weights()).view(weights_.weights().length(), {}),
      .bias = encoding.optionalSource("biases", weights_.biases()).view(outputFeatureChannels(), {}),
      .slopes = detail::slopesFor(encoding, neuron_, outputFeatureChannels()),
      .result = found.destination.view(found.clip, destinationFeatureChannelOffset, outputFeatureChannels()),
      .window = enlargingWindow(shape_, originOf(offset.x, shape_.strideInPixelsX, kernelOffsetX),
                                originOf(offset.y, shape_.strideInPixelsY, kernelOffsetY)),
      .groups = weights_.operationGroups(),
      .edgeMode = edgeMode,
      .neuron = neuron_.function()});
}

void CNNConvolutionTranspose::reloadWeightsAndBiasesFromDataSource() { weights_.reloadFromDataSource(); }
void CNNConvolutionTranspose::reloadWeightsAndBiases(CommandBuffer& commandBuffer,
                                                     const CNNConvolutionWeightsAndBiasesState& state) {
  weights_.reload(*this, commandBuffer, state);
}
CNNConvolutionWeightsAndBiasesState CNNConvolutionTranspose::exportWeightsAndBiases(
    CommandBuffer& commandBuffer, bool resultStateCanBeTemporary) const {
  return weights_.exported(*this, commandBuffer, resultStateCanBeTemporary);
}

CNNConvolutionTranspose CNNConvolutionTranspose::copy(const Device& device) const {
  return copyOf(*this, device ? device : this->device());
}

void CNNConvolutionTranspose::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
  weights_ = weights_.copy(device);
}

void CNNConvolutionTranspose::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitSigned(visitor, "kernelOffsetX", kernelOffsetX);
  visitSigned(visitor, "kernelOffsetY", kernelOffsetY);
  visitor.visit("accumulatorPrecisionOption", accumulatorPrecisionOption);
  neuron_.visit(visitor, device());
  const auto before = weights_;
  weights_.visit(visitor, device(), kTranspose, neuron_.descriptor());
  if (weights_ == before) return;  // not an archive being read
  try {
    checked(weights_);
    detail::requireSlopes(neuron_, outputFeatureChannels(), kTranspose);
  } catch (const Error& error) {
    detail::refuseSetting(kTranspose, "descriptor", error.message());
  }
  takeShape();
}

// --- Gradient --------------------------------------------------------------------------------------------------------

CNNConvolutionTransposeGradient::CNNConvolutionTransposeGradient(const Device& device,
                                                                 std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNConvolutionTransposeGradient(device, ConvolutionWeights(device, kGradient, std::move(weights))) {}

CNNConvolutionTransposeGradient::CNNConvolutionTransposeGradient(Unarchiver& coder, const Device& device)
    : CNNGradientKernel(device, kGradient) {
  decode(coder);
}

CNNConvolutionTransposeGradient::CNNConvolutionTransposeGradient(const Device& device,
                                                                 const ConvolutionWeights& weights)
    : CNNGradientKernel(device, kGradient), weights_(weights) {
  label = dataSource()->label();
  detail::requireDifferentiable(descriptor(), name());
  takeShape();
}

void CNNConvolutionTransposeGradient::takeShape() {
  secondary_ = detail::shapeOf(descriptor());
  secondaryStrideInPixelsX = secondary_.strideInPixelsX;
  secondaryStrideInPixelsY = secondary_.strideInPixelsY;
}

void CNNConvolutionTransposeGradient::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                                        ImageDescriptor& suggested) {
  CNNGradientKernel::adjustDestination(sources, sourceStates, suggested);
  if (!sourceStates.empty()) detail::placeGradient(*this, sourceStates.front(), sources.front().descriptor());
}

void CNNConvolutionTransposeGradient::configure(const State& gradientState) {
  const auto& state = detail::implementationAs<ConvolutionTransposeGradientStateImplementation>(
      gradientState, "CNNConvolutionTransposeGradientState");
  detail::configureConvolutionGradient(*this, state.record());
  const auto& forward = state.transpose();
  secondaryOffset.x = forward.offset.x;
  secondaryOffset.y = forward.offset.y;
  kernelOffsetX = forward.kernelOffsetX;
  kernelOffsetY = forward.kernelOffsetY;
}

void CNNConvolutionTransposeGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  if (operands.sourceStates.empty() || !detail::isUnconfigured(*this)) {
    recordConfigured(encoding, operands);
    return;
  }
  CNNConvolutionTransposeGradient configured = *this;
  configured.configure(operands.sourceStates.front());
  detail::placeGradient(configured, operands.sourceStates.front(), operands.sources.at(0).at(0).descriptor());
  configured.recordConfigured(encoding, operands);
}

void CNNConvolutionTransposeGradient::recordConfigured(Encoding& encoding, const ImageOperands& operands) const {
  auto found = detail::convolutionGradientOperands(encoding, *this, operands, weights_, gradientOption);
  const auto shape = detail::shapeOf(descriptor());
  // Pixel i of the gradient that counts is pixel i + slice of the whole one, and stands for result i - primary.
  const auto originOf = [](std::ptrdiff_t pixel, std::size_t stride, std::ptrdiff_t kernelOffset, std::size_t slice,
                           std::ptrdiff_t primary) {
    return pixel * static_cast<std::ptrdiff_t>(stride) + kernelOffset + static_cast<std::ptrdiff_t>(slice) - primary;
  };
  const auto window = enlargingWindow(
      shape, originOf(secondaryOffset.x, shape.strideInPixelsX, kernelOffsetX, found.slice.x, primaryOffset.x),
      originOf(secondaryOffset.y, shape.strideInPixelsY, kernelOffsetY, found.slice.y, primaryOffset.y));
  detail::recordConvolutionGradient(encoding, *this, found, weights_, gradientOption,
                                    {.forData = window, .forWeights = window});
}

void CNNConvolutionTransposeGradient::reloadWeightsAndBiasesFromDataSource() { weights_.reloadFromDataSource(); }
void CNNConvolutionTransposeGradient::reloadWeightsAndBiases(CommandBuffer& commandBuffer,
                                                             const CNNConvolutionWeightsAndBiasesState& state) {
  weights_.reload(*this, commandBuffer, state);
}

CNNConvolutionTransposeGradient CNNConvolutionTransposeGradient::copy(const Device& device) const {
  return copyOf(*this, device ? device : this->device());
}

void CNNConvolutionTransposeGradient::setDevice(const Device& device) {
  Kernel::setDevice(device);
  weights_ = weights_.copy(device);
}

void CNNConvolutionTransposeGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitor.visit("gradientOption", gradientOption);
  detail::visitDifferentiable(visitor, weights_, device(), kGradient);
  takeShape();
}

}  // namespace metalloid
