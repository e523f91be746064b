#include "graph/wiring.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"

#include <metalloid/metalloid.hpp>

#include <memory>
#include <string>
#include <vector>

namespace metalloid {
namespace {

using testing::expectReads;
using testing::expectRefused;
using testing::imageOf;
using testing::input;
using Values = std::vector<float>;

constexpr CNNLossDescriptor kLoss{.lossType = CNNLossType::huber,
                                  .reductionType = CNNReductionType::mean,
                                  .reduceAcrossBatch = true,
                                  .weight = 2,
                                  .labelSmoothing = 0.25F,
                                  .numberOfClasses = 3,
                                  .epsilon = 0.5F,
                                  .delta = 4};

template <class Node>
void expectDescriptor(const Node& node, const CNNLossDescriptor& d) {
  EXPECT_EQ(node.lossType(), d.lossType);
  EXPECT_EQ(node.reductionType(), d.reductionType);
  EXPECT_EQ(node.reduceAcrossBatch(), d.reduceAcrossBatch);
  EXPECT_EQ(node.weight(), d.weight);
  EXPECT_EQ(node.labelSmoothing(), d.labelSmoothing);
  EXPECT_EQ(node.numberOfClasses(), d.numberOfClasses);
  EXPECT_EQ(node.epsilon(), d.epsilon);
  EXPECT_EQ(node.delta(), d.delta);
}

struct Twice final : NNLossCallback {
  float scalarWeight(const Image& source, const Image& destination) override {
    sourceWidth = source.width();
    destinationWidth = destination.width();
    return 2;
  }
  std::size_t sourceWidth = 0, destinationWidth = 0;
};

TEST(LossNodesTest, ALossIsItsOwnGradient) {
  const NNImageNode x = input("x"), g = input("g");
  const CNNLossNode node({.source = x, .lossDescriptor = kLoss});
  const NNLabelsNode labels = node.inputLabels();
  expectReads(node, "CNNLossNode", {x}, {labels});
  EXPECT_EQ(node.inputLabels(), labels) << "always the same";
  EXPECT_EQ(labels.handle(), nullptr);
  EXPECT_FALSE(node.resultState());
  expectRefused([&] { node.gradientFilter(g); }, "CNNLossNode");
  expectRefused([&] { node.gradientFilters(g); }, "is its own gradient");
  expectRefused([&] { CNNLossNode({.source = {}, .lossDescriptor = kLoss}); }, "The source of CNNLossNode is nil");
}

TEST(LossNodesTest, RefusesWhatTheKernelRefuses) {
  const NNImageNode x = input("x"), t = input("t");
  for (const auto reduction : {CNNReductionType::none, CNNReductionType::mean, CNNReductionType::sumByNonZeroWeights}) {
    const auto cosine = CNNLossDescriptor::cnnLossDescriptor(CNNLossType::cosineDistance, reduction);
    expectRefused([&] { CNNLossNode({.source = x, .lossDescriptor = cosine}); }, "osine");
    expectRefused([&] { NNForwardLossNode({.source = x, .labels = t, .lossDescriptor = cosine}); }, "osine");
  }
}

TEST(LossNodesTest, ForwardLoss) {
  const NNImageNode y = input("y"), t = input("t"), w = input("w"), g = input("g");
  const NNForwardLossNode plain({.source = y, .labels = t, .lossDescriptor = {}});
  expectReads(plain, "NNForwardLossNode", {y, t}, {});
  expectDescriptor(plain, {});
  EXPECT_EQ(plain.propertyCallBack(), nullptr);
  expectReads(NNForwardLossNode({.sources = {y, t}, .lossDescriptor = kLoss}), "NNForwardLossNode", {y, t}, {});
  const NNForwardLossNode node({.sources = {y, t, w}, .lossDescriptor = kLoss});
  expectReads(node, "NNForwardLossNode", {y, t, w}, {});
  expectDescriptor(node, kLoss);
  const auto callBack = std::make_shared<Twice>();
  node.setPropertyCallBack(callBack);

  const auto expectGradient = [&](const NNFilterNode& made, bool forLabels) {
    expectReads(made, "NNLossGradientNode", {g, y, t, w}, {node.resultState()});
    const NNLossGradientNode gradient(made);
    expectDescriptor(gradient, kLoss);
    EXPECT_EQ(gradient.isLabelsGradientFilter(), forLabels);
    EXPECT_EQ(gradient.propertyCallBack(), callBack);
  };
  expectGradient(node.gradientFilter(g), false);
  const auto made = node.gradientFilters(g);
  ASSERT_EQ(made.size(), 2u) << "for the predictions, then for the labels";
  expectGradient(made[0], false);
  expectGradient(made[1], true);
  expectRefused([&] { NNForwardLossNode({.sources = {y}, .lossDescriptor = kLoss}); }, "1 sources are given");
  expectRefused([&] { NNForwardLossNode({.source = y, .labels = {}, .lossDescriptor = kLoss}); },
                "The labels of NNForwardLossNode is nil");
}

TEST(LossNodesTest, LossGradientByHand) {
  const NNImageNode y = input("y"), t = input("t"), w = input("w"), g = input("g");
  const NNForwardLossNode forward({.source = y, .labels = t, .lossDescriptor = kLoss});
  const NNGradientStateNode state(forward.resultState());
  const NNLossGradientNode node({.sourceGradient = g,
                                 .sourceImage = y,
                                 .labels = t,
                                 .weights = w,
                                 .gradientState = state,
                                 .lossDescriptor = kLoss,
                                 .isLabelsGradientFilter = true});
  expectReads(node, "NNLossGradientNode", {g, y, t, w}, {state});
  expectDescriptor(node, kLoss);
  EXPECT_TRUE(node.isLabelsGradientFilter());
  EXPECT_EQ(node.propertyCallBack(), nullptr);
  const NNLossGradientNode fromList({.sources = {g, y, t}, .lossDescriptor = kLoss});
  expectReads(fromList, "NNLossGradientNode", {g, y, t}, {});  // neither weights nor state are needed
  EXPECT_FALSE(fromList.isLabelsGradientFilter());
  expectRefused([&] { NNLossGradientNode({.sources = {g, y}, .lossDescriptor = kLoss}); }, "2 sources are given");
}

/// Labels that come from outside have no gradient; those that a filter makes have one.
TEST(LossNodesTest, TrainingGraphsDifferentiateLabelsThatAreMade) {
  const NNImageNode y = input("y"), t = input("t");
  const CNNNeuronTanHNode made({.source = t});
  const auto gradientsFor = [&](const NNImageNode& labels) {
    std::vector<std::string> classes;
    NNForwardLossNode({.source = y, .labels = labels, .lossDescriptor = {}})
        .trainingGraph({.sourceGradient = input("g"),
                        .nodeHandler = [&](const NNFilterNode& node, const auto&, const auto&, const auto&) {
                          classes.emplace_back(detail::implementation(node).filter->className());
                        }});
    return classes;
  };
  EXPECT_EQ(gradientsFor(t), std::vector<std::string>{"NNLossGradientNode"});
  EXPECT_EQ(gradientsFor(made.resultImage()),
            (std::vector<std::string>{"NNLossGradientNode", "NNLossGradientNode", "CNNNeuronGradientNode"}));
}

TEST(LossNodesTest, InitialGradient) {
  const NNImageNode x = input("x");
  const NNInitialGradientNode node({.source = x});
  expectReads(node, "NNInitialGradientNode", {x}, {});
  EXPECT_FALSE(node.resultState());
  expectRefused([&] { node.gradientFilter(input("g")); }, "NNInitialGradientNode");
  expectRefused([&] { node.gradientFilters(input("g")); }, "is its own gradient");
}

class LossNodesOnDevice : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();
  /// The value of a graph with inputs "y" and "t".
  Values run(const NNFilterNode& last, const Values& y, const Values& t) const {
    NNGraph graph(device, {.resultImage = last.resultImage()});
    graph.format = ImageFeatureChannelFormat::float32;
    ImageBatch images;
    for (const auto& handle : graph.sourceImageHandles()) {
      const Values& values = handle->label() == "y" ? y : t;
      images.push_back(imageOf(device, {1, values.size(), 1}, values));
    }
    Image result;
    testing::execute(device,
                     [&](CommandBuffer& commands) { result = graph.encode(commands, {.sourceImages = images}); });
    return result.read<float>();
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, LossNodesOnDevice, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

TEST_P(LossNodesOnDevice, TheCallbackGivesTheWeightOfEachEncode) {
  const NNForwardLossNode loss(
      {.source = input("y"), .labels = input("t"), .lossDescriptor = {.lossType = CNNLossType::meanSquaredError}});
  EXPECT_EQ(run(loss, {1, 2, 5}, {0, 0, 1}), Values{1 + 4 + 16});
  const auto twice = std::make_shared<Twice>();
  loss.setPropertyCallBack(twice);
  EXPECT_EQ(run(loss, {1, 2, 5}, {0, 0, 1}), Values{2 * (1 + 4 + 16)});
  EXPECT_EQ(twice->sourceWidth, 3u);
  EXPECT_EQ(twice->destinationWidth, 1u);
  // d of 2 * loss
  const NNInitialGradientNode one({.source = loss.resultImage()});
  EXPECT_EQ(run(one.trainingGraph().front(), {1, 2, 5}, {0, 0, 1}), (Values{4, 8, 16}));
}

TEST_P(LossNodesOnDevice, AnInitialGradientStartsATrainingGraph) {
  const CNNNeuronLinearNode linear({.source = input("y"), .a = 3, .b = 1});
  const NNInitialGradientNode ones({.source = linear.resultImage()});
  EXPECT_EQ(run(ones, {1, 2}, {}), (Values{1, 1}));
  const auto ends = ones.trainingGraph();
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(run(ends.front(), {1, 2}, {}), (Values{3, 3}));
}

}  // namespace
}  // namespace metalloid
