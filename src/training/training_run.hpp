#pragma once

#include "formats/image_dataset.hpp"
#include "training/html_report.hpp"
#include "training/progress_line.hpp"
#include "training/trainer.hpp"
#include "training/training_options.hpp"

#include <metalloid/device.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace metalloid::training {

/// Is told how a run proceeds. Every function may be left as it is.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;

  /// The data is read and the network stands.
  virtual void started(const Trainer&, const std::filesystem::path& /*run*/) {}
  /// Something a person should know: a damaged checkpoint that was passed over, and the like.
  virtual void noted(std::string_view /*sentence*/) {}
  /// Whether `progressed` would be shown now; asked at every step, because an answer costs the device a pause.
  virtual bool wantsProgress() { return false; }
  virtual void progressed(const Progress&) {}
  /// An epoch has ended; the line is that of the run's metrics.
  virtual void epochEnded(const EpochMetrics&, const Progress&, const nlohmann::json& /*line*/) {}
  /// The run is complete; the line is the last of the run's metrics.
  virtual void finished(const nlohmann::json& /*line*/) {}
};

/// How a run ended.
enum class TrainingOutcome { finished, stopped };

/// A run to begin, or to go on with.
struct TrainingRequest {
  TrainingOptions options;
  std::filesystem::path run;  ///< Its directory.
  bool resume = false;        ///< Go on with the run; its options must be those of its directory.
};

/// Reads the data, trains, and writes checkpoints, metrics, weights and report into the run's directory.
///
/// A run that is killed at any moment and resumed ends with the bits of one that was not. `stopRequested` is asked
/// at every step; when it says so, a checkpoint is written and the outcome is `stopped`.
/// @throws Error for whatever goes wrong; when numbers go non-finite, the message names step, layer and the last good
/// checkpoint.
TrainingOutcome runTraining(const TrainingRequest& request, TrainingObserver& observer,
                            const std::function<bool()>& stopRequested);

}  // namespace metalloid::training
