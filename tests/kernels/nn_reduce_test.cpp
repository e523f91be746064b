#include "kernels/kernel_checks.hpp"
#include "support/images.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/nn_reduce.hpp>

namespace metalloid::test {
namespace {

using metalloid::testing::counting;
using metalloid::testing::imageOf;
using metalloid::testing::ImageSize;
using metalloid::testing::makeImage;
using Values = std::vector<float>;

class ReduceTest : public OnDevice {
 protected:
  template <class K>
  Values reduced(K kernel, const Image& x, ImageSize size) {
    const Image y = imageOf(device, size, Values(size.elements(), -1));
    execute(device,
            [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
    return y.read<float>();
  }
  template <class K>
  Values weighted(K kernel, const Image& x, const Image& w, ImageSize size) {
    const Image y = imageOf(device, size, Values(size.elements(), -1));
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.primaryImage = x, .secondaryImage = w, .destinationImage = y});
    });
    return y.read<float>();
  }
};

TEST_P(ReduceTest, EachAxis) {
  // Rows of pixels of two channels: (1, 8) (5, 2) (3, 5) and (-4, 0) (6, 7) (1, 2).
  const Image x = imageOf(device, {2, 3, 2}, Values{1, 8, 5, 2, 3, 5, -4, 0, 6, 7, 1, 2});
  EXPECT_EQ(reduced(NNReduceRowMin(device), x, {2, 1, 2}), (Values{1, 2, -4, 0}));
  EXPECT_EQ(reduced(NNReduceRowMax(device), x, {2, 1, 2}), (Values{5, 8, 6, 7}));
  EXPECT_EQ(reduced(NNReduceRowMean(device), x, {2, 1, 2}), (Values{3, 5, 1, 3}));
  EXPECT_EQ(reduced(NNReduceRowSum(device), x, {2, 1, 2}), (Values{9, 15, 3, 9}));
  EXPECT_EQ(reduced(NNReduceColumnMin(device), x, {1, 3, 2}), (Values{-4, 0, 5, 2, 1, 2}));
  EXPECT_EQ(reduced(NNReduceColumnMax(device), x, {1, 3, 2}), (Values{1, 8, 6, 7, 3, 5}));
  EXPECT_EQ(reduced(NNReduceColumnMean(device), x, {1, 3, 2}), (Values{-1.5F, 4, 5.5F, 4.5F, 2, 3.5F}));
  EXPECT_EQ(reduced(NNReduceColumnSum(device), x, {1, 3, 2}), (Values{-3, 8, 11, 9, 4, 7}));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsMin(device), x, {2, 3, 1}), (Values{1, 2, 3, -4, 6, 1}));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsMax(device), x, {2, 3, 1}), (Values{8, 5, 5, 0, 7, 2}));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsMean(device), x, {2, 3, 1}), (Values{4.5F, 3.5F, 4, -2, 6.5F, 1.5F}));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsSum(device), x, {2, 3, 1}), (Values{9, 7, 8, -4, 13, 3}));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsArgumentMin(device), x, {2, 3, 1}), (Values{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsArgumentMax(device), x, {2, 3, 1}), (Values{1, 0, 1, 1, 1, 1}));
  EXPECT_EQ(reduced(NNReductionSpatialMean(device), x, {1, 1, 2}), (Values{2, 4}));
}

TEST_P(ReduceTest, WeightMultipliesTheSum) {
  NNReduceFeatureChannelsSum kernel(device);
  EXPECT_EQ(kernel.weight, 1);
  kernel.weight = -0.5F;
  EXPECT_EQ(reduced(kernel, imageOf(device, {1, 2, 2}, Values{1, 3, 5, 7}), {1, 2, 1}), (Values{-2, -6}));
}

