#pragma once

#include "backends/cuda/elements.cuh"

#include <type_traits>

/// Sixteen bytes at a time, for kernels that memory bounds.
namespace metalloid::cuda {

/// Neighbouring elements of a row that one thread loads and stores at once.
template <class T>
struct Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  float value[kSize];

  __device__ static float toFloat(T x) {
    if constexpr (std::is_same_v<T, __half>) {
      return __half2float(x);
    } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      return __bfloat162float(x);
    } else {
      return x;
    }
  }

  __device__ static T fromFloat(float x) {
    if constexpr (std::is_same_v<T, __half>) {
      return __float2half_rn(x);
    } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      return __float2bfloat16_rn(x);
    } else {
      return x;
    }
  }

  __device__ static Pack of(const uint4& bits) {
    Pack pack;
    const T* const elements = reinterpret_cast<const T*>(&bits);
#pragma unroll
    for (int n = 0; n < kSize; ++n) pack.value[n] = toFloat(elements[n]);
    return pack;
  }

  __device__ uint4 bits() const {
    uint4 result;
    T* const elements = reinterpret_cast<T*>(&result);
#pragma unroll
    for (int n = 0; n < kSize; ++n) elements[n] = fromFloat(value[n]);
    return result;
  }
};

template <class T>
constexpr DataType kDataType = std::is_same_v<T, __half>          ? DataType::float16
                               : std::is_same_v<T, __nv_bfloat16> ? DataType::bFloat16
                                                                  : DataType::float32;

/// Whether a thread can load Packs of the view: it is one matrix of a floating-point type whose rows are aligned and
/// whole packs long.
inline bool isPacked(const MatrixView& view) {
  const bool isFloat =
      view.type == DataType::float32 || view.type == DataType::float16 || view.type == DataType::bFloat16;
  return isFloat && view.matrices == 1 && (reinterpret_cast<std::uintptr_t>(view.data) | view.rowBytes) % 16 == 0 &&
         view.columns * sizeOf(view.type) % 16 == 0 && view.rows > 0 && view.columns > 0;
}

/// The elements of an optional vector from j on, or what they stand for. Those of float32 are loaded all at once; the
/// others wait for each other, as the type is looked at for each.
template <int kSize>
__device__ void loadColumns(float (&to)[kSize], const VectorView& view, std::size_t j, float absent) {
  if (view.data && view.type == DataType::float32) {
#pragma unroll
    for (int n = 0; n < kSize; ++n) to[n] = reinterpret_cast<const float*>(view.data)[j + n];
  } else {
#pragma unroll
    for (int n = 0; n < kSize; ++n) to[n] = static_cast<float>(atOr(view, 0, j + n, double{absent}));
  }
}

__device__ inline float loadColumn(const VectorView& view, std::size_t j, float absent) {
  float value[1];
  loadColumns(value, view, j, absent);
  return value[0];
}

/// visitor(T{}) for the element type of a packed view.
template <class Visitor>
void dispatchType(DataType type, const Visitor& visitor) {
  switch (type) {
    case DataType::float16:
      return visitor(__half{});
    case DataType::bFloat16:
      return visitor(__nv_bfloat16{});
    default:
      return visitor(float{});
  }
}

/// Whether this block is the last of `count` that come here for a counter, which is zero before and after. The blocks
/// that came before have their writes visible to the last.
__device__ inline bool isLastBlock(std::uint32_t* counter, std::uint32_t count) {
  __shared__ bool isLast;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) isLast = atomicAdd(counter, 1u) == count - 1;
  __syncthreads();
  if (isLast) {
    __threadfence();
    if (threadIdx.x == 0) *counter = 0;
  }
  return isLast;
}

}  // namespace metalloid::cuda
