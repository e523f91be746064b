#include "conformance/cases.hpp"

#include <metalloid/matrix_softmax.hpp>
#include <metalloid/matrix_softmax_cross_entropy.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace metalloid::conformance {
namespace {

// What tests/math holds the float32 functions to is 1.1 and 0.9 units in the last place.
Approximation exp(const Approximation& x) {
  return apply([](double t) { return std::exp(t); }, x, 1.1);
}
Approximation log(const Approximation& x) {
  return apply([](double t) { return std::log(t); }, x, 0.9);
}

/// One row less its maximum, and the sum of the exponentials of that.
struct Row {
  std::vector<Approximation> shifted;
  Approximation sum;

  Row(const Operand& x, std::size_t k, std::size_t i) : shifted(x.columns()) {
    double maximum = x.at(k, i, 0);
    for (std::size_t j = 1; j < x.columns(); ++j) maximum = std::max(maximum, x.at(k, i, j));
    Sum exponentials;
    for (std::size_t j = 0; j < x.columns(); ++j) {
      shifted[j] = Approximation(x.at(k, i, j)) - maximum;
      exponentials.add(exp(shifted[j]));
    }
    sum = exponentials.result();
  }
};

template <class Kernel, bool kIsLogarithm>
void softmax(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  auto& x = t.source("inputMatrix", n, c, {-4, 4});
  auto& y = t.choice() ? t.resultOver(x, "resultMatrix") : t.result("resultMatrix", n, c);

  Kernel kernel(t.device());
  kernel.sourceRows = t.limit(n);
  kernel.sourceColumns = t.limit(c);
  kernel.sourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = y.origin;
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x.matrix, .resultMatrix = y.matrix}); });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; c > 0 && i < n; ++i) {
      const Row row(x, k, i);
      for (std::size_t j = 0; j < c; ++j) {
        t.expect(y, k, i, j, kIsLogarithm ? row.shifted[j] - log(row.sum) : exp(row.shifted[j]) / row.sum);
      }
    }
  }
}

template <class Kernel, bool kIsLogarithm>
void softmaxGradient(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  auto& dy = t.source("gradientMatrix", n, c, {-1, 1});
  auto& y = t.source("forwardOutputMatrix", n, c, kIsLogarithm ? Range{-4, 0} : Range{0, 1});
  auto& dx = t.choice() ? t.resultOver(t.random().coin() ? dy : y, "resultMatrix") : t.result("resultMatrix", n, c);

  Kernel kernel(t.device());
  kernel.sourceRows = t.limit(n);
  kernel.sourceColumns = t.limit(c);
  kernel.primarySourceMatrixOrigin = dy.origin;
  kernel.secondarySourceMatrixOrigin = y.origin;
  kernel.resultMatrixOrigin = dx.origin;
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy.matrix, .forwardOutputMatrix = y.matrix, .resultMatrix = dx.matrix});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      Sum sum;
      for (std::size_t j = 0; j < c; ++j) {
        sum.add(kIsLogarithm ? Approximation(dy.at(k, i, j)) : Approximation(dy.at(k, i, j)) * y.at(k, i, j));
      }
      for (std::size_t j = 0; j < c; ++j) {
        const Approximation gradient = dy.at(k, i, j), output = y.at(k, i, j);
        t.expect(dx, k, i, j,
                 kIsLogarithm ? gradient - exp(output) * sum.result() : output * (gradient - sum.result()));
      }
    }
  }
}

void softmaxCrossEntropy(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  // A coarse grid, so that equal largest logits occur.
  auto& x =
      t.matrix("sourceMatrix", n, c,
               {.type = t.types().matrix, .values = [&] { return static_cast<double>(t.random().below(33)) / 4 - 4; }});
  const auto& labels = t.vector("labelVector", n,
                                {.type = DataType::uInt32,
                                 .values = t.drawnBelow(std::max<std::size_t>(c, 1)),
                                 .isShared = t.random().coin(),
                                 .hasOrigin = false});
  const bool wantsLoss = t.choice(), wantsCorrect = t.choice(), isInPlace = t.choice();
  const bool wantsGradient = t.choice() || !(wantsLoss || wantsCorrect);  // at least one result must be wanted
  auto& loss = wantsLoss ? t.resultVector("resultLossVector", n) : t.absent();
  auto& correct = wantsCorrect ? t.resultVector("resultCorrectVector", n) : t.absent();
  auto& dx = !wantsGradient ? t.absent()
             : isInPlace    ? t.resultOver(x, "resultGradientMatrix")
                            : t.result("resultGradientMatrix", n, c);

  MatrixSoftMaxCrossEntropy kernel(t.device());
  kernel.sourceRows = t.limit(n);
  kernel.sourceColumns = t.limit(c);
  kernel.weight = t.random().coin() ? 0.25f : 1.0f;
  kernel.labelSmoothing = t.random().coin() ? 0.1f : 0.0f;
  kernel.sourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = dx.origin;
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceMatrix = x.matrix,
                             .labelVector = labels.vector,
                             .resultLossVector = loss.vector,
                             .resultCorrectVector = correct.vector,
                             .resultGradientMatrix = dx.matrix});
  });

  const Approximation weight = static_cast<double>(kernel.weight),
                      smoothing = static_cast<double>(kernel.labelSmoothing);
  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto label = static_cast<std::size_t>(labels.at(k, 0, i));
      const Row row(x, k, i);
      const Approximation spread = smoothing / static_cast<double>(c);
      std::size_t largest = 0;
      Sum cross;
      for (std::size_t j = 0; j < c; ++j) {
        if (x.at(k, i, j) > x.at(k, i, largest)) largest = j;
        const Approximation target = j == label ? 1 - smoothing + spread : spread;
        if (target.value() != 0) cross.add(target * (log(row.sum) - row.shifted[j]));
        if (dx) t.expect(dx, k, i, j, weight * (exp(row.shifted[j]) / row.sum - target));
      }
      t.expect(loss, k, i, weight * cross.result());
      t.expect(correct, k, i, largest == label ? 1.0 : 0.0);
    }
  }
}

// Without classes there is no label.
const std::vector<Sizes> kSmallLosses = {{0, 0}, {0, 5}, {1, 1}, {1, 33}, {33, 1}, {33, 7}, {13, 17}};

}  // namespace

std::vector<Case> softmaxCases() {
  const auto make = [](const char* name, void (*run)(Trial&)) {
    return Case{name, run, kSmallMatrices, kLargeMatrices, 1, Matrices::batch, kMatrixTypes};
  };
  return {make("SoftMax", softmax<MatrixSoftMax, false>), make("LogSoftMax", softmax<MatrixLogSoftMax, true>),
          make("SoftMaxGradient", softmaxGradient<MatrixSoftMaxGradient, false>),
          make("LogSoftMaxGradient", softmaxGradient<MatrixLogSoftMaxGradient, true>),
          Case{"SoftMaxCrossEntropy", softmaxCrossEntropy, kSmallLosses, kLargeMatrices, 4}};
}

}  // namespace metalloid::conformance
