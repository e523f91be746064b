#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>

namespace metalloid {

/// The product of two matrices, added to a multiple of the result.
///
///     C <- alpha * op(A) * op(B) + beta * C        op(A): M x K, op(B): K x N, C: M x N
///
/// op transposes or not, as the descriptor says: A is stored M x K, or K x M when transposeLeft; B is stored K x N, or
/// N x K when transposeRight. A lies at leftMatrixOrigin, B at rightMatrixOrigin, C at resultMatrixOrigin. Sizes are
/// exact: every operand must hold its region, and nothing is clipped. With beta = 0 the old C is not read, so that NaN
/// in it does not spread; with K = 0 the product is 0.
///
/// | A and B (one type)        | C                         |
/// |---------------------------|---------------------------|
/// | float32                   | float32                   |
/// | float16                   | float16, float32          |
/// | bFloat16                  | bFloat16, float32         |
/// | int8                      | float16, float32          |
/// | int16                     | float32                   |
///
/// Integers count by their value. Products accumulate in float32 or better. C must not overlap A or B.
/// Batches as in `MatrixBinaryKernel`. Source: MPSMatrixMultiplication.
class MatrixMultiplication : public Kernel {
 public:
  /// What a kernel is made for; fixed from then on.
  struct Descriptor {
    bool transposeLeft = false;       ///< Whether A is stored transposed.
    bool transposeRight = false;      ///< Whether B is stored transposed.
    std::size_t resultRows = 0;       ///< M.
    std::size_t resultColumns = 0;    ///< N.
    std::size_t interiorColumns = 0;  ///< K.
    double alpha = 1;                 ///< Factor on the product.
    double beta = 0;                  ///< Factor on the old C.
  };

  /// @throws Error (invalidArgument) for a nil device.
  MatrixMultiplication(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixMultiplication(Unarchiver& coder, const Device& device);

  Origin resultMatrixOrigin;    ///< First row (x) and column (y) of C. Default (0, 0, 0).
  Origin leftMatrixOrigin;      ///< First stored row (x) and column (y) of A. Default (0, 0, 0).
  Origin rightMatrixOrigin;     ///< First stored row (x) and column (y) of B. Default (0, 0, 0).
  std::size_t batchStart = 0;   ///< First matrix processed.
  std::size_t batchSize = all;  ///< Most matrices processed; 0 processes none.

  /// The operands of `encode`.
  struct Arguments {
    Matrix leftMatrix;    ///< A.
    Matrix rightMatrix;   ///< B.
    Matrix resultMatrix;  ///< C; read only where beta is not 0.
  };
  using Kernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixMultiplication copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  Descriptor descriptor_;
};

/// The product of a matrix and a vector, added to a multiple of the result.
///
///     y <- alpha * op(A) * x + beta * y        op(A): rows x columns, x: columns, y: rows
///
/// A is stored rows x columns, or columns x rows when transposed, and lies at primarySourceMatrixOrigin; x begins at
/// element secondarySourceMatrixOrigin.x, y at resultMatrixOrigin.x, where y and z of the origins must be 0. Sizes are
/// exact. With beta = 0 the old y is not read.
/// A and x are of one type; float32 gives float32, float16 gives float16 or float32, bFloat16 gives bFloat16 or
/// float32. y must not overlap A or x. In a batch one input vector serves all matrices, or vector k goes with matrix k;
/// there must be one result vector for each matrix. Source: MPSMatrixVectorMultiplication.
class MatrixVectorMultiplication : public MatrixBinaryKernel {
 public:
  /// What a kernel is made for; fixed from then on.
  struct Descriptor {
    bool transpose = false;   ///< Whether A is stored transposed.
    std::size_t rows = 0;     ///< Rows of op(A).
    std::size_t columns = 0;  ///< Columns of op(A).
    double alpha = 1;         ///< Factor on the product.
    double beta = 0;          ///< Factor on the old y.
  };

  /// @throws Error (invalidArgument) for a nil device.
  MatrixVectorMultiplication(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixVectorMultiplication(Unarchiver& coder, const Device& device);

  /// The operands of `encode`.
  struct Arguments {
    Matrix inputMatrix;   ///< A.
    Vector inputVector;   ///< x.
    Vector resultVector;  ///< y; read only where beta is not 0.
  };
  using MatrixBinaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixVectorMultiplication copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  Descriptor descriptor_;
};

}  // namespace metalloid
