#include "kernels/kernel_checks.hpp"
#include "support/images.hpp"

#include <metalloid/cnn_arithmetic.hpp>
#include <metalloid/cnn_neuron.hpp>

#include <memory>

namespace metalloid::test {
namespace {

using metalloid::testing::counting;
using metalloid::testing::imageOf;
using metalloid::testing::ImageSize;
using metalloid::testing::makeImage;
using Values = std::vector<float>;

class ArithmeticTest : public OnDevice {
 protected:
  template <class K>
  Values result(K kernel, const Image& x, const Image& y, const Image& z) {
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.primaryImage = x, .secondaryImage = y, .destinationImage = z});
    });
    return z.read<float>();
  }
  template <class K>
  Values gradient(K kernel, const Image& g, const Image& source, const Image& dx, const State& state = {}) {
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands,
                    {.sourceGradient = g, .sourceImage = source, .gradientState = state, .destinationGradient = dx});
    });
    return dx.read<float>();
  }
};

TEST_P(ArithmeticTest, Defaults) {
  const CNNAdd add(device);
  EXPECT_EQ(add.primaryScale, 1);
  EXPECT_EQ(add.secondaryScale, 1);
  EXPECT_EQ(add.bias, 0);
  EXPECT_EQ(add.minimumValue, std::numeric_limits<float>::lowest());
  EXPECT_EQ(add.maximumValue, std::numeric_limits<float>::max());
  EXPECT_EQ(add.primaryStrideInPixelsX, 1u);
  EXPECT_EQ(add.primaryStrideInFeatureChannels, 1u);
  EXPECT_EQ(add.secondaryStrideInFeatureChannels, 1u);
  const CNNMultiplyGradient gradient(device, true);
  EXPECT_TRUE(gradient.isSecondarySourceFilter());
  EXPECT_FALSE(CNNAddGradient(device, false).isSecondarySourceFilter());
  EXPECT_EQ(gradient.primaryScale, 1);
  EXPECT_EQ(gradient.secondaryScale, 1);
}

TEST_P(ArithmeticTest, EachOperationFollowsItsFormula) {
  const Image x = imageOf(device, {1, 2, 2}, Values{1, 2, 3, 4}), y = imageOf(device, {1, 2, 2}, Values{2, 4, -2, 8});
  const Image z = makeImage(device, {1, 2, 2});
  const auto with = [](auto kernel) {
    kernel.primaryScale = 2;
    kernel.secondaryScale = 0.5F;
    kernel.bias = 1;
    return kernel;
  };
  EXPECT_EQ(result(with(CNNAdd(device)), x, y, z), (Values{4, 7, 6, 13}));
  EXPECT_EQ(result(with(CNNSubtract(device)), x, y, z), (Values{2, 3, 8, 5}));
  EXPECT_EQ(result(with(CNNMultiply(device)), x, y, z), (Values{3, 9, -5, 33}));
  EXPECT_EQ(result(with(CNNDivide(device)), x, y, z), (Values{3, 3, -5, 3}));
}

TEST_P(ArithmeticTest, ResultsAreBoundedAndNaNStays) {
  const Image x = imageOf(device, {1, 1, 6}, Values{-9, -1, 0, 1, 9, kNaN});
  const Image zero = imageOf(device, {1, 1, 6}, Values(6, 0.0F)), z = makeImage(device, {1, 1, 6});
  CNNAdd kernel(device);
  kernel.minimumValue = -1;
  kernel.maximumValue = 2;
  const auto values = result(kernel, x, zero, z);
  EXPECT_EQ((Values{values.begin(), values.end() - 1}), (Values{-1, -1, 0, 1, 2}));
  EXPECT_TRUE(std::isnan(values.back()));
}

TEST_P(ArithmeticTest, DivisionByZeroIsBoundedByTheLargestFloat) {
  const Image x = imageOf(device, {1, 1, 2}, Values{1, -1}), zero = imageOf(device, {1, 1, 2}, Values{0, 0});
  const Image z = makeImage(device, {1, 1, 2});
  EXPECT_EQ(result(CNNDivide(device), x, zero, z),
            (Values{std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()}));
}

