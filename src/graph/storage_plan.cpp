#include "graph/storage_plan.hpp"

#include <algorithm>
#include <numeric>

namespace metalloid::detail {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

std::size_t rounded(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::size_t largestAlive(std::span<const Lifetime> lifetimes) {
  std::size_t steps = 0;
  for (const Lifetime& life : lifetimes) steps = std::max(steps, life.last + 1);
  std::vector<std::size_t> begun(steps + 1), ended(steps + 1);
  for (const Lifetime& life : lifetimes) {
    begun[life.first] += rounded(life.bytes);
    ended[life.last + 1] += rounded(life.bytes);
  }
  std::size_t alive = 0, most = 0;
  for (std::size_t step = 0; step <= steps; ++step) {
    alive += begun[step];
    alive -= ended[step];
    most = std::max(most, alive);
  }
  return most;
}

}  // namespace

StoragePlan StoragePlan::make(std::span<const Lifetime> lifetimes) {
  StoragePlan plan;
  plan.offsets.resize(lifetimes.size());
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t index : order) {
    const Lifetime& life = lifetimes[index];
    const std::size_t bytes = rounded(life.bytes);
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      if (lifetimes[other].last < life.first || life.last < lifetimes[other].first) continue;
      if (plan.offsets[other] >= offset + bytes) break;  // the gap before it is large enough
      offset = std::max(offset, plan.offsets[other] + rounded(lifetimes[other].bytes));
    }
    plan.offsets[index] = offset;
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index,
                                   [&](std::size_t a, std::size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
                  index);
    plan.used = std::max(plan.used, offset + bytes);
    plan.withoutReuse += bytes;
  }
  plan.largestAlive = metalloid::detail::largestAlive(lifetimes);
  return plan;
}

}  // namespace metalloid::detail
