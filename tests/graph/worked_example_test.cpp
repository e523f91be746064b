// The network that the specification works through: 1x1x8 images, batch of 4 -> fully connected (8 -> 5) -> ReLU ->
// batch normalization -> fully connected (5 -> 3) -> soft-max cross entropy, weight 1/4. Nodes, order, shapes, reads
// and numbers.

#include "core/command_buffer_implementation.hpp"
#include "graph/graph_node.hpp"
#include "graph/plan.hpp"
#include "graph/weights.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::dense;
using testing::Weights;

constexpr std::size_t kBatch = 4, kInputs = 8, kHidden = 5, kClasses = 3;
constexpr double kEpsilon = 0.001953125;
constexpr double kWeight = 1.0 / kBatch;
using Values = std::vector<double>;

class Normalization final : public CNNBatchNormalizationDataSource {
 public:
  Normalization(std::vector<float> gamma, std::vector<float> beta) : gammas(std::move(gamma)), betas(std::move(beta)) {}
  std::size_t numberOfFeatureChannels() const override { return gammas.size(); }
  std::string label() const override { return "bn"; }
  std::span<const float> gamma() override { return gammas; }
  std::span<const float> beta() override { return betas; }
  std::span<const float> mean() override { return {}; }
  std::span<const float> variance() override { return {}; }
  float epsilon() const override { return static_cast<float>(kEpsilon); }
  bool load() override { return true; }
  void purge() override {}
  CNNNormalizationGammaAndBetaState updateGammaAndBeta(CommandBuffer&, const CNNBatchNormalizationState&) override {
    ++updates;
    return {};
  }

  std::vector<float> gammas, betas;
  int updates = 0;
};

std::vector<float> draw(testing::Random& random, std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
  return values;
}

Values exact(const std::vector<float>& values) { return {values.begin(), values.end()}; }

/// The chain of the specification, in double precision.
struct Chain {
  Values x, t, w1, c1, gamma, beta, w2, c2;
  Values z1, a1, mean, variance, ahat, b1, z2, losses;
  Values g2, dw2, dc2, gb1, dgamma, dbeta, ga1, gz1, dw1, dc1, gx;

  static Values connect(const Values& in, const Values& w, const Values& c, std::size_t inputs, std::size_t outputs) {
    Values out(kBatch * outputs);
    for (std::size_t i = 0; i < kBatch; ++i) {
      for (std::size_t k = 0; k < outputs; ++k) {
        double sum = c[k];
        for (std::size_t j = 0; j < inputs; ++j) sum += w[k * inputs + j] * in[i * inputs + j];
        out[i * outputs + k] = sum;
      }
    }
    return out;
  }

  void forward() {
    z1 = connect(x, w1, c1, kInputs, kHidden);
    a1 = z1;
    for (double& a : a1) a = std::max(a, 0.0);
    mean.assign(kHidden, 0), variance.assign(kHidden, 0);
    ahat = b1 = Values(kBatch * kHidden);
    for (std::size_t c = 0; c < kHidden; ++c) {
      for (std::size_t i = 0; i < kBatch; ++i) mean[c] += a1[i * kHidden + c] / kBatch;
      for (std::size_t i = 0; i < kBatch; ++i) variance[c] += std::pow(a1[i * kHidden + c] - mean[c], 2) / kBatch;
      for (std::size_t i = 0; i < kBatch; ++i) {
        const std::size_t e = i * kHidden + c;
        ahat[e] = (a1[e] - mean[c]) / std::sqrt(variance[c] + kEpsilon);
        b1[e] = gamma[c] * ahat[e] + beta[c];
      }
    }
    z2 = connect(b1, w2, c2, kHidden, kClasses);
    losses.assign(kBatch, 0), g2 = Values(kBatch * kClasses);
    for (std::size_t i = 0; i < kBatch; ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < kClasses; ++k) sum += std::exp(z2[i * kClasses + k]);
      for (std::size_t k = 0; k < kClasses; ++k) {
        const std::size_t e = i * kClasses + k;
        g2[e] = kWeight * (std::exp(z2[e]) / sum - t[e]);
        losses[i] -= kWeight * t[e] * (z2[e] - std::log(sum));
      }
    }
  }

  static void backConnect(const Values& g, const Values& in, const Values& w, std::size_t inputs, std::size_t outputs,
                          Values& dw, Values& dc, Values& gin) {
    dw.assign(outputs * inputs, 0), dc.assign(outputs, 0), gin.assign(kBatch * inputs, 0);
    for (std::size_t i = 0; i < kBatch; ++i) {
      for (std::size_t k = 0; k < outputs; ++k) {
        dc[k] += g[i * outputs + k];
        for (std::size_t j = 0; j < inputs; ++j) {
          dw[k * inputs + j] += g[i * outputs + k] * in[i * inputs + j];
          gin[i * inputs + j] += g[i * outputs + k] * w[k * inputs + j];
        }
      }
    }
  }

  void backward() {
    backConnect(g2, b1, w2, kHidden, kClasses, dw2, dc2, gb1);
    dgamma.assign(kHidden, 0), dbeta.assign(kHidden, 0), ga1 = gz1 = Values(kBatch * kHidden);
    for (std::size_t c = 0; c < kHidden; ++c) {
      for (std::size_t i = 0; i < kBatch; ++i) {
        dgamma[c] += gb1[i * kHidden + c] * ahat[i * kHidden + c];
        dbeta[c] += gb1[i * kHidden + c];
      }
      for (std::size_t i = 0; i < kBatch; ++i) {
        const std::size_t e = i * kHidden + c;
        ga1[e] =
            gamma[c] / std::sqrt(variance[c] + kEpsilon) * (gb1[e] - dbeta[c] / kBatch - ahat[e] * dgamma[c] / kBatch);
        gz1[e] = z1[e] >= 0 ? ga1[e] : 0;
      }
    }
    backConnect(gz1, x, w1, kInputs, kHidden, dw1, dc1, gx);
  }
};

