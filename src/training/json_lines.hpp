#pragma once

#include "formats/file_descriptor.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include <nlohmann/json_fwd.hpp>

namespace metalloid::training {

/// Writes JSON objects, one per line; each line reaches the system in one piece before write() returns. A full disk and
/// a closed pipe are Errors that name the destination.
class JsonLinesWriter {
 public:
  /// Appends to a file, which is created where it does not exist.
  static JsonLinesWriter append(const std::filesystem::path& path);

  /// Writes to the process's standard output.
  static JsonLinesWriter standardOutput();

  void write(const nlohmann::json& object);

  /// Waits until the lines are on the storage device: before a checkpoint that counts on them.
  void sync();

 private:
  JsonLinesWriter(formats::FileDescriptor file, std::string name) : file_(std::move(file)), name_(std::move(name)) {}

  formats::FileDescriptor file_;
  std::string name_;
};

/// Cuts a file of JSON lines where the first line has a member "step" beyond `step`, and a last line that has no end,
/// as a run that was killed leaves them. Returns the number of lines removed; an absent file has none.
///
/// A line that is no JSON object or has a step that is no whole number is a `malformedFile` Error with its number.
std::size_t truncateJsonLines(const std::filesystem::path& path, std::uint64_t step);

}  // namespace metalloid::training
