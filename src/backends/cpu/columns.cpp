// Column sums of a matrix, and vectors of any type as float32.

#include "backends/cpu/columns.hpp"

#include "backends/cpu/tiles.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/columns.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/column_sums-inl.hpp"
#include "backends/cpu/rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

const float* convert(const operations::VectorView& vector, Scratch& scratch) { return floats(vector, scratch); }

void store(const float* values, const operations::VectorView& vector) {
  if (vector && vector.length > 0) fromFloats(values, vector.length, vector.type, vector.data);
}

void sum(const operations::MatrixView& matrix, const operations::VectorView& result, Context& context) {
  const Tiles tiles(matrix.rows, matrix.columns, kSegment);
  ColumnSums sums(1, tiles, matrix.columns, context.scratch);
  context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
    const auto tile = tiles[index];
    GroupReader reader(matrix);
    float* const partial = sums.begin(0, tile);
    forEachGroup(tile.rows, [&](auto group, std::size_t i) {
      addRows(reader.rows<group.value>(i, tile.columns), reader.ahead(), partial, tile.columns.size());
    });
  });
  sums.store(0, result, context.pool);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(convert);
HWY_EXPORT(store);
HWY_EXPORT(sum);

const float* floatVector(const operations::VectorView& vector, Scratch& scratch) {
  return HWY_DYNAMIC_DISPATCH(convert)(vector, scratch);
}

void storeVector(const float* values, const operations::VectorView& vector) {
  HWY_DYNAMIC_DISPATCH(store)(values, vector);
}

void sumColumns(const operations::MatrixView& matrix, const operations::VectorView& result, Context& context) {
  HWY_DYNAMIC_DISPATCH(sum)(matrix, result, context);
}

}  // namespace metalloid::cpu
#endif
