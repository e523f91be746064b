#pragma once

#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/neuron_settings.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>

namespace metalloid {

/// A fully connected layer with its neuron.
///
///     y[i,o] = f(alpha * sum over k of x[i,k] * W[k,o] + b[o])        x: N x I, W: I x O, b: O, y: N x O
///
/// x lies at primarySourceMatrixOrigin, W at secondarySourceMatrixOrigin, y at resultMatrixOrigin;
/// N = min(sourceNumberOfFeatureVectors, input rows), I = min(sourceInputFeatureChannels, input columns, weight rows),
/// O = min(sourceOutputFeatureChannels, weight columns), all counted from the origins on.
/// Matrices are float32, float16 or bFloat16, all of one type; the bias has that type or float32. Products accumulate
/// in float32 or better; with I = 0 they are 0 and y = f(b). The result must not overlap a source.
/// Source: MPSMatrixFullyConnected.
class MatrixFullyConnected : public MatrixBinaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixFullyConnected(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixFullyConnected(Unarchiver& coder, const Device& device);

  std::size_t sourceNumberOfFeatureVectors = all;  ///< Most rows of x processed. Default all.
  std::size_t sourceInputFeatureChannels = all;    ///< Most columns of x, rows of W. Default all.
  std::size_t sourceOutputFeatureChannels = all;   ///< Most columns of W and y. Default all.
  double alpha = 1.0;                              ///< Factor on the product, not on the bias. Default 1.

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
    Matrix inputMatrix;      ///< x, at primarySourceMatrixOrigin.
    Matrix weightMatrix;     ///< W, at secondarySourceMatrixOrigin.
    Vector biasVector = {};  ///< b, at least O elements; nil means 0.
    Matrix resultMatrix;     ///< y, at resultMatrixOrigin.
  };
  using MatrixBinaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixFullyConnected copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

/// The gradients of `MatrixFullyConnected` without a neuron; chain `MatrixNeuronGradient` before it for one.
///
///     dx[i,k] = alpha * sum over o of dy[i,o] * W[k,o]        N x I
///     dW[k,o] = alpha * sum over i of x[i,k] * dy[i,o]        I x O
///     db[o]   =         sum over i of dy[i,o]                 O, without alpha
///
/// dy lies at primarySourceMatrixOrigin; W (for data) or x (for weights) at secondarySourceMatrixOrigin; dx or dW at
/// resultMatrixOrigin. Sizes are the smallest of the limits and what the sources have from their origins on. One object
/// used for both encodes shares its origins between them. Types as in `MatrixFullyConnected`. Results are overwritten,
/// never accumulated, and must not overlap a source; with N = 0 they are 0. Source: MPSMatrixFullyConnectedGradient.
class MatrixFullyConnectedGradient : public MatrixBinaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixFullyConnectedGradient(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixFullyConnectedGradient(Unarchiver& coder, const Device& device);

  std::size_t sourceNumberOfFeatureVectors = all;  ///< Most rows of dy and x, N. Default all.
  std::size_t sourceInputFeatureChannels = all;    ///< Most input channels, I. Default all.
  std::size_t sourceOutputFeatureChannels = all;   ///< Most output channels, O. Default all.
  double alpha = 1.0;                              ///< The forward kernel's alpha. Default 1.

  /// The operands of `encodeForData`.
  struct DataArguments {
    Matrix gradientMatrix;               ///< dy, at primarySourceMatrixOrigin.
    Matrix weightMatrix;                 ///< W, at secondarySourceMatrixOrigin.
    Matrix resultGradientForDataMatrix;  ///< dx, at resultMatrixOrigin.
  };
  /// Records dx. @throws Error (invalidArgument) naming the operand that does not fit.
  void encodeForData(CommandBuffer& commandBuffer, const DataArguments& arguments) const;

  /// The operands of `encodeForWeightsAndBias`.
  struct WeightsAndBiasArguments {
    Matrix gradientMatrix;                    ///< dy, at primarySourceMatrixOrigin.
    Matrix inputMatrix;                       ///< x, at secondarySourceMatrixOrigin.
    Matrix resultGradientForWeightMatrix;     ///< dW, at resultMatrixOrigin.
    Vector resultGradientForBiasVector = {};  ///< db, at least O elements; nil: not computed.
  };
  /// Records dW and db. @throws Error (invalidArgument) naming the operand that does not fit.
  void encodeForWeightsAndBias(CommandBuffer& commandBuffer, const WeightsAndBiasArguments& arguments) const;

  using MatrixBinaryKernel::encode;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixFullyConnectedGradient copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
