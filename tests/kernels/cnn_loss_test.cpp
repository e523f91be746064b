// Long: every loss and reduction, and the labels that carry them, with the file name of the kernel.

#include "kernels/kernel_checks.hpp"

#include <metalloid/cnn_loss.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using enum CNNLossType;
using Reduction = CNNReductionType;

class CNNLossValues : public OnDevice {};
class CNNLossChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, CNNLossValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, CNNLossChecks, testing::Values("reference", "cpu", "null"), deviceName);

Image floatImage(const Device& device, const Size& size, const std::vector<float>& values = {}) {
  const Image image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                             .width = size.width,
                             .height = size.height,
                             .featureChannels = size.depth});
  if (!values.empty()) image.write(values);
  return image;
}

struct Result {
  std::vector<double> loss;
  std::vector<double> gradient;
};

/// One image through the kernel.
Result run(const Device& device, const CNNLossDescriptor& descriptor, const Size& size, const std::vector<float>& y,
           const std::vector<float>& labels, const std::vector<float>& weights = {}) {
  const bool isReduced = descriptor.reductionType != Reduction::none;
  const CNNLossLabels state(device, {.lossImageSize = isReduced ? Size{1, 1, 1} : size,
                                     .labelsDescriptor = {.data = labels, .size = size},
                                     .weightsDescriptor = {.data = weights, .size = size}});
  const Image gradient = floatImage(device, size);
  CNNLoss kernel(device, descriptor);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands,
                  {.sourceImage = floatImage(device, size, y), .labels = state, .destinationImage = gradient});
  });
  return {state.lossImage().read<double>(), gradient.read<double>()};
}

void expectAll(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance,
               const std::string& where) {
  ASSERT_EQ(actual.size(), expected.size()) << where;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(actual[i])) << where << " [" << i << "] is " << actual[i];
    } else if (std::isinf(expected[i])) {
      EXPECT_EQ(actual[i], expected[i]) << where << " [" << i << "]";
    } else {
      EXPECT_NEAR(actual[i], expected[i], tolerance) << where << " [" << i << "]";
    }
  }
}

// --- The specification's examples: six decimals are printed ---

constexpr double kPrinted = 0.6e-6;

TEST_P(CNNLossValues, softMaxCrossEntropyExample) {
  for (const Reduction reduction : {Reduction::sum, Reduction::mean}) {
    const auto [loss, gradient] =
        run(device, {.lossType = softMaxCrossEntropy, .reductionType = reduction}, {1, 1, 3}, {1, 2, 0}, {0, 1, 0});
    expectAll(loss, {0.407606}, kPrinted, "loss");
    expectAll(gradient, {0.244728, -0.334759, 0.090031}, kPrinted, "gradient");
  }
}

TEST_P(CNNLossValues, smoothedSoftMaxCrossEntropyExample) {
  const auto [loss, gradient] =
      run(device, {.lossType = softMaxCrossEntropy, .labelSmoothing = 0.1F, .numberOfClasses = 3}, {1, 1, 3}, {1, 2, 0},
          {0, 1, 0});
  expectAll(loss, {0.507606}, kPrinted, "loss");
  expectAll(gradient, {0.211395, -0.268092, 0.056697}, kPrinted, "gradient");
}

TEST_P(CNNLossValues, otherExamples) {
  const auto one = [&](const CNNLossDescriptor& d, float y, float t, double loss, double gradient) {
    const auto result = run(device, d, {1, 1, 1}, {y}, {t});
    expectAll(result.loss, {loss}, kPrinted, "loss");
    expectAll(result.gradient, {gradient}, kPrinted, "gradient");
  };
  one({.lossType = huber}, -1, 2, 2.5, -1);
  one({.lossType = hinge}, 0.5F, 0, 1.5, 1);
  one({.lossType = log, .epsilon = 0}, 0.25F, 1, 1.386294, -4);
}

// --- Every type, by the formulas as the specification prints them ---

struct Formula {
  double loss;
  double derivative;
};

/// One element; soft-max and cosine are not of one element.
Formula formula(const CNNLossDescriptor& d, double y, double label) {
  const double s = double{d.labelSmoothing}, delta = double{d.delta}, epsilon = double{d.epsilon};
  const double t = d.lossType == sigmoidCrossEntropy && s > 0 ? label * (1 - s) + s / 2 : label;
  switch (d.lossType) {
    case meanAbsoluteError:
      return {std::fabs(y - t), y > t ? 1.0 : y < t ? -1.0 : 0.0};
    case meanSquaredError:
      return {(y - t) * (y - t), 2 * (y - t)};
    case sigmoidCrossEntropy:
      return {std::max(y, 0.0) - y * t + std::log(1 + std::exp(-std::fabs(y))), 1 / (1 + std::exp(-y)) - t};
    case categoricalCrossEntropy:
      return {-t * std::log(y), -t / y};
    case hinge:
      return {std::max(1 - (2 * t - 1) * y, 0.0), 1 + (1 - 2 * t) * y > 0 ? 1 - 2 * t : 0};
    case huber: {
      const double a = std::fabs(y - t);
      return {a <= delta ? a * a / 2 : delta * delta / 2 + delta * (a - delta), std::clamp(y - t, -delta, delta)};
    }
    case log:
      return {-t * std::log(y + epsilon) - (1 - t) * std::log(1 - y + epsilon),
              (-2 * epsilon * t - t + y + epsilon) / (y * (1 - y) + epsilon * (epsilon + 1))};
    case kullbackLeiblerDivergence:
      return {t * (std::log(t) - y), -t};
    default:
      ADD_FAILURE();
      return {};
  }
}

const std::vector<CNNLossType> kElementwise = {
    meanAbsoluteError,        meanSquaredError, sigmoidCrossEntropy, categoricalCrossEntropy, hinge, huber, log,
    kullbackLeiblerDivergence};

/// 3 x 2 pixels of 2 channels. Predictions that every type takes; for KL they count as log-probabilities.
const Size kSize{2, 3, 2};
const std::vector<float> kPredictions = {0.125F, 0.75F,   0.5F,    0.25F,  0.9375F, 0.5625F,
                                         0.625F, 0.0625F, 0.8125F, 0.375F, 0.4375F, 0.6875F};
const std::vector<float> kLabels = {1, 0, 0.25F, 1, 0.5F, 1, 0, 0.75F, 1, 1, 0.125F, 1};
const std::vector<float> kWeights = {1, 0, 2, 0.5F, 1, 1, 0, 0.25F, 3, 1, 0, 1};
// Twelve values up to 20, each with a few roundings.
constexpr double kTolerance = 24 * 20 * 0x1p-24;

double reduced(const CNNLossDescriptor& d, const std::vector<double>& losses, const std::vector<float>& weights) {
  double sum = 0;
  for (const double l : losses) sum += l;
  if (d.reductionType == Reduction::mean)
    return sum / static_cast<double>(d.lossType == softMaxCrossEntropy ? 6 : losses.size());
  if (d.reductionType == Reduction::sum) return sum;
  const auto zeros = std::count(weights.begin(), weights.end(), 0.0F);
  return sum / static_cast<double>(static_cast<std::ptrdiff_t>(losses.size()) - zeros);
}

void check(const Device& device, CNNLossDescriptor d, const std::vector<float>& weights) {
  std::vector<double> losses, gradient;
  for (std::size_t i = 0; i < kPredictions.size(); ++i) {
    const auto label = kLabels[i];
    // 0 * log 0 is tested below; here t * log t is taken as printed.
    if (d.lossType == kullbackLeiblerDivergence && label == 0) {
      losses.push_back(0);
      gradient.push_back(0);
      continue;
    }
    const Formula f = formula(d, double{kPredictions[i]}, double{label});
    const double w = double{d.weight} * (weights.empty() ? 1 : double{weights[i]});
    losses.push_back(w * f.loss);
    gradient.push_back(w * f.derivative);
  }
  for (const Reduction reduction : {Reduction::none, Reduction::sum, Reduction::mean, Reduction::sumByNonZeroWeights}) {
    d.reductionType = reduction;
    const auto result = run(device, d, kSize, kPredictions, kLabels, weights);
    const std::string where = "type " + std::to_string(static_cast<int>(d.lossType)) + ", reduction " +
                              std::to_string(static_cast<int>(reduction));
    expectAll(result.loss, reduction == Reduction::none ? losses : std::vector<double>{reduced(d, losses, weights)},
              kTolerance, where + ", loss");
    expectAll(result.gradient, gradient, kTolerance, where + ", gradient");
  }
}

TEST_P(CNNLossValues, everyTypeAndReduction) {
  for (const CNNLossType type : kElementwise) {
    check(device, {.lossType = type}, {});
    check(device, {.lossType = type, .weight = -0.5F, .labelSmoothing = 0.25F, .epsilon = 0.125F, .delta = 0.25F}, {});
  }
}

TEST_P(CNNLossValues, weightsMultiplyTheScalarWeight) {
  for (const CNNLossType type : kElementwise) check(device, {.lossType = type, .weight = 2}, kWeights);
}

/// The gradient is w_j * (p_j - t_j), element by element, also where that is not the exact derivative.
TEST_P(CNNLossValues, softMaxCrossEntropyOfManyPixels) {
  for (const bool hasWeights : {false, true}) {
    for (const Reduction reduction :
         {Reduction::none, Reduction::sum, Reduction::mean, Reduction::sumByNonZeroWeights}) {
      const CNNLossDescriptor d{.lossType = softMaxCrossEntropy,
                                .reductionType = reduction,
                                .weight = 0.5F,
                                .labelSmoothing = 0.25F,
                                .numberOfClasses = 2};
      const std::vector<float> weights = hasWeights ? kWeights : std::vector<float>();
      std::vector<double> losses, gradient;
      for (std::size_t i = 0; i < kPredictions.size(); ++i) {
        const std::size_t first = i / 2 * 2;
        const double sum = std::exp(double{kPredictions[first]}) + std::exp(double{kPredictions[first + 1]});
        const double t = double{kLabels[i]} * 0.75 + 0.25 / 2;
        const double w = 0.5 * (hasWeights ? double{weights[i]} : 1);
        losses.push_back(-w * t * (double{kPredictions[i]} - std::log(sum)));
        gradient.push_back(w * (std::exp(double{kPredictions[i]}) / sum - t));
      }
      const auto result = run(device, d, kSize, kPredictions, kLabels, weights);
      expectAll(result.loss, reduction == Reduction::none ? losses : std::vector<double>{reduced(d, losses, weights)},
                kTolerance, "loss");
      expectAll(result.gradient, gradient, kTolerance, "gradient");
    }
  }
}

TEST_P(CNNLossValues, cosineDistanceOfTheWholeImage) {
  double product = 0;
  std::vector<double> gradient, weighted;
  for (std::size_t i = 0; i < kLabels.size(); ++i) {
    product += double{kPredictions[i]} * double{kLabels[i]};
    gradient.push_back(-2 * double{kLabels[i]});
    weighted.push_back(-2 * double{kLabels[i]} * double{kWeights[i]});
  }
  const CNNLossDescriptor d{.lossType = cosineDistance, .weight = 2};
  const auto plain = run(device, d, kSize, kPredictions, kLabels);
  expectAll(plain.loss, {2 * (1 - product)}, kTolerance, "loss");
  expectAll(plain.gradient, gradient, 0, "gradient");
  const auto result = run(device, d, kSize, kPredictions, kLabels, kWeights);
  expectAll(result.loss, {2 * (1 - product)}, kTolerance, "loss: element weights do not act on it");
  expectAll(result.gradient, weighted, 0, "weighted gradient");
}

TEST_P(CNNLossValues, sumByNonZeroWeightsOfNoneIsZero) {
  const auto result = run(device, {.lossType = meanSquaredError, .reductionType = Reduction::sumByNonZeroWeights},
                          kSize, kPredictions, kLabels, std::vector<float>(12, 0.0F));
  expectAll(result.loss, {0}, 0, "loss");
  expectAll(result.gradient, std::vector<double>(12, 0), 0, "gradient");
}

