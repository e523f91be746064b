#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

namespace metalloid::training {

/// The mean of values with weights, for instance of the losses of batches with their sizes. Sums are kept in double
/// precision and in the order of the calls; a checkpoint stores the two members.
struct MeanMeter {
  double sum = 0;
  std::uint64_t count = 0;

  void add(double value, std::uint64_t weight = 1) noexcept {
    sum += value * static_cast<double>(weight);
    count += weight;
  }
  /// 0 before the first value.
  double mean() const noexcept { return count == 0 ? 0.0 : sum / static_cast<double>(count); }
};

/// The share of right answers.
struct AccuracyMeter {
  std::uint64_t right = 0;
  std::uint64_t count = 0;

  void add(std::uint64_t rightAnswers, std::uint64_t answers) noexcept {
    right += rightAnswers;
    count += answers;
  }
  /// 0 before the first answer.
  double accuracy() const noexcept {
    return count == 0 ? 0.0 : static_cast<double>(right) / static_cast<double>(count);
  }
};

/// Work per second over the last few seconds, so that a pause at the start does not colour it for long.
class RateMeter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit RateMeter(std::chrono::steady_clock::duration window = std::chrono::seconds(5)) : window_(window) {}

  /// `total`: all work done up to `now`, for instance samples.
  void update(std::uint64_t total, Time now);

  /// 0 before two different times are known.
  double perSecond() const noexcept;

  /// Seconds until `total` is reached at the present rate, or a negative number while nothing is known.
  double secondsUntil(std::uint64_t total) const noexcept;

 private:
  struct Mark {
    Time time;
    std::uint64_t total;
  };
  std::chrono::steady_clock::duration window_;
  std::deque<Mark> marks_;
};

}  // namespace metalloid::training
