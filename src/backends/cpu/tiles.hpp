#pragma once

#include "backends/cpu/thread_pool.hpp"

#include <algorithm>
#include <cstddef>

namespace metalloid::cpu {

/// A matrix cut into tiles for the threads; the cuts depend on its size alone. Column sums are taken tile by tile and
/// then over the tiles of a column from top to bottom, so that their bits do not depend on the number of threads.
class Tiles {
 public:
  /// `columnsPerTile` bounds what a tile keeps per column; a tile has at least `minimumRows` rows where there are so
  /// many.
  Tiles(std::size_t rows, std::size_t columns, std::size_t columnsPerTile, std::size_t minimumRows = 8)
      : rows_(rowsSplit(rows, minimumRows)), columns_(columns, columnsPerTile) {}

  const BlockSplit& rows() const { return rows_; }
  const BlockSplit& columns() const { return columns_; }
  std::size_t count() const { return rows_.count() * columns_.count(); }

  struct Tile {
    std::size_t rowBlock;
    BlockRange rows;
    BlockRange columns;
  };

  /// Tiles run along the rows first: neighbours share lines of the matrix.
  Tile operator[](std::size_t index) const {
    const std::size_t rowBlock = index / columns_.count();
    return {rowBlock, rows_[rowBlock], columns_[index % columns_.count()]};
  }

 private:
  static constexpr std::size_t kMostRowBlocks = 64;  // enough for many threads; few enough to sum up quickly

  static BlockSplit rowsSplit(std::size_t rows, std::size_t minimumRows) {
    return {rows, std::max(minimumRows, (rows + kMostRowBlocks - 1) / kMostRowBlocks)};
  }

  BlockSplit rows_;
  BlockSplit columns_;
};

}  // namespace metalloid::cpu
