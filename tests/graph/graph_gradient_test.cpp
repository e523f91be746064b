// Whole training graphs against central differences of their loss: for the image that comes in and for the weights of
// every convolution, fused and unfused. Everything between is smooth.

#include "graph/weights.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/metalloid.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::Weights;

constexpr auto kFloat32 = ImageFeatureChannelFormat::float32;
constexpr std::size_t kImages = 2, kSize = 6, kChannels = 4;

std::vector<float> draw(testing::Random& random, std::size_t count, double scale = 1) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.uniform(-scale, scale));
  return values;
}

class Statistics final : public CNNBatchNormalizationDataSource {
 public:
  std::size_t numberOfFeatureChannels() const override { return kChannels; }
  std::string label() const override { return "bn"; }
  std::span<const float> gamma() override { return gammas_; }
  std::span<const float> beta() override { return betas_; }
  std::span<const float> mean() override { return means_; }
  std::span<const float> variance() override { return variances_; }
  bool load() override { return true; }
  void purge() override {}

 private:
  std::vector<float> gammas_ = {1.5F, 0.5F, -1, 2}, betas_ = {0.1F, -0.2F, 0.3F, 0};
  std::vector<float> means_ = std::vector<float>(kChannels, 0), variances_ = std::vector<float>(kChannels, 1);
};

/// Makes the parts of a network, and remembers the weights.
struct Builder {
  NNImageNode convolve(const NNImageNode& source, std::size_t outputs, std::size_t kernel = 3, std::size_t stride = 1,
                       std::size_t inputs = kChannels) {
    sources.push_back(makeWeights({.kernelWidth = kernel,
                                   .kernelHeight = kernel,
                                   .inputFeatureChannels = inputs,
                                   .outputFeatureChannels = outputs,
                                   .strideInPixelsX = stride,
                                   .strideInPixelsY = stride}));
    return CNNConvolutionNode({.source = source, .weights = sources.back()}).resultImage();
  }
  NNImageNode connect(const NNImageNode& source, std::size_t width, std::size_t inputs, std::size_t outputs) {
    sources.push_back(makeWeights({.kernelWidth = width,
                                   .kernelHeight = width,
                                   .inputFeatureChannels = inputs,
                                   .outputFeatureChannels = outputs}));
    return CNNFullyConnectedNode({.source = source, .weights = sources.back()}).resultImage();
  }
  static NNImageNode bend(const NNImageNode& source) { return CNNNeuronTanHNode({.source = source}).resultImage(); }

  std::shared_ptr<Weights> makeWeights(const CNNConvolutionDescriptor& shape) {
    const std::size_t inputs = shape.kernelWidth * shape.kernelHeight * shape.inputFeatureChannels;
    return std::make_shared<Weights>(
        shape, draw(random, shape.outputFeatureChannels * inputs, 1 / std::sqrt(static_cast<double>(inputs))),
        draw(random, shape.outputFeatureChannels), "weights" + std::to_string(sources.size()));
  }

  testing::Random random{11};
  std::vector<std::shared_ptr<Weights>> sources;
};

struct Network {
  std::string name;
  std::function<NNImageNode(Builder&, const NNImageNode&)> build;
};

