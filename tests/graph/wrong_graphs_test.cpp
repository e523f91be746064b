// Descriptions and encodes that are wrong: each is refused where it is first known, with the class of the node, its
// label or its data source's, and the reason.

#include "formats/expect_error.hpp"
#include "graph/graph_node.hpp"
#include "graph/plan.hpp"
#include "graph/plan_archive.hpp"
#include "graph/weights.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"
#include "support/normalization_sources.hpp"

#include <metalloid/metalloid.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::dense;
using testing::expectError;
using testing::makeImage;
using testing::Weights;

using Fragments = std::initializer_list<std::string>;

void expectRefused(Fragments fragments, const std::function<void()>& action) {
  expectError(ErrorCode::invalidArgument, fragments, action);
}

/// No device computes with what is only built.
NNGraph build(const NNFilterNode& last) {
  return NNGraph(Device::named("null"), NNGraph::Arguments{.resultImage = last.resultImage()});
}
void expectUnbuildable(Fragments fragments, const NNFilterNode& last) {
  expectRefused(fragments, [&] { build(last); });
}

NNImageNode input(const char* label) { return NNImageNode({.label = label}); }

/// One pixel wide, of zeros.
std::shared_ptr<Weights> convolution(std::size_t inputs, std::size_t outputs, std::string label) {
  return dense(inputs, outputs, std::vector<float>(inputs * outputs), {}, std::move(label));
}
CNNConvolutionNode convolve(const NNImageNode& source, std::size_t inputs, std::size_t outputs, std::string label) {
  return CNNConvolutionNode({.source = source, .weights = convolution(inputs, outputs, std::move(label))});
}

template <class Source>
std::shared_ptr<Source> normalization(std::size_t channels, std::string label) {
  auto source = std::make_shared<Source>(testing::NormalizationValues{.channels = channels});
  source->name = std::move(label);
  return source;
}
using BatchSource = testing::BatchNormalizationSource;
using InstanceSource = testing::InstanceNormalizationSource;
using GroupSource = testing::GroupNormalizationSource;

CNNSoftMaxNode softMax(std::string label) {
  CNNSoftMaxNode node({.source = input("x")});
  node.setLabel(std::move(label));
  return node;
}

// --- Nil -------------------------------------------------------------------------------------------------------------

TEST(NilTest, SourcesOfForwardNodes) {
  const NNImageNode nil, x = input("x");
  expectRefused({"The source of CNNConvolutionNode \"conv1\" is nil."}, [&] { convolve(nil, 1, 1, "conv1"); });
  expectRefused({"The source of CNNFullyConnectedNode \"fc1\" is nil."},
                [&] { CNNFullyConnectedNode({.source = nil, .weights = convolution(1, 1, "fc1")}); });
  expectRefused({"The source of CNNBatchNormalizationNode \"bn\" is nil."},
                [&] { CNNBatchNormalizationNode({.source = nil, .dataSource = normalization<BatchSource>(1, "bn")}); });
  expectRefused({"The source of CNNInstanceNormalizationNode \"in\" is nil."}, [&] {
    CNNInstanceNormalizationNode({.source = nil, .dataSource = normalization<InstanceSource>(1, "in")});
  });
  expectRefused({"The source of CNNPoolingMaxNode is nil."},
                [&] { CNNPoolingMaxNode({.source = nil, .filterSize = 2}); });
  expectRefused({"The source of CNNNeuronReLUNode is nil."}, [&] { CNNNeuronReLUNode({.source = nil}); });
  expectRefused({"The source of CNNSoftMaxNode is nil."}, [&] { CNNSoftMaxNode({.source = nil}); });
  expectRefused({"The source of CNNLossNode is nil."}, [&] { CNNLossNode({.source = nil, .lossDescriptor = {}}); });
  expectRefused({"The source of NNInitialGradientNode is nil."}, [&] { NNInitialGradientNode({.source = nil}); });
  expectRefused({"The source of NNReductionSpatialMeanNode is nil."},
                [&] { NNReductionSpatialMeanNode({.source = nil}); });
  expectRefused({"The leftSource of NNAdditionNode is nil."},
                [&] { NNAdditionNode(NNAdditionNode::Arguments{.leftSource = nil, .rightSource = x}); });
  expectRefused({"The rightSource of NNDivisionNode is nil."},
                [&] { NNDivisionNode(NNDivisionNode::Arguments{.leftSource = x, .rightSource = nil}); });
  expectRefused({"The source of NNConcatenationNode is nil."}, [&] { NNConcatenationNode({.sources = {x, nil}}); });
  expectRefused({"The labels of NNForwardLossNode is nil."}, [&] {
    NNForwardLossNode(NNForwardLossNode::Arguments{.source = x, .labels = nil, .lossDescriptor = {}});
  });
}

