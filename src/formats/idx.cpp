#include "formats/idx.hpp"

#include "core/format.hpp"
#include "formats/file_reader.hpp"
#include "formats/gzip_reader.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <numeric>
#include <utility>

#include <fmt/ranges.h>

namespace metalloid::formats {
namespace {

// Deflate spends at least one bit on 258 bytes beyond the first of a match pair: no stream grows by more than this.
constexpr std::uint64_t kLargestDeflateRatio = 1032;
// The data grows in such steps, so that a header alone cannot make us touch the memory it declares.
constexpr std::size_t kStepBytes = std::size_t{1} << 24;
// How far beyond the declared end a message counts exactly.
constexpr std::size_t kSurplusBytes = std::size_t{1} << 16;

[[noreturn]] void refuse(std::string sentence) { throw Error(ErrorCode::malformedFile, std::move(sentence)); }

bool isElementType(unsigned value) { return value == 0x08 || value == 0x09 || (value >= 0x0B && value <= 0x0E); }

std::string_view typeName(IdxType type) {
  switch (type) {
    case IdxType::uint8:
      return "uint8";
    case IdxType::int8:
      return "int8";
    case IdxType::int16:
      return "int16";
    case IdxType::int32:
      return "int32";
    case IdxType::float32:
      return "float32";
    case IdxType::float64:
      return "float64";
  }
  return "unknown";
}

std::uint32_t bigEndian(std::span<const std::byte, 4> bytes) {
  std::uint32_t value = 0;
  for (std::byte byte : bytes) value = value << 8 | std::to_integer<std::uint32_t>(byte);
  return value;
}

std::string describeKind(IdxType type, std::size_t rank) {
  return fmt::format("0x{:08x} ({}, {} dimension{})", static_cast<unsigned>(type) << 8 | static_cast<unsigned>(rank),
                     typeName(type), rank, rank == 1 ? "" : "s");
}

class IdxParser {
 public:
  /// `storedBytes`: the size of the source where it is known, 0 otherwise.
  IdxParser(std::string title, ByteSource source, std::uint64_t storedBytes)
      : title_(title), reader_(std::move(title), std::move(source)), storedBytes_(storedBytes) {}

  IdxArray parse(const std::optional<IdxKind>& expected) {
    IdxArray array;
    parseHeader(array, expected);
    const std::size_t declared = declaredBytes(array);
    readData(array.bytes, declared);
    if (array.bytes.size() < declared) refuseSize(std::to_string(array.bytes.size()), array, declared);
    refuseSurplus(array, declared);
    return array;
  }

 private:
  void parseHeader(IdxArray& array, const std::optional<IdxKind>& expected) {
    const std::uint32_t magic = readNumber("magic number");
    const unsigned type = magic >> 8 & 0xFF;
    const std::size_t rank = magic & 0xFF;
    if (magic >> 16 != 0 || !isElementType(type) || rank == 0) {
      refuse(
          fmt::format("{} starts with 0x{:08x}, which is no magic number of the IDX format (0x00000801 for labels, "
                      "0x00000803 for images).",
                      title_, magic));
    }
    array.type = static_cast<IdxType>(type);
    if (expected && (expected->type != array.type || expected->rank != rank)) {
      refuse(fmt::format("{} has the magic number {}, but {} need {}.", title_, describeKind(array.type, rank),
                         expected->content, describeKind(expected->type, expected->rank)));
    }
    for (std::size_t i = 0; i < rank; ++i)
      array.shape.push_back(readNumber(fmt::format("dimension {} of {}", i + 1, rank)));
  }

  std::uint32_t readNumber(std::string_view what) {
    std::array<std::byte, 4> bytes{};
    const std::size_t count = reader_.read(bytes);
    headerBytes_ += count;
    if (count < bytes.size()) {
      refuse(fmt::format("{} ends after {} bytes, within its header (the {}).", title_, headerBytes_, what));
    }
    return bigEndian(bytes);
  }

  std::size_t declaredBytes(const IdxArray& array) const {
    std::size_t bytes = elementSize(array.type);
    for (std::size_t extent : array.shape) {
      if (extent != 0 && bytes > std::numeric_limits<std::size_t>::max() / extent) {
        refuse(fmt::format("{} declares {} elements, more than this machine can address.", title_, describe(array)));
      }
      bytes *= extent;
    }
    return bytes;
  }

  void readData(std::vector<std::uint8_t>& data, std::size_t declared) {
    try {
      // Reserving what cannot be there would let a header of 16 bytes ask for any amount of memory.
      const std::uint64_t possible = reader_.compressed() ? storedBytes_ * kLargestDeflateRatio : storedBytes_;
      data.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(declared, possible)));
      while (data.size() < declared) {
        const std::size_t filled = data.size();
        const std::size_t step = std::min(kStepBytes, declared - filled);
        data.resize(filled + step);
        const std::size_t count = reader_.read(std::as_writable_bytes(std::span(data).subspan(filled)));
        data.resize(filled + count);
        if (count < step) return;
      }
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::outOfMemory,
                  fmt::format("{} declares {} bytes of data, which do not fit in memory.", title_, declared));
    } catch (const std::length_error&) {
      throw Error(ErrorCode::outOfMemory,
                  fmt::format("{} declares {} bytes of data, which do not fit in memory.", title_, declared));
    }
  }

  void refuseSurplus(const IdxArray& array, std::size_t declared) {
    std::array<std::byte, 4096> scratch;
    std::size_t surplus = 0;
    while (surplus < kSurplusBytes) {
      const std::size_t count = reader_.read(scratch);
      surplus += count;
      if (count < scratch.size()) {
        if (surplus == 0) return;
        refuseSize(std::to_string(declared + surplus), array, declared);
      }
    }
    refuseSize(fmt::format("more than {}", declared + surplus), array, declared);
  }

  [[noreturn]] void refuseSize(const std::string& actual, const IdxArray& array, std::size_t declared) const {
    refuse(fmt::format("{} holds {} bytes of data, but its header declares {} = {}.", title_, actual, describe(array),
                       declared));
  }

  // "60000 x 28 x 28", and the size of an element where it is not one byte.
  static std::string describe(const IdxArray& array) {
    const std::string shape = fmt::format("{}", fmt::join(array.shape, " x "));
    const std::size_t size = elementSize(array.type);
    return size == 1 ? shape : fmt::format("{} x {} ({})", shape, size, typeName(array.type));
  }

  std::string title_;
  GzipReader reader_;
  std::uint64_t storedBytes_;
  std::size_t headerBytes_ = 0;
};

}  // namespace

std::size_t IdxArray::elementCount() const {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

std::size_t elementSize(IdxType type) {
  switch (type) {
    case IdxType::uint8:
    case IdxType::int8:
      return 1;
    case IdxType::int16:
      return 2;
    case IdxType::int32:
    case IdxType::float32:
      return 4;
    case IdxType::float64:
      return 8;
  }
  return 1;
}

IdxArray readIdx(const std::filesystem::path& path, const std::optional<IdxKind>& expected) {
  FileReader file(path, "IDX file");
  const std::uint64_t size = file.size();
  return IdxParser(
             fmt::format("IDX file \"{}\"", path.string()),
             [&file](std::span<std::byte> bytes) { return file.read(bytes); }, size)
      .parse(expected);
}

IdxArray parseIdx(std::span<const std::byte> bytes, const std::string& title, const std::optional<IdxKind>& expected) {
  return IdxParser(title, memorySource(bytes), bytes.size()).parse(expected);
}

}  // namespace metalloid::formats
