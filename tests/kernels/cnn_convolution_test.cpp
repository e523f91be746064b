// Long: as the kernel, of which each setting has its test, by one oracle.

#include <metalloid/cnn_convolution.hpp>

#include "kernels/kernel_checks.hpp"
#include "support/convolution.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <cstring>
#include <sstream>

namespace metalloid {
namespace {

using test::expectRefused;
using testing::execute;
using testing::imageOf;
using testing::weightsOf;
using Floats = std::vector<float>;

/// A window along one row, one channel in and out.
CNNConvolutionDescriptor alongX(std::size_t taps, std::size_t stride = 1, std::size_t dilation = 1) {
  return {.kernelWidth = taps, .kernelHeight = 1, .strideInPixelsX = stride, .dilationRateX = dilation};
}

template <class F>
ErrorCode codeOf(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::device;
}

class CNNConvolutionTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width, std::size_t height, std::size_t channels, const Floats& values = {}) const {
    return imageOf(device, width, height, channels, values);
  }

  /// What `kernel` makes of `source` in a destination of this size.
  Floats run(CNNConvolution kernel, const Image& source, std::size_t width, std::size_t height,
             std::size_t channels) const {
    const Image result = image(width, height, channels);
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.sourceImage = source, .destinationImage = result});
    });
    return result.read<float>();
  }

  Floats row(const CNNConvolutionDescriptor& descriptor, const Floats& weights, std::size_t outputs) const {
    return run(CNNConvolution(device, weightsOf(descriptor, weights)), image(5, 1, 1, {1, 2, 3, 4, 5}), outputs, 1, 1);
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, CNNConvolutionTest, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& parameter) { return testing::identifier(parameter.param); });

TEST_P(CNNConvolutionTest, ComputesTheWorkedExamples) {
  EXPECT_EQ(row(alongX(3), {1, 10, 100}, 5), (Floats{210, 321, 432, 543, 54}));
  EXPECT_EQ(row(alongX(3, 2), {1, 10, 100}, 3), (Floats{210, 432, 54}));
  EXPECT_EQ(row(alongX(2), {1, 10}, 5), (Floats{10, 21, 32, 43, 54}));
  EXPECT_EQ(row(alongX(3, 1, 2), {1, 10, 100}, 5), (Floats{310, 420, 531, 42, 53}));
  EXPECT_EQ(row(alongX(2, 1, 3), {1, 10}, 5), (Floats{20, 30, 41, 52, 3}));
}

TEST_P(CNNConvolutionTest, ReadsWeightsRowByRow) {
  CNNConvolution kernel(device, weightsOf({.kernelWidth = 2, .kernelHeight = 3}, {1, 2, 3, 4, 5, 6}, {0.5f}));
  kernel.offset = {1, 1, 0};
  kernel.clipRect.size = {1, 1, 1};
  const Image source = image(2, 3, 1, {1, 10, 100, 1000, 10000, 100000});
  EXPECT_EQ(run(kernel, source, 1, 1, 1), (Floats{1 + 20 + 300 + 4000 + 50000 + 600000 + 0.5f}));
}

TEST_P(CNNConvolutionTest, ClampsAtTheEdges) {
  CNNConvolution kernel(device, weightsOf(alongX(3), {1, 10, 100}));
  kernel.edgeMode = ImageEdgeMode::clamp;
  EXPECT_EQ(run(kernel, image(5, 1, 1, {1, 2, 3, 4, 5}), 5, 1, 1), (Floats{211, 321, 432, 543, 554}));
}

TEST_P(CNNConvolutionTest, GroupsSeeTheirOwnChannels) {
  // Output 0 and 1 see inputs 0 and 1, outputs 2 and 3 the others.
  const CNNConvolutionDescriptor descriptor{
      .kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = 4, .outputFeatureChannels = 4, .groups = 2};
  const CNNConvolution kernel(device, weightsOf(descriptor, {1, 10, 2, 20, 3, 30, 4, 40}, {0, 0, 0, 0.5f}));
  EXPECT_EQ(run(kernel, image(1, 1, 4, {1, 2, 3, 4}), 1, 1, 4), (Floats{21, 42, 129, 172.5f}));
}

TEST_P(CNNConvolutionTest, DepthWiseMakesEachChannelOfOne) {
  const CNNDepthWiseConvolutionDescriptor one(
      {.kernelWidth = 2, .kernelHeight = 1, .inputFeatureChannels = 3, .outputFeatureChannels = 3});
  CNNConvolution kernel(device, weightsOf(one, {1, 10, 2, 20, 3, 30}));
  EXPECT_EQ(kernel.channelMultiplier(), 1u);
  EXPECT_EQ(kernel.groups(), 1u);
  EXPECT_EQ(run(kernel, image(2, 1, 3, {1, 2, 3, 4, 5, 6}), 2, 1, 3), (Floats{10, 40, 90, 41, 104, 189}));
  const CNNDepthWiseConvolutionDescriptor two(
      {.kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = 2, .outputFeatureChannels = 4});
  EXPECT_EQ(run(CNNConvolution(device, weightsOf(two, {1, 2, 3, 4})), image(1, 1, 2, {10, 100}), 1, 1, 4),
            (Floats{10, 20, 300, 400}));
}

TEST_P(CNNConvolutionTest, SubPixelsBecomeBlocks) {
  // T has 8 channels k = 1 ... 8 times the source; r = 2 makes blocks of 2 x 2 pixels of 2 channels.
  const CNNSubPixelConvolutionDescriptor descriptor({.kernelWidth = 1, .kernelHeight = 1, .outputFeatureChannels = 8},
                                                    2);
  CNNConvolution kernel(device, weightsOf(descriptor, {1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(kernel.subPixelScaleFactor(), 2u);
  const Image source = image(2, 1, 1, {1, 10});
  const Floats whole{1, 2, 3, 4, 10, 20, 30, 40, 5, 6, 7, 8, 50, 60, 70, 80};
  EXPECT_EQ(run(kernel, source, 4, 2, 2), whole);
  // A clip rectangle that cuts a block: T is computed for all of it.
  EXPECT_EQ(run(kernel, source, 3, 1, 2), (Floats{1, 2, 3, 4, 10, 20}));
  Image made;
  Floats values;
  execute(device, [&](CommandBuffer& commands) {
    made = kernel.encode(commands, {.sourceImage = source});
    EXPECT_EQ(made.width(), 4u);
    EXPECT_EQ(made.height(), 2u);
    EXPECT_EQ(made.featureChannels(), 2u);
  });
  EXPECT_EQ(codeOf([&] { kernel.resultState({.sourceImage = source, .destinationImage = image(4, 2, 2)}); }),
            ErrorCode::unsupported);
}

TEST_P(CNNConvolutionTest, FoldsBatchNormalizationBeforeTheNeuron) {
  CNNConvolutionDescriptor descriptor{.kernelWidth = 1, .kernelHeight = 1, .outputFeatureChannels = 2};
  descriptor.setBatchNormalizationParametersForInferenceWithMean(Floats{1, 2}, Floats{3, 8}, Floats{2, 3}, Floats{5, 6},
                                                                 1);
  descriptor.fusedNeuronDescriptor = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::reLU, 0.0f);
  const CNNConvolution kernel(device, weightsOf(descriptor, {3, -6}, {1, 2}));
  // 2 * (3 + 1 - 1) / 2 + 5 and 3 * (-6 + 2 - 2) / 3 + 6; then 2 * (30 + 1 - 1) / 2 + 5 and -60 + 6, which ReLU makes 0
  EXPECT_EQ(run(kernel, image(2, 1, 1, {1, 10}), 2, 1, 2), (Floats{8, 0, 35, 0}));
  CNNConvolutionDescriptor nothing{.kernelWidth = 1, .kernelHeight = 1};
  nothing.setBatchNormalizationParametersForInferenceWithMean({}, {}, {}, {}, 1);
  EXPECT_EQ(run(CNNConvolution(device, weightsOf(nothing, {3})), image(1, 1, 1, {2}), 1, 1, 1), (Floats{6}));
  CNNConvolutionDescriptor gammaOnly{.kernelWidth = 1, .kernelHeight = 1};
  gammaOnly.setBatchNormalizationParametersForInferenceWithMean({}, {}, Floats{4}, {}, 1);
  EXPECT_EQ(run(CNNConvolution(device, weightsOf(gammaOnly, {3}, {1})), image(1, 1, 1, {2}), 1, 1, 1), (Floats{28}));
}

TEST_P(CNNConvolutionTest, AppliesNeurons) {
  CNNConvolutionDescriptor descriptor{.kernelWidth = 1, .kernelHeight = 1, .outputFeatureChannels = 2};
  descriptor.fusedNeuronDescriptor = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(Floats{0.5f, 2});
  const CNNConvolution kernel(device, weightsOf(descriptor, {1, 1}));
  EXPECT_EQ(kernel.fusedNeuronDescriptor().data, (Floats{0.5f, 2}));
  EXPECT_EQ(run(kernel, image(2, 1, 1, {-4, 3}), 2, 1, 2), (Floats{-2, -8, 3, 3}));
}

TEST_P(CNNConvolutionTest, WritesTheClipRectangleAndItsChannelsOnly) {
  CNNConvolution kernel(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = 2}, {1, 10}));
  kernel.offset = {1, 0, 0};
  kernel.clipRect = {{1, 1, 0}, {2, 1, 1}};
  kernel.sourceFeatureChannelOffset = 4;
  kernel.destinationFeatureChannelOffset = 4;
  Floats sourceValues(3 * 1 * 6), expected(4 * 2 * 5, 7);
  for (std::size_t i = 0; i < sourceValues.size(); ++i) sourceValues[i] = static_cast<float>(i);
  const Image source = image(3, 1, 6, sourceValues), destination = image(4, 2, 5, expected);
  expected[(1 * 4 + 1) * 5 + 4] = 10 + 110;  // source pixel 1, channels 4 and 5
  expected[(1 * 4 + 2) * 5 + 4] = 16 + 170;
  execute(device, [&](CommandBuffer& commands) {
    EXPECT_EQ(kernel.encode(commands, {.sourceImage = source, .destinationImage = destination}), destination);
  });
  EXPECT_EQ(destination.read<float>(), expected);
}

