// The gradients of losses, for predictions and labels, against differences of the losses themselves.
//
// L = sum of g_n * loss of image n. Its derivative along one coordinate is taken from L at +-h and +-2h with the error
// h^4/30 * L''''', and once more with 2h for an estimate of that error. All points are exact in float32 and far from
// kinks; h = 2^-5 balances the truncation with the rounding of the stored loss.

#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/nn_forward_loss.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using enum CNNLossType;
using testing::Random;
using Values = std::vector<double>;

constexpr double kStep = 0x1p-5;
constexpr std::size_t kImages = 2, kWidth = 2, kHeight = 1, kChannels = 3, kEach = kWidth * kHeight * kChannels;

ImageBatch batchOf(const Device& device, const Size& size, const Values& values = {}) {
  const Image container(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                                 .width = size.width,
                                 .height = size.height,
                                 .featureChannels = size.depth,
                                 .numberOfImages = kImages});
  if (!values.empty()) container.write(values);
  return container.batchRepresentation();
}

Values valuesOf(const ImageBatch& batch) {
  Values all;
  for (const Image& image : batch) {
    const auto values = image.read<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// Where a loss and its gradient are taken.
struct Point {
  Values y, labels, weights;  // without weights: empty
  Values incoming;            // for the loss, as it is stored
};

Size lossSize(const CNNLossDescriptor& d) {
  return d.reductionType == CNNReductionType::none ? Size{kWidth, kHeight, kChannels} : Size{1, 1, 1};
}

const Size kSize{kWidth, kHeight, kChannels};

ImageBatch weightsAt(const Device& device, const Point& p) {
  return p.weights.empty() ? ImageBatch() : batchOf(device, kSize, p.weights);
}

/// The losses with each of `moved` in the place of the predictions or the labels. All in one command buffer: there are
/// thousands of them, and waiting for each would take most of the time.
std::vector<Values> lossesAt(const Device& device, const CNNLossDescriptor& descriptor, const Point& p, bool forLabels,
                             const std::vector<Values>& moved) {
  const ImageBatch y = batchOf(device, kSize, p.y), labels = batchOf(device, kSize, p.labels);
  const ImageBatch weights = weightsAt(device, p);
  std::vector<ImageBatch> losses;
  NNForwardLoss kernel(device, descriptor);
  testing::execute(device, [&](CommandBuffer& commands) {
    for (const Values& values : moved) {
      const ImageBatch changed = batchOf(device, kSize, values);
      losses.push_back(batchOf(device, lossSize(descriptor)));
      kernel.encodeBatch(commands, {.sourceImages = forLabels ? y : changed,
                                    .labels = forLabels ? changed : labels,
                                    .weights = weights,
                                    .destinationImages = losses.back()});
    }
  });
  std::vector<Values> all;
  for (const ImageBatch& batch : losses) all.push_back(valuesOf(batch));
  return all;
}

Values gradientAt(const Device& device, const CNNLossDescriptor& descriptor, const Point& p, bool forLabels) {
  const ImageBatch result = batchOf(device, kSize);
  NNLossGradient kernel(device, descriptor);
  kernel.computeLabelGradients = forLabels;
  kernel.appliesReduction = true;
  testing::execute(device, [&](CommandBuffer& commands) {
    kernel.encodeBatch(commands, {.sourceGradients = batchOf(device, lossSize(descriptor), p.incoming),
                                  .sourceImages = batchOf(device, kSize, p.y),
                                  .labels = batchOf(device, kSize, p.labels),
                                  .weights = weightsAt(device, p),
                                  .destinationGradients = result});
  });
  return valuesOf(result);
}

/// Numbers that are exact, within the loss's domain by more than 4h, and more than 4h from its kinks.
Point draw(Random& random, const CNNLossDescriptor& d, bool forLabels, bool hasWeights) {
  Point p;
  const auto among = [&](std::initializer_list<double> choices) {
    return choices.begin()[random.below(choices.size())];
  };
  for (std::size_t i = 0; i < kImages * kEach; ++i) {
    switch (d.lossType) {
      case categoricalCrossEntropy:
      case log:
        p.y.push_back(among({0.4375, 0.5, 0.5625, 0.625}));
        p.labels.push_back(among({0, 0.25, 0.5, 1}));
        break;
      case kullbackLeiblerDivergence:
        p.y.push_back(-among({0.25, 1, 1.5, 3}));
        p.labels.push_back(among({0.5, 0.625, 0.75, 1}));
        break;
      case hinge:
        // 1 - (2t - 1) * y is 1/4 or more from 0, and moves by no more than 4h * 2 * 3/4 with the label.
        p.y.push_back(forLabels ? among({-0.75, -0.5, 0.25, 0.75}) : among({-1.75, -0.75, 0.25, 1.25}));
        p.labels.push_back(among({0, 1}));
        break;
      case softMaxCrossEntropy: {
        // Labels of a pixel add up to 1: then the gradient is the derivative.
        p.y.push_back(among({-1, -0.25, 0.5, 1}));
        constexpr double kDistribution[] = {0.5, 0.125, 0.375};
        p.labels.push_back(kDistribution[i % kChannels]);
        break;
      }
      default:
        // y - t is an odd multiple of 1/4: 1/4 from 0 and from delta = 1/2.
        p.y.push_back(among({-1.75, -0.75, -0.25, 0.25, 0.75, 1.25}));
        p.labels.push_back(among({0, 0.5, 1}));
    }
    // Equal for all channels of a pixel, again for soft-max; some are 0.
    if (hasWeights) p.weights.push_back(i % kChannels == 0 ? among({0, 0.5, 1, 2}) : p.weights.back());
  }
  const Size loss = lossSize(d);
  // Soft-max wants the incoming gradient, too, equal for all channels of a pixel.
  const bool repeats = d.lossType == softMaxCrossEntropy && !forLabels && loss.depth > 1;
  for (std::size_t i = 0; i < kImages * loss.width * loss.height * loss.depth; ++i) {
    const bool isNew = !repeats || i % kChannels == 0;
    p.incoming.push_back(d.reduceAcrossBatch ? 0.75 : isNew ? among({-1, 0.5, 0.75, 2}) : p.incoming.back());
  }
  return p;
}

void check(const Device& device, const CNNLossDescriptor& d, bool forLabels, bool hasWeights, Random& random) {
  const Point at = draw(random, d, forLabels, hasWeights);
  const Values gradient = gradientAt(device, d, at, forLabels);
  // A loss is a sum of up to 12 terms; the reference rounds only what it stores.
  const double roundings = device.name() == "reference" ? 2 : 10 + 12;
  constexpr double kDistances[] = {1, -1, 2, -2, 4, -4};
  const Values& x = forLabels ? at.labels : at.y;
  std::vector<Values> moved;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (const double distance : kDistances) {
      moved.push_back(x);
      moved.back()[i] += distance * kStep;
    }
  }
  const std::vector<Values> all = lossesAt(device, d, at, forLabels, moved);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double start = x[i];
    double magnitude = 1;  // of what the losses are made of
    const auto sumAt = [&](std::size_t distance) {
      const Values& losses = all[i * std::size(kDistances) + distance];
      double sum = 0, sizes = 0;
      for (std::size_t n = 0; n < losses.size(); ++n) {
        sum += at.incoming[n] * losses[n];
        sizes += std::fabs(at.incoming[n] * losses[n]);
      }
      magnitude = std::max(magnitude, sizes);
      return sum;
    };
    const double first = sumAt(0) - sumAt(1), second = sumAt(2) - sumAt(3), fourth = sumAt(4) - sumAt(5);
    const double fine = (8 * first - second) / (12 * kStep), coarse = (8 * second - fourth) / (24 * kStep);
    const double truncation = std::fabs(fine - coarse);  // 15 times the error of the finer one
    const double rounding = (1.5 / kStep + 4) * roundings * 0x1p-24 * magnitude;
    EXPECT_NEAR(gradient[i], fine, truncation + rounding) << "coordinate " << i << " at " << start;
    EXPECT_LT(truncation + rounding, 0.02 * (1 + std::fabs(fine))) << "the check proves nothing";
  }
}

