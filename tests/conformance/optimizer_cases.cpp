#include "conformance/cases.hpp"

#include <metalloid/nn_optimizer.hpp>

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace metalloid::conformance {
namespace {

/// Operands of one update, vectors or matrices, and what every optimizer makes of its gradient.
class Update {
 public:
  explicit Update(Trial& t) : t_(t), isVector_(t.choice()), isInPlace_(t.choice()) {
    gradient = &make("gradient", t.types().matrix, {-2, 2}, false);
    values = &make("values", t.types().matrix, {-2, 2}, false);
    result = isInPlace_ ? &t.resultOver(*values, "result") : &make("result", t.types().matrix, {}, true);

    testing::Random& random = t.random();
    descriptor.learningRate = random.coin() ? 0.1f : 0.01f;
    descriptor.gradientRescale = random.coin() ? 1.0f : 0.5f;
    descriptor.applyGradientClipping = random.coin();
    descriptor.gradientClipMax = 1.25f;
    descriptor.gradientClipMin = -1;
    constexpr NNRegularizationType kTypes[] = {NNRegularizationType::None, NNRegularizationType::L1,
                                               NNRegularizationType::L2};
    descriptor.regularizationType = kTypes[random.below(3)];
    descriptor.regularizationScale = 0.125f;
  }

  /// An operand that is read and overwritten. State is kept in the type of vectors.
  Operand& state(const char* name, Range range) {
    Operand& operand = make(name, t_.types().vector, range, false);
    return t_.resultOver(operand, "its update");
  }

  bool isVector() const { return isVector_; }

  /// g of an element.
  Approximation gradientAt(std::size_t k, std::size_t i, std::size_t j) const {
    double g = gradient->at(k, i, j);
    if (descriptor.applyGradientClipping) {
      g = std::min(std::max(g, static_cast<double>(descriptor.gradientClipMin)),
                   static_cast<double>(descriptor.gradientClipMax));
    }
    const double w = values->at(k, i, j), scale = static_cast<double>(descriptor.regularizationScale);
    const Approximation rescaled = Approximation(g) * static_cast<double>(descriptor.gradientRescale);
    switch (descriptor.regularizationType) {
      case NNRegularizationType::L1:
        return rescaled + (w > 0 ? scale : w < 0 ? -scale : 0);
      case NNRegularizationType::L2:
        return rescaled + Approximation(scale) * w;
      default:
        return rescaled;
    }
  }

  template <class F>
  void forEachElement(F f) const {
    for (std::size_t k = 0; k < t_.count(); ++k) {
      for (std::size_t i = 0; i < values->rows(); ++i) {
        for (std::size_t j = 0; j < values->columns(); ++j) f(k, i, j);
      }
    }
  }

  Operand* gradient;
  Operand* values;
  Operand* result;
  NNOptimizerDescriptor descriptor;

 private:
  Operand& make(const char* name, DataType type, Range range, bool isResult) {
    const Trial::Making making{
        .type = type, .isResult = isResult, .values = isResult ? nullptr : t_.drawn(type, range)};
    return isVector_ ? t_.vector(name, t_.size(0) * t_.size(1), making)
                     : t_.matrix(name, t_.size(0), t_.size(1), making);
  }

  Trial& t_;
  bool isVector_;
  bool isInPlace_;
};

void stochasticGradientDescent(Trial& t) {
  Update u(t);
  const bool hasMomentum = t.choice(), isNesterov = t.choice();
  Operand& m = hasMomentum ? u.state("momentum", {-1, 1}) : t.absent();
  constexpr float kMu = 0.875f;

  const NNOptimizerStochasticGradientDescent kernel(
      t.device(), {.momentumScale = kMu, .useNesterovMomentum = isNesterov, .optimizerDescriptor = u.descriptor});
  t.run([&](CommandBuffer& commands) {
    if (u.isVector()) {
      kernel.encode(commands,
                    NNOptimizerStochasticGradientDescent::VectorArguments{.inputGradientVector = u.gradient->vector,
                                                                          .inputValuesVector = u.values->vector,
                                                                          .inputMomentumVector = m.vector,
                                                                          .resultValuesVector = u.result->vector});
    } else {
      kernel.encode(commands,
                    NNOptimizerStochasticGradientDescent::MatrixArguments{.inputGradientMatrix = u.gradient->matrix,
                                                                          .inputValuesMatrix = u.values->matrix,
                                                                          .inputMomentumMatrix = m.matrix,
                                                                          .resultValuesMatrix = u.result->matrix});
    }
  });

  const Approximation mu = static_cast<double>(kMu), rate = static_cast<double>(u.descriptor.learningRate);
  u.forEachElement([&](std::size_t k, std::size_t i, std::size_t j) {
    const Approximation w = u.values->at(k, i, j), g = u.gradientAt(k, i, j);
    Approximation step = rate * g;
    if (hasMomentum && isNesterov) {
      const Approximation momentum = mu * m.at(k, i, j) + g;
      t.expect(m, k, i, j, momentum);
      step = rate * (g + mu * momentum);
    } else if (hasMomentum) {
      step = mu * m.at(k, i, j) + step;
      t.expect(m, k, i, j, step);
    }
    t.expect(*u.result, k, i, j, w - step);
  });
}

void rmsProp(Trial& t) {
  Update u(t);
  Operand& s = u.state("sumOfSquares", {0.01, 1});
  constexpr double kDecay = 0.95;
  constexpr float kEpsilon = 1e-3f;

  const NNOptimizerRMSProp kernel(t.device(),
                                  {.decay = kDecay, .epsilon = kEpsilon, .optimizerDescriptor = u.descriptor});
  t.run([&](CommandBuffer& commands) {
    if (u.isVector()) {
      kernel.encode(commands, NNOptimizerRMSProp::VectorArguments{.inputGradientVector = u.gradient->vector,
                                                                  .inputValuesVector = u.values->vector,
                                                                  .inputSumOfSquaresVector = s.vector,
                                                                  .resultValuesVector = u.result->vector});
    } else {
      kernel.encode(commands, NNOptimizerRMSProp::MatrixArguments{.inputGradientMatrix = u.gradient->matrix,
                                                                  .inputValuesMatrix = u.values->matrix,
                                                                  .inputSumOfSquaresMatrix = s.matrix,
                                                                  .resultValuesMatrix = u.result->matrix});
    }
  });

  const Approximation rate = static_cast<double>(u.descriptor.learningRate), epsilon = static_cast<double>(kEpsilon);
  u.forEachElement([&](std::size_t k, std::size_t i, std::size_t j) {
    const Approximation w = u.values->at(k, i, j), g = u.gradientAt(k, i, j);
    const auto squares = Approximation::setting(kDecay) * s.at(k, i, j) + Approximation::setting(1 - kDecay) * g * g;
    t.expect(s, k, i, j, squares);
    t.expect(*u.result, k, i, j, w - rate * g / (sqrt(squares) + epsilon));
  });
}

Approximation larger(const Approximation& a, const Approximation& b) {
  return {std::max(a.value(), b.value()), std::max(a.error(), b.error())};
}

void adam(Trial& t) {
  Update u(t);
  const bool isAMSGrad = t.choice();
  Operand& m = u.state("momentum", {-1, 1});
  Operand& v = u.state("velocity", {0.01, 1});
  Operand& maximum = isAMSGrad ? u.state("maximumVelocity", {0.01, 1}) : t.absent();
  constexpr double kBeta1 = 0.9, kBeta2 = 0.99;
  constexpr float kEpsilon = 1e-3f;
  const std::size_t timeStep = t.random().below(20);

  const NNOptimizerAdam kernel(t.device(), {.beta1 = kBeta1,
                                            .beta2 = kBeta2,
                                            .epsilon = kEpsilon,
                                            .timeStep = timeStep,
                                            .optimizerDescriptor = u.descriptor});
  t.run([&](CommandBuffer& commands) {
    NNOptimizerAdam optimizer = kernel;  // an encode advances it
    if (u.isVector()) {
      optimizer.encode(commands, NNOptimizerAdam::VectorArguments{.inputGradientVector = u.gradient->vector,
                                                                  .inputValuesVector = u.values->vector,
                                                                  .inputMomentumVector = m.vector,
                                                                  .inputVelocityVector = v.vector,
                                                                  .maximumVelocityVector = maximum.vector,
                                                                  .resultValuesVector = u.result->vector});
    } else {
      optimizer.encode(commands, NNOptimizerAdam::MatrixArguments{.inputGradientMatrix = u.gradient->matrix,
                                                                  .inputValuesMatrix = u.values->matrix,
                                                                  .inputMomentumMatrix = m.matrix,
                                                                  .inputVelocityMatrix = v.matrix,
                                                                  .maximumVelocityMatrix = maximum.matrix,
                                                                  .resultValuesMatrix = u.result->matrix});
    }
    EXPECT_EQ(optimizer.timeStep, timeStep + 1);
  });

  const double step = static_cast<double>(timeStep) + 1;
  const double corrected = static_cast<double>(u.descriptor.learningRate) * std::sqrt(1 - std::pow(kBeta2, step)) /
                           (1 - std::pow(kBeta1, step));
  const Approximation rate(corrected, corrected * 0x1p-24);  // the encode computes it in double and passes a float32
  const Approximation epsilon = static_cast<double>(kEpsilon);
  u.forEachElement([&](std::size_t k, std::size_t i, std::size_t j) {
    const Approximation w = u.values->at(k, i, j), g = u.gradientAt(k, i, j);
    const auto momentum = Approximation::setting(kBeta1) * m.at(k, i, j) + Approximation::setting(1 - kBeta1) * g;
    const auto velocity = Approximation::setting(kBeta2) * v.at(k, i, j) + Approximation::setting(1 - kBeta2) * g * g;
    const auto scale = isAMSGrad ? larger(maximum.at(k, i, j), velocity) : velocity;
    t.expect(m, k, i, j, momentum);
    t.expect(v, k, i, j, velocity);
    t.expect(maximum, k, i, j, scale);
    t.expect(*u.result, k, i, j, w - rate * momentum / (sqrt(scale) + epsilon));
  });
}

}  // namespace

std::vector<Case> optimizerCases() {
  const auto make = [](const char* name, void (*run)(Trial&), int choices) {
    Case c{name, run, kSmallMatrices, {{131, 67}, {32769, 3}, {3, 32769}}, choices, Matrices::all};
    c.hasOrigins = false;
    return c;
  };
  return {make("StochasticGradientDescent", stochasticGradientDescent, 4), make("RMSProp", rmsProp, 2),
          make("Adam", adam, 3)};
}

}  // namespace metalloid::conformance
