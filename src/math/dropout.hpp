#pragma once

#include "math/annotations.hpp"
#include "math/philox.hpp"

#include <cstddef>
#include <cstdint>

namespace metalloid::math {

/// The random words of dropout: a stream for each image encoded, all of one key. The upper half of Philox's counter is
/// the number of the image, the lower half that of the block.
struct DropoutStream {
  std::uint64_t seed = 0;
  std::uint64_t image = 0;

  /// Words 4*index to 4*index + 3.
  METALLOID_HOST_DEVICE constexpr PhiloxBlock block(std::uint64_t index) const {
    return Philox::permute({{low(index), high(index), low(image), high(image)}}, low(seed), high(seed));
  }

 private:
  METALLOID_HOST_DEVICE static constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  METALLOID_HOST_DEVICE static constexpr std::uint32_t high(std::uint64_t x) {
    return static_cast<std::uint32_t>(x >> 32);
  }
};

/// The first word that drops: `word < keepBound(p)` says exactly that word * 2^-32 < p, for p in (0, 1).
METALLOID_HOST_DEVICE constexpr std::uint64_t keepBound(float keepProbability) {
  const double bound = static_cast<double>(keepProbability) * 0x1p32;  // exact
  const auto whole = static_cast<std::uint64_t>(bound);
  return whole + (static_cast<double>(whole) < bound ? 1 : 0);
}

}  // namespace metalloid::math