void expectNear(const Values& expected, const std::vector<float>& actual, const char* what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    // Chains of some forty roundings, the square root of a small variance among them.
    EXPECT_NEAR(expected[i], static_cast<double>(actual[i]), 400 * 0x1p-24 * largest) << what << "[" << i << "]";
  }
}

constexpr auto kFloat32 = ImageFeatureChannelFormat::float32;

class WorkedExampleTest : public ::testing::TestWithParam<Device> {
 protected:
  WorkedExampleTest() {
    testing::Random random(7);
    x_ = draw(random, kBatch * kInputs);
    ds1_ = dense(kInputs, kHidden, draw(random, kHidden * kInputs), draw(random, kHidden), "fc1");
    ds2_ = dense(kHidden, kClasses, draw(random, kClasses * kHidden), draw(random, kClasses), "fc2");
    dsB_ = std::make_shared<Normalization>(draw(random, kHidden), draw(random, kHidden));
    for (std::size_t i = 0; i < kBatch; ++i) {
      for (std::size_t k = 0; k < kClasses; ++k) t_.push_back(k == i % kClasses ? 1.0F : 0.0F);
    }
    chain_.x = exact(x_), chain_.t = exact(t_);
    chain_.w1 = exact(ds1_->values), chain_.c1 = exact(ds1_->terms);
    chain_.w2 = exact(ds2_->values), chain_.c2 = exact(ds2_->terms);
    chain_.gamma = exact(dsB_->gammas), chain_.beta = exact(dsB_->betas);
    chain_.forward();
    chain_.backward();

    x0_ = NNImageNode({.label = "hIn"});
    f1_ = CNNFullyConnectedNode({.source = x0_, .weights = ds1_});
    r_ = CNNNeuronReLUNode({.source = f1_.resultImage(), .a = 0});
    bn_ = CNNBatchNormalizationNode({.source = r_.resultImage(), .dataSource = dsB_});
    f2_ = CNNFullyConnectedNode({.source = bn_.resultImage(), .weights = ds2_});
    loss_ = CNNLossNode({.source = f2_.resultImage(),
                         .lossDescriptor = {.lossType = CNNLossType::softMaxCrossEntropy,
                                            .reductionType = CNNReductionType::sum,
                                            .weight = static_cast<float>(kWeight)}});
  }

