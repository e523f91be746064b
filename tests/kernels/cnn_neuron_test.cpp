#include "kernels/kernel_checks.hpp"
#include "support/devices.hpp"

#include <metalloid/cnn_neuron.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using enum CNNNeuronType;
using Floats = std::vector<float>;

const Device kNull = Device::named("null");

NNNeuronDescriptor linearOf(float a, float b) { return NNNeuronDescriptor::cnnNeuronDescriptor(linear, a, b); }

class CNNNeuronTest : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width, std::size_t height, std::size_t channels, const Floats& values = {},
              ImageFeatureChannelFormat format = ImageFeatureChannelFormat::float32) const {
    const Image made(device, {.channelFormat = format, .width = width, .height = height, .featureChannels = channels});
    if (!values.empty()) made.write(values);
    return made;
  }
  /// 1, 2, 3, ...
  Image counted(std::size_t width, std::size_t height, std::size_t channels) const {
    Floats values(width * height * channels);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
    return image(width, height, channels, values);
  }
  void run(const std::function<void(CommandBuffer&)>& encode) const { execute(device, encode); }
};
INSTANTIATE_TEST_SUITE_P(Devices, CNNNeuronTest, ::testing::ValuesIn(metalloid::testing::computingDevices()),
                         [](const auto& instance) { return metalloid::testing::identifier(instance.param); });

// --- Formulas -------------------------------------------------------------------------------------------------------

TEST_P(CNNNeuronTest, TestPoints) {
  struct Point {
    NNNeuronDescriptor neuron;
    double x, f, derivative;
  };
  const auto of = [](CNNNeuronType type, std::optional<float> a = {}, std::optional<float> b = {},
                     std::optional<float> c = {}) { return NNNeuronDescriptor::cnnNeuronDescriptor(type, a, b, c); };
  const std::vector<Point> points{{of(reLU, 0.25F), -2, -0.5, 0.25},
                                  {of(reLU, 0.25F), 0, 0, 1},
                                  {of(reLU, 0.25F), 3, 3, 1},
                                  {of(hardSigmoid, 0.2F, 0.5F), -3, 0, 0},
                                  {of(hardSigmoid, 0.2F, 0.5F), -2.4999, 0.00002, 0.2},  // near the knots
                                  {of(hardSigmoid, 0.2F, 0.5F), 1, 0.7, 0.2},
                                  {of(hardSigmoid, 0.2F, 0.5F), 2.4999, 0.99998, 0.2},
                                  {of(hardSigmoid, 0.2F, 0.5F), 4, 1, 0},
                                  {of(ELU, 1.0F), -1, -0.6321206, 0.3678794},
                                  {of(reLUN, 0.0F, 6.0F), -1, 0, 0},
                                  {of(reLUN, 0.0F, 6.0F), 3, 3, 1},
                                  {of(reLUN, 0.0F, 6.0F), 6, 6, 0},
                                  {of(reLUN, 0.0F, 6.0F), 7, 6, 0},
                                  {of(softSign), -3, -0.75, 0.0625},
                                  {of(tanH, 2.0F, 0.5F), 1, 0.9242343, 0.7864477},
                                  {of(softPlus, 1.0F, 1.0F), 0, 0.6931472, 0.5},
                                  {of(geLU), 1, 0.8413447, 1.0833155},
                                  {of(geLU), -1, -0.1586553, -0.0833155},
                                  {of(exponential, 1.0F, 0.0F, -1.0F), 1, 2.7182818, 2.7182818},
                                  {of(exponential, 1.0F, 0.0F, 2.0F), 1, 2, 1.3862944},
                                  {of(logarithm, 1.0F, 0.0F, -1.0F), 2, 0.6931472, 0.5},
                                  {of(logarithm, 1.0F, 0.0F, 10.0F), 2, 0.3010300, 0.2171472},
                                  {of(power, 2.0F, 1.0F, 3.0F), 1, 27, 54}};
  for (const auto& point : points) {
    SCOPED_TRACE(std::string(name(point.neuron.neuronType)) + " at " + std::to_string(point.x));
    const Image x = image(1, 1, 1, {static_cast<float>(point.x)}), g = image(1, 1, 1, {2});
    const Image y = image(1, 1, 1), dx = image(1, 1, 1);
    run([&](CommandBuffer& commands) {
      CNNNeuron(device, point.neuron).encode(commands, {.sourceImage = x, .destinationImage = y});
      CNNNeuronGradient(device, point.neuron)
          .encode(commands, {.sourceGradient = g, .sourceImage = x, .destinationGradient = dx});
    });
    // The table has 7 digits after the point; a function of at most 7 units in the last place, x rounded to float32.
    const auto tolerance = [](double value) { return 0.5e-7 + 20 * 0x1p-24 * (1 + std::fabs(value)); };
    EXPECT_NEAR(y.read<double>()[0], point.f, tolerance(point.f));
    EXPECT_NEAR(dx.read<double>()[0], 2 * point.derivative, 2 * tolerance(point.derivative));
  }
}

TEST_P(CNNNeuronTest, PReLUHasASlopeForEachChannel) {
  const Floats slopes{0.5F, -1, 0.25F};  // the last one is more than there are channels
  const auto neuron = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(slopes);
  const Image x = image(2, 1, 2, {-2, -2, 3, 4}), g = image(2, 1, 2, {1, 1, 1, 1});
  const Image y = image(2, 1, 2), dx = image(2, 1, 2);
  run([&](CommandBuffer& commands) {
    CNNNeuron(device, neuron).encode(commands, {.sourceImage = x, .destinationImage = y});
    CNNNeuronGradient(device, neuron)
        .encode(commands, {.sourceGradient = g, .sourceImage = x, .destinationGradient = dx});
  });
  EXPECT_EQ(y.read<float>(), (Floats{-1, 2, 3, 4}));
  EXPECT_EQ(dx.read<float>(), (Floats{0.5F, -1, 1, 1}));
  const Image wide = image(1, 1, 4);
  expectEncodeRefused(
      device,
      [&](CommandBuffer& commands) {
        CNNNeuron(device, neuron).encode(commands, {.sourceImage = wide, .destinationImage = image(1, 1, 4)});
      },
      {"CNNNeuron", "3 slopes", "4 channels"});
}

TEST_P(CNNNeuronTest, FormatsMayDiffer) {
  using enum ImageFeatureChannelFormat;
  const Image x = image(3, 1, 1, {0, 0.5F, 1}, unorm8), y = image(3, 1, 1, {}, float16);
  run([&](CommandBuffer& commands) {
    CNNNeuron(device, linearOf(2, -1)).encode(commands, {.sourceImage = x, .destinationImage = y});
  });
  const auto values = y.read<double>();
  EXPECT_EQ(values[0], -1);
  EXPECT_NEAR(values[1], 2.0 * 128 / 255 - 1, 0x1p-18);  // rounded to float16 near 2^-8
  EXPECT_EQ(values[2], 1);
}

// --- Properties -----------------------------------------------------------------------------------------------------

TEST(CNNNeuronKernel, HasTheDocumentedDefaults) {
  const CNNNeuron kernel(kNull, {});
  EXPECT_EQ(kernel.neuronType(), none);
  EXPECT_EQ(kernel.offset, Offset());
  EXPECT_EQ(kernel.clipRect, regionNoClip);
  EXPECT_EQ(kernel.destinationFeatureChannelOffset, 0u);
  EXPECT_EQ(kernel.sourceFeatureChannelOffset, 0u);
  EXPECT_EQ(kernel.sourceFeatureChannelMaxCount, all);
  EXPECT_EQ(kernel.edgeMode, ImageEdgeMode::zero);
  EXPECT_EQ(kernel.kernelWidth(), 1u);
  EXPECT_EQ(kernel.kernelHeight(), 1u);
  EXPECT_EQ(kernel.strideInPixelsX(), 1u);
  EXPECT_EQ(kernel.strideInPixelsY(), 1u);
  EXPECT_EQ(kernel.dilationRateX(), 1u);
  EXPECT_EQ(kernel.dilationRateY(), 1u);
  EXPECT_FALSE(kernel.isBackwards());
  EXPECT_FALSE(kernel.isStateModified());
  EXPECT_FALSE(kernel.isResultStateReusedAcrossBatch());
  EXPECT_FALSE(kernel.appendBatchBarrier());
  EXPECT_EQ(kernel.destinationImageAllocator, TemporaryImage::defaultAllocator());
  const CNNNeuronGradient gradient(kNull, {});
  EXPECT_EQ(gradient.kernelOffsetX, 0);
  EXPECT_EQ(gradient.kernelOffsetY, 0);
  EXPECT_EQ(gradient.primaryOffset, Offset());
  EXPECT_EQ(gradient.secondaryOffset, Offset());
  EXPECT_EQ(gradient.primarySourceFeatureChannelMaxCount, all);
  EXPECT_EQ(gradient.secondarySourceFeatureChannelMaxCount, all);
  EXPECT_EQ(gradient.primaryStrideInPixelsX, 1u);
  EXPECT_EQ(gradient.secondaryStrideInPixelsY, 1u);
  EXPECT_TRUE(gradient.isBackwards());
}

TEST(CNNNeuronKernel, DescriptorsHaveTheTypesDefaults) {
  const auto descriptor = NNNeuronDescriptor::cnnNeuronDescriptor(reLUN);
  EXPECT_EQ(descriptor.a, 1);
  EXPECT_EQ(descriptor.b, 6);
  EXPECT_EQ(NNNeuronDescriptor::cnnNeuronDescriptor(hardSigmoid, {}, 0.25F),
            (NNNeuronDescriptor{.neuronType = hardSigmoid, .a = 0.2F, .b = 0.25F}));
  EXPECT_EQ(NNNeuronDescriptor::cnnNeuronDescriptor(exponential).c, -1);
  EXPECT_EQ(NNNeuronDescriptor().neuronType, none);
  const CNNNeuron kernel(kNull, NNNeuronDescriptor::cnnNeuronDescriptor(power, 2.0F, 3.0F, 4.0F));
  EXPECT_EQ(kernel.neuronType(), power);
  EXPECT_EQ(kernel.a(), 2);
  EXPECT_EQ(kernel.b(), 3);
  EXPECT_EQ(kernel.c(), 4);
  const Floats slopes{1, 2};
  const CNNNeuronGradient prelu(kNull, NNNeuronDescriptor::cnnNeuronPReLUDescriptor(slopes));
  EXPECT_EQ(Floats(prelu.data().begin(), prelu.data().end()), slopes);
}

TEST(CNNNeuronKernel, RefusesWhatHasNoMeaning) {
  expectRefused([] { CNNNeuron(kNull, NNNeuronDescriptor::cnnNeuronDescriptor(logarithm, 1.0F, 0.0F, 1.0F)); },
                {"Parameter c", "logarithm"});
  expectRefused([] { CNNNeuronGradient(kNull, NNNeuronDescriptor::cnnNeuronDescriptor(reLU, kNaN)); }, {"NaN"});
  expectRefused([] { CNNNeuron(kNull, NNNeuronDescriptor{.neuronType = pReLU}); }, {"empty"});
  expectRefused([] { CNNNeuron(kNull, NNNeuronDescriptor{.neuronType = count}); }, {"no neuron function"});
  expectRefused([] { CNNNeuron(Device(), NNNeuronDescriptor{}); }, {"device of a CNNNeuron is nil"});
}

template <class K>
K changedKernel(const std::function<void(K&)>& change, const NNNeuronDescriptor& neuron = linearOf(2, 3)) {
  K kernel(kNull, neuron);
  kernel.label = "n1";
  kernel.options = KernelOptions::allowReducedPrecision;
  kernel.clipRect = {{1, 2, 3}, {4, 5, 6}};
  kernel.destinationFeatureChannelOffset = 8;
  kernel.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeFull);
  change(kernel);
  return kernel;
}

TEST(CNNNeuronKernel, BehavesAsAKernel) {
  using K = CNNNeuron;
  const auto make = [](const std::function<void(K&)>& change) {
    return changedKernel<K>([&](K& kernel) {
      kernel.offset = {-1, -2, 3};
      kernel.sourceFeatureChannelOffset = 4;
      kernel.sourceFeatureChannelMaxCount = 12;
      kernel.edgeMode = ImageEdgeMode::clamp;
      change(kernel);
    });
  };
  expectBehavesAsKernel<K>(
      make([](K&) {}),
      {make([](K& k) { k.label = "n2"; }), make([](K& k) { k.offset.x = 0; }), make([](K& k) { k.offset.z = 0; }),
       make([](K& k) { k.clipRect.origin.y = 0; }), make([](K& k) { k.clipRect.size.depth = all; }),
       make([](K& k) { k.destinationFeatureChannelOffset = 0; }), make([](K& k) { k.sourceFeatureChannelOffset = 0; }),
       make([](K& k) { k.sourceFeatureChannelMaxCount = all; }), make([](K& k) { k.edgeMode = ImageEdgeMode::zero; }),
       make([](K& k) { k.padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame); })},
      kNull, "CNNNeuron");
  EXPECT_NE(changedKernel<K>([](K&) {}), changedKernel<K>([](K&) {}, linearOf(2, 4)));
}

TEST(CNNNeuronGradientKernel, BehavesAsAKernel) {
  using K = CNNNeuronGradient;
  const auto make = [](const std::function<void(K&)>& change) {
    return changedKernel<K>([&](K& kernel) {
      kernel.primaryOffset = {-1, -2, 3};
      kernel.secondaryOffset = {4, -5, 6};
      kernel.kernelOffsetX = -7;
      kernel.primarySourceFeatureChannelOffset = 4;
      kernel.secondaryEdgeMode = ImageEdgeMode::clamp;
      change(kernel);
    });
  };
  expectBehavesAsKernel<K>(
      make([](K&) {}),
      {make([](K& k) { k.primaryOffset.y = 0; }), make([](K& k) { k.secondaryOffset.x = 0; }),
       make([](K& k) { k.kernelOffsetX = 0; }), make([](K& k) { k.kernelOffsetY = 1; }),
       make([](K& k) { k.primarySourceFeatureChannelOffset = 0; }),
       make([](K& k) { k.secondarySourceFeatureChannelOffset = 4; }),
       make([](K& k) { k.primarySourceFeatureChannelMaxCount = 1; }),
       make([](K& k) { k.secondarySourceFeatureChannelMaxCount = 1; }),
       make([](K& k) { k.primaryEdgeMode = ImageEdgeMode::clamp; }),
       make([](K& k) { k.secondaryEdgeMode = ImageEdgeMode::zero; }), make([](K& k) { k.primaryStrideInPixelsX = 2; }),
       make([](K& k) { k.secondaryStrideInPixelsY = 2; })},
      kNull, "CNNNeuronGradient");
}

// --- Regions --------------------------------------------------------------------------------------------------------

TEST_P(CNNNeuronTest, OffsetIsWhereTheClipRectanglesOriginStands) {
  const Image x = counted(4, 3, 1), y = image(4, 3, 1, Floats(12, -1));
  CNNNeuron kernel(device, linearOf(10, 0));
  kernel.clipRect = {{1, 1, 0}, {2, 9, 1}};  // cut to what the destination has
  kernel.offset = {2, 0, 0};
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{-1, -1, -1, -1, -1, 30, 40, -1, -1, 70, 80, -1}));
}

TEST_P(CNNNeuronTest, OutsideStandsWhatTheEdgeModeSays) {
  const Image x = counted(3, 2, 1), y = image(3, 2, 1);
  CNNNeuron kernel(device, linearOf(1, 10));
  kernel.offset = {-1, 1, 0};
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{10, 14, 15, 10, 10, 10}));
  kernel.edgeMode = ImageEdgeMode::clamp;
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{14, 14, 15, 14, 14, 15}));
}

TEST_P(CNNNeuronTest, AClipRectangleOutsideLeavesEverything) {
  const Image x = counted(3, 2, 1), y = image(3, 2, 1, Floats(6, -1));
  for (const Origin origin : {Origin{3, 0, 0}, Origin{7, 9, 0}, Origin{0, 2, 0}}) {
    CNNNeuron kernel(device, {});
    kernel.clipRect.origin = origin;
    run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
    EXPECT_EQ(y.read<float>(), Floats(6, -1));
  }
}

TEST_P(CNNNeuronTest, ChannelRanges) {
  const Image x = counted(1, 1, 11), y = image(1, 1, 9, Floats(9, -1));
  CNNNeuron kernel(device, {});
  kernel.sourceFeatureChannelOffset = 8;
  kernel.destinationFeatureChannelOffset = 4;
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{-1, -1, -1, -1, 9, 10, 11, -1, -1}));
  kernel.sourceFeatureChannelOffset = 4;
  kernel.sourceFeatureChannelMaxCount = 2;
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{-1, -1, -1, -1, 5, 6, 11, -1, -1}));

  const auto refused = [&](const std::function<void(CNNNeuron&)>& change,
                           std::initializer_list<std::string_view> words) {
    CNNNeuron other(device, {});
    other.label = "n";
    change(other);
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { other.encode(commands, {.sourceImage = x, .destinationImage = y}); },
        words);
  };
  refused([](auto&) {}, {"CNNNeuron \"n\"", "destinationImage", "9", "11 channels from 0 on"});
  refused([](auto& k) { k.sourceFeatureChannelOffset = 2; }, {"\"n\"", "is 2", "multiple of 4"});
  refused([](auto& k) { k.sourceFeatureChannelOffset = 12; }, {"is 12", "11 channels"});
  refused([](auto& k) { k.destinationFeatureChannelOffset = 3; }, {"destinationFeatureChannelOffset", "is 3"});
  refused([](auto& k) { k.destinationFeatureChannelOffset = 12; }, {"from 12 on"});
}

TEST_P(CNNNeuronTest, ContainersAreSelectedByZ) {
  const Image x(device, {.channelFormat = ImageFeatureChannelFormat::float32, .width = 2, .numberOfImages = 4});
  const Image y(device, {.channelFormat = ImageFeatureChannelFormat::float32, .width = 2, .numberOfImages = 3});
  x.write(Floats{1, 2, 3, 4, 5, 6, 7, 8});
  y.write(Floats(6, -1));
  CNNNeuron kernel(device, linearOf(10, 0));
  kernel.offset.z = 2;
  kernel.clipRect.origin.z = 1;
  kernel.clipRect.size.depth = 2;
  run([&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  EXPECT_EQ(y.read<float>(), (Floats{-1, -1, 50, 60, 70, 80}));
  const auto refused = [&](std::initializer_list<std::string_view> words) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); },
        words);
  };
  kernel.offset.z = 3;
  refused({"sourceImage", "4 images", "2 from 3"});
  kernel.offset.z = -1;
  refused({"sourceImage", "4 images"});
  kernel.offset.z = 0;
  kernel.clipRect.origin.z = 3;
  refused({"destinationImage", "3 images"});
}

TEST_P(CNNNeuronTest, DisjointChannelsOfOneImageDoNotOverlap) {
  const Image shared = counted(3, 2, 8);
  CNNNeuron kernel(device, linearOf(-1, 0));
  kernel.clipRect = {{1, 0, 0}, {2, 2, 1}};
  kernel.offset = {1, 0, 0};
  run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = shared.subImage({0, 4}), .destinationImage = shared.subImage({4, 4})});
  });
  const auto values = shared.read<float>();
  EXPECT_EQ(values[4], 5);
  EXPECT_EQ(values[8 + 4], -9);
  EXPECT_EQ(values[8 + 3], 12);
}

// --- Destinations made by the kernel --------------------------------------------------------------------------------

TEST_P(CNNNeuronTest, MakesItsDestination) {
  const Image x = counted(2, 2, 6);
  CNNNeuron kernel(device, linearOf(2, 0));
  kernel.destinationImageAllocator = Image::defaultAllocator();
  kernel.offset = {5, 5, 0};
  kernel.sourceFeatureChannelOffset = 4;
  kernel.destinationFeatureChannelOffset = 4;
  Image y;
  run([&](CommandBuffer& commands) { y = kernel.encode(commands, {.sourceImage = x}); });
  EXPECT_EQ(kernel.offset, Offset());
  EXPECT_EQ(y.featureChannels(), 6u);
  EXPECT_EQ(y.featureChannelFormat(), x.featureChannelFormat());
  const auto values = y.read<float>();
  EXPECT_EQ(values[4], 10);
  EXPECT_EQ(values[6 * 3 + 5], 48);
}

TEST_P(CNNNeuronTest, BatchesAreProcessedImageByImage) {
  const ImageBatch x{counted(2, 1, 2), image(2, 1, 2, {-1, -2, -3, -4}), counted(2, 1, 2)};
  CNNNeuron kernel(device, linearOf(3, 1));
  kernel.destinationImageAllocator = Image::defaultAllocator();
  ImageBatch y;
  StateBatch states;
  run([&](CommandBuffer& commands) {
    y = kernel.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states});
  });
  ASSERT_EQ(y.size(), 3u);
  EXPECT_EQ(states.size(), 3u);
  EXPECT_EQ(y[0].read<float>(), (Floats{4, 7, 10, 13}));
  EXPECT_EQ(y[1].read<float>(), (Floats{-2, -5, -8, -11}));
  EXPECT_EQ(y[2].read<float>(), y[0].read<float>());
}

TEST_P(CNNNeuronTest, RefusesWhatDoesNotFitTogether) {
  CNNNeuron kernel(device, {});
  kernel.label = "n";
  const Image x = counted(2, 2, 3), y = image(2, 2, 3);
  const auto refused = [&](const CNNNeuron::Arguments& arguments, std::initializer_list<std::string_view> words) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, words);
  };
  const auto batchRefused = [&](const CNNNeuron::BatchArguments& arguments,
                                std::initializer_list<std::string_view> words) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encodeBatch(commands, arguments); }, words);
  };
  refused({.sourceImage = {}, .destinationImage = y}, {"encoding CNNNeuron \"n\"", "nil"});
  refused({.sourceImage = x, .destinationImage = x}, {"overlap in memory", "sourceImage", "destinationImage"});
  const Device elsewhere = Device::named("null");
  const Image foreign(elsewhere, x.descriptor());
  refused({.sourceImage = foreign, .destinationImage = y}, {"(sourceImage) is on device null", device.name()});
  refused({.sourceImage = x, .destinationImage = foreign}, {"(destinationImage) is on device null"});
  batchRefused({.sourceImages = {}, .destinationImages = {y}}, {"nil"});
  batchRefused({.sourceImages = {x, Image()}, .destinationImages = {y, image(2, 2, 3)}}, {"sourceImage is nil"});
  batchRefused({.sourceImages = {x}, .destinationImages = {y, y}}, {"1 source images", "2 destination images"});
  batchRefused({.sourceImages = {x, counted(2, 2, 4)}, .destinationImages = {y, image(2, 2, 3)}},
               {"must be alike", "2 x 2 x 3 float32", "2 x 2 x 4 float32"});
  batchRefused({.sourceImages = {x, image(2, 2, 3, {}, ImageFeatureChannelFormat::float16)},
                .destinationImages = {y, image(2, 2, 3)}},
               {"must be alike", "float16"});
  ImageDescriptor two = x.descriptor();
  two.numberOfImages = 2;
  batchRefused({.sourceImages = {x, Image(device, two)}, .destinationImages = {y, image(2, 2, 3)}},
               {"each image holds one"});
  // At different indices of the batches.
  batchRefused({.sourceImages = {x, y}, .destinationImages = {image(2, 2, 3), x}}, {"overlap"});
  expectRefusesCommandBuffers(
      device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x}); });
}

// --- Gradient states ------------------------------------------------------------------------------------------------

TEST_P(CNNNeuronTest, TheGradientConfiguresItselfFromTheState) {
  // Forward: 3 x 2 pixels at (1, 0) of the destination, channels 4 and 5 of the source to 4 and 5.
  const Image x = counted(5, 4, 6);
  CNNNeuron forward(device, linearOf(2, 0));
  forward.clipRect = {{1, 0, 0}, {3, 2, 1}};
  forward.offset = {2, 1, 0};
  forward.sourceFeatureChannelOffset = 4;
  forward.destinationFeatureChannelOffset = 4;
  const Image y = image(5, 4, 7);
  State state;
  run([&](CommandBuffer& commands) {
    forward.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = y});
  });
  ASSERT_TRUE(state);
  EXPECT_FALSE(state.isTemporary());

  const Image g = counted(5, 4, 7);
  CNNNeuronGradient backward(device, linearOf(2, 0));
  backward.destinationImageAllocator = Image::defaultAllocator();
  Image dx;
  run([&](CommandBuffer& commands) {
    dx = backward.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  EXPECT_EQ(dx.descriptor(), x.descriptor()) << "The result has the forward source's size.";
  const auto values = dx.read<float>(), gradients = g.read<float>();
  for (std::size_t v = 0; v < 4; ++v) {
    for (std::size_t u = 0; u < 5; ++u) {
      for (std::size_t c = 0; c < 6; ++c) {
        // Source pixel (u, v) went to (u - 1, v - 1).
        const bool isRead = u >= 2 && u < 5 && v >= 1 && v < 3 && c >= 4;
        const float expected = isRead ? 2 * gradients[((v - 1) * 5 + u - 1) * 7 + c] : 0;
        EXPECT_EQ(values[(v * 5 + u) * 6 + c], expected) << u << ", " << v << ", " << c;
      }
    }
  }
  EXPECT_EQ(backward.clipRect.origin, (Origin{2, 1, 0}));
  EXPECT_EQ(backward.primaryOffset, (Offset{1, 0, 0}));
  EXPECT_EQ(backward.primarySourceFeatureChannelOffset, 4u);
  EXPECT_EQ(backward.destinationFeatureChannelOffset, 4u);

  // The same with a destination of the caller's, after destinationImageDescriptor.
  CNNNeuronGradient configured(device, linearOf(2, 0));
  const auto descriptor = configured.destinationImageDescriptor({g, x}, {state});
  EXPECT_EQ(descriptor, x.descriptor());
  const Image given(device, descriptor);
  run([&](CommandBuffer& commands) {
    configured.encode(commands,
                      {.sourceGradient = g, .sourceImage = x, .gradientState = state, .destinationGradient = given});
  });
  EXPECT_EQ(given.read<float>(), values);
}

TEST_P(CNNNeuronTest, WhatWasReadOutsideReceivesNoGradient) {
  const Image x = counted(3, 1, 1), g = counted(3, 1, 1);
  CNNNeuron forward(device, {});
  forward.offset = {-1, 0, 0};
  CNNNeuronGradient backward(device, {});
  backward.destinationImageAllocator = Image::defaultAllocator();
  Image dx;
  run([&](CommandBuffer& commands) {
    State state;
    forward.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = image(3, 1, 1)});
    dx = backward.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  EXPECT_EQ(dx.read<float>(), (Floats{2, 3, 0}));
}

TEST_P(CNNNeuronTest, TheGradientRefusesWhatDoesNotFitTogether) {
  CNNNeuronGradient kernel(device, {});
  kernel.label = "g";
  const Image x = counted(2, 2, 3), g = counted(2, 2, 3), dx = image(2, 2, 3);
  const auto refused = [&](const CNNNeuronGradient::Arguments& arguments,
                           std::initializer_list<std::string_view> words) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, words);
  };
  refused({.sourceGradient = {}, .sourceImage = x, .destinationGradient = dx}, {"CNNNeuronGradient \"g\"", "nil"});
  refused({.sourceGradient = g, .sourceImage = {}, .destinationGradient = dx}, {"nil"});
  refused({.sourceGradient = g, .sourceImage = x, .destinationGradient = x}, {"overlap", "destinationGradient"});
  const State foreign(Device::named("null"), 8);
  refused({.sourceGradient = g, .sourceImage = x, .gradientState = foreign, .destinationGradient = dx},
          {"gradientState", "device null"});
  expectEncodeRefused(
      device,
      [&](CommandBuffer& commands) {
        kernel.encodeBatch(commands, {.sourceGradients = {g, g}, .sourceImages = {x}, .destinationGradients = {dx}});
      },
      {"2 source gradients", "1 source images", "1 destination gradients"});
}

TEST_P(CNNNeuronTest, ChainsOfTemporariesLeaveNothing) {
  const Image x = counted(4, 4, 4), dx = image(4, 4, 4);
  run([&](CommandBuffer& commands) {
    CNNNeuron forward(device, linearOf(2, 1));
    CNNNeuronGradient backward(device, linearOf(2, 1));
    State first, second;
    const Image y =
        forward.encode(commands, {.sourceImage = x, .destinationState = &first, .destinationStateIsTemporary = true});
    TemporaryImage(y).setReadCount(2);  // by the next kernel and by its gradient
    const Image z = forward.encode(commands, {.sourceImage = y, .destinationState = &second});
    const Image dy = backward.encode(commands, {.sourceGradient = z, .sourceImage = y, .gradientState = second});
    EXPECT_EQ(TemporaryImage(y).readCount(), 0u);
    EXPECT_EQ(TemporaryImage(z).readCount(), 0u);
    backward.encode(commands,
                    {.sourceGradient = dy, .sourceImage = x, .gradientState = first, .destinationGradient = dx});
    EXPECT_EQ(TemporaryImage(dy).readCount(), 0u);
  });
  const auto values = dx.read<float>();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], 4 * (4 * static_cast<float>(i + 1) + 3));
}

}  // namespace
}  // namespace metalloid::test
