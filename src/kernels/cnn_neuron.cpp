#include "operations/cnn_neuron.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"
#include "math/neuron.hpp"

#include <metalloid/cnn_neuron.hpp>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;

NNNeuronDescriptor NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType type, std::optional<float> a,
                                                           std::optional<float> b, std::optional<float> c) {
  const auto defaults = math::defaultParameters(type);
  return {.neuronType = type, .a = a.value_or(defaults.a), .b = b.value_or(defaults.b), .c = c.value_or(defaults.c)};
}

NNNeuronDescriptor NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::span<const float> data) {
  return {.neuronType = CNNNeuronType::pReLU, .data = {data.begin(), data.end()}};
}

namespace detail {

void NeuronSettings::set(const Device& device, const NNNeuronDescriptor& descriptor) {
  if (descriptor.neuronType == CNNNeuronType::pReLU) {
    setPReLU(device, descriptor.data);
  } else {
    set(descriptor.neuronType, descriptor.a, descriptor.b, descriptor.c);
  }
}

NNNeuronDescriptor NeuronSettings::descriptor() const {
  return {.neuronType = type_, .a = a_, .b = b_, .c = c_, .data = slopes_};
}

operations::VectorView slopesFor(Encoding& encoding, const NeuronSettings& neuron, std::size_t channels) {
  if (neuron.type() != CNNNeuronType::pReLU) return {};
  if (neuron.slopeCount() < channels) {
    encoding.refuse(fmt::format("The PReLU neuron of {} has {} slopes, but {} channels are processed.",
                                encoding.kernelName(), neuron.slopeCount(), channels));
  }
  return encoding.constant(neuron.slopesOnDevice(), channels, DataType::float32);
}

}  // namespace detail

CNNNeuron::CNNNeuron(const Device& device, const NNNeuronDescriptor& neuronDescriptor)
    : CNNKernel(device, "CNNNeuron") {
  neuron_.set(device, neuronDescriptor);
}

CNNNeuron::CNNNeuron(Unarchiver& coder, const Device& device) : CNNNeuron(device, NNNeuronDescriptor{}) {
  decode(coder);
}

State CNNNeuron::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void CNNNeuron::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = detail::pointwiseViews(encoding, *this, operands);
  encoding.record(operations::CNNNeuron{.source = std::move(views.source),
                                        .slopes = detail::slopesFor(encoding, neuron_, views.result.channels),
                                        .result = std::move(views.result),
                                        .neuron = neuron_.function()});
}

CNNNeuron CNNNeuron::copy(const Device& device) const { return copyOf(*this, device); }

void CNNNeuron::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
}

void CNNNeuron::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  neuron_.visit(visitor, device());
}

CNNNeuronGradient::CNNNeuronGradient(const Device& device, const NNNeuronDescriptor& neuronDescriptor)
    : CNNGradientKernel(device, "CNNNeuronGradient") {
  neuron_.set(device, neuronDescriptor);
}

CNNNeuronGradient::CNNNeuronGradient(Unarchiver& coder, const Device& device)
    : CNNNeuronGradient(device, NNNeuronDescriptor{}) {
  decode(coder);
}

void CNNNeuronGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto views = detail::pointwiseGradientViews(encoding, *this, operands);
  encoding.record(operations::CNNNeuronGradient{.gradient = std::move(views.gradient),
                                                .source = std::move(views.source),
                                                .slopes = detail::slopesFor(encoding, neuron_, views.result.channels),
                                                .result = std::move(views.result),
                                                .neuron = neuron_.function()});
}

CNNNeuronGradient CNNNeuronGradient::copy(const Device& device) const { return copyOf(*this, device); }

void CNNNeuronGradient::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
}

void CNNNeuronGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  neuron_.visit(visitor, device());
}

}  // namespace metalloid