std::vector<Network> networks() {
  return {
      {"ConvolutionNeuronPooling",
       [](Builder& b, const NNImageNode& x) {
         const auto pooled = CNNPoolingAverageNode({.source = b.bend(b.convolve(x, 5)), .filterSize = 2}).resultImage();
         return b.bend(b.convolve(pooled, 3, 3, 1, 5));
       }},
      {"StridesAndL2Pooling",
       [](Builder& b, const NNImageNode& x) {
         const auto strided = b.convolve(x, kChannels, 3, 2);
         return CNNPoolingL2NormNode({.source = strided, .filterSize = 2, .stride = 1}).resultImage();
       }},
      {"BatchNormalizationBetweenConvolutions",
       [](Builder& b, const NNImageNode& x) {
         const auto normal = CNNBatchNormalizationNode(
                                 {.source = b.convolve(x, kChannels), .dataSource = std::make_shared<Statistics>()})
                                 .resultImage();
         return b.convolve(CNNNeuronSigmoidNode({.source = normal}).resultImage(), 2);
       }},
      {"Concatenation",
       [](Builder& b, const NNImageNode& x) {
         const auto left = b.bend(b.convolve(x, 4)), right = b.bend(b.convolve(x, 8, 1));
         return b.convolve(NNConcatenationNode({.sources = {left, right}}).resultImage(), 3, 1, 1, 12);
       }},
      {"ResidualArithmetic",
       [](Builder& b, const NNImageNode& x) {
         const auto y = b.bend(b.convolve(x, kChannels));
         const auto sum = NNAdditionNode({.leftSource = x, .rightSource = y}).resultImage();
         const auto product = NNMultiplicationNode({.leftSource = sum, .rightSource = y}).resultImage();
         return NNSubtractionNode({.leftSource = product, .rightSource = b.convolve(sum, kChannels, 1)}).resultImage();
       }},
      {"Upsampling",
       [](Builder& b, const NNImageNode& x) {
         const auto small = b.bend(b.convolve(x, kChannels, 3, 2));
         const auto smooth =
             CNNUpsamplingBilinearNode({.source = small, .integerScaleFactorX = 2, .integerScaleFactorY = 2})
                 .resultImage();
         const auto blocks =
             CNNUpsamplingNearestNode({.source = small, .integerScaleFactorX = 2, .integerScaleFactorY = 2})
                 .resultImage();
         return NNMultiplicationNode({.leftSource = smooth, .rightSource = blocks}).resultImage();
       }},
      {"LocalNormalization",
       [](Builder& b, const NNImageNode& x) {
         const auto across = CNNCrossChannelNormalizationNode({.source = b.convolve(x, kChannels)}).resultImage();
         return CNNSpatialNormalizationNode({.source = across}).resultImage();
       }},
      {"SoftMaxMeanAndDense",
       [](Builder& b, const NNImageNode& x) {
         const auto soft = CNNSoftMaxNode({.source = b.convolve(x, kChannels)}).resultImage();
         const auto dense = b.connect(soft, kSize, kChannels, 6);
         const auto reshaped =
             NNReshapeNode({.source = dense, .resultWidth = 1, .resultHeight = 3, .resultFeatureChannels = 2})
                 .resultImage();
         return NNReductionSpatialMeanNode({.source = CNNLogSoftMaxNode({.source = reshaped}).resultImage()})
             .resultImage();
       }},
  };
}

struct Case {
  Device device;
  Network network;
  bool allowFusion;
};

void PrintTo(const Case& c, std::ostream* stream) { *stream << c.device.name() << " " << c.network.name; }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Device& device : testing::computingDevices()) {
    for (const Network& network : networks()) {
      for (const bool allowFusion : {true, false}) all.push_back({device, network, allowFusion});
    }
  }
  return all;
}

std::string nameOf(const ::testing::TestParamInfo<Case>& info) {
  return testing::identifier(info.param.device) + "_" + info.param.network.name +
         (info.param.allowFusion ? "_fused" : "_unfused");
}