/// The first of equal values and the first NaN, across the blocks in which long rows are read.
TEST_P(ReduceTest, ArgumentsOfTiesAndNaN) {
  const std::size_t channels = 2500;
  const auto argument = [&](const std::vector<std::pair<std::size_t, float>>& marks) {
    Values values(channels, 1);
    for (const auto& [index, value] : marks) values[index] = value;
    const Image x = imageOf(device, {1, 1, channels}, values);
    return std::pair{reduced(NNReduceFeatureChannelsArgumentMin(device), x, {}).front(),
                     reduced(NNReduceFeatureChannelsArgumentMax(device), x, {}).front()};
  };
  using Pair = std::pair<float, float>;
  EXPECT_EQ(argument({}), Pair(0, 0));
  EXPECT_EQ(argument({{3, 2}, {7, 2}, {2400, 2}}), Pair(0, 3));
  EXPECT_EQ(argument({{1500, 2}, {1501, 2}, {2, -1}, {1700, -1}}), Pair(2, 1500));
  EXPECT_EQ(argument({{2499, 2}, {2498, 0}}), Pair(2498, 2499));
  EXPECT_EQ(argument({{1200, kNaN}, {2000, kNaN}, {5, 9}}), Pair(1200, 1200));
  EXPECT_EQ(argument({{0, kInfinity}, {1, -kInfinity}}), Pair(1, 0));
  // Zeros are equal whatever their sign.
  const Image zeros = imageOf(device, {1, 1, 3}, Values{0.0F, -0.0F, 0.0F});
  EXPECT_EQ(reduced(NNReduceFeatureChannelsArgumentMin(device), zeros, {}), Values{0});
  const Image infinite = imageOf(device, {1, 1, 3}, Values(3, kInfinity));
  EXPECT_EQ(reduced(NNReduceFeatureChannelsArgumentMin(device), infinite, {}), Values{0});
}

TEST_P(ReduceTest, NaNWins) {
  const Image x = imageOf(device, {1, 3, 2}, Values{1, 2, kNaN, 3, 0, 4});
  const auto minima = reduced(NNReduceRowMin(device), x, {1, 1, 2}),
             maxima = reduced(NNReduceRowMax(device), x, {1, 1, 2});
  EXPECT_TRUE(std::isnan(minima[0]) && std::isnan(maxima[0]));
  EXPECT_EQ(minima[1], 2);
  EXPECT_EQ(maxima[1], 4);
}

TEST_P(ReduceTest, RegionsAndChannels) {
  const Image x = imageOf(device, {3, 3, 8}, counting(72));
  NNReduceRowSum rows(device);
  rows.clipRectSource = {{1, 1, 0}, {2, all, 1}};
  rows.offset = {5, 5, 0};  // has no effect
  rows.sourceFeatureChannelOffset = 4;
  rows.sourceFeatureChannelMaxCount = 2;
  rows.destinationFeatureChannelOffset = 4;
  rows.clipRect = {{1, 0, 0}, {all, 2, 1}};
  // Pixels (1, 1), (2, 1) and (1, 2), (2, 2), channels 4 and 5.
  Values expected(2 * 3 * 6, -1);
  expected[10] = 36 + 44, expected[11] = 37 + 45;
  expected[28] = 60 + 68, expected[29] = 61 + 69;
  EXPECT_EQ(reduced(rows, x, {2, 3, 6}), expected);
  auto made = rows.destinationImageDescriptor({x});
  EXPECT_EQ(made.width, 1u);
  EXPECT_EQ(made.height, 2u);
  EXPECT_EQ(made.featureChannels, 6u);

  NNReduceFeatureChannelsMax channels(device);
  channels.clipRectSource = rows.clipRectSource;
  made = channels.destinationImageDescriptor({x});
  EXPECT_EQ(made.width, 2u);
  EXPECT_EQ(made.height, 2u);
  EXPECT_EQ(made.featureChannels, 1u);
  // A smaller result takes the first pixels.
  EXPECT_EQ(reduced(channels, x, {1, 2, 1}), (Values{39, 47}));
  made = NNReduceColumnSum(device).destinationImageDescriptor({x});
  EXPECT_EQ(made.width, 3u);
  EXPECT_EQ(made.height, 1u);
  EXPECT_EQ(made.featureChannels, 8u);
}

TEST_P(ReduceTest, ContainersByImage) {
  const Image x(device,
                {.channelFormat = ImageFeatureChannelFormat::float32, .featureChannels = 2, .numberOfImages = 3});
  x.write(Values{1, 2, 3, 4, 5, 6});
  const Image y(device, {.channelFormat = ImageFeatureChannelFormat::float32, .numberOfImages = 2});
  NNReduceFeatureChannelsSum kernel(device);
  kernel.clipRectSource.origin.z = 1;
  execute(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Values{7, 11}));
}

