#pragma once

#include "operations/image_views.hpp"

#include <cstddef>
#include <cstdint>

namespace metalloid::operations {

enum class ArithmeticType : std::uint8_t { add, subtract, multiply, divide };

/// Steps of an operand from one element of the result to the next: 1, or 0 to use its first for all.
struct Broadcast {
  std::size_t x = 1;
  std::size_t y = 1;
  std::size_t channels = 1;

  friend bool operator==(const Broadcast&, const Broadcast&) = default;
};

/// With P = primaryScale * primary and S = secondaryScale * secondary: v = P + S + bias, P - S + bias, P * S + bias or
/// P / S + bias; result = min(max(v, minimumValue), maximumValue); mask = minimumValue < v && v < maximumValue
struct CNNArithmetic {
  static constexpr const char* kName = "CNNArithmetic";
  ImageView primary;
  ImageView secondary;
  ImageView result;
  ImageView mask;  // result, of uInt8 and the result's size; optional
  ArithmeticType type = ArithmeticType::add;
  Broadcast primaryStride;
  Broadcast secondaryStride;
  float primaryScale = 1;
  float secondaryScale = 1;
  float bias = 0;
  float minimumValue = 0;
  float maximumValue = 0;

  friend bool operator==(const CNNArithmetic&, const CNNArithmetic&) = default;
};

/// result = scale * sum of gradient [* other] where mask, over the axes on which resultStride is 0; those have one
/// element in the result.
struct CNNArithmeticGradient {
  static constexpr const char* kName = "CNNArithmeticGradient";
  ImageView gradient;
  ImageView other;  // the other factor of a product; else not given
  ImageView mask;   // of uInt8 and the gradient's size; optional: 1
  ImageView result;
  Broadcast otherStride;
  Broadcast resultStride;
  float scale = 1;

  friend bool operator==(const CNNArithmeticGradient&, const CNNArithmeticGradient&) = default;
};

}  // namespace metalloid::operations
