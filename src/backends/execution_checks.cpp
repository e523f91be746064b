#include "backends/execution_checks.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <cstdint>
#include <cstring>
#include <string>

namespace metalloid::backends {
namespace {

std::uint32_t word(const operations::VectorView& vector, std::size_t i) {
  std::uint32_t value = 0;
  std::memcpy(&value, vector.data + i * sizeof(value), sizeof(value));
  return value;
}

}  // namespace

void checkLabels(const operations::MatrixSoftMaxCrossEntropy& operation) {
  const auto& input = operation.input;
  for (std::size_t k = 0; k < input.matrices; ++k) {
    const auto labels = operation.labels.vector(k);
    for (std::size_t i = 0; i < input.rows; ++i) {
      if (word(labels, i) < input.columns) continue;
      const std::string place = input.matrices == 1 ? "" : fmt::format(" of matrix {} of the batch", k);
      throw Error(ErrorCode::invalidArgument, fmt::format("The label of row {}{} is {}, but there are {} classes.", i,
                                                          place, word(labels, i), input.columns));
    }
  }
}

SourceOffset sourceOffset(const operations::MatrixSum& operation, std::size_t i) {
  if (!operation.offsets) return {};
  return {.row = word(operation.offsets, 2 * i), .column = word(operation.offsets, 2 * i + 1)};
}

void checkOffsets(const operations::MatrixSum& operation) {
  for (std::size_t i = 0; i < operation.sources.size(); ++i) {
    const auto& source = operation.sources[i];
    const auto offset = sourceOffset(operation, i);
    const bool fits = offset.row <= source.rows && operation.rows <= source.rows - offset.row &&
                      offset.column <= source.columns && operation.columns <= source.columns - offset.column;
    if (fits) continue;
    throw Error(
        ErrorCode::invalidArgument,
        fmt::format("Source {} has {} rows and {} columns, but {} rows and {} columns are added from its offset "
                    "({}, {}) on.",
                    i, source.rows, source.columns, operation.rows, operation.columns, offset.row, offset.column));
  }
}

}  // namespace metalloid::backends