/// Terms with t = 0 count 0, whatever y is; the rest follows IEEE.
TEST_P(CNNLossValues, zeroLabelsAndInfiniteLogarithms) {
  const auto loss = [&](CNNLossType type, float y, float t) {
    return run(device, {.lossType = type, .epsilon = 0}, {1, 1, 1}, {y}, {t});
  };
  const auto infinity = double{kInfinity}, nan = double{kNaN};
  struct Edge {
    CNNLossType type;
    float y, t;
    double loss, gradient;
  };
  for (const Edge& e : std::vector<Edge>{{categoricalCrossEntropy, 0, 0, 0, 0},
                                         {categoricalCrossEntropy, 0, 1, infinity, -infinity},
                                         {categoricalCrossEntropy, -1, 1, nan, 1},
                                         {kullbackLeiblerDivergence, -kInfinity, 0, 0, 0},
                                         {kullbackLeiblerDivergence, -kInfinity, 1, infinity, -1},
                                         {kullbackLeiblerDivergence, -2, 1, 2, -1},
                                         {log, 1, 1, 0, -1},
                                         {log, 0, 0, 0, 1},
                                         {log, 0, 1, infinity, -infinity},
                                         {log, 1, 0, infinity, infinity},
                                         {meanAbsoluteError, 0.5F, 0.5F, 0, 0},
                                         {meanAbsoluteError, kNaN, 0, nan, nan},
                                         {huber, -kInfinity, 0, infinity, -1},
                                         {sigmoidCrossEntropy, 1000, 1, 0, 0},
                                         {sigmoidCrossEntropy, -1000, 1, 1000, -1},
                                         {hinge, 1, 1, 0, 0},
                                         {hinge, -1, 0, 0, 0},
                                         {hinge, kNaN, 0, nan, 0}}) {
    const auto result = loss(e.type, e.y, e.t);
    const std::string where = "type " + std::to_string(static_cast<int>(e.type)) + " at " + std::to_string(e.y);
    expectAll(result.loss, {e.loss}, 0, where + ", loss");
    expectAll(result.gradient, {e.gradient}, 0, where + ", gradient");
  }
  // A class that is impossible, and not the label.
  const auto result = run(device, {.lossType = softMaxCrossEntropy}, {1, 1, 2}, {1000, -kInfinity}, {1, 0});
  expectAll(result.loss, {0}, 0, "loss");
  expectAll(result.gradient, {0, 0}, 0, "gradient");
}

// --- Batches ---

Result runBatch(const Device& device, const CNNLossDescriptor& descriptor, const std::vector<float>& first,
                const std::vector<float>& second, const std::vector<float>& weights = {}) {
  CNNLossLabelsBatch labels;
  for (int n = 0; n < 2; ++n) {
    labels.emplace_back(device,
                        CNNLossLabels::DataArguments{.labelsDescriptor = {.data = {0, 0}, .size = {1, 1, 2}},
                                                     .weightsDescriptor = {.data = weights, .size = {1, 1, 2}}});
  }
  CNNLoss kernel(device, descriptor);
  const ImageBatch gradients = {floatImage(device, {1, 1, 2}), floatImage(device, {1, 1, 2})};
  execute(device, [&](CommandBuffer& commands) {
    kernel.encodeBatch(commands,
                       {.sourceImages = {floatImage(device, {1, 1, 2}, first), floatImage(device, {1, 1, 2}, second)},
                        .labels = labels,
                        .destinationImages = gradients});
  });
  Result result;
  for (int n = 0; n < 2; ++n) {
    const auto index = static_cast<std::size_t>(n);
    result.loss.push_back(labels[index].lossImage().read<double>().front());
    for (const double g : gradients[index].read<double>()) result.gradient.push_back(g);
  }
  return result;
}

TEST_P(CNNLossValues, eachImageHasItsOwnLoss) {
  const auto result = runBatch(device, {.lossType = meanSquaredError}, {1, 2}, {3, 0});
  EXPECT_EQ(result.loss, (std::vector<double>{5, 9}));
  EXPECT_EQ(result.gradient, (std::vector<double>{2, 4, 6, 0}));
}

TEST_P(CNNLossValues, reducedAcrossTheBatch) {
  const auto across = [&](Reduction reduction, const std::vector<float>& weights = {}) {
    const auto result =
        runBatch(device, {.lossType = meanSquaredError, .reductionType = reduction, .reduceAcrossBatch = true}, {1, 2},
                 {3, 0}, weights);
    EXPECT_EQ(result.loss.at(1), 0);
    return result.loss.at(0);
  };
  EXPECT_EQ(across(Reduction::sum), 14);
  EXPECT_EQ(across(Reduction::mean), 3.5);
  EXPECT_EQ(across(Reduction::sumByNonZeroWeights), 3.5);
  EXPECT_EQ(across(Reduction::sumByNonZeroWeights, {2, 0}), 10);  // (2 + 18) / 2
  // Soft-max cross entropy of zero labels smoothed to 1/2: the divisor is the number of pixels.
  const auto softMax = runBatch(device,
                                {.lossType = softMaxCrossEntropy,
                                 .reductionType = Reduction::mean,
                                 .reduceAcrossBatch = true,
                                 .labelSmoothing = 1,
                                 .numberOfClasses = 2},
                                {1, 1}, {0, 0});
  expectAll(softMax.loss, {std::log(2.0), 0}, kTolerance, "soft-max");
  // The cosine's 1 counts for each image.
  const auto cosine =
      runBatch(device, {.lossType = cosineDistance, .reduceAcrossBatch = true, .weight = 0.5F}, {1, 1}, {0, 0});
  EXPECT_EQ(cosine.loss, (std::vector<double>{1, 0}));
}

