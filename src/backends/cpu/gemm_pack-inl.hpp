// Bringing the factors of a matrix product into float32 and into the order in which the register tile reads them.

#if defined(METALLOID_CPU_GEMM_PACK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_GEMM_PACK_INL
#undef METALLOID_CPU_GEMM_PACK_INL
#else
#define METALLOID_CPU_GEMM_PACK_INL
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "backends/cpu/elements-inl.hpp"
#include "backends/cpu/gemm_kernel-inl.hpp"
#include "backends/cpu/gemm_plan.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::gemm_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using cpu::HWY_NAMESPACE::convertFromFloats;
using cpu::HWY_NAMESPACE::convertToFloats;
using cpu::HWY_NAMESPACE::loadFloats;
using cpu::HWY_NAMESPACE::storeFloats;
using math::BFloat16;
using math::Float16;

/// Calls f with a null pointer to the element type that `type` stands for.
template <class F>
HWY_INLINE void withElementType(GemmType type, const F& f) {
  switch (type) {
    case GemmType::float32:
      return f(static_cast<const float*>(nullptr));
    case GemmType::float16:
      return f(static_cast<const Float16*>(nullptr));
    case GemmType::bfloat16:
      return f(static_cast<const BFloat16*>(nullptr));
    case GemmType::int8:
      return f(static_cast<const std::int8_t*>(nullptr));
    case GemmType::int16:
      return f(static_cast<const std::int16_t*>(nullptr));
  }
}

/// Packing walks down rows that are far from each other, where the hardware's own prefetching does not follow.
inline constexpr std::size_t kRowsAhead = 8;

/// The same along rows of a factor stored transposed.
inline constexpr std::size_t kElementsAhead = 64;

/// Rows that are taken through all strips or panels before the next ones: their lines stay in L1.
inline constexpr std::size_t kRowsTogether = 8;

template <class T>
HWY_INLINE void prefetchRow(const T* row, std::size_t count) {
  constexpr std::size_t kPerLine = 64 / sizeof(T);
  for (std::size_t i = 0; i < count; i += kPerLine) hwy::Prefetch(row + i);
}

// --- The left factor ------------------------------------------------------------------------------------------------

/// Rows [0, rows) of a factor stored row by row, as float32 rows `toStride` apart.
template <class T>
void convertRows(const T* from, std::size_t stride, std::size_t rows, std::size_t inner, float* to,
                 std::size_t toStride) {
  for (std::size_t row = 0; row < rows; ++row) convertToFloats(from + row * stride, inner, to + row * toStride);
}

/// The same rows of a factor stored transposed, in strips: for each inner index the elements of the strip's rows side
/// by side, kTileRows apart; inner * kTileRows floats later begins the next strip.
template <class T>
void packLeftStrips(const T* from, std::size_t stride, const EvenParts& strips, std::size_t inner, float* to) {
  for (std::size_t begin = 0; begin < inner; begin += kRowsTogether) {
    const std::size_t count = std::min(kRowsTogether, inner - begin);
    for (std::size_t strip = 0; strip < strips.count(); ++strip) {
      const T* row = from + begin * stride + strips.begin(strip);
      float* target = to + (strip * inner + begin) * kTileRows;
      const std::size_t rows = strips.size(strip);
      for (std::size_t k = 0; k < count; ++k) {
        if constexpr (std::is_same_v<T, float>) {
          if (rows == kTileRows) {
            std::memcpy(target, row, kTileRows * sizeof(float));
          } else {
            std::copy_n(row, rows, target);
          }
        } else {
          convertToFloats(row, rows, target);
        }
        row += stride;
        target += kTileRows;
      }
    }
  }
}

// --- The right factor -----------------------------------------------------------------------------------------------

/// Panels of at most kTileVectors vectors, one after the other; in a panel, for each inner index, its columns side by
/// side. Columns beyond `columns`, up to full vectors, hold zeros or repeat others: nobody reads their products.
template <class T>
void packRightPanels(const T* from, std::size_t stride, std::size_t inner, std::size_t columns, const EvenParts& panels,
                     float* to) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t begin = 0; begin < inner; begin += kRowsTogether) {
    const std::size_t count = std::min(kRowsTogether, inner - begin);
    for (std::size_t k = begin; k < begin + count && k + kRowsAhead < inner; ++k) {
      prefetchRow(from + (k + kRowsAhead) * stride, columns);
    }
    for (std::size_t panel = 0; panel < panels.count(); ++panel) {
      const std::size_t vectors = panels.size(panel);
      const std::size_t first = panels.begin(panel) * lanes;
      const T* row = from + begin * stride + first;
      float* target = to + first * inner + begin * vectors * lanes;
      const std::size_t whole = std::min(columns - first, vectors * lanes) / lanes;
      const std::size_t rest = whole == vectors ? 0 : columns - first - whole * lanes;
      for (std::size_t k = 0; k < count; ++k) {
        for (std::size_t v = 0; v < whole; ++v) hn::StoreU(loadFloats(d, row + v * lanes), d, target + v * lanes);
        if (rest != 0) hn::StoreU(loadFloats(d, row + whole * lanes, rest), d, target + whole * lanes);
        row += stride;
        target += vectors * lanes;
      }
    }
  }
}

