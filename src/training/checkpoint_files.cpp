#include "training/checkpoint_files.hpp"

#include "core/format.hpp"
#include "formats/atomic_file.hpp"
#include "formats/file_error.hpp"
#include "formats/file_reader.hpp"
#include "formats/json_parser.hpp"
#include "formats/safetensors.hpp"
#include "training/atomic_directory.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

// state.json holds everything but the tensors, the size and CRC-32 of tensors.safetensors, and a CRC-32 of itself: that
// of the compact text of the object without this member, whose keys are sorted and whose numbers have one spelling.

namespace metalloid::training {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::string_view kFormat = "metalloid checkpoint";
constexpr std::uint64_t kFormatVersion = 1;
constexpr std::string_view kStepPrefix = "step-";
constexpr const char* kStateFile = "state.json";
constexpr const char* kTensorFile = "tensors.safetensors";
constexpr std::uint64_t kMaxStateBytes = std::uint64_t{1} << 26;
constexpr std::size_t kMaxStateDepth = 32;

std::string crc32Text(std::string_view text) {
  return fmt::format("{:08x}", formats::crc32Of(std::as_bytes(std::span(text.data(), text.size()))));
}

// Reads members of state.json; a missing or mistyped one is an error that names it.
class StateReader {
 public:
  StateReader(std::string title, const json& state) : title_(std::move(title)), state_(state) {
    if (!state.is_object()) refuse("is no JSON object");
  }

  const json& any(const char* key) const {
    const auto found = state_.find(key);
    if (found == state_.end()) refuse(fmt::format("lacks the member \"{}\"", key));
    return *found;
  }

  std::uint64_t number(const char* key) const {
    const json& value = any(key);
    if (!value.is_number_unsigned()) {
      refuse(fmt::format("has {} as its member \"{}\", which must be a whole number", formats::dumpJson(value), key));
    }
    return value.get<std::uint64_t>();
  }

  std::string text(const char* key) const {
    const json& value = any(key);
    if (!value.is_string()) {
      refuse(fmt::format("has {} as its member \"{}\", which must be text", formats::dumpJson(value), key));
    }
    return value.get<std::string>();
  }

  template <class Value>
  void expect(const char* what, const Value& actual, const Value& expected) const {
    if (actual != expected) refuse(fmt::format("has the {} {}, but {} is expected", what, actual, expected));
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::malformedFile, fmt::format("{} {}.", title_, what));
  }

 private:
  std::string title_;
  const json& state_;
};

std::optional<std::uint64_t> stepOf(std::string_view directoryName) {
  if (!directoryName.starts_with(kStepPrefix)) return std::nullopt;
  directoryName.remove_prefix(kStepPrefix.size());
  std::uint64_t step = 0;
  const char* end = directoryName.data() + directoryName.size();
  const auto [stop, error] = std::from_chars(directoryName.data(), end, step);
  if (error != std::errc() || stop != end) return std::nullopt;
  return step;
}

std::vector<std::byte> readVerified(const fs::path& path, std::uint64_t expectedBytes,
                                    const std::string& expectedCrc32) {
  std::vector<std::byte> bytes =
      formats::readWholeFile(path, "Checkpoint file", std::max<std::uint64_t>(expectedBytes, 1));
  const auto refuse = [&path](const std::string& what) {
    throw Error(ErrorCode::malformedFile, fmt::format("Checkpoint file \"{}\" {}.", path.string(), what));
  };
  if (bytes.size() != expectedBytes) {
    refuse(fmt::format("holds {} bytes, but \"{}\" records {}", bytes.size(), kStateFile, expectedBytes));
  }
  const std::string crc32 = fmt::format("{:08x}", formats::crc32Of(bytes));
  if (crc32 != expectedCrc32) {
    refuse(fmt::format("has the CRC-32 {}, but \"{}\" records {}", crc32, kStateFile, expectedCrc32));
  }
  return bytes;
}

fs::path checkpointsDirectory(const fs::path& runDirectory) { return runDirectory / "checkpoints"; }

// An absent file of a checkpoint is damage of the checkpoint, not a wrong argument.
void requireFile(const fs::path& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return;
  throw Error(ErrorCode::malformedFile, fmt::format("Checkpoint file \"{}\" does not exist.", path.string()));
}

}  // namespace

