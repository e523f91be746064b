#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::execute;

class NeuronNodesTest : public ::testing::TestWithParam<Device> {};

Image imageOf(const Device& device, const std::vector<float>& values) {
  const Image image(device, {.channelFormat = ImageFeatureChannelFormat::float32, .width = values.size()});
  image.write(values);
  return image;
}

TEST_P(NeuronNodesTest, OneNode) {
  const NNImageNode x({.label = "x"});
  const CNNNeuronReLUNode relu({.source = x, .a = 0.25F});
  NNGraph graph(GetParam(), {.resultImage = relu.resultImage()});
  graph.format = ImageFeatureChannelFormat::float32;
  ASSERT_EQ(graph.sourceImageHandles().size(), 1u);
  EXPECT_EQ(graph.sourceImageHandles().front()->label(), "x");
  const Image image = imageOf(GetParam(), {-2, 0, 3});
  Image result;
  execute(GetParam(), [&](CommandBuffer& commands) { result = graph.encode(commands, {.sourceImages = {image}}); });
  EXPECT_EQ(result.read<float>(), (std::vector<float>{-0.5F, 0, 3}));
}

TEST_P(NeuronNodesTest, ChainAndItsGradient) {
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNNeuronReLUNode relu({.source = x, .a = 0.5F});
  const CNNNeuronLinearNode linear({.source = relu.resultImage(), .a = 3, .b = 1});
  const auto ends = linear.trainingGraph({.sourceGradient = g});
  ASSERT_EQ(ends.size(), 1u);
  NNGraph graph(GetParam(), {.resultImage = ends.front().resultImage()});
  graph.format = ImageFeatureChannelFormat::float32;
  const Image image = imageOf(GetParam(), {-2, 0, 3}), gradient = imageOf(GetParam(), {1, 2, 4});
  // In the order of first use: the gradient's path comes first in the walk, the forward image with the ReLU's state.
  ImageBatch sources;
  for (const auto& handle : graph.sourceImageHandles()) sources.push_back(handle->label() == "x" ? image : gradient);
  Image result;
  execute(GetParam(), [&](CommandBuffer& commands) { result = graph.encode(commands, {.sourceImages = sources}); });
  EXPECT_EQ(result.read<float>(), (std::vector<float>{1.5F, 6, 12})) << graph.planDescription();
}

INSTANTIATE_TEST_SUITE_P(Devices, NeuronNodesTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

}  // namespace
}  // namespace metalloid
