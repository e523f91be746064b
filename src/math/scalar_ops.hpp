#pragma once

#include "math/annotations.hpp"
#include "math/loss.hpp"
#include "math/neuron.hpp"

#include <cmath>
#include <cstdint>
#include <limits>

namespace metalloid::math::scalar {

#include "math/float_math.inc"       // NOLINT: FloatMath<Primitives>
#include "math/loss_formulas.inc"    // NOLINT: lossValue<type>(ops, loss, y, t), lossDerivative<type>(...)
#include "math/neuron_formulas.inc"  // NOLINT: neuronValue<type>(ops, neuron, x), neuronDerivative<type>(...)

/// The neuron formulas' operations in double precision, from the standard library: the reference.
struct DoubleOps {
  using Value = double;

  struct Normal {
    double cumulative;
    double density;
  };

  METALLOID_HOST_DEVICE double constant(double value) const { return value; }
  METALLOID_HOST_DEVICE double infinity() const { return std::numeric_limits<double>::infinity(); }
  METALLOID_HOST_DEVICE double select(bool condition, double yes, double no) const { return condition ? yes : no; }
  METALLOID_HOST_DEVICE double fma(double x, double y, double z) const { return std::fma(x, y, z); }
  METALLOID_HOST_DEVICE double divide(double x, double y) const { return x / y; }
  METALLOID_HOST_DEVICE double abs(double x) const { return std::fabs(x); }
  METALLOID_HOST_DEVICE double minusAbs(double x) const { return -std::fabs(x); }
  METALLOID_HOST_DEVICE double max(double x, double y) const { return x > y ? x : y; }
  METALLOID_HOST_DEVICE double copysign(double magnitude, double sign) const { return std::copysign(magnitude, sign); }
  METALLOID_HOST_DEVICE double exp(double x) const { return std::exp(x); }
  METALLOID_HOST_DEVICE double expm1(double x) const { return std::expm1(x); }
  METALLOID_HOST_DEVICE double log(double x) const { return std::log(x); }
  METALLOID_HOST_DEVICE double log1pUnit(double x) const { return std::log1p(x); }
  METALLOID_HOST_DEVICE double tanh(double x) const { return std::tanh(x); }
  METALLOID_HOST_DEVICE double pow(double u, const PowerExponent& y) const { return std::pow(u, y.value); }

  METALLOID_HOST_DEVICE double exponential(const Neuron& neuron, double x) const {
    return std::exp(neuron.exponential.lnBase * std::fma(double{neuron.a}, x, double{neuron.b}));
  }

  METALLOID_HOST_DEVICE Normal normal(double x) const {
    constexpr double kSqrtHalf = 0x1.6a09e667f3bcdp-1;
    constexpr double kInverseSqrtTwoPi = 0x1.9884533d43651p-2;
    return {0.5 * std::erfc(-x * kSqrtHalf), kInverseSqrtTwoPi * std::exp(-0.5 * x * x)};
  }
};

/// The bare float32 operations on one number, on the host and in CUDA device code.
struct FloatPrimitives {
  using Value = float;

  struct ExponentAndMantissa {
    float exponent;
    float mantissa;
  };

  METALLOID_INLINE float constant(double value) const { return static_cast<float>(value); }
  METALLOID_INLINE float infinity() const { return fromBits(0x7f800000u); }
  METALLOID_INLINE float nan() const { return fromBits(0x7fc00000u); }
  METALLOID_INLINE float select(bool condition, float yes, float no) const { return condition ? yes : no; }
  METALLOID_INLINE float fma(float x, float y, float z) const { return ::fmaf(x, y, z); }
  METALLOID_INLINE float divide(float x, float y) const { return x / y; }
  METALLOID_INLINE float abs(float x) const { return fromBits(bits(x) & 0x7fffffffu); }
  METALLOID_INLINE float minusAbs(float x) const { return fromBits(bits(x) | 0x80000000u); }
  METALLOID_INLINE float min(float x, float y) const { return x < y ? x : y; }
  METALLOID_INLINE float max(float x, float y) const { return x > y ? x : y; }
  METALLOID_INLINE float nearest(float x) const { return ::rintf(x); }

  METALLOID_INLINE float copysign(float magnitude, float sign) const {
    return fromBits((bits(magnitude) & 0x7fffffffu) | (bits(sign) & 0x80000000u));
  }

  /// x with its last 12 mantissa bits cleared: 12 significant bits remain.
  METALLOID_INLINE float high12(float x) const { return fromBits(bits(x) & 0xfffff000u); }

  /// p * 2^n with one rounding, for p in [1/2, 2) or NaN and an integer n in [-250, 254]; anything for other n.
  METALLOID_INLINE float scaleByPowerOfTwo(float p, float n) const {
    // Adding 1.5 * 2^23 leaves n in the low bits, without an undefined conversion.
    const std::uint32_t whole = bits(n + 0x1.8p23f) - 0x4b400000u;
    const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(whole) >> 1);
    return p * fromBits((half + 127u) << 23) * fromBits((whole - half + 127u) << 23);
  }

  /// x = mantissa * 2^exponent with the mantissa in [sqrt(1/2), sqrt(2)), for finite x > 0.
  METALLOID_INLINE ExponentAndMantissa splitExponent(float x) const {
    const bool isSmall = x < 0x1p-126f;
    const std::uint32_t scaled = bits(isSmall ? x * 0x1p23f : x);
    const std::int32_t exponent = static_cast<std::int32_t>(scaled - kSqrtHalfBits) >> 23;
    const float mantissa = fromBits(scaled - (static_cast<std::uint32_t>(exponent) << 23));
    return {static_cast<float>(exponent) - (isSmall ? 23.0f : 0.0f), mantissa};
  }

 private:
  static constexpr std::uint32_t kSqrtHalfBits = 0x3f3504f3u;

  METALLOID_INLINE static std::uint32_t bits(float x) { return __builtin_bit_cast(std::uint32_t, x); }
  METALLOID_INLINE static float fromBits(std::uint32_t x) { return __builtin_bit_cast(float, x); }
};

/// The neuron formulas' operations on one float32.
using FloatOps = FloatMath<FloatPrimitives>;

}  // namespace metalloid::math::scalar
