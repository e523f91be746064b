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

#include "backends/cpu/elements-inl.hpp"
#include "backends/cpu/gemm_plan.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::gemm_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using cpu::HWY_NAMESPACE::FloatTag;
using cpu::HWY_NAMESPACE::FloatVector;
using cpu::HWY_NAMESPACE::loadSome;
using cpu::HWY_NAMESPACE::storeSome;

// Sums for which there are registers: with 32 of them 24 sums, three columns and a row element; with 16 of them 12, two
// and one (and one for the product where there is no fused multiply-add).
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
inline constexpr std::size_t kTileRows = 8;
inline constexpr std::size_t kTileVectors = 3;
#else
inline constexpr std::size_t kTileRows = 6;
inline constexpr std::size_t kTileVectors = 2;
#endif

// Where columns mostly come in fours, as in convolutions: as many sums, for which fewer loads do.
inline constexpr std::size_t kWideTileRows = 6;
inline constexpr std::size_t kWideTileVectors = kTileVectors == 3 ? 4 : kTileVectors;

/// Memory that will be wanted after the present block: rows of 2^logLines cache lines.
struct Upcoming {
  const char* next;
  std::size_t stride;  // bytes
  std::size_t logLines;
  std::size_t rows;  // left to fetch
};

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
  Upcoming upcoming;  ///< What to fetch meanwhile: one line for each inner index.
};

/// How a tile meets its left factor. The first tile of a strip can pack the strip while it computes, and the first
/// strip can pack the right factor: the stores cost nothing beside the arithmetic.
enum class LeftAccess { contiguousRows, strips, copyToStrips };

/// And its right factor: as it is, copied in passing, or while what comes next is fetched into L2.
enum class RightAccess { plain, copy, fetchUpcoming };

/// How far ahead of its use a factor that is read where it lies is fetched: its rows are far apart, and the hardware
/// does not guess the next one.
inline constexpr std::size_t kInnerAhead = 12;

HWY_INLINE void prefetch(const float* from, std::size_t offset) {
  // An address beyond the factor is no pointer, but fetching it does no harm.
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(from) + offset * sizeof(float);
  hwy::Prefetch(reinterpret_cast<const float*>(address));
}

HWY_INLINE void prefetchToL2(const char* from, std::size_t offset) {
  __builtin_prefetch(reinterpret_cast<const char*>(reinterpret_cast<std::uintptr_t>(from) + offset), 0, 2);
}

// Sums stay in registers only if every index is a constant from the start: hence the index sequences instead of loops.

template <std::size_t... kIndex>
HWY_INLINE void clearSums(FloatVector (&sums)[sizeof...(kIndex)], std::index_sequence<kIndex...>) {
  ((sums[kIndex] = hn::Zero(FloatTag())), ...);
}

template <LeftAccess kLeft, std::size_t kVectors, std::size_t... kIndex>
HWY_INLINE void addProducts(FloatVector (&sums)[sizeof...(kIndex)], const float* a, std::size_t aRow,
                            const FloatVector (&columns)[kVectors], std::index_sequence<kIndex...>) {
  const FloatTag d;
  ((sums[kIndex] =
        hn::MulAdd(hn::Set(d, a[kIndex / kVectors * (kLeft == LeftAccess::contiguousRows ? aRow : std::size_t{1})]),
                   columns[kIndex % kVectors], sums[kIndex])),
   ...);
}

template <std::size_t... kVector>
HWY_INLINE void loadColumns(FloatVector (&columns)[sizeof...(kVector)], const float* b,
                            std::index_sequence<kVector...>) {
  const FloatTag d;
  ((columns[kVector] = hn::LoadU(d, b + kVector * hn::Lanes(d))), ...);
}

template <std::size_t... kVector>
HWY_INLINE void copyColumns(const FloatVector (&columns)[sizeof...(kVector)], float* to,
                            std::index_sequence<kVector...>) {
  const FloatTag d;
  (hn::Store(columns[kVector], d, to + kVector * hn::Lanes(d)), ...);
}

template <std::size_t kVectors, std::size_t... kIndex>
HWY_INLINE void storeSums(const FloatVector (&sums)[sizeof...(kIndex)], float scale, float* to, std::size_t stride,
                          std::index_sequence<kIndex...>) {
  const FloatTag d;
  const FloatVector factor = hn::Set(d, scale);
  (hn::StoreU(hn::Mul(factor, sums[kIndex]), d, to + kIndex / kVectors * stride + kIndex % kVectors * hn::Lanes(d)),
   ...);
}

/// c := products + beta * c + bias, where the last vector of each row may hang over the right edge.
HWY_NOINLINE inline void updateResult(const float* products, std::size_t rows, std::size_t width, const Tile& tile) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const FloatVector beta = hn::Set(d, tile.beta);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < tile.columns; column += lanes) {
      const std::size_t count = tile.columns - column;
      float* c = tile.c + row * tile.cStride + column;
      FloatVector value = hn::LoadU(d, products + row * width + column);
      if (count >= lanes) {
        if (tile.beta != 0.0F) value = hn::MulAdd(beta, hn::LoadU(d, c), value);
        if (tile.bias != nullptr) value = hn::Add(value, hn::LoadU(d, tile.bias + column));
        hn::StoreU(value, d, c);
      } else {
        if (tile.beta != 0.0F) value = hn::MulAdd(beta, loadSome(c, count), value);
        if (tile.bias != nullptr) value = hn::Add(value, loadSome(tile.bias + column, count));
        storeSome(value, c, count);
      }
    }
  }
}

