// Upsampling, reshape, concatenation, reductions, soft-max and dropout.

#include "graph/wiring.hpp"

#include <metalloid/metalloid.hpp>

#include <string>
#include <vector>

namespace metalloid {
namespace {

using testing::expectOneGradient;
using testing::expectReads;
using testing::expectRefused;
using testing::input;

template <class Forward, class Gradient>
void checkUpsampling(const std::string& name) {
  SCOPED_TRACE(name);
  const NNImageNode x = input("x"), g = input("g");
  const Forward node({.source = x, .integerScaleFactorX = 2, .integerScaleFactorY = 3});
  EXPECT_EQ(node.scaleFactorX(), 2);
  EXPECT_EQ(node.scaleFactorY(), 3);
  const auto gradient = expectOneGradient<Gradient>(node, name + "GradientNode", x);
  EXPECT_EQ(gradient.scaleFactorX(), 2);
  EXPECT_EQ(gradient.scaleFactorY(), 3);
  const NNGradientStateNode state(node.resultState());
  const auto byHand = [&](double factor) {
    return Gradient(
        {.sourceGradient = g, .sourceImage = x, .gradientState = state, .scaleFactorX = factor, .scaleFactorY = 1});
  };
  EXPECT_EQ(byHand(4).scaleFactorX(), 4);
  expectReads(byHand(4), name + "GradientNode", {g, x}, {state});
  for (const double factor : {0.0, 0.5, 1.5, -1.0}) expectRefused([&] { byHand(factor); }, name + "GradientNode");
  expectRefused([&] { Forward({.source = x, .integerScaleFactorX = 2}); }, "integerScaleFactorY of a " + name);
}

TEST(UpsamplingNodesTest, DefaultsAndGradients) {
  checkUpsampling<CNNUpsamplingNearestNode, CNNUpsamplingNearestGradientNode>("CNNUpsamplingNearest");
  checkUpsampling<CNNUpsamplingBilinearNode, CNNUpsamplingBilinearGradientNode>("CNNUpsamplingBilinear");
  CNNUpsamplingBilinearNode::Arguments arguments{
      .source = input("x"), .integerScaleFactorX = 2, .integerScaleFactorY = 2};
  EXPECT_FALSE(CNNUpsamplingBilinearNode(arguments).alignCorners());
  arguments.alignCorners = true;
  EXPECT_TRUE(CNNUpsamplingBilinearNode(arguments).alignCorners());
}

TEST(ReshapeNodesTest, GradientAndErrors) {
  const NNImageNode x = input("x"), g = input("g");
  const NNReshapeNode node({.source = x, .resultWidth = 2, .resultHeight = 3, .resultFeatureChannels = 4});
  expectOneGradient<NNReshapeGradientNode>(node, "NNReshapeGradientNode", x);
  const NNGradientStateNode state(node.resultState());
  expectReads(NNReshapeGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state}),
              "NNReshapeGradientNode", {g, x}, {state});
  expectRefused([&] { NNReshapeNode({.source = x, .resultWidth = 2, .resultHeight = 3}); }, "resultFeatureChannels");
}

TEST(ConcatenationNodesTest, AGradientForEachSource) {
  const NNImageNode x = input("x"), y = input("y"), g = input("g");
  const NNConcatenationNode node({.sources = {x, y, x}});
  expectReads(node, "NNConcatenationNode", {x, y, x}, {});
  const NNGradientStateNode state(node.resultState());
  const auto made = node.gradientFilters(g);
  ASSERT_EQ(made.size(), 3u);
  expectReads(made[0], "NNConcatenationGradientNode", {g, x}, {state});
  expectReads(made[1], "NNConcatenationGradientNode", {g, y}, {state});
  expectReads(made[2], "NNConcatenationGradientNode", {g, x}, {state});
  expectReads(NNConcatenationGradientNode({.sourceGradient = g, .sourceImage = y, .gradientState = state}),
              "NNConcatenationGradientNode", {g, y}, {state});
  expectRefused([&] { node.gradientFilter(g); }, "NNConcatenationNode");
  expectRefused([&] { NNConcatenationNode({.sources = {}}); }, "needs a source");
  expectRefused([&] { NNConcatenationNode({.sources = {x, {}}}); }, "The source of NNConcatenationNode is nil");
  expectRefused([&] { NNConcatenationGradientNode({.sourceGradient = g, .sourceImage = g, .gradientState = state}); },
                "is no source of NNConcatenationNode");
}

TEST(SoftMaxNodesTest, GradientsReadTheResult) {
  const NNImageNode x = input("x"), g = input("g");
  const CNNSoftMaxNode soft({.source = x});
  expectOneGradient<CNNSoftMaxGradientNode>(soft, "CNNSoftMaxGradientNode", soft.resultImage());
  const CNNLogSoftMaxNode logarithm({.source = x});
  expectOneGradient<CNNLogSoftMaxGradientNode>(logarithm, "CNNLogSoftMaxGradientNode", logarithm.resultImage());
  const NNGradientStateNode state(soft.resultState());
  expectReads(CNNSoftMaxGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state}),
              "CNNSoftMaxGradientNode", {g, x}, {state});
  EXPECT_THROW(CNNLogSoftMaxGradientNode(soft.gradientFilter(g)), Error);
}

