#include "backends/cuda/cuda_test_device.hpp"

#include "backends/cuda/module_loader.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/matrix_softmax_cross_entropy.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace metalloid {
namespace {

using testing::CudaTest;

constexpr std::size_t kRows = 40, kColumns = 24;

Matrix filled(const Device& device, std::size_t rows, std::size_t columns, float factor) {
  const Matrix matrix(device, {.rows = rows, .columns = columns});
  std::vector<float> values(rows * columns);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = factor * (static_cast<float>(i % 37) - 18);
  matrix.write(values);
  return matrix;
}

/// A neuron's result for a small matrix: what a device that works gives.
std::vector<float> someWork(const Device& device) {
  const Matrix x = filled(device, kRows, kColumns, 0.125f), y(device, {.rows = kRows, .columns = kColumns});
  MatrixNeuron neuron(device);
  neuron.setNeuronType(CNNNeuronType::geLU);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  neuron.encode(commands, {.inputMatrix = x, .resultMatrix = y});
  commands.commit();
  commands.waitUntilCompleted();
  return y.read<float>();
}

/// The sentence of the error that f throws.
template <class F>
std::string messageOf(ErrorCode code, F f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return std::string(error.message());
  }
  ADD_FAILURE() << "Nothing was thrown.";
  return {};
}

TEST(CudaModule, SaysWhyItIsAbsent) {
  const auto loaded = cuda::loadModule();
  EXPECT_EQ(loaded.module == nullptr, !loaded.reason.empty()) << loaded.reason;
}

TEST(CudaModule, AnAbsentDeviceIsRefusedByName) {
  const std::string message = messageOf(ErrorCode::invalidArgument, [] { (void)Device::named("cuda:999"); });
  EXPECT_NE(message.find("cuda:999"), std::string::npos) << message;
}

TEST_F(CudaTest, IsTheDefaultDevice) { EXPECT_EQ(Device::systemDefault(), device); }

TEST_F(CudaTest, TheHostCannotSeeItsMemory) {
  const Buffer buffer = device.makeBuffer(16);
  messageOf(ErrorCode::unsupported, [&] { (void)buffer.contents(); });
}

TEST_F(CudaTest, CopiesOfEverySizeComeBack) {
  for (const std::size_t length : {1u, 3u, 4096u, 2u << 20, (2u << 20) + 1u, (16u << 20) + 5u}) {
    std::vector<std::byte> bytes(length);
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 251);
    EXPECT_EQ(device.makeBuffer(bytes.data(), length).read(), bytes) << length;
  }
}

TEST_F(CudaTest, NewBuffersAreZero) {
  const std::vector<std::byte> dirty(1 << 16, std::byte{0xff});
  (void)device.makeBuffer(dirty.data(), dirty.size());
  EXPECT_EQ(device.makeBuffer(1 << 16).read(), std::vector<std::byte>(1 << 16));
}

TEST_F(CudaTest, MemoryThatIsNotThereIsAnErrorAndTheDeviceGoesOn) {
  const std::vector<float> before = someWork(device);
  constexpr std::size_t kTooMuch = std::size_t{1} << 44;  // more than any device has
  const Buffer buffer = device.makeBuffer(kTooMuch);
  const std::byte one[1] = {};
  const std::string message = messageOf(ErrorCode::outOfMemory, [&] { buffer.write(one); });
  EXPECT_NE(message.find(std::to_string(kTooMuch)), std::string::npos) << message;
  EXPECT_NE(message.find("free"), std::string::npos) << message;
  EXPECT_EQ(someWork(device), before);
}

TEST_F(CudaTest, ALabelOutOfRangeFailsAsOnTheHostAndWritesNothing) {
  const auto run = [](const Device& where, std::vector<float>* gradient) {
    const Matrix x = filled(where, 3, 5, 0.25f), g(where, {.rows = 3, .columns = 5});
    g.write(std::vector<float>(15, 7));
    const Vector labels(where, {.length = 3, .dataType = DataType::uInt32});
    labels.write(std::vector<std::uint32_t>{1, 9, 2});
    const MatrixSoftMaxCrossEntropy loss(where);
    CommandBuffer commands = where.makeCommandQueue().makeCommandBuffer();
    loss.encode(commands, {.sourceMatrix = x, .labelVector = labels, .resultGradientMatrix = g});
    commands.commit();
    const std::string message = messageOf(ErrorCode::invalidArgument, [&] { commands.waitUntilCompleted(); });
    if (gradient) {
      // The failed use must not keep the test from looking.
      CommandBuffer empty = where.makeCommandQueue().makeCommandBuffer();
      MatrixNeuron copy(where);
      const Matrix result(where, {.rows = 3, .columns = 5});
      copy.encode(empty, {.inputMatrix = g, .resultMatrix = result});
      empty.commit();
      empty.waitUntilCompleted();
      *gradient = result.read<float>();
    }
    return message;
  };
  std::vector<float> gradient;
  EXPECT_EQ(run(device, &gradient), run(Device::named("cpu"), nullptr));
  EXPECT_EQ(gradient, std::vector<float>(15, 7));
  EXPECT_FALSE(someWork(device).empty());
}

TEST_F(CudaTest, HoldsNoMoreMemoryAfterTheSameWork) {
  (void)someWork(device);
  const std::size_t held = device.allocatedBytes();
  for (int i = 0; i < 20; ++i) (void)someWork(device);
  EXPECT_EQ(device.allocatedBytes(), held);
}

}  // namespace
}  // namespace metalloid
