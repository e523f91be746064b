#pragma once

#include <cstddef>
#include <optional>

#include "backends/cpu/gemm.hpp"
#include "backends/cpu/thread_pool.hpp"

namespace metalloid::cpu {

constexpr std::size_t ceilingQuotient(std::size_t a, std::size_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// How a product is cut, from large to small:
//
//   slices   of the inner dimension, where the result alone is too small to keep many threads busy: each slice makes a
//            partial result, and these are added in order;
//   tasks    rectangles of the result, each computed by one thread on its own, with its own packed factors;
//   blocks   of a task's columns times one inner block: this part of the right factor is packed and stays in L2;
//   tiles    some rows times some vectors of columns, whose sums live in registers over one inner block.
//
// Slices and inner blocks fix the order of each sum and follow from the problem alone. Tasks depend on the number of
// threads, which is fine: a sum does not know in which rectangle it is computed.

/// The largest register tile of an instruction set: rows x (vectors * lanes) columns.
struct TileShape {
  std::size_t rows;
  std::size_t vectors;
  std::size_t lanes;

  constexpr std::size_t columns() const { return vectors * lanes; }
};

/// An inner block is at most this long, so that a packed strip of the left factor (8 x 512 floats) and the strip of the
/// right factor that meets it pass through L1 together.
inline constexpr std::size_t kMaximumInnerBlock = 512;

/// Floats in the packed block of the right factor: 512 KiB, half of the smallest L2 that matters for 512-bit vectors.
inline constexpr std::size_t kRightBlockFloats = 128 * 1024;

/// Rows of the left factor that are packed or converted at once; they are then read from L3, one strip at a time.
inline constexpr std::size_t kLeftBlockRows = 1024;

/// Space between converted rows, so that the rows of a tile do not compete for the same cache sets.
inline constexpr std::size_t kLeftRowPadding = 16;
inline constexpr std::size_t kLeftBlockFloats = kLeftBlockRows * (kMaximumInnerBlock + kLeftRowPadding);

/// The float32 image of a part of a 16-bit result.
inline constexpr std::size_t kStagedRows = 128;
inline constexpr std::size_t kStagedColumns = 512;
inline constexpr std::size_t kStagedFloats = kStagedRows * kStagedColumns;

inline constexpr std::size_t kScratchFloats = kRightBlockFloats + kLeftBlockFloats + kStagedFloats;

/// Partial results of all slices together take at most this many floats (1 MiB).
inline constexpr std::size_t kMaximumPartialFloats = 256 * 1024;

struct GemmPlan {
  TileShape tile{};
  std::size_t innerBlock = 0;      ///< Length of an inner block; the last one may be shorter.
  std::size_t slices = 1;          ///< Partial results.
  std::size_t blocksPerSlice = 0;  ///< Inner blocks in a slice.
  std::size_t columnBlock = 0;     ///< Columns of a packed block, a multiple of the lanes.
  BlockSplit rows{0, 1};           ///< Rows of the tasks.
  BlockSplit columns{0, 1};        ///< Columns of the tasks.

  std::size_t tasks() const { return slices * rows.count() * columns.count(); }
};

GemmPlan planGemm(const Gemm& problem, const TileShape& tile, unsigned threads);

/// A product of which the result is a single row or column, seen as matrix times vector.
struct VectorProduct {
  const void* matrix;
  std::size_t stride;
  bool outputsAreRows;  ///< Whether a stored row of the matrix makes one element of the result, or a part of each.
  const void* vector;
  std::size_t vectorStride;
  std::size_t outputs;
  std::size_t slices;       ///< Partial results, as above.
  std::size_t sliceLength;  ///< Along the inner dimension.
  BlockSplit tasks{0, 1};   ///< Outputs of the tasks of each slice.
};

/// Whether the product is one of matrix and vector that this way is made for, and how it is cut.
std::optional<VectorProduct> planVectorProduct(const Gemm& problem, unsigned threads);

/// Cuts `count` things into the fewest parts of at most `maximum`, of sizes that differ by at most one.
class EvenParts {
 public:
  constexpr EvenParts(std::size_t count, std::size_t maximum)
      : parts_((count + maximum - 1) / maximum),
        size_(parts_ == 0 ? 0 : count / parts_),
        larger_(parts_ == 0 ? 0 : count % parts_) {}

  constexpr std::size_t count() const { return parts_; }
  constexpr std::size_t begin(std::size_t part) const { return part * size_ + (part < larger_ ? part : larger_); }
  constexpr std::size_t size(std::size_t part) const { return size_ + (part < larger_ ? 1 : 0); }

 private:
  std::size_t parts_;
  std::size_t size_;
  std::size_t larger_;
};

}  // namespace metalloid::cpu