/// Every sum runs over the inner index in order, one multiply-add a step, whatever the size of the tile.
template <LeftAccess kLeft, RightAccess kRight, std::size_t kRows, std::size_t kVectors>
void computeTile(const Tile& tile) {
  constexpr auto kSums = std::make_index_sequence<kRows * kVectors>();
  constexpr auto kColumns = std::make_index_sequence<kVectors>();
  const std::size_t lanes = hn::Lanes(FloatTag());
  const std::size_t aRow = tile.aRow;
  const float* a = tile.a;
  const float* b = tile.b;
  float* aCopy = tile.aCopy;
  float* bCopy = tile.bCopy;

  for (std::size_t r = 0; r < kRows; ++r) {  // the results are wanted at the end of the sums
    for (std::size_t v = 0; v < kVectors; ++v) prefetch(tile.c, r * tile.cStride + v * lanes);
  }
  FloatVector sums[kRows * kVectors];
  clearSums(sums, kSums);
  for (std::size_t k = 0; k < tile.inner; ++k) {
    FloatVector columns[kVectors];
    loadColumns(columns, b, kColumns);
    if constexpr (kRight == RightAccess::copy) {
      for (std::size_t v = 0; v < kVectors; ++v) prefetch(b, kInnerAhead * tile.bInner + v * lanes);
      copyColumns(columns, bCopy, kColumns);
      bCopy += kVectors * lanes;
    }
    if constexpr (kRight == RightAccess::fetchUpcoming) {
      const Upcoming& upcoming = tile.upcoming;
      const std::size_t line = k & ((std::size_t{1} << upcoming.logLines) - 1);
      prefetchToL2(upcoming.next, (k >> upcoming.logLines) * upcoming.stride + line * 64);
    }
    if constexpr (kLeft == LeftAccess::copyToStrips) {
      prefetch(a, kInnerAhead * tile.aInner);
      std::memcpy(aCopy, a, kRows * sizeof(float));
      aCopy += kTileRows;
    }
    addProducts<kLeft>(sums, a, aRow, columns, kSums);
    a += kLeft == LeftAccess::contiguousRows ? 1 : tile.aInner;
    b += tile.bInner;
  }

  const std::size_t width = kVectors * lanes;
  if (tile.beta == 0.0F && tile.bias == nullptr && tile.columns == width) {
    storeSums<kVectors>(sums, tile.alpha, tile.c, tile.cStride, kSums);
  } else {
    HWY_ALIGN float products[kRows * kVectors * hn::MaxLanes(FloatTag())];
    storeSums<kVectors>(sums, tile.alpha, products, width, kSums);
    updateResult(products, kRows, width, tile);
  }
}

using TileFunction = void (*)(const Tile&);

/// Only full tiles fetch: they are many where there is something to fetch.
constexpr RightAccess availableRight(RightAccess right, std::size_t rows) {
  return right == RightAccess::fetchUpcoming && rows < kTileRows ? RightAccess::plain : right;
}

template <LeftAccess kLeft, RightAccess kRight, std::size_t... kIndex>
constexpr auto makeTileFunctions(std::index_sequence<kIndex...>) {
  return std::array<TileFunction, sizeof...(kIndex)>{
      &computeTile<kLeft, availableRight(kRight, kIndex / kTileVectors + 1), kIndex / kTileVectors + 1,
                   kIndex % kTileVectors + 1>...};
}

/// By rows and vectors, each at least one.
template <LeftAccess kLeft, RightAccess kRight>
inline constexpr auto kTileFunctions =
    makeTileFunctions<kLeft, kRight>(std::make_index_sequence<kTileRows * kTileVectors>());

template <LeftAccess kLeft>
TileFunction tileFunction(RightAccess right, std::size_t index) {
  switch (right) {
    case RightAccess::plain:
      return kTileFunctions<kLeft, RightAccess::plain>[index];
    case RightAccess::copy:
      return kTileFunctions<kLeft, RightAccess::copy>[index];
    case RightAccess::fetchUpcoming:
      break;
  }
  return kTileFunctions<kLeft, RightAccess::fetchUpcoming>[index];
}

inline TileFunction tileFunction(LeftAccess left, RightAccess right, std::size_t rows, std::size_t vectors) {
  const std::size_t index = (rows - 1) * kTileVectors + vectors - 1;
  switch (left) {
    case LeftAccess::contiguousRows:
      return tileFunction<LeftAccess::contiguousRows>(right, index);
    case LeftAccess::strips:
      return tileFunction<LeftAccess::strips>(right, index);
    case LeftAccess::copyToStrips:
      break;
  }
  return tileFunction<LeftAccess::copyToStrips>(right, index);
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::gemm_internal
HWY_AFTER_NAMESPACE();

#endif