TEST_P(CNNLossValues, acrossTheBatchIsIgnoredWithoutReduction) {
  CNNLossLabelsBatch labels;
  for (int n = 0; n < 2; ++n) {
    labels.emplace_back(device, CNNLossLabels::DataArguments{.lossImageSize = {1, 1, 2},
                                                             .labelsDescriptor = {.data = {0, 0}, .size = {1, 1, 2}}});
  }
  CNNLoss kernel(device, {.lossType = meanSquaredError, .reductionType = Reduction::none, .reduceAcrossBatch = true});
  execute(device, [&](CommandBuffer& commands) {
    const ImageBatch gradients = kernel.encode(
        commands, {.sourceImages = {floatImage(device, {1, 1, 2}, {1, 2}), floatImage(device, {1, 1, 2}, {3, 0})},
                   .labels = labels});
    EXPECT_EQ(gradients.size(), 2U);
    EXPECT_TRUE(gradients.front().isTemporary());
    EXPECT_EQ(gradients.front().featureChannels(), 2U);
  });
  EXPECT_EQ(labels[0].lossImage().read<double>(), (std::vector<double>{1, 4}));
  EXPECT_EQ(labels[1].lossImage().read<double>(), (std::vector<double>{9, 0}));
}

/// Labels that are kept, not copied, are read when the kernel is executed.
TEST_P(CNNLossValues, keptLabelsAreReadAtExecution) {
  const Image labels = floatImage(device, {1, 1, 2}, {0, 0}), gradient = floatImage(device, {1, 1, 2});
  const CNNLossLabels state(device, {.labelsImage = labels});
  EXPECT_EQ(state.labelsImage(), labels);
  EXPECT_FALSE(state.weightsImage());
  CNNLoss kernel(device, {.lossType = meanSquaredError});
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(
        commands,
        {.sourceImage = floatImage(device, {1, 1, 2}, {1, 2}), .labels = state, .destinationImage = gradient});
    labels.write(std::vector<float>{1, 0});
  });
  EXPECT_EQ(state.lossImage().read<double>(), std::vector<double>{4});
  EXPECT_EQ(gradient.read<double>(), (std::vector<double>{0, 4}));
}

/// A rectangle of the predictions and some of their channels; only those of the destination are written.
TEST_P(CNNLossValues, regionsAndChannels) {
  const Size size{3, 2, 8};
  std::vector<float> y(48);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<float>(i);
  const Image gradient = floatImage(device, size, std::vector<float>(48, -1));
  const CNNLossLabels labels(
      device, {.lossImageSize = {1, 1, 4}, .labelsDescriptor = {.data = {0, 0, 0, 1}, .size = {1, 1, 4}}});
  CNNLoss kernel(device, {.lossType = meanAbsoluteError, .reductionType = Reduction::none});
  kernel.offset = {2, 1, 0};
  kernel.clipRect = {{1, 0, 0}, {1, 1, 1}};
  kernel.sourceFeatureChannelOffset = 4;
  kernel.destinationFeatureChannelOffset = 4;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands,
                  {.sourceImage = floatImage(device, size, y), .labels = labels, .destinationImage = gradient});
  });
  EXPECT_EQ(labels.lossImage().read<double>(), (std::vector<double>{44, 45, 46, 46}));
  std::vector<double> expected(48, -1);
  for (std::size_t c = 0; c < 4; ++c) expected[8 + 4 + c] = 1;
  EXPECT_EQ(gradient.read<double>(), expected);
}

// --- Labels ---

TEST_P(CNNLossChecks, labelsTakeEveryLayout) {
  // 2 rows of 3 pixels with 2 channels: 10 * y + x, and 100 more in channel 1.
  const std::vector<float> expected = {0, 100, 1, 101, 2, 102, 10, 110, 11, 111, 12, 112};
  const Size size{3, 2, 2};
  const auto read = [&](const CNNLossDataDescriptor& d) {
    return CNNLossLabels(device, d).labelsImage().read<float>();
  };
  EXPECT_EQ(read({.data = expected, .size = size}), expected);
  EXPECT_EQ(read({.data = {0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112},
                  .layout = DataLayout::FeatureChannelsxHeightxWidth,
                  .size = size}),
            expected);
  EXPECT_EQ(read({.data = {0, 1, 2, -1, 10, 11, 12, -1, -1, 100, 101, 102, -1, 110, 111, 112},
                  .layout = DataLayout::FeatureChannelsxHeightxWidth,
                  .size = size,
                  .bytesPerRow = 16,
                  .bytesPerImage = 36}),
            expected);
  EXPECT_EQ(read({.data = {0, 100, 1, 101, 2, 102, -1, 10, 110, 11, 111, 12, 112}, .size = size, .bytesPerRow = 28}),
            expected);
}

TEST_P(CNNLossChecks, labelsHoldTheirImages) {
  const CNNLossLabels one(device, {.data = {1, 2, 3}, .size = {1, 1, 3}});
  EXPECT_EQ(one.lossImage().descriptor(), (ImageDescriptor{.channelFormat = ImageFeatureChannelFormat::float32}));
  EXPECT_EQ(one.labelsImage().featureChannels(), 3U);
  EXPECT_FALSE(one.weightsImage());
  const CNNLossLabels each(device, {.lossImageSize = {1, 1, 3},
                                    .labelsDescriptor = {.data = {1, 2, 3}, .size = {1, 1, 3}},
                                    .weightsDescriptor = {.data = {4, 5, 6}, .size = {1, 1, 3}}});
  EXPECT_EQ(each.lossImage().featureChannels(), 3U);
  EXPECT_EQ(each.weightsImage().read<float>(), (std::vector<float>{4, 5, 6}));
  const State state = each;
  EXPECT_EQ(CNNLossLabels(state), each);
  EXPECT_FALSE(CNNLossLabels(State()));
  const CNNLossLabelsBatch batch = {one, each};
  const StateBatch states = batch;
  EXPECT_EQ(states, (StateBatch{one, each}));
}

TEST_P(CNNLossChecks, labelsRefuse) {
  const Size size{2, 1, 1};
  const auto refuses = [&](const CNNLossDataDescriptor& d, std::initializer_list<std::string_view> parts) {
    expectRefused([&] { CNNLossLabels(device, d); }, parts);
  };
  expectRefused(
      [&] {
        CNNLossLabels(Device(), CNNLossDataDescriptor{.data = {1}, .size = {1, 1, 1}});
      },
      {"device is nil"});
  refuses({.data = {1}, .size = size}, {"labels of 1 x 2 x 1 need 2 numbers, but 1 are given", "CNNLossLabels"});
  refuses({.data = {1}, .size = {0, 1, 1}}, {"no size is 0"});
  refuses({.data = {1, 2}, .size = size, .bytesPerRow = 4}, {"4 bytes a row"});
  refuses({.data = {1, 2, 3}, .size = size, .bytesPerRow = 9}, {"9 bytes a row"});
  refuses({.data = {1, 2, 3, 4}, .size = {2, 2, 1}, .bytesPerImage = 8}, {"8 an image"});
  refuses({.data = {1, 2}, .size = {1, 2, 1}, .bytesPerRow = all - 3}, {"a row"});
  const CNNLossDataDescriptor labels{.data = {1, 2}, .size = size}, upright{.data = {1, 2}, .size = {1, 2, 1}};
  expectRefused(
      [&] {
        CNNLossLabels(device, {.lossImageSize = {2, 2, 1}, .labelsDescriptor = labels});
      },
      {"lossImageSize is 2 x 2 x 1", "1 x 2 x 1"});
  expectRefused([&] { CNNLossLabels(device, {.labelsDescriptor = labels, .weightsDescriptor = upright}); },
                {"weights are of 2 x 1 x 1, but the labels of 1 x 2 x 1"});
  const Image image = floatImage(device, size);
  expectRefused([&] { CNNLossLabels(device, {.labelsImage = Image()}); }, {"labelsImage is nil"});
  expectRefused([&] { CNNLossLabels(device, {.labelsImage = floatImage(other, size)}); }, {"on device"});
  expectRefused(
      [&] {
        CNNLossLabels(device, {.labelsImage = image, .weightsImage = floatImage(device, {1, 2, 1})});
      },
      {"weights are of"});
  const Image several(device, {.channelFormat = ImageFeatureChannelFormat::float32, .numberOfImages = 2});
  expectRefused([&] { CNNLossLabels(device, {.labelsImage = several}); }, {"holds 2 images"});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const TemporaryImage temporary(commands, {.channelFormat = ImageFeatureChannelFormat::float32});
  expectRefused([&] { CNNLossLabels(device, {.labelsImage = temporary}); }, {"temporary"});
  expectRefused([&] { CNNLossLabels(State(device, 16)); }, {"CNNLossLabels is needed", "State"});
  expectRefused([&] { CNNLossLabels().lossImage(); }, {"nil"});
}

