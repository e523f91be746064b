#pragma once

#include <cstdint>

namespace metalloid::cuda {

/// Division by a number that the host knows: a multiplication and a shift, where the device would take some twenty
/// instructions for what it learns only from its arguments.
///
/// With 2^(shift-1) < d <= 2^shift and m = floor(2^32 * (2^shift - d) / d) + 1, floor(n / d) is
/// floor((floor(n * m / 2^32) + n) / 2^shift) for 0 <= n < 2^31 (Granlund and Montgomery, "Division by invariant
/// integers using multiplication", 1994).
class Divider {
 public:
  Divider() = default;

  /// 1 <= divisor <= 2^31
  explicit Divider(std::uint32_t divisor) : divisor_(divisor) {
    while (std::uint64_t{1} << shift_ < divisor) ++shift_;
    const std::uint64_t excess = (std::uint64_t{1} << shift_) - divisor;
    multiplier_ = static_cast<std::uint32_t>((excess << 32) / divisor + 1);
  }

  struct Result {
    std::uint32_t quotient, remainder;
  };

  /// For n < 2^31.
  __device__ Result operator()(std::uint32_t n) const {
    const std::uint32_t quotient = (__umulhi(n, multiplier_) + n) >> shift_;
    return {quotient, n - quotient * divisor_};
  }

 private:
  std::uint32_t divisor_ = 1;
  std::uint32_t multiplier_ = 1;
  std::uint32_t shift_ = 0;
};

}  // namespace metalloid::cuda