  NNGraph graphOf(const NNImageNode& result, bool isNeeded = false) const {
    NNGraph graph(GetParam(), {.resultImage = result, .resultImageIsNeeded = isNeeded});
    graph.format = kFloat32;
    return graph;
  }
  ImageBatch inputs() const {
    const Image container(GetParam(),
                          {.channelFormat = kFloat32, .featureChannels = kInputs, .numberOfImages = kBatch});
    container.write(x_);
    return container.batchRepresentation();
  }
  CNNLossLabelsBatch labels() const {
    CNNLossLabelsBatch batch;
    for (std::size_t i = 0; i < kBatch; ++i) {
      const auto first = t_.begin() + static_cast<std::ptrdiff_t>(i * kClasses);
      batch.push_back(CNNLossLabels(
          GetParam(), CNNLossDataDescriptor{.data = {first, first + kClasses}, .size = {1, 1, kClasses}}));
    }
    return batch;
  }
  static std::vector<float> read(const ImageBatch& images) {
    std::vector<float> all;
    for (const Image& image : images) {
      const auto values = image.read<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  std::vector<float> x_, t_;
  std::shared_ptr<Weights> ds1_, ds2_;
  std::shared_ptr<Normalization> dsB_;
  Chain chain_;
  NNImageNode x0_;
  CNNFullyConnectedNode f1_, f2_;
  CNNNeuronReLUNode r_;
  CNNBatchNormalizationNode bn_;
  CNNLossNode loss_;
};

/// The generated nodes, in order, and what the handler is told.
TEST_P(WorkedExampleTest, GeneratedNodes) {
  struct Call {
    NNFilterNode gradientNode, inferenceNode;
    NNImageNode inferenceSource, gradientSource;
  };
  std::vector<Call> calls;
  const auto ends =
      loss_.trainingGraph({.nodeHandler = [&](const NNFilterNode& gradientNode, const NNFilterNode& inferenceNode,
                                              const NNImageNode& inferenceSource, const NNImageNode& gradientSource) {
        calls.push_back({gradientNode, inferenceNode, inferenceSource, gradientSource});
      }});
  ASSERT_EQ(calls.size(), 4u);
  EXPECT_NO_THROW(CNNFullyConnectedGradientNode(calls[0].gradientNode));
  EXPECT_EQ(calls[0].inferenceNode, f2_);
  EXPECT_EQ(calls[0].inferenceSource, bn_.resultImage());
  EXPECT_EQ(calls[0].gradientSource, loss_.resultImage());
  EXPECT_NO_THROW(CNNBatchNormalizationGradientNode(calls[1].gradientNode));
  EXPECT_EQ(calls[1].inferenceNode, bn_);
  EXPECT_EQ(calls[1].inferenceSource, r_.resultImage());
  EXPECT_EQ(calls[1].gradientSource, calls[0].gradientNode.resultImage());
  EXPECT_EQ(CNNNeuronGradientNode(calls[2].gradientNode).descriptor().neuronType, CNNNeuronType::reLU);
  EXPECT_EQ(CNNNeuronGradientNode(calls[2].gradientNode).descriptor().a, 0);
  EXPECT_EQ(calls[2].inferenceNode, r_);
  EXPECT_EQ(calls[2].inferenceSource, f1_.resultImage());
  EXPECT_EQ(calls[2].gradientSource, calls[1].gradientNode.resultImage());
  EXPECT_NO_THROW(CNNFullyConnectedGradientNode(calls[3].gradientNode));
  EXPECT_EQ(calls[3].inferenceNode, f1_);
  EXPECT_EQ(calls[3].inferenceSource, x0_);
  EXPECT_EQ(calls[3].gradientSource, calls[2].gradientNode.resultImage());
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends.front(), calls[3].gradientNode);
}

TEST_P(WorkedExampleTest, WithoutHandlerGradientsInheritHandles) {
  const auto ends = loss_.trainingGraph();
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends.front().resultImage().handle(), x0_.handle());
}

TEST_P(WorkedExampleTest, Handles) {
  const NNGraph graph = graphOf(loss_.trainingGraph().front().resultImage());
  ASSERT_EQ(graph.sourceImageHandles().size(), 1u);
  EXPECT_EQ(graph.sourceImageHandles().front(), x0_.handle());
  EXPECT_EQ(graph.sourceStateHandles().size(), 1u);
  EXPECT_TRUE(graph.intermediateImageHandles().empty());
  EXPECT_TRUE(graph.resultStateHandles().empty());
  EXPECT_FALSE(graph.resultImageIsNeeded());
  EXPECT_EQ(graph.readCountForSourceImage(0), 1u);
  EXPECT_EQ(graph.readCountForSourceState(0), 1u);
}