// --- Errors ---

TEST_P(CNNLossChecks, descriptorRefuses) {
  const auto refuses = [&](const CNNLossDescriptor& d, std::initializer_list<std::string_view> parts) {
    expectRefused([&] { CNNLoss(device, d); }, parts);
  };
  refuses({.lossType = CNNLossType::count}, {"lossType of a CNNLoss is 10"});
  refuses({.reductionType = Reduction::count}, {"reductionType of a CNNLoss is 4"});
  refuses({.reductionType = static_cast<Reduction>(-1)}, {"reductionType of a CNNLoss is -1"});
  for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sumByNonZeroWeights})
    refuses({.lossType = cosineDistance, .reductionType = reduction}, {"cosineDistance takes only sum"});
  refuses({.numberOfClasses = 0}, {"numberOfClasses"});
  refuses({.epsilon = -1}, {"epsilon", "-1"});
  refuses({.delta = kNaN}, {"delta", "nan"});
  expectRefused([&] { CNNLoss(Device(), CNNLossDescriptor{}); }, {"CNNLoss is nil"});
}

TEST_P(CNNLossChecks, encodeRefuses) {
  const Size size{2, 1, 3};
  const Image y = floatImage(device, size), dy = floatImage(device, size);
  const CNNLossLabels labels(device, {.data = std::vector<float>(6), .size = size});
  const CNNLossLabels weighted(device, {.labelsDescriptor = {.data = std::vector<float>(6), .size = size},
                                        .weightsDescriptor = {.data = std::vector<float>(6), .size = size}});
  const CNNLossLabels each(device,
                           {.lossImageSize = size, .labelsDescriptor = {.data = std::vector<float>(6), .size = size}});
  const auto refuses = [&](const CNNLossDescriptor& d, const CNNLoss::BatchArguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { CNNLoss(device, d).encode(commands, arguments); }, parts);
  };
  refuses({}, {.sourceImages = {}, .labels = {labels}}, {"CNNLoss", "source image is nil"});
  refuses({}, {.sourceImages = {y}, .labels = {}}, {"There are 0 labels for 1 source images"});
  refuses({}, {.sourceImages = {y}, .labels = {CNNLossLabels()}}, {"labels is nil"});
  refuses({}, {.sourceImages = {y}, .labels = {CNNLossLabels(device, {.data = {1, 2, 3}, .size = {1, 1, 3}})}},
          {"labelsImage of CNNLoss must be of 1 x 2 x 3, but is of 1 x 1 x 3"});
  refuses({}, {.sourceImages = {y}, .labels = {each}}, {"lossImage of CNNLoss must be of 1 x 1 x 1"});
  refuses({.reductionType = Reduction::none}, {.sourceImages = {y}, .labels = {labels}},
          {"lossImage of CNNLoss must be of 1 x 2 x 3"});
  refuses({}, {.sourceImages = {y, y}, .labels = {labels, labels}, .destinationImages = {dy, floatImage(device, size)}},
          {"same labels"});
  refuses({},
          {.sourceImages = {y, y}, .labels = {labels, weighted}, .destinationImages = {dy, floatImage(device, size)}},
          {"1 of the 2 labels have weights"});
  refuses({}, {.sourceImages = {y}, .labels = {labels}, .destinationImages = {y}}, {"overlap"});
  refuses({}, {.sourceImages = {y}, .labels = {CNNLossLabels(other, {.data = {1}, .size = {1, 1, 1}})}}, {"on device"});
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) {
    CNNLoss(device, {}).encode(commands, {.sourceImage = y, .labels = labels, .destinationImage = dy});
  });
}

