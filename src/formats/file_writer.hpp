#pragma once

#include "formats/file_descriptor.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::formats {

/// Writes a file from start to end through a buffer and reports every failure, a full disk included, as an Error that
/// names the path, the content, the bytes asked for and the system's reason.
class FileWriter {
 public:
  /// Creates the file, or empties the one that is there. `what` names the content, for instance "the weights";
  /// `shownAs` is the path that messages name where the file has a temporary name.
  FileWriter(const std::filesystem::path& path, std::string what, const std::filesystem::path& shownAs = {});

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);

  /// Writes what is buffered, waits until the storage device has it, and closes the file. A writer that is destroyed
  /// without finish() leaves an incomplete file.
  void finish();

  /// The path that messages name.
  const std::string& shownAs() const noexcept { return shownAs_; }

  /// Bytes given to write() so far.
  std::uint64_t size() const noexcept { return size_; }

  /// CRC-32 (that of gzip and PNG) of all bytes given to write() so far.
  std::uint32_t crc32() const noexcept { return crc32_; }

 private:
  void flush(std::span<const std::byte> bytes);

  std::string shownAs_;
  std::string what_;
  FileDescriptor file_;
  std::vector<std::byte> buffer_;
  std::uint64_t size_ = 0;
  std::uint32_t crc32_ = 0;
};

/// CRC-32 (that of gzip and PNG) of the bytes.
std::uint32_t crc32Of(std::span<const std::byte> bytes);

}  // namespace metalloid::formats
