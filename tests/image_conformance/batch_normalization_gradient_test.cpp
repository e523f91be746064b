// Batch, instance and group normalization: gradients for x, gamma and beta against central differences.

#include "support/central_differences.hpp"
#include "support/devices.hpp"
#include "support/normalization_sources.hpp"

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::image_conformance {
namespace {

using testing::draw;
using testing::execute;
using testing::expectGradient;
using testing::Values;
using testing::weigh;

constexpr std::size_t kImages = 2, kWidth = 3, kHeight = 2, kChannels = 4, kGroups = 2;
constexpr std::size_t kEach = kWidth * kHeight * kChannels, kCount = kImages * kEach;
constexpr std::size_t kTerms = 12;  // of a statistic: pixels of the batch, or of an image and two channels

class NormalizationGradient : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device() const { return GetParam(); }
  /// The reference rounds only what it stores; others each term of a sum, and functions by a few units.
  double roundings() const { return device().name() == "reference" ? 2 : 10 + 4 * kTerms; }

  ImageBatch images(const Values& values = {}) const {
    const auto batch = Image(device(), {.channelFormat = ImageFeatureChannelFormat::float32,
                                        .width = kWidth,
                                        .height = kHeight,
                                        .featureChannels = kChannels,
                                        .numberOfImages = kImages})
                           .batchRepresentation();
    for (std::size_t n = 0; n < batch.size() && !values.empty(); ++n)
      batch[n].write(std::span(values).subspan(n * kEach, kEach));
    return batch;
  }
  static Values valuesOf(const ImageBatch& batch) {
    Values all;
    for (const Image& image : batch) {
      const auto one = image.read<double>();
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  static testing::NormalizationValues parameters(const Values& gamma, const Values& beta) {
    return {.channels = kChannels,
            .gamma = {gamma.begin(), gamma.end()},
            .beta = {beta.begin(), beta.end()},
            .mean = {0.25f, -0.5f, 0, 1},
            .variance = {1, 0.5f, 2, 0.25f},
            .epsilon = 0.125f,
            .groups = kGroups};
  }

  struct Gradients {
    Values forData, forGamma, forBeta;
  };

  /// `forward(x, gamma, beta)` gives y, `backward(x, gamma, beta, r)` the gradients of the sum of r * y.
  void check(const char* name, const std::function<Values(const Values&, const Values&, const Values&)>& forward,
             const std::function<Gradients(const Values&, const Values&, const Values&, const Values&)>& backward) {
    SCOPED_TRACE(name);
    const Values x = draw(random_, kCount), gamma = draw(random_, kChannels), beta = draw(random_, kChannels);
    const Values r = draw(random_, kCount);
    const Gradients gradients = backward(x, gamma, beta, r);
    expectGradient("data", x, gradients.forData, roundings(),
                   [&](const Values& v) { return weigh(r, forward(v, gamma, beta)); });
    expectGradient("gamma", gamma, gradients.forGamma, roundings(),
                   [&](const Values& v) { return weigh(r, forward(x, v, beta)); });
    expectGradient("beta", beta, gradients.forBeta, roundings(),
                   [&](const Values& v) { return weigh(r, forward(x, gamma, v)); });
  }

  void checkBatch(const NNNeuronDescriptor& neuron, bool ofTheBatch) {
    const auto start = [&](CommandBuffer& commands, CNNBatchNormalization& kernel, const ImageBatch& x) {
      const auto state = kernel.resultState({.sourceImage = x[0], .destinationImage = x[0]});
      if (ofTheBatch) {
        CNNBatchNormalizationStatistics(device()).encodeBatch(commands,
                                                              {.sourceImages = x, .batchNormalizationState = state});
      }
      return state;
    };
    check(
        ofTheBatch ? "statistics of the batch" : "fixed statistics",
        [&](const Values& data, const Values& gamma, const Values& beta) {
          auto kernel = testing::batchNormalization(device(), parameters(gamma, beta), neuron);
          const ImageBatch x = images(data), y = images();
          execute(device(), [&](CommandBuffer& commands) {
            const auto state = start(commands, kernel, x);
            kernel.encodeBatch(commands, {.sourceImages = x, .batchNormalizationState = state, .destinationImages = y});
          });
          return valuesOf(y);
        },
        [&](const Values& data, const Values& gamma, const Values& beta, const Values& r) {
          auto kernel = testing::batchNormalization(device(), parameters(gamma, beta), neuron);
          const ImageBatch x = images(data), g = images(r), dx = images();
          CNNBatchNormalizationState state;
          execute(device(), [&](CommandBuffer& commands) {
            state = start(commands, kernel, x);
            CNNBatchNormalizationStatisticsGradient(device(), neuron)
                .encodeBatch(commands, {.sourceGradients = g, .sourceImages = x, .batchNormalizationState = state});
            CNNBatchNormalizationGradient(device(), neuron)
                .encodeBatch(commands, {.sourceGradients = g,
                                        .sourceImages = x,
                                        .batchNormalizationState = state,
                                        .destinationGradients = dx});
          });
          return Gradients{valuesOf(dx), state.gradientForGamma().read<double>(),
                           state.gradientForBeta().read<double>()};
        });
  }

  template <class State, class Make, class Gradient>
  void checkGroups(const char* name, const Make& make, Gradient gradient) {
    check(
        name,
        [&](const Values& data, const Values& gamma, const Values& beta) {
          auto kernel = make(device(), parameters(gamma, beta));
          const ImageBatch x = images(data), y = images();
          execute(device(), [&](CommandBuffer& commands) {
            kernel.encodeBatch(commands, {.sourceImages = x, .destinationImages = y});
          });
          return valuesOf(y);
        },
        [&](const Values& data, const Values& gamma, const Values& beta, const Values& r) {
          auto kernel = make(device(), parameters(gamma, beta));
          const ImageBatch x = images(data), y = images(), g = images(r), dx = images();
          StateBatch states;
          execute(device(), [&](CommandBuffer& commands) {
            kernel.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states, .destinationImages = y});
            gradient.encodeBatch(
                commands,
                {.sourceGradients = g, .sourceImages = x, .gradientStates = states, .destinationGradients = dx});
          });
          Gradients all{valuesOf(dx), Values(kChannels), Values(kChannels)};
          for (const auto& state : states) {
            const auto forGamma = State(state).gradientForGamma().template read<double>();
            const auto forBeta = State(state).gradientForBeta().template read<double>();
            for (std::size_t c = 0; c < kChannels; ++c) {
              all.forGamma[c] += forGamma[c];
              all.forBeta[c] += forBeta[c];
            }
          }
          return all;
        });
  }

  testing::Random random_{testing::seedOf(::testing::UnitTest::GetInstance()->current_test_info()->name())};
};

TEST_P(NormalizationGradient, Batch) {
  using enum CNNNeuronType;
  for (const bool ofTheBatch : {true, false}) {
    checkBatch({}, ofTheBatch);
    for (const auto type : {tanH, softPlus, geLU}) {
      SCOPED_TRACE(static_cast<int>(type));
      checkBatch(NNNeuronDescriptor::cnnNeuronDescriptor(type), ofTheBatch);
    }
  }
}

TEST_P(NormalizationGradient, Instance) {
  checkGroups<CNNInstanceNormalizationGradientState>("instance", testing::instanceNormalization,
                                                     CNNInstanceNormalizationGradient(device()));
}

TEST_P(NormalizationGradient, Group) {
  checkGroups<CNNGroupNormalizationGradientState>("group", testing::groupNormalization,
                                                  CNNGroupNormalizationGradient(device()));
}

INSTANTIATE_TEST_SUITE_P(Devices, NormalizationGradient, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid::image_conformance
