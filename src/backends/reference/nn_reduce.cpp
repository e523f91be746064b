#include "operations/nn_reduce.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <cmath>

namespace metalloid::reference {
namespace {

using operations::ReduceAxis;
using operations::ReduceType;

/// Takes the values of one result in order.
class Reduction {
 public:
  explicit Reduction(ReduceType type) : type_(type) {}

  void add(double value) {
    sum_ += value;
    const bool isSmaller = type_ == ReduceType::minimum || type_ == ReduceType::argumentMinimum;
    // Of equal values the first counts, and so does the first NaN.
    const bool isBetter = isSmaller ? value < extreme_ : value > extreme_;
    if (count_ == 0 || isBetter || (std::isnan(value) && !std::isnan(extreme_))) {
      extreme_ = value;
      index_ = count_;
    }
    ++count_;
  }

  double value(double weight) const {
    switch (type_) {
      case ReduceType::minimum:
      case ReduceType::maximum:
        return extreme_;
      case ReduceType::mean:
        return sum_ / static_cast<double>(count_);
      case ReduceType::sum:
        return weight * sum_;
      default:
        return static_cast<double>(index_);
    }
  }

 private:
  ReduceType type_;
  double sum_ = 0;
  double extreme_ = 0;
  std::size_t index_ = 0;
  std::size_t count_ = 0;
};

}  // namespace

void run(const operations::NNReduce& operation) {
  const auto& source = operation.source;
  const bool overX = operation.axis == ReduceAxis::row || operation.axis == ReduceAxis::spatial;
  const bool overY = operation.axis == ReduceAxis::column || operation.axis == ReduceAxis::spatial;
  const bool overChannels = operation.axis == ReduceAxis::featureChannels;
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    Reduction reduction(operation.type);
    for (std::size_t v = overY ? 0 : y; v < (overY ? source.height : y + 1); ++v) {
      for (std::size_t u = overX ? 0 : x; u < (overX ? source.width : x + 1); ++u) {
        for (std::size_t k = overChannels ? 0 : c; k < (overChannels ? source.channels : c + 1); ++k)
          reduction.add(at(source, n, v, u, k));
      }
    }
    set(operation.result, n, y, x, c, reduction.value(operation.weight));
  });
}

void run(const operations::NNReduceWeighted& operation) {
  using Divisor = operations::NNReduceWeighted::Divisor;
  const std::size_t channels = operation.source.channels;
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t) {
    double sum = 0, nonZero = 0;
    for (std::size_t c = 0; c < channels; ++c) {
      const double weight = at(operation.weights, n, y, x, c);
      sum += at(operation.source, n, y, x, c) * weight;
      nonZero += weight != 0;
    }
    if (operation.divisor == Divisor::channels) sum /= static_cast<double>(channels);
    if (operation.divisor == Divisor::nonZeroWeights && nonZero > 0) sum /= nonZero;
    set(operation.result, n, y, x, 0, sum);
  });
}

void run(const operations::NNReductionSpatialMeanGradient& operation) {
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(operation.result, n, y, x, c, operation.scale * at(operation.gradient, n, 0, 0, c));
  });
}

}  // namespace metalloid::reference
