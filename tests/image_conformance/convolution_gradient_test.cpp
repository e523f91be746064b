// Gradients of convolutions against differences of the forward kernels.
//
// L = sum of r * y for random r. L is linear in each of source, weights and biases, so that (L(v + 1) - L(v - 1)) / 2
// is its derivative. All numbers are multiples of 2^-5 and at most 3, so that sums of up to 2^10 products are exact in
// float32, in whatever order, and L is exact in double: nothing rounds, and the numbers must be equal.

#include "support/convolution.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/cnn_convolution.hpp>
#include <metalloid/cnn_convolution_transpose.hpp>
#include <metalloid/cnn_fully_connected.hpp>

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

using testing::execute;
using testing::Random;
using Floats = std::vector<float>;

constexpr std::size_t kImages = 2;

struct Shape {
  std::size_t width, height, channels;
};

/// What is differentiated.
struct Point {
  Floats x, w, b;
};

Floats draw(Random& random, std::size_t count) {
  Floats values(count);
  for (float& value : values) value = (static_cast<float>(random.below(129)) - 64) / 32;
  return values;
}

ImageBatch batchOf(const Device& device, const Shape& shape, const Floats& values = {}) {
  ImageBatch batch;
  const std::size_t each = shape.width * shape.height * shape.channels;
  for (std::size_t n = 0; n < kImages; ++n) {
    batch.push_back(testing::imageOf(device, shape.width, shape.height, shape.channels));
    if (!values.empty()) batch.back().write(std::span(values).subspan(n * each, each));
  }
  return batch;
}

