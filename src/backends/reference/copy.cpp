#include "operations/copy.hpp"

#include "backends/copy_checks.hpp"
#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <cstring>
#include <utility>

namespace metalloid::reference {

void run(const operations::MatrixCopy& operation) {
  if (operation.rows == 0 || operation.columns == 0) return;
  for (const auto& item : backends::checkedItems(operation)) {
    const std::size_t size = sizeOfDataType(item.source.type);
    for (std::size_t i = 0; i < operation.rows; ++i) {
      for (std::size_t j = 0; j < operation.columns; ++j) {
        const auto [fromRow, fromColumn] = operation.sourcesAreTransposed ? std::pair{j, i} : std::pair{i, j};
        auto [toRow, toColumn] = operation.destinationsAreTransposed ? std::pair{j, i} : std::pair{i, j};
        // Permutations act on rows and columns as they are stored.
        if (operation.rowPermute) toRow = static_cast<std::size_t>(at(operation.rowPermute, toRow));
        if (operation.columnPermute) toColumn = static_cast<std::size_t>(at(operation.columnPermute, toColumn));
        std::memcpy(item.destination.row(item.destinationRow + toRow) + (item.destinationColumn + toColumn) * size,
                    item.source.row(item.sourceRow + fromRow) + (item.sourceColumn + fromColumn) * size, size);
      }
    }
  }
}

}  // namespace metalloid::reference
