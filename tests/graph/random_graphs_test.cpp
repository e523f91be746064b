// Random networks and their training graphs: what fusion, places in storage and orders of encoding leave out or move
// changes no result, no export and no trained weight beyond roundings.

#include "graph/weights.hpp"
#include "graph/wiring.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"
#include "support/random.hpp"

#include <metalloid/metalloid.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace metalloid {
namespace {

using testing::Random;
using testing::Weights;
using Values = std::vector<float>;

constexpr auto kFloat32 = ImageFeatureChannelFormat::float32;
constexpr std::size_t kSize = 4, kImages = 2;
constexpr int kNetworks = 60;

struct Normalization final : CNNBatchNormalizationDataSource {
  explicit Normalization(std::size_t count) : channels(count), betas(count, 0.25F), variances(count, 0.5F) {}
  std::size_t numberOfFeatureChannels() const override { return channels; }
  std::string label() const override { return "norm"; }
  std::span<const float> gamma() override { return {}; }
  std::span<const float> beta() override { return betas; }
  std::span<const float> mean() override { return betas; }
  std::span<const float> variance() override { return variances; }
  float epsilon() const override { return 0.125F; }
  bool load() override { return true; }
  void purge() override {}
  std::size_t channels;
  Values betas, variances;
};

Values draw(Random& random, std::size_t count, double scale = 1) {
  Values values(count);
  for (float& value : values) value = static_cast<float>(random.uniform(-scale, scale));
  return values;
}

/// The same network for the same seed: up to 12 filters on images of 4 x 4 pixels, any of which may be exported, keep
/// gradients from going on, or be read several times.
class Network {
 public:
  /// Exported images are made by `allocator`.
  explicit Network(std::uint64_t seed, const std::shared_ptr<ImageAllocator>& allocator = Image::defaultAllocator())
      : random_(seed) {
    images_.push_back({testing::input("x"), 4});
    const std::size_t filters = 3 + random_.below(10);
    NNFilterNode last;
    for (std::size_t i = 0; i < filters; ++i) {
      const auto [filter, channels] = make();
      if (random_.below(5) == 0) {
        filter.resultImage().setExportFromGraph(true);
        filter.resultImage().setImageAllocator(allocator);
      }
      if (i + 1 < filters && random_.below(12) == 0) filter.resultImage().setStopGradient(true);
      images_.push_back({filter.resultImage(), channels});
      last = filter;
    }
    for (const NNFilterNode& end : last.trainingGraph()) results.push_back(end.resultImage());
    if (random_.coin()) results.push_back(last.resultImage());
  }

  std::vector<NNImageNode> results;
  std::vector<std::shared_ptr<Weights>> weights;

 private:
  struct Made {
    NNImageNode image;
    std::size_t channels;
  };

  /// Mostly one of the last few.
  const Made& any() {
    const std::size_t back = std::min(images_.size(), random_.below(4) == 0 ? images_.size() : std::size_t{3});
    return images_[images_.size() - 1 - random_.below(back)];
  }
  /// Another of as many channels, or the same.
  const Made& like(const Made& other) {
    for (int tries = 0; tries < 4; ++tries) {
      const Made& found = any();
      if (found.channels == other.channels) return found;
    }
    return other;
  }

  std::pair<NNFilterNode, std::size_t> make() {
    const auto [x, channels] = any();
    switch (random_.below(10)) {
      case 0:
      case 1: {
        const std::size_t outputs = 4 + 4 * random_.below(2);
        weights.push_back(std::make_shared<Weights>(
            CNNConvolutionDescriptor{.kernelWidth = 3,
                                     .kernelHeight = 3,
                                     .inputFeatureChannels = channels,
                                     .outputFeatureChannels = outputs},
            draw(random_, 9 * channels * outputs, 1 / std::sqrt(9.0 * static_cast<double>(channels))),
            draw(random_, outputs), "conv" + std::to_string(weights.size())));
        weights.back()->rate = 0x1p-10F;
        return {CNNConvolutionNode({.source = x, .weights = weights.back()}), outputs};
      }
      case 2:
        return {CNNNeuronTanHNode({.source = x}), channels};
      case 3:
        return {CNNNeuronSigmoidNode({.source = x}), channels};
      case 4:
        return {CNNBatchNormalizationNode({.source = x, .dataSource = std::make_shared<Normalization>(channels)}),
                channels};
      case 5:
        return {NNAdditionNode({.leftSource = x, .rightSource = like({x, channels}).image}), channels};
      case 6:
        return {NNSubtractionNode({.leftSource = x, .rightSource = like({x, channels}).image}), channels};
      case 7: {
        const Made& other = any();
        if (channels + other.channels > 32) return {CNNSoftMaxNode({.source = x}), channels};
        return {NNConcatenationNode({.sources = {x, other.image}}), channels + other.channels};
      }
      case 8:
        return {CNNPoolingAverageNode({.source = x, .filterSize = 3, .stride = 1}), channels};
      default:
        return {
            CNNNeuronTanHNode(
                {.source =
                     NNMultiplicationNode({.leftSource = x, .rightSource = like({x, channels}).image}).resultImage()}),
            channels};
    }
  }

