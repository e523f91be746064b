#pragma once

#include "conformance/approximation.hpp"
#include "support/random.hpp"

#include <metalloid/cnn_neuron_type.hpp>

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

namespace metalloid::conformance {

/// A neuron with parameters, for data around [-5, 5].
struct NeuronExample {
  const char* name;
  CNNNeuronType type;
  float a = 0;
  float b = 0;
  float c = 0;
  bool isExactOnIntegers = false;  ///< maps small integers to small integers
  bool takesAnyArgument = true;    ///< defined for every number
};

/// Every function, with parameters that tell their roles apart, and the default ones.
inline const std::vector<NeuronExample>& neuronExamples() {
  using enum CNNNeuronType;
  static const std::vector<NeuronExample> examples = {
      {"none", none, 0, 0, 0, true},
      {"reLU", reLU, 0, 0, 0, true},
      {"reLULeaky", reLU, 0.125f},
      {"linear", linear, 1.5f, 0.25f},
      {"sigmoid", sigmoid},
      {"hardSigmoid", hardSigmoid, 0.2f, 0.5f},
      {"tanH", tanH, 1, 1},
      {"tanHScaled", tanH, 1.75f, 0.625f},
      {"absolute", absolute, 0, 0, 0, true},
      {"softPlus", softPlus, 1, 1},
      {"softPlusScaled", softPlus, 0.5f, 2},
      {"softSign", softSign},
      {"ELU", ELU, 1},
      {"ELUScaled", ELU, 1.5f},
      {"reLUN", reLUN, 1, 6},
      {"reLUNSloped", reLUN, 0.25f, 2},
      {"powerCube", power, 0.5f, 0.25f, 3},
      {"powerFractional", power, 0.5f, 4, 2.5f, false, false},
      {"exponential", exponential, 0.5f, 0.25f, -1},
      {"exponentialBase3", exponential, 0.25f, 0.5f, 3},
      {"logarithm", logarithm, 0.5f, 4, -1, false, false},
      {"logarithmBase2", logarithm, 0.25f, 3, 2, false, false},
      {"geLU", geLU},
  };
  return examples;
}

/// An example that suits the data.
inline NeuronExample someNeuron(testing::Random& random, bool exactOnIntegers, bool takesAnyArgument) {
  for (;;) {
    const NeuronExample& example = neuronExamples()[random.below(neuronExamples().size())];
    if (exactOnIntegers && !example.isExactOnIntegers) continue;
    if (takesAnyArgument && !example.takesAnyArgument) continue;
    return example;
  }
}

/// f(x) as a textbook writes it, in double precision. `slope` is a pReLU's.
inline double neuronFormula(const NeuronExample& n, double x, double slope = 0) {
  const double a = static_cast<double>(n.a), b = static_cast<double>(n.b), c = static_cast<double>(n.c);
  switch (n.type) {
    case CNNNeuronType::reLU:
      return x >= 0 ? x : a * x;
    case CNNNeuronType::linear:
      return a * x + b;
    case CNNNeuronType::sigmoid:
      return 1 / (1 + std::exp(-x));
    case CNNNeuronType::hardSigmoid:
      return std::fmin(std::fmax(a * x + b, 0), 1);
    case CNNNeuronType::tanH:
      return a * std::tanh(b * x);
    case CNNNeuronType::absolute:
      return std::fabs(x);
    case CNNNeuronType::softPlus:
      return a * std::log1p(std::exp(b * x));
    case CNNNeuronType::softSign:
      return x / (1 + std::fabs(x));
    case CNNNeuronType::ELU:
      return x >= 0 ? x : a * std::expm1(x);
    case CNNNeuronType::pReLU:
      return x >= 0 ? x : slope * x;
    case CNNNeuronType::reLUN:
      return std::fmin(x >= 0 ? x : a * x, b);
    case CNNNeuronType::power:
      return std::pow(a * x + b, c);
    case CNNNeuronType::exponential:
      return c == -1 ? std::exp(a * x + b) : std::pow(c, a * x + b);
    case CNNNeuronType::logarithm:
      return c == -1 ? std::log(a * x + b) : std::log(a * x + b) / std::log(c);
    case CNNNeuronType::geLU:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);  // 1 + erf cancels for negative x
    default:
      return x;
  }
}

