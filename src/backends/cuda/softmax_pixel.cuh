#pragma once

#include "backends/cuda/images.cuh"

namespace metalloid::cuda {

/// The largest channel of a pixel, and the sum of exp(x - maximum) over its channels.
struct SoftMaxPixel {
  double maximum;
  double sum;
};

/// Computed by one warp. A NaN anywhere makes the sum NaN; the maximum then does not matter.
__device__ inline SoftMaxPixel softMaxPixel(const Images& source, std::size_t n, std::size_t y, std::size_t x,
                                            unsigned lane) {
  double maximum = at(source, n, y, x, 0);
  for (std::size_t c = lane; c < source.channels; c += 32) maximum = fmax(maximum, at(source, n, y, x, c));
  for (int offset = 16; offset > 0; offset /= 2) {
    maximum = fmax(maximum, __shfl_xor_sync(0xffffffffu, maximum, offset));
  }
  double sum = 0;
  for (std::size_t c = lane; c < source.channels; c += 32) sum += exp(at(source, n, y, x, c) - maximum);
  return {maximum, warpSum(sum)};
}

}  // namespace metalloid::cuda