/// Steps 1 to 10 of the specification's table: what is encoded, in which order, of which shape, and how often each
/// image is read.
TEST_P(WorkedExampleTest, EncodedSteps) {
  NNGraph graph = graphOf(loss_.trainingGraph().front().resultImage());
  CommandBuffer commands = GetParam().makeCommandQueue().makeCommandBuffer();
  EXPECT_TRUE(graph.encodeBatch(commands, {.sourceImages = {inputs()}, .sourceStates = {labels()}}).empty());
  std::vector<std::string> names;
  for (const auto& record : detail::implementation(commands).records()) {
    std::visit([&](const auto& operation) { names.emplace_back(operation.kName); }, record.operation);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"CNNConvolution",                             // 1
                                             "CNNNeuron",                                  // 2
                                             "CNNBatchNormalizationStatistics",            // 3
                                             "CNNBatchNormalization",                      // 4
                                             "CNNConvolution",                             // 5
                                             "CNNLoss",                                    // 6
                                             "CNNConvolutionGradientForData",              // 7
                                             "CNNConvolutionGradientForWeightsAndBias",    // 7
                                             "CNNBatchNormalizationStatisticsGradient",    // 8a
                                             "CNNBatchNormalizationGradient",              // 8b
                                             "CNNNeuronGradient",                          // 9
                                             "CNNConvolutionGradientForWeightsAndBias"}))  // 10: no gradient for x
      << graph.planDescription();
  EXPECT_EQ(ds1_->updates, 1);
  EXPECT_EQ(ds2_->updates, 1);
  EXPECT_EQ(dsB_->updates, 1);
  EXPECT_EQ(graph.planDescription().find(" + CNNNeuron"), std::string::npos) << "Z1 has two readers";
}

/// Every number of the chain: images, loss, gradients of all parameters, on the way and at the end.
TEST_P(WorkedExampleTest, Numbers) {
  std::vector<NNFilterNode> gradients;
  const auto ends = loss_.trainingGraph({.nodeHandler = [&](const NNFilterNode& node, const auto&, const auto&,
                                                            const auto&) { gradients.push_back(node); }});
  for (const NNFilterNode& node :
       std::vector<NNFilterNode>{f1_, r_, bn_, f2_, loss_, gradients[0], gradients[1], gradients[2], gradients[3]}) {
    node.resultImage().setExportFromGraph(true);
    node.resultImage().setImageAllocator(Image::defaultAllocator());
  }
  for (const NNFilterNode& node : std::vector<NNFilterNode>{f1_, f2_, bn_}) node.resultState().setExportFromGraph(true);
  NNGraph graph = graphOf(ends.front().resultImage(), true);
  const auto t = labels();
  std::vector<ImageBatch> images;
  std::vector<StateBatch> states;
  ImageBatch gx;
  testing::execute(GetParam(), [&](CommandBuffer& commands) {
    gx = graph.encodeBatch(
        commands,
        {.sourceImages = {inputs()}, .sourceStates = {t}, .intermediateImages = &images, .destinationStates = &states});
  });
  ASSERT_EQ(images.size(), 9u);
  expectNear(chain_.z1, read(images[0]), "z1");
  expectNear(chain_.a1, read(images[1]), "a1");
  expectNear(chain_.b1, read(images[2]), "b1");
  expectNear(chain_.z2, read(images[3]), "z2");
  expectNear(chain_.g2, read(images[4]), "g2");
  expectNear(chain_.gb1, read(images[5]), "g_b1");
  expectNear(chain_.ga1, read(images[6]), "g_a1");
  expectNear(chain_.gz1, read(images[7]), "g_z1");
  expectNear(chain_.gx, read(images[8]), "g_x0");
  EXPECT_EQ(read(gx), read(images[8]));
  std::vector<float> losses;
  for (const CNNLossLabels& label : t) losses.push_back(label.lossImage().read<float>().front());
  expectNear(chain_.losses, losses, "loss");
  ASSERT_EQ(states.size(), 3u);
  const CNNConvolutionGradientState s1(states[0].front()), s2(states[2].front());
  const CNNBatchNormalizationState sB(states[1].front());
  EXPECT_EQ(states[0].front(), states[0].back()) << "one state for the batch";
  expectNear(chain_.dw1, s1.gradientForWeights().read<float>(), "dW1");
  expectNear(chain_.dc1, s1.gradientForBiases().read<float>(), "dc1");
  expectNear(chain_.dw2, s2.gradientForWeights().read<float>(), "dW2");
  expectNear(chain_.dc2, s2.gradientForBiases().read<float>(), "dc2");
  expectNear(chain_.mean, sB.mean().read<float>(), "mean");
  expectNear(chain_.variance, sB.variance().read<float>(), "variance");
  expectNear(chain_.dgamma, sB.gradientForGamma().read<float>(), "dgamma");
  expectNear(chain_.dbeta, sB.gradientForBeta().read<float>(), "dbeta");
}

