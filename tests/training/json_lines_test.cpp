#include "training/json_lines.hpp"

#include "../formats/expect_error.hpp"
#include "../formats/temporary_directory.hpp"

#include <cstdio>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

namespace metalloid::training {
namespace {

using namespace metalloid::testing;
using nlohmann::json;

TEST(JsonLines, appendsOneLinePerObject) {
  const TemporaryDirectory directory;
  {
    JsonLinesWriter writer = JsonLinesWriter::append(directory / "m.jsonl");
    writer.write({{"step", 1}, {"text", "two\nlines"}});
    EXPECT_EQ(readFile(directory / "m.jsonl"), "{\"step\":1,\"text\":\"two\\nlines\"}\n") << "not flushed";
    writer.sync();
  }
  JsonLinesWriter::append(directory / "m.jsonl").write({{"text", "\xFF no UTF-8"}});
  const std::string text = readFile(directory / "m.jsonl");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(JsonLines, reportsAFullDisk) {
  JsonLinesWriter writer = JsonLinesWriter::append("/dev/full");
  expectError(ErrorCode::device, {"\"/dev/full\"", "9 of its 9 bytes", "No space left on device"}, [&] {
    writer.write({{"a", 12}});
  });
  EXPECT_NO_THROW(writer.sync());
  const TemporaryDirectory directory;
  expectError(ErrorCode::invalidArgument, {(directory / "no/m.jsonl").string(), "No such file"},
              [&] { JsonLinesWriter::append(directory / "no/m.jsonl"); });
}

TEST(JsonLines, writesToTheStandardOutput) {
  const TemporaryDirectory directory;
  std::fflush(stdout);
  const int saved = ::dup(STDOUT_FILENO);
  const int file = ::open((directory / "out").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_GE(::dup2(file, STDOUT_FILENO), 0);
  JsonLinesWriter::standardOutput().write({{"a", 1}});
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  ::close(file);
  EXPECT_EQ(readFile(directory / "out"), "{\"a\":1}\n");
}

class JsonLinesTruncation : public ::testing::Test {
 protected:
  std::size_t truncate(const std::string& content, std::uint64_t step) {
    writeFile(directory_ / "m.jsonl", content);
    return truncateJsonLines(directory_ / "m.jsonl", step);
  }
  std::string content() { return readFile(directory_ / "m.jsonl"); }

  TemporaryDirectory directory_;
};

TEST_F(JsonLinesTruncation, cutsLaterSteps) {
  const std::string kept = "{\"run\":\"x\"}\n{\"step\":10}\n{\"step\":20}\n{\"note\":1}\n";
  EXPECT_EQ(truncate(kept + "{\"step\":21}\n{\"note\":2}\n{\"step\":30}\n", 20), 3u);
  EXPECT_EQ(content(), kept);
  EXPECT_EQ(truncate(kept, 20), 0u);
  EXPECT_EQ(content(), kept);
}

TEST_F(JsonLinesTruncation, cutsALineWithoutEnd) {
  EXPECT_EQ(truncate("{\"step\":10}\n{\"st", 99), 1u);
  EXPECT_EQ(content(), "{\"step\":10}\n");
  EXPECT_EQ(truncate("{\"step\":10}", 99), 1u) << "the next line would be appended to it";
  EXPECT_EQ(content(), "");
  EXPECT_EQ(truncate("{\"step\":10}\n{\"step\":20}\n{\"st", 15), 2u);
  EXPECT_EQ(content(), "{\"step\":10}\n");
}

TEST_F(JsonLinesTruncation, anAbsentOrEmptyFileIsFine) {
  EXPECT_EQ(truncateJsonLines(directory_ / "absent", 1), 0u);
  EXPECT_EQ(truncate("", 1), 0u);
}

TEST_F(JsonLinesTruncation, refusesDamagedLinesAndLeavesThem) {
  for (const char* damage : {"{\"step\"\n", "3\n", "{\"step\":-1}\n", "{\"step\":\"1\"}\n", "\n"}) {
    const std::string text = std::string("{\"step\":1}\n") + damage + "{\"step\":5}\n";
    expectError(ErrorCode::malformedFile, {"Line 2 of \"" + (directory_ / "m.jsonl").string()},
                [&] { truncate(text, 3); });
    EXPECT_EQ(content(), text);
  }
}

}  // namespace
}  // namespace metalloid::training
