#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/convolution_gradient.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_fully_connected.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {

using detail::ConvolutionWeights;
using detail::Encoding;
using detail::ImageOperands;

namespace {

constexpr const char* kFullyConnected = "CNNFullyConnected";
constexpr const char* kGradient = "CNNFullyConnectedGradient";

ConvolutionWeights checked(ConvolutionWeights weights, std::string_view className) {
  const auto& d = weights.descriptor();
  const std::pair<const char*, std::size_t> ones[] = {{"strideInPixelsX", d.strideInPixelsX},
                                                      {"strideInPixelsY", d.strideInPixelsY},
                                                      {"dilationRateX", d.dilationRateX},
                                                      {"dilationRateY", d.dilationRateY},
                                                      {"groups", d.groups},
                                                      {"subPixelScaleFactor", d.subPixelScaleFactor}};
  const std::string label = weights.dataSource()->label();
  for (const auto& [what, value] : ones) {
    if (value != 1) {
      throw Error(ErrorCode::invalidArgument, fmt::format("The {} of {}{} is {}, but must be 1.", what, className,
                                                          label.empty() ? "" : fmt::format(" \"{}\"", label), value));
    }
  }
  if (d.isDepthWise) throw Error(ErrorCode::invalidArgument, fmt::format("A {} is not depth-wise.", className));
  return weights;
}

void checkDecoded(const ConvolutionWeights& weights, std::string_view className) {
  try {
    checked(weights, className);
  } catch (const Error& error) {
    detail::refuseSetting(className, "descriptor", error.message());
  }
}

std::shared_ptr<NNPadding> validOnly() { return NNDefaultPadding::paddingWithMethod(NNPaddingMethod::validOnly); }

}  // namespace

CNNFullyConnected::CNNFullyConnected(const Device& device, std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNFullyConnected(device, ConvolutionWeights(device, kFullyConnected, std::move(weights))) {}

CNNFullyConnected::CNNFullyConnected(Unarchiver& coder, const Device& device)
    : CNNConvolution(coder, device, kFullyConnected) {
  checkDecoded(sharedWeights(), kFullyConnected);
}

CNNFullyConnected::CNNFullyConnected(const Device& device, const ConvolutionWeights& weights,
                                     const std::optional<NNNeuronDescriptor>& neuron)
    : CNNConvolution(device, kFullyConnected, checked(weights, kFullyConnected), neuron) {
  padding = validOnly();
}

detail::SourceSettings CNNFullyConnected::sourceSettings(std::size_t source) const {
  auto settings = CNNConvolution::sourceSettings(source);
  settings.offset.x = static_cast<std::ptrdiff_t>(kernelWidth() / 2);
  settings.offset.y = static_cast<std::ptrdiff_t>(kernelHeight() / 2);
  return settings;
}

void CNNFullyConnected::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                          ImageDescriptor& suggested) {
  CNNConvolution::adjustDestination(sources, sourceStates, suggested);
  suggested.width = suggested.height = 1;
}

void CNNFullyConnected::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const Image& source : operands.sources.at(0)) {
    if (!source || (source.width() == kernelWidth() && source.height() == kernelHeight())) continue;
    encoding.refuse(fmt::format("The sourceImage has {} x {} pixels, but the weights of {} are for {} x {}.",
                                source.height(), source.width(), encoding.kernelName(), kernelHeight(), kernelWidth()));
  }
  for (const Image& destination : operands.destinations) {
    if (!destination) continue;
    const auto clip = detail::clipped(clipRect, destination.descriptor());
    if (clip.width == 1 && clip.height == 1) continue;
    encoding.refuse(fmt::format("The result of {} is one pixel, but {} x {} of the destinationImage are to be written.",
                                encoding.kernelName(), clip.height, clip.width));
  }
  CNNConvolution::record(encoding, operands);
}

CNNFullyConnected CNNFullyConnected::copy(const Device& device) const {
  return copyOf(*this, device ? device : this->device());
}

CNNFullyConnectedGradient::CNNFullyConnectedGradient(const Device& device,
                                                     std::shared_ptr<CNNConvolutionDataSource> weights)
    : CNNFullyConnectedGradient(device, ConvolutionWeights(device, kGradient, std::move(weights))) {}

CNNFullyConnectedGradient::CNNFullyConnectedGradient(Unarchiver& coder, const Device& device)
    : CNNConvolutionGradient(coder, device, kGradient) {
  checkDecoded(sharedWeights(), kGradient);
}

CNNFullyConnectedGradient::CNNFullyConnectedGradient(const Device& device, const ConvolutionWeights& weights)
    : CNNConvolutionGradient(device, kGradient, checked(weights, kGradient)) {}

CNNFullyConnectedGradient CNNFullyConnectedGradient::copy(const Device& device) const {
  return copyOf(*this, device ? device : this->device());
}

}  // namespace metalloid
