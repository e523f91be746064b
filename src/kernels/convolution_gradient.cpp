#include "kernels/convolution_gradient.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/cnn_convolution.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace metalloid::detail {

void requireDifferentiable(const CNNConvolutionDescriptor& descriptor, std::string_view kernel) {
  const char* what = nullptr;
  if (descriptor.fusedNeuronDescriptor.neuronType != CNNNeuronType::none)
    what = "a neuron in its descriptor; train with a neuron layer of its own";
  if (descriptor.batchNormalization)
    what = "batch normalization in its descriptor; train with a normalization layer of its own";
  if (descriptor.subPixelScaleFactor != 1) what = "a subPixelScaleFactor other than 1, for which there is no gradient";
  if (what) throw Error(ErrorCode::invalidArgument, fmt::format("{} has {}.", kernel, what));
}

void visitDifferentiable(SettingsVisitor& visitor, ConvolutionWeights& weights, const Device& device,
                         std::string_view className) {
  weights.visit(visitor, device, className);
  try {
    requireDifferentiable(weights.descriptor(), className);
  } catch (const Error& error) {
    refuseSetting(className, "descriptor", error.message());
  }
}

bool isUnconfigured(const CNNGradientKernel& kernel) {
  return kernel.primaryOffset == Offset{} && kernel.secondaryOffset == Offset{} && kernel.kernelOffsetX == 0 &&
         kernel.kernelOffsetY == 0 && kernel.clipRect == regionNoClip && kernel.destinationFeatureChannelOffset == 0 &&
         kernel.primarySourceFeatureChannelOffset == 0 && kernel.secondarySourceFeatureChannelOffset == 0;
}

void configureConvolutionGradient(CNNGradientKernel& kernel, const ForwardRecord& record) {
  const auto& forward = record.sources.front().settings;
  kernel.primaryOffset.x = static_cast<std::ptrdiff_t>(record.clip.x);
  kernel.primaryOffset.y = static_cast<std::ptrdiff_t>(record.clip.y);
  // Containers of several images are chosen by z, which stays as it is.
  kernel.clipRect.origin.x = kernel.clipRect.origin.y = 0;
  kernel.clipRect.size.width = kernel.clipRect.size.height = all;
  kernel.primarySourceFeatureChannelOffset = record.destinationFeatureChannelOffset;
  kernel.primarySourceFeatureChannelMaxCount = all;
  kernel.destinationFeatureChannelOffset = kernel.secondarySourceFeatureChannelOffset = forward.featureChannelOffset;
  kernel.secondarySourceFeatureChannelMaxCount = forward.featureChannelMaxCount;
  kernel.secondaryEdgeMode = forward.edgeMode;
}

namespace {

bool hasSize(const ImageDescriptor& image, std::size_t width, std::size_t height) {
  return image.width == width && image.height == height;
}

/// What of the gradient counts: all of it, or, of one as large as the forward destination, what was written there.
PixelRect sliceOf(const ForwardRecord& record, const ImageDescriptor& gradient) {
  if (hasSize(gradient, record.destination.width, record.destination.height)) return record.clip;
  return {0, 0, gradient.width, gradient.height};
}

void requireState(Encoding& encoding, const ConvolutionGradientStateImplementation& state,
                  const ConvolutionWeights& weights) {
  if (state.gradientForWeights().length() != weights.weights().length() ||
      state.gradientForBiases().length() != weights.descriptor().outputFeatureChannels) {
    encoding.refuse(
        fmt::format("{} (gradientState) was made by another convolution: it has {} weights and {} biases, "
                    "but {} has {} and {}.",
                    state.name(), state.gradientForWeights().length(), state.gradientForBiases().length(),
                    encoding.kernelName(), weights.weights().length(), weights.descriptor().outputFeatureChannels));
  }
}

}  // namespace

