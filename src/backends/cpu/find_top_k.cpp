// MatrixFindTopK: the rows are shared out among the threads, each of which runs the reference on its own.

#include "operations/find_top_k.hpp"

#include "backends/cpu/kernels.hpp"
#include "backends/reference/kernels.hpp"

namespace metalloid::cpu {

void runThreads(const operations::MatrixFindTopK& operation, Context& context) {
  constexpr std::size_t kRowsPerTask = 16;
  for (std::size_t k = 0; k < operation.input.matrices; ++k) {
    context.pool.parallelForBlocks(BlockSplit(operation.input.rows, kRowsPerTask), [&](BlockRange range) {
      operations::MatrixFindTopK part = operation;
      for (auto* const view : {&part.input, &part.resultIndices, &part.resultValues}) {
        *view = view->matrix(k);
        view->data = view->row(range.begin);
        view->rows = range.size();
      }
      reference::run(part);
    });
  }
}

}  // namespace metalloid::cpu
