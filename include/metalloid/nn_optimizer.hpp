#pragma once

#include <metalloid/cnn_batch_normalization_state.hpp>
#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace metalloid {

/// What is added to the gradient of a parameter w. Source: MPSNNRegularizationType.
enum class NNRegularizationType : std::uint64_t {
  None = 0,  ///< Nothing.
  L1 = 1,    ///< regularizationScale * sign(w), where sign(0) = 0.
  L2 = 2,    ///< regularizationScale * w.
};

/// What every optimizer has. Source: MPSNNOptimizerDescriptor.
struct NNOptimizerDescriptor {
  float learningRate = 0.001f;         ///< Default 0.001.
  float gradientRescale = 1;           ///< Factor on the gradient, after clipping. Default 1.
  bool applyGradientClipping = false;  ///< Whether gradients are clipped, before rescaling. Default false.
  float gradientClipMax = std::numeric_limits<float>::infinity();        ///< Upper bound. Default +infinity.
  float gradientClipMin = -std::numeric_limits<float>::infinity();       ///< Lower bound. Default -infinity.
  NNRegularizationType regularizationType = NNRegularizationType::None;  ///< Default None.
  float regularizationScale = 0;                                         ///< Default 0.
  friend bool operator==(const NNOptimizerDescriptor&, const NNOptimizerDescriptor&) = default;
};

/// Base of the optimizers, which update parameters w from their gradients. Source: MPSNNOptimizer.
///
/// Every optimizer first makes of each element of the gradient
///
///     g1 = applyGradientClipping ? min(max(gradient, gradientClipMin), gradientClipMax) : gradient
///     g  = gradientRescale * g1 + R,      R = 0, regularizationScale * sign(w) or regularizationScale * w
///
/// where w is the value before the update; R is neither clipped nor rescaled, and a NaN stays NaN. An encode updates
/// all elements of all matrices or vectors, which must be of one size. Every operand is float32, float16 or bFloat16
/// for itself; state is best kept in float32. Values are read from inputValues and written to resultValues, which may
/// be the same object; no other operands may overlap. State operands, though named input, are read and overwritten; the
/// caller makes them 0 before the first update, which new matrices and vectors are.
///
/// The forms that take states update weights and biases, or gamma and beta, in one encode. Arrays of state operands
/// hold one for the weights and one for the biases; with the first alone the biases keep their values. A layer without
/// biases has none to update. `resultState` may be the source state. These encodes are a read of temporary gradient and
/// source states.
class NNOptimizer : public Kernel {
 public:
  bool applyGradientClipping;  ///< Whether gradients are clipped. Default the descriptor's.

  float learningRate() const { return descriptor_.learningRate; }        ///< The learning rate.
  float gradientRescale() const { return descriptor_.gradientRescale; }  ///< Factor on the clipped gradient.
  float gradientClipMax() const { return descriptor_.gradientClipMax; }  ///< Upper bound of the gradient.
  float gradientClipMin() const { return descriptor_.gradientClipMin; }  ///< Lower bound of the gradient.
  NNRegularizationType regularizationType() const { return descriptor_.regularizationType; }  ///< Kind of R.
  float regularizationScale() const { return descriptor_.regularizationScale; }               ///< Scale of R.

  /// The rate of later encodes. @throws Error (invalidArgument) for NaN and infinity.
  void setLearningRate(float newLearningRate);

 protected:
  /// @throws Error (invalidArgument) for a nil device, NaN, an infinite rate or factor, clipMin above clipMax, and an
  /// unknown regularization.
  NNOptimizer(const Device& device, std::string_view className, const NNOptimizerDescriptor& descriptor);
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  NNOptimizerDescriptor descriptor_;  // clipping is switched by the public member alone
};

/// Stochastic gradient descent, with momentum where the caller gives a place for it.
///
///     momentum, plain:     m = momentumScale * m + learningRate * g      w = w - m
///     momentum, Nesterov:  m = momentumScale * m + g                     w = w - learningRate * (g + momentumScale *
///     m) no momentum:         w = w - learningRate * g
///
/// The learning rate is inside a plain m and outside a Nesterov one: the stored m of one does not serve the other.
/// Apple's spelling "Nestrov" exists beside Nesterov for reading. Source: MPSNNOptimizerStochasticGradientDescent.
class NNOptimizerStochasticGradientDescent : public NNOptimizer {
 public:
  /// What the optimizer is made with.
  struct Descriptor {
    float momentumScale = 0;                         ///< Factor on the momentum. Default 0.
    bool useNesterovMomentum = false;                ///< Default false.
    NNOptimizerDescriptor optimizerDescriptor = {};  ///< What every optimizer has.
  };

