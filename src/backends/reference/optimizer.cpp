#include "operations/optimizer.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <algorithm>
#include <cmath>

namespace metalloid::reference {
namespace {

using operations::GradientPreprocessing;
using operations::MatrixView;

double regularization(const GradientPreprocessing& p, double w) {
  switch (p.regularization) {
    case GradientPreprocessing::Regularization::none:
      return 0;
    case GradientPreprocessing::Regularization::l1:
      return static_cast<double>(p.regularizationScale) * ((w > 0 ? 1 : 0) - (w < 0 ? 1 : 0));
    case GradientPreprocessing::Regularization::l2:
      return static_cast<double>(p.regularizationScale) * w;
  }
  return 0;
}

/// g of an element; w is its value before the update.
double preprocessed(const GradientPreprocessing& p, double gradient, double w) {
  if (p.clip) {
    // In this order of arguments both give a NaN gradient back.
    gradient = std::min(std::max(gradient, static_cast<double>(p.clipMinimum)), static_cast<double>(p.clipMaximum));
  }
  return static_cast<double>(p.rescale) * gradient + regularization(p, w);
}

/// One element of an operand that is read and overwritten; an optional one that was not given reads as 0.
class State {
 public:
  State(const MatrixView& view, std::size_t i, std::size_t j) : view_(view), i_(i), j_(j) {}

  double value() const { return view_ ? at(view_, i_, j_) : 0; }
  void set(double value) const {
    if (view_) reference::set(view_, i_, j_, value);
  }

 private:
  const MatrixView& view_;
  std::size_t i_, j_;
};

/// For each element: result = w - step(w, g, state...).
template <class Step, class... Views>
void forEachElement(const operations::OptimizerOperands& operands, const GradientPreprocessing& p, Step step,
                    const Views&... views) {
  for (std::size_t k = 0; k < operands.values.matrices; ++k) {
    const auto update = [&, gradient = operands.gradient.matrix(k), values = operands.values.matrix(k),
                         result = operands.result.matrix(k)](const auto&... states) {
      for (std::size_t i = 0; i < values.rows; ++i) {
        for (std::size_t j = 0; j < values.columns; ++j) {
          const double w = at(values, i, j);
          const double g = preprocessed(p, at(gradient, i, j), w);
          set(result, i, j, w - step(g, State(states, i, j)...));
        }
      }
    };
    update(views.matrix(k)...);
  }
}

}  // namespace

void run(const operations::OptimizerStochasticGradientDescent& operation) {
  const double rate = static_cast<double>(operation.preprocessing.learningRate);
  const double mu = static_cast<double>(operation.momentumScale);
  const auto step = [&](double g, State momentum) {
    if (!operation.momentum) return rate * g;
    const bool nesterov = operation.useNesterovMomentum;
    const double m = mu * momentum.value() + (nesterov ? g : rate * g);
    momentum.set(m);
    return nesterov ? rate * (g + mu * m) : m;
  };
  forEachElement(operation.operands, operation.preprocessing, step, operation.momentum);
}

void run(const operations::OptimizerRMSProp& operation) {
  const double rate = static_cast<double>(operation.preprocessing.learningRate);
  const double epsilon = static_cast<double>(operation.epsilon);
  const auto step = [&](double g, State sumOfSquares) {
    const double s = operation.decay * sumOfSquares.value() + (1 - operation.decay) * g * g;
    sumOfSquares.set(s);
    return rate * g / (std::sqrt(s) + epsilon);
  };
  forEachElement(operation.operands, operation.preprocessing, step, operation.sumOfSquares);
}

void run(const operations::OptimizerAdam& operation) {
  const double rate = static_cast<double>(operation.correctedLearningRate);
  const double epsilon = static_cast<double>(operation.epsilon);
  const auto step = [&](double g, State momentum, State velocity, State maximumVelocity) {
    const double m = operation.beta1 * momentum.value() + (1 - operation.beta1) * g;
    const double v = operation.beta2 * velocity.value() + (1 - operation.beta2) * g * g;
    const double vmax = operation.maximumVelocity ? std::max(maximumVelocity.value(), v) : v;
    momentum.set(m);
    velocity.set(v);
    maximumVelocity.set(vmax);
    return rate * m / (std::sqrt(vmax) + epsilon);
  };
  forEachElement(operation.operands, operation.preprocessing, step, operation.momentum, operation.velocity,
                 operation.maximumVelocity);
}

}  // namespace metalloid::reference
