#include "graph/wiring.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace metalloid {
namespace {

using testing::execute;
using testing::input;

struct Parameters {
  std::optional<float> a = {}, b = {}, c = {};  // those that the function has
};

/// A node's class, function and parameters, and its gradient, which has the same.
void expectNeuron(const CNNNeuronNode& node, const std::string& className, CNNNeuronType type,
                  const Parameters& parameters = {}) {
  SCOPED_TRACE(className);
  EXPECT_EQ(detail::implementation(NNFilterNode(node)).filter->className(), className);
  EXPECT_EQ(node.paddingPolicy()->paddingMethod(), NNPaddingMethod::sizeSame);
  const auto& source = detail::implementation(NNFilterNode(node)).filter->sources.front();
  const auto gradient =
      testing::expectOneGradient<CNNNeuronGradientNode>(node, "CNNNeuronGradientNode", source->imageNode());
  EXPECT_EQ(gradient.descriptor().neuronType, type);
  EXPECT_EQ(gradient.descriptor().a, node.a());
  EXPECT_EQ(gradient.descriptor().b, node.b());
  EXPECT_EQ(gradient.descriptor().c, node.c());
  if (parameters.a) {
    EXPECT_EQ(node.a(), *parameters.a);
  }
  if (parameters.b) {
    EXPECT_EQ(node.b(), *parameters.b);
  }
  if (parameters.c) {
    EXPECT_EQ(node.c(), *parameters.c);
  }
}

TEST(NeuronNodes, Defaults) {
  using enum CNNNeuronType;
  const NNImageNode x = input("x");
  expectNeuron(CNNNeuronAbsoluteNode({.source = x}), "CNNNeuronAbsoluteNode", absolute);
  expectNeuron(CNNNeuronELUNode({.source = x}), "CNNNeuronELUNode", ELU, {1});
  expectNeuron(CNNNeuronExponentialNode({.source = x}), "CNNNeuronExponentialNode", exponential, {1, 0, -1});
  expectNeuron(CNNNeuronGeLUNode({.source = x}), "CNNNeuronGeLUNode", geLU);
  expectNeuron(CNNNeuronHardSigmoidNode({.source = x}), "CNNNeuronHardSigmoidNode", hardSigmoid, {0.2F, 0.5F});
  expectNeuron(CNNNeuronLinearNode({.source = x}), "CNNNeuronLinearNode", linear, {1, 0});
  expectNeuron(CNNNeuronLogarithmNode({.source = x}), "CNNNeuronLogarithmNode", logarithm, {1, 0, -1});
  expectNeuron(CNNNeuronPowerNode({.source = x}), "CNNNeuronPowerNode", power, {1, 0, 1});
  expectNeuron(CNNNeuronReLUNode({.source = x}), "CNNNeuronReLUNode", reLU, {0});
  expectNeuron(CNNNeuronReLUNNode({.source = x}), "CNNNeuronReLUNNode", reLUN, {1, 6});
  expectNeuron(CNNNeuronSigmoidNode({.source = x}), "CNNNeuronSigmoidNode", sigmoid);
  expectNeuron(CNNNeuronSoftPlusNode({.source = x}), "CNNNeuronSoftPlusNode", softPlus, {1, 1});
  expectNeuron(CNNNeuronSoftSignNode({.source = x}), "CNNNeuronSoftSignNode", softSign);
  expectNeuron(CNNNeuronTanHNode({.source = x}), "CNNNeuronTanHNode", tanH, {1, 1});
}

TEST(NeuronNodes, Parameters) {
  using enum CNNNeuronType;
  const NNImageNode x = input("x");
  expectNeuron(CNNNeuronELUNode({.source = x, .a = 2}), "CNNNeuronELUNode", ELU, {2});
  expectNeuron(CNNNeuronExponentialNode({.source = x, .a = 2, .b = 3, .c = 4}), "CNNNeuronExponentialNode", exponential,
               {2, 3, 4});
  expectNeuron(CNNNeuronHardSigmoidNode({.source = x, .a = 2, .b = 3}), "CNNNeuronHardSigmoidNode", hardSigmoid,
               {2, 3});
  expectNeuron(CNNNeuronLinearNode({.source = x, .a = 2, .b = 3}), "CNNNeuronLinearNode", linear, {2, 3});
  expectNeuron(CNNNeuronLogarithmNode({.source = x, .a = 2, .b = 3, .c = 4}), "CNNNeuronLogarithmNode", logarithm,
               {2, 3, 4});
  expectNeuron(CNNNeuronPowerNode({.source = x, .a = 2, .b = 3, .c = 4}), "CNNNeuronPowerNode", power, {2, 3, 4});
  expectNeuron(CNNNeuronReLUNode({.source = x, .a = 2}), "CNNNeuronReLUNode", reLU, {2});
  expectNeuron(CNNNeuronReLUNNode({.source = x, .a = 2, .b = 3}), "CNNNeuronReLUNNode", reLUN, {2, 3});
  expectNeuron(CNNNeuronSoftPlusNode({.source = x, .a = 2, .b = 3}), "CNNNeuronSoftPlusNode", softPlus, {2, 3});
  expectNeuron(CNNNeuronTanHNode({.source = x, .a = 2, .b = 3}), "CNNNeuronTanHNode", tanH, {2, 3});
  const std::vector<float> slopes{0.5F, 2};
  const CNNNeuronPReLUNode prelu({.source = x, .aData = slopes});
  expectNeuron(prelu, "CNNNeuronPReLUNode", pReLU);
  EXPECT_EQ(CNNNeuronGradientNode(prelu.gradientFilter(input("g"))).descriptor().data, slopes);
  expectNeuron(CNNNeuronNode({.source = x, .descriptor = {.neuronType = tanH, .a = 2, .b = 3}}), "CNNNeuronNode", tanH,
               {2, 3});
  expectNeuron(CNNNeuronNode({.source = x, .descriptor = {}}), "CNNNeuronNode", none);  // a copy
}

TEST(NeuronNodes, RefuseParametersWithoutAMeaning) {
  const NNImageNode x = input("x"), g = input("g");
  testing::expectRefused([&] { CNNNeuronPReLUNode({.source = x, .aData = {}}); }, "CNNNeuronPReLUNode");
  EXPECT_THROW(CNNNeuronLogarithmNode({.source = x, .c = 1}), Error);
  EXPECT_THROW(CNNNeuronExponentialNode({.source = x, .c = 0}), Error);
  const NNGradientStateNode state(CNNNeuronReLUNode({.source = x}).resultState());
  EXPECT_THROW(CNNNeuronGradientNode({.sourceGradient = g,
                                      .sourceImage = x,
                                      .gradientState = state,
                                      .descriptor = {.neuronType = CNNNeuronType::logarithm, .a = 1, .c = 1}}),
               Error);
}

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
