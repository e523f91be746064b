#pragma once

#include <metalloid/data_type.hpp>

#include <cstddef>

namespace metalloid::operations {

/// A region of one or several matrices, resolved to addresses on the device: what a back end sees of a Matrix.
struct MatrixView {
  std::byte* data = nullptr;  // first element of the first matrix; null: not given, or not wanted
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t rowBytes = 0;
  std::size_t matrices = 1;
  std::size_t matrixBytes = 0;
  DataType type = DataType::float32;

  explicit operator bool() const { return data != nullptr; }

  std::byte* row(std::size_t i) const { return data + i * rowBytes; }

  /// Matrix k alone.
  MatrixView matrix(std::size_t k) const {
    MatrixView one = *this;
    if (data) one.data += k * matrixBytes;
    one.matrices = 1;
    return one;
  }

  friend bool operator==(const MatrixView&, const MatrixView&) = default;
};

/// One vector for each matrix of a batch, or one shared by all of them (`vectorBytes` is then 0).
struct VectorView {
  std::byte* data = nullptr;  // null: not given, or not wanted
  std::size_t length = 0;
  std::size_t vectorBytes = 0;
  DataType type = DataType::float32;

  explicit operator bool() const { return data != nullptr; }

  /// The vector that goes with matrix k.
  VectorView vector(std::size_t k) const {
    VectorView one = *this;
    if (data) one.data += k * vectorBytes;
    return one;
  }

  friend bool operator==(const VectorView&, const VectorView&) = default;
};

}  // namespace metalloid::operations
