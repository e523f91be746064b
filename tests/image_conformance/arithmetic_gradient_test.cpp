// Arithmetic and the spatial mean against differences of their forward kernels, for every way to broadcast.
//
// L(x) = sum of r * z(x). All are linear in each operand and all numbers are multiples of 2^-14 below 2^10, so that
// neither the difference quotient nor the gradient is rounded: they are equal.

#include "support/devices.hpp"
#include "support/images.hpp"
#include "support/random.hpp"

#include <metalloid/cnn_arithmetic.hpp>
#include <metalloid/nn_reduce.hpp>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::image_conformance {
namespace {

using testing::execute;
using testing::imageOf;
using testing::ImageSize;
using testing::makeImage;
using testing::Random;
using Values = std::vector<double>;

constexpr double kStep = 0x1p-10;

/// Multiples of 1/8 in [-2, 2].
Values draw(Random& random, std::size_t count) {
  Values values(count);
  for (double& value : values) value = (static_cast<double>(random.below(33)) - 16) / 8;
  return values;
}

double weigh(const Values& r, const Values& z) {
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) sum += r[i] * z[i];
  return sum;
}

/// The derivatives of L along each coordinate.
Values differences(const Values& at, const std::function<double(const Values&)>& loss) {
  Values x = at, gradient(at.size());
  for (std::size_t i = 0; i < at.size(); ++i) {
    x[i] = at[i] + kStep;
    const double above = loss(x);
    x[i] = at[i] - kStep;
    gradient[i] = (above - loss(x)) / (2 * kStep);
    x[i] = at[i];
  }
  return gradient;
}

class ArithmeticGradientCheck : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device() const { return GetParam(); }
  Random random_{testing::seedOf(::testing::UnitTest::GetInstance()->current_test_info()->name())};

  /// `signs`: of the derivative for each operand.
  template <class Forward, class Gradient>
  void check(std::array<float, 2> signs, bool isProduct);
};

constexpr ImageSize kResult{.height = 2, .width = 3, .channels = 3};

/// The operand's axes that are broadcast, as bits: x, y, channels.
ImageSize sizeOf(unsigned broadcast) {
  return {.height = broadcast & 2U ? 1 : kResult.height,
          .width = broadcast & 1U ? 1 : kResult.width,
          .channels = broadcast & 4U ? 1 : kResult.channels};
}

template <class Forward, class Gradient>
void ArithmeticGradientCheck::check(std::array<float, 2> signs, bool isProduct) {
  constexpr float kPrimaryScale = 0.5F, kSecondaryScale = 2;
  for (unsigned code = 0; code < 64; ++code) {
    const std::array broadcast{code % 8, code / 8};
    if (broadcast[0] != 0 && broadcast[1] != 0 && (broadcast[0] & broadcast[1]) != 0) continue;  // of no use to anyone
    const bool isBounded = random_.coin();
    SCOPED_TRACE("primary " + std::to_string(broadcast[0]) + ", secondary " + std::to_string(broadcast[1]) +
                 (isBounded ? ", bounded" : ""));
    const std::array sizes{sizeOf(broadcast[0]), sizeOf(broadcast[1])};
    const std::array values{draw(random_, sizes[0].elements()), draw(random_, sizes[1].elements())};
    const Values r = draw(random_, kResult.elements());
    Forward forward(device());
    forward.primaryScale = kPrimaryScale;
    forward.secondaryScale = kSecondaryScale;
    forward.bias = 0.25F;
    if (isBounded) {
      // Between the multiples of 2^-6 that results are, further away than a step can carry one.
      forward.minimumValue = -1 - 0x1p-7F;
      forward.maximumValue = 1 + 0x1p-7F;
    }
    forward.primaryStrideInPixelsX = broadcast[0] & 1U ? 0 : 1;
    forward.primaryStrideInPixelsY = broadcast[0] & 2U ? 0 : 1;
    forward.primaryStrideInFeatureChannels = broadcast[0] & 4U ? 0 : 1;
    forward.secondaryStrideInPixelsX = broadcast[1] & 1U ? 0 : 1;
    forward.secondaryStrideInPixelsY = broadcast[1] & 2U ? 0 : 1;
    forward.secondaryStrideInFeatureChannels = broadcast[1] & 4U ? 0 : 1;

    const Image z = makeImage(device(), kResult);
    State state;
    const auto loss = [&](const Values& x, const Values& y) {
      execute(device(), [&](CommandBuffer& commands) {
        forward.encode(commands, {.primaryImage = imageOf(device(), sizes[0], x),
                                  .secondaryImage = imageOf(device(), sizes[1], y),
                                  .destinationState = &state,
                                  .destinationImage = z});
      });
      return weigh(r, z.read<double>());
    };
    for (const std::size_t own : {0u, 1u}) {
      const Values expected =
          differences(values[own], [&](const Values& v) { return own == 0 ? loss(v, values[1]) : loss(values[0], v); });
      loss(values[0], values[1]);  // for its state
      Gradient backward(device(), own == 1);
      backward.primaryScale = signs[own] * (isProduct || own == 0 ? kPrimaryScale : kSecondaryScale);
      backward.secondaryScale = kSecondaryScale;
      const std::size_t other = isProduct ? 1 - own : own;
      const Image source = imageOf(device(), sizes[other], values[other]), g = imageOf(device(), kResult, r);
      const auto made = backward.destinationImageDescriptor({g, source}, {state});
      EXPECT_EQ(made.width, sizes[own].width);
      EXPECT_EQ(made.height, sizes[own].height);
      EXPECT_EQ(made.featureChannels, sizes[own].channels);
      const Image dx = makeImage(device(), sizes[own]);
      execute(device(), [&](CommandBuffer& commands) {
        backward.encode(
            commands, {.sourceGradient = g, .sourceImage = source, .gradientState = state, .destinationGradient = dx});
      });
      EXPECT_EQ(dx.read<double>(), expected) << (own == 0 ? "primary" : "secondary");
    }
  }
}

TEST_P(ArithmeticGradientCheck, Add) { check<CNNAdd, CNNAddGradient>({1, 1}, false); }
TEST_P(ArithmeticGradientCheck, Subtract) { check<CNNSubtract, CNNSubtractGradient>({1, -1}, false); }
TEST_P(ArithmeticGradientCheck, Multiply) { check<CNNMultiply, CNNMultiplyGradient>({1, 1}, true); }

TEST_P(ArithmeticGradientCheck, SpatialMean) {
  const ImageSize size{.height = 4, .width = 3, .channels = 5};
  const Values x = draw(random_, size.elements()), r = draw(random_, size.channels);
  const Image y = makeImage(device(), {.channels = size.channels}), dx = makeImage(device(), size);
  NNReductionSpatialMean forward(device());
  forward.clipRectSource = {{1, 0, 0}, {2, 4, 1}};
  State state;
  const auto loss = [&](const Values& v) {
    execute(device(), [&](CommandBuffer& commands) {
      forward.encode(commands,
                     {.sourceImage = imageOf(device(), size, v), .destinationState = &state, .destinationImage = y});
    });
    return weigh(r, y.read<double>());
  };
  const Values expected = differences(x, loss);
  NNReductionSpatialMeanGradient backward(device());
  const Image g = imageOf(device(), {.channels = size.channels}, r), source = imageOf(device(), size, x);
  backward.destinationImageDescriptor({g, source}, {state});
  execute(device(), [&](CommandBuffer& commands) {
    backward.encode(commands,
                    {.sourceGradient = g, .sourceImage = source, .gradientState = state, .destinationGradient = dx});
  });
  EXPECT_EQ(dx.read<double>(), expected);
}

INSTANTIATE_TEST_SUITE_P(Devices, ArithmeticGradientCheck, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid::image_conformance
