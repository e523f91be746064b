#include "operations/cnn_convolution.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <vector>

namespace metalloid::reference {
namespace {

using operations::Window;

/// Calls f(q, p, y, x) for every tap of output (j, i) that stands on a pixel, which may lie outside the source.
template <class F>
void forEachTap(const Window& window, std::size_t j, std::size_t i, F&& f) {
  for (std::size_t q = 0; q < window.y.taps; ++q) {
    const auto y = window.y.position(j, q);
    if (!y) continue;
    for (std::size_t p = 0; p < window.x.taps; ++p) {
      if (const auto x = window.x.position(i, p)) f(q, p, *y, *x);
    }
  }
}

/// Where weight [k][q][p][c] stands.
struct WeightOrder {
  const Window& window;
  std::size_t groupChannels;

  std::size_t operator()(std::size_t k, std::size_t q, std::size_t p, std::size_t c) const {
    return ((k * window.y.taps + q) * window.x.taps + p) * groupChannels + c;
  }
};

}  // namespace

void run(const operations::CNNConvolution& o) {
  const std::size_t groupChannels = o.source.channels / o.groups, groupResults = o.result.channels / o.groups;
  const WeightOrder weight{o.window, groupChannels};
  forEachElement(o.result, [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k) {
    const std::size_t first = k / groupResults * groupChannels;
    double sum = at(o.bias, k, 0);
    forEachTap(o.window, j, i, [&](std::size_t q, std::size_t p, std::ptrdiff_t y, std::ptrdiff_t x) {
      for (std::size_t c = 0; c < groupChannels; ++c)
        sum += at(o.weights, weight(k, q, p, c)) * at(o.source, o.edgeMode, n, y, x, first + c);
    });
    set(o.result, n, j, i, k, math::neuronValue(o.neuron, sum, at(o.slopes, k, 0)));
  });
}

void run(const operations::CNNConvolutionGradientForData& o) {
  const std::size_t groupChannels = o.result.channels / o.groups, groupResults = o.gradient.channels / o.groups;
  const WeightOrder weight{o.window, groupChannels};
  const auto place = [&](std::ptrdiff_t position, std::size_t size, std::size_t first, std::size_t count) {
    if (o.edgeMode == ImageEdgeMode::clamp)
      position = std::clamp<std::ptrdiff_t>(position, 0, static_cast<std::ptrdiff_t>(size) - 1);
    position -= static_cast<std::ptrdiff_t>(first);
    return position >= 0 && position < static_cast<std::ptrdiff_t>(count) ? static_cast<std::size_t>(position) : count;
  };
  for (std::size_t n = 0; n < o.result.images; ++n) {
    std::vector<double> sums(o.result.pixels() * o.result.channels);
    for (std::size_t j = 0; j < o.gradient.height; ++j) {
      for (std::size_t i = 0; i < o.gradient.width; ++i) {
        forEachTap(o.window, j, i, [&](std::size_t q, std::size_t p, std::ptrdiff_t y, std::ptrdiff_t x) {
          const std::size_t v = place(y, o.sourceHeight, o.resultY, o.result.height);
          const std::size_t u = place(x, o.sourceWidth, o.resultX, o.result.width);
          if (v == o.result.height || u == o.result.width) return;
          double* const pixel = sums.data() + (v * o.result.width + u) * o.result.channels;
          for (std::size_t k = 0; k < o.gradient.channels; ++k) {
            const double e = at(o.gradient, n, j, i, k);
            for (std::size_t c = 0; c < groupChannels; ++c)
              pixel[k / groupResults * groupChannels + c] += at(o.weights, weight(k, q, p, c)) * e;
          }
        });
      }
    }
    for (std::size_t v = 0; v < o.result.height; ++v) {
      for (std::size_t u = 0; u < o.result.width; ++u) {
        for (std::size_t c = 0; c < o.result.channels; ++c)
          set(o.result, n, v, u, c, sums[(v * o.result.width + u) * o.result.channels + c]);
      }
    }
  }
}

void run(const operations::CNNConvolutionGradientForWeightsAndBias& o) {
  const std::size_t groupChannels = o.source.channels / o.groups, groupResults = o.gradient.channels / o.groups;
  const WeightOrder weight{o.window, groupChannels};
  std::vector<double> sums(o.resultForWeights.length), biasSums(o.gradient.channels);
  forEachElement(o.gradient, [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k) {
    const double e = at(o.gradient, n, j, i, k);
    const std::size_t first = k / groupResults * groupChannels;
    biasSums[k] += e;
    forEachTap(o.window, j, i, [&](std::size_t q, std::size_t p, std::ptrdiff_t y, std::ptrdiff_t x) {
      for (std::size_t c = 0; c < groupChannels; ++c)
        sums[weight(k, q, p, c)] += e * at(o.source, o.edgeMode, n, y, x, first + c);
    });
  });
  const auto add = [&](const operations::VectorView& result, const std::vector<double>& values) {
    if (!result) return;
    for (std::size_t i = 0; i < values.size(); ++i) set(result, i, values[i] + (o.accumulates ? at(result, i) : 0));
  };
  add(o.resultForWeights, sums);
  add(o.resultForBias, biasSums);
}

void run(const operations::CNNSubPixel& o) {
  const std::size_t r = o.factor, channels = o.result.channels;
  forEachElement(o.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(o.result, n, y, x, c, at(o.source, n, y / r, x / r, channels * (r * (y % r) + x % r) + c));
  });
}

}  // namespace metalloid::reference
