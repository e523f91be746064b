#include "parsers.hpp"

#include "formats/file_writer.hpp"
#include "formats/idx.hpp"
#include "formats/json_parser.hpp"
#include "formats/safetensors.hpp"
#include "training/checkpoint_files.hpp"
#include "training/json_lines.hpp"
#include "training/layered_network.hpp"

#include <metalloid/error.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

#include <unistd.h>

namespace metalloid::fuzz {
namespace {

namespace fs = std::filesystem;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "This does not hold: %s\n", what);
  std::abort();
}

std::string_view textOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Files may be refused as malformed, or for the memory that they would take; nothing else is right.
template <class Action>
void mayRefuse(Action action) {
  try {
    action();
  } catch (const Error& error) {
    require(error.code() == ErrorCode::malformedFile || error.code() == ErrorCode::outOfMemory, error.what());
    require(error.what()[0] != '\0', "an error says something");
  }
}

/// A directory for the parsers that read files, one per process.
const fs::path& scratch() {
  struct Scratch {
    fs::path path;
    Scratch() {
      std::string pattern = (fs::temp_directory_path() / "metalloid-fuzz-XXXXXX").string();
      if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
      path = pattern;
    }
    ~Scratch() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  static const Scratch scratch;
  return scratch.path;
}

void store(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
}

const fs::path& checkpointDirectory() {
  static const fs::path directory = [] {
    training::Checkpoint checkpoint;
    checkpoint.options = {{"hidden", {8, 4}}};
    checkpoint.tensors = {{"weights", {2, 2}, {1, 2, 3, 4}}};
    fs::path path = scratch() / "checkpoint";  // a name without a step, so that any step in state.json fits
    fs::rename(training::writeCheckpoint(scratch(), checkpoint), path);
    return path;
  }();
  return directory;
}

}  // namespace

void idx(std::span<const std::byte> bytes) {
  mayRefuse([&] {
    const auto array = formats::parseIdx(bytes, "IDX");
    require(array.bytes.size() == array.elementCount() * formats::elementSize(array.type), "the data fill the shape");
    mayRefuse([&] { formats::parseIdx(bytes, "IDX", formats::kIdxImages); });
    mayRefuse([&] { formats::parseIdx(bytes, "IDX", formats::kIdxLabels); });
  });
}

void safetensors(std::span<const std::byte> bytes) {
  mayRefuse([&] {
    const auto file = formats::SafetensorsFile::parse({bytes.begin(), bytes.end()}, "Safetensors");
    for (const auto& tensor : file.tensors()) {
      std::size_t elements = 1;
      for (std::size_t extent : tensor.shape) elements *= extent;
      require(tensor.bytes.size() == elements * formats::elementSize(tensor.type), "the data fill the shape");
      require(file.find(tensor.name) == &tensor, "names are unique");
      std::size_t sum = 0;
      for (std::byte byte : tensor.bytes) sum += std::to_integer<std::size_t>(byte);
      require(sum <= 255 * tensor.bytes.size(), "the data can be read");
      if (tensor.type == formats::TensorType::float32 || tensor.type == formats::TensorType::float16) {
        require(formats::floatValues(tensor).size() == elements, "the values fill the shape");
      }
    }
  });
}

void json(std::span<const std::byte> bytes) {
  mayRefuse([&] {
    const auto value = formats::parseJson(textOf(bytes), "JSON", 32);
    require(formats::parseJson(formats::dumpJson(value), "JSON", 32) == value, "a value survives its own text");
  });
}

void checkpointState(std::span<const std::byte> bytes) {
  // A right checksum lets the damage reach what lies behind it.
  std::string text(textOf(bytes));
  try {
    auto state = formats::parseJson(text, "JSON", 32);
    if (state.is_object() && state.erase("crc32") == 1) {
      const std::string plain = formats::dumpJson(state);
      char crc32[9];
      std::snprintf(crc32, sizeof crc32, "%08x",
                    formats::crc32Of(std::as_bytes(std::span(plain.data(), plain.size()))));
      state["crc32"] = crc32;
      text = formats::dumpJson(state);
    }
  } catch (const Error&) {  // no JSON: as it is
  }
  const fs::path& directory = checkpointDirectory();
  store(directory / "state.json", text);
  mayRefuse([&] {
    const auto checkpoint = training::loadCheckpoint(directory);
    require(checkpoint.find("weights") != nullptr, "the tensors are there");
  });
}

std::string goodCheckpointState() {
  static const std::string text = [] {
    std::ifstream file(checkpointDirectory() / "state.json", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  return text;
}

void jsonLines(std::span<const std::byte> bytes) {
  const fs::path path = scratch() / "metrics.jsonl";
  store(path, textOf(bytes));
  mayRefuse([&] {
    training::truncateJsonLines(path, 100);
    const auto size = fs::file_size(path);
    require(size <= bytes.size(), "the file does not grow");
    require(size == 0 || textOf(bytes)[size - 1] == '\n', "the file ends with a whole line");
    require(training::truncateJsonLines(path, 100) == 0, "once is enough");
  });
}

void network(std::span<const std::byte> bytes) {
  mayRefuse([&] {
    const auto parsed = training::parseNetwork(textOf(bytes), "network");
    require(parsed.layers.size() >= 2, "there is a layer after the input");
    require(parsed.logits() < parsed.layers.size(), "the logits are a layer's");
    for (std::size_t i = 0; i < parsed.layers.size(); ++i) {
      const auto& layer = parsed.layers[i];
      require(layer.shape.elements() > 0, "no size is 0");
      require(layer.sources.empty() == (i == 0), "all but the input read something");
      for (const std::size_t source : layer.sources) require(source < i, "sources come before");
    }
    require(parsed.parameters() < std::size_t{1} << 50, "sizes have bounds");
  });
}

}  // namespace metalloid::fuzz
