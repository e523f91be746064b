#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

namespace metalloid::reference {
namespace {

using operations::Window;

/// Calls f(y, x) with the source position of every tap of output pixel (y, x).
template <class F>
void forEachTap(const Window& window, std::size_t y, std::size_t x, F&& f) {
  for (std::size_t q = 0; q < window.y.taps; ++q) {
    for (std::size_t p = 0; p < window.x.taps; ++p) f(*window.y.position(y, q), *window.x.position(x, p));
  }
}

/// What a window holds around its centre.
struct Neighbourhood {
  double centre = 0;
  double mean = 0;
  double meanSquare = 0;
  double variance = 0;
};

template <class Operation>
Neighbourhood neighbourhood(const Operation& o, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
  const auto count = static_cast<double>(o.window.x.taps * o.window.y.taps);
  Neighbourhood found;
  found.centre = at(o.source, o.edgeMode, n, *o.window.y.position(y, o.window.y.taps / 2),
                    *o.window.x.position(x, o.window.x.taps / 2), c);
  forEachTap(o.window, y, x, [&](std::ptrdiff_t v, std::ptrdiff_t u) {
    const double value = at(o.source, o.edgeMode, n, v, u, c);
    found.mean += value / count;
    found.meanSquare += value * value / count;
  });
  forEachTap(o.window, y, x, [&](std::ptrdiff_t v, std::ptrdiff_t u) {
    const double distance = at(o.source, o.edgeMode, n, v, u, c) - found.mean;
    found.variance += distance * distance / count;
  });
  return found;
}

/// Gradients of an image's source, collected output by output; the edge mode says who receives what falls outside.
template <class Operation>
class SourceGradient {
 public:
  explicit SourceGradient(const Operation& operation)
      : o_(operation), values_(o_.result.pixels() * o_.result.channels) {}

  void add(std::ptrdiff_t y, std::ptrdiff_t x, std::size_t c, double value) {
    const auto height = static_cast<std::ptrdiff_t>(o_.source.height),
               width = static_cast<std::ptrdiff_t>(o_.source.width);
    if (o_.edgeMode == ImageEdgeMode::clamp) {
      y = std::clamp<std::ptrdiff_t>(y, 0, height - 1);
      x = std::clamp<std::ptrdiff_t>(x, 0, width - 1);
    } else if (y < 0 || y >= height || x < 0 || x >= width) {
      return;
    }
    const std::size_t v = static_cast<std::size_t>(y) - o_.resultY, u = static_cast<std::size_t>(x) - o_.resultX;
    if (v < o_.result.height && u < o_.result.width) at(v, u, c) += value;  // what lies before has wrapped around
  }

  void store(std::size_t n) const {
    for (std::size_t y = 0; y < o_.result.height; ++y) {
      for (std::size_t x = 0; x < o_.result.width; ++x) {
        for (std::size_t c = 0; c < o_.result.channels; ++c)
          set(o_.result, n, y, x, c, values_[(y * o_.result.width + x) * o_.result.channels + c]);
      }
    }
  }

 private:
  double& at(std::size_t y, std::size_t x, std::size_t c) {
    return values_[(y * o_.result.width + x) * o_.result.channels + c];
  }

  const Operation& o_;
  std::vector<double> values_;
};

/// Calls f(collected, n, y, x, c) for every output, image by image.
template <class Operation, class F>
void collectGradient(const Operation& o, F&& f) {
  for (std::size_t n = 0; n < o.gradient.images; ++n) {
    SourceGradient<Operation> collected(o);
    for (std::size_t y = 0; y < o.gradient.height; ++y) {
      for (std::size_t x = 0; x < o.gradient.width; ++x) {
        for (std::size_t c = 0; c < o.gradient.channels; ++c) f(collected, n, y, x, c);
      }
    }
    collected.store(n);
  }
}

/// The mean square of the channels around channel k.
template <class Operation>
double channelMeanSquare(const Operation& o, std::size_t n, std::size_t y, std::size_t x, std::size_t k) {
  double sum = 0;
  for (std::size_t q = k - std::min(k, o.kernelSize / 2); q <= k + (o.kernelSize - 1) / 2 && q < o.source.channels; ++q)
    sum += at(o.source, n, y, x, q) * at(o.source, n, y, x, q);
  return sum / static_cast<double>(o.kernelSize);
}

}  // namespace

void run(const operations::CNNSpatialNormalization& o) {
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  forEachElement(o.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto around = neighbourhood(o, n, y, x, c);
    set(o.result, n, y, x, c, around.centre * std::pow(delta + alpha * around.meanSquare, -beta));
  });
}

