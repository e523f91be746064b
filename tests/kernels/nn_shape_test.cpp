// NNReshape, NNSlice, NNConcatenation: what only moves elements.

#include "kernels/kernel_checks.hpp"
#include "support/images.hpp"

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/nn_concatenation.hpp>
#include <metalloid/nn_reshape.hpp>
#include <metalloid/nn_slice.hpp>

namespace metalloid::test {
namespace {

using metalloid::testing::counting;
using metalloid::testing::imageOf;
using metalloid::testing::makeImage;
using Values = std::vector<float>;

class ShapeTest : public OnDevice {};

// --- Reshape

TEST_P(ShapeTest, ReshapeKeepsTheOrderOfRowsColumnsChannels) {
  const Image x = imageOf(device, {2, 3, 2}, counting(12)), y = makeImage(device, {3, 1, 4});
  execute(device, [&](CommandBuffer& commands) {
    NNReshape(device).encode(commands, {.sourceImage = x, .destinationImage = y});
  });
  EXPECT_EQ(y.read<float>(), counting(12));
}

TEST_P(ShapeTest, ReshapeMakesImagesOfTheGivenSize) {
  const Image x = imageOf(device, {2, 2, 3}, counting(12)), y = makeImage(device, {1, 1, 12});
  execute(device, [&](CommandBuffer& commands) {
    NNReshape reshape(device);
    CNNNeuron copy(device, {});
    const Image flat = reshape.encode(
        commands, {.sourceImage = x, .reshapedWidth = 1, .reshapedHeight = 1, .reshapedFeatureChannels = 12});
    EXPECT_TRUE(flat.isTemporary());
    EXPECT_EQ(flat.featureChannels(), 12u);
    copy.encode(commands, {.sourceImage = flat, .destinationImage = y});
    // What is not said stays.
    const auto batch =
        reshape.encodeBatch(commands, {.sourceImages = {x, x}, .reshapedWidth = 6, .reshapedFeatureChannels = 1});
    ASSERT_EQ(batch.size(), 2u);
    EXPECT_EQ(batch[1].height(), 2u);
    EXPECT_EQ(batch[1].width(), 6u);
    EXPECT_EQ(batch[1].featureChannels(), 1u);
  });
  EXPECT_EQ(y.read<float>(), counting(12));
}

TEST_P(ShapeTest, ReshapeWithRegionsAndItsGradient) {
  // 2 x 2 x 3 channels from 4 on; into the right column of 2 x 2 x 4..9.
  const Image x = imageOf(device, {2, 2, 8}, counting(32)), y = imageOf(device, {2, 2, 10}, Values(40, -1));
  NNReshape reshape(device);
  reshape.sourceFeatureChannelOffset = 4;
  reshape.sourceFeatureChannelMaxCount = 3;
  reshape.destinationFeatureChannelOffset = 4;
  reshape.clipRect = {{1, 0, 0}, {1, 2, 1}};
  State state;
  execute(device, [&](CommandBuffer& commands) {
    reshape.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = y});
  });
  const Values moved{4, 5, 6, 12, 13, 14, 20, 21, 22, 28, 29, 30};
  Values expected(40, -1);
  std::copy(moved.begin(), moved.begin() + 6, expected.begin() + 14);
  std::copy(moved.begin() + 6, moved.end(), expected.begin() + 34);
  EXPECT_EQ(y.read<float>(), expected);

  NNReshapeGradient gradient(device);
  const auto made = gradient.destinationImageDescriptor({y, x}, {state});
  EXPECT_EQ(made.width, 2u);
  EXPECT_EQ(made.height, 2u);
  EXPECT_EQ(made.featureChannels, 8u);
  const Image dx = imageOf(device, {2, 2, 8}, Values(32, -1));
  execute(device, [&](CommandBuffer& commands) {
    gradient.encode(commands,
                    {.sourceGradient = y, .sourceImage = x, .gradientState = state, .destinationGradient = dx});
  });
  Values received(32, -1);
  for (const float value : moved) received[static_cast<std::size_t>(value)] = value;
  EXPECT_EQ(dx.read<float>(), received);
}

TEST_P(ShapeTest, ReshapeErrors) {
  const Image x = makeImage(device, {2, 2, 3}), y = makeImage(device, {1, 1, 11});
  NNReshape reshape(device);
  reshape.label = "flatten";
  const auto refused = [&](const NNReshape::Arguments& arguments, std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { reshape.encode(commands, arguments); }, parts);
  };
  refused({.sourceImage = x, .destinationImage = y},
          {"NNReshape \"flatten\" keeps the elements", "2 x 2 x 3", "1 x 1 x 11"});
  refused({.sourceImage = x, .reshapedWidth = 5}, {"keeps the elements", "12", "2 x 5 x 3"});
  refused({.sourceImage = x, .reshapedWidth = 1, .reshapedHeight = 1}, {"12", "1 x 1 x 3"});
  refused({.sourceImage = x, .reshapedWidth = all, .reshapedHeight = all}, {"keeps the elements"});
  refused({.sourceImage = {}, .reshapedWidth = 1}, {"source image is nil", "While encoding"});
  expectEncodeRefused(device, [&](CommandBuffer& commands) { reshape.encodeBatch(commands, {.sourceImages = {}}); },
                      {"source image is nil"});
  expectEncodeRefused(
      device,
      [&](CommandBuffer& commands) {
        NNReshapeGradient(device).encode(
            commands, {.sourceGradient = y, .sourceImage = x, .destinationGradient = makeImage(device, {2, 2, 3})});
      },
      {"NNReshapeGradient", "1 x 1 x 11", "2 x 2 x 3"});
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) {
    reshape.encode(commands, {.sourceImage = x, .destinationImage = makeImage(device, {1, 1, 12})});
  });
}

// --- Slice

TEST_P(ShapeTest, SliceCopiesABox) {
  const Image x = imageOf(device, {3, 3, 8}, counting(72)), y = imageOf(device, {3, 2, 6}, Values(36, -1));
  NNSlice slice(device);
  slice.offset = {1, 1, 0};
  slice.clipRect = {{1, 0, 0}, {1, 2, 1}};
  slice.sourceFeatureChannelOffset = 4;
  slice.destinationFeatureChannelOffset = 4;  // of the 4 channels left in the source 2 have room
  execute(device, [&](CommandBuffer& commands) { slice.encode(commands, {.sourceImage = x, .destinationImage = y}); });
  Values expected(36, -1);
  expected[10] = 36, expected[11] = 37;  // row 1, column 1: pixel 4
  expected[22] = 60, expected[23] = 61;
  EXPECT_EQ(y.read<float>(), expected);
}

TEST_P(ShapeTest, SliceKeepsItsOffsetWhereItMakesTheImage) {
  const Image x = makeImage(device, {5, 6, 8});
  NNSlice slice(device);
  slice.offset = {2, 1, 0};
  slice.sourceFeatureChannelMaxCount = 5;
  auto made = slice.destinationImageDescriptor({x});
  EXPECT_EQ(slice.offset, (Offset{2, 1, 0}));
  EXPECT_EQ(made.width, 4u);
  EXPECT_EQ(made.height, 4u);
  EXPECT_EQ(made.featureChannels, 5u);
  slice.clipRect = {{1, 0, 0}, {3, 2, 1}};
  made = slice.destinationImageDescriptor({x});
  EXPECT_EQ(made.width, 4u);  // the clip rectangle begins at 1
  EXPECT_EQ(made.height, 2u);
}

TEST_P(ShapeTest, SliceErrors) {
  const Image x = makeImage(device, {3, 3, 2}), y = makeImage(device, {2, 2, 2});
  NNSlice slice(device);
  const auto refused = [&](Offset offset) {
    slice.offset = offset;
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { slice.encode(commands, {.sourceImage = x, .destinationImage = y}); },
        {"NNSlice slices 2 x 2 pixels", "3 x 3"});
  };
  refused({2, 0, 0});
  refused({0, 2, 0});
  refused({-1, 0, 0});
  refused({0, 4, 0});
}

// --- Concatenation

TEST_P(ShapeTest, ConcatenationBeginsAtMultiplesOfFour) {
  const Image x = imageOf(device, {1, 1, 23}, counting(23, 1)), y = imageOf(device, {1, 1, 2}, Values{100, 200});
  NNConcatenation kernel(device, 2);
  EXPECT_EQ(kernel.sourceCount(), 2u);
  EXPECT_EQ(kernel.destinationImageDescriptor({x, y}).featureChannels, 26u);
  const Image z = imageOf(device, {1, 1, 27}, Values(27, -1));
  State state;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceImages = {x, y}, .destinationState = &state, .destinationImage = z});
  });
  Values expected = counting(24, 1);
  expected[23] = 0;
  expected.insert(expected.end(), {100, 200, -1});
  EXPECT_EQ(z.read<float>(), expected);

  for (const std::size_t index : {0u, 1u}) {
    NNConcatenationGradient gradient(device, index);
    const Image dx = makeImage(device, {1, 1, index == 0 ? 23u : 2u});
    EXPECT_EQ(gradient.destinationImageDescriptor({z, dx}, {state}).featureChannels, dx.featureChannels());
    EXPECT_EQ(gradient.primarySourceFeatureChannelOffset, index == 0 ? 0u : 24u);
    execute(device, [&](CommandBuffer& commands) {
      gradient.encode(
          commands,
          {.sourceGradient = z, .sourceImage = index == 0 ? x : y, .gradientState = state, .destinationGradient = dx});
    });
    EXPECT_EQ(dx.read<float>(), index == 0 ? counting(23, 1) : (Values{100, 200}));
  }
}

TEST_P(ShapeTest, ConcatenationOfBatchesMakesItsImages) {
  const Image x = imageOf(device, {1, 2, 1}, Values{1, 2}), y = imageOf(device, {1, 2, 1}, Values{3, 4});
  const Image z = makeImage(device, {1, 2, 5}), w = makeImage(device, {1, 2, 5});
  execute(device, [&](CommandBuffer& commands) {
    NNConcatenation kernel(device, 2);
    StateBatch states;
    const auto made = kernel.encodeBatch(
        commands,
        {.sourceImages = {{x, y}, {y, x}}, .destinationStates = &states, .destinationStateIsTemporary = true});
    ASSERT_EQ(made.size(), 2u);
    ASSERT_EQ(states.size(), 2u);
    CNNNeuron(device, {}).encodeBatch(commands, {.sourceImages = made, .destinationImages = {z, w}});
  });
  EXPECT_EQ(z.read<float>(), (Values{1, 0, 0, 0, 3, 2, 0, 0, 0, 4}));
  EXPECT_EQ(w.read<float>(), (Values{3, 0, 0, 0, 1, 4, 0, 0, 0, 2}));
}

TEST_P(ShapeTest, ConcatenationErrors) {
  expectRefused([&] { NNConcatenation(device, 0); }, {"needs a source"});
  const Image x = makeImage(device, {2, 2, 3}), small = makeImage(device, {2, 1, 3}), z = makeImage(device, {2, 2, 7});
  NNConcatenation kernel(device, 2);
  const auto refused = [&](const NNConcatenation::Arguments& arguments, std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  refused({.sourceImages = {x}, .destinationImage = z}, {"has 2 sources, but is given 1", "While encoding"});
  refused({.sourceImages = {x, {}}, .destinationImage = z}, {"source image is nil"});
  refused({.sourceImages = {x, small}, .destinationImage = z}, {"source 1 is 2 x 1", "2 x 2 pixels"});
  refused({.sourceImages = {x, x}, .destinationImage = makeImage(device, {2, 2, 6})}, {"destinationImage", "6"});
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        NNConcatenation(device, 1).encode(commands, {.sourceImages = {z}, .destinationImage = z});
                      },
                      {"overlap"});
  kernel.destinationFeatureChannelOffset = 3;
  refused({.sourceImages = {x, x}, .destinationImage = z}, {"destinationFeatureChannelOffset", "multiple of 4"});
  kernel.destinationFeatureChannelOffset = 0;
  const State state = kernel.makeResultStates({.sources = {x, x}, .sourceStates = {}, .destination = z}).front();
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        NNConcatenationGradient(device, 2).encode(
                            commands, {.sourceGradient = z, .sourceImage = x, .gradientState = state});
                      },
                      {"no gradient for source 2 of a concatenation of 2"});
}

// --- Kernels

TEST_P(ShapeTest, BehaveAsKernels) {
  NNReshape reshape(device);
  reshape.label = "a kernel";
  reshape.sourceFeatureChannelOffset = 4;
  expectBehavesAsKernel(reshape, {NNReshape(device)}, device, "NNReshape");
  NNSlice slice(device);
  slice.label = "a kernel";
  slice.offset = {1, 2, 0};
  expectBehavesAsKernel(slice, {NNSlice(device)}, device, "NNSlice");
  NNConcatenation concatenation(device, 3);
  concatenation.label = "a kernel";
  auto others = std::vector(2, NNConcatenation(device, 2));
  others[1] = concatenation;
  others[1].destinationFeatureChannelOffset = 4;
  expectBehavesAsKernel(concatenation, others, device, "NNConcatenation");
  expectMalformed<NNConcatenation>(forged(archiveOf(concatenation), "sourceCount", 0), device, "no sources");
  NNConcatenationGradient gradient(device, 2);
  gradient.label = "a kernel";
  expectBehavesAsKernel(gradient, {NNConcatenationGradient(device, 1)}, device, "NNConcatenationGradient");
  EXPECT_EQ(decoded<NNReshapeGradient>(archiveOf(NNReshapeGradient(device)), device), NNReshapeGradient(device));
}

INSTANTIATE_TEST_SUITE_P(Devices, ShapeTest, ::testing::Values("reference", "cpu"), deviceName);

}  // namespace
}  // namespace metalloid::test
