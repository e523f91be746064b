// Every gradient kernel against differences of its forward kernel.

#include "conformance/neurons.hpp"
#include "support/central_differences.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

#include <metalloid/matrix_batch_normalization.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/matrix_softmax.hpp>
#include <metalloid/matrix_softmax_cross_entropy.hpp>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::conformance {
namespace {

using testing::draw;
using testing::execute;
using testing::expectGradient;
using testing::kStep;
using testing::Random;
using testing::Values;
using testing::weigh;

class GradientCheck : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device() const { return GetParam(); }
  /// The reference rounds only what it stores; others each term of a sum of `terms`, and functions by a few units.
  double roundings(std::size_t terms) const {
    return device().name() == "reference" ? 2 : 10 + static_cast<double>(terms);
  }
  Matrix matrix(std::size_t rows, std::size_t columns, const Values& values = {}) const {
    Matrix m(device(), {.rows = rows, .columns = columns});
    if (!values.empty()) m.write(values);
    return m;
  }
  Vector vector(std::size_t length, const Values& values = {}) const {
    Vector v(device(), {.length = length});
    if (!values.empty()) v.write(values);
    return v;
  }
  Random random_{testing::seedOf(::testing::UnitTest::GetInstance()->current_test_info()->name())};
};

constexpr std::size_t kRows = 4, kColumns = 3;

/// Whether f is smooth around z, as far as the differences reach.
bool isSmoothAround(const NeuronExample& n, double z, double reach) {
  const double a = static_cast<double>(n.a), b = static_cast<double>(n.b);
  const auto isFarFrom = [&](double kink) { return std::fabs(z - kink) > reach; };
  switch (n.type) {
    case CNNNeuronType::reLU:
    case CNNNeuronType::ELU:
    case CNNNeuronType::pReLU:
    case CNNNeuronType::absolute:
    case CNNNeuronType::softSign:
      return isFarFrom(0);
    case CNNNeuronType::reLUN:
      return isFarFrom(0) && isFarFrom(b);
    case CNNNeuronType::hardSigmoid:
      return isFarFrom(-b / a) && isFarFrom((1 - b) / a);
    default:
      return true;
  }
}

TEST_P(GradientCheck, Neuron) {
  std::vector<NeuronExample> examples = neuronExamples();
  examples.push_back({"pReLU", CNNNeuronType::pReLU});
  const std::vector<float> slopes = {0.25f, -0.5f, 1.5f};
  const double alpha = 0.75;
  for (const NeuronExample& example : examples) {
    SCOPED_TRACE(example.name);
    const auto set = [&](auto& kernel) {
      kernel.alpha = alpha;
      if (example.type == CNNNeuronType::pReLU) {
        kernel.setNeuronToPReLU(slopes);
      } else {
        kernel.setNeuronType(example.type, example.a, example.b, example.c);
      }
    };
    MatrixNeuron forward(device());
    MatrixNeuronGradient backward(device());
    set(forward);
    set(backward);

    const Values bias = draw(random_, kColumns), r = draw(random_, kRows * kColumns);
    Values x;
    for (std::size_t i = 0; i < kRows * kColumns; ++i) {
      const double b = bias[i % kColumns];
      x.push_back(
          draw(random_, 1, [&](double value) { return isSmoothAround(example, alpha * value + b, 4.1 * kStep); })[0]);
    }

    const auto loss = [&](const Values& data, const Values& offsets) {
      const Matrix y = matrix(kRows, kColumns);
      execute(device(), [&](CommandBuffer& commands) {
        forward.encode(
            commands,
            {.inputMatrix = matrix(kRows, kColumns, data), .biasVector = vector(kColumns, offsets), .resultMatrix = y});
      });
      return weigh(r, y.read<double>());
    };
    const Matrix dx = matrix(kRows, kColumns);
    const Vector db = vector(kColumns);
    execute(device(), [&](CommandBuffer& commands) {
      backward.encode(commands, {.gradientMatrix = matrix(kRows, kColumns, r),
                                 .inputMatrix = matrix(kRows, kColumns, x),
                                 .biasVector = vector(kColumns, bias),
                                 .resultGradientForDataMatrix = dx,
                                 .resultGradientForBiasVector = db});
    });
    expectGradient("data", x, dx.read<double>(), roundings(1), [&](const Values& v) { return loss(v, bias); });
    expectGradient("bias", bias, db.read<double>(), roundings(kRows), [&](const Values& v) { return loss(x, v); });
  }
}

TEST_P(GradientCheck, FullyConnected) {
  constexpr std::size_t n = 4, in = 5, out = 3;
  const Values x = draw(random_, n * in), w = draw(random_, in * out), b = draw(random_, out);
  const Values r = draw(random_, n * out);
  MatrixFullyConnected forward(device());
  MatrixFullyConnectedGradient backward(device());
  forward.alpha = backward.alpha = 0.75;

  const auto loss = [&](const Values& input, const Values& weights, const Values& bias) {
    const Matrix y = matrix(n, out);
    execute(device(), [&](CommandBuffer& commands) {
      forward.encode(commands, {.inputMatrix = matrix(n, in, input),
                                .weightMatrix = matrix(in, out, weights),
                                .biasVector = vector(out, bias),
                                .resultMatrix = y});
    });
    return weigh(r, y.read<double>());
  };
  const Matrix dx = matrix(n, in), dw = matrix(in, out), dy = matrix(n, out, r);
  const Vector db = vector(out);
  execute(device(), [&](CommandBuffer& commands) {
    backward.encodeForData(
        commands, {.gradientMatrix = dy, .weightMatrix = matrix(in, out, w), .resultGradientForDataMatrix = dx});
    backward.encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                                .inputMatrix = matrix(n, in, x),
                                                .resultGradientForWeightMatrix = dw,
                                                .resultGradientForBiasVector = db});
  });
  expectGradient("data", x, dx.read<double>(), roundings(in), [&](const Values& v) { return loss(v, w, b); });
  expectGradient("weights", w, dw.read<double>(), roundings(in), [&](const Values& v) { return loss(x, v, b); });
  expectGradient("bias", b, db.read<double>(), roundings(in), [&](const Values& v) { return loss(x, w, v); });
}

