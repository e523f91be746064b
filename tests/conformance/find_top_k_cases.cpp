#include "conformance/cases.hpp"

#include <metalloid/matrix_find_top_k.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace metalloid::conformance {
namespace {

void findTopK(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  // Few different values, so that many are equal, and some NaN.
  const auto& x = t.matrix("inputMatrix", n, c, {.type = t.types().matrix, .values = [&] {
                                                   return t.random().below(10) == 0
                                                              ? std::numeric_limits<double>::quiet_NaN()
                                                              : static_cast<double>(t.random().below(9)) - 4;
                                                 }});
  const std::size_t count = std::min<std::size_t>(c, t.random().coin() ? 3 : 20);
  auto& values = t.result("resultValueMatrix", n, count);
  auto& indices =
      t.matrix("resultIndexMatrix", n, count, {.type = DataType::uInt32, .isResult = true, .origin = values.origin});

  MatrixFindTopK kernel(t.device(), count);
  kernel.sourceRows = t.limit(n);
  kernel.sourceColumns = t.limit(c);
  kernel.indexOffset = t.random().below(100);
  kernel.sourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = values.origin;
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands,
                  {.inputMatrix = x.matrix, .resultIndexMatrix = indices.matrix, .resultValueMatrix = values.matrix});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<bool> isTaken(c);
      for (std::size_t place = 0; place < count; ++place) {
        std::size_t best = c;
        for (std::size_t j = 0; j < c; ++j) {
          if (isTaken[j]) continue;
          const double value = x.at(k, i, j);
          if (best == c || value > x.at(k, i, best) || (std::isnan(x.at(k, i, best)) && !std::isnan(value))) best = j;
        }
        isTaken[best] = true;
        t.expect(values, k, i, place, x.at(k, i, best));
        t.expect(indices, k, i, place, static_cast<double>(best + kernel.indexOffset));
      }
    }
  }
}

}  // namespace

std::vector<Case> findTopKCases() {
  return {{"FindTopK", findTopK, kSmallMatrices, kLargeMatrices, 0, Matrices::batch, kMatrixTypes}};
}

}  // namespace metalloid::conformance
