#include "training/progress_line.hpp"

#include <cmath>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace metalloid::training {
namespace {

Progress sample() {
  Progress progress;
  progress.epoch = 3;
  progress.epochs = 10;
  progress.epochShare = 0.429;
  progress.loss = 0.35123;
  progress.accuracy = 0.87312;
  progress.samplesPerSecond = 51234.4;
  progress.secondsLeft = 83;
  return progress;
}

constexpr const char* kSampleText = "epoch  3/10   42 %  loss 0.3512  accuracy 87.31 %  51234 samples/s  1:23 left";

/// What a ProgressLine writes into a temporary file.
template <class Action>
std::string written(ProgressStyle style, Action action) {
  std::FILE* file = std::tmpfile();
  {
    ProgressLine line(file, style);
    action(line);
  }
  std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

TEST(ProgressLine, saysEverything) {
  Progress progress = sample();
  EXPECT_EQ(progressText(progress), kSampleText);
  progress.validationAccuracy = 0.9;
  progress.samplesPerSecond = 0;
  progress.secondsLeft = -1;
  progress.epochShare = 0.9999;  // not done, so not 100 %
  progress.loss = std::nan("");
  EXPECT_EQ(progressText(progress), "epoch  3/10   99 %  loss nan  accuracy 87.31 %  validation 90.00 %");
}

TEST(ProgressLine, writesDurations) {
  EXPECT_EQ(durationText(0), "0:00");
  EXPECT_EQ(durationText(59.6), "1:00");
  EXPECT_EQ(durationText(754), "12:34");
  EXPECT_EQ(durationText(3723), "1:02:03");
  EXPECT_EQ(durationText(1e300), "999:00:00");
  EXPECT_EQ(durationText(std::nan("")), "0:00");
  EXPECT_EQ(durationText(-5), "0:00");
}

TEST(ProgressLine, cutsBetweenCharacters) {
  EXPECT_EQ(firstColumns("abcdef", 3), "abc");
  EXPECT_EQ(firstColumns("abc", 3), "abc");
  EXPECT_EQ(firstColumns("abc", 0), "");
  EXPECT_EQ(firstColumns("aä€b", 3), "aä€");
  EXPECT_EQ(firstColumns("", 3), "");
}

TEST(ProgressLine, writesPlainLinesWithoutEscapeCodes) {
  const std::string text = written(ProgressStyle::plain, [](ProgressLine& line) {
    line.update(sample());
    for (int i = 0; i < 100; ++i) line.update(sample());  // too soon for another line
    line.print("a message");
    line.complete(sample());
  });
  EXPECT_EQ(text, std::string(kSampleText) + "\na message\n" + kSampleText + "\n");
}

TEST(ProgressLine, isSilentWhenAsked) {
  EXPECT_EQ(written(ProgressStyle::silent,
                    [](ProgressLine& line) {
                      line.update(sample());
                      line.print("a message");
                      line.complete(sample());
                    }),
            "");
}

TEST(ProgressLine, rewritesALiveLine) {
  const std::string live = std::string("\r") + kSampleText + "\x1b[K";
  EXPECT_EQ(written(ProgressStyle::live, [](ProgressLine& line) { line.update(sample()); }), live + "\n");
  EXPECT_EQ(written(ProgressStyle::live,
                    [](ProgressLine& line) {
                      line.update(sample());
                      line.update(sample());  // too soon
                      line.print("a message");
                      line.complete(sample());
                    }),
            live + "\r\x1b[Ka message\n" + live + live + "\n");
}

TEST(ProgressLine, aFileIsNoTerminal) {
  std::FILE* file = std::tmpfile();
  EXPECT_EQ(progressStyleFor(file), ProgressStyle::plain);
  std::fclose(file);
}

TEST(ProgressLine, fitsTheTerminal) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) GTEST_SKIP() << "no pseudo-terminal";
  std::FILE* terminal = std::fopen(::ptsname(master), "w");
  if (terminal == nullptr) {
    ::close(master);
    GTEST_SKIP() << "no pseudo-terminal";
  }
  const winsize size{24, 20, 0, 0};
  ASSERT_EQ(::ioctl(master, TIOCSWINSZ, &size), 0);
  ::setenv("TERM", "xterm", 1);
  EXPECT_EQ(progressStyleFor(terminal), ProgressStyle::live);
  ::setenv("TERM", "dumb", 1);
  EXPECT_EQ(progressStyleFor(terminal), ProgressStyle::plain);
  ProgressLine(terminal, ProgressStyle::live).update(sample());
  char buffer[256];
  std::string text;
  const std::string expected = "\r" + std::string(kSampleText).substr(0, 19) + "\x1b[K\r\n";
  while (text.size() < expected.size()) {
    const ssize_t count = ::read(master, buffer, sizeof buffer);
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  EXPECT_EQ(text, expected);
  std::fclose(terminal);
  ::close(master);
}

TEST(ProgressLine, outlivesAClosedStream) {
  std::FILE* full = std::fopen("/dev/full", "w");
  ASSERT_NE(full, nullptr);
  {
    ProgressLine line(full, ProgressStyle::plain);
    EXPECT_NO_THROW(line.complete(sample()));
  }
  std::fclose(full);
}

}  // namespace
}  // namespace metalloid::training