Floats valuesOf(const ImageBatch& batch) {
  Floats all;
  for (const Image& image : batch) {
    const auto values = image.read<float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// A forward kernel with its gradient; `configure` sets the geometry of the forward kernel.
template <class Forward, class Gradient>
void check(const Device& device, CNNConvolutionDescriptor descriptor, const Shape& source, const Shape& result,
           const std::function<void(Forward&)>& configure) {
  Random random(testing::seedOf(::testing::UnitTest::GetInstance()->current_test_info()->name()));
  Point at{draw(random, kImages * source.width * source.height * source.channels),
           draw(random, testing::weightCount(descriptor)), draw(random, descriptor.outputFeatureChannels)};
  const Floats r = draw(random, kImages * result.width * result.height * result.channels);

  const auto loss = [&](const Point& point) {
    Forward kernel(device, testing::weightsOf(descriptor, point.w, point.b));
    configure(kernel);
    const auto x = batchOf(device, source, point.x), y = batchOf(device, result);
    execute(device, [&](CommandBuffer& commands) {
      kernel.encodeBatch(commands, {.sourceImages = x, .destinationImages = y});
    });
    const Floats values = valuesOf(y);
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += static_cast<double>(r[i]) * static_cast<double>(values[i]);
    return sum;
  };

  Forward forward(device, testing::weightsOf(descriptor, at.w, at.b));
  configure(forward);
  Gradient gradient(device, forward.sharedWeights());
  gradient.destinationImageAllocator = Image::defaultAllocator();
  const auto x = batchOf(device, source, at.x);
  StateBatch states;
  ImageBatch made;
  execute(device, [&](CommandBuffer& commands) {
    forward.encodeBatch(
        commands, {.sourceImages = x, .destinationStates = &states, .destinationImages = batchOf(device, result)});
    made = gradient.encodeBatch(
        commands, {.sourceGradients = batchOf(device, result, r), .sourceImages = x, .gradientStates = states});
  });
  const CNNConvolutionGradientState state(states.front());

  const auto expectGradient = [&](const char* name, Floats& values, const Floats& computed) {
    ASSERT_EQ(values.size(), computed.size()) << name;
    bool isZero = true;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float value = values[i];
      values[i] = value + 1;
      const double above = loss(at);
      values[i] = value - 1;
      const double below = loss(at);
      values[i] = value;
      EXPECT_EQ(static_cast<double>(computed[i]), (above - below) / 2) << name << "[" << i << "]";
      isZero = isZero && computed[i] == 0;
    }
    EXPECT_FALSE(isZero) << name << ": the check proves nothing.";
  };
  expectGradient("x", at.x, valuesOf(made));
  expectGradient("w", at.w, state.gradientForWeights().template read<float>());
  expectGradient("b", at.b, state.gradientForBiases().template read<float>());
}

class ConvolutionGradient : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  void checkConvolution(const CNNConvolutionDescriptor& descriptor, const Shape& source, const Shape& result,
                        const std::function<void(CNNConvolution&)>& configure) const {
    check<CNNConvolution, CNNConvolutionGradient>(device, descriptor, source, result, configure);
  }
  void checkTranspose(const CNNConvolutionDescriptor& descriptor, const Shape& source, const Shape& result,
                      const std::function<void(CNNConvolutionTranspose&)>& configure) const {
    check<CNNConvolutionTranspose, CNNConvolutionTransposeGradient>(device, descriptor, source, result, configure);
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, ConvolutionGradient, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

TEST_P(ConvolutionGradient, Plain) {
  checkConvolution({.inputFeatureChannels = 2, .outputFeatureChannels = 3}, {4, 3, 2}, {4, 3, 3},
                   [](CNNConvolution&) {});
}

TEST_P(ConvolutionGradient, StridesAndDilation) {
  checkConvolution({.kernelWidth = 3,
                    .kernelHeight = 2,
                    .inputFeatureChannels = 2,
                    .outputFeatureChannels = 2,
                    .strideInPixelsX = 2,
                    .strideInPixelsY = 3,
                    .dilationRateX = 2},
                   {6, 5, 2}, {3, 2, 2}, [](CNNConvolution& kernel) {
                     kernel.offset = {1, 1, 0};
                   });
}

TEST_P(ConvolutionGradient, EvenDilatedWindowAndNegativeOffset) {
  checkConvolution({.kernelWidth = 2, .kernelHeight = 4, .dilationRateX = 3}, {5, 4, 1}, {6, 5, 1},
                   [](CNNConvolution& kernel) {
                     kernel.offset = {-1, -2, 0};
                   });
}

TEST_P(ConvolutionGradient, Groups) {
  checkConvolution(
      {.kernelWidth = 2, .kernelHeight = 1, .inputFeatureChannels = 4, .outputFeatureChannels = 6, .groups = 2},
      {3, 2, 4}, {3, 2, 6}, [](CNNConvolution&) {});
}

TEST_P(ConvolutionGradient, DepthWise) {
  checkConvolution(CNNDepthWiseConvolutionDescriptor(
                       {.kernelWidth = 2, .kernelHeight = 2, .inputFeatureChannels = 3, .outputFeatureChannels = 6}),
                   {3, 3, 3}, {3, 3, 6}, [](CNNConvolution&) {});
}

TEST_P(ConvolutionGradient, ClampedEdges) {
  checkConvolution(
      {.kernelWidth = 4, .kernelHeight = 3, .outputFeatureChannels = 2, .strideInPixelsX = 2, .dilationRateY = 2},
      {3, 3, 1}, {4, 4, 2}, [](CNNConvolution& kernel) {
        kernel.offset = {-1, 0, 0};
        kernel.edgeMode = ImageEdgeMode::clamp;
      });
}

TEST_P(ConvolutionGradient, ClipRectangleAndChannels) {
  checkConvolution({.kernelWidth = 3, .kernelHeight = 3, .inputFeatureChannels = 2, .outputFeatureChannels = 2},
                   {4, 4, 7}, {5, 4, 6}, [](CNNConvolution& kernel) {
                     kernel.offset = {1, 0, 0};
                     kernel.clipRect = {{2, 1, 0}, {2, 3, 1}};
                     kernel.sourceFeatureChannelOffset = 4;
                     kernel.destinationFeatureChannelOffset = 4;
                   });
}

TEST_P(ConvolutionGradient, FullyConnected) {
  check<CNNFullyConnected, CNNFullyConnectedGradient>(
      device, {.kernelWidth = 3, .kernelHeight = 2, .inputFeatureChannels = 2, .outputFeatureChannels = 3}, {3, 2, 2},
      {1, 1, 3}, [](CNNFullyConnected&) {});
}

TEST_P(ConvolutionGradient, Transpose) {
  checkTranspose({.kernelWidth = 3,
                  .kernelHeight = 2,
                  .inputFeatureChannels = 2,
                  .outputFeatureChannels = 3,
                  .strideInPixelsX = 2,
                  .strideInPixelsY = 3},
                 {3, 2, 2}, {6, 4, 3}, [](CNNConvolutionTranspose&) {});
}

TEST_P(ConvolutionGradient, TransposeWithOffsetsGroupsAndDilation) {
  checkTranspose({.kernelWidth = 2,
                  .kernelHeight = 3,
                  .inputFeatureChannels = 4,
                  .outputFeatureChannels = 2,
                  .strideInPixelsX = 2,
                  .groups = 2,
                  .dilationRateX = 3},
                 {4, 3, 4}, {5, 4, 2}, [](CNNConvolutionTranspose& kernel) {
                   kernel.offset = {1, 0, 0};
                   kernel.kernelOffsetX = -1;
                   kernel.kernelOffsetY = 1;
                   kernel.clipRect = {{1, 1, 0}, {3, 3, 1}};
                 });
}

TEST_P(ConvolutionGradient, TransposeClampedEdges) {
  checkTranspose({.kernelWidth = 3, .kernelHeight = 2}, {3, 3, 1}, {4, 4, 1}, [](CNNConvolutionTranspose& kernel) {
    kernel.edgeMode = ImageEdgeMode::clamp;
    kernel.kernelOffsetY = -1;
  });
}

}  // namespace
}  // namespace metalloid
