#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace metalloid::training {

/// Float32 values with a name, row-major.
struct NamedTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::vector<float> values;

  bool operator==(const NamedTensor&) const = default;
};

/// Everything that a training run needs to go on as if it had not been interrupted.
struct Checkpoint {
  std::uint64_t step = 0;      ///< Optimizer steps done.
  std::uint64_t epoch = 0;     ///< The epoch that `position` refers to, from 0.
  std::uint64_t position = 0;  ///< Training samples of this epoch that are used up.
  std::string toolVersion;
  nlohmann::json options = nlohmann::json::object();  ///< What the run was started with.
  nlohmann::json random = nlohmann::json::object();   ///< Seeds and counters of the random generators.
  nlohmann::json meters =
      nlohmann::json::object();      ///< Sums that an epoch has gathered so far, best results and the like.
  std::vector<NamedTensor> tensors;  ///< Weights, optimizer state, running statistics.

  /// The tensor of that name, or nullptr.
  const NamedTensor* find(std::string_view name) const noexcept;
};

/// A checkpoint on disk, not opened yet.
struct CheckpointEntry {
  std::uint64_t step = 0;
  std::filesystem::path path;
};

/// The newest checkpoint that is whole, and one message for each newer one that is damaged.
struct NewestCheckpoint {
  std::optional<Checkpoint> checkpoint;
  std::vector<std::string> damaged;
};

/// RUN/checkpoints/step-000123
std::filesystem::path checkpointPath(const std::filesystem::path& runDirectory, std::uint64_t step);

/// Writes the checkpoint, entirely or not at all, and returns its path. A failure, a full disk included, leaves every
/// former checkpoint as it was.
std::filesystem::path writeCheckpoint(const std::filesystem::path& runDirectory, const Checkpoint& checkpoint);

/// Reads a checkpoint directory. A `malformedFile` Error names the file and what differs; a directory that passes holds
/// exactly what was written.
Checkpoint loadCheckpoint(const std::filesystem::path& checkpointDirectory);

/// The run's checkpoints, oldest first. None is opened.
std::vector<CheckpointEntry> listCheckpoints(const std::filesystem::path& runDirectory);

/// Loads the newest checkpoint that is whole.
NewestCheckpoint loadNewestCheckpoint(const std::filesystem::path& runDirectory);

/// Removes all but the newest `count` checkpoints.
void keepLastCheckpoints(const std::filesystem::path& runDirectory, std::size_t count);

/// Removes what killed runs left unfinished in the run directory, and returns how many files or directories that were.
/// To be called when no other process writes to this run.
std::size_t removeUnfinishedWrites(const std::filesystem::path& runDirectory);

}  // namespace metalloid::training
