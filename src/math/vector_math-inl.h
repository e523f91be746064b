// The neuron formulas and elementary functions on SIMD vectors of float32.
//
// Include it from a file that is compiled once per target through hwy/foreach_target.h. It gives, in
// metalloid::math::HWY_NAMESPACE, the operations `VectorOps<D>` and the functions neuronValue<type>(ops, neuron, x) and
// neuronDerivative<type>(ops, neuron, x). Each lane depends on its own input alone, whatever its position. The
// operators on vectors limit this to targets with vectors of fixed size (all but SVE and RVV).

// Include guard that opens once per target.
#if defined(METALLOID_MATH_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_MATH_VECTOR_MATH_INL_H_
#undef METALLOID_MATH_VECTOR_MATH_INL_H_
#else
#define METALLOID_MATH_VECTOR_MATH_INL_H_
#endif

#include "math/annotations.hpp"
#include "math/loss.hpp"
#include "math/neuron.hpp"

#include <cstdint>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::math {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#include "math/float_math.inc"       // NOLINT: FloatMath<Primitives>
#include "math/neuron_formulas.inc"  // NOLINT: neuronValue, neuronDerivative
#include "math/loss_formulas.inc"    // NOLINT: lossValue, lossDerivative, lossLabelDerivative

// The bare operations on vectors with the tag D (of float). Min and max of a NaN give either operand.
template <class D>
struct VectorPrimitives {
  using Value = hn::Vec<D>;
  using Mask = hn::Mask<D>;

  struct ExponentAndMantissa {
    Value exponent;
    Value mantissa;
  };

  HWY_INLINE Value constant(double value) const { return hn::Set(D(), static_cast<float>(value)); }
  HWY_INLINE Value infinity() const { return fromBits(hn::Set(Bits(), 0x7f800000)); }
  HWY_INLINE Value nan() const { return fromBits(hn::Set(Bits(), 0x7fc00000)); }
  HWY_INLINE Value select(Mask condition, Value yes, Value no) const { return hn::IfThenElse(condition, yes, no); }
  HWY_INLINE Value fma(Value x, Value y, Value z) const { return hn::MulAdd(x, y, z); }
  HWY_INLINE Value divide(Value x, Value y) const { return x / y; }
  HWY_INLINE Value abs(Value x) const { return hn::Abs(x); }
  HWY_INLINE Value minusAbs(Value x) const { return hn::Or(x, signBit()); }
  HWY_INLINE Value min(Value x, Value y) const { return hn::Min(x, y); }
  HWY_INLINE Value max(Value x, Value y) const { return hn::Max(x, y); }
  HWY_INLINE Value nearest(Value x) const { return hn::Round(x); }
  HWY_INLINE Value copysign(Value magnitude, Value sign) const { return hn::CopySign(magnitude, sign); }

  // x with its last 12 mantissa bits cleared: 12 significant bits remain.
  HWY_INLINE Value high12(Value x) const {
    return hn::And(x, fromBits(hn::Set(Bits(), static_cast<std::int32_t>(0xfffff000u))));
  }

  // p * 2^n with one rounding, for p in [1/2, 2) or NaN and an integer n in [-250, 254]; anything for other n.
  HWY_INLINE Value scaleByPowerOfTwo(Value p, Value n) const {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
    if constexpr (hn::MaxLanes(D()) == 16) return Value{_mm512_scalef_ps(p.raw, n.raw)};
#endif
    // Adding 1.5 * 2^23 leaves n in the low bits.
    const auto whole = bits(n + constant(0x1.8p23)) - hn::Set(Bits(), 0x4b400000);
    const auto half = hn::ShiftRight<1>(whole);
    const auto bias = hn::Set(Bits(), 127);
    return p * fromBits(hn::ShiftLeft<23>(half + bias)) * fromBits(hn::ShiftLeft<23>(whole - half + bias));
  }

  // x = mantissa * 2^exponent with the mantissa in [sqrt(1/2), sqrt(2)), for finite x > 0.
  HWY_INLINE ExponentAndMantissa splitExponent(Value x) const {
    const Mask isSmall = x < constant(0x1p-126);
    const auto scaled = bits(select(isSmall, x * constant(0x1p23), x));
    const auto exponent = hn::ShiftRight<23>(scaled - hn::Set(Bits(), 0x3f3504f3));
    const Value mantissa = fromBits(scaled - hn::ShiftLeft<23>(exponent));
    return {hn::ConvertTo(D(), exponent) - hn::IfThenElseZero(isSmall, constant(23)), mantissa};
  }

 private:
  using Bits = hn::RebindToSigned<D>;

  HWY_INLINE static Value signBit() { return hn::SignBit(D()); }
  HWY_INLINE static hn::Vec<Bits> bits(Value x) { return hn::BitCast(Bits(), x); }
  HWY_INLINE static Value fromBits(hn::Vec<Bits> x) { return hn::BitCast(D(), x); }
};

// The neuron formulas' operations on a vector of float32.
template <class D>
using VectorOps = FloatMath<VectorPrimitives<D>>;

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::math
HWY_AFTER_NAMESPACE();

#endif  // include guard that opens once per target
