#pragma once

#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/neuron_settings.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <span>

namespace metalloid {

/// A neuron function on every element of a matrix.
///
///     y[i,j] = f(alpha * x[i,j] + b[j])        x: N x C at sourceMatrixOrigin, y: N x C at resultMatrixOrigin, b: C
///
/// N = min(sourceNumberOfFeatureVectors, inputMatrix.rows - sourceMatrixOrigin.x),
/// C = min(sourceInputFeatureChannels, inputMatrix.columns - sourceMatrixOrigin.y).
/// Matrices are float32, float16 or bFloat16, all of one type; the bias has that type or float32. The result may be the
/// input (same matrix, same region). Source: MPSMatrixNeuron.
class MatrixNeuron : public MatrixUnaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixNeuron(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixNeuron(Unarchiver& coder, const Device& device);

  std::size_t sourceNumberOfFeatureVectors = all;  ///< Most rows processed. Default all.
  std::size_t sourceInputFeatureChannels = all;    ///< Most columns processed. Default all.
  double alpha = 1.0;                              ///< Factor on the input, before the bias. Default 1.

  /// The neuron with its type's documented default parameters. @throws Error (invalidArgument) for PReLU and unknown
  /// types.
  void setNeuronType(CNNNeuronType type);
  /// The neuron with its parameters; those that the type does not use are ignored.
  /// @throws Error (invalidArgument) for PReLU, unknown types and parameters without a meaning (docs/semantics.md).
  void setNeuronType(CNNNeuronType type, float parameterA, float parameterB = 0, float parameterC = 0);
  /// PReLU with slope parametersA[j] for column j, copied; at encode there must be exactly C of them.
  /// @throws Error (invalidArgument) when there is none or one is NaN.
  void setNeuronToPReLU(std::span<const float> parametersA);
  CNNNeuronType neuronType() const { return neuron_.type(); }  ///< Default none.
  float neuronParameterA() const { return neuron_.a(); }       ///< The neuron's a.
  float neuronParameterB() const { return neuron_.b(); }       ///< The neuron's b.
  float neuronParameterC() const { return neuron_.c(); }       ///< The neuron's c.

  /// The operands of `encode`.
  struct Arguments {
    Matrix inputMatrix;      ///< x, at sourceMatrixOrigin.
    Vector biasVector = {};  ///< b, at least C elements; nil means 0.
    Matrix resultMatrix;     ///< y, at resultMatrixOrigin.
  };
  using MatrixUnaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixNeuron copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

/// The gradient of `MatrixNeuron`, with respect to its data and its bias.
///
///     z[i,j]  = alpha * x[i,j] + b[j]          x is the forward input, not its output
///     dx[i,j] = alpha * dy[i,j] * f'(z[i,j])
///     db[j]   = sum over i of dy[i,j] * f'(z[i,j])          (without alpha)
///
/// dy: N x C at primarySourceMatrixOrigin, x: N x C at secondarySourceMatrixOrigin, dx at resultMatrixOrigin;
/// N and C are the smallest of the limits and what both sources have. Settings must equal the forward kernel's. There
/// is no gradient for the slopes of a PReLU. Types as in `MatrixNeuron`; dx may be dy or x. Results are overwritten,
/// never accumulated. Values of f' at kinks: docs/semantics.md. Source: MPSMatrixNeuronGradient.
class MatrixNeuronGradient : public MatrixBinaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixNeuronGradient(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixNeuronGradient(Unarchiver& coder, const Device& device);

  std::size_t sourceNumberOfFeatureVectors = all;  ///< Most rows processed. Default all.
  std::size_t sourceInputFeatureChannels = all;    ///< Most columns processed. Default all.
  double alpha = 1.0;                              ///< The forward kernel's alpha. Default 1.

  /// As `MatrixNeuron::setNeuronType`.
  void setNeuronType(CNNNeuronType type);
  /// As `MatrixNeuron::setNeuronType`.
  void setNeuronType(CNNNeuronType type, float parameterA, float parameterB = 0, float parameterC = 0);
  /// As `MatrixNeuron::setNeuronToPReLU`.
  void setNeuronToPReLU(std::span<const float> parametersA);
  CNNNeuronType neuronType() const { return neuron_.type(); }  ///< Default none.
  float neuronParameterA() const { return neuron_.a(); }       ///< The neuron's a.
  float neuronParameterB() const { return neuron_.b(); }       ///< The neuron's b.
  float neuronParameterC() const { return neuron_.c(); }       ///< The neuron's c.

  /// The operands of `encode`.
  struct Arguments {
    Matrix gradientMatrix;                    ///< dy, at primarySourceMatrixOrigin.
    Matrix inputMatrix;                       ///< x, at secondarySourceMatrixOrigin.
    Vector biasVector = {};                   ///< b, at least C elements; nil means 0.
    Matrix resultGradientForDataMatrix;       ///< dx, at resultMatrixOrigin.
    Vector resultGradientForBiasVector = {};  ///< db, at least C elements; nil: not computed.
  };
  using MatrixBinaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixNeuronGradient copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

}  // namespace metalloid
