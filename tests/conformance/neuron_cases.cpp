#include "conformance/cases.hpp"
#include "conformance/neurons.hpp"

#include <metalloid/matrix_neuron.hpp>

namespace metalloid::conformance {
namespace {

template <class Kernel>
void configure(Trial& t, Kernel& kernel, double alpha, std::size_t n, std::size_t c) {
  kernel.alpha = alpha;
  kernel.sourceNumberOfFeatureVectors = t.limit(n);
  kernel.sourceInputFeatureChannels = t.limit(c);
  t.setBatch(kernel);
}

/// Any neuron, a pReLU with a slope for each column among them.
struct ChosenNeuron {
  NeuronExample example;
  std::vector<float> slopes;

  static ChosenNeuron draw(Trial& t, std::size_t columns) {
    ChosenNeuron chosen{someNeuron(t.random(), false, false), {}};
    if (columns > 0 && t.random().below(6) == 0) {
      chosen.example = {"pReLU", CNNNeuronType::pReLU};
      for (std::size_t j = 0; j < columns; ++j) {
        chosen.slopes.push_back(static_cast<float>(t.random().uniform(-0.5, 1.5)));
      }
    }
    return chosen;
  }

  template <class Kernel>
  void set(Kernel& kernel) const {
    if (slopes.empty()) {
      kernel.setNeuronType(example.type, example.a, example.b, example.c);
    } else {
      kernel.setNeuronToPReLU(slopes);
    }
  }

  double slope(std::size_t j) const { return slopes.empty() ? 0 : static_cast<double>(slopes[j]); }
};

void neuron(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  auto& x = t.source("inputMatrix", n, c, {-3, 3});
  const auto& bias = t.choice() ? t.sourceVector("biasVector", c, {-1, 1}) : t.absent();
  auto& y = t.choice() ? t.resultOver(x, "resultMatrix") : t.result("resultMatrix", n, c);
  const auto chosen = ChosenNeuron::draw(t, c);
  const double alpha = t.factor();

  MatrixNeuron kernel(t.device());
  configure(t, kernel, alpha, n, c);
  chosen.set(kernel);
  kernel.sourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = y.origin;
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x.matrix, .biasVector = bias.vector, .resultMatrix = y.matrix});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < c; ++j) {
        const auto z = Approximation::setting(alpha) * x.at(k, i, j) + bias.atOr(k, j, 0.0);
        t.expect(y, k, i, j, neuronValue(chosen.example, z, chosen.slope(j)));
      }
    }
  }
}

void neuronGradient(Trial& t) {
  const std::size_t n = t.size(0), c = t.size(1);
  auto& dy = t.source("gradientMatrix", n, c, {-1, 1});
  auto& x = t.source("inputMatrix", n, c, {-3, 3});
  const auto& bias = t.choice() ? t.sourceVector("biasVector", c, {-1, 1}) : t.absent();
  const bool isInPlace = t.choice();
  auto& dx = isInPlace ? t.resultOver(t.random().coin() ? dy : x, "resultGradientForDataMatrix")
                       : t.result("resultGradientForDataMatrix", n, c);
  auto& db = t.choice() ? t.resultVector("resultGradientForBiasVector", c) : t.absent();
  const auto chosen = ChosenNeuron::draw(t, c);
  const double alpha = t.factor();

  MatrixNeuronGradient kernel(t.device());
  configure(t, kernel, alpha, n, c);
  chosen.set(kernel);
  kernel.primarySourceMatrixOrigin = dy.origin;
  kernel.secondarySourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = dx.origin;
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy.matrix,
                             .inputMatrix = x.matrix,
                             .biasVector = bias.vector,
                             .resultGradientForDataMatrix = dx.matrix,
                             .resultGradientForBiasVector = db.vector});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t j = 0; j < c; ++j) {
      Sum column;
      for (std::size_t i = 0; i < n; ++i) {
        const auto z = Approximation::setting(alpha) * x.at(k, i, j) + bias.atOr(k, j, 0.0);
        const auto g = neuronDerivative(chosen.example, z, chosen.slope(j)) * dy.at(k, i, j);
        column.add(g);
        t.expect(dx, k, i, j, Approximation::setting(alpha) * g);
      }
      t.expect(db, k, j, column.result());
    }
  }
}

}  // namespace

std::vector<Case> neuronCases() {
  Case forward{"Neuron", neuron, kSmallMatrices, kLargeMatrices, 2};
  forward.hugeSizes = kHugeMatrices;
  Case gradient{"NeuronGradient", neuronGradient, kSmallMatrices, kLargeMatrices, 3};
  gradient.hugeSizes = kHugeMatrices;
  gradient.hugeChoices = 0b101;  // bias and its gradient
  gradient.packedSizes = {{65, 8}, {70, 40}, {129, 72}, {300, 136}};
  return {forward, gradient};
}

}  // namespace metalloid::conformance
