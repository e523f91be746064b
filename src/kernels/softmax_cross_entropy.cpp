#include "operations/softmax_cross_entropy.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_softmax_cross_entropy.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;

MatrixSoftMaxCrossEntropy::MatrixSoftMaxCrossEntropy(const Device& device)
    : MatrixUnaryKernel(device, "MatrixSoftMaxCrossEntropy") {}

MatrixSoftMaxCrossEntropy::MatrixSoftMaxCrossEntropy(Unarchiver& coder, const Device& device)
    : MatrixSoftMaxCrossEntropy(device) {
  decode(coder);
}

void MatrixSoftMaxCrossEntropy::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto input = encoding.source("sourceMatrix", arguments.sourceMatrix, sourceMatrixOrigin);
  auto labels = encoding.source("labelVector", arguments.labelVector);
  auto loss = encoding.optionalResult("resultLossVector", arguments.resultLossVector);
  auto correct = encoding.optionalResult("resultCorrectVector", arguments.resultCorrectVector);
  auto gradient = encoding.optionalResult("resultGradientMatrix", arguments.resultGradientMatrix, resultMatrixOrigin);
  if (!loss.given() && !correct.given() && !gradient.given()) {
    encoding.refuse(
        "The resultLossVector, the resultCorrectVector and the resultGradientMatrix are all nil, so that there is "
        "nothing to compute.");
  }
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {  // so written, NaN is refused too
    encoding.refuse(fmt::format("The labelSmoothing of {} is {}, but it must be between 0 and 1.",
                                encoding.kernelName(), labelSmoothing));
  }
  encoding.requireOneFloatType({&input, &gradient});
  encoding.requireType(labels, {DataType::uInt32});
  encoding.requireVectorTypes(input.type(), {&loss, &correct});
  encoding.allowInPlace(gradient, input);

  const auto batch = encoding.batch(batchStart, batchSize, {&input, &gradient});
  const std::size_t rows = std::min(sourceRows, input.rows());
  const std::size_t columns = std::min(sourceColumns, input.columns());
  encoding.record(operations::MatrixSoftMaxCrossEntropy{.input = input.view(rows, columns, batch),
                                                        .labels = labels.view(rows, batch),
                                                        .resultLoss = loss.view(rows, batch),
                                                        .resultCorrect = correct.view(rows, batch),
                                                        .resultGradient = gradient.view(rows, columns, batch),
                                                        .weight = weight,
                                                        .labelSmoothing = labelSmoothing});
}

MatrixSoftMaxCrossEntropy MatrixSoftMaxCrossEntropy::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixSoftMaxCrossEntropy::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixUnaryKernel::visitSettings(visitor);
  visitor.visit("sourceRows", sourceRows);
  visitor.visit("sourceColumns", sourceColumns);
  visitor.visit("weight", weight);
  visitor.visit("labelSmoothing", labelSmoothing);
}

}  // namespace metalloid
