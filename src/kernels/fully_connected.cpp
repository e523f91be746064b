#include "operations/fully_connected.hpp"

#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_fully_connected.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;

MatrixFullyConnected::MatrixFullyConnected(const Device& device) : MatrixBinaryKernel(device, "MatrixFullyConnected") {}

MatrixFullyConnected::MatrixFullyConnected(Unarchiver& coder, const Device& device) : MatrixFullyConnected(device) {
  decode(coder);
}

void MatrixFullyConnected::setNeuronType(CNNNeuronType type) { neuron_.set(type); }
void MatrixFullyConnected::setNeuronType(CNNNeuronType type, float a, float b, float c) { neuron_.set(type, a, b, c); }

void MatrixFullyConnected::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, primarySourceMatrixOrigin);
  auto weights = encoding.source("weightMatrix", arguments.weightMatrix, secondarySourceMatrixOrigin);
  auto bias = encoding.optionalSource("biasVector", arguments.biasVector);
  auto result = encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  encoding.requireOneFloatType({&input, &weights, &result});
  encoding.requireVectorTypes(input.type(), {&bias});

  const auto batch = encoding.batch(batchStart, batchSize, {&input, &weights, &result});
  const std::size_t vectors = std::min(sourceNumberOfFeatureVectors, input.rows());
  const std::size_t inputs = std::min({sourceInputFeatureChannels, input.columns(), weights.rows()});
  const std::size_t outputs = std::min(sourceOutputFeatureChannels, weights.columns());
  encoding.record(operations::MatrixFullyConnected{
      .input = input.view(vectors, inputs, batch),
      .weights = weights.view(inputs, outputs, batch),
      .bias = bias.view(outputs, batch),
      .result = result.view(vectors, outputs, batch),
      .alpha = alpha,
      .neuron = neuron_.function(),
      .allowReducedPrecision = contains(options, KernelOptions::allowReducedPrecision)});
}

MatrixFullyConnected MatrixFullyConnected::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixFullyConnected::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixBinaryKernel::visitSettings(visitor);
  visitor.visit("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors);
  visitor.visit("sourceInputFeatureChannels", sourceInputFeatureChannels);
  visitor.visit("sourceOutputFeatureChannels", sourceOutputFeatureChannels);
  visitor.visit("alpha", alpha);
  neuron_.visit(visitor);
}

MatrixFullyConnectedGradient::MatrixFullyConnectedGradient(const Device& device)
    : MatrixBinaryKernel(device, "MatrixFullyConnectedGradient") {}

MatrixFullyConnectedGradient::MatrixFullyConnectedGradient(Unarchiver& coder, const Device& device)
    : MatrixFullyConnectedGradient(device) {
  decode(coder);
}

void MatrixFullyConnectedGradient::encodeForData(CommandBuffer& commandBuffer, const DataArguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto gradient = encoding.source("gradientMatrix", arguments.gradientMatrix, primarySourceMatrixOrigin);
  auto weights = encoding.source("weightMatrix", arguments.weightMatrix, secondarySourceMatrixOrigin);
  auto result =
      encoding.result("resultGradientForDataMatrix", arguments.resultGradientForDataMatrix, resultMatrixOrigin);
  encoding.requireOneFloatType({&gradient, &weights, &result});

  const auto batch = encoding.batch(batchStart, batchSize, {&gradient, &weights, &result});
  const std::size_t vectors = std::min(sourceNumberOfFeatureVectors, gradient.rows());
  const std::size_t outputs = std::min({sourceOutputFeatureChannels, gradient.columns(), weights.columns()});
  const std::size_t inputs = std::min(sourceInputFeatureChannels, weights.rows());
  encoding.record(operations::MatrixFullyConnectedGradientForData{
      .gradient = gradient.view(vectors, outputs, batch),
      .weights = weights.view(inputs, outputs, batch),
      .result = result.view(vectors, inputs, batch),
      .alpha = alpha,
      .allowReducedPrecision = contains(options, KernelOptions::allowReducedPrecision)});
}

void MatrixFullyConnectedGradient::encodeForWeightsAndBias(CommandBuffer& commandBuffer,
                                                           const WeightsAndBiasArguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto gradient = encoding.source("gradientMatrix", arguments.gradientMatrix, primarySourceMatrixOrigin);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, secondarySourceMatrixOrigin);
  auto forWeights =
      encoding.result("resultGradientForWeightMatrix", arguments.resultGradientForWeightMatrix, resultMatrixOrigin);
  auto forBias = encoding.optionalResult("resultGradientForBiasVector", arguments.resultGradientForBiasVector);
  encoding.requireOneFloatType({&gradient, &input, &forWeights});
  encoding.requireVectorTypes(gradient.type(), {&forBias});

  const auto batch = encoding.batch(batchStart, batchSize, {&gradient, &input, &forWeights});
  const std::size_t vectors = std::min({sourceNumberOfFeatureVectors, gradient.rows(), input.rows()});
  const std::size_t outputs = std::min(sourceOutputFeatureChannels, gradient.columns());
  const std::size_t inputs = std::min(sourceInputFeatureChannels, input.columns());
  encoding.record(operations::MatrixFullyConnectedGradientForWeightsAndBias{
      .gradient = gradient.view(vectors, outputs, batch),
      .input = input.view(vectors, inputs, batch),
      .resultForWeights = forWeights.view(inputs, outputs, batch),
      .resultForBias = forBias.view(outputs, batch),
      .alpha = alpha,
      .allowReducedPrecision = contains(options, KernelOptions::allowReducedPrecision)});
}

MatrixFullyConnectedGradient MatrixFullyConnectedGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void MatrixFullyConnectedGradient::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixBinaryKernel::visitSettings(visitor);
  visitor.visit("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors);
  visitor.visit("sourceInputFeatureChannels", sourceInputFeatureChannels);
  visitor.visit("sourceOutputFeatureChannels", sourceOutputFeatureChannels);
  visitor.visit("alpha", alpha);
}

}  // namespace metalloid
