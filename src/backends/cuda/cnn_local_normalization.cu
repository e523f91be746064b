#include "operations/cnn_local_normalization.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"
#include "backends/cuda/windows.cuh"

namespace metalloid::cuda {
namespace {

using operations::CNNCrossChannelNormalization;
using operations::CNNCrossChannelNormalizationGradient;
using operations::CNNLocalContrastNormalization;
using operations::CNNLocalContrastNormalizationGradient;
using operations::CNNSpatialNormalization;
using operations::CNNSpatialNormalizationGradient;

/// What a window holds around its centre.
struct Neighbourhood {
  double centre = 0, mean = 0, meanSquare = 0, variance = 0;
};

/// A source under windows of step 1.
struct Neighbours {
  Images source;
  Window window;
  ImageEdgeMode edgeMode;

  __device__ static std::ptrdiff_t position(const WindowAxis& axis, std::size_t output, std::size_t tap) {
    return axis.step * static_cast<std::ptrdiff_t>(output) + axis.base +
           axis.tapStep * static_cast<std::ptrdiff_t>(tap);
  }

  template <class F>
  __device__ void forEachTap(std::size_t n, std::size_t i, std::size_t j, std::size_t c, F&& f) const {
    for (std::size_t q = 0; q < window.y.taps; ++q) {
      for (std::size_t p = 0; p < window.x.taps; ++p)
        f(at(source, edgeMode, n, position(window.y, i, q), position(window.x, j, p), c));
    }
  }

  __device__ double count() const { return static_cast<double>(window.x.taps * window.y.taps); }

  __device__ Neighbourhood around(std::size_t n, std::size_t i, std::size_t j, std::size_t c) const {
    Neighbourhood found;
    found.centre =
        at(source, edgeMode, n, position(window.y, i, window.y.taps / 2), position(window.x, j, window.x.taps / 2), c);
    forEachTap(n, i, j, c, [&](double value) {
      found.mean += value / count();
      found.meanSquare += value * value / count();
    });
    forEachTap(n, i, j, c, [&](double value) {
      const double distance = value - found.mean;
      found.variance += distance * distance / count();
    });
    return found;
  }
};

template <class Operation>
Neighbours neighboursOf(const Operation& o, Context& context) {
  return {imagesOf(o.source, context), o.window, o.edgeMode};
}

void runSpatial(const CNNSpatialNormalization& o, Context& context) {
  const Neighbours neighbours = neighboursOf(o, context);
  const Images result = imagesOf(o.result, context);
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const auto around = neighbours.around(n, i, j, c);
    set(result, n, i, j, c, around.centre * pow(delta + alpha * around.meanSquare, -beta));
  });
}

void runContrast(const CNNLocalContrastNormalization& o, Context& context) {
  const Neighbours neighbours = neighboursOf(o, context);
  const Images result = imagesOf(o.result, context);
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  const double p0 = double{o.p0}, pm = double{o.pm}, ps = double{o.ps};
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const auto around = neighbours.around(n, i, j, c);
    const double t = delta + alpha * around.variance;
    set(result, n, i, j, c, pm + ps * (around.centre - p0 * around.mean) * pow(t, -beta));
  });
}

/// What an output gives the pixels of its window: `forCentre` to its centre, and forTap + perValue * value to every
/// tap.
struct Gift {
  double forCentre, forTap, perValue;
};

/// Gathers the gradient of every pixel of the result from the outputs whose windows hold it.
template <class Operation>
void gather(const Operation& o, const Neighbours& neighbours, const Images& gradient, const Gift* gifts,
            Context& context) {
  const Images result = imagesOf(o.result, context);
  const std::size_t firstY = o.resultY, firstX = o.resultX;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    const Images& source = neighbours.source;
    const Window& window = neighbours.window;
    const std::size_t y = v + firstY, x = u + firstX;
    double sum = 0;
    if (y < source.height && x < source.width) {
      const double value = at(source, n, y, x, c);
      const ReversedWindow reversed{window,       neighbours.edgeMode, source.height,
                                    source.width, gradient.height,     gradient.width};
      reversed.forEachReader(y, x, [&](std::size_t q, std::size_t p, std::size_t i, std::size_t j) {
        const bool isCentre = q == window.y.taps / 2 && p == window.x.taps / 2;
        const Gift gift = gifts[((n * gradient.height + i) * gradient.width + j) * gradient.channels + c];
        sum += gift.forTap + gift.perValue * value + (isCentre ? gift.forCentre : 0);
      });
    }
    set(result, n, v, u, c, sum);
  });
}

