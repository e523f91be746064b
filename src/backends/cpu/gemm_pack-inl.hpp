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

#include "backends/cpu/gemm_kernel-inl.hpp"
#include "backends/cpu/gemm_plan.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::gemm_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

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

// --- Conversion -----------------------------------------------------------------------------------------------------

template <class D>
HWY_INLINE hn::Vec<D> loadFloats(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D, class Integer, HWY_IF_NOT_FLOAT(Integer)>
HWY_INLINE hn::Vec<D> loadFloats(D d, const Integer* from) {
  const hn::Rebind<std::int32_t, D> dWide;
  return hn::ConvertTo(d, hn::PromoteTo(dWide, hn::LoadU(hn::Rebind<Integer, D>(), from)));
}

template <class D>
HWY_INLINE hn::Vec<D> loadFloats(D d, const BFloat16* from) {
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto half = hn::LoadU(hn::Rebind<std::uint16_t, D>(), reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(dBits, half)));
}

template <class D>
HWY_INLINE hn::Vec<D> loadFloats(D d, const Float16* from) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), reinterpret_cast<const hwy::float16_t*>(from)));
#else
  // Highway's replacement for the missing instruction does not keep infinities and NaN.
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto half =
      hn::PromoteTo(dBits, hn::LoadU(hn::Rebind<std::uint16_t, D>(), reinterpret_cast<const std::uint16_t*>(from)));
  const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(dBits, 0x8000U)));
  const auto magnitude = hn::And(half, hn::Set(dBits, 0x7FFFU));
  // The bits, shifted into place, are the number times 2^-112, subnormal numbers included.
  const auto scaled = hn::BitCast(dBits, hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 0x1p112F)));
  const auto special = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(dBits, 0x7F800000U));
  const auto isSpecial = hn::Gt(magnitude, hn::Set(dBits, 0x7BFFU));
  return hn::BitCast(d, hn::Or(sign, hn::IfThenElse(isSpecial, special, scaled)));
#endif
}

/// The first `count` elements, and zeros.
template <class D, class T>
HWY_INLINE hn::Vec<D> loadFloats(D d, const T* from, std::size_t count) {
  if constexpr (std::is_same_v<T, float>) {
    return loadSome(from, count);
  } else {
    T elements[hn::MaxLanes(D())] = {};
    std::memcpy(elements, from, count * sizeof(T));
    return loadFloats(d, elements);
  }
}

template <class D>
HWY_INLINE void storeFloats(D d, hn::Vec<D> values, float* to) {
  hn::StoreU(values, d, to);
}

template <class D, class Bits>
HWY_INLINE void storeLowHalves(D, Bits bits, void* to) {
  const hn::Rebind<std::int32_t, D> dSigned;  // no bits above the lower 16, so that saturation does nothing
  const hn::Rebind<std::uint16_t, D> dHalf;
  hn::StoreU(hn::DemoteTo(dHalf, hn::BitCast(dSigned, bits)), dHalf, static_cast<std::uint16_t*>(to));
}

/// Round to nearest even: add half of the last place kept, less one if that place is even, and cut.
template <class D>
HWY_INLINE void storeFloats(D, hn::Vec<D> values, BFloat16* to) {
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto bits = hn::BitCast(dBits, values);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(dBits, 1U));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(dBits, 0x7FFFU)));
  const auto quiet = hn::Or(bits, hn::Set(dBits, 0x00400000U));
  storeLowHalves(D(), hn::ShiftRight<16>(hn::IfThenElse(hn::RebindMask(dBits, hn::IsNaN(values)), quiet, rounded)), to);
}

template <class D>
HWY_INLINE void storeFloats(D d, hn::Vec<D> values, Float16* to) {
  const hn::Rebind<std::uint32_t, D> dBits;
  const auto bits = hn::BitCast(dBits, values);
  const auto sign = hn::ShiftRight<16>(hn::And(bits, hn::Set(dBits, 0x80000000U)));
  const auto magnitude = hn::And(bits, hn::Set(dBits, 0x7FFFFFFFU));
  // Normal: as above, and the exponent's bias becomes 15; what overflows ends in the pattern of infinity.
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(dBits, 1U));
  const auto normal =
      hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, odd), hn::Set(dBits, 0x0FFFU - (std::uint32_t{127 - 15} << 23))));
  // Subnormal: 0.5 has the last place 2^-24, to which the addition rounds.
  const auto subnormal =
      hn::Sub(hn::BitCast(dBits, hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5F))), hn::Set(dBits, 0x3F000000U));
  const auto isSubnormal = hn::Lt(magnitude, hn::Set(dBits, 0x38800000U));  // below 2^-14
  const auto isInfinite = hn::Gt(magnitude, hn::Set(dBits, 0x477FFFFFU));   // 2^16 and more
  const auto isNaN = hn::Gt(magnitude, hn::Set(dBits, 0x7F800000U));
  auto half = hn::IfThenElse(isSubnormal, subnormal, normal);
  half = hn::IfThenElse(isInfinite, hn::Set(dBits, 0x7C00U), half);
  half = hn::IfThenElse(isNaN, hn::Set(dBits, 0x7E00U), half);
  storeLowHalves(D(), hn::Or(sign, half), to);
}

template <class T>
HWY_INLINE void convertToFloats(const T* from, std::size_t count, float* to) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(loadFloats(d, from + i), d, to + i);
  if (i == count) return;
  float rest[hn::MaxLanes(hn::ScalableTag<float>())];
  hn::StoreU(loadFloats(d, from + i, count - i), d, rest);
  std::memcpy(to + i, rest, (count - i) * sizeof(float));
}

template <class T>
HWY_INLINE void convertFromFloats(const float* from, std::size_t count, T* to) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) storeFloats(d, hn::LoadU(d, from + i), to + i);
  if (i == count) return;
  T rest[hn::MaxLanes(hn::ScalableTag<float>())];
  storeFloats(d, loadFloats(d, from + i, count - i), rest);
  std::memcpy(to + i, rest, (count - i) * sizeof(T));
}

/// Packing walks down rows that are far from each other, where the hardware's own prefetching does not follow.
inline constexpr std::size_t kRowsAhead = 8;

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
      for (std::size_t k = 0; k + 4 <= inner; k += 4) transposeFour(rows, k, 4, target + k * width, width);
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
