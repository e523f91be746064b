#pragma once

#include "formats/file_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metalloid::formats {

/// Element types of the safetensors format that have whole bytes.
enum class TensorType {
  boolean,
  uint8,
  int8,
  float8e5m2,
  float8e4m3,
  uint16,
  int16,
  float16,
  bfloat16,
  uint32,
  int32,
  float32,
  uint64,
  int64,
  float64,
};

/// Bytes of one element.
std::size_t elementSize(TensorType type);

/// The name in the file, for instance "F32".
std::string_view formatName(TensorType type);

/// A tensor whose bytes, row-major and little-endian, belong to somebody else.
struct TensorView {
  std::string name;
  TensorType type = TensorType::float32;
  std::vector<std::size_t> shape;
  std::span<const std::byte> bytes;
};

/// A view of float32 values. The caller keeps `values` alive.
TensorView floatTensor(std::string name, std::vector<std::size_t> shape, std::span<const float> values);

/// The values of a float32, float16 or bfloat16 tensor, each exactly, or `invalidArgument` for other types.
std::vector<float> floatValues(const TensorView& tensor);

/// Text that travels with the tensors.
using TensorMetadata = std::map<std::string, std::string>;

/// Writes tensors in the order given (sizes that are multiples of 8 first keeps all aligned). Names that repeat or are
/// reserved, and shapes that do not fit the bytes are `invalidArgument`; failures of the writer pass through.
void writeSafetensors(FileWriter& writer, std::span<const TensorView> tensors, const TensorMetadata& metadata = {});

/// Replaces `path` by a safetensors file, entirely or not at all.
void saveSafetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                     const TensorMetadata& metadata = {});

/// The content of a safetensors file, checked before anything is handed out: the header's length and JSON, types,
/// shapes against byte counts, and that the tensors cover the data without hole, overlap or surplus.
class SafetensorsFile {
 public:
  /// Reads a file; `malformedFile` errors name it with actual and expected values.
  static SafetensorsFile read(const std::filesystem::path& path);

  /// The same for bytes in memory; `title` starts every message.
  static SafetensorsFile parse(std::vector<std::byte> bytes, const std::string& title);

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  /// In the order of their bytes. The views live as long as this object.
  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }

  /// The tensor of that name, or nullptr.
  const TensorView* find(std::string_view name) const noexcept;

  const TensorMetadata& metadata() const noexcept { return metadata_; }

 private:
  SafetensorsFile() = default;

  std::vector<std::byte> bytes_;  // moving a vector keeps its elements in place, so the views stay valid
  std::vector<TensorView> tensors_;
  TensorMetadata metadata_;
};

}  // namespace metalloid::formats
