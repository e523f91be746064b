#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::formats {

/// Element types of the IDX format; the values are those of the third byte of a file.
enum class IdxType : std::uint8_t {
  uint8 = 0x08,
  int8 = 0x09,
  int16 = 0x0B,
  int32 = 0x0C,
  float32 = 0x0D,
  float64 = 0x0E,
};

/// What a caller expects to find in a file.
struct IdxKind {
  IdxType type = IdxType::uint8;
  std::size_t rank = 1;
  std::string_view content;  ///< For messages: "images", "labels".
};

inline constexpr IdxKind kIdxImages{IdxType::uint8, 3, "images"};  // magic number 0x00000803
inline constexpr IdxKind kIdxLabels{IdxType::uint8, 1, "labels"};  // magic number 0x00000801

/// The content of an IDX file.
struct IdxArray {
  IdxType type = IdxType::uint8;
  std::vector<std::size_t> shape;   ///< Outermost dimension first.
  std::vector<std::uint8_t> bytes;  ///< Row-major; elements of several bytes are big-endian, as in the file.

  /// shape[0] * shape[1] * ...
  std::size_t elementCount() const;
};

/// Bytes of one element.
std::size_t elementSize(IdxType type);

/// Reads an IDX file, compressed with gzip or not (its content decides, not its name).
///
/// The declared size decides how much is inflated and kept: a file with more or less is refused. Every damage, a kind
/// other than `expected`, and an absent file throw an Error that names the file with actual and expected values.
IdxArray readIdx(const std::filesystem::path& path, const std::optional<IdxKind>& expected = {});

/// The same for bytes in memory; `title` starts every message.
IdxArray parseIdx(std::span<const std::byte> bytes, const std::string& title,
                  const std::optional<IdxKind>& expected = {});

}  // namespace metalloid::formats
