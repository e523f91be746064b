// Training graphs that end in several places, and what is left out of them.

#include "graph/weights.hpp"
#include "graph/wiring.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"

#include <metalloid/metalloid.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace metalloid {
namespace {

using testing::dense;
using testing::expectRefused;
using testing::input;
using testing::Weights;
using Names = std::vector<std::string>;
using Values = std::vector<float>;

/// Classes and labels of the kernels that a graph encodes.
Names steps(const NNGraph& graph) {
  Names names;
  for (const auto& step : graph.plan().steps)
    names.push_back(step.className + (step.label.empty() ? "" : " " + step.label));
  return names;
}

bool has(const NNGraph& graph, const std::string& step) {
  const Names names = steps(graph);
  return std::find(names.begin(), names.end(), step) != names.end();
}

std::vector<NNImageNode> resultsOf(const std::vector<NNFilterNode>& nodes) {
  std::vector<NNImageNode> images;
  for (const NNFilterNode& node : nodes) images.push_back(node.resultImage());
  return images;
}

/// Two inputs, a layer on each, and their sum.
class TerminiTest : public ::testing::TestWithParam<Device> {
 protected:
  TerminiTest() {
    left_->rate = right_->rate = 1;
    f1_ = CNNFullyConnectedNode({.source = x_, .weights = left_});
    f2_ = CNNFullyConnectedNode({.source = y_, .weights = right_});
    sum_ = NNAdditionNode({.leftSource = f1_.resultImage(), .rightSource = f2_.resultImage()});
  }

  NNGraph graphOf(const std::vector<NNFilterNode>& ends, std::vector<bool> areNeeded) const {
    NNGraph graph(GetParam(), {.resultImages = resultsOf(ends), .resultsAreNeeded = std::move(areNeeded)});
    graph.format = ImageFeatureChannelFormat::float32;
    return graph;
  }
  /// Runs a step with x = 3, y = 5 and the incoming gradient 1.
  std::vector<Image> run(NNGraph& graph) const {
    ImageBatch sources, others;
    for (const auto& handle : graph.sourceImageHandles()) {
      const float value = handle->label() == "x" ? 3 : handle->label() == "y" ? 5 : 1;
      sources.push_back(testing::imageOf(GetParam(), {1, 1, 1}, Values{value}));
    }
    Image result;
    testing::execute(GetParam(), [&](CommandBuffer& commands) {
      result = graph.encode(commands, {.sourceImages = sources, .intermediateImages = &others});
    });
    others.insert(others.begin(), result);
    return others;
  }

