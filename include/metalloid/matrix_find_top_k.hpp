#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>

#include <cstddef>

namespace metalloid {

/// The k largest values of each row, in descending order, and where they stand.
///
///     resultValueMatrix[i,n] = the n-th largest of x[i,0 ... C-1],  n < k
///     resultIndexMatrix[i,n] = its column j + indexOffset
///
/// x: N x C at sourceMatrixOrigin, where column 0 is; both results: N x k at resultMatrixOrigin.
/// N = min(sourceRows, inputMatrix.rows - sourceMatrixOrigin.x),
/// C = min(sourceColumns, inputMatrix.columns - sourceMatrixOrigin.y).
/// Of equal values the one in the lower column comes first; NaN counts as smaller than every number. Input and values
/// are float32, float16 or bFloat16, both of one type; indices are uInt32. Operands must not overlap.
/// k may be anything up to C: the limit of 16 of the original does not apply. Source: MPSMatrixFindTopK.
class MatrixFindTopK : public MatrixUnaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  MatrixFindTopK(const Device& device, std::size_t numberOfTopKValues);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixFindTopK(Unarchiver& coder, const Device& device);

  std::size_t sourceRows = all;        ///< Most rows processed. Default all.
  std::size_t sourceColumns = all;     ///< Most columns searched. Default all.
  std::size_t indexOffset = 0;         ///< Added to every index. Default 0.
  std::size_t numberOfTopKValues = 1;  ///< k, at most C; 0 writes nothing.

  /// The operands of `encode`.
  struct Arguments {
    Matrix inputMatrix;        ///< x, at sourceMatrixOrigin.
    Matrix resultIndexMatrix;  ///< uInt32, at resultMatrixOrigin.
    Matrix resultValueMatrix;  ///< Of the input's type, at resultMatrixOrigin.
  };
  using MatrixUnaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit; when k is larger than C;
  /// and when an index could exceed 32 bits.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixFindTopK copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;
};

}  // namespace metalloid
