#include "kernels/kernel_checks.hpp"
#include "support/devices.hpp"

#include <metalloid/cnn_local_normalization.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

const Device kNull = Device::named("null");

class LocalNormalization : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Image image(std::size_t width, std::size_t height, std::size_t channels, const Floats& values = {}) const {
    const Image made(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                              .width = width,
                              .height = height,
                              .featureChannels = channels});
    if (!values.empty()) made.write(values);
    return made;
  }
  Image random(std::size_t width, std::size_t height, std::size_t channels, unsigned seed) const {
    std::mt19937 generator(seed);
    Floats values(width * height * channels);
    for (float& value : values) value = static_cast<float>(generator() % 4001) / 1000.0F - 2.0F;
    return image(width, height, channels, values);
  }

  template <class K>
  Doubles forward(K kernel, const Image& x) const {
    const Image y(device, x.descriptor());
    execute(device,
            [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
    return y.read<double>();
  }
  template <class K>
  Doubles backward(K kernel, const Image& g, const Image& x) const {
    const Image dx(device, x.descriptor());
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.sourceGradient = g, .sourceImage = x, .destinationGradient = dx});
    });
    return dx.read<double>();
  }

  /// Up to 40 roundings of numbers up to `scale`: sums of few terms and a power.
  static void expectValues(const Doubles& actual, const Doubles& expected, double scale = 1) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 40 * 0x1p-24 * scale) << i;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, LocalNormalization, ::testing::ValuesIn(metalloid::testing::computingDevices()),
                         [](const auto& instance) { return metalloid::testing::identifier(instance.param); });

void set(auto& kernel, float alpha, float beta, float delta) {
  kernel.alpha = alpha;
  kernel.beta = beta;
  kernel.delta = delta;
}

// --- Values by hand: x = 1, 2, 3 ------------------------------------------------------------------------------------

TEST_P(LocalNormalization, SpatialByHand) {
  const Image x = image(3, 1, 1, {1, 2, 3}), g = image(3, 1, 1, {1, 1, 1});
  CNNSpatialNormalization kernel(device, 3, 3);
  CNNSpatialNormalizationGradient gradient(device, 3, 3);
  set(kernel, 9, 1, 1);  // alpha / (w*h) = 1
  set(gradient, 9, 1, 1);
  // T = 6, 15, 14; the rows above and below are zeros.
  expectValues(forward(kernel, x), {1.0 / 6, 2.0 / 15, 3.0 / 14});
  const double u0 = 1.0 / 36, u1 = 2.0 / 225, u2 = 3.0 / 196;
  expectValues(backward(gradient, g, x),
               {1.0 / 6 - 2 * 1 * (u0 + u1), 1.0 / 15 - 2 * 2 * (u0 + u1 + u2), 1.0 / 14 - 2 * 3 * (u1 + u2)});
  kernel.edgeMode = ImageEdgeMode::clamp;
  // Three times the row, and its ends once more: T = 1 + 3 * (1 + 1 + 4), ...
  expectValues(forward(kernel, x), {1.0 / 19, 2.0 / 43, 3.0 / 67});
}

TEST_P(LocalNormalization, AnEvenWindowHasOneMoreOnTheLeftAndOnTop) {
  CNNSpatialNormalization kernel(device, 2, 2);
  CNNSpatialNormalizationGradient gradient(device, 2, 2);
  set(kernel, 4, 1, 1);
  set(gradient, 4, 1, 1);
  for (const bool isRow : {true, false}) {
    const Image x = isRow ? image(3, 1, 1, {1, 2, 3}) : image(1, 3, 1, {1, 2, 3});
    const Image g = isRow ? image(3, 1, 1, {0, 1, 0}) : image(1, 3, 1, {0, 1, 0});
    expectValues(forward(kernel, x), {1.0 / 2, 2.0 / 6, 3.0 / 14});
    const double u = 2.0 / 36;  // output 1 saw elements 0 and 1
    expectValues(backward(gradient, g, x), {-2 * 1 * u, 1.0 / 6 - 2 * 2 * u, 0});
  }
}

