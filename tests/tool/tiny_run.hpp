#pragma once

#include "formats/temporary_directory.hpp"
#include "tool/tool_process.hpp"
#include "training/tiny_images.hpp"

#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace metalloid::testing {

/// A directory with a tiny data set and room for runs.
class TinyRuns {
 public:
  TinyRuns() { writeTinyDataset(directory_ / "data"); }

  std::string path(std::string_view name) const { return (directory_ / name).string(); }
  std::string data() const { return path("data"); }

  /// `metalloid train` on the tiny data into the run of this name.
  std::vector<std::string> train(std::string_view run, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"train", "--data",       data(), "--out",    path(run), "--hidden",
                                       "16,8",  "--batch-size", "20",   "--epochs", "4",       "--learning-rate",
                                       "0.02"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  std::string weights(std::string_view run) const { return readFile(path(run) + "/weights.safetensors"); }

  /// The metrics of a run, without what tells of time and memory.
  std::vector<nlohmann::json> metrics(std::string_view run) const {
    return timeless(readFile(path(run) + "/metrics.jsonl"));
  }

  static std::vector<nlohmann::json> timeless(const std::string& text) {
    std::vector<nlohmann::json> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      auto& object = lines.emplace_back(nlohmann::json::parse(line));
      for (const char* member : {"seconds", "samples_per_second", "peak_memory_bytes"}) object.erase(member);
    }
    return lines;
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace metalloid::testing
