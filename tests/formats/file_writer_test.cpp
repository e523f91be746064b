#include "formats/file_writer.hpp"

#include "expect_error.hpp"
#include "formats/file_error.hpp"
#include "formats/file_reader.hpp"
#include "temporary_directory.hpp"

#include <cerrno>

#include <gtest/gtest.h>

namespace metalloid::formats {
namespace {

using namespace metalloid::testing;

TEST(FileWriter, writesSmallAndLargePieces) {
  const TemporaryDirectory directory;
  std::string expected;
  FileWriter writer(directory / "file", "the content");
  for (std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{65535}, std::size_t{2}, std::size_t{200000}, std::size_t{65536}}) {
    const std::string piece(size, static_cast<char>('a' + size % 7));
    writer.write(piece);
    expected += piece;
  }
  writer.finish();
  EXPECT_EQ(readFile(directory / "file"), expected);
  EXPECT_EQ(writer.size(), expected.size());
  EXPECT_EQ(writer.crc32(), crc32Of(std::as_bytes(std::span(expected.data(), expected.size()))));
}

TEST(FileWriter, crc32IsTheOneOfGzip) {
  const std::string_view check = "123456789";  // the customary check value of CRC catalogues
  EXPECT_EQ(crc32Of(std::as_bytes(std::span(check.data(), check.size()))), 0xCBF43926u);
  EXPECT_EQ(crc32Of({}), 0u);
}

TEST(FileWriter, reportsAFullDisk) {
  FileWriter small("/dev/full", "the weights");
  small.write("abc");  // stays in the buffer
  expectError(ErrorCode::device, {"the weights", "\"/dev/full\"", "3 of 3 bytes", "No space left on device"},
              [&] { small.finish(); });
  FileWriter large("/dev/full", "the weights");
  expectError(ErrorCode::device, {"200000 of 200000 bytes", "No space left on device"},
              [&] { large.write(std::string(200000, 'x')); });
}

TEST(FileWriter, reportsWhatCannotBeOpened) {
  const TemporaryDirectory directory;
  expectError(ErrorCode::invalidArgument,
              {"the weights", (directory / "no/file").string(), "No such file or directory"},
              [&] { FileWriter(directory / "no/file", "the weights"); });
  expectError(ErrorCode::invalidArgument, {"shown", "No such file or directory"},
              [&] { FileWriter(directory / "no/file", "the weights", "shown"); });
}

TEST(FileError, classifiesTheSystemsReasons) {
  expectError(ErrorCode::device, {"X fails: "}, [] { throwFileError("X fails", EIO); });
  expectError(ErrorCode::outOfMemory, {}, [] { throwFileError("X fails", ENOMEM); });
  expectError(ErrorCode::invalidArgument, {"Permission denied."}, [] { throwFileError("X fails", EACCES); });
}

TEST(FileReader, refusesMoreThanTheLimit) {
  const TemporaryDirectory directory;
  writeFile(directory / "file", "12345");
  EXPECT_EQ(readWholeFile(directory / "file", "File", 5).size(), 5u);
  expectError(ErrorCode::malformedFile, {"holds 5 bytes, but at most 4"},
              [&] { readWholeFile(directory / "file", "File", 4); });
  expectError(ErrorCode::malformedFile, {"holds more than 100 bytes"}, [] { readWholeFile("/dev/zero", "File", 100); });
}

}  // namespace
}  // namespace metalloid::formats