TEST(NilTest, SourcesAndStatesOfGradientNodes) {
  const NNImageNode nil, x = input("x"), g = input("g");
  const NNGradientStateNode state(softMax("").resultState());
  expectRefused({"The sourceGradient of CNNSoftMaxGradientNode is nil."},
                [&] { CNNSoftMaxGradientNode({.sourceGradient = nil, .sourceImage = x, .gradientState = state}); });
  expectRefused({"The sourceImage of CNNSoftMaxGradientNode is nil."},
                [&] { CNNSoftMaxGradientNode({.sourceGradient = g, .sourceImage = nil, .gradientState = state}); });
  expectRefused({"The gradientState of CNNSoftMaxGradientNode is nil."},
                [&] { CNNSoftMaxGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = {}}); });
  expectRefused({"The convolutionGradientState of CNNConvolutionGradientNode is nil."}, [&] {
    CNNConvolutionGradientNode({.sourceGradient = g, .sourceImage = x, .convolutionGradientState = {}});
  });
  expectRefused({"The sourceImage of CNNConvolutionGradientNode \"conv1\" is nil."}, [&] {
    CNNConvolutionGradientNode({.sourceGradient = g,
                                .sourceImage = nil,
                                .convolutionGradientState = convolve(x, 1, 1, "conv1").convolutionGradientState()});
  });
  expectRefused({"The gradientState of CNNBatchNormalizationGradientNode is nil."}, [&] {
    CNNBatchNormalizationGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = {}});
  });
  expectRefused({"The source gradient of CNNSoftMaxNode \"p\" is nil."}, [&] { softMax("p").gradientFilter(nil); });
}

TEST(NilTest, DataSources) {
  const NNImageNode x = input("x");
  expectRefused({"weights of a CNNConvolutionNode are nil"},
                [&] { CNNConvolutionNode({.source = x, .weights = nullptr}); });
  expectRefused({"data source of a CNNBatchNormalizationNode is nil"},
                [&] { CNNBatchNormalizationNode({.source = x, .dataSource = nullptr}); });
}

TEST(NilTest, ResultsOfGraphs) {
  expectRefused({"NNGraph", "result image node is nil"},
                [] { NNGraph(Device::named("null"), NNGraph::Arguments{.resultImage = {}}); });
}

// --- Gradients -------------------------------------------------------------------------------------------------------

TEST(TrainingGraphErrorTest, AFilterWithoutAGradientOnTheWay) {
  const CNNConvolutionNode first = convolve(input("x"), 1, 1, "conv1");
  NNDivisionNode ratio(NNDivisionNode::Arguments{.leftSource = first.resultImage(), .rightSource = input("y")});
  ratio.setLabel("ratio");
  const CNNSoftMaxNode last({.source = ratio.resultImage()});
  const NNFilterNode::TrainingArguments arguments{.sourceGradient = input("g")};
  expectRefused({"NNDivisionNode \"ratio\" has no gradient", "stopGradient"}, [&] { last.trainingGraph(arguments); });

  NNReductionRowMaxNode rows({.source = first.resultImage()});
  rows.setLabel("rows");
  expectRefused({"NNReductionRowMaxNode \"rows\" has no gradient"}, [&] { rows.trainingGraph(arguments); });

  // As the message says.
  ratio.resultImage().setStopGradient(true);
  EXPECT_EQ(last.trainingGraph(arguments).size(), 1u);
}

