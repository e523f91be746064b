#pragma once

#include <bit>
#include <cstdint>

namespace metalloid::math {

/// A 16-bit storage type of sign, exponent and mantissa as in IEEE 754, with gradual underflow, infinities and NaN.
///
/// Conversion to it rounds once, to nearest, ties to even; overflow gives infinity, NaN stays NaN (quiet). A float32
/// converts through double precision, which is exact, so that there is one rounding whatever the source. Conversion
/// from it is exact. It is a storage type: arithmetic is done in float32 or double precision.
template <int kExponentBits>
struct SmallFloat {
  static constexpr int kMantissaBits = 15 - kExponentBits;

  std::uint16_t bits = 0;

  constexpr SmallFloat() = default;
  constexpr explicit SmallFloat(double value) : bits(encode(value)) {}

  /// The number with this representation.
  static constexpr SmallFloat fromBits(std::uint16_t representation) {
    SmallFloat result;
    result.bits = representation;
    return result;
  }

  constexpr explicit operator float() const { return std::bit_cast<float>(float32Bits()); }
  constexpr explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }

 private:
  static constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  static constexpr std::uint16_t kInfinity = static_cast<std::uint16_t>(((1 << kExponentBits) - 1) << kMantissaBits);

  static constexpr std::uint16_t encode(double value) {
    constexpr int kDoubleMantissaBits = 52;
    constexpr int kDoubleBias = 1023;
    constexpr std::uint64_t kImplicitBit = std::uint64_t{1} << kDoubleMantissaBits;
    const auto source = std::bit_cast<std::uint64_t>(value);
    const auto sign = static_cast<std::uint16_t>((source >> 48) & 0x8000u);
    const int exponent = static_cast<int>((source >> kDoubleMantissaBits) & 0x7ffu) - kDoubleBias;
    const std::uint64_t fraction = source & (kImplicitBit - 1);

    if (exponent > kDoubleBias) {  // infinity or NaN, whose leading payload bits are kept
      if (fraction == 0) return sign | kInfinity;
      constexpr std::uint16_t kQuiet = std::uint16_t{1} << (kMantissaBits - 1);
      const auto payload = static_cast<std::uint16_t>(fraction >> (kDoubleMantissaBits - kMantissaBits));
      return static_cast<std::uint16_t>(sign | kInfinity | kQuiet | payload);
    }
    if (exponent > kBias) return sign | kInfinity;

    // A denormal result keeps one bit less for each step below the smallest normal exponent.
    const bool isDenormal = exponent < 1 - kBias;
    const int shift = kDoubleMantissaBits - kMantissaBits + (isDenormal ? 1 - kBias - exponent : 0);
    if (shift > kDoubleMantissaBits + 1) return sign;  // below half the smallest denormal

    const std::uint64_t significand = fraction | kImplicitBit;
    const std::uint64_t half = std::uint64_t{1} << (shift - 1);
    const std::uint64_t rest = significand & ((half << 1) - 1);
    std::uint64_t rounded = significand >> shift;
    if (rest > half || (rest == half && (rounded & 1u) != 0)) ++rounded;
    // The significand's leading bit, or a carry out of it, increments the exponent field, up to that of infinity.
    const std::uint64_t base = isDenormal ? 0 : static_cast<std::uint64_t>(exponent + kBias - 1) << kMantissaBits;
    return static_cast<std::uint16_t>(sign | (base + rounded));
  }

  constexpr std::uint32_t float32Bits() const {
    constexpr int kFloatMantissaBits = 23;
    constexpr int kFloatBias = 127;
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    const std::uint32_t field = (bits & 0x7fffu) >> kMantissaBits;
    const std::uint32_t fraction = bits & ((1u << kMantissaBits) - 1u);
    const std::uint32_t widened = fraction << (kFloatMantissaBits - kMantissaBits);
    if (field == (1u << kExponentBits) - 1u) return sign | 0x7f800000u | widened;
    if constexpr (kBias == kFloatBias) return sign | (field << kFloatMantissaBits) | widened;
    if (field != 0) return sign | ((field + kFloatBias - kBias) << kFloatMantissaBits) | widened;
    if (fraction == 0) return sign;
    // A denormal becomes normal: shift its leading bit to the implicit place.
    const int shift = kMantissaBits + 1 - static_cast<int>(std::bit_width(fraction));
    const auto exponent = static_cast<std::uint32_t>(1 - kBias - shift + kFloatBias);
    const std::uint32_t normalized = (widened << shift) & 0x7fffffu;
    return sign | (exponent << kFloatMantissaBits) | normalized;
  }
};

/// IEEE 754 binary16: 5 exponent bits, 10 mantissa bits.
using Float16 = SmallFloat<5>;

/// The leading half of a float32: 8 exponent bits, 7 mantissa bits.
using BFloat16 = SmallFloat<8>;

}  // namespace metalloid::math
