#include "formats/file_reader.hpp"

#include "core/format.hpp"
#include "formats/file_error.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

namespace metalloid::formats {
namespace {

constexpr std::size_t kSystemCallBytes = std::size_t{1} << 30;  // one read() moves at most 2^31 - 4096 bytes on Linux
constexpr std::size_t kGrowBytes = std::size_t{1} << 20;

}  // namespace

FileReader::FileReader(const std::filesystem::path& path, std::string what) : path_(path), what_(std::move(what)) {
  file_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file_) throwFileError(fmt::format("{} \"{}\" cannot be opened", what_, path_.string()), errno);
  struct stat status {};
  if (::fstat(file_.get(), &status) == 0 && S_ISREG(status.st_mode)) size_ = static_cast<std::uint64_t>(status.st_size);
}

std::size_t FileReader::read(std::span<std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(file_.get(), bytes.data() + done, std::min(bytes.size() - done, kSystemCallBytes));
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      throwFileError(fmt::format("{} \"{}\" cannot be read beyond byte {}", what_, path_.string(), done), errno);
    }
    done += static_cast<std::size_t>(count);
  }
  return done;
}

std::vector<std::byte> readWholeFile(const std::filesystem::path& path, std::string what, std::uint64_t limit) {
  FileReader reader(path, what);
  const auto refuseTooLarge = [&](const std::string& actual) {
    throw Error(ErrorCode::malformedFile, fmt::format("{} \"{}\" holds {} bytes, but at most {} are expected.", what,
                                                      path.string(), actual, limit));
  };
  if (reader.size() > limit) refuseTooLarge(std::to_string(reader.size()));
  std::vector<std::byte> bytes;
  try {
    // One byte more than the file claims, so that the end of the file is seen without another round.
    std::size_t wanted = static_cast<std::size_t>(reader.size()) + 1;
    for (;;) {
      const std::size_t filled = bytes.size();
      bytes.resize(filled + wanted);
      const std::size_t count = reader.read(std::span(bytes).subspan(filled));
      bytes.resize(filled + count);
      if (bytes.size() > limit) refuseTooLarge("more than " + std::to_string(limit));
      if (count < wanted) return bytes;
      wanted = kGrowBytes;
    }
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::outOfMemory, fmt::format("{} \"{}\" holds {} bytes, which do not fit in memory.", what,
                                                    path.string(), reader.size()));
  }
}

}  // namespace metalloid::formats
