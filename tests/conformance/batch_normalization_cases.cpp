#include "conformance/cases.hpp"
#include "conformance/neurons.hpp"

#include <metalloid/matrix_batch_normalization.hpp>

#include <cmath>
#include <vector>

namespace metalloid::conformance {
namespace {

// As in training. The default, FLT_MIN, makes a column of one row or of equal values ill-conditioned: its own test
// stands in tests/kernels/batch_normalization_test.cpp.
constexpr float kEpsilon = 1e-3f;

template <class Kernel>
void configure(Trial& t, Kernel& kernel, const NeuronExample& neuron, std::size_t n, std::size_t c) {
  kernel.epsilon = kEpsilon;
  kernel.sourceNumberOfFeatureVectors = t.limit(n);
  kernel.sourceInputFeatureChannels = t.limit(c);
  kernel.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
  t.setBatch(kernel);
}

Approximation inverseDeviation(const Approximation& variance) {
  return Approximation(1) / sqrt(variance + static_cast<double>(kEpsilon));
}

void batchNormalization(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  const bool computeStatistics = t.choice();
  auto& x = t.source("inputMatrix", n, c, {-1, 2});
  auto& mean = computeStatistics ? t.resultVector("meanVector", c) : t.sourceVector("meanVector", c, {0, 1});
  auto& variance =
      computeStatistics ? t.resultVector("varianceVector", c) : t.sourceVector("varianceVector", c, {1, 2});
  const auto& gamma = t.choice() ? t.sourceVector("gammaVector", c, {0.5, 1.5}) : t.absent();
  const auto& beta = t.choice() ? t.sourceVector("betaVector", c, {-1, 1}) : t.absent();
  auto& y = t.choice() ? t.resultOver(x, "resultMatrix") : t.result("resultMatrix", n, c);
  const NeuronExample neuron = someNeuron(t.random(), false, false);

  MatrixBatchNormalization kernel(t.device());
  configure(t, kernel, neuron, n, c);
  kernel.computeStatistics = computeStatistics;
  kernel.sourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = y.origin;
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x.matrix,
                             .meanVector = mean.vector,
                             .varianceVector = variance.vector,
                             .gammaVector = gamma.vector,
                             .betaVector = beta.vector,
                             .resultMatrix = y.matrix});
  });

  const auto rows = static_cast<double>(n);
  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t j = 0; j < c; ++j) {
      Approximation m, v;
      if (computeStatistics) {
        Sum sum, squares;
        for (std::size_t i = 0; i < n; ++i) sum.add(x.at(k, i, j));
        if (n > 0) m = sum.result() / rows;
        for (std::size_t i = 0; i < n; ++i) squares.add((x.at(k, i, j) - m) * (x.at(k, i, j) - m));
        if (n > 0) v = squares.result() / rows;
        t.expect(mean, k, j, m);
        t.expect(variance, k, j, v);
      } else {
        m = mean.atOr(k, j, 0.0);
        v = variance.atOr(k, j, 0.0);
      }
      for (std::size_t i = 0; i < n; ++i) {
        const auto xhat = (x.at(k, i, j) - m) * inverseDeviation(v);
        t.expect(y, k, i, j, neuronValue(neuron, xhat * gamma.atOr(k, j, 1.0) + beta.atOr(k, j, 0.0)));
      }
    }
  }
}

void batchNormalizationGradient(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  auto& dy = t.source("gradientMatrix", n, c, {-1, 1});
  auto& x = t.source("inputMatrix", n, c, {-1, 2});
  const auto& mean = t.sourceVector("meanVector", c, {0, 1});
  const auto& variance = t.sourceVector("varianceVector", c, {1, 2});
  const bool isAffine = t.choice();
  const auto& gamma = isAffine ? t.sourceVector("gammaVector", c, {0.5, 1.5}) : t.absent();
  const auto& beta = isAffine ? t.sourceVector("betaVector", c, {-1, 1}) : t.absent();
  const bool isInPlace = t.choice();
  auto& dx = isInPlace ? t.resultOver(t.random().coin() ? dy : x, "resultGradientForDataMatrix")
                       : t.result("resultGradientForDataMatrix", n, c);
  auto& dGamma = t.choice() ? t.resultVector("resultGradientForGammaVector", c) : t.absent();
  auto& dBeta = t.choice() ? t.resultVector("resultGradientForBetaVector", c) : t.absent();
  const NeuronExample neuron = someNeuron(t.random(), false, false);

  MatrixBatchNormalizationGradient kernel(t.device());
  configure(t, kernel, neuron, n, c);
  kernel.primarySourceMatrixOrigin = dy.origin;
  kernel.secondarySourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = dx.origin;
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy.matrix,
                             .inputMatrix = x.matrix,
                             .meanVector = mean.vector,
                             .varianceVector = variance.vector,
                             .gammaVector = gamma.vector,
                             .betaVector = beta.vector,
                             .resultGradientForDataMatrix = dx.matrix,
                             .resultGradientForGammaVector = dGamma.vector,
                             .resultGradientForBetaVector = dBeta.vector});
  });

  const auto rows = static_cast<double>(n);
  std::vector<Approximation> g(n), xhat(n);
  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t j = 0; j < c; ++j) {
      const auto s = inverseDeviation(variance.atOr(k, j, 0.0));
      Sum sumG, sumGXhat;
      for (std::size_t i = 0; i < n; ++i) {
        xhat[i] = (Approximation(x.at(k, i, j)) - mean.atOr(k, j, 0.0)) * s;
        g[i] = neuronDerivative(neuron, xhat[i] * gamma.atOr(k, j, 1.0) + beta.atOr(k, j, 0.0)) * dy.at(k, i, j);
        sumG.add(g[i]);
        sumGXhat.add(g[i] * xhat[i]);
      }
      for (std::size_t i = 0; i < n; ++i) {
        t.expect(dx, k, i, j,
                 s * gamma.atOr(k, j, 1.0) * (g[i] - sumG.result() / rows - xhat[i] * sumGXhat.result() / rows));
      }
      t.expect(dGamma, k, j, sumGXhat.result());
      t.expect(dBeta, k, j, sumG.result());
    }
  }
}

// Around 512 rows; columns enough for wider strips; strips that the last one does not fill, of 32 and of 64 bytes;
// several copies for each block of a cluster.
const std::vector<Sizes> kPackedMatrices = {{512, 24}, {40, 8192}, {513, 8}, {530, 12}, {1031, 136}, {4500, 24}};

}  // namespace

std::vector<Case> batchNormalizationCases() {
  Case forward{"BatchNormalization", batchNormalization, kSmallMatrices, kLargeMatrices, 4};
  forward.hugeSizes = {kHugeMatrices.front(), {58000, 8}};  // more rows than the clusters of a GPU hold
  forward.hugeChoices = 0b0111;                             // statistics, gamma, beta
  forward.packedSizes = kPackedMatrices;
  Case gradient{"BatchNormalizationGradient", batchNormalizationGradient, kSmallMatrices, kLargeMatrices, 4};
  gradient.hugeSizes = {kHugeMatrices.front(), {29000, 8}};
  gradient.hugeChoices = 0b1101;  // gamma and beta, and their gradients
  gradient.packedSizes = kPackedMatrices;
  return {forward, gradient};
}

}  // namespace metalloid::conformance
