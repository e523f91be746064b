// What goes into an encode of a graph and what comes out: the order of inputs and exports, read counts, formats,
// containers, other devices.

#include "graph/weights.hpp"
#include "graph/wiring.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"
#include "support/random.hpp"

#include <metalloid/metalloid.hpp>

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace metalloid {
namespace {

using testing::counting;
using testing::dense;
using testing::execute;
using testing::expectRefused;
using testing::imageOf;
using testing::input;
using testing::Weights;
using Labels = std::vector<std::string>;
using Values = std::vector<float>;

constexpr auto kFloat32 = ImageFeatureChannelFormat::float32;

Labels labelsOf(const std::vector<std::shared_ptr<Handle>>& handles) {
  Labels labels;
  for (const auto& handle : handles) labels.push_back(handle ? handle->label() : "nil");
  return labels;
}

// --- Orders ---------------------------------------------------------------------------------------------------------

Labels sourcesOf(const NNFilterNode& last) {
  return labelsOf(NNGraph(Device::named("null"), {.resultImage = last.resultImage()}).sourceImageHandles());
}

TEST(GraphHandles, InputsStandInTheOrderOfTheirFirstUse) {
  const NNImageNode x = input("x"), y = input("y"), z = input("z");
  const auto sum = [](const NNImageNode& a, const NNImageNode& b) {
    return NNAdditionNode({.leftSource = a, .rightSource = b});
  };
  EXPECT_EQ(sourcesOf(sum(x, y)), (Labels{"x", "y"}));
  EXPECT_EQ(sourcesOf(sum(y, x)), (Labels{"y", "x"}));
  EXPECT_EQ(sourcesOf(sum(x, x)), Labels{"x"}) << "each node once";
  // What is encoded first counts, not what stands to the left.
  const CNNNeuronReLUNode first({.source = y});
  EXPECT_EQ(sourcesOf(sum(x, first.resultImage())), (Labels{"y", "x"}));
  EXPECT_EQ(sourcesOf(sum(first.resultImage(), x)), (Labels{"y", "x"}));
  EXPECT_EQ(sourcesOf(sum(z, sum(sum(y, x).resultImage(), z).resultImage())), (Labels{"y", "x", "z"}));
  EXPECT_EQ(sourcesOf(sum(x, sum(y, x).resultImage())), (Labels{"y", "x"}));
  EXPECT_EQ(sourcesOf(NNConcatenationNode({.sources = {z, x, z, y}})), (Labels{"z", "x", "y"}));
}

TEST(GraphHandles, FusionChangesNoOrder) {
  const NNImageNode x = input("x"), y = input("y"), g = input("g");
  const CNNFullyConnectedNode layer({.source = y, .weights = dense(1, 1, {1}, {})});
  const CNNNeuronReLUNode relu({.source = layer.resultImage()});
  const NNAdditionNode sum({.leftSource = x, .rightSource = relu.resultImage()});
  const auto ends = sum.trainingGraph({.sourceGradient = g});
  std::vector<NNImageNode> results;
  for (const NNFilterNode& end : ends) results.push_back(end.resultImage());
  const Device device = Device::named("null");
  EXPECT_EQ(labelsOf(NNGraph(device, {.resultImages = results}).sourceImageHandles()),
            labelsOf(NNGraph(device, {.resultImages = results, .allowFusion = false}).sourceImageHandles()));
}

TEST(GraphHandles, NodesWithoutHandlesKeepTheirPlaces) {
  const NNImageNode x(NNImageNode::Arguments{});
  const NNAdditionNode sum({.leftSource = x, .rightSource = input("y")});
  sum.resultImage().setExportFromGraph(true);
  sum.resultState().setExportFromGraph(true);
  const NNGraph graph(Device::named("null"), {.resultImage = sum.resultImage()});
  EXPECT_EQ(labelsOf(graph.sourceImageHandles()), (Labels{"", "y"}));
  EXPECT_EQ(labelsOf(graph.intermediateImageHandles()), Labels{""});
  EXPECT_EQ(labelsOf(graph.resultStateHandles()), Labels{""});
  EXPECT_EQ(graph.resultHandle(), nullptr);
}

TEST(GraphHandles, LabelsStandInTheOrderOfTheirFirstUse) {
  const NNImageNode x = input("x");
  const CNNLossNode first({.source = x, .lossDescriptor = {}});
  const CNNLossNode second({.source = x, .lossDescriptor = {}});
  first.inputLabels().setHandle(input("first").handle());
  second.inputLabels().setHandle(input("second").handle());
  const NNGraph graph(Device::named("null"), {.resultImages = {second.resultImage(), first.resultImage()}});
  EXPECT_EQ(labelsOf(graph.sourceStateHandles()), (Labels{"second", "first"}));
}

TEST(GraphHandles, ExportsStandInTheOrderOfEncodingAndFurtherResultsAfterThem) {
  const auto named = [](const NNFilterNode& node, const std::string& label) {
    node.resultImage().setHandle(input(label).handle());
    node.resultImage().setExportFromGraph(true);
    if (node.resultState()) {
      node.resultState().setHandle(input(label + " state").handle());
      node.resultState().setExportFromGraph(true);
    }
  };
  const CNNNeuronReLUNode a({.source = input("x")});
  const CNNNeuronTanHNode b({.source = a.resultImage()});
  const CNNNeuronSigmoidNode c({.source = a.resultImage()});
  named(c, "c");
  named(a, "a");
  b.resultImage().setHandle(input("b").handle());
  const NNGraph graph(Device::named("null"), {.resultImages = {c.resultImage(), b.resultImage()}});
  EXPECT_EQ(labelsOf(graph.intermediateImageHandles()), (Labels{"a", "c", "b"}));
  EXPECT_EQ(labelsOf(graph.resultStateHandles()), (Labels{"a state", "c state"}));
  ASSERT_TRUE(graph.resultHandle());
  EXPECT_EQ(graph.resultHandle()->label(), "c");
}

// --- Encodes --------------------------------------------------------------------------------------------------------

class GraphEncodeTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  NNGraph graphOf(const NNFilterNode& last) const {
    NNGraph graph(device, {.resultImage = last.resultImage()});
    graph.format = kFloat32;
    return graph;
  }
  Image row(const Values& values) const { return imageOf(device, {1, values.size(), 1}, values); }
  TemporaryImage temporary(CommandBuffer& commands, const Values& values) const {
    CNNNeuron copy(device, {});
    return TemporaryImage(copy.encode(commands, {.sourceImage = row(values)}));
  }
  Values run(NNGraph& graph, const ImageBatch& sources) const {
    Image result;
    execute(device, [&](CommandBuffer& commands) { result = graph.encode(commands, {.sourceImages = sources}); });
    return result.read<float>();
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, GraphEncodeTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

CNNNeuronLinearNode scaled(const NNImageNode& source, float by) {
  return CNNNeuronLinearNode({.source = source, .a = by});
}

TEST_P(GraphEncodeTest, ExportedTemporariesCanBeReadOnce) {
  const auto a = scaled(input("x"), 2), b = scaled(a.resultImage(), 3), c = scaled(b.resultImage(), 5);
  a.resultImage().setExportFromGraph(true);
  b.resultImage().setExportFromGraph(true);
  NNGraph graph = graphOf(c);
  const Image readA = row({0, 0}), readB = row({0, 0});
  ImageBatch images;
  Image result;
  execute(device, [&](CommandBuffer& commands) {
    result = graph.encode(commands, {.sourceImages = {row({1, 2})}, .intermediateImages = &images});
    ASSERT_EQ(images.size(), 2u);
    for (const Image& image : images) EXPECT_EQ(TemporaryImage(image).readCount(), 1u);
    CNNNeuron copy(device, {});
    copy.encode(commands, {.sourceImage = images[0], .destinationImage = readA});
    copy.encode(commands, {.sourceImage = images[1], .destinationImage = readB});
    EXPECT_EQ(TemporaryImage(images[1]).readCount(), 0u);
  });
  EXPECT_FALSE(result.isTemporary());
  EXPECT_EQ(result.read<float>(), (Values{30, 60}));
  EXPECT_EQ(readA.read<float>(), (Values{2, 4}));
  EXPECT_EQ(readB.read<float>(), (Values{6, 12}));
}

TEST_P(GraphEncodeTest, AResultThatIsExportedCanBeReadTwice) {
  for (const bool isExported : {false, true}) {
    const auto a = scaled(input("x"), 2);
    a.resultImage().setExportFromGraph(isExported);
    NNGraph graph = graphOf(a);
    graph.destinationImageAllocator = TemporaryImage::defaultAllocator();
    execute(device, [&](CommandBuffer& commands) {
      ImageBatch images;
      const TemporaryImage result(graph.encode(commands, {.sourceImages = {row({1})}, .intermediateImages = &images}));
      EXPECT_EQ(result.readCount(), isExported ? 2u : 1u);
      EXPECT_EQ(images, isExported ? ImageBatch{result} : ImageBatch());
      result.setReadCount(0);
    });
  }
}

TEST_P(GraphEncodeTest, ExportedImagesOfTheirOwnAllocatorCanBeReadOnTheHost) {
  const auto a = scaled(input("x"), 2), b = scaled(a.resultImage(), 3);
  a.resultImage().setExportFromGraph(true);
  a.resultImage().setImageAllocator(Image::defaultAllocator());
  NNGraph graph = graphOf(b);
  ImageBatch images;
  execute(device, [&](CommandBuffer& commands) {
    graph.encode(commands, {.sourceImages = {row({1, 2})}, .intermediateImages = &images});
  });
  ASSERT_EQ(images.size(), 1u);
  EXPECT_EQ(images.front().read<float>(), (Values{2, 4}));
}

TEST_P(GraphEncodeTest, ExportedStatesAreTemporaryWhenTheGraphSaysSo) {
  const CNNDropoutNode dropout({.source = input("x")});
  dropout.resultState().setExportFromGraph(true);
  NNGraph graph = graphOf(dropout);
  for (const bool isTemporary : {false, true}) {
    graph.outputStateIsTemporary = isTemporary;
    execute(device, [&](CommandBuffer& commands) {
      StateBatch states;
      graph.encode(commands, {.sourceImages = {row({1, 2})}, .destinationStates = &states});
      ASSERT_EQ(states.size(), 1u);
      EXPECT_EQ(states.front().isTemporary(), isTemporary);
      EXPECT_EQ(states.front().readCount(), isTemporary ? 1u : 0u);
      if (isTemporary) states.front().setReadCount(0);
    });
  }
}

TEST_P(GraphEncodeTest, TheFirstResultIsReturnedAndTheOthersFollowTheExports) {
  const NNImageNode x = input("x");
  const auto a = scaled(x, 2), b = scaled(x, 3), c = scaled(a.resultImage(), 5);
  a.resultImage().setExportFromGraph(true);
  a.resultImage().setImageAllocator(Image::defaultAllocator());
  for (const auto& [first, second] : std::vector<std::pair<bool, bool>>{{true, true}, {true, false}, {false, true}}) {
    NNGraph graph(device, {.resultImages = {c.resultImage(), b.resultImage()}, .resultsAreNeeded = {first, second}});
    graph.format = kFloat32;
    EXPECT_EQ(graph.resultImageIsNeeded(), first);
    ImageBatch images;
    Image result;
    execute(device, [&](CommandBuffer& commands) {
      result = graph.encode(commands, {.sourceImages = {row({1})}, .intermediateImages = &images});
    });
    ASSERT_EQ(static_cast<bool>(result), first);
    if (first) {
      EXPECT_EQ(result.read<float>(), Values{10});
    }
    ASSERT_EQ(images.size(), second ? 2u : 1u);
    EXPECT_EQ(images[0].read<float>(), Values{2});
    if (second) {
      EXPECT_EQ(images[1].read<float>(), Values{3});
    }
    EXPECT_EQ(graph.plan().steps.size(), first && second ? 3u : 2u) << graph.planDescription();
  }
}

TEST_P(GraphEncodeTest, ATemporarySourceLosesOneReadForEachInput) {
  const NNImageNode x = input("x"), y = input("y");
  const auto a = scaled(x, 2);
  const NNAdditionNode sum({.leftSource = a.resultImage(), .rightSource = x});  // reads x twice
  NNGraph once = graphOf(sum);
  EXPECT_EQ(once.readCountForSourceImage(0), 1u);
  expectRefused([&] { static_cast<void>(once.readCountForSourceImage(1)); }, "no source image 1");
  expectRefused([&] { static_cast<void>(once.readCountForSourceState(0)); }, "no source state 0");
  NNGraph twice = graphOf(NNAdditionNode({.leftSource = sum.resultImage(), .rightSource = y}));
  Image result;
  execute(device, [&](CommandBuffer& commands) {
    const TemporaryImage image = temporary(commands, {1, 2});
    image.setReadCount(3);
    once.encode(commands, {.sourceImages = {image}});
    EXPECT_EQ(image.readCount(), 2u);
    result = twice.encode(commands, {.sourceImages = {image, image}});
    EXPECT_EQ(image.readCount(), 0u);
    const TemporaryImage another = temporary(commands, {1, 2});
    expectRefused(
        [&] {
          twice.encode(commands, {.sourceImages = {another, another}});
        },
        "readCount of 1, but the graph reads it 2 times");
    EXPECT_EQ(another.readCount(), 1u) << "what is refused reads nothing";
    another.setReadCount(0);
    expectRefused([&] { once.encode(commands, {.sourceImages = {another}}); },
                  "readCount of 0, but the graph reads it 1 times");
  });
  EXPECT_EQ(result.read<float>(), (Values{4, 8}));
}

TEST_P(GraphEncodeTest, WhatIsRefusedLeavesSourcesAsTheyWere) {
  const NNImageNode x = input("x");
  NNGraph graph = graphOf(NNReshapeNode(
      {.source = scaled(x, 2).resultImage(), .resultWidth = 5, .resultHeight = 1, .resultFeatureChannels = 1}));
  execute(device, [&](CommandBuffer& commands) {
    const TemporaryImage image = temporary(commands, {1, 2});
    expectRefused([&] { graph.encode(commands, {.sourceImages = {image}}); }, "NNReshapeNode");
    EXPECT_EQ(image.readCount(), 1u);
    image.setReadCount(0);
  });
}

TEST_P(GraphEncodeTest, WhatBecomesOfTheDescriptionAfterwardsDoesNotMatter) {
  const auto a = scaled(input("x"), 2), b = scaled(a.resultImage(), 3);
  b.resultImage().setHandle(input("b").handle());
  NNGraph graph = graphOf(b);
  for (const NNFilterNode& node : std::vector<NNFilterNode>{a, b}) {
    node.resultImage().setHandle(input("other").handle());
    node.resultImage().setExportFromGraph(true);
    node.resultState().setExportFromGraph(true);
    node.resultImage().setFormat(ImageFeatureChannelFormat::unorm8);
    node.setLabel("other");
  }
  EXPECT_TRUE(graph.intermediateImageHandles().empty());
  EXPECT_TRUE(graph.resultStateHandles().empty());
  ASSERT_TRUE(graph.resultHandle());
  EXPECT_EQ(graph.resultHandle()->label(), "b");
  EXPECT_EQ(run(graph, {row({5})}), Values{30});
}

// --- Formats --------------------------------------------------------------------------------------------------------

TEST_P(GraphEncodeTest, FormatsOfTheGraphAndOfNodes) {
  using enum ImageFeatureChannelFormat;
  const auto through = [&](ImageFeatureChannelFormat ofGraph, ImageFeatureChannelFormat ofNode) {
    const auto a = scaled(input("x"), 1), b = scaled(a.resultImage(), 1);
    a.resultImage().setFormat(ofNode);
    b.resultImage().setFormat(float32);
    NNGraph graph = graphOf(b);
    graph.format = ofGraph;
    return run(graph, {row({0.301F})}).front();
  };
  EXPECT_EQ(through(float32, none), 0.301F);
  EXPECT_EQ(through(float16, none), 1233 / 4096.0F);  // 11 bits
  EXPECT_EQ(through(float32, float16), 1233 / 4096.0F);
  EXPECT_EQ(through(float16, float32), 0.301F) << "the node's format counts";
  EXPECT_FLOAT_EQ(through(float32, unorm8), 77 / 255.0F);  // 76.755
  EXPECT_FLOAT_EQ(through(unorm8, none), 77 / 255.0F);

  NNGraph graph = graphOf(scaled(input("x"), 1));
  for (const auto format : {float16, float32, unorm8}) {
    graph.format = format;
    execute(device, [&](CommandBuffer& commands) {
      const Image result = graph.encode(commands, {.sourceImages = {row({1})}});
      EXPECT_EQ(result.featureChannelFormat(), format);
    });
  }
}

TEST(GraphFormats, ResultsTakeTheFormatOfTheirFirstSourceWhenTheyAreMade) {
  const NNImageNode x = input("x"), y = input("y");
  x.setFormat(kFloat32);
  const NNAdditionNode left({.leftSource = x, .rightSource = y}), right({.leftSource = y, .rightSource = x});
  EXPECT_EQ(left.resultImage().format(), kFloat32);
  EXPECT_EQ(right.resultImage().format(), ImageFeatureChannelFormat::none);
  y.setFormat(kFloat32);
  EXPECT_EQ(right.resultImage().format(), ImageFeatureChannelFormat::none) << "later changes stay where they are made";
}

// --- Containers -----------------------------------------------------------------------------------------------------

struct Normalization final : CNNBatchNormalizationDataSource {
  std::size_t numberOfFeatureChannels() const override { return 4; }
  std::string label() const override { return "norm"; }
  std::span<const float> gamma() override { return {}; }
  std::span<const float> beta() override { return {}; }
  std::span<const float> mean() override { return {}; }
  std::span<const float> variance() override { return {}; }
  bool load() override { return true; }
  void purge() override {}
};

/// Filters of every family on an image of 4 x 4 x 4.
std::vector<NNFilterNode> filtersOn(const NNImageNode& x) {
  const auto weights = std::make_shared<Weights>(
      CNNConvolutionDescriptor{
          .kernelWidth = 3, .kernelHeight = 3, .inputFeatureChannels = 4, .outputFeatureChannels = 4},
      counting(3 * 3 * 4 * 4, -72), Values{});
  NNAdditionNode cut({.leftSource = x, .rightSource = x});  // its state has a mask
  cut.setMaximumValue(0.5F);
  const auto batchNormalization = std::make_shared<Normalization>();
  return {CNNConvolutionNode({.source = x, .weights = weights}),
          CNNConvolutionTransposeNode({.source = x, .weights = weights}),
          CNNNeuronTanHNode({.source = x}),
          CNNPoolingMaxNode({.source = x, .filterSize = 2}),
          CNNPoolingL2NormNode({.source = x, .filterSize = 3, .stride = 1}),
          CNNSpatialNormalizationNode({.source = x}),
          CNNCrossChannelNormalizationNode({.source = x}),
          CNNBatchNormalizationNode({.source = x, .dataSource = batchNormalization}),
          CNNSoftMaxNode({.source = x}),
          CNNDropoutNode({.source = x}),
          CNNUpsamplingBilinearNode({.source = x, .integerScaleFactorX = 2, .integerScaleFactorY = 2}),
          NNReshapeNode({.source = x, .resultWidth = 2, .resultHeight = 4, .resultFeatureChannels = 8}),
          NNReductionSpatialMeanNode({.source = x}),
          NNConcatenationNode({.sources = {x, x}}),
          cut};
}

/// The images of a container have the results, and the gradients, of a batch, wherever its images lie.
TEST_P(GraphEncodeTest, AContainerIsABatch) {
  testing::Random random(4);
  const Image container(
      device, {.channelFormat = kFloat32, .width = 4, .height = 4, .featureChannels = 4, .numberOfImages = 3});
  Values values(3 * 4 * 4 * 4);
  for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
  container.write(values);
  const ImageBatch inOneArray = container.batchRepresentation();
  ImageBatch inSeveral;
  for (const Image& image : inOneArray) inSeveral.push_back(imageOf(device, {4, 4, 4}, image.read<float>()));
  for (const NNFilterNode& node : filtersOn(input("x"))) {
    SCOPED_TRACE(detail::implementation(node).name());
    const NNFilterNode end = node.trainingGraph().front();  // with the result as its own gradient
    NNGraph together = graphOf(end);
    Image whole;
    execute(device, [&](CommandBuffer& commands) { whole = together.encode(commands, {.sourceImages = {container}}); });
    EXPECT_EQ(whole.numberOfImages(), 3u);
    for (const ImageBatch& images : {inOneArray, inSeveral}) {
      NNGraph graph = graphOf(end);
      ImageBatch batch;
      execute(device,
              [&](CommandBuffer& commands) { batch = graph.encodeBatch(commands, {.sourceImages = {images}}); });
      ASSERT_EQ(batch.size(), 3u);
      Values each;
      for (const Image& image : batch) {
        const Values one = image.read<float>();
        each.insert(each.end(), one.begin(), one.end());
      }
      EXPECT_EQ(whole.read<float>(), each);
    }
    CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
    expectRefused([&] { together.encodeBatch(commands, {.sourceImages = {{container}}}); },
                  "holds 3 images, but in a batch each holds one");
  }
}

/// So have the parameters, where nothing but them is trained.
TEST_P(GraphEncodeTest, AContainerTrainsAsABatchDoes) {
  const Image container(device, {.channelFormat = kFloat32, .width = 2, .featureChannels = 1, .numberOfImages = 3});
  container.write(counting(6));
  const ImageBatch inOneArray = container.batchRepresentation();
  ImageBatch inSeveral;
  for (const Image& image : inOneArray) inSeveral.push_back(row(image.read<float>()));
  const auto trained = [&](const std::function<void(NNGraph&, CommandBuffer&)>& encode) {
    const auto weights = std::make_shared<Weights>(
        CNNConvolutionDescriptor{
            .kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = 1, .outputFeatureChannels = 1},
        Values{0}, Values{});
    weights->rate = 1;
    const CNNConvolutionNode node({.source = input("x"), .weights = weights});
    const NNFilterNode end = node.trainingGraph({.sourceGradient = input("g")}).front();
    NNGraph graph(device, {.resultImage = end.resultImage(), .resultImageIsNeeded = false});
    graph.format = kFloat32;
    execute(device, [&](CommandBuffer& commands) { encode(graph, commands); });
    return weights->live.weights().read<float>();
  };
  const Values expected{-(0 + 1 + 4 + 9 + 16 + 25)};  // each image is its own gradient
  for (const ImageBatch& images : {inOneArray, inSeveral}) {
    EXPECT_EQ(trained([&](NNGraph& graph, CommandBuffer& commands) {
                graph.encodeBatch(commands, {.sourceImages = {images, images}});
              }),
              expected);
  }
  EXPECT_EQ(trained([&](NNGraph& graph, CommandBuffer& commands) {
              graph.encode(commands, {.sourceImages = {container, container}});
            }),
            expected);
}

// --- Batches --------------------------------------------------------------------------------------------------------

/// However a graph takes a batch through its kernels, each image has its own reads, and each its own state.
TEST_P(GraphEncodeTest, ABatchIsCountedImageByImage) {
  const auto a = scaled(input("x"), 2);
  const CNNPoolingMaxNode b({.source = a.resultImage(), .filterSize = 1});
  const auto c = scaled(b.resultImage(), 3);
  b.resultImage().setExportFromGraph(true);
  b.resultState().setExportFromGraph(true);
  NNGraph graph = graphOf(c);
  ImageBatch results;
  const Image copy = row({0, 0});
  execute(device, [&](CommandBuffer& commands) {
    CNNNeuron identity(device, {});
    identity.destinationImageAllocator = TemporaryImage::defaultAllocator();
    const auto sources = identity.encodeBatch(commands, {.sourceImages = {row({1, 2}), row({3, 4}), row({5, 6})}});
    TemporaryImage(sources[1]).setReadCount(2);
    std::vector<ImageBatch> images;
    std::vector<StateBatch> states;
    results = graph.encodeBatch(
        commands, {.sourceImages = {sources}, .intermediateImages = &images, .destinationStates = &states});
    EXPECT_EQ(TemporaryImage(sources[0]).readCount(), 0u);
    EXPECT_EQ(TemporaryImage(sources[1]).readCount(), 1u);
    EXPECT_EQ(TemporaryImage(sources[2]).readCount(), 0u);
    expectRefused([&] { graph.encodeBatch(commands, {.sourceImages = {sources}}); }, "readCount of 0");
    EXPECT_EQ(TemporaryImage(sources[1]).readCount(), 1u);
    TemporaryImage(sources[1]).setReadCount(0);
    ASSERT_EQ(images.size(), 1u);
    ASSERT_EQ(images.front().size(), 3u);
    for (const Image& image : images.front()) EXPECT_EQ(TemporaryImage(image).readCount(), 1u);
    identity.encode(commands, {.sourceImage = images.front()[2], .destinationImage = copy});
    EXPECT_EQ(TemporaryImage(images.front()[2]).readCount(), 0u);
    EXPECT_EQ(TemporaryImage(images.front()[1]).readCount(), 1u);
    for (const Image& image : {images.front()[0], images.front()[1]}) TemporaryImage(image).setReadCount(0);
    ASSERT_EQ(states.size(), 1u);
    ASSERT_EQ(states.front().size(), 3u);
    EXPECT_NE(states.front()[0], states.front()[1]);
  });
  EXPECT_EQ(copy.read<float>(), (Values{10, 12}));
  const Image last = results[2];
  results.clear();
  EXPECT_EQ(last.read<float>(), (Values{30, 36})) << "what one image of a batch needs outlives the others";
}

/// Code of the caller's that a graph calls is given one image, and one state for each image, as in a batch of one.
TEST_P(GraphEncodeTest, CallersSeeTheImagesOfABatchOneByOne) {
  struct Weight final : NNLossCallback {
    float scalarWeight(const Image& source, const Image& destination) override {
      images = {source.numberOfImages(), destination.numberOfImages()};
      return 1;
    }
    std::vector<std::size_t> images;
  };
  struct Same final : NNPadding {
    NNPaddingMethod paddingMethod() const override { return NNPaddingMethod::custom; }
    std::string label() const override { return "same"; }
    ImageDescriptor destinationImageDescriptor(const ImageBatch& sources, const StateBatch&, Kernel&,
                                               const ImageDescriptor& suggested) override {
      images = {sources.front().numberOfImages(), suggested.numberOfImages};
      return suggested;
    }
    std::vector<std::size_t> images;
  };
  struct Instance final : CNNInstanceNormalizationDataSource {
    std::size_t numberOfFeatureChannels() const override { return 1; }
    std::string label() const override { return "norm"; }
    std::span<const float> gamma() override { return {}; }
    std::span<const float> beta() override { return {}; }
    bool load() override { return true; }
    void purge() override {}
    CNNNormalizationGammaAndBetaState updateGammaAndBeta(
        CommandBuffer&, const CNNInstanceNormalizationGradientStateBatch& batch) override {
      states = batch.size();
      return {};
    }
    std::size_t states = 0;
  };
  const auto weight = std::make_shared<Weight>();
  const auto same = std::make_shared<Same>();
  const auto norm = std::make_shared<Instance>();
  const CNNInstanceNormalizationNode first({.source = input("x"), .dataSource = norm});
  const auto second = scaled(first.resultImage(), 2);
  second.setPaddingPolicy(same);
  const NNForwardLossNode loss({.source = second.resultImage(), .labels = input("t"), .lossDescriptor = {}});
  loss.setPropertyCallBack(weight);
  const NNFilterNode end = loss.trainingGraph().front();
  NNGraph graph = graphOf(end);
  execute(device, [&](CommandBuffer& commands) {
    const ImageBatch images{row({1, 2}), row({3, 4}), row({5, 6})};
    EXPECT_EQ(graph.encodeBatch(commands, {.sourceImages = {images, images}}).size(), 3u);
  });
  EXPECT_EQ(weight->images, (std::vector<std::size_t>{1, 1}));
  EXPECT_EQ(same->images, (std::vector<std::size_t>{1, 1}));
  EXPECT_EQ(norm->states, 3u);
}

/// What a policy sets of the kernel holds for every image of a batch, even a clip rectangle of one image.
TEST_P(GraphEncodeTest, AClipRectangleOfAPolicyIsForEachImage) {
  struct OnePixel final : NNPadding {
    NNPaddingMethod paddingMethod() const override { return NNPaddingMethod::custom; }
    ImageDescriptor destinationImageDescriptor(const ImageBatch&, const StateBatch&, Kernel& kernel,
                                               const ImageDescriptor& suggested) override {
      dynamic_cast<CNNKernel&>(kernel).clipRect = {{0, 0, 0}, {1, 1, 1}};
      ImageDescriptor size = suggested;
      size.width = 1;
      return size;
    }
  };
  const CNNDropoutNode a({.source = input("x"), .keepProbability = 0.5F});
  const auto b = scaled(a.resultImage(), 2);
  a.setPaddingPolicy(std::make_shared<OnePixel>());
  const auto ends = b.trainingGraph({.sourceGradient = input("g")});
  NNGraph graph = graphOf(ends.front());
  ImageBatch gradients;
  execute(device, [&](CommandBuffer& commands) {
    gradients = graph.encodeBatch(
        commands, {.sourceImages = {{row({1, 2}), row({3, 4}), row({5, 6})}, {row({1}), row({1}), row({1})}}});
  });
  ASSERT_EQ(gradients.size(), 3u);
  for (const Image& gradient : gradients) {
    const Values values = gradient.read<float>();
    ASSERT_EQ(values.size(), 2u);
    EXPECT_TRUE(values[0] == 0 || values[0] == 4) << values[0];  // dropped, or 2 / keepProbability
    EXPECT_EQ(values[1], 0);
  }
}

// --- executeAsync ---------------------------------------------------------------------------------------------------

TEST_P(GraphEncodeTest, ExecuteAsyncCallsItsHandlerWithTheResult) {
  NNGraph graph = graphOf(scaled(input("x"), 2));
  std::promise<std::pair<Image, std::optional<Error>>> promise;
  auto future = promise.get_future();
  const Image returned = graph.executeAsync(
      {.sourceImages = {row({1, 2})}, .completionHandler = [&](const Image& image, const std::optional<Error>& error) {
         promise.set_value({image, error});
       }});
  const auto [image, error] = future.get();
  EXPECT_FALSE(error);
  EXPECT_EQ(image, returned);
  EXPECT_EQ(image.read<float>(), (Values{2, 4}));
  EXPECT_EQ(graph.executeAsync({.sourceImages = {row({3})}, .completionHandler = {}}).read<float>(), Values{6});
}

TEST_P(GraphEncodeTest, ExecuteAsyncNeedsSourcesAndAResult) {
  const auto weights = dense(1, 1, {1}, {});
  const CNNFullyConnectedNode node({.source = input("x"), .weights = weights});
  NNGraph graph = graphOf(node);
  expectRefused([&] { graph.executeAsync({.sourceImages = {}, .completionHandler = {}}); }, "needs a source image");
  expectRefused(
      [&] {
        graph.executeAsync({.sourceImages = {row({1}), row({1})}, .completionHandler = {}});
      },
      "1 source images, but 2 are given");
  NNGraph training(device, {.resultImage = node.trainingGraph().front().resultImage(), .resultImageIsNeeded = false});
  expectRefused([&] { training.executeAsync({.sourceImages = {row({1})}, .completionHandler = {}}); },
                "whose result is needed");
}

// --- Other devices --------------------------------------------------------------------------------------------------

/// Weights that a copy for another device has of its own.
class CopiedWeights final : public Weights {
 public:
  using Weights::Weights;
  std::shared_ptr<CNNConvolutionDataSource> copy(const Device&) override {
    last = std::make_shared<Weights>(shape, values, terms, name + " copy");
    last->rate = rate;
    return last;
  }
  std::shared_ptr<Weights> last;
};

TEST_P(GraphEncodeTest, ACopyForAnotherDeviceTrainsItsOwnData) {
  const auto weights = std::make_shared<CopiedWeights>(CNNConvolutionDescriptor{}, Values{2}, Values{}, "w");
  weights->shape.kernelWidth = weights->shape.kernelHeight = 1;
  weights->rate = 0.5F;
  const CNNConvolutionNode node({.source = input("x"), .weights = weights});
  node.setTrainingStyle(NNTrainingStyle::UpdateDeviceCPU);
  NNGraph graph = graphOf(node.trainingGraph().front());
  graph.label = "net";
  const Device other = Device::named(device.name() == "reference" ? "cpu" : "reference");
  NNGraph copy = graph.copy(other);
  EXPECT_EQ(copy.device(), other);
  EXPECT_EQ(copy.label, "net");
  EXPECT_EQ(copy.format, kFloat32);
  ASSERT_TRUE(weights->last);
  Image result;
  execute(other, [&](CommandBuffer& commands) {
    result = copy.encode(commands, {.sourceImages = {imageOf(other, {1, 1, 1}, Values{3})}});
  });
  EXPECT_EQ(result.read<float>(), Values{12});  // the result 6 as its own gradient, times the weight
  EXPECT_EQ(weights->last->values, Values{2 - 0.5F * 18});
  EXPECT_EQ(weights->values, Values{2});
  EXPECT_EQ(run(graph, {row({3})}), Values{12}) << "the original has learnt nothing";
  CommandBuffer commands = other.makeCommandQueue().makeCommandBuffer();
  expectRefused([&] { graph.encode(commands, {.sourceImages = {row({3})}}); },
                "but the graph is on device " + device.name());
}

TEST_P(GraphEncodeTest, ACopyForTheSameDeviceSharesParameters) {
  const auto weights = dense(1, 1, {2}, {});
  NNGraph graph = graphOf(CNNFullyConnectedNode({.source = input("x"), .weights = weights}));
  NNGraph copy = graph.copy();
  EXPECT_EQ(weights->loads, 1);
  weights->values = {5};
  graph.reloadFromDataSources();
  EXPECT_EQ(run(copy, {row({3})}), Values{15});
}

}  // namespace
}  // namespace metalloid
