#include "operations/softmax.hpp"

#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_softmax.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;

MatrixSoftMax::MatrixSoftMax(const Device& device, std::string_view className, bool logarithm)
    : MatrixUnaryKernel(device, className), logarithm_(logarithm) {}

MatrixSoftMax::MatrixSoftMax(const Device& device) : MatrixSoftMax(device, "MatrixSoftMax", false) {}

MatrixSoftMax::MatrixSoftMax(Unarchiver& coder, const Device& device) : MatrixSoftMax(device) { decode(coder); }

void MatrixSoftMax::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, sourceMatrixOrigin);
  auto result = encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  encoding.requireOneFloatType({&input, &result});
  encoding.allowInPlace(result, input);

  const auto batch = encoding.batch(batchStart, batchSize, {&input, &result});
  const std::size_t rows = std::min(sourceRows, input.rows());
  const std::size_t columns = std::min(sourceColumns, input.columns());
  encoding.record(operations::MatrixSoftMax{
      .input = input.view(rows, columns, batch), .result = result.view(rows, columns, batch), .logarithm = logarithm_});
}

MatrixSoftMax MatrixSoftMax::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixSoftMax::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixUnaryKernel::visitSettings(visitor);
  visitor.visit("sourceRows", sourceRows);
  visitor.visit("sourceColumns", sourceColumns);
}

MatrixLogSoftMax::MatrixLogSoftMax(const Device& device) : MatrixSoftMax(device, "MatrixLogSoftMax", true) {}

MatrixLogSoftMax::MatrixLogSoftMax(Unarchiver& coder, const Device& device) : MatrixLogSoftMax(device) {
  decode(coder);
}

MatrixLogSoftMax MatrixLogSoftMax::copy(const Device& device) const { return copyOf(*this, device); }

MatrixSoftMaxGradient::MatrixSoftMaxGradient(const Device& device, std::string_view className, bool logarithm)
    : MatrixBinaryKernel(device, className), logarithm_(logarithm) {}

MatrixSoftMaxGradient::MatrixSoftMaxGradient(const Device& device)
    : MatrixSoftMaxGradient(device, "MatrixSoftMaxGradient", false) {}

MatrixSoftMaxGradient::MatrixSoftMaxGradient(Unarchiver& coder, const Device& device) : MatrixSoftMaxGradient(device) {
  decode(coder);
}

void MatrixSoftMaxGradient::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto gradient = encoding.source("gradientMatrix", arguments.gradientMatrix, primarySourceMatrixOrigin);
  auto output = encoding.source("forwardOutputMatrix", arguments.forwardOutputMatrix, secondarySourceMatrixOrigin);
  auto result = encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  encoding.requireOneFloatType({&gradient, &output, &result});
  encoding.allowInPlace(result, gradient);
  encoding.allowInPlace(result, output);

  const auto batch = encoding.batch(batchStart, batchSize, {&gradient, &output, &result});
  const std::size_t rows = std::min({sourceRows, gradient.rows(), output.rows()});
  const std::size_t columns = std::min({sourceColumns, gradient.columns(), output.columns()});
  encoding.record(operations::MatrixSoftMaxGradient{.gradient = gradient.view(rows, columns, batch),
                                                    .forwardOutput = output.view(rows, columns, batch),
                                                    .result = result.view(rows, columns, batch),
                                                    .logarithm = logarithm_});
}

MatrixSoftMaxGradient MatrixSoftMaxGradient::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixSoftMaxGradient::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixBinaryKernel::visitSettings(visitor);
  visitor.visit("sourceRows", sourceRows);
  visitor.visit("sourceColumns", sourceColumns);
}

MatrixLogSoftMaxGradient::MatrixLogSoftMaxGradient(const Device& device)
    : MatrixSoftMaxGradient(device, "MatrixLogSoftMaxGradient", true) {}

MatrixLogSoftMaxGradient::MatrixLogSoftMaxGradient(Unarchiver& coder, const Device& device)
    : MatrixLogSoftMaxGradient(device) {
  decode(coder);
}

MatrixLogSoftMaxGradient MatrixLogSoftMaxGradient::copy(const Device& device) const { return copyOf(*this, device); }

}  // namespace metalloid
