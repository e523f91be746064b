#include "graph/wiring.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

namespace metalloid {
namespace {

using testing::expectOneGradient;
using testing::expectRefused;
using testing::input;
using Values = std::vector<float>;

/// The four numbers of a pooling node, or of its gradient.
template <class Node>
std::vector<std::size_t> shapeOf(const Node& node) {
  return {node.kernelWidth(), node.kernelHeight(), node.strideInPixelsX(), node.strideInPixelsY()};
}

template <class Forward, class Gradient>
void checkPooling(const std::string& name) {
  SCOPED_TRACE(name);
  const NNImageNode x = input("x");
  using Shape = std::vector<std::size_t>;
  EXPECT_EQ(shapeOf(Forward({.source = x, .filterSize = 3})), (Shape{3, 3, 3, 3}));
  EXPECT_EQ(shapeOf(Forward({.source = x, .filterSize = 3, .stride = 2})), (Shape{3, 3, 2, 2}));
  const Forward node({.source = x, .kernelWidth = 2, .kernelHeight = 3, .strideInPixelsX = 4, .strideInPixelsY = 5});
  EXPECT_EQ(shapeOf(node), (Shape{2, 3, 4, 5}));
  EXPECT_EQ(node.paddingPolicy()->paddingMethod(), NNPaddingMethod::sizeSame);
  const auto gradient = expectOneGradient<Gradient>(node, name + "GradientNode", x);
  EXPECT_EQ(shapeOf(gradient), (Shape{2, 3, 4, 5}));

  const NNImageNode g = input("g");
  const NNGradientStateNode state(node.resultState());
  const auto policy = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeFull);
  const Gradient byHand({.sourceGradient = g,
                         .sourceImage = x,
                         .gradientState = state,
                         .kernelWidth = 2,
                         .kernelHeight = 3,
                         .strideInPixelsX = 4,
                         .strideInPixelsY = 5,
                         .paddingPolicy = policy});
  testing::expectReads(byHand, name + "GradientNode", {g, x}, {state});
  EXPECT_EQ(shapeOf(byHand), (Shape{2, 3, 4, 5}));
  EXPECT_EQ(byHand.paddingPolicy(), policy);

  expectRefused([&] { Forward({.source = x}); }, "kernelWidth of a " + name + "Node is 0");
  expectRefused([&] { Forward({.source = x, .kernelWidth = 2, .kernelHeight = 2}); }, "strideInPixelsX");
  expectRefused([&] { Forward({.source = {}, .filterSize = 2}); }, "The source of CNNPooling");
  expectRefused([&] { Gradient({.sourceGradient = g, .sourceImage = x, .gradientState = state}); }, "kernelWidth");
  expectRefused([&] { Gradient(NNFilterNode(node)); }, name + "GradientNode");
}

TEST(PoolingNodesTest, DefaultsAndGradients) {
  checkPooling<CNNPoolingMaxNode, CNNPoolingMaxGradientNode>("CNNPoolingMax");
  checkPooling<CNNPoolingAverageNode, CNNPoolingAverageGradientNode>("CNNPoolingAverage");
  checkPooling<CNNPoolingL2NormNode, CNNPoolingL2NormGradientNode>("CNNPoolingL2Norm");
}

TEST(PoolingNodesTest, DilatedDefaultsAndGradient) {
  const NNImageNode x = input("x");
  static_assert(!std::is_base_of_v<CNNPoolingNode, CNNDilatedPoolingMaxNode>);
  const auto expectShape = [&](const CNNDilatedPoolingMaxNode& node, const std::vector<std::size_t>& shape) {
    const auto gradient =
        expectOneGradient<CNNDilatedPoolingMaxGradientNode>(node, "CNNDilatedPoolingMaxGradientNode", x);
    EXPECT_EQ(shapeOf(gradient), (std::vector<std::size_t>{shape.begin(), shape.begin() + 4}));
    EXPECT_EQ(node.dilationRateX(), shape[4]);
    EXPECT_EQ(node.dilationRateY(), shape[5]);
    EXPECT_EQ(gradient.dilationRateX(), shape[4]);
    EXPECT_EQ(gradient.dilationRateY(), shape[5]);
  };
  expectShape(CNNDilatedPoolingMaxNode({.source = x, .filterSize = 3}), {3, 3, 3, 3, 3, 3});
  expectShape(CNNDilatedPoolingMaxNode({.source = x, .filterSize = 3, .stride = 2, .dilationRate = 4}),
              {3, 3, 2, 2, 4, 4});
  expectShape(CNNDilatedPoolingMaxNode({.source = x,
                                        .kernelWidth = 1,
                                        .kernelHeight = 2,
                                        .strideInPixelsX = 3,
                                        .strideInPixelsY = 4,
                                        .dilationRateX = 5,
                                        .dilationRateY = 6}),
              {1, 2, 3, 4, 5, 6});
  expectRefused([&] { CNNDilatedPoolingMaxNode({.source = x}); }, "kernelWidth of a CNNDilatedPoolingMaxNode is 0");
}

class PoolingNodesOnDevice : public ::testing::TestWithParam<Device> {
 protected:
  Values run(const NNFilterNode& node, const Image& x) const {
    NNGraph graph(GetParam(), {.resultImage = node.resultImage()});
    graph.format = ImageFeatureChannelFormat::float32;
    Image result;
    testing::execute(GetParam(),
                     [&](CommandBuffer& commands) { result = graph.encode(commands, {.sourceImages = {x}}); });
    return result.read<float>();
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, PoolingNodesOnDevice, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

/// Nodes clamp, other than kernels: zeros outside would be the largest here, and would count in the mean.
TEST_P(PoolingNodesOnDevice, TheEdgeModeIsClamp) {
  const NNImageNode x = input("x");
  const Image image = testing::imageOf(GetParam(), {1, 2, 1}, Values{-4, -8});
  const CNNPoolingNode::Arguments row{
      .source = x, .kernelWidth = 3, .kernelHeight = 1, .strideInPixelsX = 1, .strideInPixelsY = 1};
  EXPECT_EQ(run(CNNPoolingMaxNode(row), image), (Values{-4, -4}));
  EXPECT_EQ(run(CNNPoolingAverageNode(row), image), (Values{-6, -6}));
  const Values norms = run(CNNPoolingL2NormNode(row), image);
  EXPECT_NEAR(norms[0], std::sqrt(16 + 16 + 64.0), 1e-6);  // one rounding of a number near 10
  EXPECT_NEAR(norms[1], std::sqrt(16 + 64 + 64.0), 1e-6);
  EXPECT_EQ(run(CNNDilatedPoolingMaxNode({.source = x,
                                          .kernelWidth = 3,
                                          .kernelHeight = 1,
                                          .strideInPixelsX = 1,
                                          .strideInPixelsY = 1,
                                          .dilationRateX = 2,
                                          .dilationRateY = 1}),
                image),
            (Values{-4, -4}));
}

}  // namespace
}  // namespace metalloid
