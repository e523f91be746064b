// Dropout: one pass that draws the mask, keeps it and applies it. The random words are a function of seed, image and
// element alone, so that any thread may make any part of them.

#include "operations/cnn_dropout.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backends/cpu/kernels.hpp"
#include "math/dropout.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/image_runs-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using operations::DropoutMask;
using operations::ImageView;

/// Blocks of random words that are made together: the compiler does them side by side.
constexpr std::size_t kBlocks = 16;
constexpr std::size_t kWordsPerBlock = 4;
constexpr std::size_t kWords = kBlocks * kWordsPerBlock;

/// mask[i] = whether element first + i is kept, for `count` elements. `first` is a multiple of kWordsPerBlock.
void drawMask(const math::DropoutStream& stream, std::uint64_t bound, std::size_t first, std::size_t count,
              std::uint8_t* mask) {
  std::uint8_t drawn[kWords];
  for (std::size_t i = 0; i < count; i += kWords) {
    for (std::size_t b = 0; b < kBlocks; ++b) {
      const auto block = stream.block((first + i) / kWordsPerBlock + b);
      for (std::size_t w = 0; w < kWordsPerBlock; ++w) drawn[b * kWordsPerBlock + w] = block.word[w] < bound ? 1 : 0;
    }
    std::memcpy(mask + i, drawn, std::min(kWords, count - i));
  }
}

/// y = mask ? scale * x : 0
void applyMask(const float* x, const std::uint8_t* mask, float scale, float* y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = mask[i] != 0 ? x[i] * scale : 0.0F;
}

/// The mask values of a run, one for each element: in place where they lie so, else gathered.
const std::uint8_t* valuesOf(const DropoutMask& mask, std::size_t image, const ImageRuns::Run& run,
                             const ImageView& view, std::uint8_t* buffer) {
  const auto* const values = reinterpret_cast<const std::uint8_t*>(mask.values.vector(image).data);
  if (mask.strideX == 1 && mask.strideY == 1 && mask.strideC == 1 && mask.width == view.width &&
      mask.channels == view.channels)
    return values + mask.index(run.y, run.x, 0) + run.elements;
  std::size_t c = run.elements % view.channels, x = run.x + run.elements / view.channels, y = run.y;
  for (std::size_t i = 0; i < run.length; ++i, ++c) {
    if (c == view.channels) c = 0, ++x;
    y += x / view.width, x %= view.width;
    buffer[i] = values[mask.index(y, x, c)];
  }
  return buffer;
}

/// result = mask * source / keepProbability
void apply(const ImageView& source, const DropoutMask& mask, float keepProbability, const ImageView& result,
           Context& context) {
  const ImageRuns runs(result, {&source}, false);
  const auto scale = static_cast<float>(1 / static_cast<double>(keepProbability));
  forEachRun(runs, 3 * runs.longest(), context, [&](const ImageRuns::Run& run, float* space) {
    auto* const bytes = reinterpret_cast<std::uint8_t*>(space);
    space += runs.longest();
    const RunBuffer forSource(source, runs.longest(), space), forResult(result, runs.longest(), space);
    applyMask(forSource.read(run.of(source), run.length), valuesOf(mask, run.image, run, result, bytes), scale,
              forResult.place(run.of(result)), run.length);
    forResult.finish(run.of(result), run.length);
  });
}

void runDropout(const operations::CNNDropout& operation, Context& context) {
  DropoutMask mask = operation.mask;
  const std::size_t length = mask.length(), images = operation.result.images;
  if (!mask.values) {  // nobody keeps them
    mask.values = {.data = context.scratch.take<std::byte>(images * length),
                   .length = length,
                   .vectorBytes = length,
                   .type = DataType::uInt8};
  }
  const std::uint64_t bound = math::keepBound(operation.keepProbability);
  const BlockSplit parts(length, 4096);
  context.pool.parallelFor(images * parts.count(), [&](std::size_t task) {
    const std::size_t image = task / parts.count();
    const BlockRange part = parts[task % parts.count()];
    drawMask({.seed = operation.seed, .image = operation.firstCounter + image}, bound, part.begin, part.size(),
             reinterpret_cast<std::uint8_t*>(mask.values.vector(image).data) + part.begin);
  });
  apply(operation.source, mask, operation.keepProbability, operation.result, context);
}

void runDropoutGradient(const operations::CNNDropoutGradient& operation, Context& context) {
  apply(operation.gradient, operation.mask, operation.keepProbability, operation.result, context);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runDropout);
HWY_EXPORT(runDropoutGradient);

void runSimd(const operations::CNNDropout& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runDropout)(operation, context);
}

void runSimd(const operations::CNNDropoutGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runDropoutGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
