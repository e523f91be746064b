#include "conformance/cases.hpp"
#include "conformance/neurons.hpp"

#include <metalloid/matrix_fully_connected.hpp>

#include <algorithm>
#include <cmath>

namespace metalloid::conformance {
namespace {

/// Weights such that a sum of `terms` products stays around 1.
Range weightsFor(std::size_t terms) {
  const double scale = 2 / std::sqrt(static_cast<double>(std::max<std::size_t>(terms, 1)));
  return {-scale, scale};
}

template <class Kernel>
void configure(Trial& t, Kernel& kernel, double alpha, std::size_t n, std::size_t in, std::size_t out) {
  kernel.alpha = alpha;
  kernel.sourceNumberOfFeatureVectors = t.limit(n);
  kernel.sourceInputFeatureChannels = t.limit(in);
  kernel.sourceOutputFeatureChannels = t.limit(out);
  t.setBatch(kernel);
}

void fullyConnected(Trial& t) {
  const std::size_t n = t.size(0), in = t.size(1), out = t.size(2);
  const auto& x = t.source("inputMatrix", n, in, {-1, 1});
  const auto& w = t.source("weightMatrix", in, out, t.hasSmallIntegers() ? Range{} : weightsFor(in));
  const auto& bias = t.choice() ? t.sourceVector("biasVector", out, {-1, 1}) : t.absent();
  auto& y = t.result("resultMatrix", n, out);
  const NeuronExample neuron = someNeuron(t.random(), t.hasSmallIntegers(), true);
  const double alpha = t.factor();

  MatrixFullyConnected kernel(t.device());
  configure(t, kernel, alpha, n, in, out);
  kernel.primarySourceMatrixOrigin = x.origin;
  kernel.secondarySourceMatrixOrigin = w.origin;
  kernel.resultMatrixOrigin = y.origin;
  kernel.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(
        commands,
        {.inputMatrix = x.matrix, .weightMatrix = w.matrix, .biasVector = bias.vector, .resultMatrix = y.matrix});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t o = 0; o < out; ++o) {
        Sum product;
        for (std::size_t c = 0; c < in; ++c) product.add(Approximation(x.at(k, i, c)) * w.at(k, c, o));
        const auto z = Approximation::setting(alpha) * product.result() + bias.atOr(k, o, 0.0);
        t.expect(y, k, i, o, neuronValue(neuron, z));
      }
    }
  }
}

void fullyConnectedGradientForData(Trial& t) {
  const std::size_t n = t.size(0), in = t.size(1), out = t.size(2);
  const auto& dy = t.source("gradientMatrix", n, out, {-1, 1});
  const auto& w = t.source("weightMatrix", in, out, t.hasSmallIntegers() ? Range{} : weightsFor(out));
  auto& dx = t.result("resultGradientForDataMatrix", n, in);
  const double alpha = t.factor();

  MatrixFullyConnectedGradient kernel(t.device());
  configure(t, kernel, alpha, n, in, out);
  kernel.primarySourceMatrixOrigin = dy.origin;
  kernel.secondarySourceMatrixOrigin = w.origin;
  kernel.resultMatrixOrigin = dx.origin;
  t.run([&](CommandBuffer& commands) {
    kernel.encodeForData(
        commands, {.gradientMatrix = dy.matrix, .weightMatrix = w.matrix, .resultGradientForDataMatrix = dx.matrix});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < in; ++c) {
        Sum product;
        for (std::size_t o = 0; o < out; ++o) product.add(Approximation(dy.at(k, i, o)) * w.at(k, c, o));
        t.expect(dx, k, i, c, Approximation::setting(alpha) * product.result());
      }
    }
  }
}

void fullyConnectedGradientForWeightsAndBias(Trial& t) {
  const std::size_t n = t.size(0), in = t.size(1), out = t.size(2);
  const auto& dy = t.source("gradientMatrix", n, out, {-1, 1});
  const auto& x = t.source("inputMatrix", n, in, t.hasSmallIntegers() ? Range{} : weightsFor(n));
  auto& dw = t.result("resultGradientForWeightMatrix", in, out);
  auto& db = t.choice() ? t.resultVector("resultGradientForBiasVector", out) : t.absent();
  const double alpha = t.factor();

  MatrixFullyConnectedGradient kernel(t.device());
  configure(t, kernel, alpha, n, in, out);
  kernel.primarySourceMatrixOrigin = dy.origin;
  kernel.secondarySourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = dw.origin;
  t.run([&](CommandBuffer& commands) {
    kernel.encodeForWeightsAndBias(commands, {.gradientMatrix = dy.matrix,
                                              .inputMatrix = x.matrix,
                                              .resultGradientForWeightMatrix = dw.matrix,
                                              .resultGradientForBiasVector = db.vector});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t o = 0; o < out; ++o) {
      for (std::size_t c = 0; c < in; ++c) {
        Sum product;
        for (std::size_t i = 0; i < n; ++i) product.add(Approximation(x.at(k, i, c)) * dy.at(k, i, o));
        t.expect(dw, k, c, o, Approximation::setting(alpha) * product.result());
      }
      Sum column;
      for (std::size_t i = 0; i < n; ++i) column.add(dy.at(k, i, o));
      t.expect(db, k, o, column.result());
    }
  }
}

const std::vector<Sizes> kSmall = {{0, 3, 5},  {3, 0, 5},  {3, 5, 0},   {1, 1, 1},  {1, 33, 7},
                                   {33, 7, 1}, {7, 1, 33}, {5, 17, 13}, {33, 13, 7}};
const std::vector<Sizes> kLarge = {{64, 64, 64},  {67, 130, 37}, {131, 257, 67}, {128, 96, 256},
                                   {32769, 2, 3}, {2, 32769, 3}, {3, 2, 32769}};
// Longer than any block of a product's inner dimension, rows or columns is likely to be.
const std::vector<Sizes> kHuge = {{130, 1100, 600}, {1100, 520, 140}, {520, 70, 1100}};

}  // namespace

std::vector<Case> fullyConnectedCases() {
  std::vector<Case> cases = {{"FullyConnected", fullyConnected, kSmall, kLarge, 1, Matrices::batch, kLayerTypes, true},
                             {"FullyConnectedGradientForData", fullyConnectedGradientForData, kSmall, kLarge, 0,
                              Matrices::batch, kMatrixTypes, true},
                             {"FullyConnectedGradientForWeightsAndBias", fullyConnectedGradientForWeightsAndBias,
                              kSmall, kLarge, 1, Matrices::batch, kLayerTypes, true}};
  for (Case& c : cases) {
    c.hugeSizes = kHuge;
    c.hugeChoices = 1;
  }
  return cases;
}

}  // namespace metalloid::conformance
