#pragma once

#include "math/float16.hpp"
#include "operations/views.hpp"

#include <cstdint>
#include <cstring>

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

/// Rounds once, from double to the element's type. Results are floating point or uInt32.
inline void store(std::byte* address, DataType type, double value) {
  const auto write = [&]<class T>(T element) { std::memcpy(address, static_cast<const void*>(&element), sizeof(T)); };
  switch (type) {
    case DataType::float16:
      return write(math::Float16(value));
    case DataType::bFloat16:
      return write(math::BFloat16(value));
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

}  // namespace metalloid::reference
