#pragma once

#include "math/neuron.hpp"
#include "operations/views.hpp"

#include <vector>

namespace metalloid::operations {

/// With S = sum over i of scale[i] * sources[i] shifted by its offsets, transposed if asked: result = f(S + bias)
struct MatrixSum {
  static constexpr const char* kName = "MatrixSum";
  std::vector<MatrixView>
      sources;       // each the whole matrix; the region read is checked against it at execution when offsets are given
  VectorView scale;  // [count] float32, optional: 1
  VectorView offsets;    // [2 * count] uInt32 pairs (row, column), optional: 0; read at execution
  VectorView bias;       // [result columns], optional: 0
  MatrixView result;     // [rows, columns], or [columns, rows] when transposed
  std::size_t rows = 0;  // of the region of each source
  std::size_t columns = 0;
  bool transpose = false;
  math::Neuron neuron{};

  friend bool operator==(const MatrixSum&, const MatrixSum&) = default;
};

}  // namespace metalloid::operations
