#pragma once

#include "math/annotations.hpp"

#include <cmath>
#include <cstdint>

// From a random word to a float32 of a distribution. Every function is monotone in the word's upper 23 bits, computes
// in double precision and rounds to float32 at the end.

namespace metalloid::math {

/// Phi^-1(p), the quantile function of the standard normal distribution, with a relative error near 1e-15; -infinity at
/// 0, +infinity at 1. Rational approximations of M. J. Wichura, "Algorithm AS 241: the percentage points of the normal
/// distribution", Applied Statistics 37 (1988).
METALLOID_HOST_DEVICE double inverseNormal(double p);

/// Phi(x), the standard normal distribution function, with full relative accuracy in the lower tail.
METALLOID_HOST_DEVICE inline double normalDistribution(double x) { return 0.5 * std::erfc(-x * 0x1.6a09e667f3bcdp-1); }

/// Uniform on [minimum, maximum): minimum + (maximum - minimum)*t with t = (word >> 9) * 2^-23. Where rounding reaches
/// the maximum, the result is the float32 below it. Gives the minimum if the interval is empty.
METALLOID_HOST_DEVICE inline float uniformFloat(std::uint32_t word, float minimum, float maximum) {
  if (!(minimum < maximum)) return minimum;
  const double t = static_cast<double>(word >> 9) * 0x1p-23;
  const double width = double{maximum} - double{minimum};
  const auto value = static_cast<float>(double{minimum} + width * t);
  return value < maximum ? value : std::nextafter(maximum, minimum);
}

/// The word's upper 23 bits as the middle of one of 2^23 equal parts of (0, 1): never 0 or 1, where the quantile
/// function is infinite, and symmetric about 1/2.
METALLOID_HOST_DEVICE inline double openUnit(std::uint32_t word) {
  return (static_cast<double>(word >> 9) + 0.5) * 0x1p-23;
}

/// Normal with this mean and standard deviation, by inversion: mean + standardDeviation * Phi^-1(t).
METALLOID_HOST_DEVICE inline float normalFloat(std::uint32_t word, float mean, float standardDeviation) {
  return static_cast<float>(double{mean} + double{standardDeviation} * inverseNormal(openUnit(word)));
}

/// The normal distribution restricted to [minimum, maximum] (either may be infinite) and renormalized, by inversion. It
/// is not clamped: no mass piles up at the bounds. Intervals far out in a tail are sampled as accurately as others.
/// Needs minimum <= maximum and standardDeviation >= 0; with standardDeviation = 0 the result is the mean brought into
/// the interval.
class TruncatedNormal {
 public:
  METALLOID_HOST_DEVICE TruncatedNormal(float mean, float standardDeviation, float minimum, float maximum);

  METALLOID_HOST_DEVICE float operator()(std::uint32_t word) const;

 private:
  METALLOID_HOST_DEVICE double tailQuantile(double t) const;

  float mean_;
  float standardDeviation_;
  float minimum_;
  float maximum_;
  bool isMirrored_;   // the interval lies above the mean: the sample is taken below it and reflected
  bool isInFarTail_;  // the interval's probability underflows
  double lower_;      // the standardized interval, after mirroring
  double upper_;
  double lowerProbability_;  // Phi(lower), or Phi(lower)/Phi(upper) in the far tail
  double probability_;       // the interval's, relative to Phi(upper) in the far tail
};

namespace detail {

/// c0 + c1*x + c2*x^2 + ...
template <class... Rest>
METALLOID_HOST_DEVICE constexpr double polynomial(double x, double c0, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return c0;
  } else {
    return polynomial(x, rest...) * x + c0;
  }
}

/// -ln(Phi(-(a + d))/Phi(-a)) for a beyond 30 and d >= 0, without forming the squares' difference: it is
/// d*(a + d/2) + ln(1 + d/a), less the change of ln(1 - 1/y^2 + 3/y^4 - 15/y^6) of the asymptotic series.
METALLOID_HOST_DEVICE inline double negativeLogTailRatio(double a, double d) {
  const auto correction = [](double y) {
    const double z = 1.0 / (y * y);
    return std::log1p(z * polynomial(z, -1.0, 3.0, -15.0));
  };
  return d * (a + 0.5 * d) + std::log1p(d / a) - (correction(a + d) - correction(a));
}

}  // namespace detail

METALLOID_HOST_DEVICE inline double inverseNormal(double p) {
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q *
           detail::polynomial(r, 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                              1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                              3.3430575583588128105e4, 2.5090809287301226727e3) /
           detail::polynomial(r, 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                              2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
                              5.2264952788528545610e3);
  }
  const double tail = q < 0 ? p : 1.0 - p;
  if (tail <= 0) return std::copysign(HUGE_VAL, q);
  const double r = std::sqrt(-std::log(tail));
  double x;
  if (r <= 5.0) {
    const double s = r - 1.6;
    x = detail::polynomial(s, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                           3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                           2.27238449892691845833e-2, 7.74545014278341407640e-4) /
        detail::polynomial(s, 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                           1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                           1.05075007164441684324e-9);
  } else {
    const double s = r - 5.0;
    x = detail::polynomial(s, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                           2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                           2.71155556874348757815e-5, 2.01033439929228813265e-7) /
        detail::polynomial(s, 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                           7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                           2.04426310338993978564e-15);
  }
  return std::copysign(x, q);
}

METALLOID_HOST_DEVICE inline TruncatedNormal::TruncatedNormal(float mean, float standardDeviation, float minimum,
                                                              float maximum)
    : mean_(mean), standardDeviation_(standardDeviation), minimum_(minimum), maximum_(maximum) {
  const double below = (double{minimum} - double{mean}) / double{standardDeviation};
  const double above = (double{maximum} - double{mean}) / double{standardDeviation};
  isMirrored_ = below > 0;
  lower_ = isMirrored_ ? -above : below;
  upper_ = isMirrored_ ? -below : above;
  // Phi(-37) is about 6e-300; from -38.5 on Phi is 0 in double precision.
  isInFarTail_ = upper_ < -37;
  if (isInFarTail_) {
    lowerProbability_ = std::exp(-detail::negativeLogTailRatio(-upper_, upper_ - lower_));
    probability_ = 1.0 - lowerProbability_;
  } else {
    lowerProbability_ = normalDistribution(lower_);
    probability_ = normalDistribution(upper_) - lowerProbability_;
  }
}

METALLOID_HOST_DEVICE inline double TruncatedNormal::tailQuantile(double t) const {
  // Solve -ln(Phi(-(a + d))/Phi(-a)) = target for d by Newton's method. The start is exact but for a term that grows
  // as ln(d/a), so that three steps reach double precision.
  const double a = -upper_;
  const double target = -std::log(lowerProbability_ + t * probability_);
  double d = 2.0 * target / (a + std::sqrt(a * a + 2.0 * target));
  for (int step = 0; step < 3; ++step) {
    const double slope = a + d + 1.0 / (a + d);
    d -= (detail::negativeLogTailRatio(a, d) - target) / slope;
  }
  return -(a + d);
}

METALLOID_HOST_DEVICE inline float TruncatedNormal::operator()(std::uint32_t word) const {
  double standardized = 0;
  if (standardDeviation_ > 0) {
    const double t = isMirrored_ ? 1.0 - openUnit(word) : openUnit(word);
    standardized = isInFarTail_ ? tailQuantile(t) : inverseNormal(lowerProbability_ + t * probability_);
    if (isMirrored_) standardized = -standardized;
  }
  const auto value = static_cast<float>(double{mean_} + double{standardDeviation_} * standardized);
  return value < minimum_ ? minimum_ : value > maximum_ ? maximum_ : value;
}

}  // namespace metalloid::math
