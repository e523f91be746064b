#pragma once

#include <cstdint>
#include <string_view>

namespace metalloid {

/// The neuron (activation) functions f(x). `a`, `b`, `c` are the neuron's parameters; `u = a*x + b`.
///
/// Derivatives, their values at kinks and the legal parameters stand in docs/semantics.md; the one definition of every
/// function is src/math/neuron_formulas.inc.
/// Source: MPSCNNNeuronType.
enum class CNNNeuronType : std::int32_t {
  none = 0,          ///< x
  reLU = 1,          ///< x >= 0 ? x : a*x. Default a = 0.
  linear = 2,        ///< a*x + b. Default a = 1, b = 0.
  sigmoid = 3,       ///< 1 / (1 + exp(-x))
  hardSigmoid = 4,   ///< clamp(a*x + b, 0, 1). Default a = 0.2, b = 0.5.
  tanH = 5,          ///< a * tanh(b*x). Default a = 1, b = 1.
  absolute = 6,      ///< |x|
  softPlus = 7,      ///< a * ln(1 + exp(b*x)). Default a = 1, b = 1.
  softSign = 8,      ///< x / (1 + |x|)
  ELU = 9,           ///< x >= 0 ? x : a*(exp(x) - 1). Default a = 1.
  pReLU = 10,        ///< x >= 0 ? x : A[j]*x with one slope for each column or channel j.
  reLUN = 11,        ///< min(x >= 0 ? x : a*x, b). Default a = 1, b = 6; ReLU6 needs a = 0, b = 6.
  power = 12,        ///< pow(a*x + b, c). Default a = 1, b = 0, c = 1.
  exponential = 13,  ///< pow(c, a*x + b); c = -1 means base e. Default a = 1, b = 0, c = -1.
  logarithm = 14,    ///< log_c(a*x + b); c = -1 means base e. Default a = 1, b = 0, c = -1.
  geLU = 15,         ///< x/2 * (1 + erf(x / sqrt(2)))
  count = 16,        ///< The number of types; not a function.
};

/// The type's name as it is spelled in C++, for instance "reLU"; "unknown" for a value outside the enumeration.
std::string_view name(CNNNeuronType type);

}  // namespace metalloid
