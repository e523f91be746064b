#include "operations/batch_normalization.hpp"

#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_batch_normalization.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;

MatrixBatchNormalization::MatrixBatchNormalization(const Device& device)
    : MatrixUnaryKernel(device, "MatrixBatchNormalization") {}

MatrixBatchNormalization::MatrixBatchNormalization(Unarchiver& coder, const Device& device)
    : MatrixBatchNormalization(device) {
  decode(coder);
}

void MatrixBatchNormalization::setNeuronType(CNNNeuronType type) { neuron_.set(type); }
void MatrixBatchNormalization::setNeuronType(CNNNeuronType type, float a, float b, float c) {
  neuron_.set(type, a, b, c);
}

void MatrixBatchNormalization::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, sourceMatrixOrigin);
  auto mean = computeStatistics ? encoding.result("meanVector", arguments.meanVector)
                                : encoding.source("meanVector", arguments.meanVector);
  auto variance = computeStatistics ? encoding.result("varianceVector", arguments.varianceVector)
                                    : encoding.source("varianceVector", arguments.varianceVector);
  auto gamma = encoding.optionalSource("gammaVector", arguments.gammaVector);
  auto beta = encoding.optionalSource("betaVector", arguments.betaVector);
  auto result = encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  encoding.requireOneFloatType({&input, &result});
  encoding.requireVectorTypes(input.type(), {&mean, &variance, &gamma, &beta});
  encoding.allowInPlace(result, input);

  const auto batch = encoding.batch(batchStart, batchSize, {&input, &result});
  const std::size_t rows = std::min(sourceNumberOfFeatureVectors, input.rows());
  const std::size_t columns = std::min(sourceInputFeatureChannels, input.columns());
  encoding.record(operations::MatrixBatchNormalization{.input = input.view(rows, columns, batch),
                                                       .mean = mean.view(columns, batch),
                                                       .variance = variance.view(columns, batch),
                                                       .gamma = gamma.view(columns, batch),
                                                       .beta = beta.view(columns, batch),
                                                       .result = result.view(rows, columns, batch),
                                                       .epsilon = epsilon,
                                                       .computeStatistics = computeStatistics,
                                                       .neuron = neuron_.function()});
}

MatrixBatchNormalization MatrixBatchNormalization::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixBatchNormalization::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixUnaryKernel::visitSettings(visitor);
  visitor.visit("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors);
  visitor.visit("sourceInputFeatureChannels", sourceInputFeatureChannels);
  visitor.visit("epsilon", epsilon);
  visitor.visit("computeStatistics", computeStatistics);
  neuron_.visit(visitor);
}

MatrixBatchNormalizationGradient::MatrixBatchNormalizationGradient(const Device& device)
    : MatrixBinaryKernel(device, "MatrixBatchNormalizationGradient") {}

MatrixBatchNormalizationGradient::MatrixBatchNormalizationGradient(Unarchiver& coder, const Device& device)
    : MatrixBatchNormalizationGradient(device) {
  decode(coder);
}

void MatrixBatchNormalizationGradient::setNeuronType(CNNNeuronType type) { neuron_.set(type); }
void MatrixBatchNormalizationGradient::setNeuronType(CNNNeuronType type, float a, float b, float c) {
  neuron_.set(type, a, b, c);
}

void MatrixBatchNormalizationGradient::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto gradient = encoding.source("gradientMatrix", arguments.gradientMatrix, primarySourceMatrixOrigin);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, secondarySourceMatrixOrigin);
  auto mean = encoding.source("meanVector", arguments.meanVector);
  auto variance = encoding.source("varianceVector", arguments.varianceVector);
  auto gamma = encoding.optionalSource("gammaVector", arguments.gammaVector);
  auto beta = encoding.optionalSource("betaVector", arguments.betaVector);
  auto forData =
      encoding.result("resultGradientForDataMatrix", arguments.resultGradientForDataMatrix, resultMatrixOrigin);
  auto forGamma = encoding.optionalResult("resultGradientForGammaVector", arguments.resultGradientForGammaVector);
  auto forBeta = encoding.optionalResult("resultGradientForBetaVector", arguments.resultGradientForBetaVector);
  encoding.requireOneFloatType({&gradient, &input, &forData});
  encoding.requireVectorTypes(gradient.type(), {&mean, &variance, &gamma, &beta, &forGamma, &forBeta});
  encoding.allowInPlace(forData, gradient);
  encoding.allowInPlace(forData, input);

  const auto batch = encoding.batch(batchStart, batchSize, {&gradient, &input, &forData});
  const std::size_t rows = std::min({sourceNumberOfFeatureVectors, gradient.rows(), input.rows()});
  const std::size_t columns = std::min({sourceInputFeatureChannels, gradient.columns(), input.columns()});
  encoding.record(operations::MatrixBatchNormalizationGradient{.gradient = gradient.view(rows, columns, batch),
                                                               .input = input.view(rows, columns, batch),
                                                               .mean = mean.view(columns, batch),
                                                               .variance = variance.view(columns, batch),
                                                               .gamma = gamma.view(columns, batch),
                                                               .beta = beta.view(columns, batch),
                                                               .resultForData = forData.view(rows, columns, batch),
                                                               .resultForGamma = forGamma.view(columns, batch),
                                                               .resultForBeta = forBeta.view(columns, batch),
                                                               .epsilon = epsilon,
                                                               .neuron = neuron_.function()});
}

MatrixBatchNormalizationGradient MatrixBatchNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void MatrixBatchNormalizationGradient::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixBinaryKernel::visitSettings(visitor);
  visitor.visit("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors);
  visitor.visit("sourceInputFeatureChannels", sourceInputFeatureChannels);
  visitor.visit("epsilon", epsilon);
  neuron_.visit(visitor);
}

}  // namespace metalloid
