#pragma once

#include "support/random.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

/// A gradient against differences of what it is the gradient of.
///
/// L(x) = sum of r * y(x) for random r; its derivative along one coordinate is taken from L at x +- h and x +- 2h with
/// the error h^4/30 * L''''', and once more with 2h for an estimate of that error. All points are exact in float32,
/// h = 2^-5 balances the truncation with the rounding of the stored y.
namespace metalloid::testing {

using Values = std::vector<double>;

inline constexpr double kStep = 0x1p-5;
inline constexpr double kGrid = 0x1p-6;

struct Loss {
  double value = 0;
  double magnitude = 0;  // the sum of |r * y|
};

inline Loss weigh(const Values& r, const Values& y) {
  Loss loss;
  for (std::size_t i = 0; i < y.size(); ++i) {
    loss.value += r[i] * y[i];
    loss.magnitude += std::fabs(r[i] * y[i]);
  }
  return loss;
}

/// Multiples of the grid in [-2, 2].
inline Values draw(Random& random, std::size_t count, const std::function<bool(double)>& isUsable = {}) {
  Values values(count);
  for (double& value : values) {
    do value = (static_cast<double>(random.below(257)) - 128) * kGrid;
    while (isUsable && !isUsable(value));
  }
  return values;
}

/// `roundings`: how many roundings to float32 an element of y and of the gradient may carry.
inline void expectGradient(const char* name, const Values& at, const Values& gradient, double roundings,
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
    // Truncation: the difference of both estimates is 15 times the error of the finer one. Rounding: the quotient has
    // 18 values of L over 12 h, the gradient itself is of the size of L.
    const double truncation = std::fabs(fine - coarse);
    const double rounding = (1.5 / kStep + 4) * roundings * 0x1p-24 * magnitude;
    EXPECT_NEAR(gradient[p], fine, truncation + rounding) << name << ", coordinate " << p << " at " << at[p];
    EXPECT_LT(truncation + rounding, 0.02 * (1 + std::fabs(fine))) << name << ": the check proves nothing.";
  }
}

}  // namespace metalloid::testing