TEST_P(LocalNormalization, LocalContrastByHand) {
  const Image x = image(3, 1, 1, {1, 2, 3});
  CNNLocalContrastNormalization kernel(device, 3, 3);
  kernel.edgeMode = ImageEdgeMode::clamp;
  set(kernel, 1, 0.5F, 0);
  // Windows 1 1 2, 1 2 3, 2 3 3: mean 4/3, 2, 8/3 and variance 2/9, 2/3, 2/9.
  const double root = std::sqrt(0.5);
  expectValues(forward(kernel, x), {-root, 0, root}, 2);
  kernel.pm = 5;
  kernel.ps = 2;
  expectValues(forward(kernel, x), {5 - 2 * root, 5, 5 + 2 * root}, 5);
  kernel.p0 = 0;
  expectValues(forward(kernel, x), {5 + 2 * 1 * std::sqrt(4.5), 5 + 2 * 2 * std::sqrt(1.5), 5 + 2 * 3 * std::sqrt(4.5)},
               20);
  // Zeros outside: ninths of the row's sums.
  CNNLocalContrastNormalization defaults(device, 3, 3);
  expectValues(forward(defaults, x), {32 * (1 - 3.0 / 9), 32 * (2 - 6.0 / 9), 32 * (3 - 5.0 / 9)}, 100);
}

TEST_P(LocalNormalization, ContrastKeepsSmallVariancesOfLargeMeans) {
  // 1000 and 1000 + 2^-10 in turns: the squares differ in a bit that float32 does not have.
  Floats values(36);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? 1000 : 1000 + 0x1p-10F;
  const Image x = image(36, 1, 1, values);
  CNNLocalContrastNormalization kernel(device, 3, 3);
  kernel.edgeMode = ImageEdgeMode::clamp;
  set(kernel, 1, 0.5F, 0);
  // Of three neighbours one differs: (x - M) / sqrt(V) = +-sqrt(2).
  const auto y = forward(kernel, x);
  for (std::size_t i = 1; i + 1 < y.size(); ++i)
    EXPECT_NEAR(y[i], (i % 2 == 0 ? -1 : 1) * std::sqrt(2), 40 * 0x1p-24) << i;
}

TEST_P(LocalNormalization, CrossChannelByHand) {
  const Image x = image(1, 1, 3, {1, 2, 3}), g = image(1, 1, 3, {1, 1, 1});
  CNNCrossChannelNormalization kernel(device, 3);
  CNNCrossChannelNormalizationGradient gradient(device, 3);
  set(kernel, 1, 1, 1);
  set(gradient, 1, 1, 1);
  const double l0 = 8.0 / 3, l1 = 17.0 / 3, l2 = 16.0 / 3;
  expectValues(forward(kernel, x), {1 / l0, 2 / l1, 3 / l2});
  const double u0 = 1 / (l0 * l0), u1 = 2 / (l1 * l1), u2 = 3 / (l2 * l2);
  expectValues(backward(gradient, g, x),
               {1 / l0 - 2.0 / 3 * (u0 + u1), 1 / l1 - 2.0 / 3 * 2 * (u0 + u1 + u2), 1 / l2 - 2.0 / 3 * 3 * (u1 + u2)});
  // Of two channels the window has the one below and this one.
  CNNCrossChannelNormalization even(device, 2);
  set(even, 2, 1, 1);
  expectValues(forward(even, x), {1.0 / 2, 2.0 / 6, 3.0 / 14});
  // A window larger than the image has all channels and its own divisor.
  CNNCrossChannelNormalization huge(device, 1000);
  set(huge, 1000, 1, 1);
  expectValues(forward(huge, x), {1.0 / 15, 2.0 / 15, 3.0 / 15});
}

TEST_P(LocalNormalization, DefaultsOfTheKernels) {
  // Of ones: T = 1 + 1, to the fifth.
  const Image x = image(1, 1, 9, Floats(9, 1));
  const auto y = forward(CNNCrossChannelNormalization(device), x);
  EXPECT_NEAR(y[4], 1.0 / 32, 40 * 0x1p-24);
  EXPECT_NEAR(y[0], std::pow(1.6, -5), 40 * 0x1p-24) << "3 of 5 channels are there.";
}

TEST_P(LocalNormalization, ChannelsAreApartInSpace) {
  const Image both = random(5, 4, 2, 1);
  const auto values = both.read<float>();
  CNNLocalContrastNormalization kernel(device, 3, 3);
  kernel.alpha = 1;
  const auto together = forward(kernel, both);
  for (std::size_t c = 0; c < 2; ++c) {
    Floats one;
    for (std::size_t i = c; i < values.size(); i += 2) one.push_back(values[i]);
    const auto alone = forward(kernel, image(5, 4, 1, one));
    for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(alone[i], together[2 * i + c]);
  }
}

// --- Settings -------------------------------------------------------------------------------------------------------

TEST(LocalNormalizationKernels, HaveTheDocumentedDefaults) {
  const auto expectSquares = [](const auto& kernel) {
    EXPECT_EQ(kernel.alpha, 1);
    EXPECT_EQ(kernel.beta, 5);
    EXPECT_EQ(kernel.delta, 1);
  };
  const auto expectContrast = [](const auto& kernel) {
    EXPECT_EQ(kernel.alpha, 0);
    EXPECT_EQ(kernel.beta, 0.5F);
    EXPECT_EQ(kernel.delta, 1.0F / 1024);
    EXPECT_EQ(kernel.p0, 1);
    EXPECT_EQ(kernel.pm, 0);
    EXPECT_EQ(kernel.ps, 1);
  };
  const CNNSpatialNormalization spatial(kNull, 3, 3);
  expectSquares(spatial);
  EXPECT_EQ(spatial.kernelWidth(), 3u);
  EXPECT_EQ(spatial.kernelHeight(), 3u);
  EXPECT_EQ(spatial.edgeMode, ImageEdgeMode::zero);
  const CNNSpatialNormalizationGradient spatialGradient(kNull, 4, 4);
  expectSquares(spatialGradient);
  EXPECT_EQ(spatialGradient.secondaryKernelWidth(), 4u);
  EXPECT_EQ(spatialGradient.secondaryKernelHeight(), 4u);
  expectContrast(CNNLocalContrastNormalization(kNull, 3, 3));
  expectContrast(CNNLocalContrastNormalizationGradient(kNull, 3, 3));
  const CNNCrossChannelNormalization cross(kNull);
  expectSquares(cross);
  EXPECT_EQ(cross.kernelSize(), 5u);
  EXPECT_EQ(cross.kernelWidth(), 1u);
  const CNNCrossChannelNormalizationGradient crossGradient(kNull, 7);
  expectSquares(crossGradient);
  EXPECT_EQ(crossGradient.kernelSize(), 7u);
}

TEST(LocalNormalizationKernels, RefuseWindowsThatCannotBe) {
  expectRefused([] { CNNSpatialNormalization(kNull, 3, 5); },
                {"CNNSpatialNormalization", "square", "kernelWidth is 3", "kernelHeight is 5"});
  expectRefused([] { CNNSpatialNormalization(kNull, 0, 0); }, {"kernelWidth is 0"});
  expectRefused([] { CNNSpatialNormalizationGradient(kNull, 2, 3); }, {"CNNSpatialNormalizationGradient"});
  expectRefused([] { CNNLocalContrastNormalization(kNull, 2, 3); }, {"CNNLocalContrastNormalization"});
  expectRefused([] { CNNLocalContrastNormalizationGradient(kNull, 0, 0); }, {"kernelHeight is 0"});
  expectRefused([] { CNNCrossChannelNormalization(kNull, 0); }, {"CNNCrossChannelNormalization", "0 is given"});
  expectRefused([] { CNNCrossChannelNormalizationGradient(kNull, all); }, {"CNNCrossChannelNormalizationGradient"});
  expectRefused([] { CNNCrossChannelNormalization(Device(), 3); }, {"nil"});
}

/// Every setting that these classes add, and one of the base's.
template <class K>
void expectKernel(const K& prototype, const K& otherSize, const std::string& className) {
  const std::function<void(K&)> asItIs = [](K&) {};
  const auto make = [](K kernel, const std::function<void(K&)>& change) {
    kernel.label = "lrn1";
    kernel.alpha = 0.5F;
    kernel.beta = 0.75F;
    kernel.delta = 2;
    kernel.destinationFeatureChannelOffset = 4;
    if constexpr (requires { kernel.p0; }) {
      kernel.p0 = 0.25F;
      kernel.pm = 3;
      kernel.ps = 4;
    }
    change(kernel);
    return kernel;
  };
  std::vector<K> changed{make(otherSize, asItIs),
                         make(prototype, [](K& k) { k.label = "lrn2"; }),
                         make(prototype, [](K& k) { k.alpha = 1; }),
                         make(prototype, [](K& k) { k.beta = 1; }),
                         make(prototype, [](K& k) { k.delta = 1; }),
                         make(prototype, [](K& k) { k.destinationFeatureChannelOffset = 0; })};
  if constexpr (requires(K k) { k.p0; }) {
    changed.push_back(make(prototype, [](K& k) { k.p0 = 1; }));
    changed.push_back(make(prototype, [](K& k) { k.pm = 1; }));
    changed.push_back(make(prototype, [](K& k) { k.ps = 1; }));
  }
  expectBehavesAsKernel<K>(make(prototype, asItIs), changed, kNull, className);
}

TEST(LocalNormalizationKernels, BehaveAsKernels) {
  expectKernel(CNNSpatialNormalization(kNull, 3, 3), CNNSpatialNormalization(kNull, 2, 2), "CNNSpatialNormalization");
  expectKernel(CNNSpatialNormalizationGradient(kNull, 3, 3), CNNSpatialNormalizationGradient(kNull, 2, 2),
               "CNNSpatialNormalizationGradient");
  expectKernel(CNNLocalContrastNormalization(kNull, 3, 3), CNNLocalContrastNormalization(kNull, 2, 2),
               "CNNLocalContrastNormalization");
  expectKernel(CNNLocalContrastNormalizationGradient(kNull, 3, 3), CNNLocalContrastNormalizationGradient(kNull, 2, 2),
               "CNNLocalContrastNormalizationGradient");
  expectKernel(CNNCrossChannelNormalization(kNull, 3), CNNCrossChannelNormalization(kNull, 2),
               "CNNCrossChannelNormalization");
  expectKernel(CNNCrossChannelNormalizationGradient(kNull, 3), CNNCrossChannelNormalizationGradient(kNull, 2),
               "CNNCrossChannelNormalizationGradient");
}

TEST(LocalNormalizationKernels, ArchivesHoldNoOtherWindows) {
  const auto spatial = archiveOf(CNNSpatialNormalization(kNull, 3, 3));
  const auto gradient = archiveOf(CNNLocalContrastNormalizationGradient(kNull, 3, 3));
  const auto cross = archiveOf(CNNCrossChannelNormalization(kNull));
  expectMalformed<CNNSpatialNormalization>(forged(spatial, "kernelHeight", 5), kNull, "a window that is not square");
  expectMalformed<CNNSpatialNormalization>(forged(spatial, "kernelHeight", 0), kNull, "a window without rows");
  expectMalformed<CNNSpatialNormalization>(forged(spatial, "strideInPixelsX", 2), kNull, "a stride");
  expectMalformed<CNNLocalContrastNormalizationGradient>(forged(gradient, "secondarykernelWidth", 2), kNull,
                                                         "a window that is not square");
  expectMalformed<CNNCrossChannelNormalization>(forged(cross, "kernelSize", 0), kNull, "no channels");
  EXPECT_EQ(decoded<CNNCrossChannelNormalization>(forged(cross, "kernelSize", 9), kNull).kernelSize(), 9u);
}

// --- Regions --------------------------------------------------------------------------------------------------------

/// A clip rectangle and an offset give the pixels that a whole encode gives there.
template <class K>
void expectRegionOfWhole(const Device& device, K kernel, const Image& x, const Image& whole, const Image& part) {
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImage = x, .destinationImage = whole});
    kernel.clipRect = {{1, 2, 0}, {3, 2, 1}};
    kernel.offset = {2, 1, 0};
    kernel.encode(commands, {.sourceImage = x, .destinationImage = part});
  });
  const auto all = whole.read<float>(), some = part.read<float>();
  const std::size_t w = x.width(), c = x.featureChannels();
  for (std::size_t i = 0; i < some.size(); ++i) {
    const std::size_t row = i / c / w, column = i / c % w;
    const bool isIn = column >= 1 && column < 4 && row >= 2 && row < 4;
    EXPECT_EQ(some[i], isIn ? all[((row - 1) * w + column + 1) * c + i % c] : -7) << i;
  }
}

TEST_P(LocalNormalization, ClipRectanglesAndOffsets) {
  const Image x = random(6, 5, 3, 2), whole = image(6, 5, 3);
  const auto blank = [&] { return image(6, 5, 3, Floats(90, -7)); };
  expectRegionOfWhole(device, CNNSpatialNormalization(device, 3, 3), x, whole, blank());
  expectRegionOfWhole(device, CNNSpatialNormalization(device, 4, 4), x, whole, blank());
  expectRegionOfWhole(device, CNNLocalContrastNormalization(device, 3, 3), x, whole, blank());
  expectRegionOfWhole(device, CNNCrossChannelNormalization(device, 2), x, whole, blank());
}

TEST_P(LocalNormalization, OnlyChannelsThatAreReadCount) {
  const Image x = image(1, 1, 6, {9, 9, 9, 1, 2, 3}), y = image(1, 1, 6, Floats(6, -7));
  CNNCrossChannelNormalization kernel(device, 3);
  set(kernel, 3, 1, 1);
  kernel.sourceFeatureChannelOffset = 4;
  execute(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  expectValues(y.read<double>(), {2.0 / 14, 3.0 / 14, -7, -7, -7, -7}, 7);
}

TEST_P(LocalNormalization, PoliciesChangeNoSize) {
  const Image x = random(6, 5, 3, 3);
  for (const auto method : {NNPaddingMethod::sizeValidOnly, NNPaddingMethod::sizeFull}) {
    CNNSpatialNormalization kernel(device, 3, 3);
    kernel.padding = NNDefaultPadding::paddingWithMethod(method);
    kernel.destinationImageAllocator = Image::defaultAllocator();
    kernel.offset = {3, 3, 0};
    Image made;
    execute(device, [&](CommandBuffer& commands) { made = kernel.encode(commands, {.sourceImage = x}); });
    EXPECT_EQ(made.descriptor(), x.descriptor());
    EXPECT_EQ(kernel.offset, Offset());
    EXPECT_EQ(made.read<double>(), forward(CNNSpatialNormalization(device, 3, 3), x));
  }
}

TEST_P(LocalNormalization, GradientsReachBeyondTheClipRectangle) {
  // One output, at pixel 2 of the destination, whose window stands on pixel 1 of the source and sees all three.
  const Image x = image(3, 1, 1, {1, 2, 3}), g = image(3, 1, 1, {100, 100, 1});
  CNNSpatialNormalization kernel(device, 3, 3);
  CNNSpatialNormalizationGradient gradient(device, 3, 3);
  set(kernel, 9, 1, 1);
  set(gradient, 9, 1, 1);
  kernel.clipRect.origin.x = 2;
  kernel.offset.x = 1;
  gradient.destinationImageAllocator = Image::defaultAllocator();
  Image dx;
  execute(device, [&](CommandBuffer& commands) {
    State state;
    kernel.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = image(3, 1, 1)});
    dx = gradient.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  const double u = 2.0 / 225;
  expectValues(dx.read<double>(), {-2 * 1 * u, 1.0 / 15 - 2 * 2 * u, -2 * 3 * u});
  EXPECT_EQ(gradient.clipRect.size.width, all);
  EXPECT_EQ(gradient.primaryOffset.x, 1);
  EXPECT_EQ(gradient.secondaryOffset.x, 0);
}

TEST_P(LocalNormalization, GradientsOfChannelRangesAreZeroElsewhere) {
  const Image x = random(4, 3, 9, 4), g = random(4, 3, 5, 5);
  CNNLocalContrastNormalization kernel(device, 3, 3);
  kernel.alpha = 1;
  kernel.sourceFeatureChannelOffset = 4;
  CNNLocalContrastNormalizationGradient gradient(device, 3, 3);
  gradient.alpha = 1;
  gradient.destinationImageAllocator = Image::defaultAllocator();
  Image dx;
  execute(device, [&](CommandBuffer& commands) {
    State state;
    kernel.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = image(4, 3, 5)});
    dx = gradient.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
  });
  ASSERT_EQ(dx.descriptor(), x.descriptor());
  Floats part;
  const auto sources = x.read<float>();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (i % 9 >= 4) part.push_back(sources[i]);
  }
  CNNLocalContrastNormalizationGradient plain(device, 3, 3);
  plain.alpha = 1;
  const auto expected = backward(plain, g, image(4, 3, 5, part));
  const auto values = dx.read<double>();
  for (std::size_t i = 0, k = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i % 9 < 4 ? 0 : expected[k++]) << i;
}

TEST_P(LocalNormalization, AGradientsPlaceCanBeChosen) {
  // A result of part of the source: destination pixel r belongs to source pixel secondaryOffset + r.
  const Image x = random(6, 5, 2, 6), g = random(6, 5, 2, 7);
  CNNSpatialNormalizationGradient kernel(device, 3, 3);
  const auto whole = backward(kernel, g, x);
  const Image part = image(3, 2, 2);
  kernel.primaryOffset = kernel.secondaryOffset = {2, 3, 0};
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceGradient = g, .sourceImage = x, .destinationGradient = part});
  });
  const auto values = part.read<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(values[i], whole[((i / 6 + 3) * 6 + i / 2 % 3 + 2) * 2 + i % 2]);
  kernel.secondaryOffset.x = 4;
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        kernel.encode(commands, {.sourceGradient = g, .sourceImage = x, .destinationGradient = part});
                      },
                      {"CNNSpatialNormalizationGradient", "3 x 2 pixels from (4, 3)", "source has 6 x 5"});
}

// --- Errors and temporaries -----------------------------------------------------------------------------------------

template <class K>
void expectForwardErrors(const Device& device, K kernel, const Image& x, const Image& y, const Image& small) {
  kernel.label = "lrn";
  const auto refused = [&](const std::function<void(K&)>& change, const Image& source, const Image& destination,
                           std::initializer_list<std::string_view> words) {
    K changed = kernel;
    change(changed);
    expectEncodeRefused(
        device,
        [&](CommandBuffer& commands) {
          changed.encode(commands, {.sourceImage = source, .destinationImage = destination});
        },
        words);
  };
  const auto nothing = [](K&) {};
  const std::string name = kernel.name();
  refused(nothing, x, x, {name, "overlap"});
  refused(nothing, {}, y, {name, "nil"});
  refused(nothing, x, small, {name, "channels"});
  refused([](K& k) { k.destinationFeatureChannelOffset = 2; }, x, y, {name, "multiple of 4"});
  if constexpr (!requires { kernel.p0; })
    refused([](K& k) { k.alpha = -1; }, x, y, {name, "alpha", "-1", "not be negative"});
  if constexpr (!requires { kernel.kernelSize(); })
    refused([](K& k) { k.edgeMode = ImageEdgeMode::mirror; }, x, y, {name, "edge mode", "zero or clamp"});
  expectRefusesCommandBuffers(
      device, [&](CommandBuffer& commands) { kernel.encode(commands, {.sourceImage = x, .destinationImage = y}); });
}

TEST_P(LocalNormalization, RefusesWhatDoesNotFit) {
  const Image x = random(4, 4, 4, 8), y = image(4, 4, 4), small = image(4, 4, 3);
  expectForwardErrors(device, CNNSpatialNormalization(device, 3, 3), x, y, small);
  expectForwardErrors(device, CNNLocalContrastNormalization(device, 3, 3), x, y, small);
  expectForwardErrors(device, CNNCrossChannelNormalization(device, 3), x, y, small);
}

TEST_P(LocalNormalization, GradientsRefuseWhatDoesNotFit) {
  const Image x = random(4, 4, 4, 8), g = random(4, 4, 4, 9), dx = image(4, 4, 4);
  const auto refused = [&](auto kernel, const Image& gradient, const Image& source, const Image& destination,
                           std::initializer_list<std::string_view> words) {
    expectEncodeRefused(
        device,
        [&](CommandBuffer& commands) {
          kernel.encode(commands,
                        {.sourceGradient = gradient, .sourceImage = source, .destinationGradient = destination});
        },
        words);
  };
  CNNSpatialNormalizationGradient kernel(device, 3, 3);
  refused(kernel, g, x, x, {"CNNSpatialNormalizationGradient", "overlap"});
  refused(kernel, {}, x, dx, {"nil"});
  refused(kernel, g, x, image(5, 4, 4), {"5 x 4 pixels", "source has 4 x 4"});
  kernel.alpha = -2;
  refused(kernel, g, x, dx, {"alpha", "-2"});
  CNNLocalContrastNormalizationGradient contrast(device, 3, 3);
  contrast.secondaryEdgeMode = ImageEdgeMode::constant;
  refused(contrast, g, x, dx, {"CNNLocalContrastNormalizationGradient", "zero or clamp"});
  CNNCrossChannelNormalizationGradient cross(device, 3);
  cross.alpha = -1;
  refused(cross, g, x, dx, {"CNNCrossChannelNormalizationGradient", "alpha"});
}

TEST_P(LocalNormalization, TemporariesAreReadOnce) {
  const Image input = random(4, 4, 4, 10), dx = image(4, 4, 4);
  execute(device, [&](CommandBuffer& commands) {
    CNNSpatialNormalization forward(device, 3, 3);
    CNNSpatialNormalizationGradient backward(device, 3, 3);
    State state;
    const Image x = CNNCrossChannelNormalization(device).encode(commands, {.sourceImage = input});
    TemporaryImage(x).setReadCount(2);
    const Image y = forward.encode(commands, {.sourceImage = x, .destinationState = &state});
    EXPECT_EQ(TemporaryImage(x).readCount(), 1u);
    EXPECT_EQ(TemporaryImage(y).readCount(), 1u);
    backward.encode(commands,
                    {.sourceGradient = y, .sourceImage = x, .gradientState = state, .destinationGradient = dx});
    EXPECT_EQ(TemporaryImage(x).readCount(), 0u);
    EXPECT_EQ(TemporaryImage(y).readCount(), 0u);
  });
  EXPECT_NE(dx.read<float>(), Floats(64));
}

TEST_P(LocalNormalization, BatchesHaveAStateForEachImage) {
  const ImageBatch x{random(4, 3, 2, 11), random(4, 3, 2, 12)}, g{random(4, 3, 2, 13), random(4, 3, 2, 14)};
  CNNCrossChannelNormalization forwardKernel(device, 2);
  CNNCrossChannelNormalizationGradient backwardKernel(device, 2);
  forwardKernel.destinationImageAllocator = backwardKernel.destinationImageAllocator = Image::defaultAllocator();
  StateBatch states;
  ImageBatch y, dx;
  execute(device, [&](CommandBuffer& commands) {
    y = forwardKernel.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states});
    dx = backwardKernel.encodeBatch(commands, {.sourceGradients = g, .sourceImages = x, .gradientStates = states});
  });
  EXPECT_EQ(states.size(), 2u);
  for (std::size_t n = 0; n < 2; ++n) {
    EXPECT_EQ(y[n].read<double>(), forward(CNNCrossChannelNormalization(device, 2), x[n]));
    EXPECT_EQ(dx[n].read<double>(), backward(CNNCrossChannelNormalizationGradient(device, 2), g[n], x[n]));
  }
}

}  // namespace
}  // namespace metalloid::test
