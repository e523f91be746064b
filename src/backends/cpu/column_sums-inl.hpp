// Column sums that a kernel gathers tile by tile.

#if defined(METALLOID_CPU_COLUMN_SUMS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_COLUMN_SUMS_INL
#undef METALLOID_CPU_COLUMN_SUMS_INL
#else
#define METALLOID_CPU_COLUMN_SUMS_INL
#endif

#include "backends/cpu/rows-inl.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/tiles.hpp"

#include <cstddef>
#include <cstring>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

/// Several sums over the rows, one value a column each. Within a tile they are float32 sums of its few rows; over the
/// tiles they are added in double, from top to bottom.
class ColumnSums {
 public:
  ColumnSums(std::size_t kinds, const Tiles& tiles, std::size_t columns, Scratch& scratch)
      : kinds_(kinds), rowBlocks_(tiles.rows().count()), columns_(columns) {
    if (kinds > 0) partial_ = scratch.take<float>(kinds * rowBlocks_ * columns);
  }

  /// The tile's own sums of one kind, set to zero; null when no sums are wanted.
  float* begin(std::size_t kind, const Tiles::Tile& tile) {
    if (kinds_ == 0) return nullptr;
    float* const sums = at(kind, tile.rowBlock) + tile.columns.begin;
    std::memset(sums, 0, tile.columns.size() * sizeof(float));
    return sums;
  }

  /// Column j's sum of one kind.
  double total(std::size_t kind, std::size_t j) const {
    double sum = 0;
    for (std::size_t block = 0; block < rowBlocks_; ++block) sum += static_cast<double>(at(kind, block)[j]);
    return sum;
  }

  /// The sums of `columns`, as float32.
  void totals(std::size_t kind, BlockRange columns, float* to) const {
    const hn::ScalableTag<double> d;
    const hn::Rebind<float, decltype(d)> dFloat;
    const std::size_t lanes = hn::Lanes(d);
    std::size_t j = columns.begin;
    for (; j + lanes <= columns.end; j += lanes) {
      auto sum = hn::Zero(d);
      for (std::size_t block = 0; block < rowBlocks_; ++block) {
        sum = hn::Add(sum, hn::PromoteTo(d, hn::LoadU(dFloat, at(kind, block) + j)));
      }
      hn::StoreU(hn::DemoteTo(dFloat, sum), dFloat, to + (j - columns.begin));
    }
    for (; j < columns.end; ++j) to[j - columns.begin] = static_cast<float>(total(kind, j));
  }

  /// Writes the sums of one kind to a result vector.
  void store(std::size_t kind, const operations::VectorView& vector, ThreadPool& pool) const {
    const BlockSplit split(columns_, kSegment);
    pool.parallelForBlocks(split, [&](BlockRange columns) {
      alignas(64) float sums[kSegment];
      totals(kind, columns, sums);
      fromFloats(sums, columns.size(), vector.type, vector.data + columns.begin * sizeOfDataType(vector.type));
    });
  }

 private:
  float* at(std::size_t kind, std::size_t rowBlock) const {
    return partial_ + (kind * rowBlocks_ + rowBlock) * columns_;
  }

  std::size_t kinds_;
  std::size_t rowBlocks_;
  std::size_t columns_;
  float* partial_ = nullptr;
};

/// Whether a result is so large that it would only push other data out of the caches: then it is written past them,
/// which also saves reading its lines first. Every full vector of such a result is aligned.
HWY_INLINE bool paysToStream(const operations::MatrixView& result) {
  constexpr std::size_t kLarge = std::size_t{16} << 20;
  constexpr std::size_t kAlignment = 64;
  return result.type == DataType::float32 && result.rows * result.rowBytes >= kLarge &&
         result.rowBytes % kAlignment == 0 && reinterpret_cast<std::uintptr_t>(result.data) % kAlignment == 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
