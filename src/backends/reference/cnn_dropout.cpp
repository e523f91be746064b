#include "operations/cnn_dropout.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/dropout.hpp"

namespace metalloid::reference {

void run(const operations::CNNDropout& operation) {
  const auto& mask = operation.mask;
  const std::uint64_t bound = math::keepBound(operation.keepProbability);
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const math::DropoutStream stream{.seed = operation.seed, .image = operation.firstCounter + n};
    const std::size_t e = mask.index(y, x, c);
    const bool isKept = stream.block(e / 4).word[e % 4] < bound;
    if (mask.values) mask.values.vector(n).data[e] = std::byte{isKept};
    set(operation.result, n, y, x, c,
        isKept ? at(operation.source, n, y, x, c) / static_cast<double>(operation.keepProbability) : 0);
  });
}

void run(const operations::CNNDropoutGradient& operation) {
  const auto& mask = operation.mask;
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const bool isKept = mask.values.vector(n).data[mask.index(y, x, c)] != std::byte{0};
    set(operation.result, n, y, x, c,
        isKept ? at(operation.gradient, n, y, x, c) / static_cast<double>(operation.keepProbability) : 0);
  });
}

}  // namespace metalloid::reference