TEST_P(CNNConvolutionTest, ChoosesImagesOfContainersByZ) {
  CNNConvolution kernel(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {2}));
  kernel.offset.z = 1;
  kernel.clipRect = {{0, 0, 2}, {all, all, 2}};
  const ImageDescriptor descriptor{.channelFormat = ImageFeatureChannelFormat::float32, .numberOfImages = 4};
  const Image source(device, descriptor), destination(device, descriptor);
  source.write(Floats{1, 2, 3, 4});
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = source, .destinationImage = destination});
  });
  EXPECT_EQ(destination.read<float>(), (Floats{0, 0, 4, 6}));
}

TEST_P(CNNConvolutionTest, DefaultsAreTheDocumentedOnes) {
  const CNNConvolutionDescriptor descriptor;
  EXPECT_EQ(descriptor.kernelWidth, 3u);
  EXPECT_EQ(descriptor.kernelHeight, 3u);
  EXPECT_EQ(descriptor.strideInPixelsX, 1u);
  EXPECT_EQ(descriptor.strideInPixelsY, 1u);
  EXPECT_EQ(descriptor.dilationRateX, 1u);
  EXPECT_EQ(descriptor.dilationRateY, 1u);
  EXPECT_EQ(descriptor.groups, 1u);
  EXPECT_EQ(descriptor.fusedNeuronDescriptor.neuronType, CNNNeuronType::none);
  EXPECT_EQ(descriptor.subPixelScaleFactor, 1u);
  const auto source =
      weightsOf({.strideInPixelsX = 2, .strideInPixelsY = 3, .dilationRateX = 4, .dilationRateY = 5}, Floats(9));
  source->name = "conv1";
  const CNNConvolution kernel(device, source);
  EXPECT_EQ(kernel.label, "conv1");
  EXPECT_EQ(kernel.dataSource(), source);
  EXPECT_EQ(kernel.kernelWidth(), 3u);
  EXPECT_EQ(kernel.kernelHeight(), 3u);
  EXPECT_EQ(kernel.strideInPixelsX(), 2u);
  EXPECT_EQ(kernel.strideInPixelsY(), 3u);
  EXPECT_EQ(kernel.dilationRateX(), 4u);
  EXPECT_EQ(kernel.dilationRateY(), 5u);
  EXPECT_EQ(kernel.inputFeatureChannels(), 1u);
  EXPECT_EQ(kernel.outputFeatureChannels(), 1u);
  EXPECT_EQ(kernel.groups(), 1u);
  EXPECT_EQ(kernel.channelMultiplier(), 0u);
  EXPECT_EQ(kernel.subPixelScaleFactor(), 1u);
  EXPECT_EQ(kernel.accumulatorPrecisionOption, NNConvolutionAccumulatorPrecisionOption::float_);
  EXPECT_EQ(kernel.edgeMode, ImageEdgeMode::zero);
  EXPECT_EQ(kernel.padding->paddingMethod(), NNPaddingMethod::sizeSame);
  EXPECT_FALSE(kernel.isBackwards());
  EXPECT_FALSE(kernel.isStateModified());
  EXPECT_TRUE(kernel.isResultStateReusedAcrossBatch());
  EXPECT_EQ(source->loads, 1);
  EXPECT_EQ(source->purges, 1);
}

