// Archives of graphs: what comes back computes the same bits, and what is damaged is refused.

#include "formats/expect_error.hpp"
#include "graph/weights.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"
#include "support/normalization_sources.hpp"
#include "support/random.hpp"

#include <metalloid/metalloid.hpp>

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::execute;
using testing::expectError;
using testing::makeImage;
using testing::Weights;

constexpr auto kFloat32 = ImageFeatureChannelFormat::float32;
constexpr std::size_t kBatch = 3, kClasses = 4;

std::vector<std::byte> archiveOf(const NNGraph& graph) {
  Archiver archiver;
  graph.encode(archiver);
  return archiver.finish();
}
NNGraph read(std::span<const std::byte> bytes, const Device& device) {
  Unarchiver coder(bytes);
  NNGraph graph(coder, device);
  EXPECT_TRUE(coder.atEnd());
  return graph;
}
NNGraph again(const NNGraph& graph) { return read(archiveOf(graph), graph.device()); }

NNImageNode input(const char* label) { return NNImageNode({.label = label}); }

std::vector<float> draw(testing::Random& random, std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
  return values;
}

std::shared_ptr<Weights> layer(std::size_t side, std::size_t inputs, std::size_t outputs, std::string label) {
  testing::Random random(testing::seedOf(label));
  return std::make_shared<Weights>(
      CNNConvolutionDescriptor{
          .kernelWidth = side, .kernelHeight = side, .inputFeatureChannels = inputs, .outputFeatureChannels = outputs},
      draw(random, side * side * inputs * outputs), draw(random, outputs), std::move(label));
}

std::shared_ptr<testing::BatchNormalizationSource> normalization(std::size_t channels) {
  testing::Random random(channels);
  auto source = std::make_shared<testing::BatchNormalizationSource>(
      testing::NormalizationValues{.channels = channels,
                                   .gamma = draw(random, channels),
                                   .beta = draw(random, channels),
                                   .mean = draw(random, channels),
                                   .variance = std::vector<float>(channels, 0.5F),
                                   .epsilon = 0.01F});
  source->name = "bn";
  return source;
}

/// Convolution, pooling, two branches that are concatenated, normalization, convolution, soft-max.
struct Network {
  NNImageNode x = input("x");
  std::shared_ptr<Weights> first = layer(3, 1, 4, "conv1"), left = layer(1, 4, 4, "left"),
                           right = layer(3, 4, 3, "right"), last = layer(4, 7, kClasses, "fc1");
  CNNConvolutionNode conv1{CNNConvolutionNode::Arguments{.source = x, .weights = first}};
  CNNNeuronReLUNode relu{{.source = conv1.resultImage(), .a = 0.25F}};
  CNNPoolingMaxNode pool{{.source = relu.resultImage(), .filterSize = 2}};
  CNNConvolutionNode leftNode{CNNConvolutionNode::Arguments{.source = pool.resultImage(), .weights = left}};
  CNNConvolutionNode rightNode{CNNConvolutionNode::Arguments{.source = pool.resultImage(), .weights = right}};
  NNConcatenationNode both{{.sources = {leftNode.resultImage(), rightNode.resultImage()}}};
  CNNBatchNormalizationNode bn{
      CNNBatchNormalizationNode::Arguments{.source = both.resultImage(), .dataSource = normalization(7)}};
  CNNNeuronTanHNode tanh{{.source = bn.resultImage()}};

  NNFilterNode inference() const {
    const CNNFullyConnectedNode fc(CNNFullyConnectedNode::Arguments{.source = tanh.resultImage(), .weights = last});
    return CNNSoftMaxNode({.source = fc.resultImage()});
  }
  NNFilterNode loss() const {
    const CNNDropoutNode dropout({.source = tanh.resultImage(), .keepProbability = 0.5F, .seed = 7});
    const CNNFullyConnectedNode fc(CNNFullyConnectedNode::Arguments{.source = dropout.resultImage(), .weights = last});
    return CNNLossNode({.source = fc.resultImage(),
                        .lossDescriptor = {.lossType = CNNLossType::softMaxCrossEntropy,
                                           .reductionType = CNNReductionType::sum,
                                           .weight = 1.0F / kBatch}});
  }
};

ImageBatch inputs(const Device& device) {
  testing::Random random(3);
  ImageBatch batch;
  for (std::size_t i = 0; i < kBatch; ++i) batch.push_back(testing::imageOf(device, {8, 8, 1}, draw(random, 64)));
  return batch;
}