/// An axis that is broadcast takes the operand's first element, even where there are others.
TEST_P(ArithmeticTest, BroadcastsAlongEachAxis) {
  const Image x = imageOf(device, {2, 2, 2}, counting(8));      // 0 1 | 2 3 || 4 5 | 6 7
  const Image y = imageOf(device, {2, 2, 2}, counting(8, 10));  // 10 11 | 12 13 || 14 15 | 16 17
  const auto broadcast = [&](std::size_t strideX, std::size_t strideY, std::size_t strideC) {
    CNNAdd kernel(device);
    kernel.primaryScale = 100;
    kernel.secondaryStrideInPixelsX = strideX;
    kernel.secondaryStrideInPixelsY = strideY;
    kernel.secondaryStrideInFeatureChannels = strideC;
    Values second = result(kernel, x, y, makeImage(device, {2, 2, 2}));
    for (std::size_t i = 0; i < second.size(); ++i) second[i] -= 100 * static_cast<float>(i);
    return second;
  };
  EXPECT_EQ(broadcast(1, 1, 1), (Values{10, 11, 12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(broadcast(0, 1, 1), (Values{10, 11, 10, 11, 14, 15, 14, 15}));
  EXPECT_EQ(broadcast(1, 0, 1), (Values{10, 11, 12, 13, 10, 11, 12, 13}));
  EXPECT_EQ(broadcast(1, 1, 0), (Values{10, 10, 12, 12, 14, 14, 16, 16}));
  EXPECT_EQ(broadcast(0, 0, 1), (Values{10, 11, 10, 11, 10, 11, 10, 11}));
  EXPECT_EQ(broadcast(0, 0, 0), Values(8, 10));
}

TEST_P(ArithmeticTest, BothOperandsMayBeBroadcast) {
  const Image x = imageOf(device, {2, 1, 1}, Values{1, 2}), y = imageOf(device, {1, 1, 3}, Values{10, 20, 30});
  CNNMultiply kernel(device);
  kernel.primaryStrideInPixelsX = kernel.primaryStrideInFeatureChannels = 0;
  kernel.secondaryStrideInPixelsX = kernel.secondaryStrideInPixelsY = 0;
  EXPECT_EQ(result(kernel, x, y, makeImage(device, {2, 2, 3})),
            (Values{10, 20, 30, 10, 20, 30, 20, 40, 60, 20, 40, 60}));
}

TEST_P(ArithmeticTest, MadeDestinationsHaveTheSizeOfWhatIsNotBroadcast) {
  const Image x = makeImage(device, {5, 4, 3}), y = makeImage(device, {1, 1, 8}), one = makeImage(device, {1, 1, 1});
  CNNAdd kernel(device);
  const auto size = [&](const Image& primary, const Image& secondary) {
    const auto made = kernel.destinationImageDescriptor({primary, secondary});
    return std::vector<std::size_t>{made.height, made.width, made.featureChannels};
  };
  EXPECT_EQ(size(x, x), (std::vector<std::size_t>{5, 4, 3}));
  kernel.secondaryStrideInPixelsX = kernel.secondaryStrideInPixelsY = 0;
  EXPECT_EQ(size(x, one), (std::vector<std::size_t>{5, 4, 3}));
  kernel.primaryStrideInFeatureChannels = 0;  // of the primary only the first channel, for each of the secondary
  EXPECT_EQ(size(x, y), (std::vector<std::size_t>{5, 4, 8}));
  kernel.destinationFeatureChannelOffset = 4;
  EXPECT_EQ(size(x, y), (std::vector<std::size_t>{5, 4, 12}));
  kernel.destinationFeatureChannelOffset = 0;
  kernel.primaryStrideInPixelsX = kernel.primaryStrideInPixelsY = 0;
  EXPECT_EQ(size(x, y), (std::vector<std::size_t>{1, 1, 8}));
  kernel.secondaryStrideInPixelsX = kernel.secondaryStrideInPixelsY = 1;
  EXPECT_EQ(size(y, x), (std::vector<std::size_t>{5, 4, 3}));
}

TEST_P(ArithmeticTest, ImageReturningEncodesMakeTemporaries) {
  const Image x = imageOf(device, {1, 2, 1}, Values{1, 2}), y = imageOf(device, {1, 1, 3}, Values{10, 20, 30});
  CNNAdd kernel(device);
  kernel.primaryStrideInFeatureChannels = 0;
  kernel.secondaryStrideInPixelsX = kernel.secondaryStrideInPixelsY = 0;
  const Image z = makeImage(device, {1, 2, 3});
  execute(device, [&](CommandBuffer& commands) {
    const Image sum = kernel.encode(commands, {.primaryImage = x, .secondaryImage = y});
    EXPECT_TRUE(sum.isTemporary());
    const TemporaryImage temporary(sum);
    EXPECT_EQ(temporary.readCount(), 1u);
    CNNNeuron(device, {}).encode(commands, {.sourceImage = sum, .destinationImage = z});
    EXPECT_EQ(temporary.readCount(), 0u);
  });
  EXPECT_EQ(z.read<float>(), (Values{11, 21, 31, 12, 22, 32}));
}

/// A temporary that is both operands is read once.
TEST_P(ArithmeticTest, AnImageMayBeBothOperands) {
  const Image x = imageOf(device, {1, 1, 2}, Values{3, -4}), z = makeImage(device, {1, 1, 2});
  execute(device, [&](CommandBuffer& commands) {
    const Image copy = CNNNeuron(device, {}).encode(commands, {.sourceImage = x});
    CNNMultiply(device).encode(commands, {.primaryImage = copy, .secondaryImage = copy, .destinationImage = z});
    EXPECT_EQ(TemporaryImage(copy).readCount(), 0u);
  });
  EXPECT_EQ(z.read<float>(), (Values{9, 16}));
}

TEST_P(ArithmeticTest, ClipRectOffsetsAndChannelOffsetsSelect) {
  const Image x = imageOf(device, {2, 2, 8}, counting(32)),
              y = imageOf(device, {2, 3, 1}, Values{0, 100, 200, 0, 0, 300});
  const Image z = imageOf(device, {2, 3, 8}, Values(48, -1));
  CNNAdd kernel(device);
  kernel.clipRect = {{1, 0, 0}, {2, 1, 1}};
  kernel.primaryOffset = {1, 1, 0};    // the second pixel read lies outside: 0
  kernel.secondaryOffset = {1, 0, 0};  // 100, 200
  kernel.secondaryStrideInFeatureChannels = 0;
  kernel.primarySourceFeatureChannelOffset = 4;
  kernel.primarySourceFeatureChannelMaxCount = 2;
  kernel.destinationFeatureChannelOffset = 4;
  Values expected(48, -1);
  expected[12] = 100 + 28;
  expected[13] = 100 + 29;
  expected[20] = expected[21] = 200;
  EXPECT_EQ(result(kernel, x, y, z), expected);
  // The same in steps, the nearest pixel outside.
  kernel.primaryEdgeMode = ImageEdgeMode::clamp;
  expected[20] += 28;
  expected[21] += 29;
  EXPECT_EQ(result(kernel, x, y, z), expected);
}

TEST_P(ArithmeticTest, BatchesAndContainers) {
  const Image container(device, {.channelFormat = ImageFeatureChannelFormat::float32, .numberOfImages = 3});
  container.write(Values{1, 2, 3});
  const Image ten = imageOf(device, {1, 1, 1}, Values{10});
  const auto images = container.batchRepresentation();
  ImageBatch results;
  execute(device, [&](CommandBuffer& commands) {
    results = {makeImage(device, {}), makeImage(device, {}), makeImage(device, {})};
    CNNAdd(device).encodeBatch(
        commands, {.primaryImages = images, .secondaryImages = {ten, ten, images[0]}, .destinationImages = results});
  });
  EXPECT_EQ(results[0].read<float>(), Values{11});
  EXPECT_EQ(results[1].read<float>(), Values{12});
  EXPECT_EQ(results[2].read<float>(), Values{4});
}

// --- Gradients

TEST_P(ArithmeticTest, GradientsFollowTheirFormulas) {
  const Image g = imageOf(device, {1, 1, 3}, Values{1, -2, 3}), y = imageOf(device, {1, 1, 3}, Values{4, 5, 6});
  const Image dx = makeImage(device, {1, 1, 3});
  const auto with = [](auto kernel) {
    kernel.primaryScale = 2;
    kernel.secondaryScale = -0.5F;
    kernel.bias = 7;  // has no effect
    return kernel;
  };
  EXPECT_EQ(gradient(with(CNNAddGradient(device, false)), g, y, dx), (Values{2, -4, 6}));
  EXPECT_EQ(gradient(with(CNNAddGradient(device, true)), g, y, dx), (Values{2, -4, 6}));
  EXPECT_EQ(gradient(with(CNNSubtractGradient(device, true)), g, y, dx), (Values{2, -4, 6}));
  EXPECT_EQ(gradient(with(CNNMultiplyGradient(device, false)), g, y, dx), (Values{-4, 10, -18}));
}

/// Without a state the sizes and the strides tell what was broadcast.
TEST_P(ArithmeticTest, GradientsOfBroadcastOperandsAreSums) {
  const Image g = imageOf(device, {2, 2, 2}, counting(8));
  CNNAddGradient kernel(device, true);
  const auto of = [&](ImageSize size) { return gradient(kernel, g, makeImage(device, size), makeImage(device, size)); };
  EXPECT_EQ(of({2, 2, 2}), counting(8));
  EXPECT_EQ(of({2, 1, 2}), (Values{0 + 2, 1 + 3, 4 + 6, 5 + 7}));
  EXPECT_EQ(of({1, 2, 2}), (Values{0 + 4, 1 + 5, 2 + 6, 3 + 7}));
  EXPECT_EQ(of({2, 2, 1}), (Values{0 + 1, 2 + 3, 4 + 5, 6 + 7}));
  EXPECT_EQ(of({1, 1, 2}), (Values{12, 16}));
  EXPECT_EQ(of({1, 2, 1}), (Values{10, 18}));
  EXPECT_EQ(of({2, 1, 1}), (Values{6, 22}));
  EXPECT_EQ(of({1, 1, 1}), Values{28});
  // The operand had more elements than were read: they receive nothing.
  kernel.secondaryStrideInPixelsX = 0;
  EXPECT_EQ(of({2, 2, 2}), (Values{0 + 2, 1 + 3, 0, 0, 4 + 6, 5 + 7, 0, 0}));
}

TEST_P(ArithmeticTest, TheStateConfiguresTheGradient) {
  // z[0][i][c] = x[0][i + 1][c] * y[0][0][4 + 0], written to the second pixel on, from channel 4 on.
  const Image x = imageOf(device, {1, 4, 2}, counting(8, 1)), y = imageOf(device, {1, 1, 5}, Values{0, 0, 0, 0, 10});
  const Image z = imageOf(device, {1, 4, 6}, Values(24, 0.0F));
  CNNMultiply forward(device);
  forward.clipRect = {{1, 0, 0}, {2, 1, 1}};
  forward.primaryOffset = {1, 0, 0};
  forward.secondaryStrideInPixelsX = forward.secondaryStrideInPixelsY = forward.secondaryStrideInFeatureChannels = 0;
  forward.secondarySourceFeatureChannelOffset = 4;
  forward.destinationFeatureChannelOffset = 4;
  State state;
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands,
                   {.primaryImage = x, .secondaryImage = y, .destinationState = &state, .destinationImage = z});
  });
  Values expected(24, 0.0F);
  expected[10] = 30, expected[11] = 40, expected[16] = 50, expected[17] = 60;
  EXPECT_EQ(z.read<float>(), expected);
  EXPECT_EQ(state.resourceCount(), 0u);  // nothing can be cut

  const Image g = imageOf(device, {1, 4, 6}, counting(24));  // 10 11, 16 17
  for (const bool isSecondary : {false, true}) {
    CNNMultiplyGradient backward(device, isSecondary);
    const auto made = backward.destinationImageDescriptor({g, isSecondary ? x : y}, {state});
    EXPECT_EQ(made.width, isSecondary ? 1u : 4u);
    EXPECT_EQ(made.height, 1u);
    EXPECT_EQ(made.featureChannels, isSecondary ? 5u : 2u);
    const Image dx =
        imageOf(device, isSecondary ? ImageSize{1, 1, 5} : ImageSize{1, 4, 2}, Values(isSecondary ? 5 : 8, -1));
    const auto values = gradient(backward, g, isSecondary ? x : y, dx, state);
    if (isSecondary) {
      EXPECT_EQ(values, (Values{-1, -1, -1, -1, 10 * 3 + 11 * 4 + 16 * 5 + 17 * 6}));
    } else {
      EXPECT_EQ(values, (Values{-1, -1, 100, 110, 160, 170, -1, -1}));
    }
  }
}

