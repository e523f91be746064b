#pragma once

#include "backends/cuda/context.hpp"
#include "math/scalar_ops.hpp"
#include "operations/views.hpp"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

/// Element access of any type and the loops of the plain kernels.
namespace metalloid::cuda {

using operations::MatrixView;
using operations::VectorView;

__host__ __device__ constexpr std::size_t sizeOf(DataType type) {
  return (static_cast<std::uint32_t>(type) & 0xffffu) / 8;
}

__device__ inline double load(const std::byte* address, DataType type) {
  switch (type) {
    case DataType::float16:
      return static_cast<double>(__half2float(*reinterpret_cast<const __half*>(address)));
    case DataType::bFloat16:
      return static_cast<double>(__bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(address)));
    case DataType::int8:
      return static_cast<double>(*reinterpret_cast<const std::int8_t*>(address));
    case DataType::int16:
      return static_cast<double>(*reinterpret_cast<const std::int16_t*>(address));
    case DataType::int32:
      return static_cast<double>(*reinterpret_cast<const std::int32_t*>(address));
    case DataType::uInt8:
      return static_cast<double>(*reinterpret_cast<const std::uint8_t*>(address));
    case DataType::uInt16:
      return static_cast<double>(*reinterpret_cast<const std::uint16_t*>(address));
    case DataType::uInt32:
      return static_cast<double>(*reinterpret_cast<const std::uint32_t*>(address));
    case DataType::unorm8:
      return static_cast<double>(*reinterpret_cast<const std::uint8_t*>(address)) / 255;
    case DataType::unorm16:
      return static_cast<double>(*reinterpret_cast<const std::uint16_t*>(address)) / 65535;
    default:
      return static_cast<double>(*reinterpret_cast<const float*>(address));
  }
}

/// A share of `one`: clamped, rounded to nearest even; NaN becomes 0.
__device__ inline double normalized(double value, double one) { return value > 0 ? rint(fmin(value, 1.0) * one) : 0; }

/// Rounds once, from double to the element's type.
__device__ inline void store(std::byte* address, DataType type, double value) {
  switch (type) {
    case DataType::float16:
      *reinterpret_cast<__half*>(address) = __double2half(value);
      return;
    case DataType::bFloat16:
      *reinterpret_cast<__nv_bfloat16*>(address) = __double2bfloat16(value);
      return;
    case DataType::uInt32:
      *reinterpret_cast<std::uint32_t*>(address) = static_cast<std::uint32_t>(value);
      return;
    case DataType::unorm8:
      *reinterpret_cast<std::uint8_t*>(address) = static_cast<std::uint8_t>(normalized(value, 255));
      return;
    case DataType::unorm16:
      *reinterpret_cast<std::uint16_t*>(address) = static_cast<std::uint16_t>(normalized(value, 65535));
      return;
    default:
      *reinterpret_cast<float*>(address) = static_cast<float>(value);
  }
}

/// Where element (i, j) of matrix k lies.
__device__ inline std::byte* address(const MatrixView& view, std::size_t k, std::size_t i, std::size_t j) {
  return view.data + k * view.matrixBytes + i * view.rowBytes + j * sizeOf(view.type);
}

__device__ inline double at(const MatrixView& view, std::size_t k, std::size_t i, std::size_t j) {
  return load(address(view, k, i, j), view.type);
}

__device__ inline void set(const MatrixView& view, std::size_t k, std::size_t i, std::size_t j, double value) {
  store(address(view, k, i, j), view.type, value);
}

/// Element j of the vector that goes with matrix k.
__device__ inline double at(const VectorView& view, std::size_t k, std::size_t j) {
  return load(view.data + k * view.vectorBytes + j * sizeOf(view.type), view.type);
}

/// The same for an optional vector, or what it stands for.
__device__ inline double atOr(const VectorView& view, std::size_t k, std::size_t j, double absent) {
  return view.data ? at(view, k, j) : absent;
}

