#include "operations/random.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/distributions.hpp"
#include "math/philox.hpp"

namespace metalloid::reference {
namespace {

/// Fills the result with what `sample` makes of the stream's words.
template <class Sample>
void fill(const operations::MatrixRandom& operation, Sample sample) {
  const math::Philox generator{.seed = operation.seed};
  std::uint64_t element = 0;
  for (std::size_t k = 0; k < operation.result.matrices; ++k) {
    const auto result = operation.result.matrix(k);
    for (std::size_t i = 0; i < result.rows; ++i) {
      for (std::size_t j = 0; j < result.columns; ++j, ++element) {
        const std::uint32_t word = generator.block(operation.firstBlock + element / 4).word[element % 4];
        set(result, i, j, static_cast<double>(sample(word)));  // exact: a double holds every uint32 and float
      }
    }
  }
}

}  // namespace

void run(const operations::MatrixRandom& operation) {
  using Distribution = operations::MatrixRandom::Distribution;
  switch (operation.distribution) {
    case Distribution::bits:
      return fill(operation, [](std::uint32_t word) { return word; });
    case Distribution::uniform:
      return fill(operation,
                  [&](std::uint32_t word) { return math::uniformFloat(word, operation.minimum, operation.maximum); });
    case Distribution::normal:
      return fill(operation, [&](std::uint32_t word) {
        return math::normalFloat(word, operation.mean, operation.standardDeviation);
      });
    case Distribution::truncatedNormal:
      return fill(operation, math::TruncatedNormal(operation.mean, operation.standardDeviation, operation.minimum,
                                                   operation.maximum));
  }
}

}  // namespace metalloid::reference
