#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace metalloid::formats {

/// Fills the span as far as the source reaches; less than asked only at its end.
using ByteSource = std::function<std::size_t(std::span<std::byte>)>;

/// Bytes in memory as a source.
ByteSource memorySource(std::span<const std::byte> bytes);

/// Reads a source that may be compressed: content that starts with gzip's two magic bytes is inflated (several members
/// one after another count as one stream, checksums are verified), anything else passes through unchanged.
///
/// Only what is asked for is inflated, so a small file that would unfold into gigabytes costs nothing until somebody
/// asks for them.
class GzipReader {
 public:
  /// `title` starts every message, for instance `IDX file "labels.gz"`.
  GzipReader(std::string title, ByteSource source);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  /// Fills `bytes` as far as the content reaches; less than asked only at its end. Damaged or truncated compressed data
  /// is a `malformedFile` error.
  std::size_t read(std::span<std::byte> bytes);

  bool compressed() const noexcept { return stream_ != nullptr; }

 private:
  struct Stream;

  std::size_t readPlain(std::span<std::byte> bytes);
  std::size_t inflate(std::span<std::byte> bytes);
  void refill();

  std::string title_;
  ByteSource source_;
  std::unique_ptr<std::byte[]> buffer_;
  std::span<const std::byte> pending_;  // read from the source and not used yet
  std::unique_ptr<Stream> stream_;      // none for plain content
  std::uint64_t consumed_ = 0;          // compressed bytes used so far
  bool atMemberStart_ = true;
  bool ended_ = false;
};

}  // namespace metalloid::formats
