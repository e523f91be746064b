#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>

#include <cstddef>
#include <string_view>

namespace metalloid {

/// The soft-max of every row of a matrix.
///
///     y[i,j] = exp(x[i,j]) / sum over k of exp(x[i,k])        x: N x C at sourceMatrixOrigin, y at resultMatrixOrigin
///
/// N = min(sourceRows, inputMatrix.rows - sourceMatrixOrigin.x),
/// C = min(sourceColumns, inputMatrix.columns - sourceMatrixOrigin.y); C is also the length of the sum.
/// The row's maximum is subtracted first, so that no exponential overflows. A row with NaN, with plus infinity or of
/// nothing but minus infinity gives NaN throughout, as IEEE arithmetic does. Both matrices are float32, float16 or
/// bFloat16, of one type. The result may be the input (same matrix, same region). Source: MPSMatrixSoftMax.
class MatrixSoftMax : public MatrixUnaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixSoftMax(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixSoftMax(Unarchiver& coder, const Device& device);

  std::size_t sourceRows = all;     ///< Most rows processed. Default all.
  std::size_t sourceColumns = all;  ///< Most columns processed. Default all.

  /// The operands of `encode`.
  struct Arguments {
    Matrix inputMatrix;   ///< x, at sourceMatrixOrigin.
    Matrix resultMatrix;  ///< y, at resultMatrixOrigin.
  };
  using MatrixUnaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixSoftMax copy(const Device& device = {}) const;

 protected:
  /// For `MatrixLogSoftMax`.
  MatrixSoftMax(const Device& device, std::string_view className, bool logarithm);
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  bool logarithm_ = false;  // follows from the class, so it is no setting
};

/// The logarithm of the soft-max of every row, without the detour through numbers that underflow.
///
///     y[i,j] = x[i,j] - ln(sum over k of exp(x[i,k]))
///
/// Everything else as in `MatrixSoftMax`. Source: MPSMatrixLogSoftMax.
class MatrixLogSoftMax : public MatrixSoftMax {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixLogSoftMax(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixLogSoftMax(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixLogSoftMax copy(const Device& device = {}) const;
};

/// The gradient of `MatrixSoftMax`.
///
///     dx[i,j] = y[i,j] * (dy[i,j] - sum over k of dy[i,k] * y[i,k])        y: the forward kernel's output
///
/// dy: N x C at primarySourceMatrixOrigin, y: N x C at secondarySourceMatrixOrigin, dx at resultMatrixOrigin; N and C
/// are the smallest of the limits and what both sources have. All matrices are float32, float16 or bFloat16, of one
/// type; dx may be dy or y. Results are overwritten, never accumulated. Source: MPSMatrixSoftMaxGradient.
class MatrixSoftMaxGradient : public MatrixBinaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixSoftMaxGradient(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixSoftMaxGradient(Unarchiver& coder, const Device& device);

  std::size_t sourceRows = all;     ///< Most rows processed. Default all.
  std::size_t sourceColumns = all;  ///< Most columns processed. Default all.

  /// The operands of `encode`.
  struct Arguments {
    Matrix gradientMatrix;       ///< dy, at primarySourceMatrixOrigin.
    Matrix forwardOutputMatrix;  ///< y, at secondarySourceMatrixOrigin.
    Matrix resultMatrix;         ///< dx, at resultMatrixOrigin.
  };
  using MatrixBinaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixSoftMaxGradient copy(const Device& device = {}) const;

 protected:
  /// For `MatrixLogSoftMaxGradient`.
  MatrixSoftMaxGradient(const Device& device, std::string_view className, bool logarithm);
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  bool logarithm_ = false;  // follows from the class, so it is no setting
};

/// The gradient of `MatrixLogSoftMax`.
///
///     dx[i,j] = dy[i,j] - exp(y[i,j]) * sum over k of dy[i,k]        y: the forward kernel's output, logarithms
///
/// Everything else as in `MatrixSoftMaxGradient`. Source: MPSMatrixLogSoftMaxGradient, whose header prints the sum
/// inside the exponential; that would not be the derivative.
class MatrixLogSoftMaxGradient : public MatrixSoftMaxGradient {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixLogSoftMaxGradient(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixLogSoftMaxGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixLogSoftMaxGradient copy(const Device& device = {}) const;
};

}  // namespace metalloid
