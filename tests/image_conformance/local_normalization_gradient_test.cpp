// The gradients of the local normalizations against differences of their forward kernels.
//
// L(x) = sum of r * y(x) for random r. Its derivative along one coordinate is taken from L at x +- h and x +- 2h, with
// the error h^4/30 * L''''', and once more with 2h for an estimate of that error. All points are exact in float32.

#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/cnn_local_normalization.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::image_conformance {
namespace {

using Values = std::vector<double>;

constexpr double kStep = 0x1p-5;
constexpr std::size_t kWidth = 5, kHeight = 4, kChannels = 3;

Values draw(testing::Random& random, std::size_t count) {
  Values values(count);
  for (double& value : values) value = (static_cast<double>(random.below(257)) - 128) * 0x1p-6;
  return values;
}

struct Loss {
  double value = 0;
  double magnitude = 0;  // the sum of |r * y|
};

/// `roundings`: how many roundings to float32 an element of y and of the gradient may carry.
void expectGradient(const Values& at, const Values& gradient, double roundings,
                    const std::function<Loss(const Values&)>& loss) {
  ASSERT_EQ(at.size(), gradient.size());
  Values x = at;
  for (std::size_t p = 0; p < at.size(); ++p) {
    double magnitude = 0;
    const auto along = [&](double distance) {
      x[p] = at[p] + distance;
      const Loss l = loss(x);
      x[p] = at[p];
      magnitude = std::max(magnitude, l.magnitude);
      return l.value;
    };
    const double first = along(kStep) - along(-kStep), second = along(2 * kStep) - along(-2 * kStep);
    const double fourth = along(4 * kStep) - along(-4 * kStep);
    const double fine = (8 * first - second) / (12 * kStep), coarse = (8 * second - fourth) / (24 * kStep);
    // The difference of both is 15 times the error of the finer one. The quotient has 18 values of L over 12 h, the
    // gradient itself is of the size of L.
    const double truncation = std::fabs(fine - coarse);
    const double rounding = (1.5 / kStep + 4) * roundings * 0x1p-24 * magnitude;
    EXPECT_NEAR(gradient[p], fine, truncation + rounding) << "coordinate " << p << " at " << at[p];
    EXPECT_LT(truncation + rounding, 0.02 * (1 + std::fabs(fine))) << "The check proves nothing.";
  }
}

class LocalNormalizationGradient : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device() const { return GetParam(); }
  double roundings() const { return device().name() == "reference" ? 2 : 60; }

  Image image(const Values& values = {}) const {
    const Image made(device(), {.channelFormat = ImageFeatureChannelFormat::float32,
                                .width = kWidth,
                                .height = kHeight,
                                .featureChannels = kChannels});
    if (!values.empty()) made.write(values);
    return made;
  }

  template <class Forward, class Backward>
  void check(Forward forward, Backward backward) {
    const std::size_t count = kWidth * kHeight * kChannels;
    const Values x = draw(random_, count), r = draw(random_, count);
    const Image y = image(), source = image(x);
    State state;
    const auto run = [&](const Image& input, State* made) {
      testing::execute(device(), [&](CommandBuffer& commands) {
        forward.encode(commands, {.sourceImage = input, .destinationState = made, .destinationImage = y});
      });
    };
    // What the forward kernel does not write is no function of x, and its gradient must not count.
    const auto loss = [&](const Values& values) {
      y.write(Values(count, 0.0));
      run(image(values), nullptr);
      const auto results = y.read<double>();
      Loss l;
      for (std::size_t i = 0; i < count; ++i) {
        l.value += r[i] * results[i];
        l.magnitude += std::fabs(r[i] * results[i]);
      }
      return l;
    };
    run(source, &state);
    backward.destinationImageAllocator = Image::defaultAllocator();
    Image dx;
    testing::execute(device(), [&](CommandBuffer& commands) {
      dx = backward.encode(commands, {.sourceGradient = image(r), .sourceImage = source, .gradientState = state});
    });
    expectGradient(x, dx.template read<double>(), roundings(), loss);
  }

  /// Whole images, and a region whose windows leave the source, in both edge modes.
  template <class Forward, class Backward>
  void checkRegions(Forward forward, const Backward& backward) {
    for (const auto mode : {ImageEdgeMode::zero, ImageEdgeMode::clamp}) {
      SCOPED_TRACE(mode == ImageEdgeMode::zero ? "zero" : "clamp");
      forward.edgeMode = mode;
      forward.clipRect = regionNoClip;
      forward.offset = {};
      check(forward, backward);
      forward.clipRect = {{1, 1, 0}, {4, 2, 1}};
      forward.offset = {-1, 2, 0};
      check(forward, backward);
    }
  }

  testing::Random random_{testing::seedOf(::testing::UnitTest::GetInstance()->current_test_info()->name())};
};
INSTANTIATE_TEST_SUITE_P(Devices, LocalNormalizationGradient, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

void setSquares(auto& kernel, float beta) {
  kernel.alpha = 0.75F;
  kernel.beta = beta;
  kernel.delta = 2;
}

TEST_P(LocalNormalizationGradient, Spatial) {
  for (const std::size_t size : {1, 2, 3, 4}) {
    for (const float beta : {0.75F, 1.25F}) {
      SCOPED_TRACE(::testing::Message() << "size " << size << ", beta " << beta);
      CNNSpatialNormalization forward(device(), size, size);
      CNNSpatialNormalizationGradient backward(device(), size, size);
      setSquares(forward, beta);
      setSquares(backward, beta);
      checkRegions(forward, backward);
    }
  }
}

TEST_P(LocalNormalizationGradient, LocalContrast) {
  for (const std::size_t size : {1, 2, 3, 4}) {
    SCOPED_TRACE(size);
    CNNLocalContrastNormalization forward(device(), size, size);
    CNNLocalContrastNormalizationGradient backward(device(), size, size);
    const auto set = [](auto& kernel) {
      setSquares(kernel, 0.5F);
      kernel.p0 = 0.75F;
      kernel.pm = 0.25F;
      kernel.ps = 1.5F;
    };
    set(forward);
    set(backward);
    checkRegions(forward, backward);
  }
}

TEST_P(LocalNormalizationGradient, CrossChannel) {
  for (const std::size_t size : {1, 2, 3, 4, 9}) {
    for (const float beta : {0.75F, 1.25F}) {
      SCOPED_TRACE(::testing::Message() << "size " << size << ", beta " << beta);
      CNNCrossChannelNormalization forward(device(), size);
      CNNCrossChannelNormalizationGradient backward(device(), size);
      setSquares(forward, beta);
      setSquares(backward, beta);
      check(forward, backward);
      forward.clipRect = {{1, 1, 0}, {4, 2, 1}};
      forward.offset = {0, 2, 0};
      check(forward, backward);
    }
  }
}

}  // namespace
}  // namespace metalloid::image_conformance
