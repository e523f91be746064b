#pragma once

#include "formats/file_descriptor.hpp"
#include "training/training_options.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace metalloid::training {

/// The directory of a training run, held by one process at a time:
///
///     run.json              the options the run was started with
///     checkpoints/          see checkpoint_files.hpp
///     metrics.jsonl         one line an epoch, and a last one when the run is complete
///     weights.safetensors   the trained network
///     report.html
class RunDirectory {
 public:
  static std::filesystem::path options(const std::filesystem::path& run) { return run / "run.json"; }
  static std::filesystem::path metrics(const std::filesystem::path& run) { return run / "metrics.jsonl"; }
  static std::filesystem::path weights(const std::filesystem::path& run) { return run / "weights.safetensors"; }
  static std::filesystem::path report(const std::filesystem::path& run) { return run / "report.html"; }

  /// @throws Error (invalidArgument) when `path` cannot become a new run: it holds a run, or something else.
  static void requireUnused(const std::filesystem::path& path);

  /// Makes the directory of a new run. @throws as `requireUnused`, and Error when the system refuses.
  static RunDirectory create(const std::filesystem::path& path, const TrainingOptions& options);

  /// Opens a run to go on with it, and removes what a killed process left unfinished. @throws Error when there is none,
  /// when it is damaged, or when another process is at work in it.
  static RunDirectory open(const std::filesystem::path& path);

  /// The options of the run at `path`. @throws Error when there is none or it is damaged.
  static TrainingOptions readOptions(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }

  /// runs/20261121-093015, with a number appended where that exists.
  static std::filesystem::path freshPath();

 private:
  RunDirectory(std::filesystem::path path, formats::FileDescriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  formats::FileDescriptor lock_;  // of run.json, for as long as this process is at work
};

}  // namespace metalloid::training
