#include "kernels/kernel_checks.hpp"

#include <metalloid/cnn_softmax.hpp>

#include <cmath>
#include <vector>

namespace metalloid::test {
namespace {

class CNNSoftMaxValues : public OnDevice {};
class CNNSoftMaxChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, CNNSoftMaxValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, CNNSoftMaxChecks, testing::Values("reference", "cpu", "null"), deviceName);

using Values = std::vector<double>;

Image floatImage(const Device& device, const Size& size, const std::vector<float>& values = {}) {
  const Image image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                             .width = size.width,
                             .height = size.height,
                             .featureChannels = size.depth});
  if (!values.empty()) image.write(values);
  return image;
}

template <class K>
Values run(const Device& device, const Size& size, const std::vector<float>& x) {
  const Image source = floatImage(device, size, x), result = floatImage(device, size);
  execute(device, [&](CommandBuffer& commands) {
    K(device).encode(commands, {.sourceImage = source, .destinationImage = result});
  });
  return result.template read<double>();
}

template <class K>
Values runGradient(const Device& device, const Size& size, const std::vector<float>& g, const std::vector<float>& y) {
  const Image gradient = floatImage(device, size, g), forward = floatImage(device, size, y);
  const Image result = floatImage(device, size);
  execute(device, [&](CommandBuffer& commands) {
    K(device).encode(commands, {.sourceGradient = gradient, .sourceImage = forward, .destinationGradient = result});
  });
  return result.template read<double>();
}

void expectAll(const Values& actual, const Values& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

// A handful of roundings of numbers up to 4.
constexpr double kTolerance = 4 * 8 * 0x1p-24;

TEST_P(CNNSoftMaxValues, overTheChannelsOfEachPixel) {
  // Two pixels of three channels.
  const std::vector<float> x = {1, 2, 0, -1, 3, 0.5F};
  Values probabilities, logarithms;
  for (std::size_t p = 0; p < 2; ++p) {
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) sum += std::exp(double{x[3 * p + c]});
    for (std::size_t c = 0; c < 3; ++c) {
      probabilities.push_back(std::exp(double{x[3 * p + c]}) / sum);
      logarithms.push_back(double{x[3 * p + c]} - std::log(sum));
    }
  }
  expectAll(run<CNNSoftMax>(device, {1, 2, 3}, x), probabilities, kTolerance);
  expectAll(run<CNNLogSoftMax>(device, {2, 1, 3}, x), logarithms, kTolerance);
}

TEST_P(CNNSoftMaxValues, largeLogitsDoNotOverflow) {
  expectAll(run<CNNSoftMax>(device, {1, 1, 3}, {1000, 1000, -1000}), {0.5, 0.5, 0}, kTolerance);
  expectAll(run<CNNLogSoftMax>(device, {1, 1, 2}, {1000, -1000}), {0, -2000}, 0);
  expectAll(run<CNNSoftMax>(device, {1, 1, 1}, {-3}), {1}, 0);
}

TEST_P(CNNSoftMaxValues, gradientExample) {
  expectAll(runGradient<CNNSoftMaxGradient>(device, {1, 1, 3}, {1, 0, 0}, {0.2F, 0.3F, 0.5F}), {0.16, -0.06, -0.10},
            kTolerance);
}

TEST_P(CNNSoftMaxValues, gradientOfTheLogarithm) {
  const std::vector<float> l = {std::log(0.2F), std::log(0.3F), std::log(0.5F)};
  expectAll(runGradient<CNNLogSoftMaxGradient>(device, {1, 1, 3}, {1, 0, -3}, l), {1.4, 0.6, -2}, kTolerance);
}

/// Forward into the second four channels of a rectangle, backward by the state: only what was read receives gradient.
TEST_P(CNNSoftMaxValues, gradientConfiguresItselfFromTheState) {
  const Size size{3, 1, 8}, resultSize{4, 1, 8};
  std::vector<float> x(24), g(32);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 5);
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = static_cast<float>(i * 5 % 7);
  const Image source = floatImage(device, size, x), y = floatImage(device, resultSize);
  const Image gradient = floatImage(device, resultSize, g);
  CNNSoftMax forward(device);
  forward.offset = {1, 0, 0};
  forward.clipRect = {{2, 0, 0}, {2, 1, 1}};
  forward.sourceFeatureChannelOffset = 4;
  forward.destinationFeatureChannelOffset = 4;
  CNNSoftMaxGradient backward(device);
  backward.destinationImageAllocator = Image::defaultAllocator();
  Image dx;
  execute(device, [&](CommandBuffer& commands) {
    State state;
    forward.encode(commands, {.sourceImage = source, .destinationState = &state, .destinationImage = y});
    dx = backward.encode(commands, {.sourceGradient = gradient, .sourceImage = y, .gradientState = state});
  });
  EXPECT_EQ(dx.width(), 3U);
  EXPECT_EQ(dx.featureChannels(), 8U);
  Values expected(24, 0);
  for (std::size_t p = 1; p < 3; ++p) {  // source pixel p became result pixel p + 1
    double sum = 0, product = 0;
    for (std::size_t c = 4; c < 8; ++c) sum += std::exp(double{x[8 * p + c]});
    const auto s = [&](std::size_t c) { return std::exp(double{x[8 * p + c]}) / sum; };
    for (std::size_t c = 4; c < 8; ++c) product += double{g[8 * (p + 1) + c]} * s(c);
    for (std::size_t c = 4; c < 8; ++c) expected[8 * p + c] = s(c) * (double{g[8 * (p + 1) + c]} - product);
  }
  expectAll(dx.read<double>(), expected, 2 * kTolerance);
}

TEST_P(CNNSoftMaxChecks, makesItsDestination) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const TemporaryImage x(
      commands, {.channelFormat = ImageFeatureChannelFormat::float16, .width = 2, .height = 3, .featureChannels = 5});
  CNNLogSoftMax kernel(device);
  StateBatch states;
  const ImageBatch y = kernel.encodeBatch(commands, {.sourceImages = {x}, .destinationStates = &states});
  EXPECT_EQ(y.front().descriptor(), x.descriptor());
  EXPECT_EQ(x.readCount(), 0U);
  EXPECT_NO_THROW(NNGradientState(states.front()));
}

TEST_P(CNNSoftMaxChecks, refuse) {
  const Image x = floatImage(device, {2, 1, 8}), y = floatImage(device, {2, 1, 8});
  const auto refuses = [&](const std::function<void(CNNSoftMax&)>& change, const CNNSoftMax::Arguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    CNNSoftMax kernel(device);
    change(kernel);
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  refuses([](auto&) {}, {.sourceImage = {}}, {"CNNSoftMax", "nil"});
  refuses([](auto&) {}, {.sourceImage = x, .destinationImage = x}, {"overlap"});
  refuses([](auto&) {}, {.sourceImage = x, .destinationImage = floatImage(device, {2, 1, 7})}, {"channels"});
  refuses([](auto& k) { k.sourceFeatureChannelOffset = 3; }, {.sourceImage = x, .destinationImage = y},
          {"multiple of 4"});
  CNNSoftMaxGradient gradient(device);
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        gradient.encode(commands, {.sourceGradient = x, .sourceImage = y, .destinationGradient = x});
                      },
                      {"CNNSoftMaxGradient", "overlap"});
  expectRefused([&] { CNNSoftMax{Device()}; }, {"CNNSoftMax is nil"});
}

template <class K>
void expectKernel(const Device& device, const std::string& className, const K& other) {
  K kernel(device);
  kernel.label = "soft-max";
  kernel.clipRect = {{1, 2, 3}, {4, 5, 6}};
  expectBehavesAsKernel(kernel, {other}, device, className);
}

TEST_P(CNNSoftMaxChecks, behaveAsKernels) {
  expectKernel(device, "CNNSoftMax", CNNSoftMax(device));
  expectKernel(device, "CNNLogSoftMax", CNNLogSoftMax(device));
  expectKernel(device, "CNNSoftMaxGradient", CNNSoftMaxGradient(device));
  expectKernel(device, "CNNLogSoftMaxGradient", CNNLogSoftMaxGradient(device));
  expectMalformed<CNNSoftMax>(archiveOf(CNNLogSoftMax(device)), device, "the archive of another soft-max");
}

}  // namespace
}  // namespace metalloid::test
