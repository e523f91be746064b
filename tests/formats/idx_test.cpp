#include "formats/idx.hpp"

#include "expect_error.hpp"
#include "gzip_bytes.hpp"
#include "idx_bytes.hpp"
#include "temporary_directory.hpp"

#include <thread>

#include <gtest/gtest.h>

#include <sys/stat.h>

namespace metalloid::formats {
namespace {

using namespace metalloid::testing;

IdxArray parse(std::string_view bytes, const std::optional<IdxKind>& expected = {}) {
  return parseIdx(std::as_bytes(std::span(bytes.data(), bytes.size())), "IDX file \"x\"", expected);
}

void expectMalformed(const std::string& bytes, std::initializer_list<std::string> fragments,
                     const std::optional<IdxKind>& expected = {}) {
  expectError(ErrorCode::malformedFile, fragments, [&] { parse(bytes, expected); });
}

TEST(Idx, readsImages) {
  const IdxArray images = parse(imageBytes(3, 4, 5), kIdxImages);
  EXPECT_EQ(images.type, IdxType::uint8);
  EXPECT_EQ(images.shape, (std::vector<std::size_t>{3, 4, 5}));
  EXPECT_EQ(images.elementCount(), 60u);
  ASSERT_EQ(images.bytes.size(), 60u);
  EXPECT_EQ(images.bytes[2], std::uint8_t{2 * 37 + 11});
}

TEST(Idx, contentDecidesAboutCompression) {
  const std::string plain = imageBytes(3, 4, 5);
  const TemporaryDirectory directory;
  writeFile(directory / "named.gz", plain);
  writeFile(directory / "plain", gzip(plain));
  EXPECT_EQ(readIdx(directory / "named.gz").bytes, readIdx(directory / "plain").bytes);
}

TEST(Idx, readsMembersOfGzipOneAfterAnother) {
  const std::string plain = imageBytes(3, 4, 5);
  const std::string members = gzip(plain.substr(0, 7)) + gzip("") + gzip(plain.substr(7, 20)) + gzip(plain.substr(27));
  EXPECT_EQ(parse(members, kIdxImages).bytes, parse(plain).bytes);
}

TEST(Idx, readsEveryElementType) {
  for (const auto& [code, size] : {std::pair{8, 1}, {9, 1}, {11, 2}, {12, 4}, {13, 4}, {14, 8}}) {
    const auto magic = static_cast<std::uint32_t>(code << 8 | 2);
    const IdxArray array = parse(idxBytes(magic, {2, 3}, std::string(static_cast<std::size_t>(6 * size), 'a')));
    EXPECT_EQ(static_cast<int>(array.type), code);
    EXPECT_EQ(array.bytes.size(), static_cast<std::size_t>(6 * size));
  }
}

TEST(Idx, readsWithoutElements) { EXPECT_TRUE(parse(idxBytes(0x803, {0, 28, 28}, "")).bytes.empty()); }

TEST(Idx, refusesTooFewBytes) {
  std::string bytes = imageBytes(3, 4, 5);
  bytes.resize(bytes.size() - 7);
  expectMalformed(bytes, {"IDX file \"x\" holds 53 bytes of data, but its header declares 3 x 4 x 5 = 60."});
  expectMalformed(gzip(bytes), {"IDX file \"x\" holds 53 bytes of data, but its header declares 3 x 4 x 5 = 60."});
}

TEST(Idx, refusesTooManyBytes) {
  expectMalformed(imageBytes(3, 4, 5) + "abc", {"holds 63 bytes of data, but its header declares 3 x 4 x 5 = 60."});
  expectMalformed(gzip(imageBytes(3, 4, 5) + "abc"), {"holds 63 bytes"});
  expectMalformed(gzip(imageBytes(3, 4, 5)) + gzip("abc"), {"holds 63 bytes"});
}

TEST(Idx, refusesEveryTruncationOfAGzipStream) {
  const std::string whole = gzip(imageBytes(3, 4, 5));
  for (std::size_t size = 2; size < whole.size(); ++size) expectMalformed(whole.substr(0, size), {"IDX file \"x\""});
}

TEST(Idx, refusesEveryTruncationOfAPlainFile) {
  const std::string whole = imageBytes(3, 4, 5);
  for (std::size_t size = 0; size < whole.size(); ++size) expectMalformed(whole.substr(0, size), {"IDX file \"x\""});
  expectMalformed(whole.substr(0, 9), {"ends after 9 bytes, within its header (the dimension 2 of 3)"});
  expectMalformed("", {"ends after 0 bytes, within its header (the magic number)"});
}

TEST(Idx, refusesDamagedGzip) {
  std::string bytes = gzip(imageBytes(30, 4, 5));
  bytes[bytes.size() - 6] = static_cast<char>(bytes[bytes.size() - 6] ^ 1);  // in the stored CRC-32
  expectMalformed(bytes, {"damaged gzip stream", "incorrect data check"});
  expectMalformed(gzip(imageBytes(3, 4, 5)) + "trailing", {"damaged gzip stream"});
}

TEST(Idx, inflatesABombNoFurtherThanDeclared) {
  // 64 MiB of zeros in 64 KiB, behind a header that declares 60 bytes.
  const std::string bomb = gzip(idxBytes(0x803, {3, 4, 5}, std::string(std::size_t{64} << 20, '\0')), 9);
  expectMalformed(bomb, {"holds more than ", " bytes of data, but its header declares 3 x 4 x 5 = 60."});
}

TEST(Idx, doesNotAllocateWhatAHeaderMerelyDeclares) {
  // 2^32-1 bytes and 2^62 bytes; a reader that believed the header would ask for them.
  expectMalformed(idxBytes(0x801, {0xFFFFFFFF}, "abc"), {"holds 3 bytes", "4294967295"});
  expectMalformed(gzip(idxBytes(0x802, {0x80000000, 0x80000000}, "abc")), {"holds 3 bytes", "4611686018427387904"});
}

TEST(Idx, refusesDimensionsThatOverflow) {
  expectMalformed(idxBytes(0x803, {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, "abc"),
                  {"4294967295 x 4294967295 x 4294967295", "more than this machine can address"});
  expectMalformed(idxBytes(0xE02, {0x80000000, 0x80000000}, "abc"), {"x 8 (float64)"});
}

TEST(Idx, refusesMislabelledFiles) {
  expectMalformed(
      imageBytes(3, 4, 5),
      {"has the magic number 0x00000803 (uint8, 3 dimensions), but labels need 0x00000801 (uint8, 1 dimension)."},
      kIdxLabels);
  expectMalformed(labelBytes({1, 2, 3}), {"0x00000801", "but images need 0x00000803"}, kIdxImages);
  expectMalformed(idxBytes(0xD03, {1, 1, 1}, "abcd"), {"0x00000d03 (float32, 3 dimensions)"}, kIdxImages);
}

TEST(Idx, refusesOtherFiles) {
  expectMalformed("\x89PNG\r\n\x1a\n", {"0x89504e47", "no magic number of the IDX format"});
  expectMalformed(idxBytes(0x0A01, {1}, "a"), {"0x00000a01"});
  expectMalformed(idxBytes(0x0800, {}, "a"), {"0x00000800"});
}

TEST(Idx, namesAnAbsentFileAndADirectory) {
  const TemporaryDirectory directory;
  expectError(ErrorCode::invalidArgument, {(directory / "absent").string(), "No such file or directory"},
              [&] { readIdx(directory / "absent"); });
  expectError(ErrorCode::invalidArgument, {directory.path().string(), "Is a directory"},
              [&] { readIdx(directory.path()); });
}

TEST(Idx, readsAPipe) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { writeFile(directory / "pipe", gzip(imageBytes(30, 28, 28))); });
  EXPECT_EQ(readIdx(directory / "pipe", kIdxImages).elementCount(), 30u * 28 * 28);
  writer.join();
}

}  // namespace
}  // namespace metalloid::formats
