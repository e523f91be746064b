#pragma once

#include "operations/views.hpp"

namespace metalloid::operations {

/// What every optimizer does to a gradient first: clip, rescale, add the regularization of the value before the update.
struct GradientPreprocessing {
  float learningRate = 0.001f;
  float rescale = 1;
  bool clip = false;
  float clipMaximum = 0, clipMinimum = 0;
  enum class Regularization { none, l1, l2 } regularization = Regularization::none;
  float regularizationScale = 0;

  friend bool operator==(const GradientPreprocessing&, const GradientPreprocessing&) = default;
};

/// Operands of one update, all of one size; vectors are matrices of one row. `result` may be `values`.
struct OptimizerOperands {
  MatrixView gradient;
  MatrixView values;
  MatrixView result;

  friend bool operator==(const OptimizerOperands&, const OptimizerOperands&) = default;
};

/// momentum given, plain: m = mu*m + lr*g, w = w - m; Nesterov: m = mu*m + g, w = w - lr*(g + mu*m); none: w = w - lr*g
struct OptimizerStochasticGradientDescent {
  static constexpr const char* kName = "NNOptimizerStochasticGradientDescent";
  OptimizerOperands operands;
  MatrixView momentum;  // optional, updated
  GradientPreprocessing preprocessing;
  float momentumScale = 0;
  bool useNesterovMomentum = false;

  friend bool operator==(const OptimizerStochasticGradientDescent&,
                         const OptimizerStochasticGradientDescent&) = default;
};

/// s = decay*s + (1 - decay)*g^2, w = w - lr*g / (sqrt(s) + epsilon)
struct OptimizerRMSProp {
  static constexpr const char* kName = "NNOptimizerRMSProp";
  OptimizerOperands operands;
  MatrixView sumOfSquares;  // updated
  GradientPreprocessing preprocessing;
  double decay = 0.9;
  float epsilon = 1e-8f;

  friend bool operator==(const OptimizerRMSProp&, const OptimizerRMSProp&) = default;
};

/// m = beta1*m + (1 - beta1)*g, v = beta2*v + (1 - beta2)*g^2, vmax = max(vmax, v), w = w - lr_t * m / (sqrt(v or vmax)
/// + epsilon)
struct OptimizerAdam {
  static constexpr const char* kName = "NNOptimizerAdam";
  OptimizerOperands operands;
  MatrixView momentum;         // updated
  MatrixView velocity;         // updated
  MatrixView maximumVelocity;  // updated; optional: plain Adam
  GradientPreprocessing preprocessing;
  double beta1 = 0.9;
  double beta2 = 0.999;
  float epsilon = 1e-8f;
  float correctedLearningRate = 0;  // lr * sqrt(1 - beta2^t) / (1 - beta1^t), computed in double at encode

  friend bool operator==(const OptimizerAdam&, const OptimizerAdam&) = default;
};

}  // namespace metalloid::operations
