#include "training/meters.hpp"

namespace metalloid::training {
namespace {

constexpr int kMarksPerWindow = 50;  // bounds the memory however often update() is called

}  // namespace

void RateMeter::update(std::uint64_t total, Time now) {
  // The last mark moves along until it is far enough from the one before to be worth keeping.
  if (marks_.size() >= 2 && now - marks_[marks_.size() - 2].time < window_ / kMarksPerWindow) {
    marks_.back() = {now, total};
  } else {
    marks_.push_back({now, total});
  }
  // The oldest mark stays until the second is as old as the window: the rate always spans at least the window.
  while (marks_.size() > 2 && now - marks_[1].time >= window_) marks_.pop_front();
}

double RateMeter::perSecond() const noexcept {
  if (marks_.size() < 2) return 0;
  const double seconds = std::chrono::duration<double>(marks_.back().time - marks_.front().time).count();
  const auto work = static_cast<double>(marks_.back().total) - static_cast<double>(marks_.front().total);
  return seconds > 0 ? work / seconds : 0;
}

double RateMeter::secondsUntil(std::uint64_t total) const noexcept {
  const double rate = perSecond();
  if (rate <= 0) return -1;
  const std::uint64_t done = marks_.back().total;
  return total > done ? static_cast<double>(total - done) / rate : 0;
}

}  // namespace metalloid::training
