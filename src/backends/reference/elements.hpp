#pragma once

#include "math/float16.hpp"
#include "operations/image_views.hpp"
#include "operations/views.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

/// Element access for the reference back end: one element at a time, whatever its type, as a double.
namespace metalloid::reference {

inline double load(const std::byte* address, DataType type) {
  const auto read = [&]<class T>(T value) {
    std::memcpy(static_cast<void*>(&value), address, sizeof(T));
    return static_cast<double>(value);
  };
  switch (type) {
    case DataType::float16:
      return read(math::Float16{});
    case DataType::bFloat16:
      return read(math::BFloat16{});
    case DataType::int8:
      return read(std::int8_t{});
    case DataType::int16:
      return read(std::int16_t{});
    case DataType::int32:
      return read(std::int32_t{});
    case DataType::unorm8:
      return read(std::uint8_t{}) / 255;
    case DataType::unorm16:
      return read(std::uint16_t{}) / 65535;
    case DataType::uInt8:
      return read(std::uint8_t{});
    case DataType::uInt16:
      return read(std::uint16_t{});
    case DataType::uInt32:
      return read(std::uint32_t{});
    default:
      return read(float{});
  }
}

/// A normalized integer: clamped to [0, 1], rounded to nearest even; NaN becomes 0.
template <class Code>
Code normalized(double value) {
  constexpr double kOne = std::numeric_limits<Code>::max();
  return value > 0 ? static_cast<Code>(std::nearbyint(std::min(value, 1.0) * kOne)) : Code{0};
}

/// Rounds once, from double to the element's type. Results are floating point, normalized or uInt32.
inline void store(std::byte* address, DataType type, double value) {
  const auto write = [&]<class T>(T element) { std::memcpy(address, static_cast<const void*>(&element), sizeof(T)); };
  switch (type) {
    case DataType::float16:
      return write(math::Float16(value));
    case DataType::bFloat16:
      return write(math::BFloat16(value));
    case DataType::unorm8:
      return write(normalized<std::uint8_t>(value));
    case DataType::unorm16:
      return write(normalized<std::uint16_t>(value));
    case DataType::uInt32:
      return write(static_cast<std::uint32_t>(value));
    default:
      return write(static_cast<float>(value));
  }
}

/// Element (i, j) of the view's first matrix.
inline double at(const operations::MatrixView& view, std::size_t i, std::size_t j) {
  return load(view.row(i) + j * sizeOfDataType(view.type), view.type);
}

inline void set(const operations::MatrixView& view, std::size_t i, std::size_t j, double value) {
  store(view.row(i) + j * sizeOfDataType(view.type), view.type, value);
}

/// Element j of a vector.
inline double at(const operations::VectorView& view, std::size_t j) {
  return load(view.data + j * sizeOfDataType(view.type), view.type);
}

/// Element j of an optional vector, or what it stands for.
inline double at(const operations::VectorView& view, std::size_t j, double absent) {
  return view ? at(view, j) : absent;
}

inline void set(const operations::VectorView& view, std::size_t j, double value) {
  store(view.data + j * sizeOfDataType(view.type), view.type, value);
}

/// Channel c of pixel (y, x) of image n.
inline double at(const operations::ImageView& view, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
  return load(view.pixel(n, y, x) + c * sizeOfDataType(view.type), view.type);
}

/// The same for a pixel that may lie outside: what the edge mode says.
inline double at(const operations::ImageView& view, ImageEdgeMode edgeMode, std::size_t n, std::ptrdiff_t y,
                 std::ptrdiff_t x, std::size_t c) {
  const auto height = static_cast<std::ptrdiff_t>(view.height), width = static_cast<std::ptrdiff_t>(view.width);
  if (edgeMode == ImageEdgeMode::clamp) {
    y = std::clamp<std::ptrdiff_t>(y, 0, height - 1);
    x = std::clamp<std::ptrdiff_t>(x, 0, width - 1);
  } else if (y < 0 || y >= height || x < 0 || x >= width) {
    return 0;
  }
  return at(view, n, static_cast<std::size_t>(y), static_cast<std::size_t>(x), c);
}

inline void set(const operations::ImageView& view, std::size_t n, std::size_t y, std::size_t x, std::size_t c,
                double value) {
  store(view.pixel(n, y, x) + c * sizeOfDataType(view.type), view.type, value);
}

/// Calls f(n, y, x, c) for every element.
template <class F>
void forEachElement(const operations::ImageView& view, F&& f) {
  for (std::size_t n = 0; n < view.images; ++n) {
    for (std::size_t y = 0; y < view.height; ++y) {
      for (std::size_t x = 0; x < view.width; ++x) {
        for (std::size_t c = 0; c < view.channels; ++c) f(n, y, x, c);
      }
    }
  }
}

}  // namespace metalloid::reference
