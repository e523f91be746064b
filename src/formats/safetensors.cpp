#include "formats/safetensors.hpp"

#include "core/format.hpp"
#include "formats/atomic_file.hpp"
#include "formats/file_reader.hpp"
#include "formats/json_parser.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/ranges.h>

// The file, in order: the header's length as a little-endian 64-bit number; the header, a JSON object
// {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [BEGIN, END]}, ..., "__metadata__": {"KEY": "TEXT"}},
// which may be padded with blanks; the tensors' bytes, to which the offsets refer.

namespace metalloid::formats {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little,
              "Tensors are copied to and from files as they lie in memory.");

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own library
constexpr std::size_t kHeaderAlignment = 8;             // so that every element type is aligned in a mapped file
constexpr std::size_t kHeaderDepth = 3;                 // file, tensor, shape
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 40;
constexpr std::string_view kMetadataKey = "__metadata__";

struct TypeRow {
  TensorType type;
  std::string_view name;
  std::size_t size;
};

constexpr std::array kTypes{
    TypeRow{TensorType::boolean, "BOOL", 1},
    TypeRow{TensorType::uint8, "U8", 1},
    TypeRow{TensorType::int8, "I8", 1},
    TypeRow{TensorType::float8e5m2, "F8_E5M2", 1},
    TypeRow{TensorType::float8e4m3, "F8_E4M3", 1},
    TypeRow{TensorType::uint16, "U16", 2},
    TypeRow{TensorType::int16, "I16", 2},
    TypeRow{TensorType::float16, "F16", 2},
    TypeRow{TensorType::bfloat16, "BF16", 2},
    TypeRow{TensorType::uint32, "U32", 4},
    TypeRow{TensorType::int32, "I32", 4},
    TypeRow{TensorType::float32, "F32", 4},
    TypeRow{TensorType::uint64, "U64", 8},
    TypeRow{TensorType::int64, "I64", 8},
    TypeRow{TensorType::float64, "F64", 8},
};

const TypeRow& rowOf(TensorType type) { return kTypes[static_cast<std::size_t>(type)]; }

/// shape[0] * ... * elementSize, or nothing beyond 64 bits.
std::optional<std::size_t> byteCount(std::span<const std::size_t> shape, TensorType type) {
  std::size_t bytes = elementSize(type);
  for (std::size_t extent : shape) {
    if (extent != 0 && bytes > std::numeric_limits<std::size_t>::max() / extent) return std::nullopt;
    bytes *= extent;
  }
  return bytes;
}

std::string shapeText(std::span<const std::size_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

float floatFromHalf(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1Fu;
  const std::uint32_t fraction = half & 0x3FFu;
  if (exponent == 0) {  // zero and subnormal: fraction * 2^-24, exact in float32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  const std::uint32_t wideExponent = exponent == 0x1F ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wideExponent << 23 | fraction << 13);
}

// Turns the header into tensors; each check has the file and the tensor in its message.
class HeaderParser {
 public:
  HeaderParser(const std::string& title, std::span<const std::byte> data) : title_(title), data_(data) {}

  TensorMetadata metadata(const json& value) const {
    if (!value.is_object()) refuse("has metadata that are no JSON object");
    TensorMetadata metadata;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) refuse(fmt::format("has the metadata {} that is no text", quoted(key)));
      metadata.emplace(key, text.get<std::string>());
    }
    return metadata;
  }

  TensorView tensor(const std::string& name, const json& entry) const {
    if (!entry.is_object()) refuse(fmt::format("describes the tensor {} by no JSON object", quoted(name)));
    TensorView tensor;
    tensor.name = name;
    tensor.type = type(name, member(name, entry, "dtype"));
    tensor.shape = numbers(name, "shape", member(name, entry, "shape"));
    const auto offsets = numbers(name, "data_offsets", member(name, entry, "data_offsets"));
    if (entry.size() != 3)
      refuse(fmt::format("has {} fields for the tensor {} instead of 3", entry.size(), quoted(name)));
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_.size()) {
      refuse(fmt::format("has data_offsets {} for the tensor {}, but they must be a range within the {} bytes of data",
                         shapeText(offsets), quoted(name), data_.size()));
    }
    const auto expected = byteCount(tensor.shape, tensor.type);
    if (!expected) {
      refuse(fmt::format("declares the tensor {} as {} {}, more than this machine can address", quoted(name),
                         formatName(tensor.type), shapeText(tensor.shape)));
    }
    if (*expected != offsets[1] - offsets[0]) {
      refuse(fmt::format("holds {} bytes for the tensor {}, but {} {} takes {}", offsets[1] - offsets[0], quoted(name),
                         formatName(tensor.type), shapeText(tensor.shape), *expected));
    }
    tensor.bytes = data_.subspan(offsets[0], offsets[1] - offsets[0]);
    return tensor;
  }

  /// Sorts by position, and refuses a byte that belongs to no tensor or to two.
  void checkCoverage(std::vector<TensorView>& tensors) const {
    std::stable_sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
      return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
    });
    std::size_t covered = 0;
    for (const TensorView& tensor : tensors) {
      const auto begin = static_cast<std::size_t>(tensor.bytes.data() - data_.data());
      if (begin != covered) {
        refuse(fmt::format("has the tensor {} start at byte {} of its data, but the one before ends at {}",
                           quoted(tensor.name), begin, covered));
      }
      covered += tensor.bytes.size();
    }
    if (covered != data_.size()) {
      refuse(fmt::format("holds {} bytes of data, but its tensors take {}", data_.size(), covered));
    }
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::malformedFile, fmt::format("{} {}.", title_, what));
  }

 private:
  static std::string quoted(const std::string& name) { return dumpJson(name); }

  const json& member(const std::string& name, const json& entry, const char* key) const {
    const auto found = entry.find(key);
    if (found == entry.end()) refuse(fmt::format("lacks the {} of the tensor {}", key, quoted(name)));
    return *found;
  }

  TensorType type(const std::string& name, const json& value) const {
    for (const TypeRow& row : kTypes) {
      if (value.is_string() && value.get_ref<const std::string&>() == row.name) return row.type;
    }
    refuse(
        fmt::format("gives the tensor {} the element type {}, which is not supported", quoted(name), dumpJson(value)));
  }

  std::vector<std::size_t> numbers(const std::string& name, const char* key, const json& value) const {
    std::vector<std::size_t> result;
    bool valid = value.is_array();
    for (std::size_t i = 0; valid && i < value.size(); ++i) {
      valid = value[i].is_number_unsigned();
      if (valid) result.push_back(value[i].get<std::size_t>());
    }
    if (!valid) {
      refuse(fmt::format("has the {} {} for the tensor {}, but a list of whole numbers is needed", key, dumpJson(value),
                         quoted(name)));
    }
    return result;
  }

  const std::string& title_;
  std::span<const std::byte> data_;
};

}  // namespace

