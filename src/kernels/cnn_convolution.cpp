#include "operations/cnn_convolution.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/convolution_gradient.hpp"
#include "kernels/convolution_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_convolution.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {

using detail::ConvolutionGradientStateImplementation;
using detail::ConvolutionWeights;
using detail::Encoding;
using detail::ImageOperands;

namespace {

constexpr const char* kConvolution = "CNNConvolution";
constexpr const char* kGradient = "CNNConvolutionGradient";

std::size_t divideUp(std::size_t a, std::size_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

namespace detail {

KernelShape shapeOf(const CNNConvolutionDescriptor& d) {
  return {.kernelWidth = d.kernelWidth,
          .kernelHeight = d.kernelHeight,
          .strideInPixelsX = d.strideInPixelsX,
          .strideInPixelsY = d.strideInPixelsY,
          .dilationRateX = d.dilationRateX,
          .dilationRateY = d.dilationRateY};
}

void requireSlopes(const NeuronSettings& neuron, std::size_t channels, const std::string& kernel) {
  if (neuron.type() != CNNNeuronType::pReLU || neuron.slopeCount() == channels) return;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("The PReLU neuron of {} has {} slopes, but there are {} output channels.", kernel,
                          neuron.slopeCount(), channels));
}

void requireReach(const Encoding& encoding, std::string_view role, std::ptrdiff_t x, std::ptrdiff_t y) {
  constexpr std::ptrdiff_t kFarthest = std::ptrdiff_t{1} << 31;
  for (const std::ptrdiff_t value : {x, y}) {
    if (value >= -kFarthest && value <= kFarthest) continue;
    encoding.refuse(fmt::format("The {} of {} is ({}, {}), beyond any image.", role, encoding.kernelName(), x, y));
  }
}

void requireEdgeMode(const Encoding& encoding, ImageEdgeMode edgeMode, bool enlarges) {
  encoding.requireEdgeMode(edgeMode);
  if (edgeMode == ImageEdgeMode::zero || !enlarges) return;
  encoding.refuse(
      fmt::format("The edge mode of {} is clamp, but its strides enlarge: zero is needed.", encoding.kernelName()));
}

operations::ImageView convolutionSource(Encoding& encoding, Encoding::ImageOperand& source, std::size_t firstChannel,
                                        std::size_t available, std::size_t needed) {
  if (available < needed) {
    encoding.refuse(fmt::format("{} reads {} channels, but there are {} from channel {} of its source on.",
                                encoding.kernelName(), needed, available, firstChannel));
  }
  return source.view(firstChannel, needed);
}

}  // namespace detail

// --- Forward ---------------------------------------------------------------------------------------------------------

CNNConvolution::CNNConvolution(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNConvolution(device, ConvolutionWeights(device, kConvolution, std::move(weights))) {}

CNNConvolution::CNNConvolution(Unarchiver& coder, const Device& device) : CNNConvolution(coder, device, kConvolution) {}

CNNConvolution::CNNConvolution(const Device& device, const ConvolutionWeights& weights,
                               const std::optional<NNNeuronDescriptor>& neuron)
    : CNNConvolution(device, kConvolution, weights, neuron) {}

CNNConvolution::CNNConvolution(const Device& device, std::string_view className, const ConvolutionWeights& weights,
                               const std::optional<NNNeuronDescriptor>& neuron)
    : CNNKernel(device, className), weights_(weights) {
  label = dataSource()->label();
  neuron_.set(device, neuron.value_or(descriptor().fusedNeuronDescriptor));
  detail::requireSlopes(neuron_, outputFeatureChannels(), name());
  takeShape();
}

CNNConvolution::CNNConvolution(Unarchiver& coder, const Device& device, std::string_view className)
    : CNNKernel(device, className) {
  decode(coder);
}

void CNNConvolution::takeShape() { shape_ = detail::shapeOf(descriptor()); }

void CNNConvolution::adjustDestination(const ImageBatch&, const StateBatch&, ImageDescriptor& suggested) {
  const std::size_t r = subPixelScaleFactor();
  suggested.width *= r;
  suggested.height *= r;
  suggested.featureChannels = outputFeatureChannels() / (r * r);
}

State CNNConvolution::makeResultState(const ResultStateArguments& arguments) {
  if (subPixelScaleFactor() != 1) {
    throw Error(ErrorCode::unsupported,
                fmt::format("{} has a subPixelScaleFactor of {}, for which there is no gradient.", name(),
                            subPixelScaleFactor()));
  }
  return detail::stateHandle<CNNConvolutionGradientState>(detail::makeRef<ConvolutionGradientStateImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      detail::recordOf(*this, arguments.sources, arguments.destination), std::make_shared<const CNNConvolution>(*this),
      weights_));
}

void CNNConvolution::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.destinationStates)
    detail::implementationAs<ConvolutionGradientStateImplementation>(state, "CNNConvolutionGradientState");
  const auto settings = sourceSettings(0);
  detail::requireEdgeMode(encoding, edgeMode, false);
  detail::requireReach(encoding, "offset", settings.offset.x, settings.offset.y);
  auto found = detail::unaryOperands(encoding, *this, operands);
  const std::size_t r = subPixelScaleFactor();
  auto result = found.destination.view(found.clip, destinationFeatureChannelOffset, outputFeatureChannels() / (r * r));
  operations::CNNConvolution convolution{
      .source = detail::convolutionSource(encoding, found.source, settings.featureChannelOffset, found.channels,
                                          inputFeatureChannels()),
      .weights = encoding.source("weights", weights_.weights()).view(weights_.weights().length(), {}),
      .bias = encoding.optionalSource("biases", weights_.biases()).view(outputFeatureChannels(), {}),
      .slopes = detail::slopesFor(encoding, neuron_, outputFeatureChannels()),
      .result = result,
      .window = detail::windowOf(settings.offset, settings.shape),
      .groups = weights_.operationGroups(),
      .edgeMode = edgeMode,
      .neuron = neuron_.function()};
  if (r == 1) {
    encoding.record(std::move(convolution));
    return;
  }
  auto& blocks = convolution.result;
  blocks.addresses.clear();
  blocks.type = DataType::float32;
  blocks.width = divideUp(result.width, r);
  blocks.height = divideUp(result.height, r);
  blocks.channels = outputFeatureChannels();
  blocks.pixelBytes = blocks.channels * sizeof(float);
  blocks.rowBytes = blocks.width * blocks.pixelBytes;
  blocks.imageBytes = blocks.height * blocks.rowBytes;
  blocks.data = encoding.scratch(blocks.images * blocks.imageBytes);
  operations::CNNSubPixel subPixel{.source = blocks, .result = std::move(result), .factor = r};
  encoding.record({std::move(convolution), std::move(subPixel)});
}

