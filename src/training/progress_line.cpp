#include "training/progress_line.hpp"

#include "core/format.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace metalloid::training {
namespace {

using namespace std::chrono_literals;

constexpr auto kLiveInterval = 100ms;
constexpr auto kPlainInterval = 5s;
constexpr std::size_t kUnknownWidth = 80;
constexpr std::string_view kReturn = "\r";
constexpr std::string_view kEraseToEnd = "\x1b[K";

std::size_t terminalWidth(std::FILE* stream) {
  winsize size{};
  const bool known = ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kUnknownWidth;
}

}  // namespace

ProgressStyle progressStyleFor(std::FILE* stream) {
  const char* terminal = std::getenv("TERM");
  const bool canRewrite = terminal != nullptr && *terminal != '\0' && std::string_view(terminal) != "dumb";
  return canRewrite && ::isatty(::fileno(stream)) == 1 ? ProgressStyle::live : ProgressStyle::plain;
}

std::string durationText(double seconds) {
  constexpr double kLongest = 999.0 * 3600;
  const long whole = seconds > 0 ? std::lround(std::min(seconds, kLongest)) : 0L;
  const long hours = whole / 3600;
  const long minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string progressText(const Progress& progress) {
  const std::string epochs = std::to_string(progress.epochs);
  std::string text =
      fmt::format("epoch {:>{}}/{}  {:3.0f} %  loss {:.4f}  accuracy {:.2f} %", progress.epoch, epochs.size(), epochs,
                  std::floor(100 * progress.epochShare), progress.loss, 100 * progress.accuracy);
  if (progress.validationAccuracy) text += fmt::format("  validation {:.2f} %", 100 * *progress.validationAccuracy);
  if (progress.samplesPerSecond > 0) text += fmt::format("  {:.0f} samples/s", progress.samplesPerSecond);
  if (progress.secondsLeft >= 0) text += fmt::format("  {} left", durationText(progress.secondsLeft));
  return text;
}

std::string_view firstColumns(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    const bool startsCharacter = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (startsCharacter && columns-- == 0) break;
  }
  return text.substr(0, end);
}

ProgressLine::ProgressLine(std::FILE* stream, ProgressStyle style) : stream_(stream), style_(style) {}

ProgressLine::~ProgressLine() { finish(); }

void ProgressLine::update(const Progress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (style_ == ProgressStyle::silent || !due(now)) return;
  shown_ = now;
  if (style_ == ProgressStyle::live) {
    showLive(progressText(progress));
  } else {
    put(progressText(progress) + '\n');
  }
}

void ProgressLine::complete(const Progress& progress) {
  if (style_ == ProgressStyle::silent) return;
  if (style_ == ProgressStyle::live) {
    showLive(progressText(progress));
    finish();
  } else {
    put(progressText(progress) + '\n');
  }
  shown_ = std::chrono::steady_clock::now();
}

void ProgressLine::print(std::string_view line) {
  if (style_ == ProgressStyle::silent) return;
  const std::string resumed = live_;
  if (!live_.empty()) put(fmt::format("{}{}", kReturn, kEraseToEnd));
  put(fmt::format("{}\n", line));
  if (!resumed.empty()) showLive(resumed);
}

void ProgressLine::finish() noexcept {
  if (live_.empty()) return;
  put("\n");
  live_.clear();
}

bool ProgressLine::due(std::chrono::steady_clock::time_point now) const {
  const std::chrono::steady_clock::duration interval = style_ == ProgressStyle::live ? kLiveInterval : kPlainInterval;
  return !shown_ || now - *shown_ >= interval;
}

void ProgressLine::showLive(const std::string& text) {
  // The last column stays free: a character there makes some terminals start a new line.
  const std::size_t width = std::max<std::size_t>(terminalWidth(stream_), 2) - 1;
  put(fmt::format("{}{}{}", kReturn, firstColumns(text, width), kEraseToEnd));
  live_ = text;
}

void ProgressLine::put(std::string_view text) noexcept {
  std::fwrite(text.data(), 1, text.size(), stream_);
  std::fflush(stream_);
}

}  // namespace metalloid::training
