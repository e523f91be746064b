#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace metalloid {

/// The type of one stored element. The low bits hold the number of bits of an element, the high bits are flags.
///
/// Matrices and vectors hold whole-byte real types. Source: MPSDataType.
enum class DataType : std::uint32_t {
  invalid = 0,

  floatBit = 0x1000'0000u,              ///< Flag: IEEE floating point.
  signedBit = 0x2000'0000u,             ///< Flag: two's-complement integer.
  normalizedBit = 0x4000'0000u,         ///< Flag: an integer read as a value in [0, 1] or [-1, 1].
  alternateEncodingBit = 0x8000'0000u,  ///< Flag: another encoding of the same width.
  complexBit = 0x0100'0000u,            ///< Flag: complex; the width covers both parts.

  float32 = floatBit | 32u,
  float16 = floatBit | 16u,
  bFloat16 = alternateEncodingBit | floatBit | 16u,
  complexFloat32 = floatBit | complexBit | 64u,
  complexFloat16 = floatBit | complexBit | 32u,

  int8 = signedBit | 8u,
  int16 = signedBit | 16u,
  int32 = signedBit | 32u,
  int64 = signedBit | 64u,
  uInt8 = 8u,
  uInt16 = 16u,
  uInt32 = 32u,
  uInt64 = 64u,

  bool_ = alternateEncodingBit | 8u,
  unorm1 = normalizedBit | 1u,
  unorm8 = normalizedBit | 8u,
};

/// The number of bits of one element (MPSDataTypeBitsCount).
constexpr std::size_t dataTypeBitsCount(DataType type) { return static_cast<std::uint32_t>(type) & 0xffffu; }

/// The number of bytes of one element (MPSSizeofMPSDataType); 0 for types smaller than a byte and for `invalid`.
constexpr std::size_t sizeOfDataType(DataType type) { return dataTypeBitsCount(type) / 8; }

/// The type's name as it is spelled in C++, for instance "float32"; "unknown" for a value outside the enumeration.
std::string_view name(DataType type);

}  // namespace metalloid
