#include "training/sample_order.hpp"

#include "core/format.hpp"
#include "math/philox.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace metalloid::training {
namespace {

// Streams of the shuffle: the split's own, then one an epoch.
constexpr std::uint32_t kSplitStream = 0xffff'ffffu;
constexpr std::uint64_t kShuffleKey = 0xffff'ffffull << 32;

__extension__ using Wide = unsigned __int128;  // GCC and clang both have it; ISO C++ does not

}  // namespace

std::vector<std::uint32_t> naturalOrder(std::size_t count) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

std::vector<std::uint32_t> shuffledOrder(std::uint32_t seed, std::uint32_t stream, std::size_t count) {
  const math::Philox random{kShuffleKey | seed};
  std::vector<std::uint32_t> order = naturalOrder(count);
  for (std::size_t i = count; i-- > 1;) {
    const math::PhiloxBlock block = random.block((std::uint64_t{stream} << 32) | i);
    // A 32-bit fraction of i + 1 would favour some places by up to 2^-16; of 64 bits, the bias is nothing anyone can
    // see.
    const std::uint64_t fraction = (std::uint64_t{block.word[0]} << 32) | block.word[1];
    const auto j = static_cast<std::size_t>((static_cast<Wide>(fraction) * (i + 1)) >> 64);
    std::swap(order[i], order[j]);
  }
  return order;
}

Split splitSamples(std::uint32_t seed, std::size_t count, double share) {
  if (share == 0) return {.training = naturalOrder(count), .validation = {}};
  const auto held = static_cast<std::size_t>(std::llround(share * static_cast<double>(count)));
  if (held == 0 || held >= count) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("A validation split of {} holds back {} of the {} training images, but must leave at least "
                            "one on either side.",
                            share, held, count));
  }
  const auto order = shuffledOrder(seed, kSplitStream, count);
  const auto boundary = order.end() - static_cast<std::ptrdiff_t>(held);
  Split split{.training = {order.begin(), boundary}, .validation = {boundary, order.end()}};
  std::ranges::sort(split.training);
  std::ranges::sort(split.validation);
  return split;
}

}  // namespace metalloid::training
