#include "operations/cnn_dropout.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "math/dropout.hpp"

namespace metalloid::cuda {
namespace {

using operations::CNNDropout;
using operations::CNNDropoutGradient;
using operations::DropoutMask;

/// Element e of the mask of image n.
__device__ std::byte& maskAt(const DropoutMask& mask, std::size_t n, std::size_t e) {
  return mask.values.data[n * mask.values.vectorBytes + e];
}

void runPlain(const CNNDropout& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const DropoutMask mask = o.mask;
  const std::uint64_t bound = math::keepBound(o.keepProbability), seed = o.seed, firstCounter = o.firstCounter;
  const auto keepProbability = static_cast<double>(o.keepProbability);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const math::DropoutStream stream{.seed = seed, .image = firstCounter + n};
    const std::size_t e = mask.index(y, x, c);
    const bool isKept = stream.block(e / 4).word[e % 4] < bound;
    // Elements that share a bit all write the same.
    if (mask.values.data) maskAt(mask, n, e) = static_cast<std::byte>(isKept);
    set(result, n, y, x, c, isKept ? at(source, n, y, x, c) / keepProbability : 0);
  });
}

void runGradientPlain(const CNNDropoutGradient& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const DropoutMask mask = o.mask;
  const auto keepProbability = static_cast<double>(o.keepProbability);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const bool isKept = maskAt(mask, n, mask.index(y, x, c)) != std::byte{0};
    set(result, n, y, x, c, isKept ? at(gradient, n, y, x, c) / keepProbability : 0);
  });
}

}  // namespace

void run(const CNNDropout& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNDropout, runPlain>, operation, context, explainer);
}

void run(const CNNDropoutGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNDropoutGradient, runGradientPlain>, operation, context, explainer);
}

}  // namespace metalloid::cuda