TEST_P(ArithmeticTest, WhatWasCutHasNoGradient) {
  const Image x = imageOf(device, {1, 1, 5}, Values{-3, -1, 0, 2, 3}), y = imageOf(device, {1, 1, 1}, Values{0});
  const Image z = makeImage(device, {1, 1, 5}), g = imageOf(device, {1, 1, 5}, Values{1, 2, 4, 8, kInfinity});
  CNNAdd forward(device);
  forward.secondaryStrideInFeatureChannels = 0;
  forward.minimumValue = -1;
  forward.maximumValue = 2.5F;
  State state;
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands,
                   {.primaryImage = x, .secondaryImage = y, .destinationState = &state, .destinationImage = z});
  });
  EXPECT_EQ(z.read<float>(), (Values{-1, -1, 0, 2, 2.5F}));
  ASSERT_EQ(state.resourceCount(), 1u);
  EXPECT_EQ(state.bufferSizeAtIndex(0), 5u);
  // Strictly between the bounds; an infinite gradient is cut like any other.
  EXPECT_EQ(gradient(CNNAddGradient(device, false), g, x, makeImage(device, {1, 1, 5}), state),
            (Values{0, 0, 4, 8, 0}));
  EXPECT_EQ(gradient(CNNAddGradient(device, true), g, y, makeImage(device, {1, 1, 1}), state), Values{12});
}

/// The operand is read outside of itself: the mask is wider than what receives gradient.
TEST_P(ArithmeticTest, MasksFollowTheRegionThatReceivesGradient) {
  const Image x = imageOf(device, {1, 2, 1}, Values{1, 5}), y = imageOf(device, {1, 4, 1}, Values{0, 1, 0, 9});
  const Image z = makeImage(device, {1, 4, 1}), g = imageOf(device, {1, 4, 1}, Values{1, 2, 4, 8});
  CNNAdd forward(device);
  forward.primaryOffset = {-1, 0, 0};  // 0 1 5 0
  forward.maximumValue = 4;
  State state;
  execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands,
                   {.primaryImage = x, .secondaryImage = y, .destinationState = &state, .destinationImage = z});
  });
  EXPECT_EQ(z.read<float>(), (Values{0, 2, 4, 4}));
  CNNAddGradient backward(device, false);
  backward.destinationImageDescriptor({g, x}, {state});
  EXPECT_EQ(gradient(backward, g, x, makeImage(device, {1, 2, 1}), state), (Values{2, 0}));
}

TEST_P(ArithmeticTest, TemporaryStatesAreReadByBothGradients) {
  const Image x = imageOf(device, {1, 1, 2}, Values{1, 9}), y = imageOf(device, {1, 1, 2}, Values{2, 3});
  const Image g = imageOf(device, {1, 1, 2}, Values{1, 1});
  const Image dx = makeImage(device, {1, 1, 2}), dy = makeImage(device, {1, 1, 2});
  execute(device, [&](CommandBuffer& commands) {
    CNNMultiply forward(device);
    forward.maximumValue = 10;
    State state;
    const Image z = forward.encode(
        commands,
        {.primaryImage = x, .secondaryImage = y, .destinationState = &state, .destinationStateIsTemporary = true});
    TemporaryImage(z).setReadCount(0);
    ASSERT_TRUE(state.isTemporary());
    state.setReadCount(2);
    CNNMultiplyGradient(device, false)
        .encode(commands, {.sourceGradient = g, .sourceImage = y, .gradientState = state, .destinationGradient = dx});
    EXPECT_EQ(state.readCount(), 1u);
    CNNMultiplyGradient(device, true)
        .encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state, .destinationGradient = dy});
    EXPECT_EQ(state.readCount(), 0u);
    EXPECT_THROW(CNNMultiplyGradient(device, true)
                     .encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state}),
                 Error);
  });
  EXPECT_EQ(dx.read<float>(), (Values{2, 0}));
  EXPECT_EQ(dy.read<float>(), (Values{1, 0}));
}

TEST_P(ArithmeticTest, StatesNarrow) {
  const Image x = makeImage(device, {1, 1, 2});
  CNNAdd add(device);
  const State state = add.resultState({.primaryImage = x, .secondaryImage = x, .destinationImage = x});
  EXPECT_TRUE(CNNArithmeticGradientState(state));
  EXPECT_TRUE(NNBinaryGradientState(state));
  EXPECT_FALSE(CNNArithmeticGradientState(State()));
  const State neuron = CNNNeuron(device, {}).resultState({.sourceImage = x, .destinationImage = x});
  expectRefused([&] { CNNArithmeticGradientState{neuron}; },
                {"NNBinaryGradientState is needed", "NNGradientState is given"});
  EXPECT_FALSE(CNNDivide(device).resultState({.primaryImage = x, .secondaryImage = x, .destinationImage = x}));
  EXPECT_EQ(
      add.resultStateBatch({.primaryImage = x, .secondaryImage = x, .destinationImage = x, .batchSize = 3}).size(), 3u);
}

TEST_P(ArithmeticTest, AnOperandThatWasNotReadHasNoGradient) {
  const Image x = makeImage(device, {2, 2, 1}), z = makeImage(device, {2, 2, 1});
  const Image g = imageOf(device, {2, 2, 1}, Values{1, 2, 3, 4});
  for (const std::size_t stride : {0u, 1u}) {
    CNNAdd forward(device);
    forward.primaryOffset = {2, 0, 0};
    forward.primaryStrideInPixelsX = stride;
    const State state = forward.resultState({.primaryImage = x, .secondaryImage = x, .destinationImage = z});
    CNNAddGradient backward(device, false);
    backward.destinationImageDescriptor({g, x}, {state});
    const Image dx = imageOf(device, {2, 2, 1}, Values(4, -1));
    EXPECT_EQ(gradient(backward, g, x, dx, state), Values(4, -1)) << "a given result is left as it is";
    backward.destinationImageAllocator = Image::defaultAllocator();
    Image made;
    execute(device, [&](CommandBuffer& commands) {
      made = backward.encode(commands, {.sourceGradient = g, .sourceImage = x, .gradientState = state});
    });
    EXPECT_EQ(made.read<float>(), Values(4, 0.0F));
  }
}

// --- Errors

TEST_P(ArithmeticTest, ForwardErrors) {
  const Image x = makeImage(device, {2, 2, 3}), four = makeImage(device, {2, 2, 4}), z = makeImage(device, {2, 2, 3});
  const auto refused = [&](const CNNAdd& kernel, CNNBinaryKernel::Arguments arguments,
                           std::initializer_list<std::string_view> parts) {
    CNNAdd copy = kernel;
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { copy.encode(commands, arguments); }, parts);
  };
  CNNAdd kernel(device);
  kernel.label = "sum";
  refused(kernel, {.primaryImage = {}, .secondaryImage = x, .destinationImage = z}, {"source image is nil", "CNNAdd"});
  refused(kernel, {.primaryImage = x, .secondaryImage = {}, .destinationImage = z}, {"source image is nil", "CNNAdd"});
  refused(kernel, {.primaryImage = x, .secondaryImage = four, .destinationImage = z},
          {"CNNAdd \"sum\"", "3 channels of the primaryImage and 4 of the secondaryImage"});
  refused(kernel, {.primaryImage = four, .secondaryImage = four, .destinationImage = z},
          {"destinationImage", "3", "4 channels"});
  refused(kernel, {.primaryImage = x, .secondaryImage = z, .destinationImage = x}, {"overlap"});
  refused(kernel, {.primaryImage = z, .secondaryImage = x, .destinationImage = x}, {"overlap"});
  kernel.secondaryStrideInPixelsX = 2;
  refused(kernel, {.primaryImage = x, .secondaryImage = x, .destinationImage = z},
          {"secondaryStrideInPixelsX", "is 2", "0, to broadcast, or 1"});
  kernel.secondaryStrideInPixelsX = 1;
  kernel.primaryStrideInFeatureChannels = 3;
  refused(kernel, {.primaryImage = x, .secondaryImage = x, .destinationImage = z},
          {"primaryStrideInFeatureChannels", "is 3"});
  kernel.primaryStrideInFeatureChannels = 1;
  kernel.destinationFeatureChannelOffset = 2;
  refused(kernel, {.primaryImage = x, .secondaryImage = x, .destinationImage = z},
          {"destinationFeatureChannelOffset", "multiple of 4"});
  kernel.destinationFeatureChannelOffset = 0;
  kernel.primarySourceFeatureChannelOffset = 4;
  refused(kernel, {.primaryImage = x, .secondaryImage = x, .destinationImage = z}, {"offset", "is 4", "3 channels"});
  kernel.primarySourceFeatureChannelOffset = 0;
  kernel.maximumValue = 1;
  const Image small = makeImage(device, {1, 1, 3});
  const State smallState =
      kernel.resultState({.primaryImage = small, .secondaryImage = small, .destinationImage = small});
  refused(kernel, {.primaryImage = x, .secondaryImage = x, .destinationState = smallState, .destinationImage = z},
          {"masks of 1 x 1 x 1 x 3", "1 x 2 x 2 x 3"});
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) {
    CNNAdd(device).encode(commands, {.primaryImage = x, .secondaryImage = x, .destinationImage = z});
  });
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        CNNAdd(device).encodeBatch(commands, {.primaryImages = {x, x},
                                                              .secondaryImages = {x},
                                                              .destinationImages = {z, makeImage(device, {2, 2, 3})}});
                      },
                      {"2 primary images, 1 secondary images and 2 destination images"});
}

TEST_P(ArithmeticTest, GradientErrors) {
  const Image g = makeImage(device, {2, 2, 3}), y = makeImage(device, {2, 2, 2}), dx = makeImage(device, {2, 2, 3});
  const auto refused = [&](auto kernel, CNNGradientKernel::Arguments arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  CNNMultiplyGradient kernel(device, false);
  refused(kernel, {.sourceGradient = {}, .sourceImage = y, .destinationGradient = dx}, {"source image is nil"});
  refused(kernel, {.sourceGradient = g, .sourceImage = y, .destinationGradient = dx},
          {"sourceImage", "CNNMultiplyGradient", "3 channels"});
  const State neuron = CNNNeuron(device, {}).resultState({.sourceImage = g, .destinationImage = g});
  refused(kernel, {.sourceGradient = g, .sourceImage = g, .gradientState = neuron, .destinationGradient = dx},
          {"CNNArithmeticGradientState", "NNGradientState"});
  refused(kernel, {.sourceGradient = g, .sourceImage = makeImage(device, {2, 2, 3}), .destinationGradient = g},
          {"overlap"});
  kernel.secondaryStrideInPixelsY = 2;
  refused(kernel, {.sourceGradient = g, .sourceImage = g, .destinationGradient = dx},
          {"secondaryStrideInPixelsY", "is 2"});
  kernel.secondaryStrideInPixelsY = 1;
  // A state of another forward encode.
  CNNAdd forward(device);
  forward.maximumValue = 1;
  const Image small = makeImage(device, {1, 1, 3});
  const State foreign =
      forward.resultState({.primaryImage = small, .secondaryImage = small, .destinationImage = small});
  refused(CNNAddGradient(device, false),
          {.sourceGradient = g, .sourceImage = g, .gradientState = foreign, .destinationGradient = dx},
          {"CNNAddGradient", "not what the forward kernel"});
}

// --- Kernels

TEST_P(ArithmeticTest, BehavesAsKernel) {
  const auto set = [](auto& kernel) {
    kernel.label = "a kernel";
    kernel.primaryScale = 2;
    kernel.secondaryScale = 3;
    kernel.bias = 4;
    kernel.minimumValue = -5;
    kernel.maximumValue = 6;
    kernel.secondaryStrideInFeatureChannels = 0;
    kernel.secondaryStrideInPixelsX = 0;
  };
  CNNDivide divide(device);
  set(divide);
  divide.primaryStrideInFeatureChannels = 0;
  std::vector<CNNDivide> changed(6, divide);
  changed[0].primaryScale = 1;
  changed[1].secondaryScale = 1;
  changed[2].bias = 0;
  changed[3].minimumValue = 0;
  changed[4].primaryStrideInFeatureChannels = 1;
  changed[5].secondaryStrideInPixelsX = 1;
  expectBehavesAsKernel(divide, changed, device, "CNNDivide");
  EXPECT_EQ(decoded<CNNAdd>(archiveOf(CNNAdd(device)), device), CNNAdd(device));
  EXPECT_EQ(decoded<CNNSubtract>(archiveOf(CNNSubtract(device)), device), CNNSubtract(device));
  EXPECT_EQ(decoded<CNNMultiply>(archiveOf(CNNMultiply(device)), device), CNNMultiply(device));
  expectMalformed<CNNAdd>(archiveOf(CNNSubtract(device)), device, "an archive of another class");
}

TEST_P(ArithmeticTest, GradientsBehaveAsKernels) {
  CNNMultiplyGradient gradient(device, true);
  gradient.label = "a kernel";
  gradient.primaryScale = 2;
  gradient.secondaryScale = 3;
  gradient.secondaryStrideInFeatureChannels = 0;
  std::vector<CNNMultiplyGradient> changed(4, gradient);
  changed[0].primaryScale = 1;
  changed[1].secondaryScale = 1;
  changed[2].secondaryStrideInFeatureChannels = 1;
  changed[3] = CNNMultiplyGradient(device, false);
  expectBehavesAsKernel(gradient, changed, device, "CNNMultiplyGradient");
  const CNNAddGradient add(device, true);
  EXPECT_EQ(decoded<CNNAddGradient>(archiveOf(add), device), add);
  const CNNSubtractGradient subtract(device, true);
  EXPECT_EQ(decoded<CNNSubtractGradient>(archiveOf(subtract), device), subtract);
}

INSTANTIATE_TEST_SUITE_P(Devices, ArithmeticTest, ::testing::Values("reference", "cpu"), deviceName);

}  // namespace
}  // namespace metalloid::test
