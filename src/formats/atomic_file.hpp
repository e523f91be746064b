#pragma once

#include "formats/file_writer.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace metalloid::formats {

/// Replaces `path` by what `writeContent` writes, entirely or not at all: the bytes go to a temporary sibling, which is
/// flushed to the device and renamed. On any failure the temporary is removed and the former file stays as it was.
/// A path that exists and is no regular file (a device, a pipe) cannot be replaced and is written directly.
void writeFileAtomically(const std::filesystem::path& path, const std::string& what,
                         const std::function<void(FileWriter&)>& writeContent);

/// A name beside `path` that no other call in any process uses at this time: ".NAME.tmp-PID-NUMBER".
std::filesystem::path temporarySibling(const std::filesystem::path& path);

/// Whether the name is one that temporarySibling() gives.
bool isTemporaryName(std::string_view fileName);

/// Removes the temporaries that killed processes left in `directory`, and returns how many there were. To be called
/// when no other process writes there.
std::size_t removeTemporaries(const std::filesystem::path& directory);

/// Waits until the names in `directory` are on the storage device.
void syncDirectory(const std::filesystem::path& directory);

}  // namespace metalloid::formats
