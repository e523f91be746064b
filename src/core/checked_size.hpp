#pragma once

#include <cstddef>
#include <optional>

namespace metalloid::detail {

/// A size that remembers whether its computation overflowed.
class CheckedSize {
 public:
  constexpr CheckedSize(std::size_t value) : value_(value) {}  // implicit: sizes mix freely

  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) {
    CheckedSize result = 0;
    result.overflowed_ = __builtin_mul_overflow(a.value_, b.value_, &result.value_) || a.overflowed_ || b.overflowed_;
    return result;
  }
  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) {
    CheckedSize result = 0;
    result.overflowed_ = __builtin_add_overflow(a.value_, b.value_, &result.value_) || a.overflowed_ || b.overflowed_;
    return result;
  }

  constexpr bool overflowed() const { return overflowed_; }
  /// The value, or nothing when it does not fit.
  constexpr std::optional<std::size_t> value() const {
    return overflowed_ ? std::nullopt : std::optional<std::size_t>(value_);
  }

 private:
  std::size_t value_;
  bool overflowed_ = false;
};

}  // namespace metalloid::detail
