#pragma once

#include <metalloid/geometry.hpp>
#include <metalloid/kernel.hpp>

#include <cstddef>

namespace metalloid {

/// Base of the kernels with one source matrix. One encode processes the matrices
/// k = batchStart ... batchStart + min(batchSize, available - batchStart) - 1 of every operand, where `available` is
/// the smallest number of matrices among them. Source: MPSMatrixUnaryKernel.
class MatrixUnaryKernel : public Kernel {
 public:
  Origin sourceMatrixOrigin;    ///< First row (x) and column (y) read. Default (0, 0, 0).
  Origin resultMatrixOrigin;    ///< First row (x) and column (y) written. Default (0, 0, 0).
  std::size_t batchStart = 0;   ///< First matrix processed. Default 0.
  std::size_t batchSize = all;  ///< Most matrices processed; 0 processes none. Default all.

 protected:
  using Kernel::Kernel;
  void visitSettings(detail::SettingsVisitor& visitor) override;
};

/// Base of the kernels with two source matrices. Batches as in `MatrixUnaryKernel`. Source: MPSMatrixBinaryKernel.
class MatrixBinaryKernel : public Kernel {
 public:
  Origin primarySourceMatrixOrigin;    ///< First row (x) and column (y) read of the first source. Default (0, 0, 0).
  Origin secondarySourceMatrixOrigin;  ///< The same of the second source. Default (0, 0, 0).
  Origin resultMatrixOrigin;           ///< First row (x) and column (y) written. Default (0, 0, 0).
  std::size_t batchStart = 0;          ///< First matrix processed. Default 0.
  std::size_t batchSize = all;         ///< Most matrices processed; 0 processes none. Default all.

 protected:
  using Kernel::Kernel;
  void visitSettings(detail::SettingsVisitor& visitor) override;
};

}  // namespace metalloid