void placeGradient(CNNGradientKernel& kernel, const State& gradientState, const ImageDescriptor& gradient) {
  const auto& record =
      implementationAs<ConvolutionGradientStateImplementation>(gradientState, "CNNConvolutionGradientState").record();
  if (hasSize(gradient, record.destination.width, record.destination.height)) return;
  kernel.primaryOffset.x = kernel.primaryOffset.y = 0;  // cut already
}

ConvolutionGradientOperands convolutionGradientOperands(Encoding& encoding, const CNNGradientKernel& kernel,
                                                        const ImageOperands& operands,
                                                        const ConvolutionWeights& weights,
                                                        CNNConvolutionGradientOption option) {
  const bool wantsData = contains(option, CNNConvolutionGradientOption::gradientWithData);
  const bool wantsWeights = contains(option, CNNConvolutionGradientOption::gradientWithWeightsAndBias);
  const auto primary = kernel.sourceSettings(0), secondary = kernel.sourceSettings(1);
  requireReach(encoding, "primaryOffset", primary.offset.x, primary.offset.y);
  requireReach(encoding, "secondaryOffset", secondary.offset.x, secondary.offset.y);
  requireReach(encoding, "kernelOffset", kernel.kernelOffsetX, kernel.kernelOffsetY);
  // A graph that trains only weights and biases makes no destinations.
  const ImageBatch& processed =
      operands.destinations.empty() && !wantsData ? operands.sources[0] : operands.destinations;
  for (const auto& batch : operands.sources) {
    if (batch.size() == processed.size()) continue;
    encoding.refuse(fmt::format("There are {} source gradients, {} source images and {} destination gradients.",
                                operands.sources[0].size(), operands.sources[1].size(), operands.destinations.size()));
  }
  const auto images = destinationImages(kernel.clipRect, processed);
  const auto gradientImages = sourceImages(primary, images), forwardImages = sourceImages(secondary, images);
  ConvolutionGradientOperands found;
  found.gradient = encoding.source("sourceGradient", operands.sources[0], gradientImages.first, gradientImages.count);
  found.source = encoding.source("sourceImage", operands.sources[1], forwardImages.first, forwardImages.count);
  found.slice = {0, 0, found.gradient.width(), found.gradient.height()};
  found.destinationIsNew = operands.destinationsAreNew;
  if (wantsData) {
    found.destination = encoding.result("destinationGradient", operands.destinations, images.first, images.count);
    found.clip = clipped(kernel.clipRect, found.destination.descriptor());
    checkDestinationChannel(encoding, kernel.destinationFeatureChannelOffset);
  }
  for (const State& state : operands.sourceStates) {
    if (state != operands.sourceStates.front())
      encoding.refuse(fmt::format("The gradientStates of {} differ, but one serves the batch.", encoding.kernelName()));
  }
  if (operands.sourceStates.empty()) {
    if (wantsWeights) {
      encoding.refuse(
          fmt::format("The gradientState is nil, but {} computes the gradient for weights and biases, "
                      "which goes there.",
                      encoding.kernelName()));
    }
    return found;
  }
  auto& state = implementationAs<ConvolutionGradientStateImplementation>(operands.sourceStates.front(),
                                                                         "CNNConvolutionGradientState");
  requireState(encoding, state, weights);
  found.state = &state;
  const auto& record = state.record();
  found.slice = sliceOf(record, found.gradient.descriptor());
  if (wantsWeights && (found.slice.width != record.clip.width || found.slice.height != record.clip.height)) {
    encoding.refuse(fmt::format("The sourceGradient has {} x {} pixels, but the forward kernel wrote {} x {}.",
                                found.gradient.height(), found.gradient.width(), record.clip.height,
                                record.clip.width));
  }
  return found;
}

