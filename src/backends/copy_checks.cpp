#include "backends/copy_checks.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

namespace metalloid::backends {
namespace {

using operations::MatrixCopy;
using operations::MatrixView;
using operations::VectorView;

std::uint32_t word(const VectorView& vector, std::size_t i) {
  std::uint32_t value = 0;
  std::memcpy(&value, vector.data + i * sizeof(value), sizeof(value));
  return value;
}

struct Extent {
  std::size_t rows;
  std::size_t columns;
};

/// The region of a copy as a matrix stores it.
Extent storedExtent(const MatrixCopy& operation, bool transposed) {
  return transposed ? Extent{operation.columns, operation.rows} : Extent{operation.rows, operation.columns};
}

/// The operation's items with the offsets that hold at execution.
std::vector<MatrixCopy::Item> itemsOf(const MatrixCopy& operation) {
  auto items = operation.items;
  if (!operation.offsets) return items;
  for (std::size_t m = 0; m < items.size(); ++m) {
    const auto offset = [&](std::size_t n) { return word(operation.offsets, 4 * m + n); };
    items[m].sourceRow = offset(0);
    items[m].sourceColumn = offset(1);
    items[m].destinationRow = offset(2);
    items[m].destinationColumn = offset(3);
  }
  return items;
}

void requireInside(std::string_view role, std::size_t item, std::size_t items, const MatrixView& matrix,
                   std::size_t row, std::size_t column, Extent extent) {
  const auto fits = [](std::size_t start, std::size_t count, std::size_t size) {
    return start <= size && count <= size - start;
  };
  if (fits(row, extent.rows, matrix.rows) && fits(column, extent.columns, matrix.columns)) return;
  throw Error(
      ErrorCode::invalidArgument,
      fmt::format("Copy operation {} of {} needs {} rows and {} columns of its {} from row {}, column {} on, as "
                  "offsetVector says, but the matrix has {} rows and {} columns.",
                  item, items, extent.rows, extent.columns, role, row, column, matrix.rows, matrix.columns));
}

/// Every index must stay below what each item's destination has from its offset on.
void requirePermutation(std::string_view role, std::string_view lines, const VectorView& indices, std::size_t count,
                        const std::vector<std::size_t>& available) {
  if (!indices) return;
  std::size_t limit = std::numeric_limits<std::size_t>::max(), item = 0;
  for (std::size_t m = 0; m < available.size(); ++m) {
    if (available[m] < limit) {
      limit = available[m];
      item = m;
    }
  }
  for (std::size_t n = 0; n < count; ++n) {
    if (word(indices, n) < limit) continue;
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Index {} of {} is {}, but the destination of copy operation {} of {} has {} {} from its "
                            "offset on.",
                            n, role, word(indices, n), item, available.size(), limit, lines));
  }
}

void check(const MatrixCopy& operation, const std::vector<MatrixCopy::Item>& items) {
  const Extent source = storedExtent(operation, operation.sourcesAreTransposed);
  const Extent destination = storedExtent(operation, operation.destinationsAreTransposed);
  std::vector<std::size_t> rows, columns;
  for (std::size_t m = 0; m < items.size(); ++m) {
    const auto& item = items[m];
    requireInside("source", m, items.size(), item.source, item.sourceRow, item.sourceColumn, source);
    requireInside("destination", m, items.size(), item.destination, item.destinationRow, item.destinationColumn,
                  destination);
    rows.push_back(item.destination.rows - item.destinationRow);
    columns.push_back(item.destination.columns - item.destinationColumn);
  }
  requirePermutation("rowPermuteIndices", "rows", operation.rowPermute, destination.rows, rows);
  requirePermutation("columnPermuteIndices", "columns", operation.columnPermute, destination.columns, columns);
}

}  // namespace

std::vector<MatrixCopy::Item> checkedItems(const MatrixCopy& operation) {
  auto items = itemsOf(operation);
  check(operation, items);
  return items;
}

}  // namespace metalloid::backends