  /// No momentum and defaults for the rest. @throws Error (invalidArgument) as the other constructor.
  NNOptimizerStochasticGradientDescent(const Device& device, float learningRate);

  /// @throws Error (invalidArgument) for a nil device and for numbers without a meaning (see NNOptimizer).
  NNOptimizerStochasticGradientDescent(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNOptimizerStochasticGradientDescent(Unarchiver& coder, const Device& device);

  float momentumScale() const { return momentumScale_; }             ///< Factor on the momentum.
  bool useNesterovMomentum() const { return useNesterovMomentum_; }  ///< Which form of momentum.
  bool useNestrovMomentum() const { return useNesterovMomentum(); }  ///< The same, as Apple spells it.

  /// The operands of `encode` for vectors.
  struct VectorArguments {
    Vector inputGradientVector;       ///< The gradient, not modified.
    Vector inputValuesVector;         ///< w before the update.
    Vector inputMomentumVector = {};  ///< m, updated; nil: no momentum, whatever the settings.
    Vector resultValuesVector;        ///< w after the update; may be inputValuesVector.
  };
  /// The operands of `encode` for matrices.
  struct MatrixArguments {
    Matrix inputGradientMatrix;       ///< The gradient, not modified.
    Matrix inputValuesMatrix;         ///< w before the update.
    Matrix inputMomentumMatrix = {};  ///< m, updated; nil: no momentum, whatever the settings.
    Matrix resultValuesMatrix;        ///< w after the update; may be inputValuesMatrix.
  };
  /// The operands of `encode` for the states of a convolution.
  struct ConvolutionArguments {
    CNNConvolutionGradientState convolutionGradientState;        ///< The gradients, not modified.
    CNNConvolutionWeightsAndBiasesState convolutionSourceState;  ///< Weights and biases before the update.
    std::vector<Vector> inputMomentumVectors = {};               ///< m, updated; empty: no momentum.
    CNNConvolutionWeightsAndBiasesState resultState;             ///< After it; may be convolutionSourceState.
  };
  /// The operands of `encode` for the state of a batch normalization.
  struct BatchNormalizationArguments {
    CNNBatchNormalizationState batchNormalizationState;  ///< gamma and beta before the update, and their gradients.
    std::vector<Vector> inputMomentumVectors = {};       ///< m, updated; empty: no momentum.
    CNNNormalizationGammaAndBetaState resultState;       ///< After it; may have the same vectors.
  };
  /// The same with the gradients in one state and gamma and beta in another.
  struct BatchNormalizationSourceArguments {
    CNNBatchNormalizationState batchNormalizationGradientState;  ///< The gradients, not modified.
    CNNBatchNormalizationState batchNormalizationSourceState;    ///< gamma and beta before the update.
    std::vector<Vector> inputMomentumVectors = {};               ///< m, updated; empty: no momentum.
    CNNNormalizationGammaAndBetaState resultState;               ///< After it; may have the same vectors.
  };
  using NNOptimizer::encode;
  /// Records the update. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const VectorArguments& arguments) const;
  /// Records the update. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments) const;
  /// Records both updates. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const ConvolutionArguments& arguments) const;
  /// Records both updates. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const BatchNormalizationArguments& arguments) const;
  /// As above.
  void encode(CommandBuffer& commandBuffer, const BatchNormalizationSourceArguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNOptimizerStochasticGradientDescent copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  float momentumScale_ = 0;
  bool useNesterovMomentum_ = false;
};

/// RMSProp, not centred and without momentum.
///
///     s = decay * s + (1 - decay) * g^2
///     w = w - learningRate * g / (sqrt(s) + epsilon)
///
/// Source: MPSNNOptimizerRMSProp.
class NNOptimizerRMSProp : public NNOptimizer {
 public:
  /// What the optimizer is made with.
  struct Descriptor {
    double decay = 0.9;                              ///< Factor on the sum of squares, 0 to 1. Default 0.9.
    float epsilon = 1e-8f;                           ///< Added to the root, at least 0. Default 1e-8.
    NNOptimizerDescriptor optimizerDescriptor = {};  ///< What every optimizer has.
  };

  /// Defaults for the rest. @throws Error (invalidArgument) as the other constructor.
  NNOptimizerRMSProp(const Device& device, float learningRate);

  /// @throws Error (invalidArgument) for a nil device and for numbers without a meaning (see NNOptimizer).
  NNOptimizerRMSProp(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNOptimizerRMSProp(Unarchiver& coder, const Device& device);

  double decay() const { return decay_; }     ///< Factor on the sum of squares.
  float epsilon() const { return epsilon_; }  ///< Added to the root.

  /// The operands of `encode` for vectors.
  struct VectorArguments {
    Vector inputGradientVector;      ///< The gradient, not modified.
    Vector inputValuesVector;        ///< w before the update.
    Vector inputSumOfSquaresVector;  ///< s, updated.
    Vector resultValuesVector;       ///< w after the update; may be inputValuesVector.
  };
  /// The operands of `encode` for matrices.
  struct MatrixArguments {
    Matrix inputGradientMatrix;      ///< The gradient, not modified.
    Matrix inputValuesMatrix;        ///< w before the update.
    Matrix inputSumOfSquaresMatrix;  ///< s, updated.
    Matrix resultValuesMatrix;       ///< w after the update; may be inputValuesMatrix.
  };
  /// The operands of `encode` for the states of a convolution.
  struct ConvolutionArguments {
    CNNConvolutionGradientState convolutionGradientState;        ///< The gradients, not modified.
    CNNConvolutionWeightsAndBiasesState convolutionSourceState;  ///< Weights and biases before the update.
    std::vector<Vector> inputSumOfSquaresVectors;                ///< s, updated.
    CNNConvolutionWeightsAndBiasesState resultState;             ///< After it; may be convolutionSourceState.
  };
  /// The operands of `encode` for the state of a batch normalization.
  struct BatchNormalizationArguments {
    CNNBatchNormalizationState batchNormalizationState;  ///< gamma and beta before the update, and their gradients.
    std::vector<Vector> inputSumOfSquaresVectors;        ///< s, updated.
    CNNNormalizationGammaAndBetaState resultState;       ///< After it; may have the same vectors.
  };
  /// The same with the gradients in one state and gamma and beta in another.
  struct BatchNormalizationSourceArguments {
    CNNBatchNormalizationState batchNormalizationGradientState;  ///< The gradients, not modified.
    CNNBatchNormalizationState batchNormalizationSourceState;    ///< gamma and beta before the update.
    std::vector<Vector> inputSumOfSquaresVectors;                ///< s, updated.
    CNNNormalizationGammaAndBetaState resultState;               ///< After it; may have the same vectors.
  };
  using NNOptimizer::encode;
  /// Records the update. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const VectorArguments& arguments) const;
  /// Records the update. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments) const;
  /// Records both updates. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const ConvolutionArguments& arguments) const;
  /// Records both updates. @throws Error (invalidArgument) naming the operand that does not fit.
  void encode(CommandBuffer& commandBuffer, const BatchNormalizationArguments& arguments) const;
  /// As above.
  void encode(CommandBuffer& commandBuffer, const BatchNormalizationSourceArguments& arguments) const;

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNOptimizerRMSProp copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  double decay_ = 0.9;
  float epsilon_ = 1e-8f;
};

/// Adam and, where the caller gives a place for the maximum velocity, AMSGrad.
///
///     t = t + 1
///     rate = learningRate * sqrt(1 - beta2^t) / (1 - beta1^t)
///     m = beta1 * m + (1 - beta1) * g
///     v = beta2 * v + (1 - beta2) * g^2
///     Adam:     w = w - rate * m / (sqrt(v) + epsilon)
///     AMSGrad:  vmax = max(vmax, v),  w = w - rate * m / (sqrt(vmax) + epsilon)
///
/// t is `timeStep`, advanced by every encode: an object that updates K parameters a training step counts K, unless it
/// is set back between them; one object a parameter is simplest. epsilon is added before the correction of the bias,
/// the "epsilon-hat" form of the paper; regularization is part of g, not decoupled weight decay. Source:
/// MPSNNOptimizerAdam.
class NNOptimizerAdam : public NNOptimizer {
 public:
  /// What the optimizer is made with.
  struct Descriptor {
    double beta1 = 0.9;                              ///< Decay of the momentum, 0 <= beta1 < 1. Default 0.9.
    double beta2 = 0.999;                            ///< Decay of the velocity, 0 <= beta2 < 1. Default 0.999.
    float epsilon = 1e-8f;                           ///< Added to the root, at least 0. Default 1e-8.
    std::size_t timeStep = 0;                        ///< Updates made before. Default 0.
    NNOptimizerDescriptor optimizerDescriptor = {};  ///< What every optimizer has.
  };

  /// Defaults for the rest. @throws Error (invalidArgument) as the other constructor.
  NNOptimizerAdam(const Device& device, float learningRate);

  /// @throws Error (invalidArgument) for a nil device and for numbers without a meaning (see NNOptimizer).
  NNOptimizerAdam(const Device& device, const Descriptor& descriptor);

  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  NNOptimizerAdam(Unarchiver& coder, const Device& device);

  std::size_t timeStep = 0;  ///< The number of updates encoded so far.

  double beta1() const { return beta1_; }     ///< Decay of the momentum.
  double beta2() const { return beta2_; }     ///< Decay of the velocity.
  float epsilon() const { return epsilon_; }  ///< Added to the root.

  /// The operands of `encode` for vectors.
  struct VectorArguments {
    Vector inputGradientVector;         ///< The gradient, not modified.
    Vector inputValuesVector;           ///< w before the update.
    Vector inputMomentumVector;         ///< m, updated.
    Vector inputVelocityVector;         ///< v, updated.
    Vector maximumVelocityVector = {};  ///< vmax, updated; nil: plain Adam.
    Vector resultValuesVector;          ///< w after the update; may be inputValuesVector.
  };
  /// The operands of `encode` for matrices.
  struct MatrixArguments {
    Matrix inputGradientMatrix;         ///< The gradient, not modified.
    Matrix inputValuesMatrix;           ///< w before the update.
    Matrix inputMomentumMatrix;         ///< m, updated.
    Matrix inputVelocityMatrix;         ///< v, updated.
    Matrix maximumVelocityMatrix = {};  ///< vmax, updated; nil: plain Adam.
    Matrix resultValuesMatrix;          ///< w after the update; may be inputValuesMatrix.
  };
  /// The operands of `encode` for the states of a convolution.
  struct ConvolutionArguments {
    CNNConvolutionGradientState convolutionGradientState;        ///< The gradients, not modified.
    CNNConvolutionWeightsAndBiasesState convolutionSourceState;  ///< Weights and biases before the update.
    std::vector<Vector> inputMomentumVectors;                    ///< m, updated.
    std::vector<Vector> inputVelocityVectors;                    ///< v, updated.
    std::vector<Vector> maximumVelocityVectors = {};             ///< vmax, updated; empty: plain Adam.
    CNNConvolutionWeightsAndBiasesState resultState;             ///< After it; may be convolutionSourceState.
  };
  /// The operands of `encode` for the state of a batch normalization.
  struct BatchNormalizationArguments {
    CNNBatchNormalizationState batchNormalizationState;  ///< gamma and beta before the update, and their gradients.
    std::vector<Vector> inputMomentumVectors;            ///< m, updated.
    std::vector<Vector> inputVelocityVectors;            ///< v, updated.
    std::vector<Vector> maximumVelocityVectors = {};     ///< vmax, updated; empty: plain Adam.
    CNNNormalizationGammaAndBetaState resultState;       ///< After it; may have the same vectors.
  };
  /// The same with the gradients in one state and gamma and beta in another.
  struct BatchNormalizationSourceArguments {
    CNNBatchNormalizationState batchNormalizationGradientState;  ///< The gradients, not modified.
    CNNBatchNormalizationState batchNormalizationSourceState;    ///< gamma and beta before the update.
    std::vector<Vector> inputMomentumVectors;                    ///< m, updated.
    std::vector<Vector> inputVelocityVectors;                    ///< v, updated.
    std::vector<Vector> maximumVelocityVectors = {};             ///< vmax, updated; empty: plain Adam.
    CNNNormalizationGammaAndBetaState resultState;               ///< After it; may have the same vectors.
  };
  using NNOptimizer::encode;
  /// Records the update and advances `timeStep`. @throws Error (invalidArgument) naming the operand that does not fit;
  /// `timeStep` then stays.
  void encode(CommandBuffer& commandBuffer, const VectorArguments& arguments);
  /// Records the update and advances `timeStep`. @throws Error (invalidArgument) naming the operand that does not fit;
  /// `timeStep` then stays.
  void encode(CommandBuffer& commandBuffer, const MatrixArguments& arguments);
  /// Records both updates and advances `timeStep` once. @throws Error (invalidArgument) naming the operand that does
  /// not fit; `timeStep` then stays.
  void encode(CommandBuffer& commandBuffer, const ConvolutionArguments& arguments);
  /// Records both updates and advances `timeStep` once. @throws Error (invalidArgument) naming the operand that does
  /// not fit; `timeStep` then stays.
  void encode(CommandBuffer& commandBuffer, const BatchNormalizationArguments& arguments);
  /// As above.
  void encode(CommandBuffer& commandBuffer, const BatchNormalizationSourceArguments& arguments);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  NNOptimizerAdam copy(const Device& device = {}) const;

 protected:
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  double beta1_ = 0.9;
  double beta2_ = 0.999;
  float epsilon_ = 1e-8f;
};

}  // namespace metalloid
