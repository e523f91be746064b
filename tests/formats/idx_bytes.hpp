#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::testing {

inline std::string bigEndian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

/// An IDX file: magic number, dimensions, data.
inline std::string idxBytes(std::uint32_t magic, const std::vector<std::uint32_t>& shape, std::string_view data) {
  std::string bytes = bigEndian(magic);
  for (std::uint32_t extent : shape) bytes += bigEndian(extent);
  return bytes.append(data);
}

inline std::string imageBytes(std::uint32_t count, std::uint32_t rows, std::uint32_t columns) {
  std::string pixels;
  for (std::uint32_t i = 0; i < count * rows * columns; ++i) pixels += static_cast<char>(i * 37 + 11);
  return idxBytes(0x803, {count, rows, columns}, pixels);
}

inline std::string labelBytes(const std::vector<std::uint8_t>& labels) {
  return idxBytes(0x801, {static_cast<std::uint32_t>(labels.size())},
                  std::string_view(reinterpret_cast<const char*>(labels.data()), labels.size()));
}

}  // namespace metalloid::testing