  std::shared_ptr<Weights> left_ = dense(1, 1, {10}, {}, "left"), right_ = dense(1, 1, {20}, {}, "right");
  NNImageNode x_ = input("x"), y_ = input("y"), g_ = input("g");
  CNNFullyConnectedNode f1_, f2_;
  NNAdditionNode sum_;
};
INSTANTIATE_TEST_SUITE_P(Devices, TerminiTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

TEST_P(TerminiTest, AForkEndsInTwoPlacesAndAllOfItTrains) {
  const auto ends = sum_.trainingGraph({.sourceGradient = g_});
  ASSERT_EQ(ends.size(), 2u);
  for (const NNFilterNode& end : ends) EXPECT_NO_THROW(CNNFullyConnectedGradientNode{end});
  NNGraph graph = graphOf(ends, {});
  const auto results = run(graph);
  ASSERT_EQ(results.size(), 2u);
  Values gradients{results[0].read<float>().front(), results[1].read<float>().front()};
  std::sort(gradients.begin(), gradients.end());
  EXPECT_EQ(gradients, (Values{10, 20}));
  EXPECT_EQ(left_->live.weights().read<float>(), Values{10 - 3});
  EXPECT_EQ(right_->live.weights().read<float>(), Values{20 - 5});
}

TEST_P(TerminiTest, OneResultTrainsOneBranchAlone) {
  const auto ends = sum_.trainingGraph({.sourceGradient = g_});
  NNGraph graph(GetParam(), {.resultImage = ends.front().resultImage(), .resultImageIsNeeded = false});
  graph.format = ImageFeatureChannelFormat::float32;
  EXPECT_FALSE(run(graph).front());
  EXPECT_EQ(left_->updates + right_->updates, 1);
}

TEST_P(TerminiTest, ResultsThatNobodyNeedsStillTrain) {
  NNGraph graph = graphOf(sum_.trainingGraph({.sourceGradient = g_}), {false, false});
  EXPECT_FALSE(graph.resultImageIsNeeded());
  const auto results = run(graph);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results.front());
  EXPECT_EQ(left_->updates, 1);
  EXPECT_EQ(right_->updates, 1);
  for (const auto& step : graph.plan().steps) {
    const bool isLast = step.className == "CNNFullyConnectedGradientNode";
    EXPECT_EQ(step.resultIsNeeded, step.className == "CNNFullyConnectedNode") << step.className;
    EXPECT_EQ(step.trainingStyle == NNTrainingStyle::UpdateDeviceGPU, isLast) << step.className;
  }
}

TEST_P(TerminiTest, ABranchThatTrainsNothingGoesWithItsResult) {
  f1_.setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto ends = sum_.trainingGraph({.sourceGradient = g_});
  const bool leftIsFirst = detail::implementation(ends[0]).name().find("left") != std::string::npos;
  const std::string gradient = "CNNFullyConnectedGradientNode ";
  for (const bool leftIsNeeded : {false, true}) {
    NNGraph graph = graphOf(ends, {leftIsFirst && leftIsNeeded, !leftIsFirst && leftIsNeeded});
    EXPECT_EQ(has(graph, gradient + "left"), leftIsNeeded) << graph.planDescription();
    EXPECT_TRUE(has(graph, gradient + "right")) << graph.planDescription();
    run(graph);
  }
  EXPECT_EQ(left_->updates, 0);
  EXPECT_EQ(right_->updates, 2);
}

TEST_P(TerminiTest, StopGradientLeavesOutWhatLiesBelow) {
  f1_.resultImage().setStopGradient(true);
  const auto ends = sum_.trainingGraph({.sourceGradient = g_});
  // The sum's gradient for the left source is made, but nothing goes on from there.
  ASSERT_EQ(ends.size(), 2u);
  NNGraph graph = graphOf(ends, {false, false});
  EXPECT_FALSE(has(graph, "CNNFullyConnectedGradientNode left")) << graph.planDescription();
  EXPECT_TRUE(has(graph, "CNNFullyConnectedGradientNode right")) << graph.planDescription();
  run(graph);
  EXPECT_EQ(left_->updates, 0);
  EXPECT_EQ(right_->updates, 1);
}

TEST_P(TerminiTest, ExportsKeepWhatNobodyNeeds) {
  const CNNNeuronTanHNode image({.source = x_}), state({.source = x_});
  image.resultImage().setExportFromGraph(true);
  state.resultState().setExportFromGraph(true);
  const CNNNeuronReLUNode one({.source = image.resultImage()}), two({.source = state.resultImage()});
  for (const auto& [last, exported] : std::vector<std::pair<NNFilterNode, NNFilterNode>>{{one, image}, {two, state}}) {
    const NNGraph graph(GetParam(), {.resultImage = last.resultImage(), .resultImageIsNeeded = false});
    EXPECT_EQ(steps(graph), Names{"CNNNeuronTanHNode"});
    EXPECT_EQ(graph.intermediateImageHandles().size() + graph.resultStateHandles().size(), 1u);
  }
}

// --- Errors

TEST(TrainingGraphErrors, AGraphThatTrainsNothingIsRefused) {
  const CNNFullyConnectedNode node({.source = input("x"), .weights = dense(1, 1, {1}, {})});
  node.setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto ends = node.trainingGraph({.sourceGradient = input("g")});
  ASSERT_EQ(ends.size(), 1u);
  const Device device = Device::named("null");
  expectRefused([&] { NNGraph(device, {.resultImage = ends.front().resultImage(), .resultImageIsNeeded = false}); },
                "nothing to compute: no result is needed, and no parameter is trained");
  expectRefused([&] { NNGraph(device, {.resultImages = {}}); }, "needs a result image node");
  expectRefused(
      [&] {
        NNGraph(device, {.resultImages = resultsOf(ends), .resultsAreNeeded = {true, false}});
      },
      "1 result images, but 2 flags");
}

TEST(TrainingGraphErrors, TwoDevicesCannotBothTrain) {
  const CNNFullyConnectedNode node({.source = input("x"), .weights = dense(1, 1, {1}, {}, "fc")});
  node.setTrainingStyle(static_cast<NNTrainingStyle>(3));
  const auto ends = node.trainingGraph({.sourceGradient = input("g")});
  expectRefused([&] { NNGraph(Device::named("null"), {.resultImage = ends.front().resultImage()}); },
                "CNNFullyConnectedGradientNode \"fc\" names several devices");
}

TEST(TrainingGraphErrors, AFilterWithoutGradientIsNamedAndCanBeStoppedAt) {
  const CNNNeuronReLUNode before({.source = input("x")});
  const NNDivisionNode quotient({.leftSource = before.resultImage(), .rightSource = input("y")});
  quotient.setLabel("ratio");
  const CNNNeuronTanHNode after({.source = quotient.resultImage()});
  expectRefused([&] { after.trainingGraph({.sourceGradient = input("g")}); },
                "NNDivisionNode \"ratio\" has no gradient");
  quotient.resultImage().setStopGradient(true);
  EXPECT_EQ(after.trainingGraph({.sourceGradient = input("g")}).size(), 1u);
}

}  // namespace
}  // namespace metalloid
