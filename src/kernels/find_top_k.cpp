#include "operations/find_top_k.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/encoding.hpp"

#include <metalloid/matrix_find_top_k.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace metalloid {

using detail::Encoding;

MatrixFindTopK::MatrixFindTopK(const Device& device, std::size_t k)
    : MatrixUnaryKernel(device, "MatrixFindTopK"), numberOfTopKValues(k) {}

MatrixFindTopK::MatrixFindTopK(Unarchiver& coder, const Device& device) : MatrixFindTopK(device, 1) { decode(coder); }

void MatrixFindTopK::encode(CommandBuffer& commandBuffer, const Arguments& arguments) const {
  Encoding encoding(*this, commandBuffer);
  auto input = encoding.source("inputMatrix", arguments.inputMatrix, sourceMatrixOrigin);
  auto indices = encoding.result("resultIndexMatrix", arguments.resultIndexMatrix, resultMatrixOrigin);
  auto values = encoding.result("resultValueMatrix", arguments.resultValueMatrix, resultMatrixOrigin);
  encoding.requireType(indices, {DataType::uInt32});
  encoding.requireOneFloatType({&input, &values});

  const auto batch = encoding.batch(batchStart, batchSize, {&input, &indices, &values});
  const std::size_t rows = std::min(sourceRows, input.rows());
  const std::size_t columns = std::min(sourceColumns, input.columns());
  const std::size_t k = numberOfTopKValues;
  if (k > columns) {
    encoding.refuse(fmt::format("The numberOfTopKValues of {} is {}, but it searches {} columns.",
                                encoding.kernelName(), k, columns));
  }
  constexpr std::size_t kLargestIndex = std::numeric_limits<std::uint32_t>::max();
  if (k > 0 && (indexOffset > kLargestIndex || columns - 1 > kLargestIndex - indexOffset)) {
    encoding.refuse(
        fmt::format("The indexOffset of {} is {}: with {} columns an index could exceed {}, the largest of "
                    "the resultIndexMatrix.",
                    encoding.kernelName(), indexOffset, columns, kLargestIndex));
  }
  encoding.record(operations::MatrixFindTopK{.input = input.view(rows, columns, batch),
                                             .resultIndices = indices.view(rows, k, batch),
                                             .resultValues = values.view(rows, k, batch),
                                             .k = k,
                                             .indexOffset = indexOffset});
}

MatrixFindTopK MatrixFindTopK::copy(const Device& device) const { return copyOf(*this, device); }

void MatrixFindTopK::visitSettings(detail::SettingsVisitor& visitor) {
  MatrixUnaryKernel::visitSettings(visitor);
  visitor.visit("sourceRows", sourceRows);
  visitor.visit("sourceColumns", sourceColumns);
  visitor.visit("indexOffset", indexOffset);
  visitor.visit("numberOfTopKValues", numberOfTopKValues);
}

}  // namespace metalloid
