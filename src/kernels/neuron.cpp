#include "operations/neuron.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_neuron.hpp>

#include <algorithm>

namespace metalloid {
namespace {

using detail::Encoding;

/// The slopes of a PReLU, of which there must be one for each of the `columns`; an empty view for other neurons.
operations::VectorView slopesFor(Encoding& encoding, const detail::NeuronSettings& neuron, std::size_t columns) {
  if (neuron.type() != CNNNeuronType::pReLU) return {};
  if (neuron.slopeCount() != columns) {
    encoding.refuse(fmt::format("The PReLU neuron of {} has {} slopes, but {} columns are processed.",
                                encoding.kernelName(), neuron.slopeCount(), columns));
  }
  return encoding.constant(neuron.slopesOnDevice(), columns, DataType::float32);
}

}  // namespace

MatrixNeuron::MatrixNeuron(const Device& device) : MatrixUnaryKernel(device, "MatrixNeuron") {}

MatrixNeuron::MatrixNeuron(Unarchiver& coder, const Device& device) : MatrixNeuron(device) { decode(coder); }

void MatrixNeuron::setNeuronType(CNNNeuronType type) { neuron_.set(type); }
void MatrixNeuron::setNeuronType(CNNNeuronType type, float a, float b, float c) { neuron_.set(type, a, b, c); }
void MatrixNeuron::setNeuronToPReLU(std::span<const float> parametersA) { neuron_.setPReLU(device(), parametersA); }

void MatrixNeuron::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, sourceMatrixOrigin);
  auto bias = encoding.optionalSource("biasVector", arguments.biasVector);
  auto result = encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  encoding.requireOneFloatType({&input, &result});
  encoding.requireVectorTypes(input.type(), {&bias});
  encoding.allowInPlace(result, input);

  const auto batch = encoding.batch(batchStart, batchSize, {&input, &result});
  const std::size_t rows = std::min(sourceNumberOfFeatureVectors, input.rows());
  const std::size_t columns = std::min(sourceInputFeatureChannels, input.columns());
  encoding.record(operations::MatrixNeuron{.input = input.view(rows, columns, batch),
                                           .bias = bias.view(columns, batch),
                                           .slopes = slopesFor(encoding, neuron_, columns),
                                           .result = result.view(rows, columns, batch),
                                           .alpha = alpha,
                                           .neuron = neuron_.function()});
}

MatrixNeuron MatrixNeuron::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixNeuron::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
}

void MatrixNeuron::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixUnaryKernel::visitSettings(visitor);
  visitor.visit("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors);
  visitor.visit("sourceInputFeatureChannels", sourceInputFeatureChannels);
  visitor.visit("alpha", alpha);
  neuron_.visit(visitor, device());
}

MatrixNeuronGradient::MatrixNeuronGradient(const Device& device) : MatrixBinaryKernel(device, "MatrixNeuronGradient") {}

MatrixNeuronGradient::MatrixNeuronGradient(Unarchiver& coder, const Device& device) : MatrixNeuronGradient(device) {
  decode(coder);
}

void MatrixNeuronGradient::setNeuronType(CNNNeuronType type) { neuron_.set(type); }
void MatrixNeuronGradient::setNeuronType(CNNNeuronType type, float a, float b, float c) { neuron_.set(type, a, b, c); }
void MatrixNeuronGradient::setNeuronToPReLU(std::span<const float> parametersA) {
  neuron_.setPReLU(device(), parametersA);
}

void MatrixNeuronGradient::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto gradient = encoding.source("gradientMatrix", arguments.gradientMatrix, primarySourceMatrixOrigin);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, secondarySourceMatrixOrigin);
  auto bias = encoding.optionalSource("biasVector", arguments.biasVector);
  auto forData =
      encoding.result("resultGradientForDataMatrix", arguments.resultGradientForDataMatrix, resultMatrixOrigin);
  auto forBias = encoding.optionalResult("resultGradientForBiasVector", arguments.resultGradientForBiasVector);
  encoding.requireOneFloatType({&gradient, &input, &forData});
  encoding.requireVectorTypes(gradient.type(), {&bias, &forBias});
  encoding.allowInPlace(forData, gradient);
  encoding.allowInPlace(forData, input);

  const auto batch = encoding.batch(batchStart, batchSize, {&gradient, &input, &forData});
  const std::size_t rows = std::min({sourceNumberOfFeatureVectors, gradient.rows(), input.rows()});
  const std::size_t columns = std::min({sourceInputFeatureChannels, gradient.columns(), input.columns()});
  encoding.record(operations::MatrixNeuronGradient{.gradient = gradient.view(rows, columns, batch),
                                                   .input = input.view(rows, columns, batch),
                                                   .bias = bias.view(columns, batch),
                                                   .slopes = slopesFor(encoding, neuron_, columns),
                                                   .resultForData = forData.view(rows, columns, batch),
                                                   .resultForBias = forBias.view(columns, batch),
                                                   .alpha = alpha,
                                                   .neuron = neuron_.function()});
}

MatrixNeuronGradient MatrixNeuronGradient::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixNeuronGradient::setDevice(const Device& device) {
  Kernel::setDevice(device);
  neuron_.moveTo(device);
}

void MatrixNeuronGradient::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixBinaryKernel::visitSettings(visitor);
  visitor.visit("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors);
  visitor.visit("sourceInputFeatureChannels", sourceInputFeatureChannels);
  visitor.visit("alpha", alpha);
  neuron_.visit(visitor, device());
}

}  // namespace metalloid
