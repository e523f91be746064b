#include "backends/cuda/cuda_test_device.hpp"
#include "backends/cuda/work.hpp"
#include "support/convolution.hpp"

#include <metalloid/buffer.hpp>
#include <metalloid/cnn_convolution.hpp>
#include <metalloid/image.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace metalloid {
namespace {

using testing::CudaTest;
using testing::expectSays;
using testing::filled;
using testing::someWork;
using testing::textOf;

constexpr std::size_t kTooMuch = std::size_t{1} << 44;  // more than any device has

/// Takes all memory that a device has left, but for less than a megabyte.
std::vector<Buffer> allMemoryOf(const Device& device) {
  std::vector<Buffer> taken;
  const std::byte one[1] = {};
  for (std::size_t bytes = std::size_t{1} << 34; bytes >= std::size_t{1} << 20;) {
    const Buffer buffer = device.makeBuffer(bytes);
    try {
      buffer.write(one);  // makes its storage
      taken.push_back(buffer);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::outOfMemory) << error.what();
      bytes /= 2;
    }
  }
  return taken;
}

TEST_F(CudaTest, MemoryThatIsNotThereIsAnErrorAndTheDeviceGoesOn) {
  const std::vector<float> before = someWork(device);
  const Buffer buffer = device.makeBuffer(kTooMuch);
  const std::byte one[1] = {};
  const std::string text = textOf(ErrorCode::outOfMemory, [&] { buffer.write(one); });
  expectSays(text, std::to_string(kTooMuch));
  expectSays(text, "free");
  EXPECT_EQ(someWork(device), before);
}

constexpr ImageDescriptor kVastImage{.channelFormat = ImageFeatureChannelFormat::float32,
                                     .width = std::size_t{1} << 20,
                                     .height = std::size_t{1} << 20,
                                     .featureChannels = 4};

TEST_F(CudaTest, AnImageThatDoesNotFitIsAnErrorAndTheDeviceGoesOn) {
  const std::vector<float> before = someWork(device);
  const Image image(device, kVastImage);
  const float pixel[4] = {};
  Image::BytesArguments corner;
  corner.region = {.origin = {}, .size = {.width = 1, .height = 1, .depth = 1}};
  expectSays(textOf(ErrorCode::outOfMemory, [&] { image.writeBytes(std::as_bytes(std::span(pixel)), corner); }),
             "are asked of device cuda:0");
  EXPECT_EQ(someWork(device), before);
}

TEST_F(CudaTest, ATemporaryThatDoesNotFitIsAnErrorAndTheCommandBufferGoesOn) {
  const Matrix x = filled(device, 4, 4, 1), y(device, {.rows = 4, .columns = 4});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const MatrixNeuron neuron(device);
  const TemporaryMatrix small(commands, {.rows = 4, .columns = 4});
  neuron.encode(commands, {.inputMatrix = x, .resultMatrix = small});
  expectSays(textOf(ErrorCode::outOfMemory,
                    [&] { TemporaryImage::prefetchStorage(commands, std::vector<ImageDescriptor>{kVastImage}); }),
             "are asked of device cuda:0");
  neuron.encode(commands, {.inputMatrix = small, .resultMatrix = y});
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(y.read<float>(), x.read<float>());
}

/// A convolution whose patches take 600 MB of scratch memory, between two neurons.
class LargeConvolution {
 public:
  explicit LargeConvolution(const Device& device)
      : device_(device),
        kernel_(device,
                testing::weightsOf(
                    {.kernelWidth = 3, .kernelHeight = 3, .inputFeatureChannels = 4, .outputFeatureChannels = 4},
                    std::vector<float>(4 * 9 * 4, 0.25f))),
        x_(filled(device, 4, 4, 1)),
        before_(device, {.rows = 4, .columns = 4}),
        after_(device, {.rows = 4, .columns = 4}),
        source_(testing::imageOf(device, kSize, kSize, 4, std::vector<float>(kSize * kSize * 4, 1))),
        result_(testing::imageOf(device, kSize, kSize, 4, std::vector<float>(kSize * kSize * 4, 0))) {
    kernel_.label = "large";
    after_.write(std::vector<float>(16, 7));
    before_.write(std::vector<float>(16, 7));
  }

  CommandBuffer commitTo(const CommandQueue& queue) {
    CommandBuffer commands = queue.makeCommandBuffer();
    const MatrixNeuron neuron(device_);
    neuron.encode(commands, {.inputMatrix = x_, .resultMatrix = before_});
    kernel_.encode(commands, {.sourceImage = source_, .destinationImage = result_});
    neuron.encode(commands, {.inputMatrix = x_, .resultMatrix = after_});
    commands.commit();
    return commands;
  }

  /// A pixel away from the border: the sum of 9 x 4 weights.
  float middle() const { return result_.read<float>()[(kSize / 2 * kSize + kSize / 2) * 4]; }

 private:
  static constexpr std::size_t kSize = 2048;
  Device device_;
  CNNConvolution kernel_;
  Matrix x_, before_, after_;
  Image source_, result_;
};

TEST_F(CudaTest, ScratchMemoryThatIsNotThereIsAStoredErrorAndTheDeviceGoesOn) {
  const std::vector<float> before = someWork(device);
  LargeConvolution work(device);
  const CommandQueue queue = device.makeCommandQueue();
  // Elsewhere first: kernels are loaded when they are first used, which takes memory as well. That queue stays in use,
  // so that nobody else gets its scratch memory.
  const CommandQueue other = device.makeCommandQueue();
  work.commitTo(other).waitUntilCompleted();
  {
    const std::vector<Buffer> hoard = allMemoryOf(device);
    const CommandBuffer commands = work.commitTo(queue);
    const std::string text = textOf(ErrorCode::outOfMemory, [&] { commands.waitUntilCompleted(); });
    expectSays(text, "Scratch memory is not there");
    expectSays(text, "CNNConvolution \"large\"");
    expectSays(text, "cuda:0");
    EXPECT_EQ(commands.status(), CommandBufferStatus::error);
  }
  EXPECT_EQ(someWork(device), before);
  // Memory that buffers gave back serves scratch memory, too.
  work.commitTo(queue).waitUntilCompleted();
  EXPECT_EQ(work.middle(), 9.0f);
}

}  // namespace
}  // namespace metalloid
