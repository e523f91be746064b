// The local normalizations against what PyTorch computes in float64 (make_local_normalization_vectors.py).

#include "formats/safetensors.hpp"
#include "support/devices.hpp"

#include <metalloid/cnn_local_normalization.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

const formats::TensorView& tensor(const std::string& name) {
  static const auto file = formats::SafetensorsFile::read(METALLOID_TESTS "/vectors/local_normalization.safetensors");
  const auto* const found = file.find(name);
  if (!found) throw std::runtime_error("local_normalization.safetensors holds no " + name);
  return *found;
}

std::vector<float> values(const std::string& name) { return formats::floatValues(tensor(name)); }

class PyTorchLocalNormalization : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  ImageBatch images(const std::string& name, bool filled) const {
    const auto& shape = tensor(name).shape;
    const Image image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                               .width = shape.at(2),
                               .height = shape.at(1),
                               .featureChannels = shape.at(3),
                               .numberOfImages = shape.at(0)});
    if (filled) image.write(values(name));
    return image.batchRepresentation();
  }

  /// Expected values carry one rounding, ours `roundings` of numbers as large as the largest.
  static void expectClose(const ImageBatch& images, const std::string& name, double roundings) {
    const auto expected = values(name);
    double largest = 0;
    for (const float value : expected) largest = std::max(largest, std::fabs(static_cast<double>(value)));
    std::size_t i = 0;
    for (const Image& image : images) {
      for (const float value : image.read<float>()) {
        EXPECT_NEAR(value, expected.at(i), (roundings + 1) * 0x1p-24 * largest) << name << "[" << i << "]";
        ++i;
      }
    }
    EXPECT_EQ(i, expected.size());
  }

  /// `roundings` of the function; its gradient has two such terms.
  template <class Forward, class Backward>
  void compare(const std::string& p, Forward forward, Backward backward, double roundings) const {
    const auto parameters = values(p + "parameters");
    const auto set = [&](auto& kernel) {
      kernel.alpha = parameters[1];
      kernel.beta = parameters[2];
      kernel.delta = parameters[3];
      if constexpr (requires { kernel.p0; }) {
        kernel.p0 = parameters[4];
        kernel.pm = parameters[5];
        kernel.ps = parameters[6];
      }
    };
    set(forward);
    set(backward);
    const ImageBatch x = images(p + "x", true), dy = images(p + "dy", true);
    const ImageBatch y = images(p + "y", false), dx = images(p + "dx", false);
    testing::execute(device, [&](CommandBuffer& commands) {
      forward.encodeBatch(commands, {.sourceImages = x, .destinationImages = y});
      backward.encodeBatch(commands, {.sourceGradients = dy, .sourceImages = x, .destinationGradients = dx});
    });
    expectClose(y, p + "y", roundings);
    expectClose(dx, p + "dx", 2 * roundings);
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, PyTorchLocalNormalization, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& instance) { return testing::identifier(instance.param); });

// Sums of n terms have n roundings, of which beta makes beta times as many; a power has 9.

TEST_P(PyTorchLocalNormalization, CrossChannel) {
  for (const std::size_t size : {1, 3, 4, 5}) {
    compare("cross_channel." + std::to_string(size) + ".", CNNCrossChannelNormalization(device, size),
            CNNCrossChannelNormalizationGradient(device, size), 5 * 8 + 9);
  }
}

TEST_P(PyTorchLocalNormalization, Spatial) {
  for (const std::size_t size : {3, 4}) {
    compare("spatial." + std::to_string(size) + ".", CNNSpatialNormalization(device, size, size),
            CNNSpatialNormalizationGradient(device, size, size), 1.25 * 16 + 9);
  }
}

TEST_P(PyTorchLocalNormalization, LocalContrast) {
  for (const std::size_t size : {3, 4}) {
    compare("contrast." + std::to_string(size) + ".", CNNLocalContrastNormalization(device, size, size),
            CNNLocalContrastNormalizationGradient(device, size, size), 1.25 * 20 + 9 + 9);
  }
}

}  // namespace
}  // namespace metalloid