/// f'(x), likewise, with the stated values at kinks.
inline double neuronDerivativeFormula(const NeuronExample& n, double x, double slope = 0) {
  const double a = static_cast<double>(n.a), b = static_cast<double>(n.b), c = static_cast<double>(n.c);
  const double u = a * x + b;
  switch (n.type) {
    case CNNNeuronType::reLU:
      return x >= 0 ? 1 : a;
    case CNNNeuronType::linear:
      return a;
    case CNNNeuronType::sigmoid:
      return 1 / ((1 + std::exp(-x)) * (1 + std::exp(x)));
    case CNNNeuronType::hardSigmoid:
      return 0 <= u && u <= 1 ? a : 0;
    case CNNNeuronType::tanH:
      return a * b / std::pow(std::cosh(b * x), 2);
    case CNNNeuronType::absolute:
      return x > 0 ? 1 : x < 0 ? -1 : 0;
    case CNNNeuronType::softPlus:
      return a * b / (1 + std::exp(-b * x));
    case CNNNeuronType::softSign:
      return 1 / std::pow(1 + std::fabs(x), 2);
    case CNNNeuronType::ELU:
      return x >= 0 ? 1 : a * std::exp(x);
    case CNNNeuronType::pReLU:
      return x >= 0 ? 1 : slope;
    case CNNNeuronType::reLUN:
      return (x >= 0 ? x : a * x) < b ? (x >= 0 ? 1 : a) : 0;
    case CNNNeuronType::power:
      return c == 0 || a == 0 ? 0 : a * c * std::pow(u, c - 1);
    case CNNNeuronType::exponential:
      return c == -1 ? a * std::exp(u) : a * std::log(c) * std::pow(c, u);
    case CNNNeuronType::logarithm:
      return c == -1 ? a / u : a / (u * std::log(c));
    case CNNNeuronType::geLU:
      return 0.5 * std::erfc(-x / std::numbers::sqrt2) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    default:
      return 1;
  }
}

namespace detail {

/// The argument as the inside of f sees it: b*x and a*x + b are rounded, which is as good as an error of x itself.
inline Approximation insideArgument(const NeuronExample& n, const Approximation& x) {
  const double u = Approximation::u();
  const double shift = n.a != 0 ? std::fabs(static_cast<double>(n.b) / static_cast<double>(n.a)) : 0;
  return {x.value(), x.error() + 2 * u * (std::fabs(x.value()) + shift)};
}

// The largest errors in units in the last place that tests/math holds the float32 functions to.
inline constexpr double kValueUlps = 6.6;
inline constexpr double kDerivativeUlps = 6;

}  // namespace detail

inline Approximation neuronValue(const NeuronExample& n, const Approximation& x, double slope = 0) {
  if (n.isExactOnIntegers) return apply([&](double t) { return neuronFormula(n, t, slope); }, x, 0);
  return apply([&](double t) { return neuronFormula(n, t, slope); }, detail::insideArgument(n, x), detail::kValueUlps);
}

inline Approximation neuronDerivative(const NeuronExample& n, const Approximation& x, double slope = 0) {
  const auto derivative = apply([&](double t) { return neuronDerivativeFormula(n, t, slope); },
                                detail::insideArgument(n, x), detail::kDerivativeUlps);
  // GeLU': Phi(x) and x * phi(x) cancel around x = -0.75, where they are 0.23 and carry 5.6 and 2.7 units of 2^-26.
  if (n.type != CNNNeuronType::geLU) return derivative;
  return {derivative.value(), derivative.error() + 0.25 * 8.3 * Approximation::u()};
}

}  // namespace metalloid::conformance