#if HWY_TARGET == HWY_SCALAR

/// The same for a factor stored transposed.
template <class T>
void packRightPanelsTransposed(const T* from, std::size_t stride, std::size_t inner, std::size_t columns,
                               const EvenParts& panels, float* to) {
  for (std::size_t panel = 0; panel < panels.count(); ++panel) {
    const std::size_t width = panels.size(panel);
    const std::size_t begin = panels.begin(panel);
    for (std::size_t column = 0; column < std::min(width, columns - begin); ++column) {
      for (std::size_t k = 0; k < inner; ++k) {
        convertToFloats(from + (begin + column) * stride + k, 1, to + (begin * inner) + k * width + column);
      }
    }
  }
}

#else

/// A vector whose 128-bit block b holds the four elements at rows[4 * b] + k.
template <class D, class T>
HWY_INLINE hn::Vec<D> loadBlocks(D d, const T* const* rows, std::size_t k) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    return loadFloats(d, rows[0] + k);
  } else if constexpr (std::is_same_v<T, float> && hn::MaxLanes(D()) == 16) {
    // Loads that repeat four elements in all blocks, and blends: cheaper than moving blocks between halves.
    const auto upper =
        hn::IfThenElse(hn::FirstN(d, 12), hn::LoadDup128(d, rows[8] + k), hn::LoadDup128(d, rows[12] + k));
    const auto lower = hn::IfThenElse(hn::FirstN(d, 4), hn::LoadDup128(d, rows[0] + k), hn::LoadDup128(d, rows[4] + k));
    return hn::IfThenElse(hn::FirstN(d, 8), lower, upper);
  } else {
    const hn::Half<D> dHalf;
    return hn::Combine(d, loadBlocks(dHalf, rows + hn::MaxLanes(dHalf), k), loadBlocks(dHalf, rows, k));
  }
}

/// Four inner indices of as many stored rows as a vector has lanes, transposed in 4 x 4 blocks: the first `count` of
/// the four vectors go to `to`, `width` apart.
template <class T>
HWY_INLINE void transposeFour(const T* const* rows, std::size_t k, std::size_t count, float* to, std::size_t width) {
  const hn::ScalableTag<float> d;
  const hn::RepartitionToWide<hn::RebindToUnsigned<decltype(d)>> dPair;
  const auto r0 = loadBlocks(d, rows + 0, k);
  const auto r1 = loadBlocks(d, rows + 1, k);
  const auto r2 = loadBlocks(d, rows + 2, k);
  const auto r3 = loadBlocks(d, rows + 3, k);
  const auto low01 = hn::BitCast(dPair, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(dPair, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(dPair, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(dPair, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dPair, low01, low23)), d, to);
  if (count > 1) hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dPair, low01, low23)), d, to + width);
  if (count > 2) hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dPair, high01, high23)), d, to + 2 * width);
  if (count > 3) hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dPair, high01, high23)), d, to + 3 * width);
}

/// The same for a factor stored transposed.
template <class T>
void packRightPanelsTransposed(const T* from, std::size_t stride, std::size_t inner, std::size_t columns,
                               const EvenParts& panels, float* to) {
  constexpr std::size_t kLanes = hn::MaxLanes(hn::ScalableTag<float>());
  const std::size_t rest = inner % 4;
  for (std::size_t panel = 0; panel < panels.count(); ++panel) {
    const std::size_t width = panels.size(panel) * kLanes;
    const std::size_t begin = panels.begin(panel) * kLanes;
    for (std::size_t v = 0; v < panels.size(panel); ++v) {
      const T* rows[kLanes];
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        rows[lane] = from + std::min(begin + v * kLanes + lane, columns - 1) * stride;
      }
      float* target = to + begin * inner + v * kLanes;
      for (std::size_t k = 0; k + 4 <= inner; k += 4) {
        // A quarter of the rows at each step, a line ahead: so many streams the hardware does not follow.
        for (std::size_t lane = k / 4 % 4; lane < kLanes; lane += 4) hwy::Prefetch(rows[lane] + k + kElementsAhead);
        transposeFour(rows, k, 4, target + k * width, width);
      }
      if (rest == 0) continue;
      T ends[kLanes][4] = {};
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        std::memcpy(ends[lane], rows[lane] + inner - rest, rest * sizeof(T));
        rows[lane] = ends[lane];
      }
      transposeFour(rows, 0, rest, target + (inner - rest) * width, width);
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::gemm_internal
HWY_AFTER_NAMESPACE();

#endif