void runSpatialGradient(const CNNSpatialNormalizationGradient& o, Context& context) {
  const Neighbours neighbours = neighboursOf(o, context);
  const Images gradient = imagesOf(o.gradient, context);
  auto* const gifts = context.scratch<Gift>(gradient.elements());
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  forEachElement(context, gradient, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const auto around = neighbours.around(n, i, j, c);
    // y = x * T^(-beta): the product rule, tap by tap.
    const double t = delta + alpha * around.meanSquare, g = at(gradient, n, i, j, c);
    const double forT = -beta * g * around.centre * pow(t, -beta - 1);
    gifts[((n * gradient.height + i) * gradient.width + j) * gradient.channels + c] = {
        g * pow(t, -beta), 0, forT * alpha * 2 / neighbours.count()};
  });
  gather(o, neighbours, gradient, gifts, context);
}

void runContrastGradient(const CNNLocalContrastNormalizationGradient& o, Context& context) {
  const Neighbours neighbours = neighboursOf(o, context);
  const Images gradient = imagesOf(o.gradient, context);
  auto* const gifts = context.scratch<Gift>(gradient.elements());
  const double alpha = double{o.alpha}, beta = double{o.beta}, delta = double{o.delta};
  const double p0 = double{o.p0}, ps = double{o.ps};
  forEachElement(context, gradient, [=] __device__(std::size_t n, std::size_t i, std::size_t j, std::size_t c) {
    const auto around = neighbours.around(n, i, j, c);
    const double t = delta + alpha * around.variance, g = ps * at(gradient, n, i, j, c);
    const double forCentre = g * pow(t, -beta);
    const double forT = -beta * g * (around.centre - p0 * around.mean) * pow(t, -beta - 1);
    // d mean = 1 / count; d variance = 2 (x - mean) / count
    const double perValue = forT * alpha * 2 / neighbours.count();
    gifts[((n * gradient.height + i) * gradient.width + j) * gradient.channels + c] = {
        forCentre, -p0 * forCentre / neighbours.count() - perValue * around.mean, perValue};
  });
  gather(o, neighbours, gradient, gifts, context);
}

/// The channels around channel k.
struct Channels {
  std::size_t first, end;
};

__device__ Channels channelsAround(std::size_t k, std::size_t before, std::size_t after, std::size_t channels) {
  return {k - min(k, before), min(k + after + 1, channels)};
}

/// L of channel k.
struct CrossChannel {
  Images source;
  std::size_t kernelSize;
  double alpha, beta, delta;

  __device__ double scale(std::size_t n, std::size_t y, std::size_t x, std::size_t k) const {
    const Channels channels = channelsAround(k, kernelSize / 2, (kernelSize - 1) / 2, source.channels);
    double sum = 0;
    for (std::size_t q = channels.first; q < channels.end; ++q) sum += at(source, n, y, x, q) * at(source, n, y, x, q);
    return delta + alpha * (sum / static_cast<double>(kernelSize));
  }
};

template <class Operation>
CrossChannel crossChannelOf(const Operation& o, Context& context) {
  return {imagesOf(o.source, context), o.kernelSize, double{o.alpha}, double{o.beta}, double{o.delta}};
}

void runCrossChannel(const CNNCrossChannelNormalization& o, Context& context) {
  const CrossChannel cross = crossChannelOf(o, context);
  const Images result = imagesOf(o.result, context);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t k) {
    set(result, n, y, x, k, at(cross.source, n, y, x, k) * pow(cross.scale(n, y, x, k), -cross.beta));
  });
}

void runCrossChannelGradient(const CNNCrossChannelNormalizationGradient& o, Context& context) {
  const CrossChannel cross = crossChannelOf(o, context);
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t q) {
    // The channels k whose neighbours include q.
    const Channels readers = channelsAround(q, (cross.kernelSize - 1) / 2, cross.kernelSize / 2, cross.source.channels);
    const double value = at(cross.source, n, y, x, q);
    double sum = 0;
    for (std::size_t k = readers.first; k < readers.end; ++k) {
      const double l = cross.scale(n, y, x, k), g = at(gradient, n, y, x, k);
      const double forL = -cross.beta * g * at(cross.source, n, y, x, k) * pow(l, -cross.beta - 1);
      sum += forL * cross.alpha * 2 * value / static_cast<double>(cross.kernelSize);
      if (k == q) sum += g * pow(l, -cross.beta);
    }
    set(result, n, y, x, q, sum);
  });
}

}  // namespace

void run(const CNNSpatialNormalization& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNSpatialNormalization, runSpatial>, operation, context, explainer);
}

void run(const CNNSpatialNormalizationGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNSpatialNormalizationGradient, runSpatialGradient>, operation, context, explainer);
}

void run(const CNNLocalContrastNormalization& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNLocalContrastNormalization, runContrast>, operation, context, explainer);
}

void run(const CNNLocalContrastNormalizationGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNLocalContrastNormalizationGradient, runContrastGradient>, operation, context, explainer);
}

void run(const CNNCrossChannelNormalization& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNCrossChannelNormalization, runCrossChannel>, operation, context, explainer);
}

void run(const CNNCrossChannelNormalizationGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNCrossChannelNormalizationGradient, runCrossChannelGradient>, operation, context,
               explainer);
}

}  // namespace metalloid::cuda
