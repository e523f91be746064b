#pragma once

#include "backends/cuda/split_stages.cuh"

/// How consumers multiply the tiles of a stage.
namespace metalloid::cuda::splitting {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/// A consumer's rows of the left factor in parts, as they lie in shared memory.
template <Tile kTile>
class PartsOfRows {
 public:
  __device__ PartsOfRows(const SharedMemory& shared, unsigned consumer)
      : first_(hopper::describeAddress<kTile, kHalfBytes>(shared.stages[0].left[consumer])) {}

  __device__ void load(unsigned) {}

  template <Tile kRight>
  __device__ void multiply(float (&sum)[64], unsigned stage, unsigned part, unsigned n, std::uint32_t right,
                           bool isAdded) const {
    const std::uint32_t left = first_ + stage * hopper::describeDistance(sizeof(Stage)) +
                               part * hopper::describeDistance(kHalfBytes) + n * hopper::kNextTerms<kTile>;
    hopper::multiplyTiles<kTile, kRight>(sum, left, right, isAdded);
  }

 private:
  std::uint32_t first_;
};

/// Rows of numbers, which are split in registers.
template <Tile kTile>
class NumbersOfRows {
 public:
  __device__ NumbersOfRows(const SharedMemory& shared, unsigned consumer)
      : first_(reinterpret_cast<const std::byte*>(shared.stages[0].left[consumer])) {}

  /// Differences are exact.
  __device__ void load(unsigned stage) {
    const std::byte* const numbers = first_ + stage * sizeof(Stage);
    const unsigned row = threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4, term = threadIdx.x % 4 * 2;
#pragma unroll
    for (unsigned i = 0; i < 4 * kSteps; ++i) {
      float2 pair = pairOf(numbers, row + i % 2 * 8, term + i / 2 * 8);
#pragma unroll
      for (auto& part : parts_) {
        const __nv_bfloat162 both = __float22bfloat162_rn(pair);
        part[i / 4][i % 4] = *reinterpret_cast<const std::uint32_t*>(&both);
        const float2 taken = __bfloat1622float2(both);
        pair = {pair.x - taken.x, pair.y - taken.y};
      }
    }
  }

  template <Tile kRight>
  __device__ void multiply(float (&sum)[64], unsigned, unsigned part, unsigned n, std::uint32_t right,
                           bool isAdded) const {
    hopper::multiplyTiles<kRight>(sum, parts_[part][n], right, isAdded);
  }

 private:
  static constexpr unsigned kSteps = kDepth / 16;

  /// Two terms that are neighbours.
  __device__ static float2 pairOf(const std::byte* numbers, unsigned row, unsigned term) {
    const auto at = [&](unsigned line, unsigned column) {
      return numbers + line * 128 + (column / 4 ^ line % 8) * 16 + column % 4 * 4;
    };
    if constexpr (kTile == Tile::termsSideBySide) return *reinterpret_cast<const float2*>(at(row, term));
    const auto number = [&](unsigned t) {
      return *reinterpret_cast<const float*>(at(t, row % 32) + row / 32 * kHalfBytes);
    };
    return {number(term), number(term + 1)};
  }

  const std::byte* first_;
  std::uint32_t parts_[kParts][kSteps][4];
};

/// Both factors of the stages, for a consumer.
template <class LeftRows, Tile kRight>
class Factors {
 public:
  __device__ Factors(const SharedMemory& shared, unsigned consumer)
      : left_(shared, consumer), right_(hopper::describeAddress<kRight, kHalfBytes>(shared.stages[0].right)) {}

  __device__ void load(unsigned stage) { left_.load(stage); }

  /// sum = or += the product of two parts of a stage, which has been loaded.
  __device__ void multiply(float (&sum)[64], unsigned stage, unsigned leftPart, unsigned rightPart,
                           bool isAdded = true) const {
    const std::uint32_t right =
        right_ + stage * hopper::describeDistance(sizeof(Stage)) + rightPart * hopper::describeDistance(kPartBytes);
#pragma unroll
    for (unsigned n = 0; n < kDepth / 16; ++n) {
      left_.template multiply<kRight>(sum, stage, leftPart, n, right + n * hopper::kNextTerms<kRight>,
                                      isAdded || n > 0);
    }
  }

  /// sum += the products that are not the leading one.
  __device__ void multiplySmall(float (&sum)[64], unsigned stage) const {
    multiply(sum, stage, 0, 2);
    multiply(sum, stage, 0, 1);
    multiply(sum, stage, 2, 0);
    multiply(sum, stage, 1, 1);
    multiply(sum, stage, 1, 0);
  }

 private:
  LeftRows left_;
  std::uint32_t right_;
};

#endif

}  // namespace metalloid::cuda::splitting