TEST_P(ReduceTest, WeightedSums) {
  const Image x = imageOf(device, {1, 3, 3}, Values{1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Image w = imageOf(device, {1, 3, 3}, Values{1, 0, 2, 0, 0, 0, -1, 1, 1});
  EXPECT_EQ(weighted(NNReduceFeatureChannelsAndWeightsSum(device), x, w, {1, 3, 1}), (Values{7, 0, 10}));
  EXPECT_EQ(weighted(NNReduceFeatureChannelsAndWeightsSum(device, true), x, w, {1, 3, 1}),
            (Values{3.5F, 0, 10 / 3.0F}));
  EXPECT_EQ(weighted(NNReduceFeatureChannelsAndWeightsMean(device), x, w, {1, 3, 1}), (Values{7 / 3.0F, 0, 10 / 3.0F}));
  NNReduceFeatureChannelsAndWeightsSum part(device);
  part.primarySourceClipRect = {{1, 0, 0}, {2, 1, 1}};
  part.secondarySourceClipRect = {{0, 0, 0}, {2, 1, 1}};
  EXPECT_EQ(weighted(part, x, w, {1, 2, 1}), (Values{16, 0}));
  const auto made = part.destinationImageDescriptor({x, w});
  EXPECT_EQ(made.width, 2u);
  EXPECT_EQ(made.featureChannels, 1u);
}

TEST_P(ReduceTest, SpatialMeanAndItsGradient) {
  const Image x = imageOf(device, {2, 3, 5}, counting(30)), y = imageOf(device, {1, 2, 5}, Values(10, -1));
  NNReductionSpatialMean mean(device);
  mean.clipRectSource = {{1, 0, 0}, {2, 2, 1}};
  mean.sourceFeatureChannelOffset = 4;
  mean.destinationFeatureChannelOffset = 4;
  mean.clipRect = {{1, 0, 0}, {1, 1, 1}};
  State state;
  execute(device, [&](CommandBuffer& commands) {
    mean.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = y});
  });
  Values expected(10, -1);
  expected[9] = (9 + 14 + 24 + 29) / 4.0F;
  EXPECT_EQ(y.read<float>(), expected);

  NNReductionSpatialMeanGradient gradient(device);
  const Image g = imageOf(device, {1, 2, 5}, Values{1, 1, 1, 1, 1, 1, 1, 1, 1, 8});
  const auto made = gradient.destinationImageDescriptor({g, x}, {state});
  EXPECT_EQ(made.width, 3u);
  EXPECT_EQ(made.height, 2u);
  EXPECT_EQ(made.featureChannels, 5u);
  const Image dx = imageOf(device, {2, 3, 5}, Values(30, -1));
  execute(device, [&](CommandBuffer& commands) {
    gradient.encode(commands,
                    {.sourceGradient = g, .sourceImage = x, .gradientState = state, .destinationGradient = dx});
  });
  Values received(30, -1);
  received[9] = received[14] = received[24] = received[29] = 2;
  EXPECT_EQ(dx.read<float>(), received);
}

TEST_P(ReduceTest, Errors) {
  const Image x = makeImage(device, {2, 3, 4}), y = makeImage(device, {2, 1, 4});
  NNReduceRowMax kernel(device);
  kernel.label = "rows";
  const auto refused = [&](CNNKernel::Arguments arguments, std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  refused({.sourceImage = {}, .destinationImage = y}, {"source image is nil"});
  refused({.sourceImage = x, .destinationImage = makeImage(device, {2, 1, 3})},
          {"NNReduceRowMax \"rows\"", "4 channels"});
  refused({.sourceImage = y, .destinationImage = y}, {"overlap"});
  kernel.clipRectSource.origin.x = 3;
  refused({.sourceImage = x, .destinationImage = y}, {"clipRectSource", "nothing of the 3 x 2 pixels"});
  kernel.clipRectSource.origin.x = 0;
  kernel.sourceFeatureChannelOffset = 2;
  refused({.sourceImage = x, .destinationImage = y}, {"offset", "multiple of 4"});
  kernel.sourceFeatureChannelOffset = 0;
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        kernel.encodeBatch(commands, {.sourceImages = {x, x}, .destinationImages = {y}});
                      },
                      {"2 source images, but 1 destination images"});
  expectRefusesCommandBuffers(
      device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  const auto binaryRefused = [&](const Image& weights, std::initializer_list<std::string_view> parts) {
    NNReduceFeatureChannelsAndWeightsMean binary(device);
    expectEncodeRefused(
        device,
        [&](CommandBuffer& commands) { binary.encode(commands, {.primaryImage = x, .secondaryImage = weights}); },
        parts);
  };
  binaryRefused(y, {"NNReduceFeatureChannelsAndWeightsMean", "3 x 2 pixels of 4 channels", "1 x 2 of 4"});
  binaryRefused(makeImage(device, {2, 3, 3}), {"3 x 2 of 3"});
  const State neuron = CNNNeuron(device, {}).resultState({.sourceImage = x, .destinationImage = x});
  expectEncodeRefused(
      device,
      [&](CommandBuffer& commands) {
        NNReductionSpatialMeanGradient(device).encode(
            commands, {.sourceGradient = makeImage(device, {1, 1, 4}), .sourceImage = x, .gradientState = neuron});
      },
      {"NNReductionSpatialMean", "NNGradientState"});
}

