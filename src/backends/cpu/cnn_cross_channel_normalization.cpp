// Cross-channel normalization, pixel by pixel: squares with zeros on both sides, their sums over the window, the power.

#include "operations/cnn_local_normalization.hpp"

#include "backends/cpu/image_matrices.hpp"
#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_cross_channel_normalization.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/inverse_power-inl.hpp"
#include "backends/cpu/softmax_row-inl.hpp"
#include "backends/cpu/windows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

/// The channels of a window around one of `channels`, of which no more than there are.
struct ChannelWindow {
  std::size_t before, after;

  ChannelWindow(std::size_t kernelSize, std::size_t channels)
      : before(std::min(kernelSize / 2, channels)), after(std::min((kernelSize - 1) / 2, channels)) {}
  std::size_t taps() const { return before + 1 + after; }
};

/// What a block of pixels needs, made for the thread that takes it.
class Buffers {
 public:
  Buffers(float* memory, std::size_t channels, const ChannelWindow& window) : memory_(memory), channels_(channels) {
    padded_ = memory + kRows * stride(channels);
    taps_ = window.taps();
  }
  static std::size_t floatsOf(std::size_t channels, const ChannelWindow& window) {
    return kRows * stride(channels) + stride(channels + window.taps() - 1);
  }

  float* row(std::size_t index) const { return memory_ + index * stride(channels_); }

  /// Where to put the channels' values for `sumsInto`, with zeros for `before` channels ahead of them.
  float* padded(std::size_t before) const {
    std::memset(padded_, 0, before * sizeof(float));
    std::memset(padded_ + before + channels_, 0, (taps_ - 1 - before) * sizeof(float));
    return padded_ + before;
  }
  void sumsInto(float* sums) const { windowSums(padded_, sums, channels_, taps_, 1); }

 private:
  static constexpr std::size_t kRows = 6;
  static std::size_t stride(std::size_t floats) { return (floats + 15) / 16 * 16; }

  float* memory_;
  float* padded_;
  std::size_t channels_;
  std::size_t taps_;
};

/// Few enough that buffers for all of them are small; enough for many threads.
BlockSplit blocksOf(std::size_t rows, std::size_t columns) {
  constexpr std::size_t kMostBlocks = 128, kElements = 4096;
  return {rows, std::max((rows + kMostBlocks - 1) / kMostBlocks, std::max<std::size_t>(1, kElements / columns))};
}

template <class Operation>
void meanSquaresPlusDelta(const Operation& operation, const Buffers& buffers, const ChannelWindow& window,
                          const float* x, float* l, std::size_t channels) {
  const FloatTag d;
  const auto scale = hn::Set(d, operation.alpha / static_cast<float>(operation.kernelSize));
  const auto delta = hn::Set(d, operation.delta);
  float* const squares = buffers.padded(window.before);
  forEachVector(channels, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto value = loadSome(x + j, n);
    storeSome(hn::Mul(value, value), squares + j, n);
  });
  buffers.sumsInto(l);
  forEachVector(channels, [&](std::size_t j, std::size_t n)
                              HWY_ATTR { storeSome(hn::MulAdd(scale, loadSome(l + j, n), delta), l + j, n); });
}

template <class Power>
void normalizeRow(const Power& power, const float* x, const float* l, float* y, std::size_t channels) {
  forEachVector(channels, [&](std::size_t j, std::size_t n) HWY_ATTR {
    storeSome(hn::Mul(loadSome(x + j, n), power(loadSome(l + j, n))), y + j, n);
  });
}

/// direct = g * L^(-beta), through = direct * x / L
template <class Power>
void gradientTerms(const Power& power, const float* g, const float* x, const float* l, float* direct, float* through,
                   std::size_t channels) {
  forEachVector(channels, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto t = loadSome(l + j, n), scaled = hn::Mul(loadSome(g + j, n), power(t));
    storeSome(scaled, direct + j, n);
    storeSome(hn::Div(hn::Mul(scaled, loadSome(x + j, n)), t), through + j, n);
  });
}

void combine(float factor, const float* direct, const float* x, const float* sums, float* dx, std::size_t channels) {
  forEachVector(channels, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto product = hn::Mul(hn::Set(FloatTag(), factor), loadSome(x + j, n));
    storeSome(hn::NegMulAdd(product, loadSome(sums + j, n), loadSome(direct + j, n)), dx + j, n);
  });
}

void runValue(const operations::CNNCrossChannelNormalization& operation, Context& context) {
  const std::size_t channels = operation.source.channels;
  if (channels == 0) return;
  const ChannelWindow window(operation.kernelSize, channels);
  float* memory = nullptr;
  std::size_t blocks = 0;
  forEachMatrix(
      [&](const operations::MatrixView& source, const operations::MatrixView& result) {
        const BlockSplit split = blocksOf(source.rows, channels);
        const std::size_t each = Buffers::floatsOf(channels, window);
        if (split.count() > blocks) memory = context.scratch.take<float>((blocks = split.count()) * each);
        context.pool.parallelFor(split.count(), [&](std::size_t block) {
          const Buffers buffers(memory + block * each, channels, window);
          const WholeRow x(source, buffers.row(0)), y(result, buffers.row(1));
          withInversePower(operation.beta, [&](const auto& power) {
            for (std::size_t i = split[block].begin; i < split[block].end; ++i) {
              const float* const values = x.read(i);
              meanSquaresPlusDelta(operation, buffers, window, values, buffers.row(2), channels);
              normalizeRow(power, values, buffers.row(2), y.place(i), channels);
              y.finish(i);
            }
          });
        });
      },
      operation.source, operation.result);
}

void runGradient(const operations::CNNCrossChannelNormalizationGradient& operation, Context& context) {
  const std::size_t channels = operation.source.channels;
  if (channels == 0) return;
  const ChannelWindow window(operation.kernelSize, channels);
  const float factor = 2 * operation.alpha * operation.beta / static_cast<float>(operation.kernelSize);
  float* memory = nullptr;
  std::size_t blocks = 0;
  forEachMatrix(
      [&](const operations::MatrixView& gradient, const operations::MatrixView& source,
          const operations::MatrixView& result) {
        const BlockSplit split = blocksOf(source.rows, channels);
        const std::size_t each = Buffers::floatsOf(channels, window);
        if (split.count() > blocks) memory = context.scratch.take<float>((blocks = split.count()) * each);
        context.pool.parallelFor(split.count(), [&](std::size_t block) {
          const Buffers buffers(memory + block * each, channels, window);
          const WholeRow g(gradient, buffers.row(0)), x(source, buffers.row(1)), dx(result, buffers.row(2));
          float* const l = buffers.row(3);
          float* const direct = buffers.row(4);
          withInversePower(operation.beta, [&](const auto& power) {
            for (std::size_t i = split[block].begin; i < split[block].end; ++i) {
              const float* const values = x.read(i);
              meanSquaresPlusDelta(operation, buffers, window, values, l, channels);
              // The channels whose windows hold this one: before and after change places.
              gradientTerms(power, g.read(i), values, l, direct, buffers.padded(window.after), channels);
              buffers.sumsInto(buffers.row(5));
              combine(factor, direct, values, buffers.row(5), dx.place(i), channels);
              dx.finish(i);
            }
          });
        });
      },
      operation.gradient, operation.source, operation.result);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runValue);
HWY_EXPORT(runGradient);

void runSimd(const operations::CNNCrossChannelNormalization& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runValue)(operation, context);
}

void runSimd(const operations::CNNCrossChannelNormalizationGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runGradient)(operation, context);
}

}  // namespace metalloid::cpu
#endif
