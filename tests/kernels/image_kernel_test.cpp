// What image kernels have in common: edge modes, results that are given or made, images of containers.

#include "kernels/kernel_checks.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"

#include <metalloid/metalloid.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::test {
namespace {

using metalloid::testing::counting;
using metalloid::testing::imageOf;
using Values = std::vector<float>;

class ImageKernelTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Devices, ImageKernelTest, ::testing::ValuesIn(metalloid::testing::computingDevices()),
                         [](const auto& instance) { return metalloid::testing::identifier(instance.param); });

// --- Edge modes -----------------------------------------------------------------------------------------------------

/// mirror, mirrorWithEdge and constant are for padding kernels: others refuse them, wherever they read.
template <class K>
void expectTwoEdgeModes(K kernel, ImageEdgeMode K::*edgeMode, const std::function<void(K&, CommandBuffer&)>& encode) {
  for (const auto mode : {ImageEdgeMode::mirror, ImageEdgeMode::mirrorWithEdge, ImageEdgeMode::constant}) {
    kernel.*edgeMode = mode;
    const std::string number = "is " + std::to_string(static_cast<std::uint32_t>(mode));
    expectEncodeRefused(kernel.device(), [&](CommandBuffer& commands) { encode(kernel, commands); },
                        {kernel.name(), "edge mode", number, "zero or clamp"});
  }
  kernel.*edgeMode = ImageEdgeMode::clamp;
  execute(kernel.device(), [&](CommandBuffer& commands) { encode(kernel, commands); });
}

TEST_P(ImageKernelTest, EdgeModesOfPaddingKernelsAreRefused) {
  const Image x = imageOf(device, {2, 3, 4}, counting(24)), y = imageOf(device, {2, 3, 4}, Values(24, 0));
  const auto one = [&](auto kernel) {
    using K = decltype(kernel);
    expectTwoEdgeModes<K>(std::move(kernel), &K::edgeMode, [&](K& k, CommandBuffer& commands) {
      k.encode(commands, {.sourceImage = x, .destinationImage = y});
    });
  };
  one(CNNNeuron(device, {}));
  one(CNNSoftMax(device));
  one(CNNLogSoftMax(device));
  one(CNNPoolingMax(device, {.kernelWidth = 2, .kernelHeight = 2}));
  one(CNNSpatialNormalization(device, 3, 3));
  one(CNNUpsamplingNearest(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}));
  for (const auto edgeMode : {&CNNAdd::primaryEdgeMode, &CNNAdd::secondaryEdgeMode}) {
    expectTwoEdgeModes<CNNAdd>(CNNAdd(device), edgeMode, [&](CNNAdd& k, CommandBuffer& commands) {
      k.encode(commands, {.primaryImage = x, .secondaryImage = x, .destinationImage = y});
    });
  }
  expectTwoEdgeModes<CNNNeuronGradient>(CNNNeuronGradient(device, {}), &CNNNeuronGradient::secondaryEdgeMode,
                                        [&](CNNNeuronGradient& k, CommandBuffer& commands) {
                                          k.encode(commands,
                                                   {.sourceGradient = x, .sourceImage = x, .destinationGradient = y});
                                        });
}

// --- Results of gradients -------------------------------------------------------------------------------------------

/// A forward kernel reads channels 4 to 7 of 8; of its gradient's result a given one keeps the other channels, and one
/// that the kernel makes is 0 there.
template <class K, class G>
void expectWrittenWhereRead(K forward, G backward, std::size_t resultWidth = 3) {
  SCOPED_TRACE(backward.name());
  const Device device = forward.device();
  const Image x = imageOf(device, {2, 3, 8}, counting(48, 1));
  const Image given = imageOf(device, {2, 3, 8}, Values(48, -1));
  const std::size_t resultHeight = resultWidth == 1 ? 1 : resultWidth * 2 / 3;
  const Image y = imageOf(device, {resultHeight, resultWidth, 4}, Values(resultHeight * resultWidth * 4, 0));
  const Image g = imageOf(device, {resultHeight, resultWidth, 4}, Values(resultHeight * resultWidth * 4, 1));
  constexpr bool isBinary = requires { forward.primaryOffset; };
  if constexpr (isBinary) {
    forward.primarySourceFeatureChannelOffset = forward.secondarySourceFeatureChannelOffset = 4;
  } else {
    forward.sourceFeatureChannelOffset = 4;
  }
  backward.destinationImageAllocator = Image::defaultAllocator();
  Image made;
  execute(device, [&](CommandBuffer& commands) {
    State state;
    if constexpr (isBinary) {
      forward.encode(commands,
                     {.primaryImage = x, .secondaryImage = x, .destinationState = &state, .destinationImage = y});
    } else {
      forward.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = y});
    }
    made = backward.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
    backward.encode(commands,
                    {.sourceGradient = g, .sourceImage = x, .gradientState = state, .destinationGradient = given});
  });
  const auto own = made.read<float>(), kept = given.read<float>();
  ASSERT_EQ(own.size(), kept.size());
  bool isWritten = false;
  for (std::size_t i = 0; i < own.size(); ++i) {
    const bool isRead = i % 8 >= 4;
    EXPECT_EQ(kept[i], isRead ? own[i] : -1) << i;
    if (!isRead) {
      EXPECT_EQ(own[i], 0) << i;
    }
    isWritten = isWritten || own[i] != 0;
  }
  EXPECT_TRUE(isWritten);
}

