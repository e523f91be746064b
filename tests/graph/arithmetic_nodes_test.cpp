#include "graph/wiring.hpp"

#include <metalloid/metalloid.hpp>

#include <limits>
#include <string>
#include <vector>

namespace metalloid {
namespace {

using testing::expectReads;
using testing::expectRefused;
using testing::input;

template <class Node>
void checkForward(const std::string& name) {
  SCOPED_TRACE(name);
  const NNImageNode x = input("x"), y = input("y");
  const Node node({.leftSource = x, .rightSource = y});
  expectReads(node, name, {x, y}, {});
  expectReads(Node({.sources = {y, x}}), name, {y, x}, {});
  EXPECT_EQ(node.primaryScale(), 1);
  EXPECT_EQ(node.secondaryScale(), 1);
  EXPECT_EQ(node.bias(), 0);
  EXPECT_EQ(node.minimumValue(), std::numeric_limits<float>::lowest());
  EXPECT_EQ(node.maximumValue(), std::numeric_limits<float>::max());
  EXPECT_EQ(node.primaryStrideInPixelsX(), 1u);
  EXPECT_EQ(node.primaryStrideInPixelsY(), 1u);
  EXPECT_EQ(node.primaryStrideInFeatureChannels(), 1u);
  EXPECT_EQ(node.secondaryStrideInPixelsX(), 1u);
  EXPECT_EQ(node.secondaryStrideInPixelsY(), 1u);
  EXPECT_EQ(node.secondaryStrideInFeatureChannels(), 1u);
  for (const std::size_t count : {0u, 1u, 3u})
    expectRefused([&] { Node({.sources = std::vector(count, x)}); }, std::to_string(count) + " are given");
  expectRefused([&] { Node({.leftSource = x, .rightSource = {}}); }, "The rightSource of ");
  expectRefused([&] { node.setPrimaryStrideInPixelsX(2); }, "must be 0 or 1");
  expectRefused([&] { node.setSecondaryStrideInFeatureChannels(2); }, "must be 0 or 1");
  expectRefused([&] { node.gradientFilter(input("g")); }, name);
}

TEST(ArithmeticNodesTest, Defaults) {
  checkForward<NNAdditionNode>("NNAdditionNode");
  checkForward<NNSubtractionNode>("NNSubtractionNode");
  checkForward<NNMultiplicationNode>("NNMultiplicationNode");
  checkForward<NNDivisionNode>("NNDivisionNode");
}

TEST(ArithmeticNodesTest, DivisionHasNoGradient) {
  testing::expectNoGradient(NNDivisionNode({.leftSource = input("x"), .rightSource = input("y")}), "NNDivisionNode");
}

/// What the table of gradients says about one source.
struct Expected {
  float primaryScale, secondaryScale;
  std::size_t source;                     // the image that is read: 0 the left one, 1 the right one
  std::size_t strideX, strideY, strideC;  // secondary
};

/// The forward node scales by 2 and 3, and broadcasts the left source along x and the right one along the channels.
template <class Node, class Gradient>
void checkGradients(const std::string& name, const Expected& left, const Expected& right) {
  SCOPED_TRACE(name);
  const std::vector<NNImageNode> sources{input("x"), input("y")};
  const NNImageNode g = input("g");
  const Node node({.sources = sources});
  node.setPrimaryScale(2);
  node.setSecondaryScale(3);
  node.setMinimumValue(-4);
  node.setMaximumValue(5);
  node.setPrimaryStrideInPixelsX(0);
  node.setSecondaryStrideInFeatureChannels(0);
  EXPECT_NO_THROW(NNArithmeticGradientStateNode(node.resultState()));
  const NNBinaryGradientStateNode state(node.resultState());
  const auto made = node.gradientFilters(g);
  ASSERT_EQ(made.size(), 2u) << "the left source's, then the right one's";
  const Expected expected[] = {left, right};
  for (const bool isSecondary : {false, true}) {
    const Expected& e = expected[isSecondary];
    const NNImageNode image = sources[e.source];
    const auto expectSettings = [&](const Gradient& gradient) {
      expectReads(gradient, name + "GradientNode", {g, image}, {state});
      EXPECT_EQ(gradient.isSecondarySourceFilter(), isSecondary);
      EXPECT_EQ(gradient.primaryScale(), e.primaryScale);
      EXPECT_EQ(gradient.secondaryScale(), e.secondaryScale);
      EXPECT_EQ(gradient.minimumValue(), -4);
      EXPECT_EQ(gradient.maximumValue(), 5);
      EXPECT_EQ(gradient.secondaryStrideInPixelsX(), e.strideX);
      EXPECT_EQ(gradient.secondaryStrideInPixelsY(), e.strideY);
      EXPECT_EQ(gradient.secondaryStrideInFeatureChannels(), e.strideC);
    };
    expectSettings(Gradient(NNFilterNode(made[isSecondary])));
    expectSettings(
        Gradient({.gradientImages = {g, image}, .forwardFilter = node, .isSecondarySourceFilter = isSecondary}));
    const Gradient byHand(
        {.sourceGradient = g, .sourceImage = image, .gradientState = state, .isSecondarySourceFilter = isSecondary});
    expectReads(byHand, name + "GradientNode", {g, image}, {state});
    EXPECT_EQ(byHand.isSecondarySourceFilter(), isSecondary);
    EXPECT_EQ(byHand.primaryScale(), 1);
    EXPECT_EQ(byHand.secondaryScale(), 1);
    EXPECT_EQ(byHand.bias(), 0);
    EXPECT_EQ(byHand.secondaryStrideInPixelsX(), 1u);
  }
  expectRefused([&] { Gradient({.gradientImages = {g}, .forwardFilter = node}); }, "1 are given");
  const NNDivisionNode other({.sources = sources});
  expectRefused([&] { Gradient({.gradientImages = {g, g}, .forwardFilter = other}); }, "NNDivisionNode");
}

TEST(ArithmeticNodesTest, Gradients) {
  // Of sums, the primary scale of a gradient is the factor of its source, and the strides are its source's; of a
  // product each gradient reads the other source with that one's strides.
  checkGradients<NNAdditionNode, NNAdditionGradientNode>("NNAddition", {2, 1, 0, 0, 1, 1}, {3, 1, 1, 1, 1, 0});
  checkGradients<NNSubtractionNode, NNSubtractionGradientNode>("NNSubtraction", {2, 1, 0, 0, 1, 1},
                                                               {-3, 1, 1, 1, 1, 0});
  checkGradients<NNMultiplicationNode, NNMultiplicationGradientNode>("NNMultiplication", {2, 3, 1, 1, 1, 0},
                                                                     {3, 2, 0, 0, 1, 1});
}

}  // namespace
}  // namespace metalloid
