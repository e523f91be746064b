// MatrixSum without transposition: one pass that reads every source and writes the result.

#include "operations/sum.hpp"

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/tiles.hpp"
#include "backends/execution_checks.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/sum.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

void runSum(const operations::MatrixSum& operation, Context& context) {
  const auto* const scale = reinterpret_cast<const float*>(operation.scale.data);
  const float* const bias = floats(operation.bias, context.scratch);

  // Each source from its offset on.
  std::vector<operations::MatrixView> sources = operation.sources;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const auto offset = backends::sourceOffset(operation, s);
    sources[s].data = sources[s].row(offset.row) + offset.column * sizeOfDataType(sources[s].type);
  }

  const Tiles tiles(operation.rows, operation.columns, kSegment);
  context.pool.parallelFor(tiles.count(), [&](std::size_t index) {
    const auto tile = tiles[index];
    const std::size_t count = tile.columns.size();
    RowWriter writer(operation.result);
    alignas(64) float sum[kSegment];
    for (std::size_t i = tile.rows.begin; i < tile.rows.end; ++i) {
      std::memset(sum, 0, sizeof(sum));
      for (std::size_t s = 0; s < sources.size(); ++s) {
        RowReader reader(sources[s]);
        const float* const row = reader.row(i, tile.columns);
        const auto factor = hn::Set(FloatTag(), scale ? scale[s] : 1.0f);
        forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
          storeSome(hn::MulAdd(factor, loadSome(row + j, n), loadSome(sum + j, n)), sum + j, n);
        });
      }
      if (bias) {
        forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
          storeSome(hn::Add(loadSome(sum + j, n), loadSome(bias + tile.columns.begin + j, n)), sum + j, n);
        });
      }
      if (operation.neuron.type != CNNNeuronType::none) applyNeuron(operation.neuron, sum, count);
      std::memcpy(writer.row(i, tile.columns), sum, count * sizeof(float));
      writer.finish(i, tile.columns);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runSum);

const char* refusesSimd(const operations::MatrixSum& operation, const Context&) {
  return operation.transpose ? "the sum is transposed" : nullptr;
}

void runSimd(const operations::MatrixSum& operation, Context& context) {
  backends::checkOffsets(operation);
  HWY_DYNAMIC_DISPATCH(runSum)(operation, context);
}

}  // namespace metalloid::cpu
#endif
