// Batch, instance and group normalization against what PyTorch computes in float64 (make_normalization_vectors.py),
// forward and backward.
//
// Expected values carry one rounding to float32. The reference rounds what it stores, results and statistics; other
// devices each term of a sum besides.

#include "formats/safetensors.hpp"
#include "support/devices.hpp"
#include "support/normalization_sources.hpp"

#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

constexpr float kEpsilon = 0.0009765625f;

const formats::TensorView& tensor(const std::string& name) {
  static const auto file = formats::SafetensorsFile::read(METALLOID_TESTS "/vectors/normalization.safetensors");
  const auto* const found = file.find(name);
  if (!found) throw std::runtime_error("normalization.safetensors holds no " + name);
  return *found;
}

std::vector<float> values(const std::string& name) { return formats::floatValues(tensor(name)); }

std::vector<float> valuesOf(const ImageBatch& batch) {
  std::vector<float> all;
  for (const Image& image : batch) {
    const auto one = image.read<float>();
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

class PyTorchNormalization : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  ImageBatch like(const std::string& name) const {
    const auto& shape = tensor(name).shape;
    return Image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                          .width = shape.at(2),
                          .height = shape.at(1),
                          .featureChannels = shape.at(3),
                          .numberOfImages = shape.at(0)})
        .batchRepresentation();
  }
  ImageBatch images(const std::string& name) const {
    const ImageBatch batch = like(name);
    batch.front().parent().write(std::span<const float>(values(name)));
    return batch;
  }
  testing::NormalizationValues parameters(const std::string& p, bool withStatistics = false) const {
    testing::NormalizationValues result{
        .channels = 6, .gamma = values(p + "gamma"), .beta = values(p + "beta"), .epsilon = kEpsilon, .groups = 2};
    if (withStatistics) {
      result.mean = values(p + "mean");
      result.variance = values(p + "variance");
    }
    return result;
  }

  void expectClose(const std::vector<float>& actual, const std::string& name, double roundings, double scale) const {
    const auto expected = values(name);
    ASSERT_EQ(actual.size(), expected.size()) << name;
    const double own = (device.name() == "reference" ? 3 : roundings) * scale;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(actual[i], expected[i], 0x1p-24 * (own + std::fabs(static_cast<double>(expected[i]))))
          << name << "[" << i << "]";
    }
  }

  // 60 pixels of numbers up to 2. xhat is below 2, as gamma, beta and dy are; each carries the roundings of a mean.
  static constexpr double kSum = 60 + 8;

  void checkBatch(const std::string& p, CNNNeuronType type, bool isFixed) const {
    SCOPED_TRACE(p);
    const auto neuron = NNNeuronDescriptor::cnnNeuronDescriptor(type);
    auto kernel = testing::batchNormalization(device, parameters(p, isFixed), neuron);
    const ImageBatch x = images(p + "x"), dy = images(p + "dy"), y = like(p + "y"), dx = like(p + "dx");
    const auto state = kernel.resultState({.sourceImage = x[0], .destinationImage = y[0]});
    testing::execute(device, [&](CommandBuffer& commands) {
      if (!isFixed) {
        CNNBatchNormalizationStatistics(device).encodeBatch(commands,
                                                            {.sourceImages = x, .batchNormalizationState = state});
      }
      kernel.encodeBatch(commands, {.sourceImages = x, .batchNormalizationState = state, .destinationImages = y});
      CNNBatchNormalizationStatisticsGradient(device, neuron)
          .encodeBatch(commands, {.sourceGradients = dy, .sourceImages = x, .batchNormalizationState = state});
      CNNBatchNormalizationGradient(device, neuron)
          .encodeBatch(
              commands,
              {.sourceGradients = dy, .sourceImages = x, .batchNormalizationState = state, .destinationGradients = dx});
    });
    expectClose(state.mean().read<float>(), p + "mean", kSum, 2);
    expectClose(state.variance().read<float>(), p + "variance", kSum, 4);
    expectClose(valuesOf(y), p + "y", 2 * kSum, 6);
    expectClose(state.gradientForBeta().read<float>(), p + "dbeta", 2 * kSum, 120);
    expectClose(state.gradientForGamma().read<float>(), p + "dgamma", 2 * kSum, 240);
    expectClose(valuesOf(dx), p + "dx", 2 * kSum, 16);
  }

  template <class State, class Kernel, class Gradient>
  void checkGroups(const std::string& p, Kernel kernel, Gradient gradient) const {
    const ImageBatch x = images(p + "x"), dy = images(p + "dy"), y = like(p + "y"), dx = like(p + "dx");
    StateBatch states;
    testing::execute(device, [&](CommandBuffer& commands) {
      kernel.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states, .destinationImages = y});
      gradient.encodeBatch(
          commands, {.sourceGradients = dy, .sourceImages = x, .gradientStates = states, .destinationGradients = dx});
    });
    // Of the whole batch: the sum over its images.
    std::vector<float> forGamma(6), forBeta(6);
    for (const auto& state : states) {
      const auto gamma = State(state).gradientForGamma().template read<float>();
      const auto beta = State(state).gradientForBeta().template read<float>();
      for (std::size_t c = 0; c < 6; ++c) {
        forGamma[c] += gamma[c];
        forBeta[c] += beta[c];
      }
    }
    expectClose(valuesOf(y), p + "y", 2 * kSum, 6);
    expectClose(forBeta, p + "dbeta", 2 * kSum, 120);
    expectClose(forGamma, p + "dgamma", 2 * kSum, 240);
    expectClose(valuesOf(dx), p + "dx", 2 * kSum, 16);
  }
};

TEST_P(PyTorchNormalization, Batch) {
  checkBatch("batch.none.", CNNNeuronType::none, false);
  checkBatch("batch.reLU.", CNNNeuronType::reLU, false);
  checkBatch("batch.sigmoid.", CNNNeuronType::sigmoid, false);
  checkBatch("fixed.reLU.", CNNNeuronType::reLU, true);
}

TEST_P(PyTorchNormalization, Instance) {
  checkGroups<CNNInstanceNormalizationGradientState>("instance.",
                                                     testing::instanceNormalization(device, parameters("instance.")),
                                                     CNNInstanceNormalizationGradient(device));
}

TEST_P(PyTorchNormalization, Group) {
  checkGroups<CNNGroupNormalizationGradientState>("group.", testing::groupNormalization(device, parameters("group.")),
                                                  CNNGroupNormalizationGradient(device));
}

INSTANTIATE_TEST_SUITE_P(Devices, PyTorchNormalization, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid
