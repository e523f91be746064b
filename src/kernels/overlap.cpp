#include "kernels/overlap.hpp"

#include <cstdint>

namespace metalloid::detail {
namespace {

using operations::MatrixView;

struct ByteRange {
  std::uintptr_t first = 0;
  std::uintptr_t last = 0;  // one past
};

bool meet(ByteRange a, ByteRange b) { return a.first < b.last && b.first < a.last; }

std::size_t rowLength(const MatrixView& view) { return view.columns * sizeOfDataType(view.type); }

bool isEmpty(const MatrixView& view) { return view.rows == 0 || view.columns == 0 || view.matrices == 0; }

ByteRange rangeOfRow(const MatrixView& view, std::size_t row) {
  const auto first = reinterpret_cast<std::uintptr_t>(view.data) + row * view.rowBytes;
  return {first, first + rowLength(view)};
}

ByteRange rangeOfMatrix(const MatrixView& view) {
  return {rangeOfRow(view, 0).first, rangeOfRow(view, view.rows - 1).last};
}

ByteRange rangeOfAll(const MatrixView& view) {
  return {rangeOfMatrix(view).first, rangeOfMatrix(view.matrix(view.matrices - 1)).last};
}

bool matricesOverlap(const MatrixView& a, const MatrixView& b) {
  if (!meet(rangeOfMatrix(a), rangeOfMatrix(b))) return false;
  // Row by row; for each row of a only the rows of b around the same addresses can meet it.
  for (std::size_t i = 0; i < a.rows; ++i) {
    const ByteRange row = rangeOfRow(a, i);
    const std::uintptr_t start = rangeOfRow(b, 0).first;
    std::size_t j = row.first > start && b.rowBytes > 0 ? (row.first - start) / b.rowBytes : 0;
    if (j > 0) --j;
    for (; j < b.rows; ++j) {
      const ByteRange other = rangeOfRow(b, j);
      if (other.first >= row.last) break;
      if (meet(row, other)) return true;
    }
  }
  return false;
}

}  // namespace

bool overlap(const MatrixView& a, const MatrixView& b) {
  if (isEmpty(a) || isEmpty(b) || !meet(rangeOfAll(a), rangeOfAll(b))) return false;
  for (std::size_t k = 0; k < a.matrices; ++k) {
    for (std::size_t l = 0; l < b.matrices; ++l) {
      if (matricesOverlap(a.matrix(k), b.matrix(l))) return true;
    }
  }
  return false;
}

}  // namespace metalloid::detail
