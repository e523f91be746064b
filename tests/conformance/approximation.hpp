#pragma once

#include <cmath>
#include <span>

namespace metalloid::conformance {

/// A number as exact arithmetic gives it, and how far a device that rounds may be from it.
///
/// A formula written with it carries its own error bound: each operation adds one rounding of relative size `u` (the
/// unit roundoff of the device's arithmetic) to what its operands' errors become; a sum of k terms adds k*u times the
/// sum of their magnitudes, which holds for every order of summation. Bounds are of first order and are doubled where
/// they are used (`Trial::expect`): for a device that regroups a formula (gamma * (x - mean) * s as two factors), and,
/// where the device computes in double precision itself, for the roundings of the expected value.
class Approximation {
 public:
  Approximation(double value = 0, double error = 0) : value_(value), error_(error) {}

  double value() const { return value_; }
  double error() const { return error_; }

  /// A setting held in double precision that the device converts to its own.
  static Approximation setting(double value) { return {value, u() * std::fabs(value)}; }

  /// The unit roundoff: 2^-24 for devices that compute in float32, 2^-53 for the reference, 0 for data on which every
  /// operation is exact.
  static double& u() {
    static thread_local double roundoff = 0;
    return roundoff;
  }

  friend Approximation operator+(const Approximation& a, const Approximation& b) {
    return rounded(a.value_ + b.value_, a.error_ + b.error_);
  }
  friend Approximation operator-(const Approximation& a, const Approximation& b) {
    return rounded(a.value_ - b.value_, a.error_ + b.error_);
  }
  friend Approximation operator*(const Approximation& a, const Approximation& b) {
    return rounded(a.value_ * b.value_,
                   std::fabs(a.value_) * b.error_ + std::fabs(b.value_) * a.error_ + a.error_ * b.error_);
  }
  friend Approximation operator/(const Approximation& a, const Approximation& b) {
    const double quotient = a.value_ / b.value_;
    // A divisor known only up to more than itself bounds nothing.
    const double smallest = std::fmax(std::fabs(b.value_) - b.error_, 0);
    return rounded(quotient,
                   a.error_ == 0 && b.error_ == 0 ? 0 : (a.error_ + std::fabs(quotient) * b.error_) / smallest);
  }

  /// f of the argument, on a device whose f is within `ulps` units in the last place. The argument's error is carried
  /// over by evaluating f at both ends; a step (the derivative of ReLU at 0) counts when it lies between them.
  template <class F>
  friend Approximation apply(F&& f, const Approximation& x, double ulps) {
    const double y = f(x.value_);
    const double below = std::fabs(f(x.value_ - x.error_) - y), above = std::fabs(f(x.value_ + x.error_) - y);
    const double carried = std::fmax(below, above);  // fmax: NaN at the edge of a domain bounds nothing
    return {y, carried + 2 * ulps * u() * std::fabs(y)};
  }

 private:
  static Approximation rounded(double value, double error) { return {value, error + u() * std::fabs(value)}; }

  double value_;
  double error_;
};

/// The square root, correctly rounded.
inline Approximation sqrt(const Approximation& x) {
  return apply([](double t) { return std::sqrt(t); }, x, 0.5);
}

/// A sum whose order the device chooses.
class Sum {
 public:
  void add(const Approximation& term) {
    value_ += term.value();
    error_ += term.error();
    magnitude_ += std::fabs(term.value());
    ++count_;
  }
  Approximation result() const { return {value_, error_ + count_ * Approximation::u() * magnitude_}; }

 private:
  double value_ = 0;
  double error_ = 0;
  double magnitude_ = 0;
  double count_ = 0;
};

}  // namespace metalloid::conformance
