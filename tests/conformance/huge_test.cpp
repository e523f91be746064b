// A matrix of more than 2^31 elements: every index and byte count on the way must have 64 bits.

#include "support/devices.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::conformance {
namespace {

class HugeMatrix : public ::testing::TestWithParam<Device> {};

TEST_P(HugeMatrix, IsProcessedToItsEnd) {
  if (!std::getenv("METALLOID_TEST_HUGE")) {
    GTEST_SKIP() << "Takes 4.3 GB and, on device reference, minutes; set METALLOID_TEST_HUGE to run it.";
  }
  const Device& device = GetParam();
  constexpr std::size_t kRows = 65539, kColumns = 32771, kElement = 2;
  static_assert(kRows * kColumns > std::size_t{1} << 31);
  constexpr std::size_t kBytes = kRows * kColumns * kElement, kGuard = 64;
  const Buffer buffer = device.makeBuffer(kBytes + kGuard);
  const Matrix matrix(
      buffer, {.rows = kRows, .columns = kColumns, .rowBytes = kColumns * kElement, .dataType = DataType::float16});
  MatrixNeuron kernel(device);
  kernel.setNeuronType(CNNNeuronType::linear, 1, 1);
  testing::execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = matrix, .resultMatrix = matrix});
  });
  // float16 1 is 0x3c00. A part at a time, so that the check takes little memory of its own.
  const std::vector<std::byte> one = {std::byte{0x00}, std::byte{0x3c}};
  for (std::size_t begin = 0; begin < kBytes; begin += std::size_t{1} << 28) {
    const auto bytes = buffer.read(begin, std::min(std::size_t{1} << 28, kBytes - begin));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      ASSERT_EQ(bytes[i], one[i % 2]) << "byte " << begin + i;
    }
  }
  EXPECT_EQ(buffer.read(kBytes, kGuard), std::vector<std::byte>(kGuard));
}

INSTANTIATE_TEST_SUITE_P(Devices, HugeMatrix, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid::conformance
