// The losses of images and the soft-max against what PyTorch computes in float64 (make_loss_vectors.py).
//
// Expected values carry one rounding to float32. Ours may carry a few for the functions, and one for each term of a sum
// over channels: tolerances are a number of roundings times 2^-24 times the size of the largest intermediate result.

#include "formats/safetensors.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

const formats::TensorView* find(const std::string& name) {
  static const auto file = formats::SafetensorsFile::read(METALLOID_TESTS "/vectors/loss.safetensors");
  return file.find(name);
}

std::vector<float> values(const std::string& name) {
  const auto* const found = find(name);
  if (!found) throw std::runtime_error("loss.safetensors holds no " + name);
  return formats::floatValues(*found);
}

// [y][x][channel], as the script has it.
constexpr std::size_t kHeight = 3, kWidth = 4, kChannels = 5;

class PyTorchLoss : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width = kWidth, std::size_t height = kHeight, std::size_t channels = kChannels) const {
    return Image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                          .width = width,
                          .height = height,
                          .featureChannels = channels});
  }
  Image image(const std::string& name) const {
    const Image result = image();
    result.write(values(name));
    return result;
  }

  /// The reference computes in double and rounds what it stores.
  void expectClose(const std::vector<float>& actual, const std::vector<float>& expected, const std::string& name,
                   double roundings, double scale) const {
    ASSERT_EQ(actual.size(), expected.size()) << name;
    const double working = device.name() == "reference" ? 0x1p-50 : 0x1p-24;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double tolerance = working * roundings * scale + 2 * 0x1p-24 * std::fabs(static_cast<double>(expected[i]));
      EXPECT_NEAR(actual[i], expected[i], tolerance) << name << "[" << i << "]";
    }
  }
};

struct Named {
  std::string name;
  CNNLossDescriptor descriptor;
  double scale;  // of what results are made of
};

std::vector<Named> losses() {
  using enum CNNLossType;
  const auto none = CNNReductionType::none;
  return {
      {"meanAbsoluteError", {.lossType = meanAbsoluteError, .reductionType = none}, 6},
      {"meanSquaredError", {.lossType = meanSquaredError, .reductionType = none}, 36},
      {"softMaxCrossEntropy", {.lossType = softMaxCrossEntropy, .reductionType = none}, 12},
      {"softMaxCrossEntropySmoothed",
       {.lossType = softMaxCrossEntropy, .reductionType = none, .labelSmoothing = 0.125F, .numberOfClasses = kChannels},
       12},
      {"sigmoidCrossEntropy", {.lossType = sigmoidCrossEntropy, .reductionType = none}, 12},
      {"categoricalCrossEntropy", {.lossType = categoricalCrossEntropy, .reductionType = none}, 20},
      {"hinge", {.lossType = hinge, .reductionType = none}, 4},
      {"huber", {.lossType = huber, .reductionType = none, .delta = 0.75F}, 6},
      {"cosineDistance", {.lossType = cosineDistance, .reductionType = CNNReductionType::sum}, 60},
      // PyTorch has no epsilon, but keeps logarithms above -100.
      {"log", {.lossType = log, .reductionType = none, .epsilon = 0}, 20},
      {"kullbackLeiblerDivergence", {.lossType = kullbackLeiblerDivergence, .reductionType = none}, 8},
  };
}

// A formula's operations and the few units of its functions.
constexpr double kRoundings = 10;

/// PyTorch's cross entropy has one loss for each pixel.
std::vector<float> perPixel(const std::vector<float>& losses) {
  std::vector<float> sums;
  for (std::size_t i = 0; i < losses.size(); i += kChannels) {
    double sum = 0;
    for (std::size_t c = 0; c < kChannels; ++c) sum += static_cast<double>(losses[i + c]);
    sums.push_back(static_cast<float>(sum));
  }
  return sums;
}

TEST_P(PyTorchLoss, LossAndGradientAtOnce) {
  for (const Named& loss : losses()) {
    const std::string& name = loss.name;
    const CNNLossDescriptor& descriptor = loss.descriptor;
    const bool isReduced = descriptor.reductionType != CNNReductionType::none;
    const Image gradient = image();
    const CNNLossLabels labels(
        device, {.lossImageSize = isReduced ? Size{1, 1, 1} : Size{kWidth, kHeight, kChannels},
                 .labelsDescriptor = {.data = values(name + ".t"), .size = {kWidth, kHeight, kChannels}}});
    CNNLoss kernel(device, descriptor);
    testing::execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.sourceImage = image(name + ".y"), .labels = labels, .destinationImage = gradient});
    });
    auto elements = labels.lossImage().read<float>();
    if (descriptor.lossType == CNNLossType::softMaxCrossEntropy) elements = perPixel(elements);
    expectClose(elements, values(name + ".loss"), name + ", loss", kRoundings, loss.scale);
    expectClose(gradient.read<float>(), values(name + ".dy"), name + ", gradient", kRoundings, loss.scale);
  }
}

TEST_P(PyTorchLoss, GradientsForPredictionsAndLabels) {
  const Image one = image(1, 1, 1);
  one.write(std::vector<float>{1});
  for (const Named& loss : losses()) {
    const std::string& name = loss.name;
    const CNNLossDescriptor& descriptor = loss.descriptor;
    for (const bool forLabels : {false, true}) {
      const std::string expected = name + (forLabels ? ".dt" : ".dy");
      if (!find(expected)) continue;
      NNLossGradient kernel(device, descriptor);
      kernel.computeLabelGradients = forLabels;
      const Image result = image();
      testing::execute(device, [&](CommandBuffer& commands) {
        kernel.encodeBatch(commands, {.sourceGradients = {one},
                                      .sourceImages = {image(name + ".y")},
                                      .labels = {image(name + ".t")},
                                      .destinationGradients = {result}});
      });
      expectClose(result.read<float>(), values(expected), expected, kRoundings, loss.scale);
    }
  }
}

template <class Forward, class Backward>
std::vector<std::vector<float>> softMax(const Device& device, const Image& x, const Image& g, const Image& y,
                                        const Image& dx) {
  testing::execute(device, [&](CommandBuffer& commands) {
    Forward(device).encode(commands, {.sourceImage = x, .destinationImage = y});
    Backward(device).encode(commands, {.sourceGradient = g, .sourceImage = y, .destinationGradient = dx});
  });
  return {y.read<float>(), dx.read<float>()};
}

TEST_P(PyTorchLoss, SoftMax) {
  // The gradient sees the forward result as it was stored, with a rounding of its own.
  const double stored = device.name() == "reference" ? 0x1p26 : 1;
  const auto results =
      softMax<CNNSoftMax, CNNSoftMaxGradient>(device, image("softMax.x"), image("softMax.g"), image(), image());
  expectClose(results[0], values("softMax.y"), "softMax.y", 24, 1);
  expectClose(results[1], values("softMax.dx"), "softMax.dx", 32, stored);
  const auto logarithms = softMax<CNNLogSoftMax, CNNLogSoftMaxGradient>(device, image("logSoftMax.x"),
                                                                        image("logSoftMax.g"), image(), image());
  expectClose(logarithms[0], values("logSoftMax.y"), "logSoftMax.y", 10, 16);
  expectClose(logarithms[1], values("logSoftMax.dx"), "logSoftMax.dx", 32, 5 * stored);
}

INSTANTIATE_TEST_SUITE_P(Devices, PyTorchLoss, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid
