// The register tile of the matrix product, for the instruction set being compiled.

#if defined(METALLOID_CPU_GEMM_KERNEL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_GEMM_KERNEL_INL
#undef METALLOID_CPU_GEMM_KERNEL_INL
#else
#define METALLOID_CPU_GEMM_KERNEL_INL
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "backends/cpu/gemm_plan.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::gemm_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;

// Sums for which there are registers: with 32 of them 24 sums, three columns and a row element; with 16 of them 12, two
// and one (and one for the product where there is no fused multiply-add).
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
inline constexpr std::size_t kTileRows = 8;
inline constexpr std::size_t kTileVectors = 3;
#else
inline constexpr std::size_t kTileRows = 6;
inline constexpr std::size_t kTileVectors = 2;
#endif

/// One register tile over one inner block: c := alpha * (a * b) + beta * c + bias.
struct Tile {
  const float* a;      ///< The first row's first element.
  std::size_t aRow;    ///< From one row to the next, if rows are contiguous; else 1.
  std::size_t aInner;  ///< From one inner index to the next, if rows are not contiguous; else 1.
  float* aCopy;        ///< Where a copy of a goes, kTileRows from one inner index to the next.
  const float* b;      ///< The first inner index's first column.
  std::size_t bInner;  ///< From one inner index to the next.
  float* bCopy;        ///< Where a copy of b goes, all columns of the tile from one inner index to the next.
  std::size_t inner;
  float* c;
  std::size_t cStride;
  std::size_t columns;  ///< Of the tile that exist in c; the others are computed but not written.
  float alpha;
  float beta;         ///< 0: c is not read.
  const float* bias;  ///< Null: none.
};

/// How a tile meets its left factor. The first tile of a strip can pack the strip while it computes, and the first
/// strip can pack the right factor: the stores cost nothing beside the arithmetic.
enum class LeftAccess { contiguousRows, strips, copyToStrips };

/// How far ahead of its use a factor that is read where it lies is fetched: its rows are far apart, and the hardware
/// does not guess the next one.
inline constexpr std::size_t kInnerAhead = 12;

HWY_INLINE void prefetch(const float* from, std::size_t offset) {
  // An address beyond the factor is no pointer, but fetching it does no harm.
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(from) + offset * sizeof(float);
  hwy::Prefetch(reinterpret_cast<const float*>(address));
}

template <std::size_t kVectors>
HWY_INLINE void updateRow(const FloatVector (&sums)[kVectors], const Tile& tile, const float* bias, float* c) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t v = 0; v < kVectors; ++v) {
    FloatVector value = hn::Mul(hn::Set(d, tile.alpha), sums[v]);
    if (tile.beta != 0.0F) value = hn::MulAdd(hn::Set(d, tile.beta), hn::LoadU(d, c + v * lanes), value);
    if (bias != nullptr) value = hn::Add(value, hn::LoadU(d, bias + v * lanes));
    hn::StoreU(value, d, c + v * lanes);
  }
}

/// Every sum runs over the inner index in order, one multiply-add a step, whatever the size of the tile.
template <LeftAccess kLeft, bool kCopyRight, std::size_t kRows, std::size_t kVectors>
void computeTile(const Tile& tile) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const float* a = tile.a;
  const float* b = tile.b;
  float* aCopy = tile.aCopy;
  float* bCopy = tile.bCopy;

  FloatVector sums[kRows][kVectors];
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  for (std::size_t r = 0; r < kRows; ++r) {  // the results are wanted at the end of the sums
    hwy::Prefetch(tile.c + r * tile.cStride);
    hwy::Prefetch(tile.c + r * tile.cStride + tile.columns - 1);
  }
  for (std::size_t k = 0; k < tile.inner; ++k) {
    FloatVector columns[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) columns[v] = hn::LoadU(d, b + v * lanes);
    if constexpr (kCopyRight) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        prefetch(b, kInnerAhead * tile.bInner + v * lanes);
        hn::Store(columns[v], d, bCopy + v * lanes);
      }
      bCopy += kVectors * lanes;
    }
    if constexpr (kLeft == LeftAccess::copyToStrips) {
      prefetch(a, kInnerAhead * tile.aInner);
      std::memcpy(aCopy, a, kRows * sizeof(float));
      aCopy += kTileRows;
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const FloatVector row = hn::Set(d, kLeft == LeftAccess::contiguousRows ? a[r * tile.aRow] : a[r]);
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(row, columns[v], sums[r][v]);
    }
    a += kLeft == LeftAccess::contiguousRows ? 1 : tile.aInner;
    b += tile.bInner;
  }

  if (tile.columns == kVectors * lanes) {
    for (std::size_t r = 0; r < kRows; ++r) updateRow<kVectors>(sums[r], tile, tile.bias, tile.c + r * tile.cStride);
    return;
  }
  // The tile hangs over the right edge: update a copy of each row that has room for all vectors.
  float bias[kVectors * hn::MaxLanes(FloatTag())] = {};
  if (tile.bias != nullptr) std::memcpy(bias, tile.bias, tile.columns * sizeof(float));
  for (std::size_t r = 0; r < kRows; ++r) {
    float row[kVectors * hn::MaxLanes(FloatTag())] = {};
    float* c = tile.c + r * tile.cStride;
    if (tile.beta != 0.0F) std::memcpy(row, c, tile.columns * sizeof(float));
    updateRow<kVectors>(sums[r], tile, tile.bias != nullptr ? bias : nullptr, row);
    std::memcpy(c, row, tile.columns * sizeof(float));
  }
}

using TileFunction = void (*)(const Tile&);

template <LeftAccess kLeft, bool kCopyRight, std::size_t... kIndex>
constexpr auto makeTileFunctions(std::index_sequence<kIndex...>) {
  return std::array<TileFunction, sizeof...(kIndex)>{
      &computeTile<kLeft, kCopyRight, kIndex / kTileVectors + 1, kIndex % kTileVectors + 1>...};
}

template <LeftAccess kLeft, bool kCopyRight>
inline constexpr auto kTileFunctions =
    makeTileFunctions<kLeft, kCopyRight>(std::make_index_sequence<kTileRows * kTileVectors>());

/// The function for tiles of so many rows and vectors, each at least one.
inline TileFunction tileFunction(LeftAccess left, bool copyRight, std::size_t rows, std::size_t vectors) {
  const std::size_t index = (rows - 1) * kTileVectors + vectors - 1;
  switch (left) {
    case LeftAccess::contiguousRows:
      return copyRight ? kTileFunctions<LeftAccess::contiguousRows, true>[index]
                       : kTileFunctions<LeftAccess::contiguousRows, false>[index];
    case LeftAccess::strips:
      return copyRight ? kTileFunctions<LeftAccess::strips, true>[index]
                       : kTileFunctions<LeftAccess::strips, false>[index];
    case LeftAccess::copyToStrips:
      break;
  }
  return copyRight ? kTileFunctions<LeftAccess::copyToStrips, true>[index]
                   : kTileFunctions<LeftAccess::copyToStrips, false>[index];
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::gemm_internal
HWY_AFTER_NAMESPACE();

#endif
