#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace metalloid {

/// The type of one stored element. The low bits hold the number of bits of an element, the high bits are flags.
///
/// Matrices and vectors hold whole-byte real types; which of them a kernel takes stands with the kernel.
/// Source: MPSDataType.
enum class DataType : std::uint32_t {
  invalid = 0,  ///< No type.

  floatBit = 0x1000'0000u,              ///< Flag: IEEE floating point.
  signedBit = 0x2000'0000u,             ///< Flag: two's-complement integer.
  normalizedBit = 0x4000'0000u,         ///< Flag: an integer read as a value in [0, 1] or [-1, 1].
  alternateEncodingBit = 0x8000'0000u,  ///< Flag: another encoding of the same width.
  complexBit = 0x0100'0000u,            ///< Flag: complex; the width covers both parts.

  float32 = floatBit | 32u,                          ///< IEEE binary32.
  float16 = floatBit | 16u,                          ///< IEEE binary16.
  bFloat16 = alternateEncodingBit | floatBit | 16u,  ///< The upper half of a binary32: 8 bits of exponent.
  complexFloat32 = floatBit | complexBit | 64u,      ///< Two binary32; no matrix or vector holds it.
  complexFloat16 = floatBit | complexBit | 32u,      ///< Two binary16; no matrix or vector holds it.

  int8 = signedBit | 8u,    ///< Two's complement, 8 bits.
  int16 = signedBit | 16u,  ///< Two's complement, 16 bits.
  int32 = signedBit | 32u,  ///< Two's complement, 32 bits.
  int64 = signedBit | 64u,  ///< Two's complement, 64 bits.
  uInt8 = 8u,               ///< Unsigned, 8 bits.
  uInt16 = 16u,             ///< Unsigned, 16 bits.
  uInt32 = 32u,             ///< Unsigned, 32 bits.
  uInt64 = 64u,             ///< Unsigned, 64 bits.

  bool_ = alternateEncodingBit | 8u,  ///< One byte; true unless 0.
  unorm1 = normalizedBit | 1u,        ///< One bit, 0 or 1; no matrix or vector holds it.
  unorm8 = normalizedBit | 8u,        ///< One byte b that stands for b / 255.
  unorm16 = normalizedBit | 16u,      ///< Metalloid extension: two bytes w that stand for w / 65535.
};

/// The number of bits of one element (MPSDataTypeBitsCount).
constexpr std::size_t dataTypeBitsCount(DataType type) { return static_cast<std::uint32_t>(type) & 0xffffu; }

/// The number of bytes of one element (MPSSizeofMPSDataType); 0 for types smaller than a byte and for `invalid`.
constexpr std::size_t sizeOfDataType(DataType type) { return dataTypeBitsCount(type) / 8; }

/// The type's name as it is spelled in C++, for instance "float32"; "unknown" for a value outside the enumeration.
std::string_view name(DataType type);

}  // namespace metalloid
