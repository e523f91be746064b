#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace metalloid::detail {

/// Something that needs `bytes` from step `first` to step `last`.
struct Lifetime {
  std::size_t bytes = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

/// Places in one block for things of which no two overlap in time and memory.
struct StoragePlan {
  std::vector<std::size_t> offsets;
  std::size_t used = 0;          ///< the size of the block
  std::size_t largestAlive = 0;  ///< the largest sum at one time: no plan can use less
  std::size_t withoutReuse = 0;  ///< the sum of all

  /// The largest first, each at the lowest place that is free during its whole life.
  static StoragePlan make(std::span<const Lifetime> lifetimes);
};

}  // namespace metalloid::detail
