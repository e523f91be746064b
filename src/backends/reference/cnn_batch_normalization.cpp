#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/neuron.hpp"

#include <cmath>
#include <vector>

namespace metalloid::reference {
namespace {

/// Calls f(n, y, x) for every pixel.
template <class F>
void forEachPixel(const operations::ImageView& view, F&& f) {
  for (std::size_t n = 0; n < view.images; ++n) {
    for (std::size_t y = 0; y < view.height; ++y) {
      for (std::size_t x = 0; x < view.width; ++x) f(n, y, x);
    }
  }
}

/// What all but the statistics know of channel c.
template <class Operation>
struct Channel {
  Channel(const Operation& ofOperation, std::size_t index)
      : operation(ofOperation),
        c(index),
        mean(at(operation.mean, c)),
        r(1 / std::sqrt(at(operation.variance, c) + static_cast<double>(operation.epsilon))),
        gamma(at(operation.gamma, c, 1)),
        beta(at(operation.beta, c, 0)),
        slope(at(operation.slopes, c, 0)) {}

  double normalized(std::size_t n, std::size_t y, std::size_t x) const {
    return (at(operation.source, n, y, x, c) - mean) * r;
  }
  double result(double xh) const { return math::neuronValue(operation.neuron, gamma * xh + beta, slope); }
  double gradient(std::size_t n, std::size_t y, std::size_t x, double xh) const {
    return at(operation.gradient, n, y, x, c) * math::neuronDerivative(operation.neuron, gamma * xh + beta, slope);
  }

  const Operation& operation;
  std::size_t c;
  double mean, r, gamma, beta, slope;
};

}  // namespace

void run(const operations::CNNBatchNormalizationStatistics& operation) {
  const auto& source = operation.source;
  const auto previous = static_cast<double>(operation.previousCount);
  const auto count = static_cast<double>(source.images * source.pixels());
  for (std::size_t c = 0; c < source.channels; ++c) {
    double mean = 0, squares = 0;
    forEachPixel(source, [&](std::size_t n, std::size_t y, std::size_t x) { mean += at(source, n, y, x, c); });
    if (count > 0) mean /= count;
    forEachPixel(source, [&](std::size_t n, std::size_t y, std::size_t x) {
      const double deviation = at(source, n, y, x, c) - mean;
      squares += deviation * deviation;
    });
    const double total = previous + count;
    if (previous > 0) {
      const double delta = mean - at(operation.mean, c);
      mean = at(operation.mean, c) + delta * count / total;
      squares += at(operation.variance, c) * previous + delta * delta * previous * count / total;
    }
    set(operation.mean, c, mean);
    set(operation.variance, c, total > 0 ? squares / total : 0);
  }
}

void run(const operations::CNNBatchNormalization& operation) {
  for (std::size_t c = 0; c < operation.source.channels; ++c) {
    const Channel channel(operation, c);
    forEachPixel(operation.source, [&](std::size_t n, std::size_t y, std::size_t x) {
      set(operation.result, n, y, x, c, channel.result(channel.normalized(n, y, x)));
    });
  }
}

void run(const operations::CNNBatchNormalizationStatisticsGradient& operation) {
  for (std::size_t c = 0; c < operation.source.channels; ++c) {
    const Channel channel(operation, c);
    double forGamma = operation.accumulates ? at(operation.resultForGamma, c) : 0;
    double forBeta = operation.accumulates ? at(operation.resultForBeta, c) : 0;
    forEachPixel(operation.source, [&](std::size_t n, std::size_t y, std::size_t x) {
      const double xh = channel.normalized(n, y, x), g = channel.gradient(n, y, x, xh);
      forGamma += g * xh;
      forBeta += g;
    });
    set(operation.resultForGamma, c, forGamma);
    set(operation.resultForBeta, c, forBeta);
  }
}

void run(const operations::CNNBatchNormalizationGradient& operation) {
  const auto count = static_cast<double>(operation.count);
  for (std::size_t c = 0; c < operation.source.channels; ++c) {
    const Channel channel(operation, c);
    const double meanG = operation.count > 0 ? at(operation.gradientForBeta, c) / count : 0;
    const double meanGXh = operation.count > 0 ? at(operation.gradientForGamma, c) / count : 0;
    forEachPixel(operation.source, [&](std::size_t n, std::size_t y, std::size_t x) {
      const double xh = channel.normalized(n, y, x), g = channel.gradient(n, y, x, xh);
      set(operation.result, n, y, x, c, channel.gamma * channel.r * (g - meanG - xh * meanGXh));
    });
  }
}

}  // namespace metalloid::reference
