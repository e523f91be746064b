#pragma once

#include <metalloid/image.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>

namespace metalloid::training {

/// The first rows of a matrix, as a matrix over the same bytes: what a batch with fewer samples uses.
inline Matrix firstRows(const Matrix& matrix, std::size_t rows) {
  if (rows == matrix.rows()) return matrix;
  const Matrix part(
      matrix.data(), matrix.offset(),
      {.rows = rows, .columns = matrix.columns(), .rowBytes = matrix.rowBytes(), .dataType = matrix.dataType()});
  part.setLabel(matrix.label());
  return part;
}

/// A matrix over the float32 images of a container, one a row: their elements lie one after another.
Matrix rowsOf(const Image& images);

/// `count` rows from `row` on.
inline Matrix someRows(const Matrix& matrix, std::size_t row, std::size_t count) {
  const Matrix part(
      matrix.data(), matrix.offset() + row * matrix.rowBytes(),
      {.rows = count, .columns = matrix.columns(), .rowBytes = matrix.rowBytes(), .dataType = matrix.dataType()});
  part.setLabel(matrix.label());
  return part;
}

/// `count` elements from `first` on, as a vector over the same bytes.
inline Vector someElements(const Vector& vector, std::size_t first, std::size_t count) {
  const Vector part(vector.data(), vector.offset() + first * sizeOfDataType(vector.dataType()),
                    {.length = count, .dataType = vector.dataType()});
  part.setLabel(vector.label());
  return part;
}

}  // namespace metalloid::training
