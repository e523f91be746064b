#include "operations/cnn_batch_normalization.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::CNNBatchNormalization;
using operations::CNNBatchNormalizationGradient;
using operations::CNNBatchNormalizationStatistics;
using operations::CNNBatchNormalizationStatisticsGradient;

/// The pixels of all images as rows.
ChannelRows rowsOf(const Images& images) { return {1, images.images * images.pixels(), images.channels}; }

__device__ double atRow(const Images& images, std::size_t row, std::size_t c) {
  const Place place = placeOf(images, row * images.channels, images.elements() <= 0xffffffffu);
  return at(images, place.n, place.y, place.x, c);
}

/// What a channel's sums are taken from: close to its mean, so that nothing cancels.
__device__ double pivot(const Images& source, std::size_t c) {
  const double first = at(source, 0, 0, 0, c);
  return isfinite(first) ? first : 0;
}

void runStatistics(const CNNBatchNormalizationStatistics& o, Context& context) {
  const Images source = imagesOf(o.source, context);
  const VectorView means = o.mean, variances = o.variance;
  const auto previous = static_cast<double>(o.previousCount);
  const auto count = static_cast<double>(source.images * source.pixels());
  // One pass: sums of distances from the pivot, and of their squares, in double precision.
  forEachChannelSum(
      context, rowsOf(source),
      [=] __device__(std::size_t, std::size_t row, std::size_t c) -> double2 {
        const double distance = atRow(source, row, c) - pivot(source, c);
        return {distance, distance * distance};
      },
      [=] __device__(std::size_t, std::size_t c, double2 sum) {
        double mean = count > 0 ? pivot(source, c) + sum.x / count : 0;
        double squares = count > 0 ? sum.y - sum.x * (sum.x / count) : 0;
        if (squares < 0) squares = 0;  // a NaN stays one
        const double total = previous + count;
        if (previous > 0) {
          const double former = at(means, 0, c), delta = mean - former;
          mean = former + delta * count / total;
          squares += at(variances, 0, c) * previous + delta * delta * previous * count / total;
        }
        set(means, 0, c, mean);
        set(variances, 0, c, total > 0 ? squares / total : 0);
      });
}

/// What all but the statistics know of a channel.
struct Normalization {
  Images source, gradient;
  VectorView mean, variance, gamma, beta, slopes;
  double epsilon;
  math::Neuron neuron;

  struct Element {
    double xh, gammaR;
    float z, slope;
  };

  __device__ Element element(double x, std::size_t c) const {
    const double r = 1 / sqrt(at(variance, 0, c) + epsilon), g = atOr(gamma, 0, c, 1);
    const double xh = (x - at(mean, 0, c)) * r;
    return {xh, g * r, static_cast<float>(g * xh + atOr(beta, 0, c, 0)), static_cast<float>(atOr(slopes, 0, c, 0))};
  }

  __device__ double derivative(const Element& element) const {
    return static_cast<double>(neuronDerivative(neuron, element.z, element.slope));
  }
};

template <class Operation>
Normalization normalizationOf(const Operation& o, const Images& gradient, Context& context) {
  return {imagesOf(o.source, context), gradient, o.mean, o.variance, o.gamma, o.beta, o.slopes,
          double{o.epsilon},           o.neuron};
}

void runPlain(const CNNBatchNormalization& o, Context& context) {
  const Normalization normalization = normalizationOf(o, {}, context);
  const Images result = imagesOf(o.result, context);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto element = normalization.element(at(normalization.source, n, y, x, c), c);
    set(result, n, y, x, c, static_cast<double>(neuronValue(normalization.neuron, element.z, element.slope)));
  });
}

void runStatisticsGradient(const CNNBatchNormalizationStatisticsGradient& o, Context& context) {
  const Normalization normalization = normalizationOf(o, imagesOf(o.gradient, context), context);
  const VectorView forGamma = o.resultForGamma, forBeta = o.resultForBeta;
  const bool accumulates = o.accumulates;
  forEachChannelSum(
      context, rowsOf(normalization.source),
      [=] __device__(std::size_t, std::size_t row, std::size_t c) -> double2 {
        const auto element = normalization.element(atRow(normalization.source, row, c), c);
        const double g = atRow(normalization.gradient, row, c) * normalization.derivative(element);
        return {g * element.xh, g};
      },
      [=] __device__(std::size_t, std::size_t c, double2 sum) {
        set(forGamma, 0, c, sum.x + (accumulates ? at(forGamma, 0, c) : 0));
        set(forBeta, 0, c, sum.y + (accumulates ? at(forBeta, 0, c) : 0));
      });
}

void runGradient(const CNNBatchNormalizationGradient& o, Context& context) {
  const Normalization normalization = normalizationOf(o, imagesOf(o.gradient, context), context);
  const Images result = imagesOf(o.result, context);
  const VectorView forGamma = o.gradientForGamma, forBeta = o.gradientForBeta;
  const auto count = static_cast<double>(o.count);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto element = normalization.element(at(normalization.source, n, y, x, c), c);
    double g = at(normalization.gradient, n, y, x, c) * normalization.derivative(element);
    if (count > 0) g -= at(forBeta, 0, c) / count + element.xh * (at(forGamma, 0, c) / count);
    set(result, n, y, x, c, element.gammaR * g);
  });
}

template <class Operation, void (*kRun)(const Operation&, Context&)>
constexpr std::array<Candidate<Operation>, 1> kCandidates = {{{"plain", acceptsAll, kRun}}};

}  // namespace

void run(const CNNBatchNormalizationStatistics& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNBatchNormalizationStatistics, runStatistics>, operation, context, explainer);
}

void run(const CNNBatchNormalization& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNBatchNormalization, runPlain>, operation, context, explainer);
}

void run(const CNNBatchNormalizationStatisticsGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNBatchNormalizationStatisticsGradient, runStatisticsGradient>, operation, context,
               explainer);
}

void run(const CNNBatchNormalizationGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kCandidates<CNNBatchNormalizationGradient, runGradient>, operation, context, explainer);
}

}  // namespace metalloid::cuda
