#include "operations/cnn_softmax.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <algorithm>
#include <cmath>

namespace metalloid::reference {
namespace {

template <class F>
void forEachPixel(const operations::ImageView& view, F&& f) {
  for (std::size_t n = 0; n < view.images; ++n) {
    for (std::size_t y = 0; y < view.height; ++y) {
      for (std::size_t x = 0; x < view.width; ++x) f(n, y, x);
    }
  }
}

}  // namespace

void run(const operations::CNNSoftMax& operation) {
  const auto& source = operation.source;
  forEachPixel(source, [&](std::size_t n, std::size_t y, std::size_t x) {
    double maximum = at(source, n, y, x, 0), sum = 0;
    for (std::size_t c = 1; c < source.channels; ++c) maximum = std::max(maximum, at(source, n, y, x, c));
    for (std::size_t c = 0; c < source.channels; ++c) sum += std::exp(at(source, n, y, x, c) - maximum);
    for (std::size_t c = 0; c < source.channels; ++c) {
      const double shifted = at(source, n, y, x, c) - maximum;
      set(operation.result, n, y, x, c, operation.isLogarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
    }
  });
}

void run(const operations::CNNSoftMaxGradient& operation) {
  const auto &gradient = operation.gradient, &output = operation.forwardResult;
  forEachPixel(gradient, [&](std::size_t n, std::size_t y, std::size_t x) {
    double sum = 0;
    for (std::size_t c = 0; c < gradient.channels; ++c)
      sum += at(gradient, n, y, x, c) * (operation.isLogarithm ? 1 : at(output, n, y, x, c));
    for (std::size_t c = 0; c < gradient.channels; ++c) {
      const double g = at(gradient, n, y, x, c), s = at(output, n, y, x, c);
      set(operation.result, n, y, x, c, operation.isLogarithm ? g - std::exp(s) * sum : s * (g - sum));
    }
  });
}

}  // namespace metalloid::reference
