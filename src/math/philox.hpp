#pragma once

#include "math/annotations.hpp"

#include <cstdint>

namespace metalloid::math {

/// Four words of a counter, or of the generator's output.
struct PhiloxBlock {
  std::uint32_t word[4];
};

/// The counter-based random generator Philox 4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
/// as easy as 1, 2, 3", SC 2011). Block i is a bijection of the counter i under a key made of the seed: any block can
/// be computed by itself, in any order, by any thread.
struct Philox {
  std::uint64_t seed = 0;

  /// Words 4*index to 4*index + 3 of the stream. Key (seed, seed >> 32), counter (index, index >> 32, 0, 0).
  METALLOID_HOST_DEVICE constexpr PhiloxBlock block(std::uint64_t index) const {
    return permute({{low(index), high(index), 0, 0}}, low(seed), high(seed));
  }

  /// Word `index` of the stream. Whoever needs consecutive words saves work with block().
  METALLOID_HOST_DEVICE constexpr std::uint32_t word(std::uint64_t index) const {
    return block(index / 4).word[index % 4];
  }

  /// The bijection itself.
  METALLOID_HOST_DEVICE static constexpr PhiloxBlock permute(PhiloxBlock counter, std::uint32_t key0,
                                                             std::uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t product0 = std::uint64_t{0xd2511f53u} * counter.word[0];
      const std::uint64_t product1 = std::uint64_t{0xcd9e8d57u} * counter.word[2];
      counter = {{high(product1) ^ counter.word[1] ^ key0, low(product1), high(product0) ^ counter.word[3] ^ key1,
                  low(product0)}};
      key0 += 0x9e3779b9u;  // the golden ratio
      key1 += 0xbb67ae85u;  // sqrt(3) - 1
    }
    return counter;
  }

 private:
  METALLOID_HOST_DEVICE static constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  METALLOID_HOST_DEVICE static constexpr std::uint32_t high(std::uint64_t x) {
    return static_cast<std::uint32_t>(x >> 32);
  }
};

}  // namespace metalloid::math