void recordConvolutionGradient(Encoding& encoding, const CNNGradientKernel& kernel,
                               ConvolutionGradientOperands& operands, const ConvolutionWeights& weights,
                               CNNConvolutionGradientOption option, const ConvolutionGradientWindows& windows) {
  const auto& descriptor = weights.descriptor();
  const auto primary = kernel.sourceSettings(0), secondary = kernel.sourceSettings(1);
  const bool clamps = kernel.secondaryEdgeMode == ImageEdgeMode::clamp;
  requireEdgeMode(encoding, kernel.secondaryEdgeMode, windows.forData.x.divisor != 1 || windows.forData.y.divisor != 1);
  if (channelsRead(encoding, primary, operands.gradient.descriptor()) < descriptor.outputFeatureChannels) {
    encoding.refuse(fmt::format("The sourceGradient has {} channels, but {} reads {} from channel {} on.",
                                operands.gradient.channels(), encoding.kernelName(), descriptor.outputFeatureChannels,
                                primary.featureChannelOffset));
  }
  const auto gradient =
      operands.gradient.view(operands.slice, primary.featureChannelOffset, descriptor.outputFeatureChannels);
  std::vector<operations::Operation> recorded;
  if (contains(option, CNNConvolutionGradientOption::gradientWithData)) {
    const std::size_t channel = kernel.destinationFeatureChannelOffset;
    // Only in a destination of the kernel's own nothing else can stand where no gradient goes.
    if (operands.destinationIsNew)
      clearUncovered(encoding, operands.destination, operands.clip, channel, descriptor.inputFeatureChannels);
    operations::CNNConvolutionGradientForData forData{
        .gradient = gradient,
        .weights = encoding.source("weights", weights.weights()).view(weights.weights().length(), {}),
        .result = operands.destination.view(operands.clip, channel, descriptor.inputFeatureChannels),
        .window = windows.forData,
        .sourceWidth = operands.clip.width,  // in zero mode the result is all there is
        .sourceHeight = operands.clip.height,
        .groups = weights.operationGroups(),
        .edgeMode = kernel.secondaryEdgeMode};
    if (clamps) {
      forData.sourceWidth = operands.source.width();
      forData.sourceHeight = operands.source.height();
      const auto width = static_cast<std::ptrdiff_t>(forData.result.width),
                 height = static_cast<std::ptrdiff_t>(forData.result.height);
      if (windows.firstX < 0 || windows.firstX + width > static_cast<std::ptrdiff_t>(forData.sourceWidth) ||
          windows.firstY < 0 || windows.firstY + height > static_cast<std::ptrdiff_t>(forData.sourceHeight)) {
        encoding.refuse(
            fmt::format("The destinationGradient stands for {} x {} pixels from ({}, {}) on, but in clamp mode these "
                        "must be pixels of the sourceImage, which has {} x {}.",
                        height, width, windows.firstX, windows.firstY, forData.sourceHeight, forData.sourceWidth));
      }
      forData.resultX = static_cast<std::size_t>(windows.firstX);
      forData.resultY = static_cast<std::size_t>(windows.firstY);
    }
    recorded.emplace_back(std::move(forData));
  }
  if (contains(option, CNNConvolutionGradientOption::gradientWithWeightsAndBias)) {
    auto& state = *operands.state;
    const auto result = [&](std::string_view role, const Vector& vector) {
      return state.isSet() ? encoding.update(role, vector) : encoding.result(role, vector);
    };
    recorded.emplace_back(operations::CNNConvolutionGradientForWeightsAndBias{
        .gradient = gradient,
        .source = convolutionSource(encoding, operands.source, secondary.featureChannelOffset,
                                    channelsRead(encoding, secondary, operands.source.descriptor()),
                                    descriptor.inputFeatureChannels),
        .resultForWeights =
            result("gradientForWeights", state.gradientForWeights()).view(weights.weights().length(), {}),
        .resultForBias =
            result("gradientForBiases", state.gradientForBiases()).view(descriptor.outputFeatureChannels, {}),
        .accumulates = state.isSet(),
        .window = windows.forWeights,
        .groups = weights.operationGroups(),
        .edgeMode = kernel.secondaryEdgeMode});
  }
  encoding.record(std::move(recorded));
  if (contains(option, CNNConvolutionGradientOption::gradientWithWeightsAndBias)) operands.state->set();
}

}  // namespace metalloid::detail
