#include "operations/multiplication.hpp"

#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_multiplication.hpp>

namespace metalloid {
namespace {

using detail::Encoding;

/// The result of a product of `source` elements has its type or a wider one; integers give floating point.
template <class Operand>
void requireProductType(const Encoding& encoding, DataType source, const Operand& result) {
  switch (source) {
    case DataType::float16:
      return encoding.requireType(result, {DataType::float16, DataType::float32});
    case DataType::bFloat16:
      return encoding.requireType(result, {DataType::bFloat16, DataType::float32});
    case DataType::int8:
      return encoding.requireType(result, {DataType::float16, DataType::float32});
    default:
      return encoding.requireType(result, {DataType::float32});
  }
}

}  // namespace

MatrixMultiplication::MatrixMultiplication(const Device& device, const Descriptor& descriptor)
    : Kernel(device, "MatrixMultiplication"), descriptor_(descriptor) {}

MatrixMultiplication::MatrixMultiplication(Unarchiver& coder, const Device& device)
    : MatrixMultiplication(device, Descriptor{}) {
  decode(coder);
}

void MatrixMultiplication::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  const auto& [transposeLeft, transposeRight, rows, columns, interior, alpha, beta] = descriptor_;
  Encoding encoding(*this, commandBuffer);
  auto left = encoding.source("leftMatrix", arguments.leftMatrix, leftMatrixOrigin);
  auto right = encoding.source("rightMatrix", arguments.rightMatrix, rightMatrixOrigin);
  auto result = beta == 0 ? encoding.result("resultMatrix", arguments.resultMatrix, resultMatrixOrigin)
                          : encoding.update("resultMatrix", arguments.resultMatrix, resultMatrixOrigin);
  encoding.requireType(left,
                       {DataType::float32, DataType::float16, DataType::bFloat16, DataType::int8, DataType::int16});
  encoding.requireType(right, {left.type()});
  requireProductType(encoding, left.type(), result);

  const auto batch = encoding.batch(batchStart, batchSize, {&left, &right, &result});
  encoding.record(operations::MatrixMultiplication{
      .left = transposeLeft ? left.view(interior, rows, batch) : left.view(rows, interior, batch),
      .right = transposeRight ? right.view(columns, interior, batch) : right.view(interior, columns, batch),
      .result = result.view(rows, columns, batch),
      .transposeLeft = transposeLeft,
      .transposeRight = transposeRight,
      .alpha = alpha,
      .beta = beta,
      .allowReducedPrecision = contains(options, KernelOptions::allowReducedPrecision)});
}

MatrixMultiplication MatrixMultiplication::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixMultiplication::visitSettings(detail::SettingsVisitor& visitor) {
  Kernel::visitSettings(visitor);
  visitor.visit("transposeLeft", descriptor_.transposeLeft);
  visitor.visit("transposeRight", descriptor_.transposeRight);
  visitor.visit("resultRows", descriptor_.resultRows);
  visitor.visit("resultColumns", descriptor_.resultColumns);
  visitor.visit("interiorColumns", descriptor_.interiorColumns);
  visitor.visit("alpha", descriptor_.alpha);
  visitor.visit("beta", descriptor_.beta);
  visitor.visit("resultMatrixOrigin", resultMatrixOrigin);
  visitor.visit("leftMatrixOrigin", leftMatrixOrigin);
  visitor.visit("rightMatrixOrigin", rightMatrixOrigin);
  visitor.visit("batchStart", batchStart);
  visitor.visit("batchSize", batchSize);
}

MatrixVectorMultiplication::MatrixVectorMultiplication(const Device& device, const Descriptor& descriptor)
    : MatrixBinaryKernel(device, "MatrixVectorMultiplication"), descriptor_(descriptor) {}

MatrixVectorMultiplication::MatrixVectorMultiplication(Unarchiver& coder, const Device& device)
    : MatrixVectorMultiplication(device, Descriptor{}) {
  decode(coder);
}

void MatrixVectorMultiplication::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  const auto& [transpose, rows, columns, alpha, beta] = descriptor_;
  Encoding encoding(*this, commandBuffer);
  auto matrix = encoding.source("inputMatrix", arguments.inputMatrix, primarySourceMatrixOrigin);
  auto input = encoding.source("inputVector", arguments.inputVector, secondarySourceMatrixOrigin);
  auto result = beta == 0 ? encoding.result("resultVector", arguments.resultVector, resultMatrixOrigin)
                          : encoding.update("resultVector", arguments.resultVector, resultMatrixOrigin);
  encoding.requireType(matrix, {DataType::float32, DataType::float16, DataType::bFloat16});
  encoding.requireType(input, {matrix.type()});
  requireProductType(encoding, matrix.type(), result);

  const auto batch = encoding.batch(batchStart, batchSize, {&matrix});
  encoding.record(operations::MatrixVectorMultiplication{
      .matrix = transpose ? matrix.view(columns, rows, batch) : matrix.view(rows, columns, batch),
      .input = input.view(columns, batch),
      .result = result.view(rows, batch),
      .transpose = transpose,
      .alpha = alpha,
      .beta = beta});
}

MatrixVectorMultiplication MatrixVectorMultiplication::copy(const Device& device) const {
  return copyOf(*this, device);
}

void MatrixVectorMultiplication::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixBinaryKernel::visitSettings(visitor);
  visitor.visit("transpose", descriptor_.transpose);
  visitor.visit("rows", descriptor_.rows);
  visitor.visit("columns", descriptor_.columns);
  visitor.visit("alpha", descriptor_.alpha);
  visitor.visit("beta", descriptor_.beta);
}

}  // namespace metalloid
