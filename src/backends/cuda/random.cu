#include "operations/random.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"
#include "math/distributions.hpp"
#include "math/philox.hpp"

namespace metalloid::cuda {
namespace {

using operations::MatrixRandom;

void runPlain(const MatrixRandom& o, Context& context) {
  // Made on the host, once: its constants take logarithms and error functions.
  const math::TruncatedNormal truncated(o.mean, o.standardDeviation, o.minimum, o.maximum);
  forEachElement(context, extentOf(o.result), [o, truncated] __device__(std::size_t k, std::size_t i, std::size_t j) {
    const std::uint64_t element = (k * o.result.rows + i) * o.result.columns + j;
    const math::Philox generator{.seed = o.seed};
    const std::uint32_t word = generator.block(o.firstBlock + element / 4).word[element % 4];
    std::byte* const to = address(o.result, k, i, j);
    switch (o.distribution) {
      case MatrixRandom::Distribution::bits:
        *reinterpret_cast<std::uint32_t*>(to) = word;
        return;
      case MatrixRandom::Distribution::uniform:
        *reinterpret_cast<float*>(to) = math::uniformFloat(word, o.minimum, o.maximum);
        return;
      case MatrixRandom::Distribution::normal:
        *reinterpret_cast<float*>(to) = math::normalFloat(word, o.mean, o.standardDeviation);
        return;
      case MatrixRandom::Distribution::truncatedNormal:
        *reinterpret_cast<float*>(to) = truncated(word);
    }
  });
}

}  // namespace

void run(const MatrixRandom& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<MatrixRandom, runPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
