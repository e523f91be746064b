#include "graph/wiring.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace metalloid {
namespace {

using testing::expectOneGradient;
using testing::expectRefused;
using testing::input;

// --- Local normalizations

struct Defaults {
  float alpha, beta, delta;
};

template <class Node>
void expectParameters(const Node& node, const Defaults& expected) {
  EXPECT_EQ(node.alpha(), expected.alpha);
  EXPECT_EQ(node.beta(), expected.beta);
  EXPECT_EQ(node.delta(), expected.delta);
}

template <class Node>
void setParameters(const Node& node) {
  node.setAlpha(2);
  node.setBeta(0.75F);
  node.setDelta(3);
}

constexpr Defaults kChanged{2, 0.75F, 3};

TEST(LocalNormalizationNodesTest, Spatial) {
  const NNImageNode x = input("x"), g = input("g");
  CNNSpatialNormalizationNode node({.source = x});
  EXPECT_EQ(node.kernelWidth(), 5u);
  EXPECT_EQ(node.kernelHeight(), 5u);
  expectParameters(node, {1, 5, 1});
  EXPECT_EQ(CNNSpatialNormalizationNode({.source = x, .kernelSize = 3}).kernelHeight(), 3u);
  setParameters(node);
  node.setKernelWidth(7);
  node.setKernelHeight(9);
  const auto gradient =
      expectOneGradient<CNNSpatialNormalizationGradientNode>(node, "CNNSpatialNormalizationGradientNode", x);
  expectParameters(gradient, kChanged);
  EXPECT_EQ(gradient.kernelWidth(), 7u);
  EXPECT_EQ(gradient.kernelHeight(), 9u);
  const CNNSpatialNormalizationGradientNode byHand({.sourceGradient = g,
                                                    .sourceImage = x,
                                                    .gradientState = NNGradientStateNode(node.resultState()),
                                                    .kernelSize = 3});
  expectParameters(byHand, {1, 5, 1});
  EXPECT_EQ(byHand.kernelWidth(), 3u);
  expectRefused([&] { CNNSpatialNormalizationNode({.source = x, .kernelSize = 0}); }, "CNNSpatialNormalizationNode");
}

TEST(LocalNormalizationNodesTest, LocalContrast) {
  const NNImageNode x = input("x"), g = input("g");
  CNNLocalContrastNormalizationNode node({.source = x});
  EXPECT_EQ(node.kernelWidth(), 5u);
  EXPECT_EQ(node.kernelHeight(), 5u);
  expectParameters(node, {1, 0.5F, 0x1p-10F});
  EXPECT_EQ(node.p0(), 1);
  EXPECT_EQ(node.pm(), 0);
  EXPECT_EQ(node.ps(), 1);
  setParameters(node);
  node.setP0(4);
  node.setPm(5);
  node.setPs(6);
  node.setKernelWidth(3);
  node.setKernelHeight(3);
  const auto gradient = expectOneGradient<CNNLocalContrastNormalizationGradientNode>(
      node, "CNNLocalContrastNormalizationGradientNode", x);
  expectParameters(gradient, kChanged);
  EXPECT_EQ(gradient.p0(), 4);
  EXPECT_EQ(gradient.pm(), 5);
  EXPECT_EQ(gradient.ps(), 6);
  EXPECT_EQ(gradient.kernelWidth(), 3u);
  EXPECT_EQ(gradient.kernelHeight(), 3u);
  const CNNLocalContrastNormalizationGradientNode byHand({.sourceGradient = g,
                                                          .sourceImage = x,
                                                          .gradientState = NNGradientStateNode(node.resultState()),
                                                          .kernelWidth = 7,
                                                          .kernelHeight = 9});
  expectParameters(byHand, {0, 0.5F, 0x1p-10F});  // the documented alpha of a gradient made by hand
  EXPECT_EQ(byHand.p0(), 1);
  EXPECT_EQ(byHand.pm(), 0);
  EXPECT_EQ(byHand.ps(), 1);
  EXPECT_EQ(byHand.kernelWidth(), 7u);
  EXPECT_EQ(byHand.kernelHeight(), 9u);
}

TEST(LocalNormalizationNodesTest, CrossChannel) {
  const NNImageNode x = input("x");
  CNNCrossChannelNormalizationNode node({.source = x});
  EXPECT_EQ(node.kernelSizeInFeatureChannels(), 5u);
  expectParameters(node, {1, 5, 1});
  EXPECT_EQ(CNNCrossChannelNormalizationNode({.source = x, .kernelSize = 3}).kernelSizeInFeatureChannels(), 3u);
  node.setKernelSizeInFeatureChannels(7);
  const auto gradient =
      expectOneGradient<CNNCrossChannelNormalizationGradientNode>(node, "CNNCrossChannelNormalizationGradientNode", x);
  EXPECT_EQ(gradient.kernelSize(), 7u);
}

TEST(LocalNormalizationNodesTest, WindowsAreSquareWhenAGraphIsBuilt) {
  CNNSpatialNormalizationNode node({.source = input("x"), .kernelSize = 3});
  node.setKernelWidth(5);
  expectRefused([&] { NNGraph(Device::named("null"), {.resultImage = node.resultImage()}); },
                "CNNSpatialNormalizationNode");
}

// --- Instance, group and batch normalization

constexpr std::size_t kChannels = 4;

/// Scales by 1 and shifts by 0. With an update these become 3 and 1, on the device or on the host.
template <class Base, class States>
class DataSource : public Base {
 public:
  std::size_t numberOfFeatureChannels() const override { return kChannels; }
  std::string label() const override { return "norm"; }
  std::span<const float> gamma() override { return gammas; }
  std::span<const float> beta() override { return betas; }
  bool load() override { return ++loads > 0; }
  void purge() override {}