TEST(GradientNodeErrorTest, TheStateOfAFilterWhoseGradientItIsNot) {
  const NNImageNode x = input("x"), g = input("g");
  const NNGradientStateNode state(softMax("p").resultState());
  const std::string of = "is given the state of CNNSoftMaxNode \"p\", but is not its gradient.";
  expectRefused({"CNNPoolingMaxGradientNode " + of}, [&] {
    CNNPoolingMaxGradientNode({.sourceGradient = g,
                               .sourceImage = x,
                               .gradientState = state,
                               .kernelWidth = 1,
                               .kernelHeight = 1,
                               .strideInPixelsX = 1,
                               .strideInPixelsY = 1});
  });
  expectRefused({"CNNLogSoftMaxGradientNode " + of},
                [&] { CNNLogSoftMaxGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state}); });
  expectRefused({"CNNNeuronGradientNode " + of}, [&] {
    CNNNeuronGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state, .descriptor = {}});
  });
  expectRefused({"CNNBatchNormalizationGradientNode", of}, [&] {
    CNNBatchNormalizationGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  expectRefused({"CNNGroupNormalizationGradientNode", of}, [&] {
    CNNGroupNormalizationGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  expectRefused({"NNConcatenationGradientNode " + of},
                [&] { NNConcatenationGradientNode({.sourceGradient = g, .sourceImage = x, .gradientState = state}); });
  expectRefused({"NNLossGradientNode " + of}, [&] {
    NNLossGradientNode(NNLossGradientNode::Arguments{
        .sourceGradient = g, .sourceImage = x, .labels = x, .gradientState = state, .lossDescriptor = {}});
  });
}

TEST(GradientNodeErrorTest, TheStateOfAnotherConvolution) {
  const NNImageNode x = input("x"), g = input("g");
  const CNNConvolutionTransposeNode up({.source = x, .weights = convolution(1, 1, "up")});
  expectRefused({"CNNConvolutionGradientNode \"up\"", "CNNConvolutionTransposeNode \"up\"", "not its gradient"}, [&] {
    CNNConvolutionGradientNode({.sourceGradient = g,
                                .sourceImage = x,
                                .convolutionGradientState = CNNConvolutionGradientStateNode(up.resultState())});
  });
  // A fully connected layer is a convolution.
  const CNNFullyConnectedNode connected({.source = x, .weights = convolution(1, 1, "fc1")});
  EXPECT_NO_THROW(CNNConvolutionGradientNode(
      {.sourceGradient = g, .sourceImage = x, .convolutionGradientState = connected.convolutionGradientState()}));
}

TEST(GradientNodeErrorTest, TheStateOfAnotherArithmetic) {
  const NNImageNode x = input("x"), y = input("y"), g = input("g");
  NNAdditionNode sum(NNAdditionNode::Arguments{.leftSource = x, .rightSource = y});
  sum.setLabel("sum");
  expectRefused({"NNMultiplicationGradientNode is given the state of NNAdditionNode \"sum\""}, [&] {
    NNMultiplicationGradientNode(NNMultiplicationGradientNode::Arguments{
        .sourceGradient = g, .sourceImage = x, .gradientState = NNBinaryGradientStateNode(sum.resultState())});
  });
}

TEST(GradientNodeErrorTest, AnImageThatWasNotConcatenated) {
  const NNImageNode x = input("x"), y = input("y");
  NNConcatenationNode both({.sources = {x, x}});
  both.setLabel("both");
  expectRefused({"NNConcatenationGradientNode", "NNImageNode \"y\"", "no source of NNConcatenationNode \"both\""}, [&] {
    NNConcatenationGradientNode(
        {.sourceGradient = input("g"), .sourceImage = y, .gradientState = NNGradientStateNode(both.resultState())});
  });
}

// --- Numbers of sources ----------------------------------------------------------------------------------------------

TEST(SourceCountTest, MissingAndSurplus) {
  const NNImageNode x = input("x"), g = input("g");
  using Sources = NNBinaryArithmeticNode::SourcesArguments;
  expectRefused({"NNAdditionNode has two sources", "1 are given"}, [&] { NNAdditionNode(Sources{.sources = {x}}); });
  expectRefused({"NNMultiplicationNode has two sources", "3 are given"}, [&] {
    NNMultiplicationNode(Sources{.sources = {x, x, x}});
  });
  expectRefused({"NNConcatenationNode needs a source"}, [&] { NNConcatenationNode({.sources = {}}); });
  expectRefused({"NNForwardLossNode", "1 sources are given"},
                [&] { NNForwardLossNode(NNForwardLossNode::SourcesArguments{.sources = {x}, .lossDescriptor = {}}); });
  expectRefused({"NNForwardLossNode", "4 sources are given"}, [&] {
    NNForwardLossNode(NNForwardLossNode::SourcesArguments{.sources = {x, x, x, x}, .lossDescriptor = {}});
  });
  expectRefused({"CNNSoftMaxNode \"p\" has one result image", "2 source gradients"}, [&] {
    softMax("p").gradientFilters(std::vector{g, g});
  });
}

// --- Data sources ----------------------------------------------------------------------------------------------------

TEST(DataSourceErrorTest, OneThatDoesNotLoad) {
  const auto weights = convolution(1, 1, "conv1");
  weights->loadsWell = false;
  expectUnbuildable({"CNNConvolutionNode \"conv1\"", "load"},
                    CNNConvolutionNode({.source = input("x"), .weights = weights}));
  const auto bn = normalization<BatchSource>(1, "bn");
  bn->loads = false;
  expectUnbuildable({"CNNBatchNormalizationNode \"bn\"", "does not load"},
                    CNNBatchNormalizationNode({.source = input("x"), .dataSource = bn}));
  const auto in = normalization<InstanceSource>(1, "in");
  in->loads = false;
  expectUnbuildable({"CNNInstanceNormalizationNode \"in\"", "does not load"},
                    CNNInstanceNormalizationNode({.source = input("x"), .dataSource = in}));
}

TEST(DataSourceErrorTest, ArraysOfAnotherLength) {
  const auto weights = convolution(2, 3, "conv1");
  weights->values.pop_back();
  expectUnbuildable({"CNNConvolutionNode \"conv1\"", "20 bytes of weights", "24"},
                    CNNConvolutionNode({.source = input("x"), .weights = weights}));
  const auto biased = convolution(2, 3, "conv2");
  biased->terms = {1, 2};
  expectUnbuildable({"CNNConvolutionNode \"conv2\"", "2 biases", "3"},
                    CNNConvolutionNode({.source = input("x"), .weights = biased}));
  const auto bn = normalization<BatchSource>(3, "bn");
  bn->values.gamma = {1, 2};
  expectUnbuildable({"CNNBatchNormalizationNode \"bn\"", "gamma", "2", "3"},
                    CNNBatchNormalizationNode({.source = input("x"), .dataSource = bn}));
}

TEST(DataSourceErrorTest, ImpossibleShapes) {
  const auto grouped = convolution(3, 4, "grouped");
  grouped->shape.groups = 2;
  expectUnbuildable({"CNNConvolutionNode \"grouped\"", "groups"},
                    CNNConvolutionNode({.source = input("x"), .weights = grouped}));
  const auto scaled = convolution(4, 4, "scaled");
  scaled->shape.subPixelScaleFactor = 0;
  expectUnbuildable({"CNNConvolutionNode \"scaled\"", "subPixelScaleFactor"},
                    CNNConvolutionNode({.source = input("x"), .weights = scaled}));
  const auto groups = normalization<GroupSource>(4, "gn");
  groups->values.groups = 3;
  expectUnbuildable({"CNNGroupNormalizationNode \"gn\"", "3", "4"},
                    CNNGroupNormalizationNode({.source = input("x"), .dataSource = groups}));
}

// --- Feature channels ------------------------------------------------------------------------------------------------

TEST(ChannelErrorTest, WhatAConvolutionTakes) {
  const CNNConvolutionNode first = convolve(input("x"), 3, 16, "conv1");
  CNNPoolingMaxNode pool({.source = first.resultImage(), .filterSize = 2});
  pool.setLabel("pool1");
  expectUnbuildable({"CNNConvolutionNode \"conv2\": its weights take 32 feature channels, but its source, the result "
                     "of CNNPoolingMaxNode \"pool1\", has 16."},
                    convolve(pool.resultImage(), 32, 8, "conv2"));
  expectUnbuildable({"CNNConvolutionNode \"conv2\": its weights take 8 feature channels", "has 16."},
                    convolve(pool.resultImage(), 8, 8, "conv2"));
  EXPECT_NO_THROW(build(convolve(pool.resultImage(), 16, 8, "conv2")));
  expectUnbuildable({"CNNFullyConnectedNode \"fc1\": its weights take 4", "CNNPoolingMaxNode \"pool1\", has 16."},
                    CNNFullyConnectedNode({.source = pool.resultImage(), .weights = convolution(4, 2, "fc1")}));
  expectUnbuildable({"CNNConvolutionTransposeNode \"up\": its weights take 4", "has 16."},
                    CNNConvolutionTransposeNode({.source = pool.resultImage(), .weights = convolution(4, 2, "up")}));
}

TEST(ChannelErrorTest, GroupsAndSubPixels) {
  const auto grouped = std::make_shared<Weights>(CNNConvolutionDescriptor{.kernelWidth = 1,
                                                                          .kernelHeight = 1,
                                                                          .inputFeatureChannels = 4,
                                                                          .outputFeatureChannels = 16,
                                                                          .groups = 2,
                                                                          .subPixelScaleFactor = 2},
                                                 std::vector<float>(32), std::vector<float>(), "grouped");
  const CNNConvolutionNode node({.source = input("x"), .weights = grouped});
  EXPECT_NO_THROW(build(convolve(node.resultImage(), 4, 1, "conv2")));
  expectUnbuildable({"take 16 feature channels", "CNNConvolutionNode \"grouped\", has 4."},
                    convolve(node.resultImage(), 16, 1, "conv2"));
}

TEST(ChannelErrorTest, WhatNormalizationsHaveParametersFor) {
  const NNImageNode source = convolve(input("x"), 3, 16, "conv1").resultImage();
  expectUnbuildable({"CNNBatchNormalizationNode \"bn\": its data source has parameters for 8 feature channels",
                     "CNNConvolutionNode \"conv1\", has 16."},
                    CNNBatchNormalizationNode({.source = source, .dataSource = normalization<BatchSource>(8, "bn")}));
  expectUnbuildable(
      {"CNNInstanceNormalizationNode \"in\"", "for 8 feature", "has 16."},
      CNNInstanceNormalizationNode({.source = source, .dataSource = normalization<InstanceSource>(8, "in")}));
  expectUnbuildable({"CNNGroupNormalizationNode \"gn\"", "for 8 feature", "has 16."},
                    CNNGroupNormalizationNode({.source = source, .dataSource = normalization<GroupSource>(8, "gn")}));
  const std::vector<float> three = {1, 2, 3};
  CNNNeuronPReLUNode slopes({.source = source, .aData = three});
  slopes.setLabel("act");
  expectUnbuildable({"CNNNeuronPReLUNode \"act\": its slopes are for 3 feature channels", "has 16."}, slopes);
}

TEST(ChannelErrorTest, TwoConsumersOfOneInput) {
  const NNImageNode x = input("x");
  const CNNConvolutionNode a = convolve(x, 3, 8, "a");
  // The pooling passes on what is said of its result to what it reads.
  CNNPoolingMaxNode pool({.source = x, .filterSize = 1});
  const CNNConvolutionNode b = convolve(pool.resultImage(), 4, 8, "b");
  const NNAdditionNode sum(NNAdditionNode::Arguments{.leftSource = a.resultImage(), .rightSource = b.resultImage()});
  expectUnbuildable({"CNNConvolutionNode \"b\": its weights take 4 feature channels",
                     "the result of CNNPoolingMaxNode, has 3 for CNNConvolutionNode \"a\"."},
                    sum);
}

TEST(ChannelErrorTest, Arithmetic) {
  const NNImageNode x = input("x");
  const NNImageNode few = convolve(x, 3, 1, "few").resultImage(), many = convolve(x, 3, 8, "many").resultImage();
  NNAdditionNode sum(NNAdditionNode::Arguments{.leftSource = few, .rightSource = many});
  sum.setLabel("sum");
  expectUnbuildable({"NNAdditionNode \"sum\"", "CNNConvolutionNode \"few\", has 1", "\"many\", has 8"}, sum);
  sum.setPrimaryStrideInFeatureChannels(0);
  EXPECT_NO_THROW(build(convolve(sum.resultImage(), 8, 1, "next")));
  expectUnbuildable({"its weights take 1 feature", "has 8."}, convolve(sum.resultImage(), 1, 1, "next"));
  sum.setSecondaryStrideInFeatureChannels(0);
  EXPECT_NO_THROW(build(convolve(sum.resultImage(), 1, 1, "next")));
}

TEST(ChannelErrorTest, ConcatenationsAlignTheirSources) {
  const NNImageNode x = input("x");
  const NNImageNode six = convolve(x, 3, 6, "six").resultImage(), three = convolve(x, 3, 3, "three").resultImage();
  const NNConcatenationNode both({.sources = {six, three}});
  EXPECT_NO_THROW(build(convolve(both.resultImage(), 8 + 3, 1, "next")));
  expectUnbuildable({"its weights take 9 feature", "NNConcatenationNode, has 11."},
                    convolve(both.resultImage(), 9, 1, "next"));
  // With a source that nobody knows, nothing is known.
  const NNConcatenationNode open({.sources = {six, input("y")}});
  EXPECT_NO_THROW(build(convolve(open.resultImage(), 9, 1, "next")));
}

TEST(ChannelErrorTest, ReshapesAndReductions) {
  const NNImageNode source = convolve(input("x"), 3, 16, "conv1").resultImage();
  const NNReshapeNode flat({.source = source, .resultWidth = 1, .resultHeight = 1, .resultFeatureChannels = 64});
  EXPECT_NO_THROW(build(convolve(flat.resultImage(), 64, 1, "next")));
  expectUnbuildable({"NNReshapeNode, has 64."}, convolve(flat.resultImage(), 16, 1, "next"));
  const NNReductionFeatureChannelsMaxNode one({.source = source});
  expectUnbuildable({"NNReductionFeatureChannelsMaxNode, has 1."}, convolve(one.resultImage(), 16, 1, "next"));
  const NNReductionRowMaxNode rows({.source = source});
  expectUnbuildable({"NNReductionRowMaxNode, has 16."}, convolve(rows.resultImage(), 1, 1, "next"));
  const NNForwardLossNode loss(NNForwardLossNode::Arguments{
      .source = source, .labels = input("labels"), .lossDescriptor = {.reductionType = CNNReductionType::sum}});
  expectUnbuildable({"NNForwardLossNode, has 1."}, convolve(loss.resultImage(), 16, 1, "next"));
}

TEST(ChannelErrorTest, GradientsOfConvolutions) {
  const NNImageNode x = input("x");
  const CNNConvolutionNode first = convolve(x, 3, 16, "conv1");
  const CNNConvolutionNode gradient = convolve(input("g"), 1, 8, "made");
  expectUnbuildable({"CNNConvolutionGradientNode \"conv1\": its weights give 16 feature channels",
                     "CNNConvolutionNode \"made\", has 8."},
                    CNNConvolutionGradientNode({.sourceGradient = gradient.resultImage(),
                                                .sourceImage = x,
                                                .convolutionGradientState = first.convolutionGradientState()}));
}

TEST(ChannelErrorTest, CodeOfTheCallersMayChangeTheResult) {
  struct Custom : NNPadding {
    NNPaddingMethod paddingMethod() const override { return NNPaddingMethod::custom; }
    ImageDescriptor destinationImageDescriptor(const ImageBatch&, const StateBatch&, Kernel&,
                                               const ImageDescriptor& suggested) override {
      return suggested;
    }
  };
  const CNNConvolutionNode first = convolve(input("x"), 3, 16, "conv1");
  first.setPaddingPolicy(std::make_shared<Custom>());
  EXPECT_NO_THROW(build(convolve(first.resultImage(), 32, 1, "conv2")));
}

// --- Plans -----------------------------------------------------------------------------------------------------------

TEST(PlanErrorTest, ACycle) {
  const NNImageNode x = input("x");
  CNNSoftMaxNode first({.source = x});
  first.setLabel("first");
  const CNNSoftMaxNode second({.source = first.resultImage()});
  auto& sources = detail::implementation(first).filter->sources;
  sources.front() = detail::Ref<detail::GraphNode>(&detail::implementation(second));
  expectUnbuildable({"NNGraph", "cycle", "CNNSoftMaxNode"}, second);
  sources.front() = detail::Ref<detail::GraphNode>(&detail::implementation(x));  // or it would never be freed
}

/// Nodes cannot describe it; an archive can.
TEST(PlanErrorTest, TwoProducersOfOneImage) {
  const CNNSoftMaxNode first({.source = input("x")});
  CNNSoftMaxNode second({.source = first.resultImage()});
  second.setLabel("second");
  auto& last = detail::implementation(second);
  std::vector<detail::GraphResult> results{{detail::Ref<detail::GraphNode>(&last), true}};
  detail::Plan plan = detail::Plan::make({{&last, true}}, false);
  plan.steps[1].result = plan.steps[0].result;
  Archiver archiver;
  detail::archivePlan(archiver, plan, results);
  Unarchiver coder(archiver.finish());
  std::vector<detail::GraphResult> read;
  expectError(ErrorCode::malformedFile, {"CNNSoftMaxNode \"second\" makes what is there"},
              [&] { detail::readPlan(coder, read); });
}

TEST(PlanErrorTest, SeveralStyles) {
  const CNNConvolutionNode node = convolve(input("x"), 1, 1, "conv1");
  const CNNConvolutionGradientNode gradient(node.gradientFilter(input("g")));
  gradient.setTrainingStyle(static_cast<NNTrainingStyle>(3));
  expectUnbuildable({"training style", "CNNConvolutionGradientNode \"conv1\""}, gradient);
}

// --- Encodes ---------------------------------------------------------------------------------------------------------

class EncodeErrorTest : public ::testing::Test {
 protected:
  EncodeErrorTest() {
    CNNLossNode loss({.source = convolve(x_, 2, 2, "conv1").resultImage(), .lossDescriptor = {}});
    loss.setLabel("loss");
    graph_ = std::make_unique<NNGraph>(device_, NNGraph::Arguments{.resultImage = loss.resultImage()});
    graph_->label = "net";
    graph_->format = ImageFeatureChannelFormat::float32;
  }

  ImageBatch images(std::size_t count, std::size_t width = 1, std::size_t channels = 2) const {
    ImageBatch batch;
    for (std::size_t i = 0; i < count; ++i) batch.push_back(makeImage(device_, {1, width, channels}));
    return batch;
  }
  StateBatch labels(std::size_t count) const {
    CNNLossLabelsBatch batch;
    for (std::size_t i = 0; i < count; ++i)
      batch.push_back(CNNLossLabels(device_, CNNLossDataDescriptor{.data = {1, 0}, .size = {1, 1, 2}}));
    return batch;
  }
  void expectRefusedBatch(Fragments fragments, const NNGraph::EncodeBatchArguments& arguments) {
    CommandBuffer commands = device_.makeCommandQueue().makeCommandBuffer();
    expectRefused(fragments, [&] { graph_->encodeBatch(commands, arguments); });
    expectRefused({"NNGraph \"net\""}, [&] { graph_->encodeBatch(commands, arguments); });
    // Nothing of it stays: the same buffer takes what is right.
    EXPECT_NO_THROW(graph_->encodeBatch(commands, {.sourceImages = {images(2)}, .sourceStates = {labels(2)}}));
  }

  const Device device_ = Device::named("cpu");
  const NNImageNode x_ = input("x");
  std::unique_ptr<NNGraph> graph_;
};

TEST_F(EncodeErrorTest, Counts) {
  expectRefusedBatch({"1 source images", "0 are given"}, {.sourceImages = {}, .sourceStates = {labels(2)}});
  expectRefusedBatch({"1 source images", "2 are given"},
                     {.sourceImages = {images(2), images(2)}, .sourceStates = {labels(2)}});
  expectRefusedBatch({"1 source states", "0 are given"}, {.sourceImages = {images(2)}});
  expectRefusedBatch({"1 source states", "2 are given"},
                     {.sourceImages = {images(2)}, .sourceStates = {labels(2), labels(2)}});
  expectRefusedBatch({"no image for NNImageNode \"x\""}, {.sourceImages = {{}}, .sourceStates = {{}}});
  expectRefusedBatch({"1 states", "2 images"}, {.sourceImages = {images(2)}, .sourceStates = {labels(1)}});
  const CNNSoftMaxNode p({.source = x_}), q({.source = input("y")});
  const NNAdditionNode sum(NNAdditionNode::Arguments{.leftSource = p.resultImage(), .rightSource = q.resultImage()});
  NNGraph two(device_, NNGraph::Arguments{.resultImage = sum.resultImage()});
  CommandBuffer commands = device_.makeCommandQueue().makeCommandBuffer();
  expectRefused({"3 images for NNImageNode \"y\", but 2 for NNImageNode \"x\""}, [&] {
    two.encodeBatch(commands, {.sourceImages = {images(2), images(3)}});
  });
}

TEST_F(EncodeErrorTest, Nil) {
  ImageBatch xs = images(2);
  xs.back() = {};
  expectRefusedBatch({"image for NNImageNode \"x\" is nil"}, {.sourceImages = {xs}, .sourceStates = {labels(2)}});
  StateBatch states = labels(2);
  states.front() = {};
  expectRefusedBatch({"state for NNLabelsNode is nil"}, {.sourceImages = {images(2)}, .sourceStates = {states}});
}

TEST_F(EncodeErrorTest, Devices) {
  const Device other = Device::named("null");
  CommandBuffer commands = other.makeCommandQueue().makeCommandBuffer();
  expectRefused({"command buffer is on device null", "graph is on device cpu"},
                [&] { graph_->encodeBatch(commands, {.sourceImages = {images(2)}, .sourceStates = {labels(2)}}); });
  ImageBatch xs = images(1);
  xs.push_back(makeImage(other, {1, 1, 2}));
  expectRefusedBatch({"CNNConvolutionNode \"conv1\"", "is on device null", "on device cpu"},
                     {.sourceImages = {xs}, .sourceStates = {labels(2)}});
}

TEST_F(EncodeErrorTest, UnequalImages) {
  ImageBatch xs = images(1);
  xs.push_back(images(1, 2).front());
  expectRefusedBatch({"CNNConvolutionNode \"conv1\"", "alike", "1 x 1 x 2", "1 x 2 x 2"},
                     {.sourceImages = {xs}, .sourceStates = {labels(2)}});
}

TEST_F(EncodeErrorTest, ChannelsOfAnInput) {
  expectRefusedBatch({"CNNConvolutionNode \"conv1\"", "2 channels", "1"},
                     {.sourceImages = {images(2, 1, 1)}, .sourceStates = {labels(2)}});
}

TEST_F(EncodeErrorTest, Containers) {
  const Image container(
      device_, {.channelFormat = ImageFeatureChannelFormat::float32, .featureChannels = 2, .numberOfImages = 2});
  expectRefusedBatch({"NNImageNode \"x\" holds 2 images", "batch"},
                     {.sourceImages = {{container}}, .sourceStates = {labels(1)}});
}

TEST_F(EncodeErrorTest, TemporariesOfAnotherCommandBuffer) {
  CommandBuffer other = device_.makeCommandQueue().makeCommandBuffer();
  const ImageDescriptor descriptor{.channelFormat = ImageFeatureChannelFormat::float32, .featureChannels = 2};
  const TemporaryImage first(other, descriptor), second(other, descriptor);
  const ImageBatch xs = {first, second};
  expectRefusedBatch({"CNNConvolutionNode \"conv1\"", "command buffer"},
                     {.sourceImages = {xs}, .sourceStates = {labels(2)}});
  EXPECT_EQ(first.readCount(), 1u) << "what is refused reads nothing";
}

TEST_F(EncodeErrorTest, TemporariesWithoutReads) {
  CommandBuffer commands = device_.makeCommandQueue().makeCommandBuffer();
  const ImageDescriptor descriptor{.channelFormat = ImageFeatureChannelFormat::float32, .featureChannels = 2};
  const TemporaryImage image(commands, descriptor);
  image.setReadCount(0);
  expectRefused({"readCount of 0", "reads it 1 times"},
                [&] { graph_->encodeBatch(commands, {.sourceImages = {{image}}, .sourceStates = {labels(1)}}); });
}

TEST_F(EncodeErrorTest, StatesOfAnotherKind) {
  CommandBuffer commands = device_.makeCommandQueue().makeCommandBuffer();
  const CNNSoftMaxNode p({.source = x_});
  p.resultState().setExportFromGraph(true);
  NNGraph forward(device_, NNGraph::Arguments{.resultImage = p.resultImage()});
  std::vector<StateBatch> states;
  forward.encodeBatch(commands, {.sourceImages = {images(1)}, .destinationStates = &states});
  ASSERT_EQ(states.size(), 1u);
  expectRefused({"CNNLossNode \"loss\"", "CNNLossLabels"},
                [&] { graph_->encodeBatch(commands, {.sourceImages = {images(1)}, .sourceStates = states}); });
}

/// An object counts once in a batch, however often it is there: it is read twice, and that is no error.
TEST_F(EncodeErrorTest, OneImageTwiceInABatch) {
  CommandBuffer commands = device_.makeCommandQueue().makeCommandBuffer();
  const ImageDescriptor descriptor{.channelFormat = ImageFeatureChannelFormat::float32, .featureChannels = 2};
  const TemporaryImage image(commands, descriptor);
  const CNNSoftMaxNode p({.source = x_});
  NNGraph graph(device_, NNGraph::Arguments{.resultImage = p.resultImage()});
  EXPECT_EQ(graph.encodeBatch(commands, {.sourceImages = {{image, image}}}).size(), 2u);
  EXPECT_EQ(image.readCount(), 0u);
}

TEST_F(EncodeErrorTest, ExecuteAsync) {
  expectRefused({"executeAsync", "NNGraph \"net\"", "source image"},
                [&] { graph_->executeAsync({.sourceImages = {}, .completionHandler = {}}); });
}

}  // namespace
}  // namespace metalloid
