#include "math/neuron.hpp"

#include "math/scalar_ops.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

namespace metalloid::math {
namespace {

bool isNeuronType(CNNNeuronType type) { return type >= CNNNeuronType::none && type < CNNNeuronType::count; }

void checkType(CNNNeuronType type) {
  if (isNeuronType(type)) return;
  throw Error(ErrorCode::invalidArgument, "CNNNeuronType " + std::to_string(static_cast<std::int32_t>(type)) +
                                              " is no neuron function; the values are 0 (none) to 15 (geLU).");
}

/// How many of a, b, c the type uses.
int parameterCount(CNNNeuronType type) {
  switch (type) {
    case CNNNeuronType::reLU:
    case CNNNeuronType::ELU:
      return 1;
    case CNNNeuronType::linear:
    case CNNNeuronType::hardSigmoid:
    case CNNNeuronType::tanH:
    case CNNNeuronType::softPlus:
    case CNNNeuronType::reLUN:
      return 2;
    case CNNNeuronType::power:
    case CNNNeuronType::exponential:
    case CNNNeuronType::logarithm:
      return 3;
    default:
      return 0;
  }
}

SplitFloat split(double value) {
  const auto high = std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(value)) & 0xfffff000u);
  return {high, static_cast<float>(value - double{high})};
}

/// ln of the base of an Exponential or a Logarithm, whose c = -1 means e.
double lnBase(float c) { return c == -1.0f ? 1.0 : std::log(double{c}); }

ExponentialLine makeExponentialLine(float a, float b, float c) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  const double ln = lnBase(c);
  const double log2Base = ln * kLog2E;
  const double offset = log2Base * double{b};
  const double integer = std::nearbyint(offset);
  return {ln, split(log2Base * double{a}), static_cast<float>(integer), static_cast<float>(offset - integer)};
}

PowerExponent makePowerExponent(double value) {
  // From 2^40 on, every u but +-1 gives 0 or infinity in float32, and every number is an even integer.
  constexpr double kLargest = 0x1p40;
  return {value, split(std::clamp(value, -kLargest, kLargest)), std::trunc(value) == value,
          std::fabs(std::fmod(value, 2.0)) == 1.0};
}

}  // namespace

NeuronParameters defaultParameters(CNNNeuronType type) {
  checkType(type);
  switch (type) {
    case CNNNeuronType::linear:
      return {1, 0, 0};
    case CNNNeuronType::hardSigmoid:
      return {0.2f, 0.5f, 0};
    case CNNNeuronType::tanH:
    case CNNNeuronType::softPlus:
      return {1, 1, 0};
    case CNNNeuronType::ELU:
      return {1, 0, 0};
    case CNNNeuronType::reLUN:
      return {1, 6, 0};
    case CNNNeuronType::power:
      return {1, 0, 1};
    case CNNNeuronType::exponential:
    case CNNNeuronType::logarithm:
      return {1, 0, -1};
    default:
      return {0, 0, 0};
  }
}

void checkNeuronParameters(CNNNeuronType type, float a, float b, float c) {
  checkType(type);
  const std::string typeName(name(type));
  if (type == CNNNeuronType::pReLU) {
    throw Error(ErrorCode::invalidArgument,
                "The neuron type pReLU takes an array of slopes, one for each column or channel, and no parameters a, "
                "b, c; set it with setNeuronToPReLU.");
  }

  const float values[] = {a, b, c};
  for (int i = 0; i < parameterCount(type); ++i) {
    if (!std::isnan(values[i])) continue;
    throw Error(ErrorCode::invalidArgument,
                "Parameter " + std::string(1, "abc"[i]) + " of the neuron type " + typeName + " is NaN.");
  }

  const bool isExponential = type == CNNNeuronType::exponential;
  if (!isExponential && type != CNNNeuronType::logarithm) return;
  const bool isLegalBase = c == -1.0f || (c > 0.0f && (isExponential || c != 1.0f));
  if (isLegalBase) return;
  throw Error(ErrorCode::invalidArgument,
              "Parameter c of the neuron type " + typeName + " is " + std::to_string(c) + ", but a base is " +
                  (isExponential ? "greater than 0" : "greater than 0 and different from 1") + ", or -1 for base e.");
}

Neuron makeNeuron(CNNNeuronType type, float a, float b, float c) {
  Neuron neuron{};
  neuron.type = type;
  neuron.a = a;
  neuron.b = b;
  neuron.c = c;
  switch (type) {
    case CNNNeuronType::tanH:
    case CNNNeuronType::softPlus:
      neuron.derivativeFactor = double{a} * double{b};
      break;
    case CNNNeuronType::power:
      neuron.derivativeFactor = double{a} * double{c};
      neuron.power = makePowerExponent(double{c});
      neuron.derivativePower = makePowerExponent(double{c} - 1.0);
      break;
    case CNNNeuronType::exponential:
      neuron.derivativeFactor = double{a} * lnBase(c);
      neuron.exponential = makeExponentialLine(a, b, c);
      break;
    case CNNNeuronType::logarithm:
      neuron.derivativeFactor = double{a} / lnBase(c);
      neuron.inverseLnBase = 1.0 / lnBase(c);
      break;
    default:
      break;
  }
  return neuron;
}

double neuronValue(const Neuron& neuron, double x, double slope) {
  return dispatch(neuron.type,
                  [&](auto tag) { return scalar::neuronValue<tag.value>(scalar::DoubleOps{}, neuron, x, slope); });
}

double neuronDerivative(const Neuron& neuron, double x, double slope) {
  return dispatch(neuron.type,
                  [&](auto tag) { return scalar::neuronDerivative<tag.value>(scalar::DoubleOps{}, neuron, x, slope); });
}

}  // namespace metalloid::math
