// The register tile of correlations, for the instruction set being compiled: the one of the matrix product, but for a
// left factor whose rows lie anywhere and are walked through in segments.

#if defined(METALLOID_CPU_CORRELATION_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_CORRELATION_TILE_INL
#undef METALLOID_CPU_CORRELATION_TILE_INL
#else
#define METALLOID_CPU_CORRELATION_TILE_INL
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <hwy/highway.h>

#include "backends/cpu/correlation_plan.hpp"
#include "backends/cpu/gemm_kernel-inl.hpp"
#include "backends/cpu/unroll.hpp"
#include "math/neuron.hpp"
#include "math/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::correlation_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace gemm = gemm_internal::HWY_NAMESPACE;

using cpu::HWY_NAMESPACE::FloatTag;
using cpu::HWY_NAMESPACE::FloatVector;
using cpu::HWY_NAMESPACE::loadSome;
using cpu::HWY_NAMESPACE::storeSome;
using MathOps = math::HWY_NAMESPACE::VectorOps<FloatTag>;

inline constexpr std::size_t kTileVectors = gemm::kWideTileVectors;

/// By vectors.
constexpr std::size_t tileRows(std::size_t vectors) {
  return vectors > gemm::kTileVectors ? gemm::kWideTileRows : gemm::kTileRows;
}

/// Rows of a tile of few columns that are multiplied along the inner index.
constexpr std::size_t dotRows(std::size_t columns) {
  if (gemm::kTileVectors == 3) return columns <= 2 ? 8 : 6;
  return columns == 1 ? 8 : columns == 2 ? 4 : 3;
}

/// One register tile over one inner block: c := reLU(a * b (+ c) (+ bias)).
struct Tile {
  const float* const* a;  // of each row, where the offsets of the segments count from
  const Segment* segments;
  std::size_t segmentCount;
  const float* b;   // panel: for each inner index the columns side by side
  float* const* c;  // of each row, the tile's first column
  std::size_t column;
  std::size_t columns;  // that exist
  bool adds;
  const float* bias;         // of the first column; null: none
  const math::Neuron* reLU;  // null: none
  std::uintptr_t upcoming;   // address of what to fetch into L2 meanwhile, a line for each inner index
};

template <std::size_t kVectors, std::size_t kRows, std::size_t... kIndex>
HWY_INLINE void addProducts(FloatVector (&sums)[sizeof...(kIndex)], const float* const (&a)[kRows], std::size_t k,
                            const FloatVector (&columns)[kVectors], std::index_sequence<kIndex...>) {
  const FloatTag d;
  ((sums[kIndex] = hn::MulAdd(hn::Set(d, a[kIndex / kVectors][k]), columns[kIndex % kVectors], sums[kIndex])), ...);
}

HWY_INLINE void storeSum(FloatVector sum, const Tile& tile, std::size_t row, std::size_t offset) {
  const FloatTag d;
  const std::size_t count = std::min(hn::Lanes(d), tile.columns - offset);
  float* const c = tile.c[row] + tile.column + offset;
  if (tile.adds) sum = hn::Add(loadSome(c, count), sum);
  if (tile.bias != nullptr) sum = hn::Add(sum, loadSome(tile.bias + offset, count));
  if (tile.reLU != nullptr) {
    sum = math::HWY_NAMESPACE::neuronValue<CNNNeuronType::reLU>(MathOps(), *tile.reLU, sum, hn::Zero(d));
  }
  storeSome(sum, c, count);
}

template <std::size_t kVectors, std::size_t... kIndex>
HWY_INLINE void storeSums(const FloatVector (&sums)[sizeof...(kIndex)], const Tile& tile,
                          std::index_sequence<kIndex...>) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  (storeSum(sums[kIndex], tile, kIndex / kVectors, kIndex % kVectors * lanes), ...);
}

/// Every sum runs over the inner index in order, one multiply-add a step, whatever the size of the tile.
template <bool kFetches, std::size_t kRows, std::size_t kVectors>
void computeTile(const Tile& tile) {
  constexpr auto kSums = std::make_index_sequence<kRows * kVectors>();
  constexpr auto kColumns = std::make_index_sequence<kVectors>();
  const std::size_t lanes = hn::Lanes(FloatTag());
  const float* b = tile.b;
  std::uintptr_t upcoming = tile.upcoming;
  for (std::size_t r = 0; r < kRows; ++r) {  // the results are wanted at the end of the sums
    for (std::size_t v = 0; v < kVectors; ++v) gemm::prefetch(tile.c[r], tile.column + v * lanes);
  }
  FloatVector sums[kRows * kVectors];
  gemm::clearSums(sums, kSums);
  for (const Segment* segment = tile.segments; segment != tile.segments + tile.segmentCount; ++segment) {
    const float* a[kRows];
    for (std::size_t r = 0; r < kRows; ++r) a[r] = tile.a[r] + segment->offset;
    METALLOID_CPU_UNROLL_4
    for (std::size_t k = 0; k < segment->length; ++k) {
      FloatVector columns[kVectors];
      gemm::loadColumns(columns, b, kColumns);
      if constexpr (kFetches) {
        __builtin_prefetch(reinterpret_cast<const char*>(upcoming), 0, 2);
        upcoming += 64;
      }
      addProducts(sums, a, k, columns, kSums);
      b += kVectors * lanes;
    }
  }
  storeSums<kVectors>(sums, tile, kSums);
}

using TileFunction = void (*)(const Tile&);

template <bool kFetches, std::size_t kRows, std::size_t kVectors>
constexpr TileFunction tileFunctionFor() {
  if constexpr (kRows > tileRows(kVectors)) {
    return nullptr;
  } else {  // only full tiles fetch: they are many where there is something to fetch
    return &computeTile < kFetches && kRows == tileRows(kVectors), kRows, kVectors > ;
  }
}

template <bool kFetches, std::size_t... kIndex>
constexpr auto makeTileFunctions(std::index_sequence<kIndex...>) {
  return std::array<TileFunction, sizeof...(kIndex)>{
      tileFunctionFor<kFetches, kIndex / kTileVectors + 1, kIndex % kTileVectors + 1>()...};
}

/// By rows, at most tileRows(vectors), and vectors, each at least one.
inline TileFunction tileFunction(bool fetches, std::size_t rows, std::size_t vectors) {
  constexpr auto kIndices = std::make_index_sequence<gemm::kTileRows * kTileVectors>();
  static constexpr auto kPlain = makeTileFunctions<false>(kIndices), kFetching = makeTileFunctions<true>(kIndices);
  return (fetches ? kFetching : kPlain)[(rows - 1) * kTileVectors + vectors - 1];
}

template <std::size_t kColumns, std::size_t kRows, std::size_t... kIndex>
HWY_INLINE void addDots(FloatVector (&sums)[sizeof...(kIndex)], const FloatVector (&rows)[kRows], const float* b,
                        std::index_sequence<kIndex...>) {
  const FloatTag d;
  ((sums[kIndex] =
        hn::MulAdd(rows[kIndex / kColumns], hn::LoadU(d, b + kIndex % kColumns * hn::Lanes(d)), sums[kIndex])),
   ...);
}

template <std::size_t kColumns, std::size_t... kIndex>
HWY_INLINE void storeDots(const FloatVector (&sums)[sizeof...(kIndex)], float* to, std::index_sequence<kIndex...>) {
  const FloatTag d;
  ((to[kIndex / kColumns * hn::Lanes(d) + kIndex % kColumns] = hn::GetLane(hn::SumOfLanes(d, sums[kIndex]))), ...);
}

/// The same for few columns. For each vector of inner indices, of which each segment has whole ones, the panel has the
/// columns' weights one vector after another, zeros at the end of a segment. Every sum runs over these vectors in order
/// and then over the lanes.
template <std::size_t kRows, std::size_t kColumns>
void computeDots(const Tile& tile) {
  constexpr auto kSums = std::make_index_sequence<kRows * kColumns>();
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const float* b = tile.b;
  FloatVector sums[kRows * kColumns];
  gemm::clearSums(sums, kSums);
  for (const Segment* segment = tile.segments; segment != tile.segments + tile.segmentCount; ++segment) {
    std::size_t k = 0;
    FloatVector rows[kRows];
    for (; k + lanes <= segment->length; k += lanes, b += kColumns * lanes) {
      for (std::size_t r = 0; r < kRows; ++r) rows[r] = hn::LoadU(d, tile.a[r] + segment->offset + k);
      addDots<kColumns>(sums, rows, b, kSums);
    }
    if (k == segment->length) continue;
    for (std::size_t r = 0; r < kRows; ++r) {
      rows[r] = loadSome(tile.a[r] + segment->offset + k, segment->length - k);
    }
    addDots<kColumns>(sums, rows, b, kSums);
    b += kColumns * lanes;
  }
  HWY_ALIGN float dots[kRows * hn::MaxLanes(FloatTag())] = {};
  storeDots<kColumns>(sums, dots, kSums);
  for (std::size_t r = 0; r < kRows; ++r) storeSum(hn::Load(d, dots + r * lanes), tile, r, 0);
}

template <std::size_t kRows, std::size_t kColumns>
constexpr TileFunction dotFunctionFor() {
  if constexpr (kRows > dotRows(kColumns) || 2 * kColumns > hn::MaxLanes(FloatTag())) {
    return nullptr;
  } else {
    return &computeDots<kRows, kColumns>;
  }
}

template <std::size_t... kIndex>
constexpr auto makeDotFunctions(std::index_sequence<kIndex...>) {
  return std::array<TileFunction, sizeof...(kIndex)>{
      dotFunctionFor<kIndex / kMostDotColumns + 1, kIndex % kMostDotColumns + 1>()...};
}

/// By rows, at most dotRows(columns), and columns, each at least one and at most half a vector.
inline TileFunction dotFunction(std::size_t rows, std::size_t columns) {
  static constexpr auto kFunctions = makeDotFunctions(std::make_index_sequence<8 * kMostDotColumns>());
  return kFunctions[(rows - 1) * kMostDotColumns + columns - 1];
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::correlation_internal
HWY_AFTER_NAMESPACE();

#endif
