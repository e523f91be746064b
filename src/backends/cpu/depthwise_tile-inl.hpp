// The register tiles of depth-wise correlations: channels in lanes, pixels or taps in registers.

#if defined(METALLOID_CPU_DEPTHWISE_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_DEPTHWISE_TILE_INL
#undef METALLOID_CPU_DEPTHWISE_TILE_INL
#else
#define METALLOID_CPU_DEPTHWISE_TILE_INL
#endif

#include <array>
#include <cstddef>
#include <utility>

#include <hwy/highway.h>

#include "backends/cpu/elements-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Pixels whose sums are in registers together, and taps.
inline constexpr std::size_t kDepthwisePixels = 8;
inline constexpr std::size_t kDepthwiseTaps = 9;

/// One vector of channels, of which `count` exist, of some pixels: result[r] := sum over taps t of
/// weights[t * weightStride] * starts[r][offsets[t]] (+ bias), all from `channel` on.
struct DepthwiseTile {
  const float* const* starts;
  const std::size_t* offsets;
  std::size_t taps;
  const float* weights;
  std::size_t weightStride;
  const float* bias;  // null: none
  float* const* results;
  std::size_t channel;        // in the source
  std::size_t resultChannel;  // in the result
  std::size_t count;
};

template <std::size_t kPixels, bool kWhole>
void computeDepthwise(const DepthwiseTile& tile) {
  const FloatTag d;
  const auto load = [&](const float* from)
                        HWY_ATTR { return kWhole ? hn::LoadU(d, from) : loadSome(from, tile.count); };
  const float* from[kPixels];
  FloatVector sums[kPixels];
  const auto first = tile.bias ? load(tile.bias) : hn::Zero(d);
  for (std::size_t r = 0; r < kPixels; ++r) {
    from[r] = tile.taps > 0 ? tile.starts[r] + tile.channel : nullptr;
    sums[r] = first;
  }
  for (std::size_t t = 0; t < tile.taps; ++t) {
    const auto weight = load(tile.weights + t * tile.weightStride);
    const std::size_t offset = tile.offsets[t];
    for (std::size_t r = 0; r < kPixels; ++r) sums[r] = hn::MulAdd(load(from[r] + offset), weight, sums[r]);
  }
  for (std::size_t r = 0; r < kPixels; ++r) {
    float* const to = tile.results[r] + tile.resultChannel;
    if (kWhole) {
      hn::StoreU(sums[r], d, to);
    } else {
      storeSome(sums[r], to, tile.count);
    }
  }
}

/// One vector of channels, of which `count` exist in the source, of some taps: result[t * resultStride] := (itself +)
/// the sum over lines and pixels of gradient * line[offsets[t] + stride * pixel].
struct DepthwiseGradientTile {
  const float* const* lines;
  std::size_t lineCount;
  std::size_t lineLength;
  std::size_t stride;
  const std::size_t* offsets;
  std::size_t channel;
  std::size_t count;
  const float* gradient;  // of the first pixel, then one pixel after the other
  std::size_t gradientStride;
  float* result;
  std::size_t resultStride;
  bool adds;
};

template <std::size_t kTaps, bool kWhole>
void computeDepthwiseGradient(const DepthwiseGradientTile& tile) {
  const FloatTag d;
  const auto load = [&](const float* from)
                        HWY_ATTR { return kWhole ? hn::LoadU(d, from) : loadSome(from, tile.count); };
  FloatVector sums[kTaps];
  for (std::size_t t = 0; t < kTaps; ++t) sums[t] = hn::Zero(d);
  const float* gradient = tile.gradient;
  for (std::size_t line = 0; line < tile.lineCount; ++line) {
    const float* from[kTaps];
    for (std::size_t t = 0; t < kTaps; ++t) from[t] = tile.lines[line] + tile.channel + tile.offsets[t];
    std::size_t offset = 0;
    for (std::size_t pixel = 0; pixel < tile.lineLength; ++pixel) {
      const auto g = hn::LoadU(d, gradient);
      for (std::size_t t = 0; t < kTaps; ++t) sums[t] = hn::MulAdd(load(from[t] + offset), g, sums[t]);
      gradient += tile.gradientStride;
      offset += tile.stride;
    }
  }
  for (std::size_t t = 0; t < kTaps; ++t) {
    float* const to = tile.result + t * tile.resultStride;
    hn::StoreU(tile.adds ? hn::Add(hn::LoadU(d, to), sums[t]) : sums[t], d, to);
  }
}

template <bool kWhole, std::size_t... kIndex>
void computeDepthwise(const DepthwiseTile& tile, std::size_t pixels, std::index_sequence<kIndex...>) {
  using Function = void (*)(const DepthwiseTile&);
  static constexpr std::array<Function, sizeof...(kIndex)> kFunctions{&computeDepthwise<kIndex + 1, kWhole>...};
  kFunctions[pixels - 1](tile);
}

/// At most kDepthwisePixels pixels.
inline void computeDepthwise(const DepthwiseTile& tile, std::size_t pixels) {
  constexpr auto kIndices = std::make_index_sequence<kDepthwisePixels>();
  tile.count == hn::Lanes(FloatTag()) ? computeDepthwise<true>(tile, pixels, kIndices)
                                      : computeDepthwise<false>(tile, pixels, kIndices);
}

template <bool kWhole, std::size_t... kIndex>
void computeDepthwiseGradient(const DepthwiseGradientTile& tile, std::size_t taps, std::index_sequence<kIndex...>) {
  using Function = void (*)(const DepthwiseGradientTile&);
  static constexpr std::array<Function, sizeof...(kIndex)> kFunctions{&computeDepthwiseGradient<kIndex + 1, kWhole>...};
  kFunctions[taps - 1](tile);
}

/// At most kDepthwiseTaps taps.
inline void computeDepthwiseGradient(const DepthwiseGradientTile& tile, std::size_t taps) {
  constexpr auto kIndices = std::make_index_sequence<kDepthwiseTaps>();
  tile.count == hn::Lanes(FloatTag()) ? computeDepthwiseGradient<true>(tile, taps, kIndices)
                                      : computeDepthwiseGradient<false>(tile, taps, kIndices);
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif
