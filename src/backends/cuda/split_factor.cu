#include "backends/cuda/split_factor.cuh"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/tensor_map.hpp"

namespace metalloid::cuda {
namespace {

constexpr unsigned kParts = SplitParts::kParts;

/// Stores eight neighbours in parts.
__device__ void storeParts(const SplitParts& parts, std::size_t row, std::size_t column, const float (&values)[8]) {
  __align__(16) __nv_bfloat16 part[kParts][8];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    part[0][n] = __float2bfloat16_rn(values[n]);
    const float rest = values[n] - __bfloat162float(part[0][n]);  // exact, as is the next
    part[1][n] = __float2bfloat16_rn(rest);
    part[2][n] = __float2bfloat16_rn(rest - __bfloat162float(part[1][n]));
  }
  __nv_bfloat16* const to = parts.data + row * parts.rowElements + column;
#pragma unroll
  for (unsigned p = 0; p < kParts; ++p) {
    *reinterpret_cast<uint4*>(to + p * parts.partElements) = *reinterpret_cast<const uint4*>(part[p]);
  }
}

/// Eight neighbours a thread.
__global__ void splitKernel(MatrixView matrix, SplitParts parts) {
  waitForFormer();
  const std::size_t packs = parts.rowElements / 8;
  const bool isAligned = (reinterpret_cast<std::uintptr_t>(matrix.data) | matrix.rowBytes) % 16 == 0;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < parts.rows * packs;
       i += std::size_t{gridDim.x} * blockDim.x) {
    const std::size_t row = i / packs, column = i % packs * 8;
    const auto* const from = reinterpret_cast<const float*>(matrix.data + row * matrix.rowBytes) + column;
    float values[8];
    if (isAligned && column + 8 <= parts.columns) {
      *reinterpret_cast<float4*>(values) = __ldcs(reinterpret_cast<const float4*>(from));
      *reinterpret_cast<float4*>(values + 4) = __ldcs(reinterpret_cast<const float4*>(from) + 1);
    } else {
#pragma unroll
      for (unsigned n = 0; n < 8; ++n) values[n] = column + n < parts.columns ? from[n] : 0;
    }
    storeParts(parts, row, column, values);
  }
}

/// The swizzle that a line of a box fills.
CUtensorMapSwizzle swizzleOf(unsigned lineElements) {
  return lineElements * sizeof(__nv_bfloat16) == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B;
}

}  // namespace

SplitParts split(const MatrixView& matrix, Context& context) {
  SplitParts parts{.rows = matrix.rows, .columns = matrix.columns, .rowElements = (matrix.columns + 7) / 8 * 8};
  parts.partElements = parts.rows * parts.rowElements;
  parts.data = context.scratch<__nv_bfloat16>(kParts * parts.partElements);
  const std::size_t most = static_cast<std::size_t>(context.multiprocessors) * 16;
  context.launchEarly(splitKernel, blocksFor(parts.partElements / 8, 256, most), 256, matrix, parts);
  return parts;
}

CUtensorMap tensorOf(const SplitParts& parts, unsigned columns, unsigned rows, unsigned partsOfBox) {
  return makeTensorMap<3>({.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, .swizzle = swizzleOf(columns)}, parts.data,
                          {parts.columns, parts.rows, kParts},
                          {parts.rowElements * sizeof(__nv_bfloat16), parts.partElements * sizeof(__nv_bfloat16)},
                          {columns, rows, partsOfBox});
}

namespace {

constexpr unsigned kNumbersOfLine = 32, kPartsOfLine = 64;  // fill the swizzle of 128 bytes
constexpr TensorCopy kNumbers = {.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32, .swizzle = CU_TENSOR_MAP_SWIZZLE_128B};

/// Patches of `copies` times the images that are walked over.
CUtensorMap patchTensor(const TensorCopy& copy, void* pixels, cuuint64_t pixelBytes, const PatchWalk& walk,
                        unsigned copies, unsigned channels, unsigned outputs) {
  static const auto encode = tensorEncoder<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  const auto number = [](int n) { return static_cast<cuuint64_t>(n); };
  const cuuint64_t sizes[] = {number(walk.channels), number(walk.x.size), number(walk.y.size),
                              copies * number(walk.images)};
  const cuuint64_t strides[] = {pixelBytes, pixelBytes * sizes[1], pixelBytes * sizes[1] * sizes[2]};
  // Corners go from `lower` to the last pixel + `upper`.
  const auto upper = [](const PatchWalk::Axis& axis) {
    return axis.base + (axis.outputs - 1) * axis.step - (axis.size - 1);
  };
  const int lower[] = {walk.x.base, walk.y.base}, higher[] = {upper(walk.x), upper(walk.y)};
  const cuuint32_t steps[] = {1, static_cast<cuuint32_t>(walk.x.step), static_cast<cuuint32_t>(walk.y.step), 1};
  CUtensorMap map;
  requireTensor(encode(&map, copy.type, 4, pixels, sizes, strides, lower, higher, channels, outputs, steps,
                       CU_TENSOR_MAP_INTERLEAVE_NONE, copy.swizzle, copy.promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

}  // namespace

CUtensorMap tensorOf(const MatrixView& matrix, unsigned rows) {
  return makeTensorMap<3>(kNumbers, matrix.data, {matrix.columns, matrix.rows, 1},
                          {matrix.rowBytes, matrix.rowBytes * matrix.rows}, {kNumbersOfLine, rows, 1});
}

CUtensorMap tensorOf(const SplitParts& pixels, const PatchWalk& walk, unsigned outputs) {
  return patchTensor({.type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, .swizzle = CU_TENSOR_MAP_SWIZZLE_128B}, pixels.data,
                     pixels.rowElements * sizeof(__nv_bfloat16), walk, kParts, kPartsOfLine, outputs);
}

CUtensorMap tensorOf(const MatrixView& pixels, const PatchWalk& walk, unsigned outputs) {
  return patchTensor(kNumbers, pixels.data, pixels.rowBytes, walk, 1, kNumbersOfLine, outputs);
}

bool isCopyable(const MatrixView& matrix) {
  return (reinterpret_cast<std::uintptr_t>(matrix.data) | matrix.rowBytes) % 16 == 0 && matrix.rowBytes < std::size_t{1}
                                                                                                              << 40;
}

const char* refusesWalk(const PatchWalk& walk) {
  for (const PatchWalk::Axis* axis : {&walk.x, &walk.y}) {
    const int upper = axis->base + (axis->outputs - 1) * axis->step - (axis->size - 1);
    if (axis->step < 1 || axis->step > 8) return "the stride is above 8";
    if (axis->tapStep < 1 || axis->tapStep * (axis->taps - 1) > 255) return "the window is wider than 256";
    if (axis->base < -128 || axis->base > 127 || upper < -128 || upper > 127) {
      return "the padding is wider than 128";
    }
  }
  return nullptr;
}

}  // namespace metalloid::cuda
