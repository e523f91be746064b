#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace metalloid::training {

/// What the progress line shows.
struct Progress {
  std::uint64_t epoch = 0;  ///< From 1.
  std::uint64_t epochs = 0;
  double epochShare = 0;  ///< How much of this epoch is done, 0 to 1.
  double loss = 0;
  double accuracy = 0;                       ///< 0 to 1.
  std::optional<double> validationAccuracy;  ///< 0 to 1.
  double samplesPerSecond = 0;
  double secondsLeft = -1;  ///< Negative: not known.
};

/// How progress appears.
enum class ProgressStyle {
  live,    ///< One line on a terminal, rewritten in place.
  plain,   ///< Lines without escape codes, a few seconds apart.
  silent,  ///< Nothing: the standard output belongs to JSON lines.
};

/// `live` where the stream is a terminal that can rewrite a line, `plain` otherwise.
ProgressStyle progressStyleFor(std::FILE* stream);

/// "epoch  3/10  42 %  loss 0.3512  accuracy 87.31 %  51234 samples/s  1:23 left"
std::string progressText(const Progress& progress);

/// "0:07", "12:34", "1:02:03".
std::string durationText(double seconds);

/// The first `columns` characters of UTF-8 text.
std::string_view firstColumns(std::string_view text, std::size_t columns);

/// Shows how a run proceeds. Failures of the stream are ignored: a closed terminal must not end a training run.
class ProgressLine {
 public:
  ProgressLine(std::FILE* stream, ProgressStyle style);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows the state, unless it was shown a moment ago (live: 0.1 s, plain: 5 s); the first is always shown.
  void update(const Progress& progress);

  /// Shows the state for good, as at the end of an epoch: the next update starts a new line.
  void complete(const Progress& progress);

  /// Prints a line of its own; a live line goes on below it.
  void print(std::string_view line);

  /// Leaves a live line where it is and the cursor at the start of the next one.
  void finish() noexcept;

 private:
  bool due(std::chrono::steady_clock::time_point now) const;
  void put(std::string_view text) noexcept;
  void showLive(const std::string& text);

  std::FILE* stream_;
  ProgressStyle style_;
  std::optional<std::chrono::steady_clock::time_point> shown_;
  std::string live_;  // the text that stands on the live line, empty: none
};

}  // namespace metalloid::training
