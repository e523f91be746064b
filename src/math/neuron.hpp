#pragma once

#include <metalloid/cnn_neuron_type.hpp>

#include <type_traits>

namespace metalloid::math {

/// A float32 constant in two parts: `high` has 12 significant bits, so that its product with another 12-bit number is
/// exact in float32 even without fused multiply-add; `high + low` carries about 36 bits.
struct SplitFloat {
  float high;
  float low;

  friend bool operator==(const SplitFloat&, const SplitFloat&) = default;
};

/// 2^(slope*x + offset), that is c^(a*x + b) with the base's logarithm multiplied in on the host.
/// The offset is split into an integer, which only moves the result's exponent, and a fraction in [-1/2, 1/2]: neither
/// costs the result any accuracy, however large b is.
struct ExponentialLine {
  double lnBase;  // 1 for base e
  SplitFloat slope;
  float offsetInteger;
  float offsetFraction;

  friend bool operator==(const ExponentialLine&, const ExponentialLine&) = default;
};

/// The exponent of a power, with what its sign rules need to know about it.
struct PowerExponent {
  double value;
  SplitFloat split;
  bool isInteger;
  bool isOdd;

  friend bool operator==(const PowerExponent&, const PowerExponent&) = default;
};

/// A neuron function with its parameters and the constants derived from them. Plain data: pass it to a kernel by value.
///
/// `derivativeFactor` is the constant that multiplies the derivative: a*b for TanH and SoftPlus, a*c for Power,
/// a*ln(c) for Exponential, a/ln(c) for Logarithm; otherwise 0.
struct Neuron {
  CNNNeuronType type;
  float a;
  float b;
  float c;
  double derivativeFactor;
  double inverseLnBase;           // Logarithm: 1/ln(c)
  ExponentialLine exponential;    // Exponential
  PowerExponent power;            // Power: c
  PowerExponent derivativePower;  // Power: c - 1

  friend bool operator==(const Neuron&, const Neuron&) = default;
};
static_assert(std::is_trivially_copyable_v<Neuron> && std::is_standard_layout_v<Neuron>);

/// The parameters a, b, c of a neuron.
struct NeuronParameters {
  float a = 0;
  float b = 0;
  float c = 0;
};

/// The parameters that a type has when none are given: the documented default behaviour, with c = 1 for Power and
/// c = -1 (base e) for Exponential and Logarithm. Parameters that the type does not use are 0.
/// Throws invalidArgument for a value outside the enumeration.
NeuronParameters defaultParameters(CNNNeuronType type);

/// Throws invalidArgument when the function would be meaningless for every x: a parameter that the type uses is NaN or
/// infinite (ReLUN's b may be +-infinity: +infinity means no clamp), the base of an exponential is neither -1 nor
/// greater than 0, that of a logarithm neither -1 nor greater than 0 and different from 1, or the value is none of the
/// enumeration. Refuses pReLU, whose slopes are no parameter: use setNeuronToPReLU. Unused parameters are ignored.
void checkNeuronParameters(CNNNeuronType type, float a, float b, float c);

/// The neuron with its derived constants. Does not check; a pReLU takes its slope per element.
Neuron makeNeuron(CNNNeuronType type, float a = 0, float b = 0, float c = 0);

/// f(x) and f'(x) of one element in double precision, chosen at run time. `slope` is pReLU's A[j].
double neuronValue(const Neuron& neuron, double x, double slope = 0);
double neuronDerivative(const Neuron& neuron, double x, double slope = 0);

/// A neuron type as a compile-time tag.
template <CNNNeuronType kType>
using NeuronTag = std::integral_constant<CNNNeuronType, kType>;

/// Calls visitor(NeuronTag<type>{}) for the type given at run time, so that the choice is made once outside the inner
/// loop: `dispatch(neuron.type, [&](auto tag) { loop<tag.value>(...); })`. A value outside the enumeration, which
/// checkNeuronParameters refuses, counts as none.
template <class Visitor>
decltype(auto) dispatch(CNNNeuronType type, Visitor&& visitor) {
  switch (type) {
    case CNNNeuronType::reLU:
      return visitor(NeuronTag<CNNNeuronType::reLU>{});
    case CNNNeuronType::linear:
      return visitor(NeuronTag<CNNNeuronType::linear>{});
    case CNNNeuronType::sigmoid:
      return visitor(NeuronTag<CNNNeuronType::sigmoid>{});
    case CNNNeuronType::hardSigmoid:
      return visitor(NeuronTag<CNNNeuronType::hardSigmoid>{});
    case CNNNeuronType::tanH:
      return visitor(NeuronTag<CNNNeuronType::tanH>{});
    case CNNNeuronType::absolute:
      return visitor(NeuronTag<CNNNeuronType::absolute>{});
    case CNNNeuronType::softPlus:
      return visitor(NeuronTag<CNNNeuronType::softPlus>{});
    case CNNNeuronType::softSign:
      return visitor(NeuronTag<CNNNeuronType::softSign>{});
    case CNNNeuronType::ELU:
      return visitor(NeuronTag<CNNNeuronType::ELU>{});
    case CNNNeuronType::pReLU:
      return visitor(NeuronTag<CNNNeuronType::pReLU>{});
    case CNNNeuronType::reLUN:
      return visitor(NeuronTag<CNNNeuronType::reLUN>{});
    case CNNNeuronType::power:
      return visitor(NeuronTag<CNNNeuronType::power>{});
    case CNNNeuronType::exponential:
      return visitor(NeuronTag<CNNNeuronType::exponential>{});
    case CNNNeuronType::logarithm:
      return visitor(NeuronTag<CNNNeuronType::logarithm>{});
    case CNNNeuronType::geLU:
      return visitor(NeuronTag<CNNNeuronType::geLU>{});
    case CNNNeuronType::none:
    case CNNNeuronType::count:
      break;
  }
  return visitor(NeuronTag<CNNNeuronType::none>{});
}

}  // namespace metalloid::math
