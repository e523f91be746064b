// Poolings and upsamplings against what PyTorch computes in float64 (make_pooling_vectors.py), forward and backward.
//
// Expected values carry one rounding to float32, ours one for each term of a sum.

#include "formats/safetensors.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

const formats::TensorView& tensor(const std::string& name) {
  static const auto file = formats::SafetensorsFile::read(METALLOID_TESTS "/vectors/pooling.safetensors");
  const auto* const found = file.find(name);
  if (!found) throw std::runtime_error("pooling.safetensors holds no " + name);
  return *found;
}

class PyTorchPooling : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  ImageBatch like(const std::string& name) const {
    const auto& shape = tensor(name).shape;
    return Image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                          .width = shape.at(2),
                          .height = shape.at(1),
                          .featureChannels = shape.at(3),
                          .numberOfImages = shape.at(0)})
        .batchRepresentation();
  }
  ImageBatch images(const std::string& name) const {
    const ImageBatch batch = like(name);
    batch.front().parent().write(std::span<const float>(formats::floatValues(tensor(name))));
    return batch;
  }

  /// `roundings` of numbers as large as `scale`, and that of the expected value; on the reference, which computes in
  /// double, only that of its own result.
  void expectClose(const ImageBatch& actual, const std::string& name, double roundings, double scale) const {
    const auto expected = formats::floatValues(tensor(name));
    std::vector<float> all;
    for (const Image& image : actual) {
      const auto values = image.read<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
    ASSERT_EQ(all.size(), expected.size()) << name;
    const double own = device.name() == "reference" ? 0 : roundings * scale;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(all[i], expected[i], 0x1p-24 * (own + 2 * std::fabs(static_cast<double>(expected[i]))))
          << name << "[" << i << "]";
    }
  }

  /// Forward with the kernel's settings, backward with those of its state.
  template <class Forward, class Gradient>
  void check(const std::string& name, Forward forward, Gradient gradient, double roundings, double scale) const {
    gradient.destinationImageAllocator = Image::defaultAllocator();
    const ImageBatch x = images("x"), y = like(name + ".y");
    ImageBatch dx;
    testing::execute(device, [&](CommandBuffer& commands) {
      StateBatch states;
      forward.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states, .destinationImages = y});
      dx = gradient.encodeBatch(commands,
                                {.sourceGradients = images(name + ".dy"), .sourceImages = x, .gradientStates = states});
    });
    expectClose(y, name + ".y", roundings, scale);
    expectClose(dx, name + ".dx", roundings, scale);
  }

  /// PyTorch pads by `paddingX` and `paddingY`, and its windows begin there.
  template <class Forward, class Gradient>
  void checkPooling(const std::string& name, Forward forward, Gradient gradient, ImageEdgeMode edgeMode,
                    std::ptrdiff_t paddingX, std::ptrdiff_t paddingY, double roundings, double scale) const {
    const auto half = [](std::size_t taps, std::size_t dilation) {
      return static_cast<std::ptrdiff_t>(((taps - 1) * dilation + 1) / 2);
    };
    forward.edgeMode = edgeMode;
    forward.offset = {half(forward.kernelWidth(), forward.dilationRateX()) - paddingX,
                      half(forward.kernelHeight(), forward.dilationRateY()) - paddingY, 0};
    check(name, forward, gradient, roundings, scale);
  }

  const CNNPooling::Descriptor kAny{.kernelWidth = 1, .kernelHeight = 1};  // the state sets it
};

INSTANTIATE_TEST_SUITE_P(Devices, PyTorchPooling, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

TEST_P(PyTorchPooling, Max) {
  const CNNPoolingMaxGradient gradient(device, kAny);
  checkPooling("max", CNNPoolingMax(device, {.kernelWidth = 2, .kernelHeight = 3, .strideInPixelsY = 2}), gradient,
               ImageEdgeMode::clamp, 1, 1, 4, 8);
  checkPooling(
      "max_dilated",
      CNNDilatedPoolingMax(
          device, {.kernelWidth = 2, .kernelHeight = 2, .dilationRateX = 3, .dilationRateY = 2, .strideInPixelsX = 2}),
      CNNDilatedPoolingMaxGradient(device, {.kernelWidth = 1, .kernelHeight = 1}), ImageEdgeMode::clamp, 0, 0, 4, 8);
  checkPooling("max_adaptive",
               CNNPoolingMax(device, {.kernelWidth = 3, .kernelHeight = 2, .strideInPixelsX = 3, .strideInPixelsY = 2}),
               gradient, ImageEdgeMode::zero, 0, 0, 4, 8);
}

TEST_P(PyTorchPooling, Average) {
  const CNNPoolingAverageGradient gradient(device, kAny);
  const CNNPoolingAverage kernel(device,
                                 {.kernelWidth = 4, .kernelHeight = 3, .strideInPixelsX = 3, .strideInPixelsY = 2});
  checkPooling("average_with_padding", kernel, gradient, ImageEdgeMode::zero, 2, 1, 14, 2);
  checkPooling("average_without_padding", kernel, gradient, ImageEdgeMode::clamp, 2, 1, 14, 4);
  checkPooling("average_global", CNNPoolingAverage(device, {.kernelWidth = 6, .kernelHeight = 8}), gradient,
               ImageEdgeMode::zero, 0, 0, 50, 2);
  checkPooling(
      "average_adaptive",
      CNNPoolingAverage(device, {.kernelWidth = 3, .kernelHeight = 2, .strideInPixelsX = 3, .strideInPixelsY = 2}),
      gradient, ImageEdgeMode::zero, 0, 0, 8, 2);
}

TEST_P(PyTorchPooling, L2Norm) {
  checkPooling("l2", CNNPoolingL2Norm(device, {.kernelWidth = 2, .kernelHeight = 3, .strideInPixelsY = 2}),
               CNNPoolingL2NormGradient(device, kAny), ImageEdgeMode::zero, 0, 0, 8, 8);
}

TEST_P(PyTorchPooling, Upsampling) {
  const CNNUpsamplingNearest::Descriptor any{.integerScaleFactorX = 1, .integerScaleFactorY = 1};  // the state sets it
  check("nearest", CNNUpsamplingNearest(device, {.integerScaleFactorX = 3, .integerScaleFactorY = 1}),
        CNNUpsamplingNearestGradient(device, any), 6, 12);
  for (const bool alignCorners : {false, true}) {
    check(alignCorners ? "bilinear_aligned" : "bilinear",
          CNNUpsamplingBilinear(device,
                                {.integerScaleFactorX = 2, .integerScaleFactorY = 3, .alignCorners = alignCorners}),
          CNNUpsamplingBilinearGradient(device, any), 40, 12);
  }
}

}  // namespace
}  // namespace metalloid
