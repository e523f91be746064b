// What graphs compute in one kernel, what keeps them from it, and that results differ by roundings alone.

#include "graph/weights.hpp"
#include "graph/wiring.hpp"
#include "support/devices.hpp"
#include "support/images.hpp"
#include "support/precision.hpp"
#include "support/random.hpp"

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace metalloid {
namespace {

using testing::expectRefused;
using testing::input;
using testing::Weights;
using Values = std::vector<float>;

constexpr std::size_t kSize = 5, kChannels = 4;

/// A convolution of 3 x 3 pixels.
std::shared_ptr<Weights> weights(std::size_t outputs = kChannels, std::uint64_t seed = 1) {
  testing::Random random(seed);
  Values values(9 * kChannels * outputs), terms(outputs);
  for (float& value : values) value = static_cast<float>(random.uniform(-0.25, 0.25));
  for (float& value : terms) value = static_cast<float>(random.uniform(-1, 1));
  return std::make_shared<Weights>(
      CNNConvolutionDescriptor{
          .kernelWidth = 3, .kernelHeight = 3, .inputFeatureChannels = kChannels, .outputFeatureChannels = outputs},
      std::move(values), std::move(terms), "conv");
}

struct Normalization final : CNNBatchNormalizationDataSource {
  std::size_t numberOfFeatureChannels() const override { return kChannels; }
  std::string label() const override { return "norm"; }
  std::span<const float> gamma() override { return {}; }
  std::span<const float> beta() override { return {}; }
  std::span<const float> mean() override { return means; }
  std::span<const float> variance() override { return variances; }
  bool load() override { return true; }
  void purge() override {}
  Values means{0.5F, -0.25F, 0, 0.125F}, variances{0.3F, 0.7F, 2, 0.1F};
};

CNNConvolutionNode convolve(const NNImageNode& source, std::size_t outputs = kChannels, std::uint64_t seed = 1) {
  return CNNConvolutionNode({.source = source, .weights = weights(outputs, seed)});
}

CNNBatchNormalizationNode normalize(const NNImageNode& source) {
  return CNNBatchNormalizationNode({.source = source, .dataSource = std::make_shared<Normalization>()});
}

/// Any policy of the caller's.
struct CustomPadding final : NNPadding {
  explicit CustomPadding(NNPaddingMethod bits) : method(bits) {}
  NNPaddingMethod paddingMethod() const override { return method; }
  ImageDescriptor destinationImageDescriptor(const ImageBatch&, const StateBatch&, Kernel&,
                                             const ImageDescriptor& suggested) override {
    return suggested;
  }
  NNPaddingMethod method;
};

std::string planOf(const std::vector<NNImageNode>& results) {
  return NNGraph(Device::named("null"), {.resultImages = results}).planDescription();
}

// --- Neurons --------------------------------------------------------------------------------------------------------

/// A filter that takes neurons, with one behind it.
struct Pair {
  NNFilterNode before;
  CNNNeuronReLUNode neuron;

  explicit Pair(bool isConvolution)
      : before(isConvolution ? NNFilterNode(convolve(input("x"))) : NNFilterNode(normalize(input("x")))),
        neuron({.source = before.resultImage()}) {}
};

struct Obstacle {
  std::string name;
  std::function<std::vector<NNImageNode>(Pair&)> arrange;  // returns the results of the graph
  std::string note;                                        // what the plan says; empty: the neuron is fused
};

std::vector<Obstacle> obstacles() {
  const auto alone = [](Pair& p) { return std::vector{p.neuron.resultImage()}; };
  const auto padded = [alone](NNPaddingMethod bits) {
    return [alone, bits](Pair& p) {
      p.neuron.setPaddingPolicy(std::make_shared<CustomPadding>(bits));
      return alone(p);
    };
  };
  return {
      {"Nothing", alone, ""},
      {"AnotherReader",
       [](Pair& p) {
         return std::vector{
             NNAdditionNode({.leftSource = p.before.resultImage(), .rightSource = p.neuron.resultImage()})
                 .resultImage()};
       },
       "the image between them has another reader"},
      {"AnExportedImage",
       [alone](Pair& p) {
         p.before.resultImage().setExportFromGraph(true);
         return alone(p);
       },
       "the image between them is exported"},
      {"AResult",
       [](Pair& p) {
         return std::vector{p.neuron.resultImage(), p.before.resultImage()};
       },
       "the image between them is a result"},
      {"AnExportedState",
       [alone](Pair& p) {
         p.neuron.resultState().setExportFromGraph(true);
         return alone(p);
       },
       "its state is exported"},
      {"ACustomPadding", padded(NNPaddingMethod::custom), "its padding policy is custom"},
      {"AHarmlessPadding", padded(NNPaddingMethod::custom | NNPaddingMethod::customAllowForNodeFusion), ""},
  };
}

TEST(FusionOfNeurons, AndWhatKeepsThemApart) {
  for (const bool isConvolution : {true, false}) {
    const std::string before = isConvolution ? "CNNConvolutionNode \"conv\"" : "CNNBatchNormalizationNode \"norm\"";
    for (const Obstacle& obstacle : obstacles()) {
      SCOPED_TRACE(before + ", " + obstacle.name);
      Pair pair(isConvolution);
      const std::string plan = planOf(obstacle.arrange(pair));
      const bool isFused = plan.find(before + " + CNNNeuronReLUNode") != std::string::npos;
      EXPECT_EQ(isFused, obstacle.note.empty()) << plan;
      const std::string note = isFused ? before + " computes CNNNeuronReLUNode"
                                       : "CNNNeuronReLUNode is not computed by " + before + ": " + obstacle.note;
      EXPECT_NE(plan.find(note), std::string::npos) << plan;
    }
  }
}

TEST(FusionOfNeurons, OneNeuronAFilter) {
  const CNNNeuronReLUNode first({.source = convolve(input("x")).resultImage()});
  const CNNNeuronTanHNode second({.source = first.resultImage()});
  const std::string plan = planOf({second.resultImage()});
  EXPECT_NE(plan.find("+ CNNNeuronReLUNode"), std::string::npos) << plan;
  EXPECT_EQ(plan.find("+ CNNNeuronTanHNode"), std::string::npos) << plan;
}

TEST(FusionOfNeurons, NothingIsFusedWhereThatIsNotAllowed) {
  const CNNNeuronReLUNode neuron({.source = convolve(input("x")).resultImage()});
  const NNGraph graph(Device::named("null"), {.resultImage = neuron.resultImage(), .allowFusion = false});
  EXPECT_EQ(graph.plan().steps.size(), 2u);
  EXPECT_EQ(graph.planDescription().find(" computes "), std::string::npos) << graph.planDescription();
}

/// In training the neuron's gradient reads what is between the neuron and the filter before it. Batch normalization
/// and its gradient compute both; a convolution's gradient does not.
TEST(FusionOfNeurons, Training) {
  for (const bool isConvolution : {true, false}) {
    Pair pair(isConvolution);
    const auto ends = pair.neuron.trainingGraph({.sourceGradient = input("g")});
    ASSERT_EQ(ends.size(), 1u);
    const std::string plan = planOf({ends.front().resultImage()});
    EXPECT_EQ(plan.find("CNNBatchNormalizationNode \"norm\" + CNNNeuronReLUNode") != std::string::npos, !isConvolution)
        << plan;
    EXPECT_EQ(plan.find("CNNBatchNormalizationGradientNode \"norm\" + CNNNeuronGradientNode") != std::string::npos,
              !isConvolution)
        << plan;
    EXPECT_EQ(plan.find(" + ") != std::string::npos, !isConvolution) << plan;
  }
}

/// What keeps a neuron and its gradient from becoming part of a batch normalization and its gradient.
TEST(FusionOfNeurons, TrainingWithObstacles) {
  const auto isFused = [](const std::function<void(NNFilterNode&, NNFilterNode&)>& change) {
    Pair pair(false);
    std::vector<NNFilterNode> made;
    const auto ends = pair.neuron.trainingGraph({.sourceGradient = input("g"),
                                                 .nodeHandler = [&](const NNFilterNode& node, const auto&, const auto&,
                                                                    const auto&) { made.push_back(node); }});
    NNFilterNode neuron = pair.neuron;
    change(neuron, made.front());  // the neuron's gradient
    return planOf({ends.front().resultImage()}).find(" + ") != std::string::npos;
  };
  EXPECT_TRUE(isFused([](auto&, auto&) {}));
  EXPECT_FALSE(isFused([](auto&, auto& gradient) { gradient.resultImage().setExportFromGraph(true); }));
  EXPECT_FALSE(isFused([](auto& neuron, auto&) { neuron.resultState().setExportFromGraph(true); }));
  const auto custom = std::make_shared<CustomPadding>(NNPaddingMethod::custom);
  EXPECT_FALSE(isFused([&](auto&, auto& gradient) { gradient.setPaddingPolicy(custom); }));
  EXPECT_FALSE(isFused([&](auto& neuron, auto&) { neuron.setPaddingPolicy(custom); }));
}

// --- Concatenations -------------------------------------------------------------------------------------------------

TEST(FusionOfConcatenations, AndWhatKeepsThemFromBeingWrittenInPlace) {
  struct Case {
    std::string name;
    std::function<std::vector<NNImageNode>(const CNNConvolutionNode&, const CNNConvolutionNode&)> results;
    std::string note;  // empty: in place
  };
  const auto both = [](const NNImageNode& a, const NNImageNode& b) {
    return NNConcatenationNode({.sources = {a, b}}).resultImage();
  };
  const std::vector<Case> cases{
      {"Nothing", [&](auto& a, auto& b) { return std::vector{both(a.resultImage(), b.resultImage())}; }, ""},
      {"AnInput", [&](auto& a, auto&) { return std::vector{both(a.resultImage(), input("x"))}; }, "comes from outside"},
      {"AResult",
       [&](auto& a, auto& b) {
         return std::vector{both(a.resultImage(), b.resultImage()), b.resultImage()};
       },
       "is a result"},
      {"AnExport",
       [&](auto& a, auto& b) {
         a.resultImage().setExportFromGraph(true);
         return std::vector{both(a.resultImage(), b.resultImage())};
       },
       "is exported"},
      {"AnAllocator",
       [&](auto& a, auto& b) {
         a.resultImage().setImageAllocator(Image::defaultAllocator());
         return std::vector{both(a.resultImage(), b.resultImage())};
       },
       "has an allocator of its own"},
      {"AFormat",
       [&](auto& a, auto& b) {
         b.resultImage().setFormat(ImageFeatureChannelFormat::float32);
         return std::vector{both(a.resultImage(), b.resultImage())};
       },
       "has another format"},
      {"TheSameTwice", [&](auto& a, auto&) { return std::vector{both(a.resultImage(), a.resultImage())}; },
       "is there twice"},
      {"AnotherConcatenation",
       [&](auto& a, auto& b) {
         return std::vector{both(a.resultImage(), b.resultImage()), both(b.resultImage(), a.resultImage())};
       },
       "is written into another concatenation"},
      {"AConcatenation",
       [&](auto& a, auto& b) {
         return std::vector{
             both(both(a.resultImage(), b.resultImage()), convolve(input("x"), kChannels, 3).resultImage())};
       },
       "is a concatenation written in place"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const NNImageNode x = input("x");
    const std::string plan = planOf(one.results(convolve(x), convolve(x, kChannels, 2)));
    EXPECT_NE(plan.find(one.note.empty() ? "NNConcatenationNode is written in place" : one.note), std::string::npos)
        << plan;
    EXPECT_EQ(plan.find("NNConcatenationNode copies its sources") == std::string::npos, one.note.empty()) << plan;
  }
}

TEST(FusionOfSums, GradientsThatAreCopiesAreLeftOut) {
  const auto stepsOf = [](const std::function<void(NNAdditionNode&)>& change) {
    NNAdditionNode sum({.leftSource = convolve(input("x")).resultImage(),
                        .rightSource = convolve(input("y"), kChannels, 2).resultImage()});
    change(sum);
    std::vector<NNImageNode> results;
    for (const NNFilterNode& end : sum.trainingGraph({.sourceGradient = input("g")}))
      results.push_back(end.resultImage());
    const NNGraph graph(Device::named("null"), {.resultImages = results});
    std::size_t count = 0;
    for (const auto& step : graph.plan().steps) count += step.className == "NNAdditionGradientNode" ? 1 : 0;
    EXPECT_EQ(graph.planDescription().find("is left out: its result is its source") != std::string::npos, count < 2)
        << graph.planDescription();
    return count;
  };
  EXPECT_EQ(stepsOf([](auto&) {}), 0u);
  EXPECT_EQ(stepsOf([](auto& sum) { sum.setSecondaryScale(2); }), 1u);
  EXPECT_EQ(stepsOf([](auto& sum) { sum.setSecondaryStrideInPixelsX(0); }), 2u);
  EXPECT_EQ(stepsOf([](auto& sum) { sum.setMaximumValue(1); }), 2u);
}

// --- Numbers --------------------------------------------------------------------------------------------------------

class FusionOnDevice : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  /// The result with and without fusion, of images of `format`. The images "x" and "g" are between -1 and 1.
  std::pair<Values, Values> both(const NNImageNode& result, ImageFeatureChannelFormat format) const {
    const auto run = [&](bool allowFusion) {
      NNGraph graph(device, {.resultImage = result, .allowFusion = allowFusion});
      graph.format = format;
      ImageBatch sources;
      for (const auto& handle : graph.sourceImageHandles()) {
        testing::Random random(handle->label() == "x" ? 5 : 6);
        Values values(kSize * kSize * kChannels);
        for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
        sources.push_back(testing::imageOf(device, {kSize, kSize, kChannels}, values));
      }
      steps_[allowFusion ? 1 : 0] = graph.plan().steps.size();
      ImageBatch images;
      testing::execute(device, [&](CommandBuffer& commands) {
        std::vector<ImageBatch> batches;
        for (const Image& source : sources) batches.push_back({source});
        images = graph.encodeBatch(commands, {.sourceImages = batches});
      });
      return images.front().read<float>();
    };
    auto fused = run(true), unfused = run(false);
    EXPECT_LT(steps_[1], steps_[0]) << "nothing was fused";
    return {std::move(fused), std::move(unfused)};
  }

  mutable std::size_t steps_[2] = {};
};
INSTANTIATE_TEST_SUITE_P(Devices, FusionOnDevice, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& tested) { return testing::identifier(tested.param); });

/// y = z / 3 + 1: unfused, z is rounded to the format once more.
TEST_P(FusionOnDevice, ANeuronSavesOneRounding) {
  for (const auto& [format, type] : {std::pair{ImageFeatureChannelFormat::float16, DataType::float16},
                                     std::pair{ImageFeatureChannelFormat::float32, DataType::float32}}) {
    for (const bool isConvolution : {true, false}) {
      const NNImageNode x = input("x");
      const NNImageNode z = isConvolution ? convolve(x).resultImage() : normalize(x).resultImage();
      const auto [fused, unfused] =
          both(CNNNeuronLinearNode({.source = z, .a = 1.0F / 3, .b = 1}).resultImage(), format);
      ASSERT_EQ(fused.size(), unfused.size());
      bool isAllEqual = true;
      for (std::size_t i = 0; i < fused.size(); ++i) {
        const double largest = 3 * (std::fabs(unfused[i]) + 1);  // |z|, with room
        // The extra rounding of z, and both results' own.
        const double bound = testing::roundingError(type, largest) / 3 + 2 * testing::roundingError(type, unfused[i]);
        EXPECT_NEAR(fused[i], unfused[i], bound + 2 * testing::roundingError(DataType::float32, 1.5)) << i;
        isAllEqual = isAllEqual && fused[i] == unfused[i];
      }
      if (type == DataType::float16) {
        EXPECT_FALSE(isAllEqual) << "nothing shows that a rounding was saved";
      }
    }
  }
}

/// A gradient that starts before the neuron reads the state of the filter that computes it.
TEST_P(FusionOnDevice, AGradientThatLeavesOutTheNeuron) {
  for (const bool isConvolution : {true, false}) {
    const Pair pair(isConvolution);
    const auto ends = pair.before.trainingGraph({.sourceGradient = input("g")});
    ASSERT_EQ(ends.size(), 1u);
    const auto run = [&](bool allowFusion) {
      NNGraph graph(device, {.resultImages = {pair.neuron.resultImage(), ends.front().resultImage()},
                             .allowFusion = allowFusion});
      graph.format = ImageFeatureChannelFormat::float32;
      const Image image =
          testing::imageOf(device, {kSize, kSize, kChannels}, testing::counting(kSize * kSize * kChannels, -40));
      Image result;
      ImageBatch others;
      testing::execute(device, [&](CommandBuffer& commands) {
        result = graph.encode(commands, {.sourceImages = {image, image}, .intermediateImages = &others});
      });
      return std::pair{result.read<float>(), others.front().read<float>()};
    };
    EXPECT_EQ(run(true), run(false)) << (isConvolution ? "convolution" : "normalization");
  }
}

/// Copies and places change no bit.
TEST_P(FusionOnDevice, ConcatenationsInPlaceAreTheSame) {
  const NNImageNode x = input("x");
  for (const std::size_t channels : {std::size_t{8}, std::size_t{6}}) {  // 6 leave channels between, so they are copied
    const NNConcatenationNode all(
        {.sources = {CNNPoolingMaxNode({.source = x, .filterSize = 3, .stride = 1}).resultImage(),
                     convolve(x, channels).resultImage(), convolve(x, kChannels, 2).resultImage()}});
    NNGraph inPlace(device, {.resultImage = all.resultImage()});
    NNGraph copied(device, {.resultImage = all.resultImage(), .allowFusion = false});
    EXPECT_NE(inPlace.planDescription().find(", in place"), std::string::npos);
    EXPECT_EQ(copied.planDescription().find(", in place"), std::string::npos);
    testing::Random random(9);
    Values values(kSize * kSize * kChannels);
    for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
    const Image image = testing::imageOf(device, {kSize, kSize, kChannels}, values);
    Image a, b;
    testing::execute(device, [&](CommandBuffer& commands) {
      a = inPlace.encode(commands, {.sourceImages = {image}});
      b = copied.encode(commands, {.sourceImages = {image}});
    });
    EXPECT_EQ(a.read<float>(), b.read<float>());
  }
}

/// The gradient of a sum is passed on, not copied.
TEST_P(FusionOnDevice, GradientsOfSumsAreTheSame) {
  const NNImageNode x = input("x");
  const NNAdditionNode sum({.leftSource = x, .rightSource = convolve(x).resultImage()});
  const auto ends = sum.trainingGraph({.sourceGradient = input("g")});
  ASSERT_EQ(ends.size(), 1u);
  const auto [fused, unfused] = both(ends.front().resultImage(), ImageFeatureChannelFormat::float32);
  EXPECT_EQ(fused, unfused);
}

}  // namespace
}  // namespace metalloid
