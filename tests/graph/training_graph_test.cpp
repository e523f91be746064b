#include <metalloid/cnn_neuron_nodes.hpp>
#include <metalloid/error.hpp>
#include <metalloid/nn_nodes.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

struct Seen {
  NNFilterNode gradientNode, inferenceNode;
  NNImageNode inferenceSource, gradientSource;
};

TEST(TrainingGraphTest, WalksBackThroughAChain) {
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNNeuronReLUNode first({.source = x});
  const CNNNeuronSigmoidNode second({.source = first.resultImage()});
  std::vector<Seen> seen;
  const auto ends =
      second.trainingGraph({.sourceGradient = g,
                            .nodeHandler = [&](const NNFilterNode& gradientNode, const NNFilterNode& inferenceNode,
                                               const NNImageNode& inferenceSource, const NNImageNode& gradientSource) {
                              seen.push_back({gradientNode, inferenceNode, inferenceSource, gradientSource});
                            }});
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].inferenceNode, second);
  EXPECT_EQ(seen[0].inferenceSource, first.resultImage());
  EXPECT_EQ(seen[0].gradientSource, g);
  EXPECT_EQ(CNNNeuronGradientNode(seen[0].gradientNode).descriptor().neuronType, CNNNeuronType::sigmoid);
  EXPECT_EQ(seen[1].inferenceNode, first);
  EXPECT_EQ(seen[1].inferenceSource, x);
  EXPECT_EQ(seen[1].gradientSource, seen[0].gradientNode.resultImage());
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends.front(), seen[1].gradientNode);
}

TEST(TrainingGraphTest, StopGradientEndsThere) {
  const NNImageNode x({.label = "x"}), g({.label = "g"});
  const CNNNeuronReLUNode first({.source = x});
  const CNNNeuronSigmoidNode second({.source = first.resultImage()});
  first.resultImage().setStopGradient(true);
  int made = 0;
  const auto ends = second.trainingGraph(
      {.sourceGradient = g, .nodeHandler = [&](const auto&, const auto&, const auto&, const auto&) { ++made; }});
  EXPECT_EQ(made, 1);
  ASSERT_EQ(ends.size(), 1u);
}

TEST(TrainingGraphTest, StopGradientOfTheLastImageMakesNothing) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  node.resultImage().setStopGradient(true);
  EXPECT_TRUE(node.trainingGraph({.sourceGradient = NNImageNode({.label = "g"})}).empty());
}

TEST(TrainingGraphTest, TheHandlerMayPrune) {
  const NNImageNode x({.label = "x"});
  const CNNNeuronReLUNode first({.source = x});
  const CNNNeuronSigmoidNode second({.source = first.resultImage()});
  for (const bool atTheSource : {true, false}) {
    int made = 0;
    second.trainingGraph({.sourceGradient = NNImageNode({.label = "g"}),
                          .nodeHandler = [&](const NNFilterNode& gradientNode, const NNFilterNode&,
                                             const NNImageNode& inferenceSource, const NNImageNode&) {
                            ++made;
                            (atTheSource ? inferenceSource : gradientNode.resultImage()).setStopGradient(true);
                          }});
    EXPECT_EQ(made, 1);
    first.resultImage().setStopGradient(false);
  }
}

TEST(TrainingGraphTest, WithoutHandlerGradientsHaveTheHandlesOfTheirImages) {
  const NNImageNode x({.label = "x"});
  const CNNNeuronReLUNode node({.source = x});
  const auto ends = node.trainingGraph({.sourceGradient = NNImageNode({.label = "g"})});
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends.front().resultImage().handle(), x.handle());
}

TEST(TrainingGraphTest, WithHandlerHandlesAreItsBusiness) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  const auto ends = node.trainingGraph({.sourceGradient = NNImageNode({.label = "g"}),
                                        .nodeHandler = [](const auto&, const auto&, const auto&, const auto&) {}});
  EXPECT_EQ(ends.front().resultImage().handle(), nullptr);
}

TEST(TrainingGraphTest, ANodeWithoutAGradientTakesItsOwnResult) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  std::vector<NNImageNode> gradientSources;
  node.trainingGraph({.nodeHandler = [&](const auto&, const auto&, const auto&, const NNImageNode& gradientSource) {
    gradientSources.push_back(gradientSource);
  }});
  ASSERT_EQ(gradientSources.size(), 1u);
  EXPECT_EQ(gradientSources.front(), node.resultImage());
}

TEST(TrainingGraphTest, GradientsHaveTheFormatOfTheirSourceGradient) {
  const NNImageNode g({.label = "g"});
  g.setFormat(ImageFeatureChannelFormat::float32);
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  EXPECT_EQ(node.trainingGraph({.sourceGradient = g}).front().resultImage().format(),
            ImageFeatureChannelFormat::float32);
}

TEST(TrainingGraphTest, ThereAreNoSecondDerivatives) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  const NNImageNode g({.label = "g"});
  const auto gradient = node.gradientFilter(g);
  try {
    gradient.gradientFilter(g);
    ADD_FAILURE() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("CNNNeuronGradientNode"), std::string::npos) << error.what();
  }
}

TEST(TrainingGraphTest, OneGradientIsGiven) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  const NNImageNode g({.label = "g"});
  EXPECT_EQ(node.gradientFilters(std::vector{g}).size(), 1u);
  EXPECT_THROW(node.gradientFilters(std::vector{g, g}), Error);
  EXPECT_THROW(node.gradientFilter(std::vector<NNImageNode>{}), Error);
  EXPECT_THROW(node.gradientFilter(NNImageNode()), Error);
}

TEST(NodesTest, NilNodesThrow) {
  EXPECT_THROW(NNImageNode().format(), Error);
  EXPECT_THROW(NNStateNode().handle(), Error);
  EXPECT_THROW(NNFilterNode().resultImage(), Error);
  EXPECT_THROW(CNNNeuronReLUNode({.source = {}}), Error);
  EXPECT_FALSE(CNNNeuronReLUNode());
}

TEST(NodesTest, Narrowing) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  EXPECT_NO_THROW(NNGradientStateNode(node.resultState()));
  EXPECT_FALSE(NNGradientStateNode(NNStateNode()));
  EXPECT_THROW(CNNConvolutionGradientStateNode(node.resultState()), Error);
  EXPECT_THROW(NNBinaryGradientStateNode(node.resultState()), Error);
  EXPECT_THROW(NNLabelsNode(node.resultState()), Error);
  EXPECT_THROW(NNGradientFilterNode(NNFilterNode(node)), Error);
  EXPECT_THROW(CNNNeuronGradientNode(NNFilterNode(node)), Error);
  EXPECT_NO_THROW(CNNNeuronGradientNode(NNFilterNode(node.gradientFilter(NNImageNode({.label = "g"})))));
}

TEST(NodesTest, ImageProperties) {
  const NNImageNode image({.label = "x"});
  EXPECT_EQ(image.handle()->label(), "x");
  EXPECT_EQ(image.format(), ImageFeatureChannelFormat::none);
  EXPECT_EQ(image.imageAllocator(), TemporaryImage::defaultAllocator());
  EXPECT_FALSE(image.exportFromGraph());
  EXPECT_FALSE(image.synchronizeResource());
  EXPECT_FALSE(image.stopGradient());
  const NNImageNode exported = NNImageNode::exportedNode({.label = "y"});
  EXPECT_TRUE(exported.exportFromGraph());
  EXPECT_EQ(NNImageNode(NNImageNode::Arguments{}).handle(), nullptr);
}

}  // namespace
}  // namespace metalloid