  CNNNormalizationGammaAndBetaState updateGammaAndBeta(CommandBuffer& commandBuffer, const States&) override {
    ++updates;
    const auto vectorOf = [&](float value) {
      const Vector vector(commandBuffer.device(), {.length = kChannels});
      vector.write(std::vector(kChannels, value));
      return vector;
    };
    return CNNNormalizationGammaAndBetaState({.gamma = vectorOf(3), .beta = vectorOf(1)});
  }
  bool updateGammaAndBeta(const States&) override {
    ++hostUpdates;
    gammas.assign(kChannels, 3);
    betas.assign(kChannels, 1);
    return true;
  }

  std::vector<float> gammas = std::vector<float>(kChannels, 1), betas = std::vector<float>(kChannels, 0);
  int loads = 0, updates = 0, hostUpdates = 0;
};

using InstanceSource = DataSource<CNNInstanceNormalizationDataSource, CNNInstanceNormalizationGradientStateBatch>;

struct GroupSource final : DataSource<CNNGroupNormalizationDataSource, CNNGroupNormalizationGradientStateBatch> {
  std::size_t numberOfGroups() const override { return 2; }
  void setNumberOfGroups(std::size_t) override {}
};

struct BatchSource final : DataSource<CNNBatchNormalizationDataSource, CNNBatchNormalizationState> {
  std::span<const float> mean() override { return means; }
  std::span<const float> variance() override { return variances; }
  std::vector<float> means = std::vector<float>(kChannels, 0), variances = std::vector<float>(kChannels, 1);
};

template <class Forward, class Gradient, class Source>
void checkTrained(const std::string& name) {
  SCOPED_TRACE(name);
  const NNImageNode x = input("x"), g = input("g");
  const auto source = std::make_shared<Source>();
  const Forward node({.source = x, .dataSource = source});
  EXPECT_EQ(node.trainingStyle(), NNTrainingStyle::UpdateDeviceGPU);
  EXPECT_EQ(node.label(), "") << "the data source's label is none of the node's";
  EXPECT_EQ(detail::implementation(NNFilterNode(node)).name(), name + "Node \"norm\"");
  EXPECT_EQ((expectOneGradient<Gradient>(node, name + "GradientNode", x).trainingStyle()),
            NNTrainingStyle::UpdateDeviceGPU);
  node.setTrainingStyle(NNTrainingStyle::UpdateDeviceCPU);
  auto gradient = expectOneGradient<Gradient>(node, name + "GradientNode", x);
  EXPECT_EQ(gradient.trainingStyle(), NNTrainingStyle::UpdateDeviceCPU);
  gradient.setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  EXPECT_EQ(gradient.trainingStyle(), NNTrainingStyle::UpdateDeviceNone);

  const NNGradientStateNode state(node.resultState());
  const Gradient byHand({.sourceGradient = g, .sourceImage = x, .gradientState = state});
  testing::expectReads(byHand, name + "GradientNode", {g, x}, {state});
  EXPECT_EQ(byHand.trainingStyle(), NNTrainingStyle::UpdateDeviceGPU);

  expectRefused([&] { Forward({.source = x, .dataSource = nullptr}); }, name + "Node");
  expectRefused([&] { Forward({.source = {}, .dataSource = source}); }, "NormalizationNode \"norm\" is nil");
  const NNGradientStateNode other(CNNSoftMaxNode({.source = x}).resultState());
  expectRefused([&] { Gradient({.sourceGradient = g, .sourceImage = x, .gradientState = other}); }, "CNNSoftMaxNode");
}

TEST(NormalizationNodesTest, DefaultsAndGradients) {
  checkTrained<CNNInstanceNormalizationNode, CNNInstanceNormalizationGradientNode, InstanceSource>(
      "CNNInstanceNormalization");
  checkTrained<CNNGroupNormalizationNode, CNNGroupNormalizationGradientNode, GroupSource>("CNNGroupNormalization");
  checkTrained<CNNBatchNormalizationNode, CNNBatchNormalizationGradientNode, BatchSource>("CNNBatchNormalization");
}

/// Statistics are from the batch or the data source as the flags say; automatically, when somebody reads the state.
TEST(NormalizationNodesTest, FlagsOfBatchNormalization) {
  using enum CNNBatchNormalizationFlags;
  const NNImageNode x = input("x");
  CNNBatchNormalizationNode node({.source = x, .dataSource = std::make_shared<BatchSource>()});
  EXPECT_EQ(node.flags(), Default);
  const auto calculates = [&](CNNBatchNormalizationFlags flags, bool trains) {
    node.setFlags(flags);
    EXPECT_EQ(node.flags(), flags);
    const Device device = Device::named("null");
    const NNFilterNode last = trains ? node.trainingGraph({.sourceGradient = input("g")}).front() : node;
    NNGraph graph(device, {.resultImage = last.resultImage()});
    CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
    const ImageBatch images{
        Image(device, {.channelFormat = ImageFeatureChannelFormat::float32, .width = 2, .featureChannels = kChannels})};
    graph.encodeBatch(commands, {.sourceImages = std::vector(trains ? 2 : 1, images)});
    const auto explained = commands.explain();
    return std::any_of(explained.begin(), explained.end(),
                       [](const Explanation& one) { return one.operation == "CNNBatchNormalizationStatistics"; });
  };
  EXPECT_FALSE(calculates(Default, false));
  EXPECT_TRUE(calculates(Default, true));
  EXPECT_TRUE(calculates(calculateStatisticsAlways, false));
  EXPECT_TRUE(calculates(calculateStatisticsAlways, true));
  EXPECT_FALSE(calculates(calculateStatisticsNever, false));
  EXPECT_FALSE(calculates(calculateStatisticsNever, true));
}

// --- Updates

class NormalizationUpdates : public ::testing::TestWithParam<Device> {
 protected:
  /// After a step with an update every later result is 3 times the former, plus 1.
  template <class Node, class Source>
  void check(NNTrainingStyle style) const {
    const Device& device = GetParam();
    const auto source = std::make_shared<Source>();
    const Node node({.source = input("x"), .dataSource = source});
    SCOPED_TRACE(detail::implementation(NNFilterNode(node)).name());
    node.setTrainingStyle(style);
    node.resultImage().setExportFromGraph(true);
    node.resultImage().setImageAllocator(Image::defaultAllocator());
    const bool isTrained = style != NNTrainingStyle::UpdateDeviceNone;
    NNGraph graph(device, {.resultImage = node.trainingGraph({.sourceGradient = input("g")}).front().resultImage(),
                           .resultImageIsNeeded = !isTrained});
    graph.format = ImageFeatureChannelFormat::float32;
    const auto step = [&] {
      const Image images(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                                  .width = 2,
                                  .featureChannels = kChannels,
                                  .numberOfImages = 2});
      images.write(std::vector<float>{1, 2, 4, 8, 0, 5, -3, 1, 7, -2, 6, 3, 2, 9, -5, 4});
      const ImageBatch batch = images.batchRepresentation();
      std::vector<ImageBatch> exported;
      testing::execute(device, [&](CommandBuffer& commands) {
        graph.encodeBatch(commands, {.sourceImages = {batch, batch}, .intermediateImages = &exported});
      });
      std::vector<float> all;
      for (const Image& image : exported.front()) {
        const auto values = image.read<float>();
        all.insert(all.end(), values.begin(), values.end());
      }
      return all;
    };
    const auto before = step(), after = step();
    EXPECT_EQ(source->updates, style == NNTrainingStyle::UpdateDeviceGPU ? 2 : 0) << "one for each batch";
    EXPECT_EQ(source->hostUpdates, style == NNTrainingStyle::UpdateDeviceCPU ? 2 : 0);
    for (std::size_t i = 0; i < before.size(); ++i) {
      // Each is rounded a few times, at most 8 in size.
      EXPECT_NEAR(after[i], isTrained ? 3 * before[i] + 1 : before[i], 8 * 8 * 0x1p-24) << i;
    }
    const int loads = source->loads;
    source->gammas.assign(kChannels, 0);
    source->betas.assign(kChannels, 5);
    graph.reloadFromDataSources();
    EXPECT_GT(source->loads, loads);
    EXPECT_EQ(step(), std::vector<float>(before.size(), 5));
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, NormalizationUpdates, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

TEST_P(NormalizationUpdates, OnTheDeviceOnTheHostAndNot) {
  using enum NNTrainingStyle;
  for (const auto style : {UpdateDeviceNone, UpdateDeviceCPU, UpdateDeviceGPU}) {
    check<CNNInstanceNormalizationNode, InstanceSource>(style);
    check<CNNGroupNormalizationNode, GroupSource>(style);
    check<CNNBatchNormalizationNode, BatchSource>(style);
  }
}

}  // namespace
}  // namespace metalloid