TEST_P(CNNLossChecks, temporariesCountAsRead) {
  const CNNLossLabels labels(device, {.data = {1, 0, 0}, .size = {1, 1, 3}});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const TemporaryImage y(commands, {.channelFormat = ImageFeatureChannelFormat::float32, .featureChannels = 3});
  CNNLoss kernel(device, {.lossType = softMaxCrossEntropy});
  const TemporaryImage dy(kernel.encode(commands, {.sourceImage = y, .labels = labels}));
  EXPECT_EQ(y.readCount(), 0U);
  EXPECT_EQ(dy.readCount(), 1U);
}

TEST_P(CNNLossChecks, behavesAsKernel) {
  const CNNLossDescriptor d{.lossType = softMaxCrossEntropy,
                            .reductionType = Reduction::mean,
                            .reduceAcrossBatch = true,
                            .weight = 0.25F,
                            .labelSmoothing = 0.125F,
                            .numberOfClasses = 10,
                            .epsilon = 0.5F,
                            .delta = 2};
  const auto make = [&](const CNNLossDescriptor& settings) {
    CNNLoss kernel(device, settings);
    kernel.label = "loss";
    return kernel;
  };
  std::vector<CNNLoss> changed;
  const auto change = [&](auto member, auto value) {
    CNNLossDescriptor descriptor = d;
    descriptor.*member = value;
    changed.push_back(make(descriptor));
  };
  change(&CNNLossDescriptor::lossType, huber);
  change(&CNNLossDescriptor::reductionType, Reduction::sum);
  change(&CNNLossDescriptor::reduceAcrossBatch, false);
  change(&CNNLossDescriptor::weight, 1.0F);
  change(&CNNLossDescriptor::labelSmoothing, 0.0F);
  change(&CNNLossDescriptor::numberOfClasses, std::size_t{1});
  change(&CNNLossDescriptor::epsilon, 1.0F);
  change(&CNNLossDescriptor::delta, 1.0F);
  changed.push_back(make(d));
  changed.back().offset.x = 1;
  const CNNLoss kernel = make(d);
  expectBehavesAsKernel(kernel, changed, device, "CNNLoss");
  EXPECT_EQ(kernel.lossType(), d.lossType);
  EXPECT_EQ(kernel.reductionType(), d.reductionType);
  EXPECT_EQ(kernel.reduceAcrossBatch(), d.reduceAcrossBatch);
  EXPECT_EQ(kernel.weight(), d.weight);
  EXPECT_EQ(kernel.labelSmoothing(), d.labelSmoothing);
  EXPECT_EQ(kernel.numberOfClasses(), d.numberOfClasses);
  EXPECT_EQ(kernel.epsilon(), d.epsilon);
  EXPECT_EQ(kernel.delta(), d.delta);
  EXPECT_TRUE(kernel.isStateModified());
  const auto archive = archiveOf(kernel);
  expectMalformed<CNNLoss>(forged(archive, "lossType", 10), device, "an unknown type");
  expectMalformed<CNNLoss>(forged(archive, "lossType", 7), device, "cosine distance with mean");
  expectMalformed<CNNLoss>(forged(archive, "reductionType", 4), device, "an unknown reduction");
  expectMalformed<CNNLoss>(forged(archive, "numberOfClasses", 0), device, "no classes");
}

TEST(CNNLossDescriptor, defaults) {
  const CNNLossDescriptor d = CNNLossDescriptor::cnnLossDescriptor(huber, Reduction::mean);
  EXPECT_EQ(d.lossType, huber);
  EXPECT_EQ(d.reductionType, Reduction::mean);
  EXPECT_FALSE(d.reduceAcrossBatch);
  EXPECT_EQ(d.weight, 1);
  EXPECT_EQ(d.labelSmoothing, 0);
  EXPECT_EQ(d.numberOfClasses, 1U);
  EXPECT_EQ(d.epsilon, 1e-7F);
  EXPECT_EQ(d.delta, 1);
  EXPECT_EQ(CNNLossDescriptor{}.reductionType, Reduction::sum);
}

}  // namespace
}  // namespace metalloid::test
