#include "graph/weights.hpp"
#include "graph/wiring.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::dense;
using testing::execute;
using testing::Weights;

constexpr auto kFloat32 = ImageFeatureChannelFormat::float32;

class ConvolutionNodesTest : public ::testing::TestWithParam<Device> {
 protected:
  /// Images of one row, [image][pixel][channel].
  ImageBatch batch(std::size_t images, std::size_t width, std::size_t channels,
                   const std::vector<float>& values) const {
    const Image container(
        GetParam(), {.channelFormat = kFloat32, .width = width, .featureChannels = channels, .numberOfImages = images});
    container.write(values);
    return container.batchRepresentation();
  }
  static std::vector<float> read(const ImageBatch& images) {
    std::vector<float> all;
    for (const Image& image : images) {
      const auto values = image.read<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }
  NNGraph graphOf(const NNImageNode& result, bool isNeeded = true) const {
    NNGraph graph(GetParam(), {.resultImage = result, .resultImageIsNeeded = isNeeded});
    graph.format = kFloat32;
    return graph;
  }
};

std::shared_ptr<Weights> row(std::vector<float> taps) {
  const std::size_t width = taps.size();
  return std::make_shared<Weights>(CNNConvolutionDescriptor{.kernelWidth = width, .kernelHeight = 1}, std::move(taps),
                                   std::vector<float>{}, "row");
}

TEST_P(ConvolutionNodesTest, ForwardHasTheDefaultPadding) {
  const CNNConvolutionNode node({.source = NNImageNode({.label = "x"}), .weights = row({1, 10, 100})});
  NNGraph graph = graphOf(node.resultImage());
  ImageBatch result;
  const ImageBatch x = batch(1, 5, 1, {1, 2, 3, 4, 5});
  execute(GetParam(), [&](CommandBuffer& commands) { result = graph.encodeBatch(commands, {.sourceImages = {x}}); });
  EXPECT_EQ(read(result), (std::vector<float>{210, 321, 432, 543, 54}));
}

TEST_P(ConvolutionNodesTest, DefaultsAndProperties) {
  const NNImageNode x({.label = "x"});
  const auto weights = row({1, 2, 3});
  const CNNConvolutionNode node({.source = x, .weights = weights});
  EXPECT_EQ(node.trainingStyle(), NNTrainingStyle::UpdateDeviceGPU);
  EXPECT_EQ(node.accumulatorPrecision(), NNConvolutionAccumulatorPrecisionOption::float_);
  EXPECT_EQ(node.paddingPolicy()->paddingMethod(), NNPaddingMethod::sizeSame);
  EXPECT_EQ(node.label(), "");
  EXPECT_TRUE(node.convolutionGradientState());
  node.setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const CNNConvolutionGradientNode gradient(node.gradientFilter(NNImageNode({.label = "g"})));
  EXPECT_EQ(gradient.trainingStyle(), NNTrainingStyle::UpdateDeviceNone);
  gradient.setTrainingStyle(NNTrainingStyle::UpdateDeviceCPU);
  EXPECT_EQ(gradient.trainingStyle(), NNTrainingStyle::UpdateDeviceCPU);

  const CNNFullyConnectedNode connected({.source = x, .weights = weights});
  EXPECT_EQ(connected.paddingPolicy()->paddingMethod(), NNPaddingMethod::sizeValidOnly);
  EXPECT_NO_THROW(CNNFullyConnectedGradientNode(connected.gradientFilter(NNImageNode({.label = "g"}))));
  EXPECT_THROW(CNNFullyConnectedGradientNode(node.gradientFilter(NNImageNode({.label = "g"}))), Error);
  const CNNConvolutionTransposeNode transpose({.source = x, .weights = weights});
  EXPECT_NO_THROW(CNNConvolutionTransposeGradientStateNode(transpose.resultState()));
  EXPECT_NO_THROW(CNNConvolutionTransposeGradientNode(transpose.gradientFilter(NNImageNode({.label = "g"}))));
  EXPECT_THROW(CNNConvolutionNode({.source = x, .weights = nullptr}), Error);
  EXPECT_THROW(CNNConvolutionNode({.source = {}, .weights = weights}), Error);
}

TEST(ConvolutionNodes, GradientsReadSourceAndState) {
  const NNImageNode x = testing::input("x"), g = testing::input("g");
  const auto weights = row({1, 2, 3});
  const CNNConvolutionNode node({.source = x, .weights = weights});
  const CNNFullyConnectedNode connected({.source = x, .weights = weights});
  const CNNConvolutionTransposeNode transpose(
      {.source = x, .convolutionGradientState = node.convolutionGradientState(), .weights = weights});
  testing::expectReads(node, "CNNConvolutionNode", {x}, {});
  testing::expectReads(transpose, "CNNConvolutionTransposeNode", {x}, {node.resultState()});
  testing::expectOneGradient<CNNConvolutionGradientNode>(node, "CNNConvolutionGradientNode", x);
  testing::expectOneGradient<CNNFullyConnectedGradientNode>(connected, "CNNFullyConnectedGradientNode", x);
  testing::expectOneGradient<CNNConvolutionTransposeGradientNode>(transpose, "CNNConvolutionTransposeGradientNode", x);
  EXPECT_NO_THROW(CNNConvolutionGradientStateNode(connected.resultState()));
  EXPECT_THROW(CNNConvolutionTransposeGradientStateNode(node.resultState()), Error);

  const CNNConvolutionGradientNode byHand(
      {.sourceGradient = g, .sourceImage = x, .convolutionGradientState = node.convolutionGradientState()});
  testing::expectReads(byHand, "CNNConvolutionGradientNode", {g, x}, {node.resultState()});
  EXPECT_EQ(byHand.trainingStyle(), NNTrainingStyle::UpdateDeviceGPU);
  const CNNConvolutionTransposeGradientNode transposeByHand(
      {.sourceGradient = g,
       .sourceImage = x,
       .convolutionTransposeGradientState = CNNConvolutionTransposeGradientStateNode(transpose.resultState())});
  testing::expectReads(transposeByHand, "CNNConvolutionTransposeGradientNode", {g, x}, {transpose.resultState()});
  node.setAccumulatorPrecision(NNConvolutionAccumulatorPrecisionOption::half);
  EXPECT_EQ(node.accumulatorPrecision(), NNConvolutionAccumulatorPrecisionOption::half);
}

/// dx, dW and db of a fully connected layer for the incoming gradient, all by hand.
TEST_P(ConvolutionNodesTest, GradientTrainsOnTheDevice) {
  const auto weights = dense(2, 2, {1, 2, 3, 4}, {0.5F, -0.5F});
  weights->rate = 0.25F;
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNFullyConnectedNode node({.source = x, .weights = weights});
  const auto ends = node.trainingGraph({.sourceGradient = g});
  node.resultState().setExportFromGraph(true);
  NNGraph graph = graphOf(ends.front().resultImage());
  const ImageBatch xs = batch(2, 1, 2, {1, 2, 3, 4}), gs = batch(2, 1, 2, {1, 0, 2, -1});
  ImageBatch dx;
  std::vector<StateBatch> states;
  execute(GetParam(), [&](CommandBuffer& commands) {
    std::vector<ImageBatch> sources;
    for (const auto& handle : graph.sourceImageHandles()) sources.push_back(handle->label() == "x" ? xs : gs);
    dx = graph.encodeBatch(commands, {.sourceImages = sources, .destinationStates = &states});
  });
  EXPECT_EQ(read(dx), (std::vector<float>{1, 2, 2 - 3, 4 - 4}));
  ASSERT_EQ(states.size(), 1u);
  const CNNConvolutionGradientState state(states.front().front());
  EXPECT_EQ(state.gradientForWeights().read<float>(), (std::vector<float>{1 + 6, 2 + 8, -3, -4}));
  EXPECT_EQ(state.gradientForBiases().read<float>(), (std::vector<float>{3, -1}));
  EXPECT_EQ(weights->updates, 1);
  EXPECT_EQ(weights->live.weights().read<float>(), (std::vector<float>{1 - 1.75F, 2 - 2.5F, 3 + 0.75F, 4 + 1}));
  EXPECT_EQ(weights->live.biases().read<float>(), (std::vector<float>{0.5F - 0.75F, -0.5F + 0.25F}));

  // The next encode computes with the new weights.
  NNGraph forward = graphOf(node.resultImage());
  EXPECT_EQ(weights->loads, 2);
  execute(GetParam(), [&](CommandBuffer& commands) {
    std::vector<ImageBatch> sources;
    for (const auto& handle : graph.sourceImageHandles()) sources.push_back(handle->label() == "x" ? xs : gs);
    dx = graph.encodeBatch(commands, {.sourceImages = sources});
  });
  EXPECT_EQ(read(dx), (std::vector<float>{-0.75F, -0.5F, 2 * -0.75F - 3.75F, 2 * -0.5F - 5}));
}

TEST_P(ConvolutionNodesTest, GradientTrainsOnTheHost) {
  const auto weights = dense(1, 1, {2}, {1});
  weights->rate = 0.5F;
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNFullyConnectedNode node({.source = x, .weights = weights});
  node.setTrainingStyle(NNTrainingStyle::UpdateDeviceCPU);
  const auto ends = node.trainingGraph({.sourceGradient = g});
  NNGraph graph = graphOf(ends.front().resultImage(), false);
  const ImageBatch xs = batch(1, 1, 1, {3}), gs = batch(1, 1, 1, {1});
  execute(GetParam(), [&](CommandBuffer& commands) {
    std::vector<ImageBatch> sources;
    for (const auto& handle : graph.sourceImageHandles()) sources.push_back(handle->label() == "x" ? xs : gs);
    EXPECT_TRUE(graph.encodeBatch(commands, {.sourceImages = sources}).empty());
  });
  EXPECT_EQ(weights->updates, 0);
  EXPECT_EQ(weights->hostUpdates, 1);
  EXPECT_EQ(weights->values, std::vector<float>{2 - 1.5F});
  EXPECT_EQ(weights->terms, std::vector<float>{0.5F});
  EXPECT_EQ(weights->loads, weights->purges);
  EXPECT_GE(weights->loads, 2) << "the new weights were loaded";
}

TEST_P(ConvolutionNodesTest, StyleNoneDoesNotTrainAndIsNotRequired) {
  const auto first = dense(1, 1, {2}, {}, "first"), second = dense(1, 1, {3}, {}, "second");
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNFullyConnectedNode one({.source = x, .weights = first});
  const CNNFullyConnectedNode two({.source = one.resultImage(), .weights = second});
  one.setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto ends = two.trainingGraph({.sourceGradient = g});
  NNGraph graph = graphOf(ends.front().resultImage(), false);
  EXPECT_EQ(graph.planDescription().find("GradientNode \"first\""), std::string::npos) << graph.planDescription();
  EXPECT_NE(graph.planDescription().find("GradientNode \"second\""), std::string::npos) << graph.planDescription();
  execute(GetParam(), [&](CommandBuffer& commands) {
    std::vector<ImageBatch> sources;
    for (const auto& handle : graph.sourceImageHandles())
      sources.push_back(batch(1, 1, 1, {handle->label() == "x" ? 5.0F : 1.0F}));
    graph.encodeBatch(commands, {.sourceImages = sources});
  });
  EXPECT_EQ(first->updates, 0);
  EXPECT_EQ(second->updates, 1);
}

TEST_P(ConvolutionNodesTest, ANeuronBecomesPartOfTheConvolution) {
  const NNImageNode x({.label = "x"});
  const CNNConvolutionNode node({.source = x, .weights = row({1, -3, 1})});
  const CNNNeuronReLUNode relu({.source = node.resultImage(), .a = 0.5F});
  NNGraph fused = graphOf(relu.resultImage());
  NNGraph unfused(GetParam(), {.resultImage = relu.resultImage(), .allowFusion = false});
  unfused.format = kFloat32;
  EXPECT_NE(fused.planDescription(), unfused.planDescription());
  EXPECT_EQ(fused.planDescription().find("\n  1 "), std::string::npos) << fused.planDescription();
  const ImageBatch xs = batch(1, 4, 1, {1, 2, -3, 4});
  ImageBatch a, b;
  execute(GetParam(), [&](CommandBuffer& commands) {
    a = fused.encodeBatch(commands, {.sourceImages = {xs}});
    b = unfused.encodeBatch(commands, {.sourceImages = {xs}});
  });
  EXPECT_EQ(read(a), (std::vector<float>{-0.5F, -4, 15, -7.5F}));
  EXPECT_EQ(read(b), read(a));
}

TEST_P(ConvolutionNodesTest, WhatKeepsANeuronFromBeingFused) {
  const NNImageNode x({.label = "x"});
  const CNNConvolutionNode node({.source = x, .weights = row({1})});
  const CNNNeuronReLUNode relu({.source = node.resultImage()});
  const auto stepsOf = [&] {
    const std::string plan = graphOf(relu.resultImage()).planDescription();
    return plan.find("\n  1 ") == std::string::npos ? 1 : 2;
  };
  EXPECT_EQ(stepsOf(), 1);
  node.resultImage().setExportFromGraph(true);
  EXPECT_EQ(stepsOf(), 2);
  node.resultImage().setExportFromGraph(false);

  struct Custom : NNPadding {
    NNPaddingMethod method;
    explicit Custom(NNPaddingMethod m) : method(m) {}
    NNPaddingMethod paddingMethod() const override { return method; }
    ImageDescriptor destinationImageDescriptor(const ImageBatch&, const StateBatch&, Kernel&,
                                               const ImageDescriptor& suggested) override {
      return suggested;
    }
  };
  relu.setPaddingPolicy(std::make_shared<Custom>(NNPaddingMethod::custom));
  EXPECT_EQ(stepsOf(), 2);
  relu.setPaddingPolicy(std::make_shared<Custom>(NNPaddingMethod::custom | NNPaddingMethod::customAllowForNodeFusion));
  EXPECT_EQ(stepsOf(), 1);
  // Training reads the convolution's result again.
  relu.setPaddingPolicy(NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame));
  const auto ends = relu.trainingGraph({.sourceGradient = NNImageNode({.label = "g"})});
  EXPECT_EQ(graphOf(ends.front().resultImage()).planDescription().find(" + CNNNeuron"), std::string::npos);
}

