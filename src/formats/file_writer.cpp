#include "formats/file_writer.hpp"

#include "core/format.hpp"
#include "formats/file_error.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <zlib.h>

namespace metalloid::formats {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
constexpr std::size_t kSystemCallBytes = std::size_t{1} << 30;

std::uint32_t extendCrc32(std::uint32_t crc, std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

std::uint32_t crc32Of(std::span<const std::byte> bytes) { return bytes.empty() ? 0 : extendCrc32(0, bytes); }

FileWriter::FileWriter(const std::filesystem::path& path, std::string what, const std::filesystem::path& shownAs)
    : shownAs_((shownAs.empty() ? path : shownAs).string()), what_(std::move(what)) {
  file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file_) throwFileError(fmt::format("Writing {} to \"{}\" fails when the file is opened", what_, shownAs_), errno);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  crc32_ = extendCrc32(crc32_, bytes);
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) {
    flush(buffer_);
    buffer_.clear();
  }
  if (bytes.size() > kBufferBytes) {
    flush(bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void FileWriter::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void FileWriter::flush(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.get(), bytes.data(), std::min(bytes.size(), kSystemCallBytes));
    if (count < 0) {
      if (errno == EINTR) continue;
      throwFileError(fmt::format("Writing {} to \"{}\" fails: {} of {} bytes asked for so far are not written", what_,
                                 shownAs_, bytes.size(), size_),
                     errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void FileWriter::finish() {
  flush(buffer_);
  buffer_.clear();
  // Devices and pipes answer EINVAL or EROFS: there is nothing to wait for.
  if (::fsync(file_.get()) != 0 && errno != EINVAL && errno != EROFS) {
    throwFileError(fmt::format("Writing {} to \"{}\" fails when its {} bytes are flushed", what_, shownAs_, size_),
                   errno);
  }
  if (::close(file_.release()) != 0 && errno != EINTR) {
    throwFileError(
        fmt::format("Writing {} to \"{}\" fails when the file of {} bytes is closed", what_, shownAs_, size_), errno);
  }
}

}  // namespace metalloid::formats
