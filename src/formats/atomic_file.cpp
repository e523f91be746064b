#include "formats/atomic_file.hpp"

#include "core/format.hpp"
#include "formats/file_descriptor.hpp"
#include "formats/file_error.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace metalloid::formats {
namespace {

constexpr std::string_view kTemporaryMark = ".tmp-";

}  // namespace

void writeFileAtomically(const std::filesystem::path& path, const std::string& what,
                         const std::function<void(FileWriter&)>& writeContent) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    FileWriter writer(path, what);
    writeContent(writer);
    writer.finish();
    return;
  }
  // A link stays a link: what it points to is replaced.
  const std::filesystem::path target =
      std::filesystem::is_symlink(path, ignored) ? std::filesystem::weakly_canonical(path, ignored) : path;
  const std::filesystem::path temporary = temporarySibling(target);
  try {
    FileWriter writer(temporary, what, path);
    writeContent(writer);
    writer.finish();
    if (::rename(temporary.c_str(), target.c_str()) != 0) {
      throwFileError(fmt::format("Writing {} to \"{}\" fails when \"{}\" of {} bytes is renamed", what, path.string(),
                                 temporary.string(), writer.size()),
                     errno);
    }
  } catch (...) {
    std::filesystem::remove(temporary, ignored);
    throw;
  }
  syncDirectory(target.parent_path());
}

std::filesystem::path temporarySibling(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  // A trailing slash leaves filename() empty; the directory's own name is meant.
  const std::filesystem::path named = path.has_filename() ? path : path.parent_path();
  return named.parent_path() /
         fmt::format(".{}{}{}-{}", named.filename().string(), kTemporaryMark, ::getpid(), counter.fetch_add(1));
}

bool isTemporaryName(std::string_view fileName) {
  const std::size_t mark = fileName.rfind(kTemporaryMark);
  if (!fileName.starts_with('.') || mark == std::string_view::npos || mark < 2) return false;
  const std::string_view numbers = fileName.substr(mark + kTemporaryMark.size());
  const std::size_t dash = numbers.find('-');
  const auto allDigits = [](std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  return dash != std::string_view::npos && allDigits(numbers.substr(0, dash)) && allDigits(numbers.substr(dash + 1));
}

std::size_t removeTemporaries(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> leftovers;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (isTemporaryName(it->path().filename().string())) leftovers.push_back(it->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throwFileError(fmt::format("Directory \"{}\" cannot be listed", directory.string()), error.value());
  }
  for (const auto& leftover : leftovers) {
    std::filesystem::remove_all(leftover, error);
    if (error) throwFileError(fmt::format("The leftover \"{}\" cannot be removed", leftover.string()), error.value());
  }
  return leftovers.size();
}

void syncDirectory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? std::filesystem::path(".") : directory;
  const FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor) throwFileError(fmt::format("Directory \"{}\" cannot be opened to flush it", path.string()), errno);
  // Some file systems (network, FUSE) have no such flush and answer EINVAL; there the rename itself must do.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) {
    throwFileError(fmt::format("Directory \"{}\" cannot be flushed", path.string()), errno);
  }
}

}  // namespace metalloid::formats