void run(const operations::CNNSpatialNormalizationGradient& o) {
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  const auto count = static_cast<double>(o.window.x.taps * o.window.y.taps);
  collectGradient(o, [&](auto& collected, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto around = neighbourhood(o, n, y, x, c);
    const double t = delta + alpha * around.meanSquare, g = at(o.gradient, n, y, x, c);
    // y = x * T^(-beta): the product rule, tap by tap.
    collected.add(*o.window.y.position(y, o.window.y.taps / 2), *o.window.x.position(x, o.window.x.taps / 2), c,
                  g * std::pow(t, -beta));
    const double forT = -beta * g * around.centre * std::pow(t, -beta - 1);
    forEachTap(o.window, y, x, [&](std::ptrdiff_t v, std::ptrdiff_t u) {
      collected.add(v, u, c, forT * alpha * 2 * at(o.source, o.edgeMode, n, v, u, c) / count);
    });
  });
}

void run(const operations::CNNLocalContrastNormalization& o) {
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  const double p0 = double{o.p0}, pm = double{o.pm}, ps = double{o.ps};
  forEachElement(o.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto around = neighbourhood(o, n, y, x, c);
    const double t = delta + alpha * around.variance;
    set(o.result, n, y, x, c, pm + ps * (around.centre - p0 * around.mean) * std::pow(t, -beta));
  });
}

void run(const operations::CNNLocalContrastNormalizationGradient& o) {
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  const double p0 = double{o.p0}, ps = double{o.ps};
  const auto count = static_cast<double>(o.window.x.taps * o.window.y.taps);
  collectGradient(o, [&](auto& collected, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto around = neighbourhood(o, n, y, x, c);
    const double t = delta + alpha * around.variance, g = ps * at(o.gradient, n, y, x, c);
    const double forCentre = g * std::pow(t, -beta);
    const double forT = -beta * g * (around.centre - p0 * around.mean) * std::pow(t, -beta - 1);
    collected.add(*o.window.y.position(y, o.window.y.taps / 2), *o.window.x.position(x, o.window.x.taps / 2), c,
                  forCentre);
    forEachTap(o.window, y, x, [&](std::ptrdiff_t v, std::ptrdiff_t u) {
      // d mean = 1 / count; d variance = 2 (x - mean) / count
      const double distance = at(o.source, o.edgeMode, n, v, u, c) - around.mean;
      collected.add(v, u, c, (-p0 * forCentre + forT * alpha * 2 * distance) / count);
    });
  });
}

void run(const operations::CNNCrossChannelNormalization& o) {
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  forEachElement(o.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t k) {
    const double l = delta + alpha * channelMeanSquare(o, n, y, x, k);
    set(o.result, n, y, x, k, at(o.source, n, y, x, k) * std::pow(l, -beta));
  });
}

void run(const operations::CNNCrossChannelNormalizationGradient& o) {
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  const std::size_t channels = o.source.channels;
  for (std::size_t n = 0; n < o.result.images; ++n) {
    for (std::size_t y = 0; y < o.result.height; ++y) {
      for (std::size_t x = 0; x < o.result.width; ++x) {
        std::vector<double> collected(channels);
        for (std::size_t k = 0; k < channels; ++k) {
          const double l = delta + alpha * channelMeanSquare(o, n, y, x, k), g = at(o.gradient, n, y, x, k);
          const double forL = -beta * g * at(o.source, n, y, x, k) * std::pow(l, -beta - 1);
          collected[k] += g * std::pow(l, -beta);
          const std::size_t first = k - std::min(k, o.kernelSize / 2);
          for (std::size_t q = first; q <= k + (o.kernelSize - 1) / 2 && q < channels; ++q)
            collected[q] += forL * alpha * 2 * at(o.source, n, y, x, q) / static_cast<double>(o.kernelSize);
        }
        for (std::size_t k = 0; k < channels; ++k) set(o.result, n, y, x, k, collected[k]);
      }
    }
  }
}

}  // namespace metalloid::reference
