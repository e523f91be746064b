#include "core/array_implementation.hpp"
#include "formats/expect_error.hpp"
#include "support/devices.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_batch_normalization.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/vector.hpp>

#include <optional>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::expectError;

constexpr MatrixDescriptor kShape{.rows = 64, .columns = 64};
constexpr std::size_t kBytes = 64 * 64 * 4;

class TemporaryTest : public ::testing::TestWithParam<Device> {
 protected:
  void encodeNeuron(CommandBuffer& commands, const Matrix& input, const Matrix& result) const {
    MatrixNeuron kernel(GetParam());
    kernel.setNeuronType(CNNNeuronType::linear, 2, 1);
    kernel.encode(commands, {.inputMatrix = input, .resultMatrix = result});
  }

  CommandQueue queue_ = GetParam().makeCommandQueue();
};

TEST_P(TemporaryTest, IsReadOnceUnlessSaidOtherwise) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryMatrix matrix(commands, kShape);
  const TemporaryVector vector(commands, {.length = 5});
  EXPECT_EQ(matrix.readCount(), 1u);
  EXPECT_EQ(vector.readCount(), 1u);
  EXPECT_EQ(matrix.rows(), 64u);
  EXPECT_EQ(vector.length(), 5u);
  EXPECT_EQ(matrix.device(), GetParam());
  matrix.setReadCount(7);
  EXPECT_EQ(matrix.readCount(), 7u);
}

TEST_P(TemporaryTest, CarriesValuesThroughAChain) {
  const Matrix input(GetParam(), kShape), result(GetParam(), kShape);
  input.write(std::vector<float>(64 * 64, 1));
  CommandBuffer commands = queue_.makeCommandBuffer();
  Matrix previous = input;
  for (int i = 0; i < 6; ++i) {
    const TemporaryMatrix next(commands, kShape);
    encodeNeuron(commands, previous, next);
    previous = next;
  }
  encodeNeuron(commands, previous, result);
  // Two at a time are alive: each is given back when it has been read, which is after its successor was made.
  EXPECT_EQ(commands.temporaryBytes(), 2 * kBytes);
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(result.read<float>(), std::vector<float>(64 * 64, 255));  // x -> 2x + 1, seven times
}

/// Takes temporaries of two sizes, and tells where they lie.
std::vector<std::byte*> takeSome(CommandBuffer& commands) {
  std::vector<std::byte*> addresses;
  for (const std::size_t rows : {64u, 64u, 200u, 64u}) {
    const TemporaryMatrix matrix(commands, {.rows = rows, .columns = 64});
    addresses.push_back(detail::implementation(matrix).address());
  }
  return addresses;
}

TEST_P(TemporaryTest, TheSameWorkFindsTheSameAddressesBesideWhatOthersLeft) {
  detail::implementation(GetParam()).releaseCachedBlocks();
  {
    std::vector<CommandBuffer> others;
    for (int i = 0; i < 5; ++i) takeSome(others.emplace_back(queue_.makeCommandBuffer()));
    const TemporaryMatrix one(others.front(), kShape);
    detail::implementation(one).address();
  }
  std::vector<std::byte*> first;
  for (int round = 0; round < 8; ++round) {
    CommandBuffer commands = queue_.makeCommandBuffer();
    const auto addresses = takeSome(commands);
    if (round == 0) first = addresses;
    EXPECT_EQ(addresses, first) << "in round " << round;
    commands.commit();
    commands.waitUntilCompleted();
  }
}

TEST_P(TemporaryTest, CommandBuffersThatTakeTurnsHaveAddressesInTurn) {
  detail::implementation(GetParam()).releaseCachedBlocks();
  CommandBuffer one = queue_.makeCommandBuffer(), other = queue_.makeCommandBuffer();
  const auto ofOne = takeSome(one), ofOther = takeSome(other);
  for (int round = 0; round < 8; ++round) {
    one = queue_.makeCommandBuffer();  // the one before is gone, the other is still open
    EXPECT_EQ(takeSome(one), ofOne) << "in round " << round;
    other = queue_.makeCommandBuffer();
    EXPECT_EQ(takeSome(other), ofOther) << "in round " << round;
  }
}

TEST_P(TemporaryTest, BlocksOfALowerLaneAreLeftToIt) {
  detail::implementation(GetParam()).releaseCachedBlocks();
  CommandBuffer one = queue_.makeCommandBuffer(), other = queue_.makeCommandBuffer();
  const auto ofOne = takeSome(one);
  const TemporaryMatrix small(other, {.rows = 1, .columns = 4});
  detail::implementation(small).address();  // takes the second lane
  one = CommandBuffer();                    // leaves the first one
  takeSome(other);
  one = queue_.makeCommandBuffer();
  EXPECT_EQ(takeSome(one), ofOne);
}

