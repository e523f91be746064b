#pragma once

#include "operations/views.hpp"

#include <cstdint>
#include <vector>

namespace metalloid::operations {

/// Copies a region of rows x columns (logical, untransposed, sizes) for each item, scattering rows and columns as the
/// permutations say.
struct MatrixCopy {
  static constexpr const char* kName = "MatrixCopy";
  struct Item {
    MatrixView source;       // the whole stored matrix
    MatrixView destination;  // the whole stored matrix
    std::uint32_t sourceRow = 0, sourceColumn = 0, destinationRow = 0, destinationColumn = 0;  // in the stored matrices

    friend bool operator==(const Item&, const Item&) = default;
  };
  std::vector<Item> items;
  VectorView offsets;  // [4 * items] uInt32, replaces the items' own offsets; read and checked at execution; optional
  VectorView
      rowPermute;  // uInt32, optional, its first element already the one for row 0; read and checked at execution
  VectorView columnPermute;  // likewise for columns
  std::size_t rows = 0;
  std::size_t columns = 0;
  bool sourcesAreTransposed = false;
  bool destinationsAreTransposed = false;

  friend bool operator==(const MatrixCopy&, const MatrixCopy&) = default;
};

}  // namespace metalloid::operations
