#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> result;
  for (const int value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

class BufferTest : public ::testing::TestWithParam<Device> {};

TEST_P(BufferTest, BeginsAsZeros) {
  // Small and large ones come from different places.
  for (const std::size_t length : {std::size_t{1}, std::size_t{1000}, std::size_t{5} << 20}) {
    const Buffer buffer = GetParam().makeBuffer(length);
    EXPECT_EQ(buffer.length(), length);
    const auto content = buffer.read();
    ASSERT_EQ(content.size(), length);
    EXPECT_EQ(std::ranges::count(content, std::byte{}), static_cast<std::ptrdiff_t>(length));
  }
}

TEST_P(BufferTest, ZerosAreNotWhatAnotherBufferLeft) {
  for (int i = 0; i < 20; ++i) {
    const Buffer buffer = GetParam().makeBuffer(4096);
    ASSERT_EQ(std::ranges::count(buffer.read(), std::byte{}), 4096);
    buffer.write(std::vector<std::byte>(4096, std::byte{0xab}));
  }
}

TEST_P(BufferTest, HoldsACopyOfBytes) {
  int numbers[] = {1, 2, 3};
  const Buffer buffer = GetParam().makeBuffer(numbers, sizeof(numbers));
  numbers[0] = 9;
  const auto content = buffer.read();
  int back[3];
  ASSERT_EQ(content.size(), sizeof(back));
  std::memcpy(back, content.data(), sizeof(back));
  EXPECT_EQ(back[0], 1);
  EXPECT_EQ(back[2], 3);
  EXPECT_EQ(GetParam().makeBuffer(nullptr, 0).length(), 0u);
  expectError(ErrorCode::invalidArgument, {"nil", "length 5"}, [&] { GetParam().makeBuffer(nullptr, 5); });
}

TEST_P(BufferTest, IsWrittenAndReadInParts) {
  const Buffer buffer(GetParam(), 6);
  EXPECT_EQ(buffer.device(), GetParam());
  buffer.write(bytes({1, 2}), 3);
  EXPECT_EQ(buffer.read(), bytes({0, 0, 0, 1, 2, 0}));
  EXPECT_EQ(buffer.read(4), bytes({2, 0}));
  EXPECT_EQ(buffer.read(3, 1), bytes({1}));
  EXPECT_EQ(buffer.read(6), bytes({}));
  buffer.write({}, 6);
}

TEST_P(BufferTest, RefusesWhatLiesOutside) {
  const Buffer buffer = GetParam().makeBuffer(6);
  buffer.setLabel("weights");
  const auto two = bytes({1, 2});
  const std::string all = std::to_string(static_cast<std::size_t>(-2));
  expectError(ErrorCode::invalidArgument, {"\"weights\"", "6 bytes", "2 bytes", "offset 5"},
              [&] { buffer.write(two, 5); });
  expectError(ErrorCode::invalidArgument, {"offset " + all}, [&] { buffer.write(two, static_cast<std::size_t>(-2)); });
  expectError(ErrorCode::invalidArgument, {"offset 7"}, [&] { buffer.read(7); });
  expectError(ErrorCode::invalidArgument, {"7 bytes"}, [&] { buffer.read(0, 7); });
  expectError(ErrorCode::invalidArgument, {}, [&] { buffer.read(3, static_cast<std::size_t>(-2)); });
  EXPECT_EQ(buffer.read(), bytes({0, 0, 0, 0, 0, 0}));
}

TEST_P(BufferTest, OfNoBytesWorks) {
  const Buffer buffer = GetParam().makeBuffer(0);
  EXPECT_EQ(buffer.length(), 0u);
  EXPECT_TRUE(buffer.read().empty());
  buffer.write({});
}

TEST_P(BufferTest, ShowsItsContentsWhereTheHostSeesThem) {
  const Buffer buffer = GetParam().makeBuffer(8);
  std::span<std::byte> contents;
  try {
    contents = buffer.contents();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
    GTEST_SKIP() << error.what();
  }
  ASSERT_EQ(contents.size(), 8u);
  contents[2] = std::byte{7};
  EXPECT_EQ(buffer.read(2, 1), bytes({7}));
  buffer.write(bytes({9}), 3);
  EXPECT_EQ(contents[3], std::byte{9});
}

TEST_P(BufferTest, CopiesOfTheHandleShareTheBytes) {
  const Buffer buffer = GetParam().makeBuffer(1);
  const Buffer copy = buffer;
  EXPECT_EQ(copy, buffer);
  copy.write(bytes({5}));
  copy.setLabel("shared");
  EXPECT_EQ(buffer.read(), bytes({5}));
  EXPECT_EQ(buffer.label(), "shared");
  EXPECT_NE(GetParam().makeBuffer(1), buffer);
}

class BufferInUseTest : public ::testing::TestWithParam<Device> {};

// Host access waits for committed work on the buffer, on whichever queue it was committed, and for no other work.
TEST_P(BufferInUseTest, HostAccessIsOrderedAfterCommittedWorkOfEveryQueue) {
  constexpr std::size_t kRows = 300, kColumns = 200;
  const MatrixDescriptor shape{.rows = kRows, .columns = kColumns};
  const Matrix matrix(GetParam(), shape);
  MatrixNeuron increment(GetParam());
  increment.setNeuronType(CNNNeuronType::linear, 1, 1);
  const CommandQueue queues[] = {GetParam().makeCommandQueue(), GetParam().makeCommandQueue()};
  float expected = 0;
  for (int round = 0; round < 10; ++round) {
    for (int step = 0; step < 3; ++step) {
      CommandBuffer commands = queues[round % 2].makeCommandBuffer();
      increment.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
      commands.commit();
      ++expected;
    }
    if (round % 3 == 2) {  // a write waits as well
      matrix.write(std::vector<float>(kRows * kColumns, 100));
      expected = 100;
    }
    const auto values = matrix.read<float>();
    ASSERT_EQ(std::ranges::count(values, expected), static_cast<std::ptrdiff_t>(values.size())) << "round " << round;
  }
}

TEST_P(BufferInUseTest, OutlivesItsHandleWhileWorkNeedsIt) {
  const MatrixDescriptor shape{.rows = 100, .columns = 100};
  const Matrix result(GetParam(), shape);
  CommandBuffer commands = GetParam().makeCommandQueue().makeCommandBuffer();
  {
    const Matrix input(GetParam(), shape);
    input.write(std::vector<float>(10000, 3));
    MatrixNeuron(GetParam()).encode(commands, {.inputMatrix = input, .resultMatrix = result});
  }
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(10000, 3));
}

INSTANTIATE_TEST_SUITE_P(Devices, BufferTest, ::testing::ValuesIn(Device::all()),
                         [](const auto& test) { return testing::identifier(test.param); });

INSTANTIATE_TEST_SUITE_P(Devices, BufferInUseTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

TEST(NilBuffer, IsRefusedByEveryCall) {
  const Buffer nil;
  EXPECT_FALSE(nil);
  expectError(ErrorCode::invalidArgument, {"buffer is nil"}, [&] { nil.length(); });
  expectError(ErrorCode::invalidArgument, {"buffer is nil"}, [&] { nil.read(); });
  expectError(ErrorCode::invalidArgument, {"buffer is nil"}, [&] { nil.write({}); });
  expectError(ErrorCode::invalidArgument, {"buffer is nil"}, [&] { nil.contents(); });
  expectError(ErrorCode::invalidArgument, {"buffer is nil"}, [&] { nil.label(); });
  expectError(ErrorCode::invalidArgument, {"device is nil"}, [] { Buffer(Device(), 4); });
}

}  // namespace
}  // namespace metalloid
