#pragma once

#include "backends/cuda/elements.cuh"

namespace metalloid::cuda {

/// The largest element of a row, and the sum of exp(x - maximum) over it.
struct SoftMaxRow {
  double maximum;
  double sum;
};

/// Computed by one warp. A NaN anywhere in the row makes the sum NaN; the maximum then does not matter.
__device__ inline SoftMaxRow softMaxRow(const MatrixView& input, std::size_t k, std::size_t i, unsigned lane) {
  double maximum = at(input, k, i, 0);
  for (std::size_t j = lane; j < input.columns; j += 32) maximum = fmax(maximum, at(input, k, i, j));
  for (int offset = 16; offset > 0; offset /= 2) {
    maximum = fmax(maximum, __shfl_xor_sync(0xffffffffu, maximum, offset));
  }
  double sum = 0;
  for (std::size_t j = lane; j < input.columns; j += 32) sum += exp(at(input, k, i, j) - maximum);
  return {maximum, warpSum(sum)};
}

}  // namespace metalloid::cuda