const NamedTensor* Checkpoint::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [name](const NamedTensor& t) { return t.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

fs::path checkpointPath(const fs::path& runDirectory, std::uint64_t step) {
  return checkpointsDirectory(runDirectory) / fmt::format("{}{:06}", kStepPrefix, step);
}

fs::path writeCheckpoint(const fs::path& runDirectory, const Checkpoint& checkpoint) {
  const fs::path path = checkpointPath(runDirectory, checkpoint.step);
  const std::string what = fmt::format("the checkpoint of step {}", checkpoint.step);
  // The first checkpoint creates its parent, whose name must survive a power failure too.
  std::error_code ignored;
  if (fs::create_directories(path.parent_path(), ignored)) formats::syncDirectory(runDirectory);
  AtomicDirectory directory(path, what);

  std::vector<formats::TensorView> views;
  views.reserve(checkpoint.tensors.size());
  for (const NamedTensor& tensor : checkpoint.tensors) {
    views.push_back(formats::floatTensor(tensor.name, tensor.shape, tensor.values));
  }
  formats::FileWriter tensors = directory.file(kTensorFile, what);
  formats::writeSafetensors(tensors, views, {{"format", std::string(kFormat)}});
  tensors.finish();

  json state{
      {"format", kFormat},
      {"version", kFormatVersion},
      {"tool_version", checkpoint.toolVersion},
      {"step", checkpoint.step},
      {"epoch", checkpoint.epoch},
      {"position", checkpoint.position},
      {"options", checkpoint.options},
      {"random", checkpoint.random},
      {"meters", checkpoint.meters},
      {"files", {{kTensorFile, {{"bytes", tensors.size()}, {"crc32", fmt::format("{:08x}", tensors.crc32())}}}}},
  };
  state["crc32"] = crc32Text(formats::dumpJson(state));
  formats::FileWriter stateFile = directory.file(kStateFile, what);
  stateFile.write(formats::dumpJson(state, 2));
  stateFile.write("\n");
  stateFile.finish();
  directory.commit();
  return path;
}

Checkpoint loadCheckpoint(const fs::path& checkpointDirectory) {
  const fs::path statePath = checkpointDirectory / kStateFile;
  const fs::path tensorPath = checkpointDirectory / kTensorFile;
  std::error_code ignored;
  if (!fs::is_directory(checkpointDirectory, ignored)) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("Checkpoint \"{}\" is no directory.", checkpointDirectory.string()));
  }
  requireFile(statePath);
  requireFile(tensorPath);

  const std::string title = fmt::format("Checkpoint file \"{}\"", statePath.string());
  const std::vector<std::byte> text = formats::readWholeFile(statePath, "Checkpoint file", kMaxStateBytes);
  json state = formats::parseJson({reinterpret_cast<const char*>(text.data()), text.size()}, title, kMaxStateDepth);
  const StateReader reader(title, state);
  reader.expect("format", reader.text("format"), std::string(kFormat));
  reader.expect("format version", reader.number("version"), kFormatVersion);
  const std::string recordedCrc32 = reader.text("crc32");
  state.erase("crc32");
  reader.expect("CRC-32", crc32Text(formats::dumpJson(state)), recordedCrc32);

  Checkpoint checkpoint;
  checkpoint.step = reader.number("step");
  checkpoint.epoch = reader.number("epoch");
  checkpoint.position = reader.number("position");
  checkpoint.toolVersion = reader.text("tool_version");
  checkpoint.options = reader.any("options");
  checkpoint.random = reader.any("random");
  checkpoint.meters = reader.any("meters");
  const auto nameStep = stepOf(checkpointDirectory.filename().string());
  if (nameStep && *nameStep != checkpoint.step) {
    reader.refuse(fmt::format("records step {}, but its directory is named for step {}", checkpoint.step, *nameStep));
  }

  const StateReader files(fmt::format("{}, member \"files\",", title), reader.any("files"));
  const StateReader entry(fmt::format("{}, member \"{}\",", title, kTensorFile), files.any(kTensorFile));
  const auto file =
      formats::SafetensorsFile::parse(readVerified(tensorPath, entry.number("bytes"), entry.text("crc32")),
                                      fmt::format("Checkpoint file \"{}\"", tensorPath.string()));
  for (const formats::TensorView& tensor : file.tensors()) {
    if (tensor.type != formats::TensorType::float32) {
      throw Error(ErrorCode::malformedFile,
                  fmt::format("Checkpoint file \"{}\" holds the tensor \"{}\" as {}, but F32 is expected.",
                              tensorPath.string(), tensor.name, formats::formatName(tensor.type)));
    }
    checkpoint.tensors.push_back({tensor.name, tensor.shape, formats::floatValues(tensor)});
  }
  return checkpoint;
}

std::vector<CheckpointEntry> listCheckpoints(const fs::path& runDirectory) {
  std::vector<CheckpointEntry> entries;
  const fs::path directory = checkpointsDirectory(runDirectory);
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const auto step = stepOf(it->path().filename().string());
    if (step && it->is_directory(ignored)) entries.push_back({*step, it->path()});
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    formats::throwFileError(fmt::format("Directory \"{}\" cannot be listed", directory.string()), error.value());
  }
  std::sort(entries.begin(), entries.end(), [](const CheckpointEntry& a, const CheckpointEntry& b) {
    return std::pair(a.step, a.path) < std::pair(b.step, b.path);
  });
  return entries;
}

NewestCheckpoint loadNewestCheckpoint(const fs::path& runDirectory) {
  NewestCheckpoint newest;
  const auto entries = listCheckpoints(runDirectory);
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    try {
      newest.checkpoint = loadCheckpoint(entry->path);
      break;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::malformedFile) throw;
      newest.damaged.emplace_back(error.what());
    }
  }
  return newest;
}

void keepLastCheckpoints(const fs::path& runDirectory, std::size_t count) {
  const auto entries = listCheckpoints(runDirectory);
  for (std::size_t i = 0; i + count < entries.size(); ++i) removeDirectoryAtomically(entries[i].path);
}

std::size_t removeUnfinishedWrites(const fs::path& runDirectory) {
  return formats::removeTemporaries(runDirectory) + formats::removeTemporaries(checkpointsDirectory(runDirectory));
}

}  // namespace metalloid::training
