#include "operations/cnn_upsampling.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <vector>

namespace metalloid::reference {
namespace {

/// Calls f(y, x, weight) for the source pixels of output (i, j).
template <class F>
void forEachTap(const operations::UpsamplingAxis& y, const operations::UpsamplingAxis& x, std::size_t height,
                std::size_t width, std::size_t i, std::size_t j, F&& f) {
  const auto rows = y.taps(i, height), columns = x.taps(j, width);
  f(rows.low, columns.low, (1 - rows.weight) * (1 - columns.weight));
  if (!y.isBilinear) return;
  f(rows.low, columns.high, (1 - rows.weight) * columns.weight);
  f(rows.high, columns.low, rows.weight * (1 - columns.weight));
  f(rows.high, columns.high, rows.weight * columns.weight);
}

}  // namespace

void run(const operations::CNNUpsampling& operation) {
  const auto& source = operation.source;
  forEachElement(operation.result, [&](std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    double sum = 0;
    forEachTap(operation.y, operation.x, source.height, source.width, i, j,
               [&](std::size_t y, std::size_t x, double weight) {
                 if (weight != 0) sum += weight * at(source, n, y, x, c);
               });
    set(operation.result, n, i, j, c, sum);
  });
}

void run(const operations::CNNUpsamplingGradient& operation) {
  const auto& result = operation.result;
  std::vector<double> sums(result.images * result.pixels() * result.channels);
  forEachElement(operation.gradient, [&](std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const double g = at(operation.gradient, n, i, j, c);
    forEachTap(operation.y, operation.x, operation.sourceHeight, operation.sourceWidth, i, j,
               [&](std::size_t y, std::size_t x, double weight) {
                 if (weight == 0 || y < operation.resultY || x < operation.resultX) return;
                 const std::size_t v = y - operation.resultY, u = x - operation.resultX;
                 if (v >= result.height || u >= result.width) return;
                 sums[((n * result.height + v) * result.width + u) * result.channels + c] += weight * g;
               });
  });
  std::size_t next = 0;
  forEachElement(result, [&](std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    set(result, n, v, u, c, sums[next++]);
  });
}

}  // namespace metalloid::reference
