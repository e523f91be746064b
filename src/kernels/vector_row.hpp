#pragma once

#include "operations/views.hpp"

namespace metalloid::detail {

/// One vector as a matrix of one row.
inline operations::MatrixView rowOf(const operations::VectorView& view) {
  return {.data = view.data,
          .rows = 1,
          .columns = view.length,
          .rowBytes = view.length * sizeOfDataType(view.type),
          .type = view.type};
}

}  // namespace metalloid::detail