class LossGradientCheck : public ::testing::TestWithParam<Device> {};

void checkAll(const Device& device, bool forLabels) {
  Random random(testing::seedOf(forLabels ? "labels" : "predictions"));
  for (std::uint32_t number = 0; number < 10; ++number) {
    const auto type = static_cast<CNNLossType>(number);
    for (const auto reduction : {CNNReductionType::none, CNNReductionType::sum, CNNReductionType::mean,
                                 CNNReductionType::sumByNonZeroWeights}) {
      // Cosine distance has one reduction; its element weights are documented to act on the gradient alone.
      const bool isCosine = type == cosineDistance;
      if (isCosine && reduction != CNNReductionType::sum) continue;
      for (const bool acrossBatch : {false, true}) {
        SCOPED_TRACE("type " + std::to_string(number) + ", reduction " +
                     std::to_string(static_cast<std::int32_t>(reduction)) + (acrossBatch ? ", across the batch" : ""));
        const CNNLossDescriptor d{.lossType = type,
                                  .reductionType = reduction,
                                  .reduceAcrossBatch = acrossBatch,
                                  .weight = 0.5F,
                                  .labelSmoothing = acrossBatch ? 0.125F : 0.0F,
                                  .numberOfClasses = kChannels,
                                  .epsilon = 0.125F,
                                  .delta = 0.5F};
        check(device, d, forLabels, !isCosine && random.coin(), random);
      }
    }
  }
}

TEST_P(LossGradientCheck, ForPredictions) { checkAll(GetParam(), false); }
TEST_P(LossGradientCheck, ForLabels) { checkAll(GetParam(), true); }

INSTANTIATE_TEST_SUITE_P(Devices, LossGradientCheck, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid
