// MatrixRandom: every thread makes its own part of the stream, which a counter-based generator allows.

#include "operations/random.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "backends/cpu/kernels.hpp"
#include "math/distributions.hpp"
#include "math/philox.hpp"

namespace metalloid::cpu {
namespace {

/// Element e of all matrices, packed, as an address.
std::byte* elementAt(const operations::MatrixView& view, std::size_t e) {
  const std::size_t perMatrix = view.rows * view.columns;
  const std::size_t i = e % perMatrix / view.columns, j = e % view.columns;
  return view.matrix(e / perMatrix).row(i) + j * sizeof(std::uint32_t);
}

template <class Sample>
void fill(const operations::MatrixRandom& operation, Context& context, const Sample& sample) {
  constexpr std::size_t kWordsPerBlock = 4;
  constexpr std::size_t kElementsPerTask = 4096;
  const math::Philox generator{.seed = operation.seed};
  const auto& result = operation.result;
  const std::size_t elements = result.matrices * result.rows * result.columns;
  context.pool.parallelForBlocks(BlockSplit(elements, kElementsPerTask), [&](BlockRange range) {
    for (std::size_t e = range.begin; e < range.end; e += kWordsPerBlock) {
      const auto block = generator.block(operation.firstBlock + e / kWordsPerBlock);
      for (std::size_t w = 0; w < std::min(kWordsPerBlock, range.end - e); ++w) {
        const auto value = sample(block.word[w]);
        std::memcpy(elementAt(result, e + w), &value, sizeof(value));
      }
    }
  });
}

}  // namespace

void runThreads(const operations::MatrixRandom& operation, Context& context) {
  using Distribution = operations::MatrixRandom::Distribution;
  switch (operation.distribution) {
    case Distribution::bits:
      return fill(operation, context, [](std::uint32_t word) { return word; });
    case Distribution::uniform:
      return fill(operation, context,
                  [&](std::uint32_t word) { return math::uniformFloat(word, operation.minimum, operation.maximum); });
    case Distribution::normal:
      return fill(operation, context, [&](std::uint32_t word) {
        return math::normalFloat(word, operation.mean, operation.standardDeviation);
      });
    case Distribution::truncatedNormal:
      return fill(
          operation, context,
          math::TruncatedNormal(operation.mean, operation.standardDeviation, operation.minimum, operation.maximum));
  }
}

}  // namespace metalloid::cpu