void CNNConvolution::reloadWeightsAndBiasesFromDataSource() { weights_.reloadFromDataSource(); }
void CNNConvolution::reloadWeightsAndBiases(CommandBuffer& commandBuffer,
                                            const CNNConvolutionWeightsAndBiasesState& state) {
  weights_.reload(*this, commandBuffer, state);
}
CNNConvolutionWeightsAndBiasesState CNNConvolution::exportWeightsAndBiases(CommandBuffer& commandBuffer,
                                                                           bool resultStateCanBeTemporary) const {
  return weights_.exported(*this, commandBuffer, resultStateCanBeTemporary);
}

CNNConvolution CNNConvolution::copy(const Device& device) const {
  return copyOf(*this, device ? device : this->device());
}

void CNNConvolution::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
  weights_ = weights_.copy(device);
}

void CNNConvolution::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitor.visit("accumulatorPrecisionOption", accumulatorPrecisionOption);
  neuron_.visit(visitor, device());
  const auto before = weights_;
  weights_.visit(visitor, device(), kConvolution, neuron_.descriptor());
  if (weights_ == before) return;  // not an archive being read
  try {
    detail::requireSlopes(neuron_, outputFeatureChannels(), kConvolution);
  } catch (const Error& error) {
    detail::refuseSetting(kConvolution, "neuron", error.message());
  }
  takeShape();
}

// --- Gradient --------------------------------------------------------------------------------------------------------

CNNConvolutionGradient::CNNConvolutionGradient(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNConvolutionGradient(device, kGradient, ConvolutionWeights(device, kGradient, std::move(weights))) {}

CNNConvolutionGradient::CNNConvolutionGradient(Unarchiver& coder, const Device& device)
    : CNNConvolutionGradient(coder, device, kGradient) {}

CNNConvolutionGradient::CNNConvolutionGradient(const Device& device, const ConvolutionWeights& weights)
    : CNNConvolutionGradient(device, kGradient, weights) {}

CNNConvolutionGradient::CNNConvolutionGradient(const Device& device, std::string_view className,
                                               const ConvolutionWeights& weights)
    : CNNGradientKernel(device, className), weights_(weights) {
  label = dataSource()->label();
  detail::requireDifferentiable(descriptor(), name());
  takeShape();
}

CNNConvolutionGradient::CNNConvolutionGradient(Unarchiver& coder, const Device& device, std::string_view className)
    : CNNGradientKernel(device, className) {
  decode(coder);
}

void CNNConvolutionGradient::takeShape() {
  secondary_ = detail::shapeOf(descriptor());
  secondaryStrideInPixelsX = secondary_.strideInPixelsX;
  secondaryStrideInPixelsY = secondary_.strideInPixelsY;
}

void CNNConvolutionGradient::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                               ImageDescriptor& suggested) {
  CNNGradientKernel::adjustDestination(sources, sourceStates, suggested);
  if (!sourceStates.empty()) detail::placeGradient(*this, sourceStates.front(), sources.front().descriptor());
}

