#pragma once

#include "backends/cuda/context.hpp"

#include <cuda.h>

#include <cstddef>

/// Tensors in memory as the tensor copy engine sees them.
namespace metalloid::cuda {

/// How boxes of a tensor are copied.
struct TensorCopy {
  CUtensorMapDataType type = CU_TENSOR_MAP_DATA_TYPE_UINT32;
  CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
  CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;  // how much of a line comes along
};

/// A function of the driver that makes tensors: the module does not link the driver.
template <class Encode>
Encode tensorEncoder(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found),
        "The driver knows no tensor copies");
  return reinterpret_cast<Encode>(function);
}

inline void requireTensor(CUresult result) {
  if (result == CUDA_SUCCESS) return;
  throw Failure(Status::Code::device, "A copy was not set up", "the driver refused a tensor");
}

/// Sizes and boxes from the innermost dimension on, strides in bytes from the second one on. What of a box is beyond
/// the tensor arrives as zeros.
template <std::size_t kRank>
CUtensorMap makeTensorMap(const TensorCopy& copy, void* data, const cuuint64_t (&sizes)[kRank],
                          const cuuint64_t (&strides)[kRank - 1], const cuuint32_t (&box)[kRank]) {
  static const auto encode = tensorEncoder<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  cuuint32_t steps[kRank];
  for (cuuint32_t& step : steps) step = 1;
  CUtensorMap map;
  requireTensor(encode(&map, copy.type, kRank, data, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                       copy.swizzle, copy.promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

}  // namespace metalloid::cuda
