#include "operations/find_top_k.hpp"

#include "backends/cuda/elements.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::MatrixFindTopK;

struct Entry {
  double value;
  std::uint64_t column;
};

/// A total order: larger first, numbers before NaN, then the lower column.
__device__ bool comesBefore(const Entry& a, const Entry& b) {
  if (isnan(a.value) != isnan(b.value)) return isnan(b.value);
  if (a.value > b.value || a.value < b.value) return a.value > b.value;
  return a.column < b.column;
}

/// One warp a row; each of the k rounds finds the first entry after that of the round before.
void runRounds(const MatrixFindTopK& o, Context& context) {
  constexpr std::uint64_t kNoColumn = ~std::uint64_t{0};
  forEachRow(context, extentOf(o.input), [o] __device__(std::size_t k, std::size_t i, unsigned lane) {
    Entry previous = {0, kNoColumn};
    for (std::size_t n = 0; n < o.k; ++n) {
      Entry best = {0, kNoColumn};
      const auto take = [&](const Entry& entry) {
        if (entry.column == kNoColumn) return;
        if (best.column == kNoColumn || comesBefore(entry, best)) best = entry;
      };
      for (std::size_t j = lane; j < o.input.columns; j += 32) {
        const Entry entry = {at(o.input, k, i, j), j};
        if (n == 0 || comesBefore(previous, entry)) take(entry);
      }
      for (int offset = 16; offset > 0; offset /= 2) {
        take({__shfl_xor_sync(0xffffffffu, best.value, offset), __shfl_xor_sync(0xffffffffu, best.column, offset)});
      }
      if (lane == 0 && best.column != kNoColumn) {
        set(o.resultValues, k, i, n, best.value);
        set(o.resultIndices, k, i, n, static_cast<double>(best.column + o.indexOffset));
      }
      previous = best;
    }
  });
}

constexpr std::array<Candidate<MatrixFindTopK>, 1> kCandidates = {{{"warp a row, k rounds", acceptsAll, runRounds}}};

}  // namespace

void run(const MatrixFindTopK& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