  Random random_;
  std::vector<Made> images_;
};

/// Makes the images of a batch one by one, each with storage of its own.
struct OneByOne final : ImageAllocator {
  Image image(CommandBuffer& commandBuffer, const ImageDescriptor& descriptor, const Kernel& kernel) override {
    return Image::defaultAllocator()->image(commandBuffer, descriptor, kernel);
  }
};

void expectNear(const std::vector<Values>& a, const std::vector<Values>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    float largest = 1;
    for (const float value : b[i]) largest = std::max(largest, std::fabs(value));
    for (std::size_t e = 0; e < a[i].size(); ++e) {
      // Chains of at most 30 kernels, some of which magnify roundings: far below what a lost image would do.
      ASSERT_NEAR(a[i][e], b[i][e], 1e-4F * largest) << "output " << i << ", element " << e;
    }
  }
}

class RandomGraphsTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  /// Everything that two steps on the same images return, and the weights after them.
  std::vector<Values> outcome(const Network& network, bool allowFusion, std::size_t& steps,
                              bool isInOneArray = true) const {
    NNGraph graph(device, {.resultImages = network.results, .allowFusion = allowFusion});
    graph.format = kFloat32;
    steps = graph.plan().steps.size();
    Random random(8);
    const Image container(
        device,
        {.channelFormat = kFloat32, .width = kSize, .height = kSize, .featureChannels = 4, .numberOfImages = kImages});
    container.write(draw(random, kImages * kSize * kSize * 4));
    ImageBatch source = container.batchRepresentation();
    if (!isInOneArray) {
      for (Image& image : source) image = testing::imageOf(device, {kSize, kSize, 4}, image.read<float>());
    }
    std::vector<Values> all;
    for (int step = 0; step < 2; ++step) {
      std::vector<ImageBatch> images;
      testing::execute(device, [&](CommandBuffer& commands) {
        auto first = graph.encodeBatch(commands, {.sourceImages = {source}, .intermediateImages = &images});
        images.push_back(std::move(first));
      });
      for (const ImageBatch& batch : images) {
        for (const Image& image : batch) all.push_back(image.read<float>());
      }
    }
    const NNGraph::Memory memory = graph.memory();
    EXPECT_LE(memory.largestAlive, memory.used);
    EXPECT_LE(memory.used, memory.withoutReuse + 64 * steps) << "images begin at multiples of 64";
    for (const auto& weights : network.weights) {
      if (weights->live) all.push_back(weights->live.weights().read<float>());
    }
    return all;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, RandomGraphsTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

TEST_P(RandomGraphsTest, FusedOrNot) {
  int fused = 0;
  for (int number = 0; number < kNetworks; ++number) {
    SCOPED_TRACE("network " + std::to_string(number));
    const auto seed = static_cast<std::uint64_t>(number);
    std::size_t with = 0, without = 0;
    const auto a = outcome(Network(seed), true, with), b = outcome(Network(seed), false, without);
    fused += with < without ? 1 : 0;
    ASSERT_NO_FATAL_FAILURE(expectNear(a, b));
  }
  EXPECT_GT(fused, kNetworks / 3) << "too few networks have something to fuse";
}

/// A graph takes a batch that lies in one array through its kernels as one image, and others image by image.
TEST_P(RandomGraphsTest, InOneArrayOrNot) {
  for (int number = 0; number < kNetworks; ++number) {
    SCOPED_TRACE("network " + std::to_string(number));
    const auto seed = static_cast<std::uint64_t>(number);
    std::size_t steps = 0;
    const auto together = outcome(Network(seed), true, steps);
    const auto apart = outcome(Network(seed, std::make_shared<OneByOne>()), true, steps, /*isInOneArray=*/false);
    const auto mixed = outcome(Network(seed, std::make_shared<OneByOne>()), true, steps);
    ASSERT_NO_FATAL_FAILURE(expectNear(together, apart));
    ASSERT_NO_FATAL_FAILURE(expectNear(together, mixed));
  }
}

}  // namespace
}  // namespace metalloid
