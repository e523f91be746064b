#include "backends/cuda/cuda_test_device.hpp"

#include "backends/cuda/work.hpp"

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
using testing::filled;
using testing::someWork;

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

TEST(CudaDevices, ThatAreNotThereAreRefusedByName) {
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

TEST_F(CudaTest, OperandsOfAnotherDeviceAreRefused) {
  const Device host = Device::named("cpu");
  const Matrix own = filled(device, 3, 5, 1), foreign = filled(host, 3, 5, 1);
  const auto refused = [&](const Device& kernelDevice, const Device& queueDevice, const Matrix& x, const Matrix& y) {
    CommandBuffer commands = queueDevice.makeCommandQueue().makeCommandBuffer();
    const MatrixNeuron neuron(kernelDevice);
    const std::string message =
        messageOf(ErrorCode::invalidArgument, [&] { neuron.encode(commands, {.inputMatrix = x, .resultMatrix = y}); });
    EXPECT_NE(message.find(device.name()), std::string::npos) << message;
    EXPECT_NE(message.find(host.name()), std::string::npos) << message;
    EXPECT_TRUE(commands.explain().empty()) << "What was refused is not recorded.";
  };
  refused(device, device, foreign, own);
  refused(device, device, own, foreign);
  refused(host, device, own, own);
  refused(device, host, own, own);
  refused(host, host, foreign, own);
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
