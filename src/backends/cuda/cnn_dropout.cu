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

// --- Four elements a thread
// ---------------------------------------------------------------------------------------------

/// Four neighbouring bytes of a mask, the first one in the lowest bits.
__device__ std::uint32_t& fourOf(const DropoutMask& mask, std::size_t n, std::size_t e) {
  return reinterpret_cast<std::uint32_t&>(maskAt(mask, n, e));
}

/// Four elements of one block of random words: so many channels, each with a bit of its own.
const char* refusesFours(const DropoutMask& mask, const ImageView& from, const ImageView& to) {
  if (!isInFours(from) || !isInFours(to)) return "the images are not of float32 in aligned groups of four channels";
  if (mask.strideX == 0 || mask.strideY == 0 || mask.strideC == 0) return "elements share a bit of the mask";
  if (mask.channels % 4 != 0) return "the mask has no multiple of four channels";
  if ((reinterpret_cast<std::uintptr_t>(mask.values.data) | mask.values.vectorBytes) % 4 != 0) {
    return "the mask is not aligned to four bytes";
  }
  return nullptr;
}

const char* refusesFourValues(const CNNDropout& o, const Context&) { return refusesFours(o.mask, o.source, o.result); }

void runFours(const CNNDropout& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const DropoutMask mask = o.mask;
  const std::uint64_t bound = math::keepBound(o.keepProbability), seed = o.seed, firstCounter = o.firstCounter;
  const float keepProbability = o.keepProbability;
  forEachChannels<4>(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const math::DropoutStream stream{.seed = seed, .image = firstCounter + n};
    const std::size_t e = mask.index(y, x, c);
    const math::PhiloxBlock words = stream.block(e / 4);
    Channels<4> values = *reinterpret_cast<const Channels<4>*>(source.address(n, y, x, c));
    std::uint32_t kept = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const bool isKept = words.word[k] < bound;
      kept |= static_cast<std::uint32_t>(isKept) << (8 * k);
      values.value[k] = isKept ? values.value[k] / keepProbability : 0;
    }
    if (mask.values.data) fourOf(mask, n, e) = kept;
    *reinterpret_cast<Channels<4>*>(result.address(n, y, x, c)) = values;
  });
}

const char* refusesFourGradients(const CNNDropoutGradient& o, const Context&) {
  return refusesFours(o.mask, o.gradient, o.result);
}

void runGradientFours(const CNNDropoutGradient& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const DropoutMask mask = o.mask;
  const float keepProbability = o.keepProbability;
  forEachChannels<4>(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const std::uint32_t kept = fourOf(mask, n, mask.index(y, x, c));
    Channels<4> values = *reinterpret_cast<const Channels<4>*>(gradient.address(n, y, x, c));
#pragma unroll
    for (int k = 0; k < 4; ++k)
      values.value[k] = (kept >> (8 * k) & 0xffu) != 0 ? values.value[k] / keepProbability : 0;
    *reinterpret_cast<Channels<4>*>(result.address(n, y, x, c)) = values;
  });
}

constexpr std::array<Candidate<CNNDropout>, 2> kCandidates = {
    {{"four elements a thread", refusesFourValues, runFours}, {"plain", acceptsAll, runPlain}}};
constexpr std::array<Candidate<CNNDropoutGradient>, 2> kGradientCandidates = {
    {{"four elements a thread", refusesFourGradients, runGradientFours}, {"plain", acceptsAll, runGradientPlain}}};

}  // namespace

void run(const CNNDropout& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

void run(const CNNDropoutGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