TEST_P(TemporaryTest, BlocksOfAHigherLaneServeALowerOne) {
  detail::implementation(GetParam()).releaseCachedBlocks();
  CommandBuffer one = queue_.makeCommandBuffer(), other = queue_.makeCommandBuffer();
  const TemporaryMatrix small(one, {.rows = 1, .columns = 4});
  detail::implementation(small).address();
  const auto ofOther = takeSome(other);
  other = CommandBuffer();
  EXPECT_EQ(takeSome(one), ofOther);
}

TEST_P(TemporaryTest, CountsOneReadForEachEncode) {
  const Matrix result(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryMatrix temporary(commands, kShape);
  temporary.setReadCount(3);
  encodeNeuron(commands, result, temporary);
  encodeNeuron(commands, result, temporary);
  EXPECT_EQ(temporary.readCount(), 3u) << "Writing is not reading.";
  encodeNeuron(commands, temporary, result);
  EXPECT_EQ(temporary.readCount(), 2u);
  encodeNeuron(commands, temporary, temporary);
  EXPECT_EQ(temporary.readCount(), 1u) << "In place it is read, and written.";
  encodeNeuron(commands, temporary, result);
  EXPECT_EQ(temporary.readCount(), 0u);
  commands.commit();
  commands.waitUntilCompleted();
}

TEST_P(TemporaryTest, InTwoRolesOfOneEncodeIsReadOnce) {
  const Matrix result(GetParam(), kShape), zeros(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryMatrix square(commands, kShape);
  square.setReadCount(2);
  encodeNeuron(commands, zeros, square);
  MatrixFullyConnected(GetParam())
      .encode(commands, {.inputMatrix = square, .weightMatrix = square, .resultMatrix = result});
  EXPECT_EQ(square.readCount(), 1u);
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(64 * 64, 64));
}

TEST_P(TemporaryTest, StatisticsAreReadOnlyWhereTheyAreInputs) {
  const Matrix matrix(GetParam(), kShape), result(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryVector mean(commands, {.length = 64}), variance(commands, {.length = 64});
  MatrixBatchNormalization kernel(GetParam());
  kernel.computeStatistics = true;
  const MatrixBatchNormalization::Arguments arguments{
      .inputMatrix = matrix, .meanVector = mean, .varianceVector = variance, .resultMatrix = result};
  kernel.encode(commands, arguments);
  EXPECT_EQ(mean.readCount(), 1u);
  kernel.computeStatistics = false;
  kernel.encode(commands, arguments);
  EXPECT_EQ(mean.readCount(), 0u);
  EXPECT_EQ(variance.readCount(), 0u);
  commands.commit();
  commands.waitUntilCompleted();
}

TEST_P(TemporaryTest, IsGoneWhenItsReadsAre) {
  const Matrix result(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryMatrix temporary(commands, kShape);
  temporary.setLabel("hidden");
  encodeNeuron(commands, result, temporary);
  encodeNeuron(commands, temporary, result);
  expectError(ErrorCode::invalidArgument, {"TemporaryMatrix \"hidden\"", "inputMatrix", "readCount"},
              [&] { encodeNeuron(commands, temporary, result); });
  expectError(ErrorCode::invalidArgument, {"\"hidden\"", "resultMatrix"},
              [&] { encodeNeuron(commands, result, temporary); });
  expectError(ErrorCode::invalidArgument, {"\"hidden\"", "0 already"}, [&] { temporary.setReadCount(1); });
  EXPECT_EQ(commands.explain().size(), 2u) << "What was refused is not recorded.";
}

TEST_P(TemporaryTest, IsGivenBackByAReadCountOfZero) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const Matrix zeros(GetParam(), kShape);
  for (int i = 0; i < 10; ++i) {
    const TemporaryMatrix temporary(commands, kShape);
    encodeNeuron(commands, zeros, temporary);
    temporary.setReadCount(0);
    EXPECT_EQ(commands.temporaryBytes(), kBytes);
  }
}

TEST_P(TemporaryTest, BelongsToItsCommandBuffer) {
  const Matrix result(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer(), other = queue_.makeCommandBuffer();
  const TemporaryMatrix temporary(commands, kShape);
  const TemporaryVector bias(commands, {.length = 64});
  expectError(ErrorCode::invalidArgument, {"another command buffer"}, [&] { encodeNeuron(other, temporary, result); });
  expectError(ErrorCode::invalidArgument, {"another command buffer"}, [&] { encodeNeuron(other, result, temporary); });
  expectError(ErrorCode::invalidArgument, {"TemporaryVector", "biasVector", "another command buffer"}, [&] {
    MatrixNeuron(GetParam()).encode(other, {.inputMatrix = result, .biasVector = bias, .resultMatrix = result});
  });
  commands.commit();
  expectError(ErrorCode::invalidArgument, {"committed or gone"}, [&] { encodeNeuron(other, temporary, result); });
  EXPECT_EQ(other.explain().size(), 0u);
}

TEST_P(TemporaryTest, OutlivesItsCommandBufferAsAShell) {
  std::optional<TemporaryMatrix> temporary;
  {
    CommandBuffer commands = queue_.makeCommandBuffer();
    temporary.emplace(commands, kShape);
  }
  EXPECT_EQ(temporary->rows(), 64u);
  CommandBuffer other = queue_.makeCommandBuffer();
  expectError(ErrorCode::invalidArgument, {"committed or gone"}, [&] { encodeNeuron(other, *temporary, *temporary); });
}

TEST_P(TemporaryTest, IsHeldByItsCommandBuffer) {
  const Matrix input(GetParam(), kShape), result(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  {
    const TemporaryMatrix temporary(commands, kShape);
    encodeNeuron(commands, input, temporary);
    encodeNeuron(commands, temporary, result);
  }
  commands.commit();
  EXPECT_EQ(result.read<float>(), std::vector<float>(64 * 64, 3));
}

TEST_P(TemporaryTest, IsNotForTheHost) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const TemporaryMatrix temporary(commands, kShape);
  temporary.setLabel("hidden");
  expectError(ErrorCode::invalidArgument, {"\"hidden\"", "read by the host"}, [&] { temporary.read<float>(); });
  expectError(ErrorCode::invalidArgument, {"\"hidden\"", "written by the host"},
              [&] { temporary.write(std::vector<float>(64 * 64)); });
  expectError(ErrorCode::invalidArgument, {"\"hidden\"", "no buffer"}, [&] { temporary.data(); });
  const TemporaryVector vector(commands, {.length = 5});
  expectError(ErrorCode::invalidArgument, {"TemporaryVector"}, [&] { vector.read<float>(); });
}

TEST_P(TemporaryTest, DescriptorsAreCheckedAsEverywhere) {
  CommandBuffer commands = queue_.makeCommandBuffer(), nil;
  expectError(ErrorCode::invalidArgument, {"rowBytes 3"},
              [&] { TemporaryMatrix(commands, {.rows = 1, .columns = 1, .rowBytes = 3}); });
  expectError(ErrorCode::unsupported, {},
              [&] { TemporaryVector(commands, {.length = 1, .dataType = DataType::invalid}); });
  expectError(ErrorCode::invalidArgument, {"nil"}, [&] { TemporaryMatrix(nil, kShape); });
  const TemporaryMatrix handle;
  expectError(ErrorCode::invalidArgument, {"nil"}, [&] { handle.readCount(); });
}

TEST_P(TemporaryTest, OfDifferentSizesShareWhatFits) {
  const Matrix zeros(GetParam(), kShape);
  CommandBuffer commands = queue_.makeCommandBuffer();
  MatrixNeuron kernel(GetParam());
  const auto useAndDrop = [&](std::size_t rows) {
    kernel.sourceNumberOfFeatureVectors = rows;
    const TemporaryMatrix temporary(commands, {.rows = rows, .columns = 64});
    kernel.encode(commands, {.inputMatrix = zeros, .resultMatrix = temporary});
    temporary.setReadCount(0);
  };
  useAndDrop(64);
  useAndDrop(48);
  EXPECT_EQ(commands.temporaryBytes(), kBytes) << "A somewhat smaller one fits.";
  useAndDrop(4);
  EXPECT_LT(commands.temporaryBytes(), 2 * kBytes) << "A much smaller one gets storage of its own size.";
}

TEST_P(TemporaryTest, StorageCanBePrefetched) {
  CommandBuffer commands = queue_.makeCommandBuffer();
  const MatrixDescriptor matrices[] = {kShape, kShape, {.rows = 1, .columns = 8}};
  TemporaryMatrix::prefetchStorage(commands, matrices);
  const std::size_t reserved = commands.temporaryBytes();
  EXPECT_GE(reserved, 2 * kBytes);
  const Matrix zeros(GetParam(), kShape);
  const TemporaryMatrix first(commands, kShape), second(commands, kShape);
  encodeNeuron(commands, zeros, first);
  encodeNeuron(commands, zeros, second);
  EXPECT_EQ(commands.temporaryBytes(), reserved);
  const VectorDescriptor vectors[] = {{.length = 100000}};
  TemporaryVector::prefetchStorage(commands, vectors);
  EXPECT_GE(commands.temporaryBytes(), reserved + 400000);
  CommandBuffer nil;
  expectError(ErrorCode::invalidArgument, {"nil"}, [&] { TemporaryMatrix::prefetchStorage(nil, matrices); });
}

TEST_P(TemporaryTest, StorageIsUsedAgainByTheNextCommandBuffer) {
  const Matrix input(GetParam(), kShape), result(GetParam(), kShape);
  const auto step = [&] {
    CommandBuffer commands = queue_.makeCommandBuffer();
    const TemporaryMatrix temporary(commands, kShape);
    encodeNeuron(commands, input, temporary);
    encodeNeuron(commands, temporary, result);
    commands.commit();
    commands.waitUntilCompleted();
  };
  step();
  step();
  const std::size_t held = GetParam().allocatedBytes();
  for (int i = 0; i < 20; ++i) step();
  EXPECT_LE(GetParam().allocatedBytes(), held);
}

INSTANTIATE_TEST_SUITE_P(Devices, TemporaryTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid
