#include "kernels/kernel_checks.hpp"

#include "math/dropout.hpp"

#include <metalloid/cnn_dropout.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace metalloid::test {
namespace {

class CNNDropoutValues : public OnDevice {};
class CNNDropoutChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, CNNDropoutValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, CNNDropoutChecks, testing::Values("reference", "cpu", "null"), deviceName);

Image constant(const Device& device, const Size& size, float value) {
  const Image image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                             .width = size.width,
                             .height = size.height,
                             .featureChannels = size.depth});
  image.write(std::vector<float>(size.width * size.height * size.depth, value));
  return image;
}

using Mask = std::vector<std::uint8_t>;

struct Result {
  std::vector<float> y, dx;
  Mask mask;
};

/// One image of threes forward, and one of fives backward.
Result run(CNNDropout& forward, const CNNDropoutArguments& arguments, const Size& size) {
  const Device device = forward.device();
  const Image y = constant(device, size, -1), dx = constant(device, size, -1);
  State state;
  execute(device, [&](CommandBuffer& commands) {
    const Image x = constant(device, size, 3);
    forward.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationImage = y});
    CNNDropoutGradient(device, arguments)
        .encode(commands, {.sourceGradient = constant(device, size, 5),
                           .sourceImage = x,
                           .gradientState = state,
                           .destinationGradient = dx});
  });
  return {y.read<float>(), dx.read<float>(), CNNDropoutGradientState(state).maskData()};
}

TEST_P(CNNDropoutValues, keepsAndScalesWithTheSameMaskBackward) {
  const CNNDropoutArguments arguments{.keepProbability = 0.25F, .seed = 7};
  CNNDropout kernel(device, arguments);
  const auto [y, dx, mask] = run(kernel, arguments, {5, 4, 6});
  ASSERT_EQ(mask.size(), 120U);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    ASSERT_LE(mask[i], 1) << i;
    EXPECT_EQ(y[i], mask[i] ? 12.0F : 0.0F) << i;
    EXPECT_EQ(dx[i], mask[i] ? 20.0F : 0.0F) << i;
  }
}

/// The first block of Philox 4x32 with 10 rounds under key 0, counter 0, as its authors publish it: 6627e8d5 e169c58d
/// bc57ac4c 9b00dbd8. With p = 0.5, words below 2^31 are kept.
TEST_P(CNNDropoutValues, masksAreThePhiloxStream) {
  CNNDropout kernel(device);
  EXPECT_EQ(run(kernel, {}, {1, 1, 4}).mask, (Mask{1, 0, 0, 0}));
  EXPECT_EQ(kernel.nextImage, 1U);
  const math::DropoutStream stream{.seed = 0, .image = 1};
  Mask expected;
  for (std::size_t e = 0; e < 30; ++e) expected.push_back(stream.block(e / 4).word[e % 4] < 0x80000000U ? 1 : 0);
  EXPECT_EQ(run(kernel, {}, {3, 2, 5}).mask, expected);
}

TEST(DropoutStream, keepBoundIsExact) {
  EXPECT_EQ(math::keepBound(0.5F), 0x80000000U);
  EXPECT_EQ(math::keepBound(0x1p-40F), 1U);
  EXPECT_EQ(math::keepBound(1 - 0x1p-24F), 0x100000000U - 0x100U);
  EXPECT_EQ(math::keepBound(1.5F * 0x1p-32F), 2U);
}

/// The share of elements that are kept, over five standard deviations; and of pairs of neighbours.
TEST_P(CNNDropoutValues, keepsWithTheProbability) {
  for (const float p : {0.1F, 0.5F, 0.8F}) {
    const CNNDropoutArguments arguments{.keepProbability = p, .seed = 42};
    CNNDropout kernel(device, arguments);
    const Mask mask = run(kernel, arguments, {32, 32, 32}).mask;
    const auto n = static_cast<double>(mask.size()), q = double{p};
    const auto kept = static_cast<double>(std::count(mask.begin(), mask.end(), 1));
    EXPECT_NEAR(kept / n, q, 5 * std::sqrt(q * (1 - q) / n));
    double pairs = 0;
    for (std::size_t i = 0; i + 1 < mask.size(); i += 2) pairs += mask[i] & mask[i + 1];
    EXPECT_NEAR(pairs / (n / 2), q * q, 5 * std::sqrt(q * q * (1 - q * q) / (n / 2)));
  }
}

TEST_P(CNNDropoutValues, everyEncodeDrawsAnewAndAFreshKernelRepeats) {
  const CNNDropoutArguments arguments{.seed = 3};
  CNNDropout kernel(device, arguments), again(device, arguments), other_(device, {.seed = 4});
  const Size size{8, 8, 4};
  const Mask first = run(kernel, arguments, size).mask, second = run(kernel, arguments, size).mask;
  EXPECT_NE(first, second);
  EXPECT_EQ(run(again, arguments, size).mask, first);
  // What an archive and a copy remember.
  CNNDropout archived = decoded<CNNDropout>(archiveOf(again), device), copied = again.copy();
  EXPECT_EQ(run(again, arguments, size).mask, second);
  EXPECT_EQ(run(archived, arguments, size).mask, second);
  EXPECT_EQ(run(copied, arguments, size).mask, second);
  EXPECT_NE(run(other_, arguments, size).mask, first);
}

/// Images of a batch count one by one, so that a batch draws what as many encodes would.
TEST_P(CNNDropoutValues, aBatchHasOneStateAndAMaskForEachImage) {
  const CNNDropoutArguments arguments{.seed = 9};
  const Size size{4, 4, 4};
  CNNDropout single(device, arguments), batch(device, arguments);
  Mask expected;
  for (int n = 0; n < 3; ++n) {
    const Mask one = run(single, arguments, size).mask;
    expected.insert(expected.end(), one.begin(), one.end());
  }
  const ImageBatch x(3, constant(device, size, 1));
  StateBatch states;
  ImageBatch y;
  execute(device, [&](CommandBuffer& commands) {
    batch.destinationImageAllocator = Image::defaultAllocator();
    y = batch.encodeBatch(commands, {.sourceImages = x, .destinationStates = &states});
  });
  ASSERT_EQ(states.size(), 3U);
  EXPECT_EQ(states[0], states[2]);
  EXPECT_TRUE(batch.isResultStateReusedAcrossBatch());
  EXPECT_EQ(CNNDropoutGradientState(states[0]).maskData(), expected);
  EXPECT_EQ(batch.nextImage, 3U);
  std::vector<float> values;
  for (const Image& image : y) {
    const auto one = image.read<float>();
    values.insert(values.end(), one.begin(), one.end());
  }
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], expected[i] ? 2.0F : 0.0F) << i;
}

TEST_P(CNNDropoutValues, stridesOfZeroShareAMaskValue) {
  const Size size{6, 5, 8};
  for (std::size_t bits = 0; bits < 8; ++bits) {
    const Size stride{bits & 1, bits >> 1 & 1, bits >> 2};
    const CNNDropoutArguments arguments{.seed = 11, .maskStrideInPixels = stride};
    CNNDropout kernel(device, arguments);
    const auto [y, dx, mask] = run(kernel, arguments, size);
    const std::size_t width = stride.width ? 6 : 1, height = stride.height ? 5 : 1, channels = stride.depth ? 8 : 1;
    ASSERT_EQ(mask.size(), width * height * channels);
    for (std::size_t j = 0; j < 5; ++j) {
      for (std::size_t i = 0; i < 6; ++i) {
        for (std::size_t c = 0; c < 8; ++c) {
          const auto m = mask[((j * stride.height) * width + i * stride.width) * channels + c * stride.depth];
          EXPECT_EQ(y[(j * 6 + i) * 8 + c], m ? 6.0F : 0.0F);
          EXPECT_EQ(dx[(j * 6 + i) * 8 + c], m ? 10.0F : 0.0F);
        }
      }
    }
  }
}

/// secondaryOffset shifts the mask; where there is none, there is no gradient.
TEST_P(CNNDropoutValues, secondaryOffsetShiftsTheMask) {
  const Size size{4, 3, 4};
  CNNDropout forward(device);
  CNNDropoutGradient backward(device);
  backward.secondaryOffset = {1, -1, 0};
  const Image dx = constant(device, size, -1);
  State state;
  execute(device, [&](CommandBuffer& commands) {
    const Image x = constant(device, size, 1);
    forward.encode(commands,
                   {.sourceImage = x, .destinationState = &state, .destinationImage = constant(device, size, 0)});
    backward.encode(commands,
                    {.sourceGradient = x, .sourceImage = x, .gradientState = state, .destinationGradient = dx});
  });
  const Mask mask = CNNDropoutGradientState(state).maskData();
  const auto values = dx.read<float>();
  for (std::size_t y = 0; y < 3; ++y) {
    for (std::size_t x = 0; x < 4; ++x) {
      for (std::size_t c = 0; c < 4; ++c) {
        const bool isKept = y >= 1 && x + 1 < 4 && mask[((y - 1) * 4 + x + 1) * 4 + c] != 0;
        EXPECT_EQ(values[(y * 4 + x) * 4 + c], isKept ? 2.0F : 0.0F) << y << ' ' << x << ' ' << c;
      }
    }
  }
}

TEST_P(CNNDropoutChecks, argumentsAreChecked) {
  for (const float p : {0.0F, 1.0F, -0.5F, 1.5F, kNaN, kInfinity}) {
    expectRefused([&] { CNNDropout(device, {.keepProbability = p}); }, {"keepProbability", "CNNDropout"});
    expectRefused([&] { CNNDropoutGradient(device, {.keepProbability = p}); }, {"CNNDropoutGradient"});
  }
  expectRefused([&] { CNNDropout(device, {.maskStrideInPixels = {1, 2, 1}}); }, {"(1, 2, 1)", "0 or 1"});
  expectRefused([&] { CNNDropout{Device()}; }, {"CNNDropout is nil"});
  const CNNDropout kernel(device);
  EXPECT_EQ(kernel.keepProbability(), 0.5F);
  EXPECT_EQ(kernel.seed(), 0U);
  EXPECT_EQ(kernel.maskStrideInPixels(), (Size{1, 1, 1}));
  EXPECT_EQ(kernel.nextImage, 0U);
}

TEST_P(CNNDropoutChecks, encodeRefuses) {
  const Size size{2, 1, 4};
  const Image x = constant(device, size, 1), y = constant(device, size, 1), dx = constant(device, size, 1);
  CNNDropout forward(device);
  const State state = forward.resultState({.sourceImage = x, .destinationImage = y});
  const auto refusesForward = [&](const CNNDropout::Arguments& arguments,
                                  std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { forward.encode(commands, arguments); }, parts);
  };
  refusesForward({.sourceImage = x, .destinationImage = x}, {"overlap"});
  refusesForward({.sourceImage = x, .destinationState = State(device, 8), .destinationImage = y},
                 {"CNNDropoutGradientState"});
  refusesForward({.sourceImage = constant(device, {1, 1, 4}, 1),
                  .destinationState = state,
                  .destinationImage = constant(device, {1, 1, 4}, 1)},
                 {"masks of 1 x 2 x 4, but CNNDropout processes 1 x 1 x 4"});
  EXPECT_EQ(forward.nextImage, 0U) << "a refused encode draws nothing";
  const auto refuses = [&](const CNNDropoutArguments& arguments, const State& given,
                           std::initializer_list<std::string_view> parts) {
    CNNDropoutGradient backward(device, arguments);
    expectEncodeRefused(
        device,
        [&](CommandBuffer& commands) {
          backward.encode(commands,
                          {.sourceGradient = x, .sourceImage = y, .gradientState = given, .destinationGradient = dx});
        },
        parts);
  };
  refuses({}, State(), {"CNNDropoutGradient needs the gradientState"});
  refuses({}, State(device, 8), {"CNNDropoutGradientState"});
  refuses({.keepProbability = 0.25F}, state, {"another keepProbability"});
  refuses({.maskStrideInPixels = {0, 1, 1}}, state, {"maskStrideInPixels"});
  refuses({}, forward.resultStateBatch({.sourceImage = x, .destinationImage = y, .batchSize = 2}).front(),
          {"masks of 2 images, but CNNDropoutGradient processes 1"});
  expectRefused([&] { CNNDropoutGradientState(State(device, 8)); }, {"CNNDropoutGradientState is needed"});
}

TEST_P(CNNDropoutChecks, temporaryStates) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const Image x = constant(device, {2, 1, 4}, 1);
  CNNDropout forward(device);
  State state;
  const Image y =
      forward.encode(commands, {.sourceImage = x, .destinationState = &state, .destinationStateIsTemporary = true});
  EXPECT_TRUE(state.isTemporary());
  EXPECT_EQ(state.readCount(), 1U);
  EXPECT_THROW(CNNDropoutGradientState(state).maskData(), Error);
  CNNDropoutGradient backward(device);
  backward.encode(commands, {.sourceGradient = x, .sourceImage = y, .gradientState = state});
  EXPECT_EQ(state.readCount(), 0U);
  expectRefused([&] { backward.encode(commands, {.sourceGradient = x, .sourceImage = x, .gradientState = state}); },
                {"readCount"});
}

TEST_P(CNNDropoutChecks, behaveAsKernels) {
  const CNNDropoutArguments arguments{.keepProbability = 0.25F, .seed = 5, .maskStrideInPixels = {1, 0, 1}};
  CNNDropout kernel(device, arguments);
  kernel.label = "drop";
  kernel.nextImage = 77;
  const auto with = [&](const CNNDropoutArguments& changed) {
    CNNDropout other_(device, changed);
    other_.label = kernel.label;
    other_.nextImage = kernel.nextImage;
    return other_;
  };
  std::vector<CNNDropout> changed(1, kernel);
  changed[0].nextImage = 78;
  changed.push_back(with({.keepProbability = 0.5F, .seed = 5, .maskStrideInPixels = {1, 0, 1}}));
  changed.push_back(with({.keepProbability = 0.25F, .seed = 6, .maskStrideInPixels = {1, 0, 1}}));
  changed.push_back(with({.keepProbability = 0.25F, .seed = 5, .maskStrideInPixels = {1, 1, 1}}));
  expectBehavesAsKernel(kernel, changed, device, "CNNDropout");
  expectMalformed<CNNDropout>(forged(archiveOf(kernel), "maskStrideInPixels.width", 2), device, "a stride of 2");

  CNNDropoutGradient gradient(device, arguments), plain(device);
  gradient.label = plain.label = "drop";
  expectBehavesAsKernel(gradient, {plain}, device, "CNNDropoutGradient");
}

}  // namespace
}  // namespace metalloid::test