void CNNConvolutionGradient::configure(const State& gradientState) {
  const auto& record =
      detail::implementationAs<ConvolutionGradientStateImplementation>(gradientState, "CNNConvolutionGradientState")
          .record();
  detail::configureConvolutionGradient(*this, record);
  const auto& forward = record.sources.front().settings;
  const auto shape = detail::shapeOf(descriptor());
  const auto along = [](std::ptrdiff_t offset, std::size_t dilated, std::ptrdiff_t& kernelOffset,
                        std::ptrdiff_t& secondary) {
    kernelOffset = (dilated % 2 == 0 ? 1 : 0) - offset;
    secondary = offset - static_cast<std::ptrdiff_t>(dilated / 2);
  };
  along(forward.offset.x, shape.dilatedWidth(), kernelOffsetX, secondaryOffset.x);
  along(forward.offset.y, shape.dilatedHeight(), kernelOffsetY, secondaryOffset.y);
}

void CNNConvolutionGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  if (operands.sourceStates.empty() || !detail::isUnconfigured(*this)) {
    recordConfigured(encoding, operands);
    return;
  }
  CNNConvolutionGradient configured = *this;
  configured.configure(operands.sourceStates.front());
  detail::placeGradient(configured, operands.sourceStates.front(), operands.sources.at(0).at(0).descriptor());
  configured.recordConfigured(encoding, operands);
}

namespace {

/// One axis of the windows of both gradients, and the source pixel of the result's first pixel.
struct GradientAxis {
  operations::WindowAxis forData;
  operations::WindowAxis forWeights;
  std::ptrdiff_t first = 0;
};

/// `shift`: the position in the gradient enlarged by the stride, primaryOffset * stride + kernelOffset, from where the
/// gradient that counts begins.
GradientAxis gradientAxis(std::size_t taps, std::size_t dilated, std::size_t stride, std::size_t dilation,
                          std::ptrdiff_t shift, std::ptrdiff_t secondaryOffset, bool clamps) {
  const auto half = static_cast<std::ptrdiff_t>(dilated / 2);
  const operations::WindowAxis forWeights{.taps = taps,
                                          .step = static_cast<std::ptrdiff_t>(stride),
                                          .base = secondaryOffset,
                                          .tapStep = static_cast<std::ptrdiff_t>(dilation)};
  // Zero mode asks for the distance of window and result only, and so does not depend on secondaryOffset.
  const std::ptrdiff_t distance = (dilated % 2 == 0 ? 1 : 0) - shift - half;
  GradientAxis axis{.forData = forWeights, .forWeights = forWeights, .first = clamps ? secondaryOffset - distance : 0};
  axis.forData.base = distance + axis.first;
  return axis;
}

}  // namespace

void CNNConvolutionGradient::recordConfigured(Encoding& encoding, const ImageOperands& operands) const {
  auto found = detail::convolutionGradientOperands(encoding, *this, operands, weights_, gradientOption);
  const auto shape = detail::shapeOf(descriptor());
  const bool clamps = secondaryEdgeMode == ImageEdgeMode::clamp;
  const auto axis = [&](std::size_t taps, std::size_t dilated, std::size_t stride, std::size_t dilation,
                        std::ptrdiff_t primary, std::size_t sliceOrigin, std::ptrdiff_t kernelOffset,
                        std::ptrdiff_t secondary) {
    const std::ptrdiff_t shift =
        (primary - static_cast<std::ptrdiff_t>(sliceOrigin)) * static_cast<std::ptrdiff_t>(stride) + kernelOffset;
    if (!windowIsSource()) return gradientAxis(taps, dilated, stride, dilation, shift, secondary, clamps);
    return GradientAxis{.forData = {.taps = taps}, .forWeights = {.taps = taps}};
  };
  const auto x = axis(shape.kernelWidth, shape.dilatedWidth(), shape.strideInPixelsX, shape.dilationRateX,
                      primaryOffset.x, found.slice.x, kernelOffsetX, secondaryOffset.x);
  const auto y = axis(shape.kernelHeight, shape.dilatedHeight(), shape.strideInPixelsY, shape.dilationRateY,
                      primaryOffset.y, found.slice.y, kernelOffsetY, secondaryOffset.y);
  detail::recordConvolutionGradient(encoding, *this, found, weights_, gradientOption,
                                    {.forData = {.x = x.forData, .y = y.forData},
                                     .forWeights = {.x = x.forWeights, .y = y.forWeights},
                                     .firstX = x.first,
                                     .firstY = y.first});
}

void CNNConvolutionGradient::reloadWeightsAndBiasesFromDataSource() { weights_.reloadFromDataSource(); }
void CNNConvolutionGradient::reloadWeightsAndBiases(CommandBuffer& commandBuffer,
                                                    const CNNConvolutionWeightsAndBiasesState& state) {
  weights_.reload(*this, commandBuffer, state);
}

CNNConvolutionGradient CNNConvolutionGradient::copy(const Device& device) const {
  return copyOf(*this, device ? device : this->device());
}

void CNNConvolutionGradient::setDevice(const Device& device) {
  Kernel::setDevice(device);
  weights_ = weights_.copy(device);
}

void CNNConvolutionGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitor.visit("gradientOption", gradientOption);
  visitor.visit("serializeWeightsAndBiases", serializeWeightsAndBiases);
  detail::visitDifferentiable(visitor, weights_, device(), kGradient);
  takeShape();
}

}  // namespace metalloid
