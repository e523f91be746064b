#include "core/element_conversion.hpp"

#include "core/format.hpp"
#include "math/float16.hpp"

#include <metalloid/error.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace metalloid::detail {
namespace {

/// An integer that stands for its share of the largest.
template <std::unsigned_integral Code>
struct Unorm {
  static constexpr double kOne = std::numeric_limits<Code>::max();
  Code code;
};

template <class T>
inline constexpr bool isUnorm = false;
template <class Code>
inline constexpr bool isUnorm<Unorm<Code>> = true;

/// A byte that is true unless 0; a C++ bool may not hold the other values that a buffer may.
struct Bool {
  std::uint8_t code;
};

template <class To, class From>
To convert(From value);

/// To nearest (even) and clamped to the range; NaN becomes 0.
template <std::integral To>
To toInteger(double value) {
  if (std::isnan(value)) return 0;
  value = std::nearbyint(value);
  if (value <= static_cast<double>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (value >= static_cast<double>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(value);
}

template <std::integral To, std::integral From>
To toInteger(From value) {
  if (std::cmp_less(value, std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (std::cmp_greater(value, std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(value);
}

/// Any element as a number that holds it exactly: double for floating point, itself for integers.
template <class From>
auto exactly(From value) {
  if constexpr (isUnorm<From>) {
    return value.code / From::kOne;
  } else if constexpr (std::same_as<From, Bool>) {
    return static_cast<std::uint8_t>(value.code != 0);
  } else if constexpr (std::integral<From>) {
    return value;
  } else {
    return static_cast<double>(value);
  }
}

template <class To, class From>
To convert(From value) {
  const auto exact = exactly(value);
  if constexpr (isUnorm<To>) {
    return {toInteger<decltype(To::code)>(static_cast<double>(exact) * To::kOne)};
  } else if constexpr (std::same_as<To, Bool>) {
    return {static_cast<std::uint8_t>(exact != 0)};
  } else if constexpr (std::integral<To>) {
    return toInteger<To>(exact);
  } else if constexpr (std::floating_point<To>) {
    return static_cast<To>(exact);
  } else {
    return To(static_cast<double>(exact));  // float16 and bfloat16 round once, from double
  }
}

/// Calls f with a value of the C++ type that stores `type`.
template <class F>
auto withElementType(DataType type, F&& f) {
  switch (type) {
    case DataType::float32:
      return f(float{});
    case DataType::float16:
      return f(math::Float16{});
    case DataType::bFloat16:
      return f(math::BFloat16{});
    case DataType::int8:
      return f(std::int8_t{});
    case DataType::int16:
      return f(std::int16_t{});
    case DataType::int32:
      return f(std::int32_t{});
    case DataType::int64:
      return f(std::int64_t{});
    case DataType::uInt8:
      return f(std::uint8_t{});
    case DataType::uInt16:
      return f(std::uint16_t{});
    case DataType::uInt32:
      return f(std::uint32_t{});
    case DataType::uInt64:
      return f(std::uint64_t{});
    case DataType::bool_:
      return f(Bool{});
    case DataType::unorm8:
      return f(Unorm<std::uint8_t>{});
    case DataType::unorm16:
      return f(Unorm<std::uint16_t>{});
    default:
      throw Error(ErrorCode::unsupported, fmt::format("Elements of type {} cannot be read or written.", name(type)));
  }
}

}  // namespace

template <class T>
std::vector<std::byte> encodeElements(std::span<const T> values, DataType type) {
  return withElementType(type, [&]<class E>(E) -> std::vector<std::byte> {
    if constexpr (std::same_as<E, T>) {
      return {};
    } else {
      std::vector<std::byte> bytes(values.size() * sizeof(E));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const E element = convert<E>(values[i]);
        std::memcpy(bytes.data() + i * sizeof(E), &element, sizeof(E));
      }
      return bytes;
    }
  });
}

template <class T>
std::vector<T> decodeElements(std::span<const std::byte> elements, DataType type) {
  return withElementType(type, [&]<class E>(E) {
    std::vector<T> values(elements.size() / sizeof(E));
    for (std::size_t i = 0; i < values.size(); ++i) {
      E element;
      std::memcpy(static_cast<void*>(&element), elements.data() + i * sizeof(E), sizeof(E));
      values[i] = convert<T>(element);
    }
    return values;
  });
}

template std::vector<std::byte> encodeElements(std::span<const float>, DataType);
template std::vector<std::byte> encodeElements(std::span<const double>, DataType);
template std::vector<std::byte> encodeElements(std::span<const std::uint32_t>, DataType);
template std::vector<std::byte> encodeElements(std::span<const std::int32_t>, DataType);
template std::vector<std::byte> encodeElements(std::span<const std::uint8_t>, DataType);
template std::vector<float> decodeElements(std::span<const std::byte>, DataType);
template std::vector<double> decodeElements(std::span<const std::byte>, DataType);
template std::vector<std::uint32_t> decodeElements(std::span<const std::byte>, DataType);
template std::vector<std::int32_t> decodeElements(std::span<const std::byte>, DataType);
template std::vector<std::uint8_t> decodeElements(std::span<const std::byte>, DataType);

}  // namespace metalloid::detail