TEST_P(GradientCheck, BatchNormalization) {
  constexpr std::size_t n = 8;
  for (const NeuronExample& neuron :
       {NeuronExample{"none", CNNNeuronType::none}, NeuronExample{"tanH", CNNNeuronType::tanH, 1.5f, 0.5f},
        NeuronExample{"softPlus", CNNNeuronType::softPlus, 1, 1}, NeuronExample{"geLU", CNNNeuronType::geLU}}) {
    SCOPED_TRACE(neuron.name);
    const Values x = draw(random_, n * kColumns), gamma = draw(random_, kColumns), beta = draw(random_, kColumns);
    const Values r = draw(random_, n * kColumns);
    MatrixBatchNormalization forward(device());
    MatrixBatchNormalizationGradient backward(device());
    forward.computeStatistics = true;
    forward.epsilon = backward.epsilon = 0.125f;
    forward.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
    backward.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);

    const Vector mean = vector(kColumns), variance = vector(kColumns);
    const auto loss = [&](const Values& data, const Values& scale, const Values& shift) {
      const Matrix y = matrix(n, kColumns);
      execute(device(), [&](CommandBuffer& commands) {
        forward.encode(commands, {.inputMatrix = matrix(n, kColumns, data),
                                  .meanVector = mean,
                                  .varianceVector = variance,
                                  .gammaVector = vector(kColumns, scale),
                                  .betaVector = vector(kColumns, shift),
                                  .resultMatrix = y});
      });
      return weigh(r, y.read<double>());
    };
    loss(x, gamma, beta);  // for its statistics
    const Matrix dx = matrix(n, kColumns);
    const Vector dGamma = vector(kColumns), dBeta = vector(kColumns);
    execute(device(), [&](CommandBuffer& commands) {
      backward.encode(commands, {.gradientMatrix = matrix(n, kColumns, r),
                                 .inputMatrix = matrix(n, kColumns, x),
                                 .meanVector = mean,
                                 .varianceVector = variance,
                                 .gammaVector = vector(kColumns, gamma),
                                 .betaVector = vector(kColumns, beta),
                                 .resultGradientForDataMatrix = dx,
                                 .resultGradientForGammaVector = dGamma,
                                 .resultGradientForBetaVector = dBeta});
    });
    expectGradient("data", x, dx.read<double>(), roundings(4 * n),
                   [&](const Values& v) { return loss(v, gamma, beta); });
    expectGradient("gamma", gamma, dGamma.read<double>(), roundings(4 * n),
                   [&](const Values& v) { return loss(x, v, beta); });
    expectGradient("beta", beta, dBeta.read<double>(), roundings(4 * n),
                   [&](const Values& v) { return loss(x, gamma, v); });
  }
}

template <class Forward, class Backward>
void checkSoftmax(const Device& device, Random& random, double roundings) {
  const Values x = draw(random, kRows * kColumns), r = draw(random, kRows * kColumns);
  const MatrixDescriptor shape{.rows = kRows, .columns = kColumns};
  const Matrix y(device, shape), dx(device, shape);
  const auto loss = [&](const Values& data) {
    const Matrix input(device, shape);
    input.write(data);
    execute(device, [&](CommandBuffer& commands) {
      Forward(device).encode(commands, {.inputMatrix = input, .resultMatrix = y});
    });
    return weigh(r, y.template read<double>());
  };
  loss(x);
  const Matrix dy(device, shape);
  dy.write(r);
  execute(device, [&](CommandBuffer& commands) {
    Backward(device).encode(commands, {.gradientMatrix = dy, .forwardOutputMatrix = y, .resultMatrix = dx});
  });
  expectGradient("data", x, dx.template read<double>(), roundings, loss);
}

TEST_P(GradientCheck, SoftMax) {
  checkSoftmax<MatrixSoftMax, MatrixSoftMaxGradient>(device(), random_, roundings(kColumns));
}

TEST_P(GradientCheck, LogSoftMax) {
  checkSoftmax<MatrixLogSoftMax, MatrixLogSoftMaxGradient>(device(), random_, roundings(kColumns));
}

TEST_P(GradientCheck, SoftMaxCrossEntropy) {
  for (const float smoothing : {0.0f, 0.125f}) {
    SCOPED_TRACE(smoothing);
    MatrixSoftMaxCrossEntropy kernel(device());
    kernel.weight = 0.75f;
    kernel.labelSmoothing = smoothing;
    const Values x = draw(random_, kRows * kColumns);
    Vector labels(device(), {.length = kRows, .dataType = DataType::uInt32});
    labels.write(std::vector<std::uint32_t>{0, 2, 1, 2});
    const Vector losses = vector(kRows);
    const Matrix dx = matrix(kRows, kColumns);
    const auto loss = [&](const Values& data) {
      execute(device(), [&](CommandBuffer& commands) {
        kernel.encode(commands, {.sourceMatrix = matrix(kRows, kColumns, data),
                                 .labelVector = labels,
                                 .resultLossVector = losses,
                                 .resultGradientMatrix = dx});
      });
      return weigh(Values(kRows, 1.0), losses.read<double>());
    };
    loss(x);
    expectGradient("logits", x, dx.read<double>(), roundings(kColumns), loss);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, GradientCheck, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid::conformance