TEST_P(CNNConvolutionTest, SizesDestinationsByThePolicy) {
  struct Sizing {
    std::size_t n, k, s;
    NNPaddingMethod size;
    std::size_t result;
    std::ptrdiff_t offsetBottomRight, offsetTopLeft;
  };
  using enum NNPaddingMethod;
  const Sizing sizings[] = {{5, 3, 2, sizeSame, 3, 0, 0},      {6, 3, 2, sizeSame, 3, 1, 0},
                            {5, 2, 2, sizeSame, 3, 1, 0},      {4, 3, 1, sizeFull, 6, -1, -1},
                            {9, 2, 4, sizeValidOnly, 2, 2, 2}, {6, 1, 3, sizeSame, 2, 1, 0}};
  for (const auto& c : sizings) {
    CNNConvolution kernel(device, weightsOf(alongX(c.k, c.s), Floats(c.k)));
    const Image source = image(c.n, 1, 1);
    for (const bool toBottomRight : {true, false}) {
      SCOPED_TRACE(::testing::Message() << "n = " << c.n << ", k = " << c.k << ", s = " << c.s);
      kernel.padding = NNDefaultPadding::paddingWithMethod(
          c.size | (toBottomRight ? addRemainderToBottomRight : addRemainderToTopLeft));
      const auto made = kernel.destinationImageDescriptor({source});
      EXPECT_EQ(made.width, c.result);
      EXPECT_EQ(made.height, 1u);
      EXPECT_EQ(kernel.offset.x, toBottomRight ? c.offsetBottomRight : c.offsetTopLeft);
    }
  }
  // A dilated window counts as wide as it is.
  CNNConvolution dilated(device, weightsOf(alongX(3, 1, 2), Floats(3)));
  dilated.padding = NNDefaultPadding::paddingWithMethod(sizeValidOnly);
  EXPECT_EQ(dilated.destinationImageDescriptor({image(7, 1, 1)}).width, 3u);
  EXPECT_EQ(dilated.offset.x, 2);
  expectRefused([&] { dilated.destinationImageDescriptor({image(4, 1, 1)}); }, {"CNNConvolution", "window"});
}

TEST_P(CNNConvolutionTest, MakesItsDestination) {
  CNNConvolution kernel(device, weightsOf({.outputFeatureChannels = 2}, Floats(18, 1), {0, 1}));
  kernel.destinationImageAllocator = Image::defaultAllocator();
  Floats values(16);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Image source = image(4, 4, 1, values);
  Image same, valid;
  execute(device, [&](CommandBuffer& commands) {
    same = kernel.encode(commands, {.sourceImage = source});
    kernel.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::validOnly);
    valid = kernel.encode(commands, {.sourceImage = source});
  });
  EXPECT_EQ(same.width(), 4u);
  EXPECT_EQ(same.featureChannels(), 2u);
  EXPECT_EQ(same.read<float>()[0], 0 + 1 + 4 + 5);
  EXPECT_EQ(valid.width(), 2u);
  EXPECT_EQ(valid.height(), 2u);
  EXPECT_EQ(valid.read<float>(), (Floats{45, 46, 54, 55, 81, 82, 90, 91}));
  EXPECT_EQ(kernel.offset, (Offset{1, 1, 0}));  // as the last encode used it
}

TEST_P(CNNConvolutionTest, RunsBatchesAndCountsReadsOfTemporaries) {
  CNNConvolution kernel(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {3}, {1}));
  const ImageDescriptor one{.channelFormat = ImageFeatureChannelFormat::float32};
  ImageBatch results;
  for (int n = 0; n < 3; ++n) results.push_back(Image(device, one));
  execute(device, [&](CommandBuffer& commands) {
    ImageBatch sources;
    CNNConvolution fill(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {1}));
    for (int n = 0; n < 3; ++n) {
      sources.push_back(TemporaryImage(commands, one));
      fill.encode(commands, {.sourceImage = image(1, 1, 1, {static_cast<float>(n)}),
                             .destinationImage = sources[static_cast<std::size_t>(n)]});
    }
    kernel.encodeBatch(commands, {.sourceImages = sources, .destinationImages = results});
    for (const Image& source : sources) EXPECT_EQ(TemporaryImage(source).readCount(), 0u);
    expectRefused([&] { kernel.encodeBatch(commands, {.sourceImages = sources, .destinationImages = results}); },
                  {"readCount"});
  });
  for (std::size_t n = 0; n < 3; ++n) EXPECT_EQ(results[n].read<float>()[0], 3 * static_cast<float>(n) + 1);
}

TEST_P(CNNConvolutionTest, RefusesWhatDoesNotFit) {
  CNNConvolution kernel(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1, .inputFeatureChannels = 4}, Floats(4)));
  const Image four = image(2, 2, 4), three = image(2, 2, 3), one = image(2, 2, 1);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const auto encode = [&](const Image& source, const Image& destination) {
    return
        [&, source, destination] { kernel.encode(commands, {.sourceImage = source, .destinationImage = destination}); };
  };
  expectRefused(encode(three, one), {"CNNConvolution", "4 channels", "3"});
  expectRefused(encode(Image(), one), {"CNNConvolution", "nil"});
  expectRefused(encode(four, four.subImage({0, 4})), {"overlap"});
  kernel.edgeMode = ImageEdgeMode::mirror;
  expectRefused(encode(four, one), {"edge mode", "zero or clamp"});
  kernel.edgeMode = ImageEdgeMode::zero;
  kernel.destinationFeatureChannelOffset = 4;
  expectRefused(encode(four, four), {"channels"});
  kernel.destinationFeatureChannelOffset = 2;
  expectRefused(encode(four, four), {"multiple of 4"});
  kernel.destinationFeatureChannelOffset = 0;
  kernel.sourceFeatureChannelOffset = 2;
  expectRefused(encode(four, one), {"multiple of 4"});
  kernel.sourceFeatureChannelOffset = 0;
  kernel.sourceFeatureChannelMaxCount = 2;
  expectRefused(encode(four, one), {"4 channels", "2"});
  kernel.sourceFeatureChannelMaxCount = all;
  kernel.offset.x = std::numeric_limits<std::ptrdiff_t>::max();
  expectRefused(encode(four, one), {"offset", "beyond any image"});
  kernel.offset.x = 0;
  State wrong = CNNNeuron(device, {}).resultState({.sourceImage = four, .destinationImage = four});
  expectRefused(
      [&] { kernel.encode(commands, {.sourceImage = four, .destinationState = wrong, .destinationImage = one}); },
      {"CNNConvolutionGradientState"});
}

TEST_P(CNNConvolutionTest, RefusesImpossibleDataSources) {
  const auto make = [&](const std::shared_ptr<CNNConvolutionDataSource>& source) {
    return [this, source] { CNNConvolution(device, source); };
  };
  const auto of = [&](const CNNConvolutionDescriptor& d) { return make(weightsOf(d, Floats(9))); };
  expectRefused(make(nullptr), {"CNNConvolution", "data source", "nil"});
  expectRefused([&] { CNNConvolution({}, weightsOf({}, Floats(9))); }, {"device", "nil"});
  expectRefused(of({.kernelWidth = 0}), {"kernelWidth", "0"});
  expectRefused(of({.kernelHeight = 0}), {"kernelHeight", "0"});
  expectRefused(of({.inputFeatureChannels = 0}), {"inputFeatureChannels"});
  expectRefused(of({.outputFeatureChannels = 0}), {"outputFeatureChannels"});
  expectRefused(of({.strideInPixelsX = 0}), {"strideInPixelsX"});
  expectRefused(of({.strideInPixelsY = 0}), {"strideInPixelsY"});
  expectRefused(of({.dilationRateX = 0}), {"dilationRateX"});
  expectRefused(of({.dilationRateY = all}), {"dilationRateY"});
  expectRefused(of({.kernelWidth = 1u << 20, .dilationRateX = 1u << 20}), {"window"});
  expectRefused(of({.groups = 0}), {"groups"});
  expectRefused(of({.inputFeatureChannels = 4, .outputFeatureChannels = 3, .groups = 2}), {"2 groups", "4", "3"});
  expectRefused(of({.inputFeatureChannels = 3, .outputFeatureChannels = 4, .groups = 2}), {"2 groups"});
  expectRefused(of({.kernelWidth = 1u << 31, .kernelHeight = 1u << 31, .inputFeatureChannels = 1u << 31}), {"memory"});
  expectRefused(of(CNNDepthWiseConvolutionDescriptor({.inputFeatureChannels = 2, .outputFeatureChannels = 3})),
                {"depth-wise", "3", "2"});
  expectRefused(
      of(CNNDepthWiseConvolutionDescriptor({.inputFeatureChannels = 2, .outputFeatureChannels = 2, .groups = 2})),
      {"depth-wise", "groups"});
  expectRefused(of(CNNSubPixelConvolutionDescriptor({.outputFeatureChannels = 6}, 2)), {"subPixelScaleFactor", "6"});
  expectRefused(of({.inputFeatureChannels = 2}), {"36 bytes", "72"});
  expectRefused(make(weightsOf({.outputFeatureChannels = 2}, Floats(18), {1})), {"1 biases", "2"});
  CNNConvolutionDescriptor normalized;
  normalized.setBatchNormalizationParametersForInferenceWithMean(Floats{1, 2}, {}, {}, {}, 0);
  expectRefused(of(normalized), {"2 means", "1"});
  expectRefused(of({.fusedNeuronDescriptor = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(Floats{1, 2})}),
                {"PReLU", "2 slopes", "1"});
  expectRefused(of({.fusedNeuronDescriptor = {.neuronType = CNNNeuronType::pReLU}}), {"PReLU"});
  const auto failing = weightsOf({}, Floats(9));
  failing->name = "conv7";
  failing->loadSucceeds = false;
  expectRefused(make(failing), {"CNNConvolution \"conv7\"", "load"});
  EXPECT_EQ(failing->purges, 0);
  const auto tooMany = weightsOf({}, Floats(10));
  expectRefused(make(tooMany), {"40 bytes", "36"});
  EXPECT_EQ(tooMany->purges, 1);  // also then
  const auto bytes = weightsOf({}, Floats(9));
  bytes->type = DataType::int8;
  expectRefused(make(bytes), {"int8"});
}

TEST_P(CNNConvolutionTest, TakesWeightsOfSmallerTypes) {
  const CNNConvolutionDescriptor descriptor{.kernelWidth = 2, .kernelHeight = 1, .outputFeatureChannels = 2};
  const Image source = image(2, 1, 1, {1, 100});
  const auto first = [&](const std::shared_ptr<CNNConvolutionDataSource>& weights) {
    CNNConvolution kernel(device, weights);
    kernel.offset.x = 1;
    return run(kernel, source, 1, 1, 2);
  };
  const auto half = weightsOf(descriptor, {});
  half->type = DataType::float16;
  const std::uint16_t halves[] = {0x3C00, 0x4000, 0xB800, 0x4200};  // 1, 2, -0.5, 3
  half->bytes.resize(sizeof halves);
  std::memcpy(half->bytes.data(), halves, sizeof halves);
  EXPECT_EQ(first(half), (Floats{201, 299.5f}));
  const auto byte = weightsOf(descriptor, {});
  byte->type = DataType::uInt8;
  byte->bytes = {std::byte{0}, std::byte{255}, std::byte{51}, std::byte{102}};
  expectRefused([&] { first(byte); }, {"uInt8", "weightsQuantizationType"});
  byte->quantization = CNNWeightsQuantizationType::linear;
  expectRefused([&] { first(byte); }, {"0 ranges", "2"});
  byte->ranges = {{-1, 1}, {0, 5}};  // weights -1, 1 and 1, 2
  EXPECT_EQ(first(byte), (Floats{99, 201}));
  byte->quantization = CNNWeightsQuantizationType::lookupTable;
  expectRefused([&] { first(byte); }, {"0 numbers", "256"});
  byte->table.resize(256);
  byte->table[0] = 1;
  byte->table[255] = 2;
  byte->table[51] = 3;
  byte->table[102] = 4;
  EXPECT_EQ(first(byte), (Floats{201, 403}));
}

TEST_P(CNNConvolutionTest, ReloadsAndExportsWeights) {
  const auto source = weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {2}, {1});
  CNNConvolution kernel(device, source);
  const Image x = image(1, 1, 1, {10});
  EXPECT_EQ(run(kernel, x, 1, 1, 1), (Floats{21}));
  source->values = {3};
  EXPECT_EQ(run(kernel, x, 1, 1, 1), (Floats{21}));
  kernel.reloadWeightsAndBiasesFromDataSource();
  EXPECT_EQ(run(kernel, x, 1, 1, 1), (Floats{31}));
  EXPECT_EQ(source->loads, 2);
  EXPECT_EQ(source->purges, 2);
  source->shape.strideInPixelsX = 2;
  expectRefused([&] { kernel.reloadWeightsAndBiasesFromDataSource(); }, {"descriptor"});
  source->shape.strideInPixelsX = 1;

  // In the order of the command buffer: before with 3 and 1, after with 5 and 7.
  const Image before = image(1, 1, 1), after = image(1, 1, 1);
  const CNNConvolutionWeightsAndBiasesState others(device, kernel.descriptor());
  others.weights().write(Floats{5});
  others.biases().write(Floats{7});
  CNNConvolutionWeightsAndBiasesState exported;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = x, .destinationImage = before});
    kernel.reloadWeightsAndBiases(commands, others);
    kernel.encode(commands, {.sourceImage = x, .destinationImage = after});
    exported = kernel.exportWeightsAndBiases(commands, /*resultStateCanBeTemporary=*/false);
  });
  EXPECT_EQ(before.read<float>(), (Floats{31}));
  EXPECT_EQ(after.read<float>(), (Floats{57}));
  EXPECT_FALSE(exported.isTemporary());
  EXPECT_EQ(exported.weights().read<float>(), (Floats{5}));
  EXPECT_EQ(exported.biases().read<float>(), (Floats{7}));

  // A temporary one is consumed by the reload.
  execute(device, [&](CommandBuffer& commands) {
    const auto state = kernel.exportWeightsAndBiases(commands, /*resultStateCanBeTemporary=*/true);
    ASSERT_TRUE(state.isTemporary());
    kernel.reloadWeightsAndBiases(commands, state);
    EXPECT_EQ(state.readCount(), 0u);
    expectRefused([&] { kernel.reloadWeightsAndBiases(commands, state); }, {"readCount"});
  });
  const CNNConvolutionWeightsAndBiasesState tooLong(device, {.kernelWidth = 2, .kernelHeight = 1});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  expectRefused([&] { kernel.reloadWeightsAndBiases(commands, tooLong); }, {"CNNConvolution", "2 elements", "1"});
  expectRefused([&] { kernel.reloadWeightsAndBiases(commands, {}); }, {"nil"});
}

