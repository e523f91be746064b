#pragma once

#include "operations/views.hpp"

namespace metalloid::operations {

/// Per row the k largest values, descending (equals by lower column, NaN after every number), and their columns +
/// indexOffset
struct MatrixFindTopK {
  static constexpr const char* kName = "MatrixFindTopK";
  MatrixView input;          // [N, C]
  MatrixView resultIndices;  // [N, k] uInt32
  MatrixView resultValues;   // [N, k]
  std::size_t k = 1;
  std::size_t indexOffset = 0;

  friend bool operator==(const MatrixFindTopK&, const MatrixFindTopK&) = default;
};

}  // namespace metalloid::operations
