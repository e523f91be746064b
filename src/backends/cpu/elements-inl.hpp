// Elements of any type as vectors of float32 and back; a store rounds once, to nearest even.

#if defined(METALLOID_CPU_ELEMENTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_ELEMENTS_INL
#undef METALLOID_CPU_ELEMENTS_INL
#else
#define METALLOID_CPU_ELEMENTS_INL
#endif

#include "math/float16.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using math::BFloat16;
using math::Float16;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;

/// `count` floats: a whole vector, or the first lanes and zeros. In a loop the branch goes one way but for its last
/// turn.
HWY_INLINE FloatVector loadSome(const float* from, std::size_t count) {
  const FloatTag d;
  if (hn::MaxLanes(d) == 1 || count == hn::Lanes(d)) return hn::LoadU(d, from);
#if HWY_MEM_OPS_MIGHT_FAULT
  float elements[hn::MaxLanes(FloatTag())] = {};
  std::memcpy(elements, from, count * sizeof(float));
  return hn::LoadU(d, elements);
#else
  return hn::MaskedLoad(hn::FirstN(d, count), d, from);
#endif
}

HWY_INLINE void storeSome(FloatVector values, float* to, std::size_t count) {
  const FloatTag d;
  if (hn::MaxLanes(d) == 1 || count == hn::Lanes(d)) {
    hn::StoreU(values, d, to);
    return;
  }
#if HWY_MEM_OPS_MIGHT_FAULT
  float elements[hn::MaxLanes(FloatTag())];
  hn::StoreU(values, d, elements);
  std::memcpy(to, elements, count * sizeof(float));
#else
  hn::BlendedStore(values, hn::FirstN(d, count), d, to);
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> loadFloats(D d, const float* from) {
  return hn::LoadU(d, from);
}

/// Small integers, by value.
template <class D, class Integer, HWY_IF_NOT_FLOAT(Integer)>
HWY_INLINE hn::Vec<D> loadFloats(D d, const Integer* from) {
  const hn::Rebind<std::int32_t, D> dWide;
  return hn::ConvertTo(d, hn::PromoteTo(dWide, hn::LoadU(hn::Rebind<Integer, D>(), from)));
}

template <class D>
HWY_INLINE hn::Vec<D> loadFloats(D d, const BFloat16* from) {
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto half = hn::LoadU(hn::Rebind<std::uint16_t, D>(), reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(dBits, half)));
}

template <class D>
HWY_INLINE hn::Vec<D> loadFloats(D d, const Float16* from) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), reinterpret_cast<const hwy::float16_t*>(from)));
#else
  // Highway's replacement for the missing instruction does not keep infinities and NaN.
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto half =
      hn::PromoteTo(dBits, hn::LoadU(hn::Rebind<std::uint16_t, D>(), reinterpret_cast<const std::uint16_t*>(from)));
  const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(dBits, 0x8000U)));
  const auto magnitude = hn::And(half, hn::Set(dBits, 0x7FFFU));
  // The bits, shifted into place, are the number times 2^-112, subnormal numbers included.
  const auto scaled = hn::BitCast(dBits, hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 0x1p112F)));
  const auto special = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(dBits, 0x7F800000U));
  const auto isSpecial = hn::Gt(magnitude, hn::Set(dBits, 0x7BFFU));
  return hn::BitCast(d, hn::Or(sign, hn::IfThenElse(isSpecial, special, scaled)));
#endif
}

/// The first `count` elements, and zeros.
template <class D, class T>
HWY_INLINE hn::Vec<D> loadFloats(D d, const T* from, std::size_t count) {
  if constexpr (std::is_same_v<T, float>) {
    return loadSome(from, count);
  } else {
    T elements[hn::MaxLanes(D())] = {};
    std::memcpy(elements, from, count * sizeof(T));
    return loadFloats(d, elements);
  }
}

template <class D>
HWY_INLINE void storeFloats(D d, hn::Vec<D> values, float* to) {
  hn::StoreU(values, d, to);
}

template <class D, class Bits>
HWY_INLINE void storeLowHalves(D, Bits bits, void* to) {
  const hn::Rebind<std::int32_t, D> dSigned;  // no bits above the lower 16, so that saturation does nothing
  const hn::Rebind<std::uint16_t, D> dHalf;
  hn::StoreU(hn::DemoteTo(dHalf, hn::BitCast(dSigned, bits)), dHalf, static_cast<std::uint16_t*>(to));
}

/// Round to nearest even: add half of the last place kept, less one if that place is even, and cut.
template <class D>
HWY_INLINE void storeFloats(D, hn::Vec<D> values, BFloat16* to) {
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto bits = hn::BitCast(dBits, values);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(dBits, 1U));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(dBits, 0x7FFFU)));
  const auto quiet = hn::Or(bits, hn::Set(dBits, 0x00400000U));
  storeLowHalves(D(), hn::ShiftRight<16>(hn::IfThenElse(hn::RebindMask(dBits, hn::IsNaN(values)), quiet, rounded)), to);
}

template <class D>
HWY_INLINE void storeFloats(D d, hn::Vec<D> values, Float16* to) {
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto bits = hn::BitCast(dBits, values);
  const auto sign = hn::ShiftRight<16>(hn::And(bits, hn::Set(dBits, 0x80000000U)));
  const auto magnitude = hn::And(bits, hn::Set(dBits, 0x7FFFFFFFU));
  // Normal: as above, and the exponent's bias becomes 15; what overflows ends in the pattern of infinity.
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(dBits, 1U));
  const auto normal =
      hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, odd), hn::Set(dBits, 0x0FFFU - (std::uint32_t{127 - 15} << 23))));
  // Subnormal: 0.5 has the last place 2^-24, to which the addition rounds.
  const auto subnormal =
      hn::Sub(hn::BitCast(dBits, hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5F))), hn::Set(dBits, 0x3F000000U));
  const auto isSubnormal = hn::Lt(magnitude, hn::Set(dBits, 0x38800000U));  // below 2^-14
  const auto isInfinite = hn::Gt(magnitude, hn::Set(dBits, 0x477FFFFFU));   // 2^16 and more
  const auto isNaN = hn::Gt(magnitude, hn::Set(dBits, 0x7F800000U));
  auto half = hn::IfThenElse(isSubnormal, subnormal, normal);
  half = hn::IfThenElse(isInfinite, hn::Set(dBits, 0x7C00U), half);
  half = hn::IfThenElse(isNaN, hn::Set(dBits, 0x7E00U), half);
  storeLowHalves(D(), hn::Or(sign, half), to);
}

template <class T>
HWY_INLINE void convertToFloats(const T* from, std::size_t count, float* to) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(loadFloats(d, from + i), d, to + i);
  if (i == count) return;
  float rest[hn::MaxLanes(hn::ScalableTag<float>())];
  hn::StoreU(loadFloats(d, from + i, count - i), d, rest);
  std::memcpy(to + i, rest, (count - i) * sizeof(float));
}

template <class T>
HWY_INLINE void convertFromFloats(const float* from, std::size_t count, T* to) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) storeFloats(d, hn::LoadU(d, from + i), to + i);
  if (i == count) return;
  T rest[hn::MaxLanes(hn::ScalableTag<float>())];
  storeFloats(d, loadFloats(d, from + i, count - i), rest);
  std::memcpy(to + i, rest, (count - i) * sizeof(T));
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
