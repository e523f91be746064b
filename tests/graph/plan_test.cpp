// Plans from the inside: what no description made through the public nodes can be, and which filters are kept.

#include "graph/plan.hpp"
#include "graph/graph_node.hpp"

#include <metalloid/cnn_neuron_nodes.hpp>
#include <metalloid/error.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::detail {
namespace {

GraphNode& nodeOf(const NNFilterNode& node) { return implementation(node); }

Plan planOf(const NNFilterNode& last, bool isNeeded = true, bool allowFusion = true) {
  return Plan::make({{&nodeOf(last), isNeeded}}, allowFusion);
}

std::string refusal(const std::vector<Plan::Wanted>& results) {
  try {
    Plan::make(results, true);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument);
    return error.what();
  }
  return "nothing was refused";
}

TEST(PlanTest, RefusesACycle) {
  const NNImageNode x({.label = "x"});
  const CNNNeuronReLUNode first({.source = x});
  CNNNeuronSigmoidNode second({.source = first.resultImage()});
  second.setLabel("second");
  auto& sources = nodeOf(first).filter->sources;
  sources.front() = Ref<GraphNode>(&nodeOf(second));
  EXPECT_NE(refusal({{&nodeOf(second), true}}).find("cycle"), std::string::npos);
  sources.front() = Ref<GraphNode>(&implementation(x));  // a cycle of references would never be freed
}

TEST(PlanTest, RefusesAFilterThatReadsItself) {
  const NNImageNode x({.label = "x"});
  const CNNNeuronReLUNode only({.source = x});
  auto& sources = nodeOf(only).filter->sources;
  sources.front() = Ref<GraphNode>(&nodeOf(only));
  const std::string text = refusal({{&nodeOf(only), true}});
  EXPECT_NE(text.find("cycle"), std::string::npos) << text;
  EXPECT_NE(text.find("CNNNeuronReLUNode"), std::string::npos) << text;
  sources.front() = Ref<GraphNode>(&implementation(x));
}

TEST(PlanTest, AnImageHasOneProducer) {
  // Filter and result image are one object, so that a second producer cannot be described.
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  EXPECT_EQ(&implementation(node.resultImage()), &nodeOf(node));
}

TEST(PlanTest, RefusesInputsAsResults) {
  const NNImageNode x({.label = "x"});
  EXPECT_NE(refusal({{&implementation(x), true}}).find("nothing to compute"), std::string::npos);
}

TEST(PlanTest, RefusesWorkThatNobodyNeeds) {
  const CNNNeuronReLUNode node({.source = NNImageNode({.label = "x"})});
  EXPECT_NE(refusal({{&nodeOf(node), false}}).find("nothing to compute"), std::string::npos);
}

TEST(PlanTest, LeavesOutWhatNoResultNeeds) {
  const NNImageNode x({.label = "x"});
  const CNNNeuronReLUNode first({.source = x});
  const CNNNeuronSigmoidNode second({.source = first.resultImage()});
  const CNNNeuronTanHNode aside({.source = first.resultImage()});
  const Plan plan = planOf(second);
  ASSERT_EQ(plan.steps.size(), 2u);
  EXPECT_EQ(plan.steps[0].name, "CNNNeuronReLUNode");
  EXPECT_EQ(plan.steps[1].name, "CNNNeuronSigmoidNode");
  EXPECT_EQ(plan.images[plan.steps[0].result].readers, (std::vector<std::size_t>{1}));
}

TEST(PlanTest, AnInteriorImageCanBeTheResult) {
  const CNNNeuronReLUNode first({.source = NNImageNode({.label = "x"})});
  const CNNNeuronSigmoidNode second({.source = first.resultImage()});
  EXPECT_EQ(planOf(first).steps.size(), 1u);
}

TEST(PlanTest, StatesAreMadeWhenTheyAreReadOrExported) {
  const CNNNeuronReLUNode plain({.source = NNImageNode({.label = "x"})});
  EXPECT_FALSE(planOf(plain).steps.front().state);
  plain.resultState().setExportFromGraph(true);
  const Plan plan = planOf(plain);
  EXPECT_TRUE(plan.steps.front().state);
  EXPECT_EQ(plan.destinationStates.size(), 1u);
}

TEST(PlanTest, ADeepNetworkTakesNoStack) {
  CNNNeuronReLUNode last({.source = NNImageNode({.label = "x"})});
  for (int i = 1; i < 100'000; ++i) last = CNNNeuronReLUNode({.source = last.resultImage()});
  EXPECT_EQ(planOf(last).steps.size(), 100'000u);
  const auto ends = last.trainingGraph();
  ASSERT_EQ(ends.size(), 1u);  // and all of it is freed
}

}  // namespace
}  // namespace metalloid::detail
