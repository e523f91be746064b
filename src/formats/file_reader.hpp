#pragma once

#include "formats/file_descriptor.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace metalloid::formats {

/// A file that is read from start to end. Errors name the path.
class FileReader {
 public:
  /// `what` names the content in messages, for instance "IDX file".
  FileReader(const std::filesystem::path& path, std::string what);

  /// Fills `bytes` as far as the file reaches; the result is less than asked only at the end of the file.
  std::size_t read(std::span<std::byte> bytes);

  /// The size of a regular file; 0 for pipes and the like, whose size nobody knows beforehand.
  std::uint64_t size() const noexcept { return size_; }

 private:
  std::filesystem::path path_;
  std::string what_;
  FileDescriptor file_;
  std::uint64_t size_ = 0;
};

/// The whole file. More than `limit` bytes are a `malformedFile` error, so that a wrong path cannot fill the memory.
std::vector<std::byte> readWholeFile(const std::filesystem::path& path, std::string what, std::uint64_t limit);

}  // namespace metalloid::formats