TEST_P(CNNConvolutionTest, KernelsThatShareWeightsReloadOnce) {
  CNNConvolution forward(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {2}));
  CNNConvolutionGradient gradient(device, forward.sharedWeights());
  const auto live = forward.sharedWeights().state();
  EXPECT_EQ(live.weights(), gradient.sharedWeights().state().weights());
  EXPECT_FALSE(live.biases());
  live.weights().write(Floats{4});
  execute(device, [&](CommandBuffer& commands) { gradient.reloadWeightsAndBiases(commands, live); });
  EXPECT_EQ(run(forward, image(1, 1, 1, {10}), 1, 1, 1), (Floats{40}));
  // A state with biases gives them to a layer that had none.
  const CNNConvolutionWeightsAndBiasesState biased(device, forward.descriptor());
  biased.weights().write(Floats{1});
  biased.biases().write(Floats{3});
  execute(device, [&](CommandBuffer& commands) { forward.reloadWeightsAndBiases(commands, biased); });
  EXPECT_EQ(run(forward, image(1, 1, 1, {10}), 1, 1, 1), (Floats{13}));
}

TEST_P(CNNConvolutionTest, AnotherNeuronMayComeWithSharedWeights) {
  const CNNConvolution plain(device, weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {2}));
  const CNNConvolution fused(device, plain.sharedWeights(),
                             NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::reLU, 0.0f));
  EXPECT_EQ(fused.fusedNeuronDescriptor().neuronType, CNNNeuronType::reLU);
  EXPECT_NE(fused, plain);
  EXPECT_EQ(run(plain, image(2, 1, 1, {-1, 1}), 2, 1, 1), (Floats{-2, 2}));
  EXPECT_EQ(run(fused, image(2, 1, 1, {-1, 1}), 2, 1, 1), (Floats{0, 2}));
  expectRefused(
      [&] {
        CNNConvolution(device, plain.sharedWeights(), NNNeuronDescriptor::cnnNeuronPReLUDescriptor(Floats{1, 2}));
      },
      {"PReLU", "2 slopes"});
}

/// What a training graph does at the end of each batch, and a data source that trains itself.
class TrainedWeights : public testing::ConvolutionWeights {
 public:
  using ConvolutionWeights::ConvolutionWeights;
  using ConvolutionWeights::update;
  CNNConvolutionWeightsAndBiasesState update(CommandBuffer& commands, const CNNConvolutionGradientState& gradientState,
                                             const CNNConvolutionWeightsAndBiasesState& sourceState) override {
    NNOptimizerStochasticGradientDescent(sourceState.device(), 0.5f)
        .encode(commands, {.convolutionGradientState = gradientState,
                           .convolutionSourceState = sourceState,
                           .resultState = sourceState});
    return sourceState;
  }
};

TEST_P(CNNConvolutionTest, DataSourcesTrainInPlaceWithoutACopy) {
  const auto source = std::make_shared<TrainedWeights>(CNNConvolutionDescriptor{.kernelWidth = 1, .kernelHeight = 1},
                                                       Floats{2}, Floats{1});
  CNNConvolution forward(device, source);
  CNNConvolutionGradient gradient(device, forward.sharedWeights());
  const Image x = image(1, 1, 1, {3}), y = image(1, 1, 1), e = image(1, 1, 1, {1}), again = image(1, 1, 1);
  execute(device, [&](CommandBuffer& commands) {
    State state;
    forward.encode(
        commands,
        {.sourceImage = x, .destinationState = &state, .destinationStateIsTemporary = true, .destinationImage = y});
    gradient.encode(commands, {.sourceGradient = e, .sourceImage = x, .gradientState = state});
    const auto updated = static_cast<CNNConvolutionDataSource&>(*source).update(
        commands, CNNConvolutionGradientState(state), forward.sharedWeights().state());
    forward.reloadWeightsAndBiases(commands, updated);
    gradient.reloadWeightsAndBiases(commands, updated);
    forward.encode(commands, {.sourceImage = x, .destinationImage = again});
    for (const auto& done : commands.explain()) EXPECT_NE(done.operation, "MatrixCopy");
    EXPECT_EQ(state.readCount(), 0u);
  });
  EXPECT_EQ(y.read<float>(), (Floats{7}));
  EXPECT_EQ(again.read<float>(), (Floats{(2 - 1.5f) * 3 + (1 - 0.5f)}));
  // The defaults leave the weights alone.
  testing::ConvolutionWeights plain({}, Floats(9));
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  CNNConvolutionDataSource& asSource = plain;
  EXPECT_FALSE(asSource.update(commands, {}, {}));
  EXPECT_FALSE(asSource.update(CNNConvolutionGradientState(), CNNConvolutionWeightsAndBiasesState()));
}

TEST_P(CNNConvolutionTest, CopiesHaveWeightsOfTheirOwn) {
  const auto source = weightsOf({.kernelWidth = 1, .kernelHeight = 1}, {2}, {1});
  CNNConvolution kernel(device, source);
  kernel.offset.x = 3;
  kernel.label = "a";
  CNNConvolution copy = kernel.copy();
  EXPECT_EQ(copy, kernel);
  EXPECT_EQ(copy.dataSource(), source);
  source->values = {5};
  kernel.reloadWeightsAndBiasesFromDataSource();
  EXPECT_NE(copy, kernel);
  copy.offset.x = 0;
  EXPECT_EQ(run(copy, image(1, 1, 1, {10}), 1, 1, 1), (Floats{21}));
  const Device other = Device::named(device.name() == "reference" ? "cpu" : "reference");
  const auto elsewhere = weightsOf(source->shape, {5}, {1});
  source->onCopy = [&](const Device& to) {
    EXPECT_EQ(to, other);
    return elsewhere;
  };
  const CNNConvolution moved = kernel.copy(other);
  EXPECT_EQ(moved.device(), other);
  EXPECT_EQ(moved.dataSource(), elsewhere);
  EXPECT_EQ(moved.sharedWeights().weights().device(), other);
}

TEST_P(CNNConvolutionTest, TravelsThroughArchives) {
  CNNConvolutionDescriptor descriptor{.kernelWidth = 2,
                                      .kernelHeight = 1,
                                      .inputFeatureChannels = 2,
                                      .outputFeatureChannels = 2,
                                      .strideInPixelsX = 2,
                                      .groups = 2,
                                      .dilationRateX = 3};
  descriptor.fusedNeuronDescriptor = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(Floats{0.5f, 2});
  descriptor.setBatchNormalizationParametersForInferenceWithMean({}, {}, Floats{2, 2}, {}, 0);
  CNNConvolution kernel(device, weightsOf(descriptor, {1, 2, 3, test::kNaN}, {5, 6}));
  kernel.label = "c";
  kernel.edgeMode = ImageEdgeMode::clamp;
  Archiver archiver;
  kernel.encode(archiver);
  const auto bytes = archiver.finish();
  Unarchiver unarchiver(bytes);
  const CNNConvolution again(unarchiver, device);
  EXPECT_EQ(again, kernel);
  EXPECT_EQ(again.strideInPixelsX(), 2u);
  EXPECT_EQ(again.dilationRateX(), 3u);
  EXPECT_EQ(again.fusedNeuronDescriptor(), descriptor.fusedNeuronDescriptor);
  EXPECT_EQ(again.sharedWeights().biases().read<float>(), (Floats{10, 12}));
  EXPECT_EQ(std::hash<CNNConvolution>()(again), std::hash<CNNConvolution>()(kernel));
  Unarchiver other(bytes);
  EXPECT_EQ(codeOf([&] { CNNConvolutionGradient(other, device); }), ErrorCode::malformedFile);
  CNNConvolutionGradient gradient(device, weightsOf({.kernelWidth = 2, .kernelHeight = 1}, {1, 2}));
  gradient.kernelOffsetX = -3;
  gradient.gradientOption = CNNConvolutionGradientOption::gradientWithData;
  Archiver second;
  gradient.encode(second);
  Unarchiver secondUnarchiver(second.finish());
  EXPECT_EQ(CNNConvolutionGradient(secondUnarchiver, device), gradient);
}

TEST_P(CNNConvolutionTest, BehavesAsAKernel) {
  CNNConvolution kernel(device, weightsOf({.kernelWidth = 2, .kernelHeight = 1}, {1, 2}, {3}));
  kernel.label = "c";
  auto changed = kernel;
  changed.edgeMode = ImageEdgeMode::clamp;
  const CNNConvolution others(device, weightsOf({.kernelWidth = 2, .kernelHeight = 1}, {1, 2}));
  test::expectBehavesAsKernel(kernel, {changed, others}, device, "CNNConvolution");
  const auto archive = test::archiveOf(kernel);
  for (const char* const setting : {"descriptor.kernelWidth", "inputFeatureChannels", "groups",
                                    "descriptor.dilationRateX", "subPixelScaleFactor"}) {
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{3}, ~std::uint64_t{0}}) {
      if (value == 3 && std::string_view(setting) == "descriptor.dilationRateX") continue;  // which is possible
      test::expectMalformed<CNNConvolution>(test::forged(archive, setting, value), device, setting);
    }
  }
  CNNConvolutionGradient gradient(device, weightsOf({.kernelWidth = 2, .kernelHeight = 1}, {1, 2}));
  gradient.label = "g";
  auto other = gradient;
  other.kernelOffsetY = -1;
  test::expectBehavesAsKernel(gradient, {other}, device, "CNNConvolutionGradient");
}

}  // namespace
}  // namespace metalloid
