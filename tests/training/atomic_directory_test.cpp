#include "training/atomic_directory.hpp"

#include "../formats/expect_error.hpp"
#include "../formats/temporary_directory.hpp"
#include "formats/atomic_file.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

namespace metalloid::training {
namespace {

using namespace metalloid::testing;

void writeOne(const std::filesystem::path& path, const std::string& text) {
  AtomicDirectory directory(path, "the test");
  formats::FileWriter file = directory.file("file", "the text");
  file.write(text);
  file.finish();
  directory.commit();
}

TEST(AtomicDirectory, appearsWithCommit) {
  const TemporaryDirectory parent;
  AtomicDirectory directory(parent / "a/b", "the test");
  formats::FileWriter file = directory.file("file", "the text");
  file.write("text");
  file.finish();
  EXPECT_FALSE(std::filesystem::exists(parent / "a/b"));
  directory.commit();
  EXPECT_EQ(readFile(parent / "a/b/file"), "text");
}

TEST(AtomicDirectory, leavesNothingWithoutCommit) {
  const TemporaryDirectory parent;
  {
    AtomicDirectory directory(parent / "a", "the test");
    directory.file("file", "the text").write("text");
  }
  EXPECT_EQ(parent.entryCount(), 0u);
}

TEST(AtomicDirectory, replacesTheFormerVersion) {
  const TemporaryDirectory parent;
  writeOne(parent / "a", "old");
  writeFile(parent / "a/other", "old");
  writeOne(parent / "a", "new");
  EXPECT_EQ(readFile(parent / "a/file"), "new");
  EXPECT_FALSE(std::filesystem::exists(parent / "a/other"));
  EXPECT_EQ(parent.entryCount(), 1u);
}

TEST(AtomicDirectory, keepsTheFormerVersionWhenTheDiskIsFull) {
  const TemporaryDirectory parent;
  writeOne(parent / "a", "old");
  {
    const FileSizeLimit limit(4096);
    expectError(ErrorCode::device, {"the text", (parent / "a/file").string(), "File too large"},
                [&] { writeOne(parent / "a", std::string(100000, 'x')); });
  }
  EXPECT_EQ(readFile(parent / "a/file"), "old");
  EXPECT_EQ(parent.entryCount(), 1u);
}

TEST(AtomicDirectory, reportsWhatIsInTheWay) {
  const TemporaryDirectory parent;
  writeFile(parent / "file", "x");
  expectError(ErrorCode::invalidArgument, {"the test", (parent / "file/a").string(), "Not a directory"},
              [&] { writeOne(parent / "file/a", "text"); });
  expectError(ErrorCode::invalidArgument, {(parent / "file").string(), "Not a directory", "While writing the test"},
              [&] { writeOne(parent / "file", "text"); });
  EXPECT_EQ(readFile(parent / "file"), "x");
  EXPECT_EQ(parent.entryCount(), 1u);
}

TEST(AtomicDirectory, aKilledWriterLeavesTheFormerVersionAndARemovableTemporary) {
  const TemporaryDirectory parent;
  writeOne(parent / "a", "old");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    AtomicDirectory directory(parent / "a", "the test");
    formats::FileWriter file = directory.file("file", "the text");
    file.write("half");
    file.finish();
    ::_exit(0);  // no destructors, as with SIGKILL
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(parent.entryCount(), 2u);
  EXPECT_EQ(readFile(parent / "a/file"), "old");
  EXPECT_EQ(formats::removeTemporaries(parent.path()), 1u);
  EXPECT_EQ(parent.entryCount(), 1u);
}

TEST(AtomicDirectory, isRemovedByAnotherName) {
  const TemporaryDirectory parent;
  writeOne(parent / "a", "text");
  removeDirectoryAtomically(parent / "a");
  EXPECT_EQ(parent.entryCount(), 0u);
  expectError(ErrorCode::invalidArgument, {(parent / "a").string(), "No such file"},
              [&] { removeDirectoryAtomically(parent / "a"); });
}

}  // namespace
}  // namespace metalloid::training