TEST_P(ConvolutionNodesTest, BuildingSaysWhatIsWrong) {
  const auto refusal = [&](const std::shared_ptr<Weights>& weights) -> std::string {
    CNNConvolutionNode node({.source = NNImageNode({.label = "x"}), .weights = weights});
    node.setLabel("conv1");
    try {
      graphOf(node.resultImage());
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  const auto unloadable = row({1, 2, 3});
  unloadable->loadsWell = false;
  EXPECT_NE(refusal(unloadable).find("conv1"), std::string::npos) << refusal(unloadable);
  const auto wrong = row({1, 2, 3});
  wrong->values.pop_back();
  EXPECT_NE(refusal(wrong).find("conv1"), std::string::npos) << refusal(wrong);
  EXPECT_NE(refusal(wrong).find("2"), std::string::npos) << refusal(wrong);
}

TEST_P(ConvolutionNodesTest, TransposeTakesTheSizeOfTheSourceThatWasConvolved) {
  const NNImageNode x({.label = "x"});
  const auto down =
      std::make_shared<Weights>(CNNConvolutionDescriptor{.kernelWidth = 3, .kernelHeight = 1, .strideInPixelsX = 2},
                                std::vector<float>{1, 1, 1}, std::vector<float>{}, "down");
  const auto up =
      std::make_shared<Weights>(CNNConvolutionDescriptor{.kernelWidth = 3, .kernelHeight = 1, .strideInPixelsX = 2},
                                std::vector<float>{1, 1, 1}, std::vector<float>{}, "up");
  const CNNConvolutionNode small({.source = x, .weights = down});
  const CNNConvolutionTransposeNode large(
      {.source = small.resultImage(), .convolutionGradientState = small.convolutionGradientState(), .weights = up});
  NNGraph graph = graphOf(large.resultImage());
  for (const std::size_t width : {5u, 6u}) {
    const ImageBatch xs = batch(1, width, 1, std::vector<float>(width, 1));
    ImageBatch result;
    execute(GetParam(), [&](CommandBuffer& commands) { result = graph.encodeBatch(commands, {.sourceImages = {xs}}); });
    EXPECT_EQ(result.front().width(), width);
  }
}

TEST_P(ConvolutionNodesTest, ReloadReadsTheDataSourceAgain) {
  const auto weights = dense(1, 1, {2}, {1});
  const CNNFullyConnectedNode node({.source = NNImageNode({.label = "x"}), .weights = weights});
  NNGraph graph = graphOf(node.resultImage());
  const ImageBatch xs = batch(1, 1, 1, {3});
  const auto value = [&] {
    ImageBatch result;
    execute(GetParam(), [&](CommandBuffer& commands) { result = graph.encodeBatch(commands, {.sourceImages = {xs}}); });
    return read(result).front();
  };
  EXPECT_EQ(value(), 7);
  weights->values = {5};
  EXPECT_EQ(value(), 7);
  graph.reloadFromDataSources();
  EXPECT_EQ(value(), 16);
}

/// A gradient node may have weights of its own: it reads, trains and reloads those.
TEST_P(ConvolutionNodesTest, AGradientWithItsOwnWeights) {
  const auto forward = dense(1, 1, {2}, {}, "forward"), backward = dense(1, 1, {5}, {}, "backward");
  backward->rate = 1;
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNConvolutionNode node({.source = x, .weights = forward});
  const CNNConvolutionGradientNode gradient({.sourceGradient = g,
                                             .sourceImage = x,
                                             .convolutionGradientState = node.convolutionGradientState(),
                                             .weights = backward});
  NNGraph graph = graphOf(gradient.resultImage());
  const auto value = [&] {
    ImageBatch result;
    execute(GetParam(), [&](CommandBuffer& commands) {
      result = graph.encodeBatch(commands, {.sourceImages = {batch(1, 1, 1, {3}), batch(1, 1, 1, {3})}});
    });
    return read(result).front();
  };
  EXPECT_EQ(value(), 15);
  EXPECT_EQ(value(), 3 * (5 - 9));
  EXPECT_EQ(forward->updates, 0);
  EXPECT_EQ(backward->updates, 2);
  backward->values = {7};
  graph.reloadFromDataSources();
  EXPECT_EQ(value(), 21);
}

TEST_P(ConvolutionNodesTest, NodesOfOneDataSourceShareItsWeights) {
  const auto weights = dense(1, 1, {2}, {});
  weights->rate = 1;
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNFullyConnectedNode one({.source = x, .weights = weights});
  const CNNFullyConnectedNode two({.source = one.resultImage(), .weights = weights});
  const auto ends = two.trainingGraph({.sourceGradient = g});
  NNGraph graph = graphOf(ends.front().resultImage(), false);
  EXPECT_EQ(weights->loads, 1);
  execute(GetParam(), [&](CommandBuffer& commands) {
    std::vector<ImageBatch> sources;
    for (std::size_t i = 0; i < graph.sourceImageHandles().size(); ++i) sources.push_back(batch(1, 1, 1, {1}));
    graph.encodeBatch(commands, {.sourceImages = sources});
  });
  EXPECT_EQ(weights->updates, 2);
  // With w = 2 both layers have the gradient 2, that of the first computed before the second's update takes effect.
  EXPECT_EQ(weights->live.weights().read<float>(), std::vector<float>{2 - 2 - 2});
}

INSTANTIATE_TEST_SUITE_P(Devices, ConvolutionNodesTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

}  // namespace
}  // namespace metalloid