CNNLossLabelsBatch labels(const Device& device) {
  CNNLossLabelsBatch batch;
  for (std::size_t i = 0; i < kBatch; ++i) {
    std::vector<float> one(kClasses);
    one[i % kClasses] = 1;
    batch.push_back(CNNLossLabels(device, CNNLossDataDescriptor{.data = one, .size = {1, 1, kClasses}}));
  }
  return batch;
}

void append(std::vector<float>& to, const std::vector<float>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

/// Everything that an encode gives, one after another.
std::vector<float> results(NNGraph& graph, bool isTrained) {
  const Device device = graph.device();
  const ImageBatch xs = inputs(device);
  const CNNLossLabelsBatch ts = labels(device);
  ImageBatch result;
  std::vector<ImageBatch> images;
  std::vector<StateBatch> states;
  execute(device, [&](CommandBuffer& commands) {
    result = graph.encodeBatch(commands,
                               {.sourceImages = {xs},
                                .sourceStates = isTrained ? std::vector<StateBatch>{ts} : std::vector<StateBatch>{},
                                .intermediateImages = &images,
                                .destinationStates = &states});
  });
  std::vector<float> all;
  for (const Image& image : result) append(all, image.read<float>());
  for (const ImageBatch& batch : images) {
    for (const Image& image : batch) append(all, image.read<float>());
  }
  for (const StateBatch& batch : states) {
    const CNNConvolutionGradientState state(batch.front());
    append(all, state.gradientForWeights().read<float>());
    append(all, state.gradientForBiases().read<float>());
  }
  if (isTrained) {
    for (const CNNLossLabels& one : ts) append(all, one.lossImage().read<float>());
  }
  return all;
}

NNGraph graphOf(const Device& device, const NNFilterNode& last, bool isNeeded = true) {
  NNGraph graph(device, NNGraph::Arguments{.resultImage = last.resultImage(), .resultImageIsNeeded = isNeeded});
  graph.format = kFloat32;
  return graph;
}

class GraphArchiveTest : public ::testing::TestWithParam<Device> {};

TEST_P(GraphArchiveTest, InferenceHasTheSameBits) {
  const Network network;
  NNGraph graph = graphOf(GetParam(), network.inference());
  graph.label = "net";
  graph.options = KernelOptions::allowReducedPrecision;
  graph.outputStateIsTemporary = true;
  EXPECT_NE(graph.planDescription().find("in place"), std::string::npos) << graph.planDescription();
  EXPECT_NE(graph.planDescription().find(" + CNNNeuronReLUNode"), std::string::npos) << graph.planDescription();
  NNGraph copy = again(graph);
  EXPECT_EQ(copy, graph);
  EXPECT_EQ(copy.label, "net");
  EXPECT_EQ(copy.format, kFloat32);
  EXPECT_TRUE(copy.outputStateIsTemporary);
  EXPECT_TRUE(copy.resultImageIsNeeded());
  EXPECT_EQ(copy.planDescription(), graph.planDescription());
  EXPECT_EQ(archiveOf(copy), archiveOf(graph));
  const auto expected = results(graph, false);
  EXPECT_EQ(expected.size(), kBatch * kClasses);
  EXPECT_EQ(results(copy, false), expected);
  EXPECT_EQ(copy.planDescription(), graph.planDescription()) << "sizes and places of images are the same too";
  // Archived after an encode it is the same network.
  NNGraph later = again(graph);
  EXPECT_EQ(results(later, false), expected);
}

TEST_P(GraphArchiveTest, TrainingHasTheSameBits) {
  const Network network;
  const auto loss = network.loss();
  network.conv1.resultState().setExportFromGraph(true);
  network.pool.resultImage().setExportFromGraph(true);
  network.pool.resultImage().setImageAllocator(Image::defaultAllocator());
  const auto ends = loss.trainingGraph();
  ASSERT_EQ(ends.size(), 1u);
  for (const bool isNeeded : {true, false}) {
    NNGraph graph = graphOf(GetParam(), ends.front(), isNeeded);
    NNGraph copy = again(graph);
    EXPECT_EQ(copy.resultImageIsNeeded(), isNeeded);
    EXPECT_EQ(copy.planDescription(), graph.planDescription());
    const auto first = results(graph, true);
    EXPECT_EQ(results(copy, true), first);
    // The masks of the dropout go on where the archive was made.
    NNGraph middle = again(graph);
    const auto second = results(graph, true);
    EXPECT_NE(second, first);
    EXPECT_EQ(results(copy, true), second);
    EXPECT_EQ(results(middle, true), second);
  }
}

TEST_P(GraphArchiveTest, ParametersAreThoseInUseAndStay) {
  const Network network;
  network.last->rate = 0.5F;
  NNGraph training = graphOf(GetParam(), network.loss().trainingGraph().front(), false);
  const auto before = results(training, true);  // and an update of fc1
  EXPECT_EQ(network.last->updates, 1);
  NNGraph copy = again(training);
  const auto after = results(copy, true);
  EXPECT_NE(after, before);
  EXPECT_EQ(network.last->updates, 1) << "no data source is asked";
  copy.reloadFromDataSources();
  // The dropout draws anew, so that two encodes differ; what was trained does not come back to what it was.
  NNGraph reloaded = again(training);
  reloaded.reloadFromDataSources();
  EXPECT_EQ(results(reloaded, true), after);
}

TEST_P(GraphArchiveTest, CopiesOfWhatWasRead) {
  const Network network;
  NNGraph graph = graphOf(GetParam(), network.inference());
  const NNGraph read = again(graph);
  NNGraph shared = read.copy();
  const auto expected = results(graph, false);
  EXPECT_EQ(results(shared, false), expected);
  const NNGraph there = read.copy(Device::named("null"));
  EXPECT_EQ(there.device(), Device::named("null"));
  NNGraph back = there.copy(GetParam());
  EXPECT_EQ(results(back, false), expected);
}

INSTANTIATE_TEST_SUITE_P(Devices, GraphArchiveTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

// --- What travels ----------------------------------------------------------------------------------------------------

const Device kNull = Device::named("null");  // where nothing is computed

std::vector<std::string> labelsOf(const std::vector<std::shared_ptr<Handle>>& handles) {
  std::vector<std::string> all;
  for (const auto& handle : handles) all.push_back(handle->label());
  return all;
}

TEST(GraphArchiveContentTest, Handles) {
  const NNImageNode x = input("x"), y = input("y");
  CNNSoftMaxNode p({.source = x}), q({.source = y});
  p.resultImage().setHandle(input("p").handle());
  p.resultImage().setExportFromGraph(true);
  p.resultState().setHandle(input("state of p").handle());
  p.resultState().setExportFromGraph(true);
  const NNAdditionNode sum(NNAdditionNode::Arguments{.leftSource = p.resultImage(), .rightSource = q.resultImage()});
  const CNNLossNode loss({.source = sum.resultImage(), .lossDescriptor = {}});
  loss.inputLabels().setHandle(input("labels").handle());
  loss.resultImage().setHandle(input("result").handle());
  const NNGraph graph(kNull, NNGraph::SeveralArguments{.resultImages = {loss.resultImage(), q.resultImage()}});
  const NNGraph copy = again(graph);
  EXPECT_EQ(labelsOf(copy.sourceImageHandles()), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(labelsOf(copy.sourceStateHandles()), (std::vector<std::string>{"labels"}));
  EXPECT_EQ(labelsOf(copy.intermediateImageHandles()), (std::vector<std::string>{"p", ""}));
  EXPECT_EQ(labelsOf(copy.resultStateHandles()), (std::vector<std::string>{"state of p"}));
  ASSERT_TRUE(copy.resultHandle());
  EXPECT_EQ(copy.resultHandle()->label(), "result");
  EXPECT_EQ(again(NNGraph(kNull, NNGraph::Arguments{.resultImage = q.resultImage()})).resultHandle(), nullptr);
}

TEST(GraphArchiveContentTest, FormatsAndAllocators) {
  const CNNSoftMaxNode p({.source = input("x")});
  p.resultImage().setFormat(ImageFeatureChannelFormat::unorm8);
  p.resultImage().setExportFromGraph(true);
  p.resultImage().setImageAllocator(Image::defaultAllocator());
  const CNNSoftMaxNode q({.source = p.resultImage()});
  NNGraph copy = again(NNGraph(kNull, NNGraph::Arguments{.resultImage = q.resultImage()}));
  CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
  ImageBatch exported;
  copy.encode(commands, {.sourceImages = {makeImage(kNull, {1, 1, 2})}, .intermediateImages = &exported});
  ASSERT_EQ(exported.size(), 1u);
  EXPECT_EQ(exported.front().descriptor().channelFormat, ImageFeatureChannelFormat::unorm8);
  EXPECT_FALSE(exported.front().isTemporary());
}

TEST(GraphArchiveContentTest, AnAllocatorOfTheCallersIsRefused) {
  struct Own final : ImageAllocator {
    Image image(CommandBuffer& commandBuffer, const ImageDescriptor& descriptor, const Kernel& kernel) override {
      return Image::defaultAllocator()->image(commandBuffer, descriptor, kernel);
    }
  };
  CNNSoftMaxNode p({.source = input("x")});
  p.setLabel("p");
  p.resultImage().setImageAllocator(std::make_shared<Own>());
  const NNGraph graph(kNull, NNGraph::Arguments{.resultImage = p.resultImage()});
  expectError(ErrorCode::unsupported, {"allocator of result of CNNSoftMaxNode \"p\""}, [&] { archiveOf(graph); });
}

TEST(GraphArchiveContentTest, StandsAmongOtherObjects) {
  const NNGraph graph(kNull, NNGraph::Arguments{.resultImage = Network().inference().resultImage()});
  Archiver archiver;
  CNNNeuron(kNull, NNNeuronDescriptor()).encode(archiver);
  static_cast<const Kernel&>(graph).encode(archiver);  // through the base too
  CNNSoftMax(kNull).encode(archiver);
  Unarchiver coder(archiver.finish());
  EXPECT_EQ(coder.nextClassName(), "CNNNeuron");
  EXPECT_NO_THROW(CNNNeuron(coder, kNull));
  EXPECT_EQ(coder.nextClassName(), "NNGraph");
  EXPECT_EQ(NNGraph(coder, kNull).planDescription(), graph.planDescription());
  EXPECT_NO_THROW(CNNSoftMax(coder, kNull));
  EXPECT_EQ(coder.nextClassName(), "");
}

/// Filters of every node class with its gradient go into an archive and come back with the plan as it was.
TEST(GraphArchiveContentTest, EveryNodeClass) {
  const NNImageNode x = input("x");
  const std::vector<float> slopes(16, 0.5F);
  const auto instance =
      std::make_shared<testing::InstanceNormalizationSource>(testing::NormalizationValues{.channels = 16});
  const auto group =
      std::make_shared<testing::GroupNormalizationSource>(testing::NormalizationValues{.channels = 16, .groups = 4});
  using Binary = NNBinaryArithmeticNode::Arguments;
  const std::vector<NNFilterNode> nodes = {
      NNAdditionNode(Binary{.leftSource = x, .rightSource = x}),
      NNSubtractionNode(Binary{.leftSource = x, .rightSource = x}),
      NNMultiplicationNode(Binary{.leftSource = x, .rightSource = x}),
      CNNConvolutionNode(CNNConvolutionNode::Arguments{.source = x, .weights = layer(1, 16, 16, "c")}),
      CNNFullyConnectedNode(CNNFullyConnectedNode::Arguments{.source = x, .weights = layer(4, 16, 16, "f")}),
      CNNConvolutionTransposeNode(
          CNNConvolutionTransposeNode::Arguments{.source = x, .weights = layer(1, 16, 16, "t")}),
      CNNBatchNormalizationNode(CNNBatchNormalizationNode::Arguments{.source = x, .dataSource = normalization(16)}),
      CNNInstanceNormalizationNode(CNNInstanceNormalizationNode::Arguments{.source = x, .dataSource = instance}),
      CNNGroupNormalizationNode(CNNGroupNormalizationNode::Arguments{.source = x, .dataSource = group}),
      CNNSpatialNormalizationNode(CNNSpatialNormalizationNode::Arguments{.source = x}),
      CNNLocalContrastNormalizationNode(CNNLocalContrastNormalizationNode::Arguments{.source = x}),
      CNNCrossChannelNormalizationNode(CNNCrossChannelNormalizationNode::Arguments{.source = x}),
      CNNDropoutNode(CNNDropoutNode::Arguments{.source = x}),
      CNNNeuronReLUNode({.source = x}),
      CNNNeuronPReLUNode({.source = x, .aData = slopes}),
      CNNPoolingMaxNode(CNNPoolingMaxNode::Arguments{.source = x, .filterSize = 2}),
      CNNPoolingAverageNode(CNNPoolingAverageNode::Arguments{.source = x, .filterSize = 2}),
      CNNPoolingL2NormNode(CNNPoolingL2NormNode::Arguments{.source = x, .filterSize = 2}),
      CNNDilatedPoolingMaxNode(CNNDilatedPoolingMaxNode::Arguments{.source = x, .filterSize = 2}),
      CNNSoftMaxNode({.source = x}),
      CNNLogSoftMaxNode({.source = x}),
      CNNUpsamplingNearestNode(
          CNNUpsamplingNearestNode::Arguments{.source = x, .integerScaleFactorX = 2, .integerScaleFactorY = 2}),
      CNNUpsamplingBilinearNode(
          CNNUpsamplingBilinearNode::Arguments{.source = x, .integerScaleFactorX = 2, .integerScaleFactorY = 2}),
      NNConcatenationNode({.sources = {x, x}}),
      NNReshapeNode({.source = x, .resultWidth = 2, .resultHeight = 8, .resultFeatureChannels = 16}),
      NNReductionSpatialMeanNode({.source = x}),
      NNForwardLossNode(NNForwardLossNode::Arguments{.source = x, .labels = x, .lossDescriptor = {}}),
  };
  const auto check = [](const NNFilterNode& last) {
    const NNGraph graph(kNull, NNGraph::Arguments{.resultImage = last.resultImage()});
    NNGraph copy = again(graph);
    EXPECT_EQ(copy.planDescription(), graph.planDescription());
    EXPECT_EQ(archiveOf(copy), archiveOf(graph));
    NNGraph original = graph;
    // Both size and encode the same.
    CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
    const Image image = makeImage(kNull, {4, 4, 16});
    const CNNLossLabels one(kNull, CNNLossDataDescriptor{.data = std::vector<float>(4 * 4 * 16), .size = {4, 4, 16}});
    const StateBatch states = graph.sourceStateHandles().empty() ? StateBatch() : StateBatch{one};
    const Image result = original.encode(commands, {.sourceImages = {image}, .sourceStates = states});
    EXPECT_EQ(copy.encode(commands, {.sourceImages = {image}, .sourceStates = states}).descriptor(),
              result.descriptor());
  };
  for (const NNFilterNode& node : nodes) {
    SCOPED_TRACE(node.label());
    const NNInitialGradientNode ones({.source = node.resultImage()});
    for (const NNFilterNode& end : ones.trainingGraph()) check(end);
  }
  check(NNDivisionNode(Binary{.leftSource = x, .rightSource = x}));
  check(CNNLossNode({.source = x, .lossDescriptor = {}}));
  check(NNReductionRowMinNode({.source = x}));
  check(NNReductionRowMaxNode({.source = x}));
  check(NNReductionRowMeanNode({.source = x}));
  check(NNReductionRowSumNode({.source = x}));
  check(NNReductionColumnMinNode({.source = x}));
  check(NNReductionColumnMaxNode({.source = x}));
  check(NNReductionColumnMeanNode({.source = x}));
  check(NNReductionColumnSumNode({.source = x}));
  check(NNReductionFeatureChannelsMinNode({.source = x}));
  check(NNReductionFeatureChannelsMaxNode({.source = x}));
  check(NNReductionFeatureChannelsMeanNode({.source = x}));
  check(NNReductionFeatureChannelsSumNode({.source = x}));
  check(NNReductionFeatureChannelsArgumentMinNode({.source = x}));
  check(NNReductionFeatureChannelsArgumentMaxNode({.source = x}));
}

// --- What is damaged -------------------------------------------------------------------------------------------------

/// Small, but with a neuron that is fused, a concatenation in place, a gradient, a state and exports. That each
/// kernel's own settings are checked is tested with the kernel.
std::vector<std::byte> smallArchive() {
  const NNImageNode x = input("x");
  const CNNConvolutionNode first(CNNConvolutionNode::Arguments{.source = x, .weights = layer(1, 1, 4, "a")});
  const CNNNeuronReLUNode relu({.source = first.resultImage()});
  const CNNBatchNormalizationNode second(
      CNNBatchNormalizationNode::Arguments{.source = x, .dataSource = normalization(1)});
  const NNConcatenationNode both({.sources = {relu.resultImage(), second.resultImage()}});
  both.resultImage().setStopGradient(true);
  const CNNSoftMaxNode last({.source = both.resultImage()});
  last.resultImage().setExportFromGraph(true);
  last.resultState().setExportFromGraph(true);
  const auto ends = last.trainingGraph({.sourceGradient = input("g")});
  return archiveOf(NNGraph(kNull, NNGraph::Arguments{.resultImage = ends.front().resultImage()}));
}

/// Recomputes the checksum (FNV-1a, as the format has it), so that damage reaches what is read.
void seal(std::vector<std::byte>& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i + 8 < bytes.size(); ++i)
    hash = (hash ^ static_cast<std::uint64_t>(bytes[i])) * 0x100000001b3u;
  for (std::size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<std::byte>(hash >> (8 * i));
}

void decode(std::span<const std::byte> bytes) {
  Unarchiver coder(bytes);
  NNGraph(coder, kNull);
}

TEST(DamagedGraphArchiveTest, CutAnywhere) {
  const auto bytes = smallArchive();
  constexpr std::size_t kSmallest = 28;  // magic and checksum
  for (std::size_t length = kSmallest; length < bytes.size(); ++length) {
    SCOPED_TRACE(length);
    expectError(ErrorCode::malformedFile, {}, [&] { decode(std::span(bytes).first(length)); });
    auto sealed = bytes;
    sealed.resize(length);
    seal(sealed);
    expectError(ErrorCode::malformedFile, {}, [&] { decode(sealed); });
  }
}

TEST(DamagedGraphArchiveTest, WhateverByteIsWrong) {
  const auto bytes = smallArchive();
  const Image x = makeImage(kNull, {2, 2, 1}), g = makeImage(kNull, {2, 2, 5});
  constexpr unsigned kChanges[] = {0x01, 0xff, 0x02, 0x80};
  int accepted = 0, refused = 0;
  for (std::size_t position = 0; position + 8 < bytes.size(); ++position) {
    auto forged = bytes;
    forged[position] ^= static_cast<std::byte>(kChanges[position % std::size(kChanges)]);
    seal(forged);
    std::optional<NNGraph> graph;
    try {
      Unarchiver coder(forged);
      graph.emplace(coder, kNull);
      ++accepted;  // another value of a setting
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::malformedFile) << "byte " << position << ": " << error.what();
      ++refused;
      continue;
    }
    // What it reads as may be another network, which encodes or says why not.
    CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
    try {
      graph->encode(commands, {.sourceImages = {x, g}});
    } catch (const Error&) {
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, 0);
}

TEST(DamagedGraphArchiveTest, AnotherClass) {
  Archiver archiver;
  CNNSoftMax(kNull).encode(archiver);
  const auto bytes = archiver.finish();
  expectError(ErrorCode::malformedFile, {"CNNSoftMax", "NNGraph was asked for"}, [&] { decode(bytes); });
}

/// The records of a graph without their kernels, and with kernels that no node has.
TEST(DamagedGraphArchiveTest, KernelsThatAreMissingOrNone) {
  const NNGraph graph(kNull, NNGraph::Arguments{.resultImage = CNNSoftMaxNode({.source = input("x")}).resultImage()});
  const auto bytes = archiveOf(graph);
  Archiver alone;
  CNNSoftMax softMax(kNull);
  softMax.encode(alone);
  const std::size_t record = alone.finish().size() - 28;
  auto without = bytes;
  without.resize(bytes.size() - record);
  seal(without);
  expectError(ErrorCode::malformedFile, {"CNNSoftMaxNode"}, [&] { decode(without); });

  const auto withInstead = [&](const Kernel& kernel) {
    Archiver archiver;
    kernel.encode(archiver);
    const auto other = archiver.finish();
    auto forged = without;
    forged.resize(without.size() - 8);
    forged.insert(forged.end(), other.begin() + 20, other.end());
    seal(forged);
    return forged;
  };
  expectError(ErrorCode::malformedFile, {"CNNSoftMaxNode", "no node has a MatrixNeuron"},
              [&] { decode(withInstead(MatrixNeuron(kNull))); });
  expectError(ErrorCode::malformedFile, {"CNNSoftMaxNode", "CNNAdd does not read 1 images"},
              [&] { decode(withInstead(CNNAdd(kNull))); });
  EXPECT_NO_THROW(decode(withInstead(CNNLogSoftMax(kNull))));
}

}  // namespace
}  // namespace metalloid
