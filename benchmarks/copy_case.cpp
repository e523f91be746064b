#include <limits>

#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

/// The plainest use of memory there is: the ceiling for what memory bounds.
Case copyCase(Operands operands, const Problem& problem) {
  problem.requireSizes(2);
  const std::size_t rows = problem.sizes[0], columns = problem.sizes[1];
  const Matrix x = operands.matrix("x", rows, columns), y = operands.result("y", rows, columns);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.bytes = 2 * result.operands.bytes(rows * columns);
  const MatrixCopy kernel(x.device(), {.copyRows = rows, .copyColumns = columns});
  const MatrixCopyDescriptor descriptor({.sourceMatrix = x, .destinationMatrix = y});
  result.encode = [=](CommandBuffer& commands) { kernel.encode(commands, {.copyDescriptor = descriptor}); };
  result.error = [=] { return x.read<float>() == y.read<float>() ? 0.0 : std::numeric_limits<double>::infinity(); };
  return result;
}

}  // namespace benchmark_program
