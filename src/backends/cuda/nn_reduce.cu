#include "operations/nn_reduce.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::NNReduce;
using operations::NNReduceWeighted;
using operations::NNReductionSpatialMeanGradient;
using operations::ReduceAxis;
using operations::ReduceType;

/// Takes the values of one result in order.
struct Reduction {
  ReduceType type;
  double sum = 0, extreme = 0;
  std::size_t index = 0, count = 0;

  __device__ void add(double value) {
    sum += value;
    const bool isSmaller = type == ReduceType::minimum || type == ReduceType::argumentMinimum;
    // Of equal values the first counts, and so does the first NaN.
    const bool isBetter = isSmaller ? value < extreme : value > extreme;
    if (count == 0 || isBetter || (isnan(value) && !isnan(extreme))) {
      extreme = value;
      index = count;
    }
    ++count;
  }

  __device__ double value(double weight) const {
    switch (type) {
      case ReduceType::minimum:
      case ReduceType::maximum:
        return extreme;
      case ReduceType::mean:
        return sum / static_cast<double>(count);
      case ReduceType::sum:
        return weight * sum;
      default:
        return static_cast<double>(index);
    }
  }
};

/// What the reduction of a place runs over, along one axis.
struct Span {
  std::size_t begin, end;
};

__device__ Span spanOf(bool isReduced, std::size_t place, std::size_t size) {
  return isReduced ? Span{0, size} : Span{place, place + 1};
}

void runPlain(const NNReduce& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const bool overX = o.axis == ReduceAxis::row || o.axis == ReduceAxis::spatial;
  const bool overY = o.axis == ReduceAxis::column || o.axis == ReduceAxis::spatial;
  const bool overChannels = o.axis == ReduceAxis::featureChannels;
  const ReduceType type = o.type;
  const auto weight = static_cast<double>(o.weight);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const Span rows = spanOf(overY, y, source.height), columns = spanOf(overX, x, source.width);
    const Span channels = spanOf(overChannels, c, source.channels);
    Reduction reduction{type};
    for (std::size_t v = rows.begin; v < rows.end; ++v) {
      for (std::size_t u = columns.begin; u < columns.end; ++u) {
        for (std::size_t k = channels.begin; k < channels.end; ++k) reduction.add(at(source, n, v, u, k));
      }
    }
    set(result, n, y, x, c, reduction.value(weight));
  });
}

void runWeighted(const NNReduceWeighted& o, Context& context) {
  const Images source = imagesOf(o.source, context), weights = imagesOf(o.weights, context);
  const Images result = imagesOf(o.result, context);
  const auto divisor = o.divisor;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t) {
    double sum = 0, nonZero = 0;
    for (std::size_t c = 0; c < source.channels; ++c) {
      const double weight = at(weights, n, y, x, c);
      sum += at(source, n, y, x, c) * weight;
      nonZero += weight != 0 ? 1 : 0;
    }
    if (divisor == NNReduceWeighted::Divisor::channels) sum /= static_cast<double>(source.channels);
    if (divisor == NNReduceWeighted::Divisor::nonZeroWeights && nonZero > 0) sum /= nonZero;
    set(result, n, y, x, 0, sum);
  });
}

void runMeanGradient(const NNReductionSpatialMeanGradient& o, Context& context) {
  const Images gradient = imagesOf(o.gradient, context), result = imagesOf(o.result, context);
  const auto scale = static_cast<double>(o.scale);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(result, n, y, x, c, scale * at(gradient, n, 0, 0, c));
  });
}

}  // namespace

void run(const NNReduce& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<NNReduce, runPlain>, operation, context, explainer);
}

void run(const NNReduceWeighted& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<NNReduceWeighted, runWeighted>, operation, context, explainer);
}

void run(const NNReductionSpatialMeanGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<NNReductionSpatialMeanGradient, runMeanGradient>, operation, context, explainer);
}

}  // namespace metalloid::cuda
