#include "math/float16.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace metalloid::math {
namespace {

template <class Type>
struct Limits;

template <>
struct Limits<Float16> {
  static constexpr int kMantissaBits = 10;
  static constexpr int kSmallestExponent = -14;
  static constexpr double kLargest = 65504;
};

template <>
struct Limits<BFloat16> {
  static constexpr int kMantissaBits = 7;
  static constexpr int kSmallestExponent = -126;
  static constexpr double kLargest = 0x1.fep127;
};

template <class Type>
class SmallFloatTest : public testing::Test {
 protected:
  using L = Limits<Type>;

  /// The value of a representation, straight from the definition.
  static double valueOf(std::uint16_t bits) {
    const int field = (bits & 0x7fff) >> L::kMantissaBits;
    const int fraction = bits & ((1 << L::kMantissaBits) - 1);
    const int largestField = (1 << (15 - L::kMantissaBits)) - 1;
    const double sign = (bits & 0x8000) != 0 ? -1 : 1;
    if (field == largestField) {
      return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
    }
    const int significand = field == 0 ? fraction : fraction + (1 << L::kMantissaBits);
    return sign * std::ldexp(significand, L::kSmallestExponent - L::kMantissaBits + (field == 0 ? 0 : field - 1));
  }

  static std::uint16_t roundedBits(double value) { return Type(value).bits; }
};

using Types = testing::Types<Float16, BFloat16>;

struct TypeNames {
  template <class Type>
  static std::string GetName(int) {
    return std::is_same_v<Type, Float16> ? "Float16" : "BFloat16";
  }
};

TYPED_TEST_SUITE(SmallFloatTest, Types, TypeNames);

TYPED_TEST(SmallFloatTest, AllValuesConvertExactlyBothWays) {
  for (int i = 0; i <= 0xffff; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const double expected = this->valueOf(bits);
    const auto number = TypeParam::fromBits(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(number))) << i;
      const auto again = TypeParam(static_cast<double>(number));
      EXPECT_TRUE(std::isnan(static_cast<float>(again))) << i;
      EXPECT_EQ(again.bits & 0x8000, bits & 0x8000) << i;
      continue;
    }
    EXPECT_EQ(static_cast<double>(number), expected) << i;
    EXPECT_EQ(static_cast<double>(static_cast<float>(number)), expected) << i;
    EXPECT_EQ(std::signbit(static_cast<float>(number)), (bits & 0x8000) != 0) << i;
    EXPECT_EQ(TypeParam(expected).bits, bits);
    EXPECT_EQ(TypeParam(static_cast<float>(expected)).bits, bits);
  }
}

TYPED_TEST(SmallFloatTest, RoundsToNearestAndTiesToEven) {
  const std::uint16_t largest = this->roundedBits(Limits<TypeParam>::kLargest);
  EXPECT_EQ(this->valueOf(largest), Limits<TypeParam>::kLargest);
  for (std::uint16_t bits = 0; bits <= largest; ++bits) {
    const double below = this->valueOf(bits);
    // Beyond the largest number the tie is where the next number would have been.
    const double above = bits == largest ? below + (below - this->valueOf(static_cast<std::uint16_t>(bits - 1)))
                                         : this->valueOf(static_cast<std::uint16_t>(bits + 1));
    const double middle = (below + above) / 2;
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const std::uint16_t even = bits % 2 == 0 ? bits : next;
    for (const std::uint16_t sign : {std::uint16_t{0}, std::uint16_t{0x8000}}) {
      const double factor = sign == 0 ? 1 : -1;
      EXPECT_EQ(this->roundedBits(factor * middle), sign | even) << bits;
      // One step of double precision off the tie decides: a detour over float32 would round to the tie first.
      EXPECT_EQ(this->roundedBits(factor * std::nextafter(middle, 0.0)), sign | bits) << bits;
      EXPECT_EQ(this->roundedBits(factor * std::nextafter(middle, 1e300)), sign | next) << bits;
    }
  }
}

TYPED_TEST(SmallFloatTest, EndsOfTheRange) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::uint16_t infinityBits = this->roundedBits(infinity);
  EXPECT_EQ(this->valueOf(infinityBits), infinity);
  EXPECT_EQ(this->roundedBits(-infinity), infinityBits | 0x8000);
  EXPECT_EQ(this->roundedBits(1e300), infinityBits);
  EXPECT_EQ(this->roundedBits(std::numeric_limits<double>::max()), infinityBits);
  EXPECT_EQ(this->roundedBits(1e-300), 0);
  EXPECT_EQ(this->roundedBits(std::numeric_limits<double>::denorm_min()), 0);
  EXPECT_EQ(this->roundedBits(-1e-300), 0x8000);
  EXPECT_EQ(this->roundedBits(-0.0), 0x8000);
}

TYPED_TEST(SmallFloatTest, SignalingNaNStaysNaN) {
  // All of its payload lies beyond the bits that are kept.
  const auto nan = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(nan))));
}

TEST(SmallFloat, ConvertsAtCompileTime) {
  static_assert(Float16(1.0).bits == 0x3c00);
  static_assert(Float16(65520.0).bits == 0x7c00);
  static_assert(BFloat16(-2.0).bits == 0xc000);
  static_assert(static_cast<float>(Float16::fromBits(1)) == 0x1p-24f);
  static_assert(static_cast<double>(BFloat16::fromBits(0x3f81)) == 1.0078125);
  static_assert(sizeof(Float16) == 2 && sizeof(BFloat16) == 2);
}

}  // namespace
}  // namespace metalloid::math
