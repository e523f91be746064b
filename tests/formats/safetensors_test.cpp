#include "formats/safetensors.hpp"

#include "expect_error.hpp"
#include "formats/json_parser.hpp"
#include "safetensors_vectors.hpp"
#include "temporary_directory.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

namespace metalloid::formats {
namespace {

using namespace metalloid::testing;

std::string fileBytes(std::string_view header, std::string_view data = {}) {
  const std::uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes.append(header).append(data);
}

SafetensorsFile parse(std::string_view bytes) {
  const auto all = std::as_bytes(std::span(bytes.data(), bytes.size()));
  return SafetensorsFile::parse({all.begin(), all.end()}, "Safetensors file \"x\"");
}

void expectMalformed(const std::string& bytes, std::initializer_list<std::string> fragments) {
  expectError(ErrorCode::malformedFile, fragments, [&] { parse(bytes); });
}

TEST(Safetensors, readsWhatPythonWrites) {
  const SafetensorsFile file = parse({reinterpret_cast<const char*>(kPythonSafetensors), sizeof kPythonSafetensors});
  EXPECT_EQ(file.metadata(), (TensorMetadata{{"author", "Grüße \"quoted\""}, {"empty", ""}}));
  ASSERT_EQ(file.tensors().size(), 6u);

  const TensorView* weights = file.find("weights");
  ASSERT_NE(weights, nullptr);
  EXPECT_EQ(weights->shape, (std::vector<std::size_t>{2, 3}));
  const std::vector<float> values = floatValues(*weights);
  EXPECT_EQ(values, (std::vector<float>{1.5f, -2.0f, 0.25f, 1e-30f, 3e38f, -0.0f}));
  EXPECT_TRUE(std::signbit(values[5]));

  // 6e-8 rounds to the smallest subnormal of float16, 2^-24.
  EXPECT_EQ(floatValues(*file.find("half")),
            (std::vector<float>{1.0f, -2.5f, 65504.0f, 0x1p-24f, std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(file.find("scalar")->shape, std::vector<std::size_t>{});
  EXPECT_EQ(file.find("scalar")->type, TensorType::int64);
  EXPECT_EQ(file.find("empty")->shape, (std::vector<std::size_t>{0, 3}));
  EXPECT_TRUE(floatValues(*file.find("empty")).empty());
  EXPECT_EQ(file.find("bytes")->bytes[2], std::byte{255});
  double number = 0;
  std::memcpy(&number, file.find("double")->bytes.data(), 8);
  EXPECT_EQ(number, 0.1);
  EXPECT_EQ(file.find("absent"), nullptr);
  expectError(ErrorCode::invalidArgument, {"\"scalar\"", "I64"}, [&] { floatValues(*file.find("scalar")); });
}

TEST(Safetensors, readsWhatItWrites) {
  const TemporaryDirectory directory;
  const std::vector<float> values{1, -2, std::numeric_limits<float>::quiet_NaN(), 4, 5, 6};
  const std::vector<std::byte> odd{std::byte{1}, std::byte{2}, std::byte{3}};
  const std::vector<TensorView> tensors{
      floatTensor("layer.0/\"weights\"\n", {2, 3}, values),
      {"odd", TensorType::uint8, {3}, odd},
      floatTensor("empty", {4, 0}, {}),
      floatTensor("scalar", {}, std::span(values).first(1)),  // unaligned, behind the odd bytes
  };
  const TensorMetadata metadata{{"tool", "metalloid"}, {"", "<&>"}};
  saveSafetensors(directory / "file", tensors, metadata);
  const SafetensorsFile file = SafetensorsFile::read(directory / "file");
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const TensorView& written : tensors) {
    const TensorView* read = file.find(written.name);
    ASSERT_NE(read, nullptr) << written.name;
    EXPECT_EQ(read->type, written.type);
    EXPECT_EQ(read->shape, written.shape);
    EXPECT_TRUE(std::equal(read->bytes.begin(), read->bytes.end(), written.bytes.begin(), written.bytes.end()));
  }
  EXPECT_EQ(floatValues(*file.find("scalar")), std::vector<float>{1});
}

TEST(Safetensors, headersAreMultiplesOfEightBytes) {
  const TemporaryDirectory directory;
  for (const std::string name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"}) {
    const float value = 1;
    saveSafetensors(directory / "file", std::vector{floatTensor(name, {1}, std::span(&value, 1))});
    EXPECT_EQ(readFile(directory / "file").size() % 8, 4u) << name;
  }
}

TEST(Safetensors, writesTheSameBytesForTheSameContent) {
  const TemporaryDirectory directory;
  const std::vector<float> values{1, 2};
  const std::vector<TensorView> tensors{floatTensor("b", {2}, values), floatTensor("a", {1, 2}, values)};
  saveSafetensors(directory / "1", tensors, {{"k", "v"}});
  saveSafetensors(directory / "2", tensors, {{"k", "v"}});
  EXPECT_EQ(readFile(directory / "1"), readFile(directory / "2"));
}

TEST(Safetensors, convertsEveryHalf) {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float actual = floatValues({"h", TensorType::float16, {1}, std::as_bytes(std::span(&half, 1))})[0];
    const std::uint32_t exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
    const double sign = bits & 0x8000 ? -1 : 1;
    EXPECT_EQ(std::signbit(actual), sign < 0);
    if (exponent == 0x1F) {
      EXPECT_TRUE(fraction == 0 ? std::isinf(actual) : std::isnan(actual)) << bits;
    } else if (exponent == 0) {
      EXPECT_EQ(actual, sign * std::ldexp(fraction, -24)) << bits;
    } else {
      EXPECT_EQ(actual, sign * std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25)) << bits;
    }
  }
}

TEST(Safetensors, convertsBfloat16) {
  const std::uint16_t values[]{0x3F80, 0xC000, 0x7F80};
  EXPECT_EQ(floatValues({"b", TensorType::bfloat16, {3}, std::as_bytes(std::span(values))}),
            (std::vector<float>{1, -2, std::numeric_limits<float>::infinity()}));
}

TEST(Safetensors, refusesToWriteNonsense) {
  const TemporaryDirectory directory;
  const std::vector<float> values{1, 2};
  const auto expectRefused = [&](std::vector<TensorView> tensors, std::initializer_list<std::string> fragments) {
    expectError(ErrorCode::invalidArgument, fragments, [&] { saveSafetensors(directory / "file", tensors); });
    EXPECT_EQ(directory.entryCount(), 0u);
  };
  expectRefused({floatTensor("a", {3}, values)}, {"\"a\" has 8 bytes, but F32 [3] takes 12"});
  expectRefused({floatTensor("a", {2}, values), floatTensor("a", {2}, values)}, {"\"a\"", "used twice"});
  expectRefused({floatTensor("__metadata__", {2}, values)}, {"reserved"});
  expectRefused({floatTensor("a", {std::size_t{1} << 63, 4}, values)}, {"more than 64 bits"});
}

TEST(Safetensors, reportsAFullDiskAndKeepsTheFormerFile) {
  const TemporaryDirectory directory;
  const std::vector<float> values(100000, 1.0f);
  const std::vector tensors{floatTensor("a", {100000}, values)};
  expectError(ErrorCode::device, {"\"/dev/full\"", "No space left on device"},
              [&] { saveSafetensors("/dev/full", tensors); });
  writeFile(directory / "file", "old");
  {
    const FileSizeLimit limit(4096);
    expectError(ErrorCode::device, {(directory / "file").string(), "File too large"},
                [&] { saveSafetensors(directory / "file", tensors); });
  }
  EXPECT_EQ(readFile(directory / "file"), "old");
  EXPECT_EQ(directory.entryCount(), 1u);
}

TEST(Safetensors, refusesBadLengths) {
  expectMalformed("", {"holds 0 bytes"});
  expectMalformed("1234567", {"holds 7 bytes, but the length of its header takes 8"});
  expectMalformed(std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8), {"18446744073709551615", "at most 100000000"});
  expectMalformed(fileBytes("{}").substr(0, 9), {"declares a header of 2 bytes, but holds 1"});
  expectMalformed(fileBytes(""), {"no valid JSON"});
}

TEST(Safetensors, refusesBadHeaders) {
  expectMalformed(fileBytes("[]"), {"no JSON object"});
  expectMalformed(fileBytes("{\"a\":"), {"The header of Safetensors file \"x\" holds no valid JSON"});
  expectMalformed(fileBytes("{}{}"), {"no valid JSON"});
  expectMalformed(fileBytes("{\"\xFF\":1}"), {"no valid JSON"});
  expectMalformed(fileBytes("{\"a\":[[[1]]]}"), {"deeper than the 3 levels"});
  expectMalformed(fileBytes(std::string(100000, '[')), {"deeper than the 3 levels"});
  expectMalformed(fileBytes("{\"a\":1}"), {"describes the tensor \"a\" by no JSON object"});
  expectMalformed(fileBytes("{\"__metadata__\":1}"), {"metadata that are no JSON object"});
  expectMalformed(fileBytes("{\"__metadata__\":{\"k\":1}}"), {"metadata \"k\" that is no text"});
}

std::string entry(std::string_view type, std::string_view shape, std::string_view offsets) {
  return std::string("{\"dtype\":")
             .append(type)
             .append(",\"shape\":")
             .append(shape)
             .append(",\"data_offsets\":")
             .append(offsets) +
         "}";
}

TEST(Safetensors, refusesBadTensors) {
  const auto one = [](const std::string& description, std::string_view data = "12345678") {
    return fileBytes("{\"a\":" + description + "}", data);
  };
  EXPECT_EQ(parse(one(entry("\"F32\"", "[2]", "[0,8]"))).tensors().size(), 1u);
  expectMalformed(one("{\"dtype\":\"F32\",\"shape\":[2]}"), {"lacks the data_offsets of the tensor \"a\""});
  expectMalformed(one("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}"), {"4 fields"});
  expectMalformed(one(entry("\"F33\"", "[2]", "[0,8]")), {"element type \"F33\""});
  expectMalformed(one(entry("32", "[2]", "[0,8]")), {"element type 32"});
  expectMalformed(one(entry("\"F32\"", "[-2]", "[0,8]")), {"shape [-2]", "whole numbers"});
  expectMalformed(one(entry("\"F32\"", "[2.0]", "[0,8]")), {"shape [2.0]"});
  expectMalformed(one(entry("\"F32\"", "2", "[0,8]")), {"shape 2"});
  expectMalformed(one(entry("\"F32\"", "[99999999999999999999]", "[0,8]")), {"whole numbers"});
  expectMalformed(one(entry("\"F32\"", "[3]", "[0,8]")), {"holds 8 bytes for the tensor \"a\", but F32 [3] takes 12"});
  expectMalformed(one(entry("\"F32\"", "[4294967296,4294967296]", "[0,8]")), {"more than this machine can address"});
  expectMalformed(one(entry("\"F32\"", "[4]", "[0,16]")), {"data_offsets [0, 16]", "within the 8 bytes"});
  expectMalformed(one(entry("\"F32\"", "[2]", "[8,0]")), {"data_offsets [8, 0]"});
  expectMalformed(one(entry("\"F32\"", "[2]", "[0]")), {"data_offsets [0]"});
  expectMalformed(one(entry("\"F32\"", "[2]", "[0,18446744073709551615]")), {"data_offsets [0, 18446744073709551615]"});
}

TEST(Safetensors, refusesHolesOverlapsAndSurplus) {
  const auto two = [](const std::string& a, const std::string& b, std::string_view data) {
    return fileBytes("{\"a\":" + a + ",\"b\":" + b + "}", data);
  };
  const std::string first = entry("\"F32\"", "[1]", "[0,4]");
  EXPECT_EQ(parse(two(entry("\"F32\"", "[1]", "[4,8]"), first, "12345678")).tensors()[0].name, "b");
  expectMalformed(two(first, first, "1234"), {"start at byte 0 of its data, but the one before ends at 4"});
  expectMalformed(two(first, entry("\"F32\"", "[1]", "[5,9]"), "123456789"), {"start at byte 5", "ends at 4"});
  expectMalformed(two(first, entry("\"F32\"", "[1]", "[3,7]"), "1234567"), {"start at byte 3", "ends at 4"});
  expectMalformed(two(first, entry("\"F32\"", "[1]", "[4,8]"), "123456789"),
                  {"holds 9 bytes of data, but its tensors take 8"});
  expectMalformed(fileBytes("{}", "1"), {"holds 1 bytes of data, but its tensors take 0"});
  expectMalformed(fileBytes("{\"a\":" + first + ",\"a\":" + first + "}", "1234"), {"key \"a\" twice"});
}

TEST(Json, refusesRepeatedKeysOnlyWithinOneObject) {
  EXPECT_NO_THROW(parseJson("{\"a\":{\"b\":1},\"b\":[{\"a\":1},{\"a\":2}]}", "X", 3));
  expectError(ErrorCode::malformedFile, {"X has the key \"b\" twice"},
              [] { parseJson("{\"a\":{\"b\":1,\"b\":1}}", "X", 3); });
  expectError(ErrorCode::malformedFile, {"X holds no valid JSON: "}, [] { parseJson("nul", "X", 3); });
  expectError(ErrorCode::malformedFile, {"X holds no valid JSON: number overflow"}, [] { parseJson("1e999", "X", 3); });
}

}  // namespace
}  // namespace metalloid::formats
