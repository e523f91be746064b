#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace metalloid::testing {

/// SplitMix64: the same numbers from the same seed with every compiler and standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// One of 0 ... count - 1.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(bits() % count); }

  /// In [lower, upper).
  double uniform(double lower, double upper) {
    return lower + (upper - lower) * (static_cast<double>(bits() >> 11) * 0x1p-53);
  }

  bool coin() { return (bits() & 1u) != 0; }

 private:
  std::uint64_t state_;
};

/// A seed from a name, so that neither the order nor the number of tests changes what one of them sees.
constexpr std::uint64_t seedOf(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace metalloid::testing
