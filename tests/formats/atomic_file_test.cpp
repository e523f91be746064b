#include "formats/atomic_file.hpp"

#include "expect_error.hpp"
#include "temporary_directory.hpp"

#include <gtest/gtest.h>

namespace metalloid::formats {
namespace {

using namespace metalloid::testing;

void writeText(const std::filesystem::path& path, const std::string& text) {
  writeFileAtomically(path, "the text", [&](FileWriter& writer) { writer.write(text); });
}

TEST(AtomicFile, replacesTheFormerVersion) {
  const TemporaryDirectory directory;
  writeText(directory / "file", "old");
  writeText(directory / "file", "new");
  EXPECT_EQ(readFile(directory / "file"), "new");
  EXPECT_EQ(directory.entryCount(), 1u);
}

TEST(AtomicFile, keepsTheFormerVersionWhenTheDiskIsFull) {
  const TemporaryDirectory directory;
  writeText(directory / "file", "old");
  {
    const FileSizeLimit limit(4096);
    expectError(ErrorCode::device, {"the text", (directory / "file").string(), "100000 bytes", "File too large"},
                [&] { writeText(directory / "file", std::string(100000, 'x')); });
  }
  EXPECT_EQ(readFile(directory / "file"), "old");
  EXPECT_EQ(directory.entryCount(), 1u) << "the temporary is still there";
}

TEST(AtomicFile, keepsTheFormerVersionWhenTheContentFails) {
  const TemporaryDirectory directory;
  writeText(directory / "file", "old");
  EXPECT_THROW(writeFileAtomically(directory / "file", "the text",
                                   [](FileWriter& writer) {
                                     writer.write("half");
                                     throw std::runtime_error("no more");
                                   }),
               std::runtime_error);
  EXPECT_EQ(readFile(directory / "file"), "old");
  EXPECT_EQ(directory.entryCount(), 1u);
}

TEST(AtomicFile, doesNotReplaceADirectory) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "taken");
  expectError(ErrorCode::invalidArgument, {(directory / "taken").string(), "Is a directory"},
              [&] { writeText(directory / "taken", "text"); });
  EXPECT_EQ(directory.entryCount(), 1u);
}

TEST(AtomicFile, writesToDevicesDirectly) {
  expectError(ErrorCode::device, {"\"/dev/full\"", "No space left on device"}, [] { writeText("/dev/full", "text"); });
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
  EXPECT_NO_THROW(writeText("/dev/null", "text"));
}

TEST(AtomicFile, followsALink) {
  const TemporaryDirectory directory;
  writeText(directory / "file", "old");
  std::filesystem::create_symlink("file", directory / "link");
  writeText(directory / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(directory / "link"));
  EXPECT_EQ(readFile(directory / "file"), "new");
}

TEST(AtomicFile, worksInTheCurrentDirectory) {
  const std::filesystem::path former = std::filesystem::current_path();
  const TemporaryDirectory directory;
  std::filesystem::current_path(directory.path());
  writeText("file", "text");
  std::filesystem::current_path(former);
  EXPECT_EQ(readFile(directory / "file"), "text");
}

TEST(Temporaries, areRecognised) {
  const auto name = temporarySibling("/a/b.json");
  EXPECT_EQ(name.parent_path(), "/a");
  EXPECT_TRUE(isTemporaryName(name.filename().string()));
  EXPECT_NE(name, temporarySibling("/a/b.json"));
  for (const char* other :
       {"b.json", ".b.json", ".tmp-1-2", ".b.tmp-", ".b.tmp-1", ".b.tmp-1-", ".b.tmp-1-x", "b.tmp-1-2", ""}) {
    EXPECT_FALSE(isTemporaryName(other)) << other;
  }
}

TEST(Temporaries, areRemovedAndNothingElse) {
  const TemporaryDirectory directory;
  writeFile(directory / "keep", "x");
  writeFile(directory / ".keep.tmp-", "x");
  writeFile(temporarySibling(directory / "file"), "x");
  std::filesystem::create_directories(temporarySibling(directory / "folder") / "inner");
  EXPECT_EQ(removeTemporaries(directory.path()), 2u);
  EXPECT_EQ(directory.entryCount(), 2u);
  EXPECT_EQ(removeTemporaries(directory / "absent"), 0u);
}

}  // namespace
}  // namespace metalloid::formats
