#include "operations/find_top_k.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace metalloid::reference {

void run(const operations::MatrixFindTopK& operation) {
  for (std::size_t m = 0; m < operation.input.matrices; ++m) {
    const auto input = operation.input.matrix(m);
    const auto indices = operation.resultIndices.matrix(m), values = operation.resultValues.matrix(m);
    std::vector<std::size_t> columns(input.columns);
    for (std::size_t i = 0; i < input.rows; ++i) {
      std::iota(columns.begin(), columns.end(), std::size_t{0});
      // A total order, so that the result does not depend on the algorithm: larger first, numbers before NaN, then the
      // lower column.
      std::ranges::sort(columns, [&](std::size_t a, std::size_t b) {
        const double x = at(input, i, a), y = at(input, i, b);
        if (std::isnan(x) != std::isnan(y)) return std::isnan(y);
        if (x > y || x < y) return x > y;
        return a < b;
      });
      for (std::size_t n = 0; n < operation.k; ++n) {
        set(values, i, n, at(input, i, columns[n]));
        set(indices, i, n, static_cast<double>(columns[n] + operation.indexOffset));
      }
    }
  }
}

}  // namespace metalloid::reference
