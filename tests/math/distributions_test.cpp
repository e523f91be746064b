#include "math/distributions.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "math/philox.hpp"

namespace metalloid::math {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::uint32_t kAllOnes = 0xffffffff;

struct Moments {
  double mean;
  double variance;
};

constexpr int kSamples = 1 << 20;

template <class Distribution>
Moments sampleMoments(const Distribution& distribution) {
  const Philox philox{1234};
  double sum = 0;
  double squares = 0;
  for (std::uint64_t i = 0; i < kSamples / 4; ++i) {
    for (const std::uint32_t word : philox.block(i).word) {
      const double x = distribution(word);
      sum += x;
      squares += x * x;
    }
  }
  const double mean = sum / kSamples;
  return {mean, squares / kSamples - mean * mean};
}

// Five standard errors of the mean: chance alone exceeds them once in two million seeds, and the seed is fixed.
double meanTolerance(double variance) { return 5 * std::sqrt(variance / kSamples); }

TEST(Uniform, EndsAndSteps) {
  EXPECT_EQ(uniformFloat(0, 2, 3), 2.0f);
  EXPECT_EQ(uniformFloat(0x1ff, 2, 3), 2.0f);  // the last 9 bits do not count
  EXPECT_EQ(uniformFloat(0x200, 0, 1), 0x1p-23f);
  EXPECT_EQ(uniformFloat(0x80000000, -1, 1), 0.0f);
  EXPECT_EQ(uniformFloat(kAllOnes, 0, 1), 1 - 0x1p-23f);
}

TEST(Uniform, NeverReachesTheMaximum) {
  EXPECT_EQ(uniformFloat(kAllOnes, 1, std::nextafter(1.0f, 2.0f)), 1.0f);
  EXPECT_EQ(uniformFloat(kAllOnes, 0, 1e-45f), 0.0f);
  EXPECT_EQ(uniformFloat(kAllOnes, 100, 101), std::nextafter(101.0f, 0.0f));
  EXPECT_EQ(uniformFloat(kAllOnes, -101, -100), std::nextafter(-100.0f, -200.0f));
  const float largest = std::numeric_limits<float>::max();
  EXPECT_LT(uniformFloat(kAllOnes, -largest, largest), largest);
  EXPECT_EQ(uniformFloat(0, -largest, largest), -largest);
}

TEST(Uniform, EmptyIntervalGivesTheMinimum) { EXPECT_EQ(uniformFloat(kAllOnes, 3, 3), 3.0f); }

TEST(Uniform, Moments) {
  const Moments m = sampleMoments([](std::uint32_t word) { return uniformFloat(word, -1, 3); });
  const double variance = 16.0 / 12;
  EXPECT_NEAR(m.mean, 1, meanTolerance(variance));
  EXPECT_NEAR(m.variance / variance, 1, 0.01);
}

TEST(InverseNormal, InvertsTheDistributionFunction) {
  // Relative to p the round trip costs the distribution function's condition number, |x*phi(x)/Phi(x)| < x^2 + 1, times
  // a few roundings of x.
  for (double x = -37; x <= 0; x += 0x1p-6) {
    const double p = normalDistribution(x);
    EXPECT_NEAR(inverseNormal(p), x, 4e-15 * (1 + std::fabs(x))) << x;
  }
}

TEST(InverseNormal, KnownQuantiles) {
  EXPECT_EQ(inverseNormal(0.5), 0);
  EXPECT_NEAR(inverseNormal(0.975), 1.959963984540054, 1e-14);
  EXPECT_NEAR(inverseNormal(0.8413447460685429), 1, 1e-14);
  EXPECT_NEAR(inverseNormal(1e-10), -6.361340902404056, 1e-14);
  EXPECT_NEAR(inverseNormal(1e-300), -37.0471, 1e-4);
  EXPECT_EQ(inverseNormal(0), -kInfinity);
  EXPECT_EQ(inverseNormal(1), kInfinity);
}

TEST(Normal, IsFiniteAndSymmetric) {
  // The quantile at half of 2^-23
  EXPECT_NEAR(normalFloat(0, 0, 1), -5.294704, 1e-6);
  EXPECT_EQ(normalFloat(kAllOnes, 0, 1), -normalFloat(0, 0, 1));
  EXPECT_EQ(normalFloat(0x12345678, 0, 1), -normalFloat(~0x12345678u, 0, 1));
  EXPECT_EQ(normalFloat(0x12345678, 7, 0), 7.0f);
}

TEST(Normal, Moments) {
  const Moments m = sampleMoments([](std::uint32_t word) { return normalFloat(word, 2, 3); });
  EXPECT_NEAR(m.mean, 2, meanTolerance(9));
  EXPECT_NEAR(m.variance / 9, 1, 0.01);
}

struct Interval {
  float mean;
  float standardDeviation;
  float minimum;
  float maximum;
};

double density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846); }

TEST(TruncatedNormalTest, StaysInsideWithTheAnalyticMoments) {
  for (const Interval& i :
       {Interval{0, 1, -2, 2}, Interval{0, 1, -1, 0.5f}, Interval{0, 1, 1, 3}, Interval{0, 1, -3, -1},
        Interval{5, 2, -kInfinity, 4}, Interval{5, 2, 6, kInfinity}, Interval{0, 1, 4, kInfinity},
        Interval{0, 1, -5, -4.5f}, Interval{0, 1, -kInfinity, kInfinity}, Interval{-1, 0.5f, -1, 1e30f}}) {
    const TruncatedNormal sample(i.mean, i.standardDeviation, i.minimum, i.maximum);
    const Moments m = sampleMoments([&](std::uint32_t word) {
      const float x = sample(word);
      EXPECT_GE(x, i.minimum);
      EXPECT_LE(x, i.maximum);
      return x;
    });
    // With alpha, beta the standardized bounds and Z = Phi(beta) - Phi(alpha): mean + sd*(phi(alpha) - phi(beta))/Z.
    const double alpha = (double{i.minimum} - double{i.mean}) / double{i.standardDeviation};
    const double beta = (double{i.maximum} - double{i.mean}) / double{i.standardDeviation};
    const double z = alpha > 0 ? normalDistribution(-alpha) - normalDistribution(-beta)
                               : normalDistribution(beta) - normalDistribution(alpha);
    const double expected = double{i.mean} + double{i.standardDeviation} * (density(alpha) - density(beta)) / z;
    EXPECT_NEAR(m.mean, expected, meanTolerance(m.variance)) << i.minimum << " to " << i.maximum;
  }
}

TEST(TruncatedNormalTest, WithoutBoundsIsTheNormal) {
  const TruncatedNormal sample(2, 3, -kInfinity, kInfinity);
  for (std::uint32_t word = 0; word < kAllOnes - 0x1000000; word += 0xffffff) {
    EXPECT_EQ(sample(word), normalFloat(word, 2, 3));
  }
}

TEST(TruncatedNormalTest, FarTailsAreExponential) {
  // Beyond a, the excess times a tends to an exponential distribution with mean 1 - 2/a^2 + O(1/a^4). With the mean at
  // -a the sample is the excess.
  for (const float a : {37.5f, 50.0f, 1e4f}) {
    const TruncatedNormal above(-a, 1, 0, kInfinity);
    const TruncatedNormal below(a, 1, -kInfinity, 0);
    const Moments m = sampleMoments([&](std::uint32_t word) {
      EXPECT_EQ(above(word), -below(~word));
      return above(word) * a;
    });
    EXPECT_NEAR(m.mean, 1 - 2 / (double{a} * double{a}), meanTolerance(1)) << a;
    EXPECT_NEAR(m.variance, 1, 0.02) << a;
  }
}

TEST(TruncatedNormalTest, FarTailsJoinTheOthersSmoothly) {
  // The interval's end decides the method, at -37; the quantiles on either side are one step of float32 apart.
  const TruncatedNormal near(0, 1, -kInfinity, -37.0f);
  const TruncatedNormal far(0, 1, -kInfinity, std::nextafter(-37.0f, -40.0f));
  for (std::uint32_t word = 0; word < kAllOnes - 0x1000000; word += 0xffffff) {
    EXPECT_NEAR(near(word), far(word), 3 * 0x1p-18) << word;
  }
}

TEST(TruncatedNormalTest, NarrowAndDegenerateIntervals) {
  const float next = std::nextafter(1.0f, 2.0f);
  for (const std::uint32_t word : {0u, 0x80000000u, kAllOnes}) {
    EXPECT_EQ(TruncatedNormal(0, 1, 2, 2)(word), 2.0f);
    const float x = TruncatedNormal(0, 1, 1, next)(word);
    EXPECT_TRUE(x == 1.0f || x == next) << x;
    EXPECT_EQ(TruncatedNormal(5, 0, 0, 1)(word), 1.0f);
    EXPECT_EQ(TruncatedNormal(0.5f, 0, 0, 1)(word), 0.5f);
    const float far = TruncatedNormal(0, 1e-30f, 1e30f, 2e30f)(word);
    EXPECT_EQ(far, 1e30f);
  }
}

TEST(TruncatedNormalTest, IsMonotone) {
  for (const Interval& i : {Interval{0, 1, -2, 2}, Interval{0, 1, 3, 9}, Interval{0, 1, 40, 41}}) {
    const TruncatedNormal sample(i.mean, i.standardDeviation, i.minimum, i.maximum);
    float last = -kInfinity;
    for (std::uint64_t word = 0; word <= kAllOnes; word += 0xffff) {
      const float x = sample(static_cast<std::uint32_t>(word));
      EXPECT_GE(x, last);
      last = x;
    }
  }
}

}  // namespace
}  // namespace metalloid::math