TEST_P(ImageKernelTest, GivenGradientsAreWrittenWhereTheForwardKernelRead) {
  expectWrittenWhereRead(CNNNeuron(device, {}), CNNNeuronGradient(device, {}));
  expectWrittenWhereRead(CNNPoolingMax(device, {.kernelWidth = 3, .kernelHeight = 3}),
                         CNNPoolingMaxGradient(device, {.kernelWidth = 3, .kernelHeight = 3}));
  expectWrittenWhereRead(CNNSpatialNormalization(device, 3, 3), CNNSpatialNormalizationGradient(device, 3, 3));
  expectWrittenWhereRead(CNNCrossChannelNormalization(device, 3), CNNCrossChannelNormalizationGradient(device, 3));
  expectWrittenWhereRead(CNNUpsamplingNearest(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 2}),
                         CNNUpsamplingNearestGradient(device, {.integerScaleFactorX = 2, .integerScaleFactorY = 2}), 6);
  expectWrittenWhereRead(CNNDropout(device, {.keepProbability = 0.5F}),
                         CNNDropoutGradient(device, {.keepProbability = 0.5F}));
  expectWrittenWhereRead(CNNAdd(device), CNNAddGradient(device, false));
  expectWrittenWhereRead(CNNMultiply(device), CNNMultiplyGradient(device, true));
  expectWrittenWhereRead(NNReshape(device), NNReshapeGradient(device));
  expectWrittenWhereRead(NNReductionSpatialMean(device), NNReductionSpatialMeanGradient(device), 1);
}

/// Configured by hand: in its clip rectangle a given result is written everywhere, and nowhere else.
TEST_P(ImageKernelTest, GivenGradientsOfSumsAreWrittenInTheClipRectangle) {
  const Image g = imageOf(device, {1, 4, 1}, Values{1, 2, 4, 8}), x = imageOf(device, {1, 4, 1}, Values(4, 0));
  const Image given = imageOf(device, {1, 4, 1}, Values(4, -1));
  CNNAddGradient kernel(device, true);
  kernel.secondaryStrideInPixelsX = 0;  // the forward kernel read the first pixel only
  kernel.clipRect = {{1, 0, 0}, {2, 1, 1}};
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceGradient = g, .sourceImage = x, .destinationGradient = given});
  });
  EXPECT_EQ(given.read<float>(), (Values{-1, 15, 0, -1}));
}

// --- Containers -----------------------------------------------------------------------------------------------------

/// The results of the last two of three images, where the first that is read is the second.
template <class K>
void expectTwoResults(K kernel, const Image& x, const std::function<Image(K&, CommandBuffer&)>& encode) {
  SCOPED_TRACE(kernel.name());
  Image made;
  execute(kernel.device(), [&](CommandBuffer& commands) { made = encode(kernel, commands); });
  ASSERT_EQ(made.numberOfImages(), 2u);
  const auto all = x.read<float>();
  EXPECT_EQ(made.read<float>(), Values(all.end() - 4, all.end()));
}

TEST_P(ImageKernelTest, MadeResultsHoldTheImagesFromTheOffsetOn) {
  const Image x(device, {.channelFormat = ImageFeatureChannelFormat::float32, .width = 2, .numberOfImages = 3});
  x.write(counting(6, 1));
  const Image zero(device, x.descriptor());
  const auto one = [&](auto kernel) {
    using K = decltype(kernel);
    kernel.offset.z = 1;
    kernel.destinationImageAllocator = Image::defaultAllocator();
    expectTwoResults<K>(std::move(kernel), x,
                        [&](K& k, CommandBuffer& commands) { return k.encode(commands, {.sourceImage = x}); });
  };
  one(CNNNeuron(device, {}));
  one(CNNPoolingMax(device, {.kernelWidth = 1, .kernelHeight = 1}));
  one(CNNUpsamplingNearest(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}));
  CNNAdd add(device);
  add.primaryOffset.z = 1;
  add.destinationImageAllocator = Image::defaultAllocator();
  expectTwoResults<CNNAdd>(std::move(add), x, [&](CNNAdd& k, CommandBuffer& commands) {
    return k.encode(commands, {.primaryImage = x, .secondaryImage = zero});
  });

  CNNNeuron beyond(device, {});
  beyond.offset.z = 3;
  expectEncodeRefused(device, [&](CommandBuffer& commands) { beyond.encode(commands, {.sourceImage = x}); },
                      {"CNNNeuron", "3 images", "from 3 on"});
}

}  // namespace
}  // namespace metalloid::test
