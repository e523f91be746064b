#pragma once

#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/neuron_settings.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <vector>

namespace metalloid {

/// The weighted sum of regions of several matrices, with bias and neuron.
///
///     S[r,c] = sum over i < count of scale[startIndex + i] * sources[i][row_i + r, column_i + c]
///                                                            r < rows, c < columns
///     T      = transpose ? S transposed : S
///     result[r,c] = f(T[r,c] + bias[c])                      at resultMatrixOrigin
///
/// row_i and column_i are elements 2 * (startIndex + i) and 2 * (startIndex + i) + 1 of the offset vector; startIndex
/// does not apply to the sources. Only the first matrix of each operand takes part. Matrices are float32, float16 or
/// bFloat16, all of one type; the bias has that type or float32, scales are float32, offsets uInt32. The result may be
/// a source (same matrix, same region) when the kernel does not transpose and no offsets are given; it must not overlap
/// one otherwise, wherever in it the offsets lead.
///
/// Offsets are known at execution only: one that leads past the end of its source fails the command buffer with an
/// Error (invalidArgument), and nothing of this kernel is written. Source: MPSMatrixSum.
class MatrixSum : public Kernel {
 public:
  /// What a kernel is made for; fixed from then on.
  struct Descriptor {
    std::size_t count = 0;    ///< Number of sources, at least 1.
    std::size_t rows = 0;     ///< Rows of each source's region.
    std::size_t columns = 0;  ///< Columns of each source's region.
    bool transpose = false;   ///< Whether the sum is transposed before bias and neuron.
  };

  /// @throws Error (invalidArgument) for a nil device and a count of 0.
  MatrixSum(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixSum(Unarchiver& coder, const Device& device);

  std::size_t count() const { return descriptor_.count; }      ///< Number of sources.
  std::size_t rows() const { return descriptor_.rows; }        ///< Rows of each source's region.
  std::size_t columns() const { return descriptor_.columns; }  ///< Columns of each source's region.
  bool transpose() const { return descriptor_.transpose; }     ///< Whether the sum is transposed.

  Origin resultMatrixOrigin;  ///< First row (x) and column (y) written. Default (0, 0, 0).

  /// The neuron with its type's documented default parameters. @throws Error (invalidArgument) for PReLU and unknown
  /// types.
  void setNeuronType(CNNNeuronType type);
  /// The neuron with its parameters; those that the type does not use are ignored.
  /// @throws Error (invalidArgument) for PReLU, unknown types and parameters without a meaning (docs/semantics.md).
  void setNeuronType(CNNNeuronType type, float parameterA, float parameterB = 0, float parameterC = 0);
  CNNNeuronType neuronType() const { return neuron_.type(); }  ///< Default none.
  float neuronParameterA() const { return neuron_.a(); }       ///< The neuron's a.
  float neuronParameterB() const { return neuron_.b(); }       ///< The neuron's b.
  float neuronParameterC() const { return neuron_.c(); }       ///< The neuron's c.

  /// The operands of `encode`.
  struct Arguments {
    std::vector<Matrix> sourceMatrices;  ///< Exactly `count` of them.
    Matrix resultMatrix;                 ///< rows x columns, or columns x rows when transposed, at resultMatrixOrigin.
    Vector scaleVector = {};             ///< startIndex + count elements, float32; nil means 1.
    Vector offsetVector = {};            ///< 2 * (startIndex + count) elements, uInt32; nil means (0, 0).
    Vector biasVector = {};              ///< One element for each column of the result; nil means 0.
    std::size_t startIndex = 0;          ///< The scale and the offset that go with the first source.
  };
  using Kernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixSum copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  Descriptor descriptor_;
  detail::NeuronSettings neuron_;
};

}  // namespace metalloid