std::size_t elementSize(TensorType type) { return rowOf(type).size; }

std::string_view formatName(TensorType type) { return rowOf(type).name; }

TensorView floatTensor(std::string name, std::vector<std::size_t> shape, std::span<const float> values) {
  return {std::move(name), TensorType::float32, std::move(shape), std::as_bytes(values)};
}

std::vector<float> floatValues(const TensorView& tensor) {
  std::vector<float> values(tensor.bytes.size() / elementSize(tensor.type));
  if (tensor.type == TensorType::float32) {
    if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  } else if (tensor.type == TensorType::float16 || tensor.type == TensorType::bfloat16) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, tensor.bytes.data() + 2 * i, 2);
      values[i] = tensor.type == TensorType::float16 ? floatFromHalf(bits)
                                                     : std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    }
  } else {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Tensor \"{}\" has the element type {}, but F32, F16 or BF16 is needed.", tensor.name,
                            formatName(tensor.type)));
  }
  return values;
}

void writeSafetensors(FileWriter& writer, std::span<const TensorView> tensors, const TensorMetadata& metadata) {
  json header = json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::size_t end = 0;
  for (const TensorView& tensor : tensors) {
    if (tensor.name == kMetadataKey || header.contains(tensor.name)) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("Tensor \"{}\" cannot be written to a safetensors file: the name is {}.", tensor.name,
                              tensor.name == kMetadataKey ? "reserved" : "used twice"));
    }
    const auto expected = byteCount(tensor.shape, tensor.type);
    if (!expected || *expected != tensor.bytes.size()) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("Tensor \"{}\" has {} bytes, but {} {} takes {}.", tensor.name, tensor.bytes.size(),
                              formatName(tensor.type), shapeText(tensor.shape),
                              expected ? std::to_string(*expected) : "more than 64 bits can count"));
    }
    const std::size_t begin = end;
    end += tensor.bytes.size();
    header[tensor.name] = {{"dtype", formatName(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = dumpJson(header);
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  if (text.size() > kMaxHeaderBytes) {
    throw Error(
        ErrorCode::invalidArgument,
        fmt::format("The header of a safetensors file takes {} bytes for {} tensors, but at most {} are allowed.",
                    text.size(), tensors.size(), kMaxHeaderBytes));
  }
  const std::uint64_t length = text.size();
  writer.write(std::as_bytes(std::span(&length, 1)));
  writer.write(text);
  for (const TensorView& tensor : tensors) writer.write(tensor.bytes);
}

void saveSafetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                     const TensorMetadata& metadata) {
  writeFileAtomically(path, "tensors", [&](FileWriter& writer) { writeSafetensors(writer, tensors, metadata); });
}

SafetensorsFile SafetensorsFile::read(const std::filesystem::path& path) {
  return parse(readWholeFile(path, "Safetensors file", kMaxFileBytes),
               fmt::format("Safetensors file \"{}\"", path.string()));
}

SafetensorsFile SafetensorsFile::parse(std::vector<std::byte> bytes, const std::string& title) {
  SafetensorsFile file;
  file.bytes_ = std::move(bytes);
  const std::span<const std::byte> all(file.bytes_);
  const auto refuse = [&title](const std::string& what) {
    throw Error(ErrorCode::malformedFile, fmt::format("{} {}.", title, what));
  };
  if (all.size() < kLengthBytes)
    refuse(fmt::format("holds {} bytes, but the length of its header takes 8", all.size()));
  std::uint64_t length = 0;
  std::memcpy(&length, all.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    refuse(fmt::format("declares a header of {} bytes, but at most {} are allowed", length, kMaxHeaderBytes));
  }
  if (length > all.size() - kLengthBytes) {
    refuse(fmt::format("declares a header of {} bytes, but holds {} bytes after its length", length,
                       all.size() - kLengthBytes));
  }
  const auto headerBytes = all.subspan(kLengthBytes, static_cast<std::size_t>(length));
  const HeaderParser parser(title, all.subspan(kLengthBytes + headerBytes.size()));
  const json header = parseJson({reinterpret_cast<const char*>(headerBytes.data()), headerBytes.size()},
                                "The header of " + title, kHeaderDepth);
  if (!header.is_object()) refuse("has a header that is no JSON object");
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadataKey) {
      file.metadata_ = parser.metadata(entry);
    } else {
      file.tensors_.push_back(parser.tensor(name, entry));
    }
  }
  parser.checkCoverage(file.tensors_);
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [name](const TensorView& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

}  // namespace metalloid::formats
