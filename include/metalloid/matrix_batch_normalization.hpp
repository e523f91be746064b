#pragma once

#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/neuron_settings.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <limits>

namespace metalloid {

/// Batch normalization with its neuron: rows are samples, columns are channels, statistics are per column.
///
///     s[j]   = 1 / sqrt(variance[j] + epsilon)
///     y[i,j] = f(gamma[j] * (x[i,j] - mean[j]) * s[j] + beta[j])        x: N x C, y: N x C
///
/// With `computeStatistics` the mean and the biased variance (divided by N, without epsilon) of the region are computed
/// first and written to meanVector and varianceVector; otherwise both are inputs. There is no running average.
/// x lies at sourceMatrixOrigin, y at resultMatrixOrigin; N = min(sourceNumberOfFeatureVectors, rows from the origin
/// on), C = min(sourceInputFeatureChannels, columns from the origin on). Matrices are float32, float16 or bFloat16,
/// both of one type; vectors have that type or float32 and at least C elements. The result may be the input. Source:
/// MPSMatrixBatchNormalization.
class MatrixBatchNormalization : public MatrixUnaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixBatchNormalization(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixBatchNormalization(Unarchiver& coder, const Device& device);

  std::size_t sourceNumberOfFeatureVectors = all;     ///< Most rows processed. Default all.
  std::size_t sourceInputFeatureChannels = all;       ///< Most columns processed. Default all.
  float epsilon = std::numeric_limits<float>::min();  ///< Added to the variance. Default FLT_MIN.
  bool computeStatistics = false;                     ///< Whether mean and variance are computed here. Default false.

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
    Matrix inputMatrix;       ///< x, at sourceMatrixOrigin.
    Vector meanVector;        ///< Read, or written when computeStatistics.
    Vector varianceVector;    ///< Read, or written when computeStatistics.
    Vector gammaVector = {};  ///< nil means 1.
    Vector betaVector = {};   ///< nil means 0.
    Matrix resultMatrix;      ///< y, at resultMatrixOrigin.
  };
  using MatrixUnaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixBatchNormalization copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

/// The gradient of `MatrixBatchNormalization`, through its neuron, with respect to data, gamma and beta.
///
///     xhat[i,j]  = (x[i,j] - mean[j]) / sqrt(variance[j] + epsilon)
///     g[i,j]     = dy[i,j] * f'(gamma[j] * xhat[i,j] + beta[j])
///     dbeta[j]   = sum over i of g[i,j]
///     dgamma[j]  = sum over i of g[i,j] * xhat[i,j]
///     dx[i,j]    = gamma[j] / sqrt(variance[j] + epsilon) * (g[i,j] - dbeta[j]/N - xhat[i,j] * dgamma[j]/N)
///
/// dy: N x C at primarySourceMatrixOrigin, x at secondarySourceMatrixOrigin, dx at resultMatrixOrigin; N and C are the
/// smallest of the limits and what both sources have. Mean and variance are those of the forward pass; the formula is
/// the same when they are not the batch's own. Types as in `MatrixBatchNormalization`; dx may be dy or x. Results are
/// overwritten. Source: MPSMatrixBatchNormalizationGradient.
class MatrixBatchNormalizationGradient : public MatrixBinaryKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit MatrixBatchNormalizationGradient(const Device& device);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  MatrixBatchNormalizationGradient(Unarchiver& coder, const Device& device);

  std::size_t sourceNumberOfFeatureVectors = all;     ///< Most rows processed. Default all.
  std::size_t sourceInputFeatureChannels = all;       ///< Most columns processed. Default all.
  float epsilon = std::numeric_limits<float>::min();  ///< The forward kernel's epsilon. Default FLT_MIN.

  /// As `MatrixBatchNormalization::setNeuronType`.
  void setNeuronType(CNNNeuronType type);
  /// As `MatrixBatchNormalization::setNeuronType`.
  void setNeuronType(CNNNeuronType type, float parameterA, float parameterB = 0, float parameterC = 0);
  CNNNeuronType neuronType() const { return neuron_.type(); }  ///< Default none.
  float neuronParameterA() const { return neuron_.a(); }       ///< The neuron's a.
  float neuronParameterB() const { return neuron_.b(); }       ///< The neuron's b.
  float neuronParameterC() const { return neuron_.c(); }       ///< The neuron's c.

  /// The operands of `encode`.
  struct Arguments {
    Matrix gradientMatrix;                     ///< dy, at primarySourceMatrixOrigin.
    Matrix inputMatrix;                        ///< x, at secondarySourceMatrixOrigin.
    Vector meanVector;                         ///< The forward pass' mean.
    Vector varianceVector;                     ///< The forward pass' variance.
    Vector gammaVector = {};                   ///< nil means 1.
    Vector betaVector = {};                    ///< nil means 0.
    Matrix resultGradientForDataMatrix;        ///< dx, at resultMatrixOrigin.
    Vector resultGradientForGammaVector = {};  ///< dgamma; nil: not wanted.
    Vector resultGradientForBetaVector = {};   ///< dbeta; nil: not wanted.
  };
  using MatrixBinaryKernel::encode;
  /// Records the kernel. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const Arguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  MatrixBatchNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

}  // namespace metalloid
