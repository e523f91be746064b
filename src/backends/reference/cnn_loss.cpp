#include "operations/cnn_loss.hpp"

#include "backends/loss_reduction.hpp"
#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"
#include "math/scalar_ops.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace metalloid::reference {
namespace {

using backends::LossSum;
using operations::ImageView;

math::Loss lossOf(const operations::LossSettings& settings) {
  return math::makeLoss(settings.type, settings.labelSmoothing, settings.numberOfClasses, settings.epsilon,
                        settings.delta);
}

/// One element as the formulas of its loss see it.
class Element {
 public:
  Element(const math::Loss& loss, double y, double label, double logSum) : loss_(loss), y_(y), logSum_(logSum) {
    t_ = math::dispatch(loss.type, [&](auto tag) { return math::scalar::lossLabel<tag.value>(ops(), loss_, label); });
  }

  double value() const {
    return math::dispatch(loss_.type,
                          [&](auto tag) { return math::scalar::lossValue<tag.value>(ops(), loss_, y_ - logSum_, t_); });
  }
  double derivative() const {
    const double y = loss_.type == CNNLossType::softMaxCrossEntropy ? std::exp(y_ - logSum_) : y_;
    return math::dispatch(loss_.type,
                          [&](auto tag) { return math::scalar::lossDerivative<tag.value>(ops(), loss_, y, t_); });
  }
  double labelDerivative() const {
    return math::dispatch(loss_.type, [&](auto tag) {
      return math::scalar::lossLabelDerivative<tag.value>(ops(), loss_, y_ - logSum_, t_);
    });
  }

 private:
  static math::scalar::DoubleOps ops() { return {}; }

  const math::Loss& loss_;
  double y_;
  double t_ = 0;
  double logSum_;
};

/// Calls f(n, y, x, c, element) for every element. `logSum` is ln(sum of exp(y)) over the channels of the pixel for
/// soft-max cross entropy, and 0 for others.
template <class F>
void forEachLoss(const operations::LossSettings& settings, const ImageView& source, const ImageView& labels, F&& f) {
  const math::Loss loss = lossOf(settings);
  double logSum = 0;
  forEachElement(source, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    if (c == 0 && loss.type == CNNLossType::softMaxCrossEntropy) {
      double maximum = at(source, n, y, x, 0), sum = 0;
      for (std::size_t k = 1; k < source.channels; ++k) maximum = std::max(maximum, at(source, n, y, x, k));
      for (std::size_t k = 0; k < source.channels; ++k) sum += std::exp(at(source, n, y, x, k) - maximum);
      logSum = maximum + std::log(sum);
    }
    f(n, y, x, c, Element(loss, at(source, n, y, x, c), at(labels, n, y, x, c), logSum));
  });
}

double weightAt(const ImageView& weights, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
  return weights ? at(weights, n, y, x, c) : 1;
}

}  // namespace

void run(const operations::CNNLoss& operation) {
  const auto& settings = operation.settings;
  const bool isReduced = settings.reduction != CNNReductionType::none;
  const bool isCosine = settings.type == CNNLossType::cosineDistance;
  const double weight = static_cast<double>(settings.weight);
  std::vector<LossSum> sums(operation.source.images);
  forEachLoss(settings, operation.source, operation.labels,
              [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c, const Element& element) {
                const double elementWeight = weightAt(operation.weights, n, y, x, c);
                if (operation.loss) {
                  const double loss = isCosine ? element.value() : elementWeight * element.value();
                  if (!isReduced) set(operation.loss, n, y, x, c, weight * loss);
                  sums[n].loss += loss;
                  if (elementWeight != 0) sums[n].nonZeroWeights += 1;
                }
                if (operation.gradient) {
                  set(operation.gradient, n, y, x, c, weight * elementWeight * element.derivative());
                }
              });
  if (!operation.loss || !isReduced) return;
  const std::vector<double> losses = backends::reducedLosses(settings, operation.source, sums);
  for (std::size_t n = 0; n < losses.size(); ++n) set(operation.loss, n, 0, 0, 0, losses[n]);
}

void run(const operations::NNLossGradient& operation) {
  const auto& settings = operation.settings;
  const bool isOneForAll = operation.gradient.pixels() * operation.gradient.channels == 1;
  std::vector<double> factors(operation.source.images, static_cast<double>(settings.weight));
  if (operation.isDivided) {
    std::vector<LossSum> sums(operation.source.images);
    forEachElement(operation.source, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
      if (weightAt(operation.weights, n, y, x, c) != 0) sums[n].nonZeroWeights += 1;
    });
    const std::vector<double> divisors = backends::lossDivisors(settings, operation.source, sums);
    for (std::size_t n = 0; n < divisors.size(); ++n) factors[n] = divisors[n] == 0 ? 0 : factors[n] / divisors[n];
  }
  forEachLoss(
      settings, operation.source, operation.labels,
      [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c, const Element& element) {
        const double incoming = isOneForAll ? at(operation.gradient, n, 0, 0, 0) : at(operation.gradient, n, y, x, c);
        const double derivative = operation.forLabels ? element.labelDerivative() : element.derivative();
        set(operation.result, n, y, x, c, incoming * factors[n] * weightAt(operation.weights, n, y, x, c) * derivative);
      });
}

}  // namespace metalloid::reference
