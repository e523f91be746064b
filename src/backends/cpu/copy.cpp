// MatrixCopy where rows stay rows and nothing is permuted: rows of bytes.

#include "operations/copy.hpp"

#include <algorithm>
#include <cstring>

#include "backends/copy_checks.hpp"
#include "backends/cpu/kernels.hpp"

namespace metalloid::cpu {

const char* refusesRows(const operations::MatrixCopy& operation, const Context&) {
  if (operation.rowPermute || operation.columnPermute) return "rows or columns are permuted";
  if (operation.sourcesAreTransposed != operation.destinationsAreTransposed) return "the copy transposes";
  return nullptr;
}

void runRows(const operations::MatrixCopy& operation, Context& context) {
  // Transposed on both sides, the stored region has its logical columns as rows.
  const bool isTransposed = operation.sourcesAreTransposed;
  const std::size_t rows = isTransposed ? operation.columns : operation.rows;
  const std::size_t columns = isTransposed ? operation.rows : operation.columns;
  if (rows == 0 || columns == 0) return;
  constexpr std::size_t kBytesPerTask = std::size_t{64} << 10;
  for (const auto& item : backends::checkedItems(operation)) {
    const std::size_t size = sizeOfDataType(item.source.type);
    const std::size_t rowsPerTask = std::max<std::size_t>(1, kBytesPerTask / (columns * size));
    context.pool.parallelForBlocks(BlockSplit(rows, rowsPerTask), [&](BlockRange range) {
      for (std::size_t i = range.begin; i < range.end; ++i) {
        std::memcpy(item.destination.row(item.destinationRow + i) + item.destinationColumn * size,
                    item.source.row(item.sourceRow + i) + item.sourceColumn * size, columns * size);
      }
    });
  }
}

}  // namespace metalloid::cpu