/// The oracle above is held to differences of the loss.
TEST(WorkedExampleChain, AgreesWithCentralDifferences) {
  testing::Random random(3);
  Chain chain;
  chain.x = exact(draw(random, kBatch * kInputs));
  chain.w1 = exact(draw(random, kHidden * kInputs)), chain.c1 = exact(draw(random, kHidden));
  chain.w2 = exact(draw(random, kClasses * kHidden)), chain.c2 = exact(draw(random, kClasses));
  chain.gamma = exact(draw(random, kHidden)), chain.beta = exact(draw(random, kHidden));
  for (std::size_t i = 0; i < kBatch * kClasses; ++i)
    chain.t.push_back(i / kClasses % kClasses == i % kClasses ? 1 : 0);
  chain.forward();
  chain.backward();
  const auto lossAt = [&](Values Chain::*parameter, std::size_t index, double by) {
    Chain moved = chain;
    (moved.*parameter)[index] += by;
    moved.forward();
    double sum = 0;
    for (const double loss : moved.losses) sum += loss;
    return sum;
  };
  const std::vector<std::pair<Values Chain::*, Values Chain::*>> pairs{
      {&Chain::w1, &Chain::dw1},     {&Chain::c1, &Chain::dc1}, {&Chain::gamma, &Chain::dgamma},
      {&Chain::beta, &Chain::dbeta}, {&Chain::w2, &Chain::dw2}, {&Chain::c2, &Chain::dc2},
      {&Chain::x, &Chain::gx}};
  constexpr double kStep = 1e-5;
  for (const auto& [parameter, gradient] : pairs) {
    for (std::size_t i = 0; i < (chain.*parameter).size(); ++i) {
      const double difference = (lossAt(parameter, i, kStep) - lossAt(parameter, i, -kStep)) / (2 * kStep);
      EXPECT_NEAR((chain.*gradient)[i], difference, 1e-7);
    }
  }
}

TEST_P(WorkedExampleTest, StopGradientAtTheReLU) {
  r_.resultImage().setStopGradient(true);
  int made = 0;
  const auto ends =
      loss_.trainingGraph({.nodeHandler = [&](const auto&, const auto&, const auto&, const auto&) { ++made; }});
  EXPECT_EQ(made, 2);
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_NO_THROW(CNNBatchNormalizationGradientNode(ends.front()));
}

TEST_P(WorkedExampleTest, WithoutTrainingOfTheFirstLayer) {
  f1_.setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const NNGraph graph = graphOf(loss_.trainingGraph().front().resultImage());
  EXPECT_EQ(graph.planDescription().find("GradientNode \"fc1\""), std::string::npos) << graph.planDescription();
  EXPECT_EQ(graph.planDescription().find("NeuronGradient"), std::string::npos) << graph.planDescription();
  EXPECT_NE(graph.planDescription().find("CNNBatchNormalizationGradientNode"), std::string::npos);
}

TEST_P(WorkedExampleTest, ASecondReaderOfTheInputAddsItsGradient) {
  // x0 also goes, through another fully connected layer, into the logits.
  const auto ds3 = dense(kInputs, kClasses, std::vector<float>(kClasses * kInputs, 0.5F), {}, "fc3");
  const CNNFullyConnectedNode f3({.source = x0_, .weights = ds3});
  const NNAdditionNode sum({.leftSource = f2_.resultImage(), .rightSource = f3.resultImage()});
  const CNNLossNode loss(
      {.source = sum.resultImage(),
       .lossDescriptor = {.lossType = CNNLossType::softMaxCrossEntropy, .weight = static_cast<float>(kWeight)}});
  int additions = 0;
  const auto ends =
      loss.trainingGraph({.nodeHandler = [&](const NNFilterNode&, const NNFilterNode& inference, const auto&,
                                             const auto&) { additions += inference ? 0 : 1; }});
  EXPECT_EQ(additions, 1);
  ASSERT_EQ(ends.size(), 1u) << "the addition is the terminus";
}

TEST_P(WorkedExampleTest, AGivenSourceGradientIsRead) {
  const NNImageNode gIn({.label = "gIn"});
  std::vector<NNImageNode> sources;
  f2_.trainingGraph(
      {.sourceGradient = gIn, .nodeHandler = [&](const auto&, const auto&, const auto&, const NNImageNode& source) {
         sources.push_back(source);
       }});
  ASSERT_EQ(sources.size(), 4u);
  EXPECT_EQ(sources.front(), gIn);
}

INSTANTIATE_TEST_SUITE_P(Devices, WorkedExampleTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

}  // namespace
}  // namespace metalloid