class GraphGradientTest : public ::testing::TestWithParam<Case> {
 protected:
  GraphGradientTest() {
    const NNImageNode x({.label = "x"});
    const NNImageNode y = GetParam().network.build(builder_, x);
    values_ = draw(builder_.random, kImages * kSize * kSize * kChannels);
    NNGraph forward(device_, {.resultImage = y});
    forward.format = kFloat32;
    forward.destinationImageAllocator = Image::defaultAllocator();
    ImageBatch results;
    testing::execute(device_, [&](CommandBuffer& commands) {
      results = forward.encodeBatch(commands, {.sourceImages = {inputs()}});
    });
    const Image& result = results.front();
    size_ = {result.width(), result.height(), result.featureChannels()};
    for (std::size_t i = 0; i < kImages; ++i)
      targets_.push_back(draw(builder_.random, size_.width * size_.height * size_.depth));

    const CNNLossNode loss(
        {.source = y,
         .lossDescriptor = {.lossType = CNNLossType::meanSquaredError, .reductionType = CNNReductionType::sum}});
    graph_.emplace(device_, NNGraph::Arguments{.resultImage = loss.trainingGraph().front().resultImage(),
                                               .allowFusion = GetParam().allowFusion});
    graph_->format = kFloat32;
    graph_->destinationImageAllocator = Image::defaultAllocator();
  }

  ImageBatch inputs() const {
    const Image container(device_, {.channelFormat = kFloat32,
                                    .width = kSize,
                                    .height = kSize,
                                    .featureChannels = kChannels,
                                    .numberOfImages = kImages});
    container.write(values_);
    return container.batchRepresentation();
  }

  /// Runs the training graph once: the loss of the batch, and the gradient for what comes in.
  double loss(std::vector<float>* gradient = nullptr) {
    CNNLossLabelsBatch labels;
    for (const auto& target : targets_)
      labels.emplace_back(device_, CNNLossDataDescriptor{.data = target, .size = size_});
    ImageBatch results;
    testing::execute(device_, [&](CommandBuffer& commands) {
      results = graph_->encodeBatch(commands, {.sourceImages = {inputs()}, .sourceStates = {labels}});
    });
    if (gradient) {
      for (const Image& image : results) {
        const auto part = image.read<float>();
        gradient->insert(gradient->end(), part.begin(), part.end());
      }
    }
    double sum = 0;
    for (const CNNLossLabels& label : labels) sum += label.lossImage().read<double>().front();
    return sum;
  }

  /// Compares some elements of `gradient` with differences of the loss that `values`, loaded by `load`, leads to.
  void compare(const std::vector<float>& gradient, std::vector<float>& values, const std::function<void()>& load,
               const std::string& what) {
    constexpr float kStep = 0x1p-6F;
    ASSERT_EQ(gradient.size(), values.size()) << what;
    float largest = 0;
    for (const float g : gradient) largest = std::max(largest, std::abs(g));
    EXPECT_GT(largest, 1e-3F) << what << " has no gradient";
    for (std::size_t i = 0; i < values.size(); i += std::max<std::size_t>(1, values.size() / 12)) {
      const float value = values[i];
      values[i] = value + kStep, load();
      const double above = loss();
      values[i] = value - kStep, load();
      const double below = loss();
      values[i] = value, load();
      // The curvature, and some roundings of each of the two losses.
      const double allowed = 2e-3 * largest + 4 * 0x1p-24 * (std::abs(above) + std::abs(below)) / (2 * kStep);
      EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), allowed) << what << ", element " << i;
    }
  }

  const Device& device_ = GetParam().device;
  Builder builder_;
  std::vector<float> values_;
  Size size_;
  std::vector<std::vector<float>> targets_;
  std::optional<NNGraph> graph_;
};

TEST_P(GraphGradientTest, InputAndWeights) {
  std::vector<float> gradient;
  loss(&gradient);
  compare(
      gradient, values_, [] {}, "x");
  // A step of gradient descent at rate 1 shows the gradient for each source's weights.
  for (const auto& source : builder_.sources) {
    const std::vector<float> before = source->values;
    source->rate = 1;
    loss();
    source->rate = 0;
    std::vector<float> after = source->live.weights().read<float>();
    for (std::size_t i = 0; i < after.size(); ++i) after[i] = before[i] - after[i];
    graph_->reloadFromDataSources();
    compare(
        after, source->values, [&] { graph_->reloadFromDataSources(); }, source->name);
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, GraphGradientTest, ::testing::ValuesIn(cases()), nameOf);

}  // namespace
}  // namespace metalloid
