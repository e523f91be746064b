#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>

namespace metalloid {

/// Metalloid extension: the soft-max cross entropy of logits against class labels, with its gradient in the same pass.
///
///     p[i,j] = exp(x[i,j]) / sum over k of exp(x[i,k])
///     t[i,j] = (1 - labelSmoothing) * (j == label[i] ? 1 : 0) + labelSmoothing / C
///     loss[i]    = -weight * sum over j of t[i,j] * ln p[i,j]            terms with t = 0 count 0
///     correct[i] = 1 where the largest of x[i,...] is that of the label, else 0
///     dx[i,j]    = weight * (p[i,j] - t[i,j])
///
/// x: N x C at sourceMatrixOrigin, dx at resultMatrixOrigin; loss and correct have one element a row;
/// N = min(sourceRows, sourceMatrix.rows - sourceMatrixOrigin.x),
/// C = min(sourceColumns, sourceMatrix.columns - sourceMatrixOrigin.y) is the number of classes.
/// The gradient of the batch's mean loss is weight = 1 / N. Of equal largest logits the first counts, and NaN counts as
/// smaller than every number, as in `MatrixFindTopK`. Matrices are float32, float16 or bFloat16, of one type; loss and
/// correct have that type or float32; labels are uInt32. The gradient may be written over the logits. In a batch of
/// matrices one label vector serves all, or vector k goes with matrix k; there must be one vector of losses and of
/// correct for each matrix.
///
/// Labels are known at execution only: one that is not below C fails the command buffer with an Error (invalidArgument)
/// that names the row, the label and C, and nothing of this kernel is written.
///
/// The formulas are those of MPSCNNLoss with CNNLossType softMaxCrossEntropy, numberOfClasses = C and no reduction.
class MatrixSoftMaxCrossEntropy : public MatrixUnaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixSoftMaxCrossEntropy(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixSoftMaxCrossEntropy(Unarchiver& coder, const Device& device);

  std::size_t sourceRows = all;     ///< Most rows processed. Default all.
  std::size_t sourceColumns = all;  ///< Most columns processed, and so most classes. Default all.
  float weight = 1;                 ///< Factor on losses and gradient. Default 1.
  float labelSmoothing = 0;         ///< Share of the label spread over all classes, in [0, 1]. Default 0.

  /// The operands of `encode`; at least one result must be given, and those that are nil are not computed.
  struct Arguments {
    Matrix sourceMatrix;               ///< x, the logits, at sourceMatrixOrigin.
    Vector labelVector;                ///< The class of each row, uInt32, at least N elements.
    Vector resultLossVector = {};      ///< loss, at least N elements.
    Vector resultCorrectVector = {};   ///< correct, at least N elements.
    Matrix resultGradientMatrix = {};  ///< dx, at resultMatrixOrigin.
  };
  using MatrixUnaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit, when no result is given
  /// and when labelSmoothing is outside [0, 1].
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixSoftMaxCrossEntropy copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;
};

}  // namespace metalloid