TEST(DropoutNodesTest, DefaultsAndGradient) {
  const NNImageNode x = input("x"), g = input("g");
  const CNNDropoutNode node({.source = x});
  EXPECT_EQ(node.keepProbability(), 0.5F);
  EXPECT_EQ(node.seed(), 0u);
  EXPECT_EQ(node.maskStrideInPixels(), (Size{1, 1, 1}));
  EXPECT_EQ(node.nextImage(), 0u);
  const CNNDropoutNode other({.source = x, .keepProbability = 0.25F, .seed = 9, .maskStrideInPixels = {0, 1, 0}});
  const auto gradient = expectOneGradient<CNNDropoutGradientNode>(other, "CNNDropoutGradientNode", x);
  EXPECT_EQ(gradient.keepProbability(), 0.25F);
  EXPECT_EQ(gradient.seed(), 9u);
  EXPECT_EQ(gradient.maskStrideInPixels(), (Size{0, 1, 0}));
  const NNGradientStateNode state(node.resultState());
  const CNNDropoutGradientNode byHand({.sourceGradient = g, .sourceImage = x, .gradientState = state});
  EXPECT_EQ(byHand.keepProbability(), 0.5F);
  EXPECT_EQ(byHand.maskStrideInPixels(), (Size{1, 1, 1}));
  for (const float probability : {0.0F, 1.0F, -0.5F, 2.0F})
    expectRefused([&] { CNNDropoutNode({.source = x, .keepProbability = probability}); }, "keepProbability");
  expectRefused([&] { CNNDropoutNode({.source = x, .maskStrideInPixels = {1, 2, 1}}); }, "maskStride");
}

template <class Node>
void checkReduction(const std::string& name) {
  SCOPED_TRACE(name);
  const NNImageNode x = input("x");
  const Node node({.source = x});
  expectReads(node, name, {x}, {});
  EXPECT_EQ(node.clipRectSource(), regionNoClip);
  node.setClipRectSource({{1, 2, 0}, {3, 4, 1}});
  EXPECT_EQ(node.clipRectSource(), (Region{{1, 2, 0}, {3, 4, 1}}));
  testing::expectNoGradient(node, name);
  expectRefused([&] { Node({.source = {}}); }, "The source of NNReduction");
}

TEST(ReductionNodesTest, DefaultsWithoutGradient) {
  checkReduction<NNReductionRowMinNode>("NNReductionRowMinNode");
  checkReduction<NNReductionRowMaxNode>("NNReductionRowMaxNode");
  checkReduction<NNReductionRowMeanNode>("NNReductionRowMeanNode");
  checkReduction<NNReductionRowSumNode>("NNReductionRowSumNode");
  checkReduction<NNReductionColumnMinNode>("NNReductionColumnMinNode");
  checkReduction<NNReductionColumnMaxNode>("NNReductionColumnMaxNode");
  checkReduction<NNReductionColumnMeanNode>("NNReductionColumnMeanNode");
  checkReduction<NNReductionColumnSumNode>("NNReductionColumnSumNode");
  checkReduction<NNReductionFeatureChannelsMinNode>("NNReductionFeatureChannelsMinNode");
  checkReduction<NNReductionFeatureChannelsMaxNode>("NNReductionFeatureChannelsMaxNode");
  checkReduction<NNReductionFeatureChannelsMeanNode>("NNReductionFeatureChannelsMeanNode");
  checkReduction<NNReductionFeatureChannelsSumNode>("NNReductionFeatureChannelsSumNode");
  checkReduction<NNReductionFeatureChannelsArgumentMinNode>("NNReductionFeatureChannelsArgumentMinNode");
  checkReduction<NNReductionFeatureChannelsArgumentMaxNode>("NNReductionFeatureChannelsArgumentMaxNode");
  const NNReductionFeatureChannelsSumNode sum({.source = input("x")});
  EXPECT_EQ(sum.weight(), 1);
  sum.setWeight(0.5F);
  EXPECT_EQ(sum.weight(), 0.5F);
}

TEST(ReductionNodesTest, TheSpatialMeanHasAGradient) {
  const NNImageNode x = input("x"), g = input("g");
  const NNReductionSpatialMeanNode node({.source = x});
  EXPECT_EQ(node.clipRectSource(), regionNoClip);
  expectOneGradient<NNReductionSpatialMeanGradientNode>(node, "NNReductionSpatialMeanGradientNode", x);
  const NNGradientStateNode state(node.resultState());
  expectReads(NNReductionSpatialMeanGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state}),
              "NNReductionSpatialMeanGradientNode", {g, x}, {state});
}

}  // namespace
}  // namespace metalloid