template <class K>
void expectArchives(const Device& device) {
  K kernel(device);
  kernel.clipRectSource = {{1, 2, 0}, {3, 4, 1}};
  const K again = decoded<K>(archiveOf(kernel), device);
  EXPECT_EQ(again, kernel);
  EXPECT_EQ(again.clipRectSource, kernel.clipRectSource);
  EXPECT_FALSE(again == K(device));
  EXPECT_EQ(kernel.copy(), kernel);
}

TEST_P(ReduceTest, BehaveAsKernels) {
  NNReduceFeatureChannelsSum sum(device);
  sum.label = "a kernel";
  sum.weight = 2;
  sum.clipRectSource = {{1, 2, 0}, {3, 4, 1}};
  std::vector<NNReduceFeatureChannelsSum> changed(2, sum);
  changed[0].weight = 1;
  changed[1].clipRectSource = regionNoClip;
  expectBehavesAsKernel(sum, changed, device, "NNReduceFeatureChannelsSum");
  NNReduceFeatureChannelsAndWeightsSum weightedSum(device, true);
  weightedSum.label = "a kernel";
  std::vector<NNReduceFeatureChannelsAndWeightsSum> others(3, weightedSum);
  others[0] = NNReduceFeatureChannelsAndWeightsSum(device);
  others[1].primarySourceClipRect.origin.x = 1;
  others[2].secondarySourceClipRect.origin.x = 1;
  expectBehavesAsKernel(weightedSum, others, device, "NNReduceFeatureChannelsAndWeightsSum");
  expectArchives<NNReduceRowMin>(device);
  expectArchives<NNReduceRowMax>(device);
  expectArchives<NNReduceRowMean>(device);
  expectArchives<NNReduceRowSum>(device);
  expectArchives<NNReduceColumnMin>(device);
  expectArchives<NNReduceColumnMax>(device);
  expectArchives<NNReduceColumnMean>(device);
  expectArchives<NNReduceColumnSum>(device);
  expectArchives<NNReduceFeatureChannelsMin>(device);
  expectArchives<NNReduceFeatureChannelsMax>(device);
  expectArchives<NNReduceFeatureChannelsMean>(device);
  expectArchives<NNReduceFeatureChannelsArgumentMin>(device);
  expectArchives<NNReduceFeatureChannelsArgumentMax>(device);
  expectArchives<NNReductionSpatialMean>(device);
  const NNReduceFeatureChannelsAndWeightsMean mean(device);
  EXPECT_EQ(decoded<NNReduceFeatureChannelsAndWeightsMean>(archiveOf(mean), device), mean);
  const NNReductionSpatialMeanGradient gradient(device);
  EXPECT_EQ(decoded<NNReductionSpatialMeanGradient>(archiveOf(gradient), device), gradient);
  expectMalformed<NNReduceRowMin>(archiveOf(NNReduceRowMax(device)), device, "an archive of another class");
}

INSTANTIATE_TEST_SUITE_P(Devices, ReduceTest, ::testing::Values("reference", "cpu"), deviceName);

}  // namespace
}  // namespace metalloid::test
