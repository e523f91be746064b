#include "formats/gzip_reader.hpp"

#include "core/format.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <zlib.h>

namespace metalloid::formats {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;
constexpr int kGzipOnly = 15 + 16;  // zlib: the largest window, and a gzip header is required

}  // namespace

struct GzipReader::Stream {
  z_stream state{};

  Stream() {
    if (::inflateInit2(&state, kGzipOnly) != Z_OK) {
      throw Error(ErrorCode::outOfMemory, "There is no memory for the state of a gzip decoder (about 40 KiB).");
    }
  }
  ~Stream() { ::inflateEnd(&state); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

ByteSource memorySource(std::span<const std::byte> bytes) {
  return [bytes](std::span<std::byte> out) mutable {
    const std::size_t count = std::min(bytes.size(), out.size());
    std::copy_n(bytes.begin(), count, out.begin());
    bytes = bytes.subspan(count);
    return count;
  };
}

GzipReader::GzipReader(std::string title, ByteSource source)
    : title_(std::move(title)), source_(std::move(source)), buffer_(std::make_unique<std::byte[]>(kBufferBytes)) {
  refill();
  const bool gzip = pending_.size() >= 2 && pending_[0] == std::byte{0x1f} && pending_[1] == std::byte{0x8b};
  if (gzip) stream_ = std::make_unique<Stream>();
}

GzipReader::~GzipReader() = default;

void GzipReader::refill() { pending_ = {buffer_.get(), source_({buffer_.get(), kBufferBytes})}; }

std::size_t GzipReader::read(std::span<std::byte> bytes) { return stream_ ? inflate(bytes) : readPlain(bytes); }

std::size_t GzipReader::readPlain(std::span<std::byte> bytes) {
  const std::size_t buffered = std::min(bytes.size(), pending_.size());
  std::copy_n(pending_.begin(), buffered, bytes.begin());
  pending_ = pending_.subspan(buffered);
  // Past the buffer that held the first bytes there is nothing to look at: read straight to where it belongs.
  return buffered < bytes.size() ? buffered + source_(bytes.subspan(buffered)) : buffered;
}

std::size_t GzipReader::inflate(std::span<std::byte> bytes) {
  z_stream& state = stream_->state;
  std::size_t done = 0;
  while (done < bytes.size() && !ended_) {
    if (pending_.empty()) refill();
    if (pending_.empty()) {
      ended_ = true;
      if (atMemberStart_) break;
      throw Error(ErrorCode::malformedFile,
                  fmt::format("{} is truncated: its gzip stream breaks off after {} bytes.", title_, consumed_));
    }
    const std::size_t room = std::min<std::size_t>(bytes.size() - done, std::numeric_limits<uInt>::max());
    state.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(pending_.data()));
    state.avail_in = static_cast<uInt>(pending_.size());
    state.next_out = reinterpret_cast<Bytef*>(bytes.data() + done);
    state.avail_out = static_cast<uInt>(room);
    const int result = ::inflate(&state, Z_NO_FLUSH);
    const std::size_t used = pending_.size() - state.avail_in;
    pending_ = pending_.subspan(used);
    consumed_ += used;
    done += room - state.avail_out;
    if (result == Z_STREAM_END) {
      ::inflateReset(&state);  // another member may follow
      atMemberStart_ = true;
    } else if (result == Z_OK || result == Z_BUF_ERROR) {
      atMemberStart_ = false;
    } else if (result == Z_MEM_ERROR) {
      throw Error(ErrorCode::outOfMemory, fmt::format("There is no memory for the gzip decoder of {}.", title_));
    } else {
      ended_ = true;
      throw Error(ErrorCode::malformedFile,
                  fmt::format("{} has a damaged gzip stream near its compressed byte {}: {}.", title_, consumed_,
                              state.msg != nullptr ? state.msg : "invalid data"));
    }
  }
  return done;
}

}  // namespace metalloid::formats