__device__ inline void set(const VectorView& view, std::size_t k, std::size_t j, double value) {
  store(view.data + k * view.vectorBytes + j * sizeOf(view.type), view.type, value);
}

__device__ inline std::uint32_t word(const VectorView& view, std::size_t k, std::size_t j) {
  return *reinterpret_cast<const std::uint32_t*>(view.data + k * view.vectorBytes + j * sizeof(std::uint32_t));
}

// The neuron formulas with the type chosen at run time. All but the commonest are not inlined: sixteen formulas in
// every kernel would be minutes of compilation.

template <int kType = 0>
__device__ float chosenNeuronValue(const math::Neuron& neuron, float x, float slope) {
  if (static_cast<int>(neuron.type) == kType) {
    return math::scalar::neuronValue<static_cast<CNNNeuronType>(kType)>(math::scalar::FloatOps{}, neuron, x, slope);
  }
  if constexpr (kType + 1 < static_cast<int>(CNNNeuronType::count)) {
    return chosenNeuronValue<kType + 1>(neuron, x, slope);
  } else {
    return x;
  }
}

template <int kType = 0>
__device__ float chosenNeuronDerivative(const math::Neuron& neuron, float x, float slope) {
  if (static_cast<int>(neuron.type) == kType) {
    return math::scalar::neuronDerivative<static_cast<CNNNeuronType>(kType)>(math::scalar::FloatOps{}, neuron, x,
                                                                             slope);
  }
  if constexpr (kType + 1 < static_cast<int>(CNNNeuronType::count)) {
    return chosenNeuronDerivative<kType + 1>(neuron, x, slope);
  } else {
    return 1;
  }
}

__device__ __noinline__ inline float anyNeuronValue(const math::Neuron& neuron, float x, float slope) {
  return chosenNeuronValue(neuron, x, slope);
}

__device__ __noinline__ inline float anyNeuronDerivative(const math::Neuron& neuron, float x, float slope) {
  return chosenNeuronDerivative(neuron, x, slope);
}

__device__ inline float neuronValue(const math::Neuron& neuron, float x, float slope) {
  if (neuron.type == CNNNeuronType::none) return x;
  if (neuron.type != CNNNeuronType::reLU) return anyNeuronValue(neuron, x, slope);
  return math::scalar::neuronValue<CNNNeuronType::reLU>(math::scalar::FloatOps{}, neuron, x, slope);
}

__device__ inline float neuronDerivative(const math::Neuron& neuron, float x, float slope) {
  if (neuron.type == CNNNeuronType::none) return 1;
  if (neuron.type != CNNNeuronType::reLU) return anyNeuronDerivative(neuron, x, slope);
  return math::scalar::neuronDerivative<CNNNeuronType::reLU>(math::scalar::FloatOps{}, neuron, x, slope);
}

/// Whether an earlier check of this command buffer has failed, after which nothing lasting is written.
__device__ inline bool hasViolation(const std::uint32_t* violation) { return *violation != Context::kNoViolation; }

struct Extent {
  std::size_t matrices = 1;
  std::size_t rows = 0;
  std::size_t columns = 0;

  std::size_t elements() const { return matrices * rows * columns; }
};

inline Extent extentOf(const MatrixView& view) { return {view.matrices, view.rows, view.columns}; }

inline unsigned blocksFor(std::size_t work, std::size_t perBlock, std::size_t limit = 0x7fffffffu) {
  return static_cast<unsigned>(std::min((work + perBlock - 1) / perBlock, limit));
}

// Bodies are grid constants: what they hand to a function by reference stays where the arguments of a kernel are, and
// is not copied by every thread.

/// Lets the next kernel be launched, and waits until all former ones are complete. What a kernel does before it must
/// not touch memory that others write; nor may such memory be read by __ldg, which takes it for constant from the
/// launch on.
__device__ inline void waitForFormer() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\ngriddepcontrol.wait;" ::: "memory");
#endif
}

template <class Body>
__global__ void elementKernel(Extent extent, const __grid_constant__ Body body) {
  waitForFormer();
  const std::size_t elements = extent.matrices * extent.rows * extent.columns;
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t e = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; e < elements; e += stride) {
    if (elements <= 0xffffffffu) {  // 64-bit divisions cost many times as much
      const auto columns = static_cast<std::uint32_t>(extent.columns), rows = static_cast<std::uint32_t>(extent.rows);
      const std::uint32_t row = static_cast<std::uint32_t>(e) / columns, k = row / rows;
      body(k, row - k * rows, e - std::size_t{row} * columns);
    } else {
      const std::size_t row = e / extent.columns;
      body(row / extent.rows, row % extent.rows, e % extent.columns);
    }
  }
}

/// body(k, i, j) for every element, in any order.
template <class Body>
void forEachElement(Context& context, const Extent& extent, const Body& body) {
  if (extent.elements() == 0) return;
  context.launchEarly(elementKernel<Body>, blocksFor(extent.elements(), 256, 1u << 20), 256, extent, body);
}

template <class Body>
__global__ void rowKernel(Extent extent, const __grid_constant__ Body body) {
  waitForFormer();
  const std::size_t warps = std::size_t{gridDim.x} * (blockDim.x / 32);
  for (std::size_t row = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32; row < extent.matrices * extent.rows;
       row += warps) {
    body(row / extent.rows, row % extent.rows, threadIdx.x % 32);
  }
}

/// body(k, i, lane) with one warp for every row; `columns` does not matter.
template <class Body>
void forEachRow(Context& context, const Extent& extent, const Body& body) {
  if (extent.matrices * extent.rows == 0) return;
  context.launchEarly(rowKernel<Body>, blocksFor(extent.matrices * extent.rows, 4, 1u << 20), 128, extent, body);
}

/// The sum over a warp, the same in every lane, in an order that never changes.
__device__ inline double warpSum(double value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

constexpr unsigned kStripColumns = 32, kStripThreads = 16;

template <class Value, class Store>
__global__ void columnSumKernel(std::size_t first, Extent extent, const __grid_constant__ Value value,
                                const __grid_constant__ Store store) {
  waitForFormer();
  __shared__ double partial[2][kStripThreads][kStripColumns + 1];
  const std::size_t k = first + blockIdx.y, j = std::size_t{blockIdx.x} * kStripColumns + threadIdx.x;
  double2 sum = {0, 0};
  if (j < extent.columns) {
    for (std::size_t i = threadIdx.y; i < extent.rows; i += kStripThreads) {
      const double2 term = value(k, i, j);
      sum.x += term.x;
      sum.y += term.y;
    }
  }
  partial[0][threadIdx.y][threadIdx.x] = sum.x;
  partial[1][threadIdx.y][threadIdx.x] = sum.y;
  __syncthreads();
  if (threadIdx.y != 0 || j >= extent.columns) return;
  for (unsigned y = 1; y < kStripThreads; ++y) {
    sum.x += partial[0][y][threadIdx.x];
    sum.y += partial[1][y][threadIdx.x];
  }
  store(k, j, sum);
}

/// store(k, j, the sum over the rows i of value(k, i, j)) for every column; sums come in pairs of double precision.
template <class Value, class Store>
void forEachColumnSum(Context& context, const Extent& extent, const Value& value, const Store& store) {
  if (extent.columns == 0 || extent.matrices == 0) return;
  for (std::size_t k = 0; k < extent.matrices; k += 32768) {  // the grid's limit
    const auto matrices = static_cast<unsigned>(std::min<std::size_t>(extent.matrices - k, 32768));
    context.launchEarly(columnSumKernel<Value, Store>, dim3(blocksFor(extent.columns, kStripColumns), matrices),
                        dim3(kStripColumns, kStripThreads), k, extent, value, store);
  }
}

}  // namespace metalloid::cuda
