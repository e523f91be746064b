// Products of a matrix and a vector: each element of the matrix is used once, so that it is read where it lies, in the
// order in which it lies.

#if defined(METALLOID_CPU_GEMM_VECTOR_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_GEMM_VECTOR_INL
#undef METALLOID_CPU_GEMM_VECTOR_INL
#else
#define METALLOID_CPU_GEMM_VECTOR_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "backends/cpu/gemm_pack-inl.hpp"
#include "backends/cpu/gemm_plan.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::gemm_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// sums[r] += dot(rows[r], x). The order of a sum does not depend on kRows.
template <std::size_t kRows, class T>
HWY_INLINE void addDots(const T* rows, std::size_t stride, const float* x, std::size_t count, float* sums) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  hn::Vec<decltype(d)> even[kRows];
  hn::Vec<decltype(d)> odd[kRows];
  for (std::size_t r = 0; r < kRows; ++r) even[r] = odd[r] = hn::Zero(d);
  std::size_t k = 0;
  for (; k + 2 * lanes <= count; k += 2 * lanes) {
    const auto x0 = hn::LoadU(d, x + k);
    const auto x1 = hn::LoadU(d, x + k + lanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      even[r] = hn::MulAdd(loadFloats(d, rows + r * stride + k), x0, even[r]);
      odd[r] = hn::MulAdd(loadFloats(d, rows + r * stride + k + lanes), x1, odd[r]);
    }
  }
  for (; k < count; k += lanes) {
    const std::size_t rest = std::min(lanes, count - k);
    const auto some = loadFloats(d, x + k, rest);
    for (std::size_t r = 0; r < kRows; ++r) {
      even[r] = hn::MulAdd(loadFloats(d, rows + r * stride + k, rest), some, even[r]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) sums[r] += hn::GetLane(hn::SumOfLanes(d, hn::Add(even[r], odd[r])));
}

/// sums += x[0] * rows[0] + ... + x[kRows - 1] * rows[kRows - 1], in this order.
template <std::size_t kRows, class T>
HWY_INLINE void addMultiples(const T* rows, std::size_t stride, const float* x, std::size_t count, float* sums) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < count; i += lanes) {
    const std::size_t some = std::min(lanes, count - i);
    const bool whole = some == lanes;
    auto sum = whole ? hn::LoadU(d, sums + i) : loadSome(sums + i, some);
    for (std::size_t r = 0; r < kRows; ++r) {
      const T* row = rows + r * stride + i;
      sum = hn::MulAdd(hn::Set(d, x[r]), whole ? loadFloats(d, row) : loadFloats(d, row, some), sum);
    }
    if (whole) {
      hn::StoreU(sum, d, sums + i);
    } else {
      storeSome(sum, sums + i, some);
    }
  }
}

/// sums[i] := the product's element i over the inner range, for i in `outputs`.
template <class T>
void multiplyVector(const VectorProduct& product, BlockRange outputs, BlockRange inner, float* sums, float* scratch) {
  constexpr std::size_t kInnerAtOnce = 4096;    // of the vector, as float32
  constexpr std::size_t kOutputsAtOnce = 2048;  // whose sums stay in L1
  constexpr std::size_t kRowsAtOnce = 4;
  const T* matrix = static_cast<const T*>(product.matrix);
  const T* vector = static_cast<const T*>(product.vector);
  const std::size_t stride = product.stride;
  std::fill(sums + outputs.begin, sums + outputs.end, 0.0F);
  for (std::size_t begin = inner.begin; begin < inner.end; begin += kInnerAtOnce) {
    const std::size_t count = std::min(kInnerAtOnce, inner.end - begin);
    if (product.vectorStride == 1) {
      convertToFloats(vector + begin, count, scratch);
    } else {
      for (std::size_t k = 0; k < count; ++k)
        convertToFloats(vector + (begin + k) * product.vectorStride, 1, scratch + k);
    }
    if (product.outputsAreRows) {
      std::size_t i = outputs.begin;
      for (; i + kRowsAtOnce <= outputs.end; i += kRowsAtOnce) {
        addDots<kRowsAtOnce>(matrix + i * stride + begin, stride, scratch, count, sums + i);
      }
      for (; i < outputs.end; ++i) addDots<1>(matrix + i * stride + begin, stride, scratch, count, sums + i);
      continue;
    }
    for (std::size_t i = outputs.begin; i < outputs.end; i += kOutputsAtOnce) {
      const std::size_t width = std::min(kOutputsAtOnce, outputs.end - i);
      std::size_t k = 0;
      for (; k + kRowsAtOnce <= count; k += kRowsAtOnce) {
        addMultiples<kRowsAtOnce>(matrix + (begin + k) * stride + i, stride, scratch + k, width, sums + i);
      }
      for (; k < count; ++k) addMultiples<1>(matrix + (begin + k) * stride + i, stride, scratch + k, width, sums + i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::gemm_internal
HWY_AFTER_NAMESPACE();

#endif
