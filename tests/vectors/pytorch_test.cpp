// The kernels against what PyTorch computes in float64 (make_vectors.py).
//
// Expected values carry one rounding to float32. Ours may carry one for each term of a sum and a few for functions:
// tolerances are a number of roundings times 2^-24 times the size of the largest intermediate result.

#include "core/format.hpp"
#include "formats/safetensors.hpp"
#include "support/devices.hpp"

#include <metalloid/metalloid.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid {
namespace {

const formats::SafetensorsFile& vectors() {
  static const auto file = formats::SafetensorsFile::read(METALLOID_TESTS "/vectors/pytorch.safetensors");
  return file;
}

const formats::TensorView& tensor(const std::string& name) {
  const auto* const found = vectors().find(name);
  if (!found) throw std::runtime_error("pytorch.safetensors holds no " + name);
  return *found;
}

std::vector<float> values(const std::string& name) { return formats::floatValues(tensor(name)); }

std::vector<std::uint32_t> indices(const std::string& name) {
  const auto& bytes = tensor(name).bytes;
  std::vector<std::uint32_t> result(bytes.size() / sizeof(std::uint32_t));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

class PyTorch : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();

  Matrix matrix(const std::string& name) const {
    const auto& shape = tensor(name).shape;
    const Matrix result(device, {.rows = shape.at(0), .columns = shape.at(1)});
    result.write(values(name));
    return result;
  }
  Matrix matrixLike(const std::string& name) const {
    const auto& shape = tensor(name).shape;
    return Matrix(device, {.rows = shape.at(0), .columns = shape.at(1)});
  }
  Vector vector(const std::string& name) const {
    const auto content = values(name);
    const Vector result(device, {.length = content.size()});
    result.write(content);
    return result;
  }
  Vector vectorLike(const std::string& name) const { return Vector(device, {.length = values(name).size()}); }

  /// `roundings` of numbers as large as `scale`, and that of the expected value. The reference computes in double and
  /// rounds what it stores: results, and what they were made of.
  template <class Operand>
  void expectClose(const Operand& actual, const std::string& name, double roundings, double scale) const {
    expectClose(actual.template read<float>(), values(name), name, device.name() == "reference" ? 3 : roundings, scale);
  }
  static void expectClose(const std::vector<float>& actual, const std::vector<float>& expected, const std::string& name,
                          double roundings, double scale) {
    ASSERT_EQ(actual.size(), expected.size()) << name;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double tolerance = 0x1p-24 * (roundings * scale + std::fabs(static_cast<double>(expected[i])));
      EXPECT_NEAR(actual[i], expected[i], tolerance) << name << "[" << i << "]";
    }
  }
};

TEST_P(PyTorch, FullyConnected) {
  const std::string p = "fully_connected.";
  const Matrix y = matrixLike(p + "y"), dx = matrixLike(p + "dx"), dw = matrixLike(p + "dw");
  const Vector db = vectorLike(p + "db");
  testing::execute(device, [&](CommandBuffer& commands) {
    MatrixFullyConnected(device).encode(commands, {.inputMatrix = matrix(p + "x"),
                                                   .weightMatrix = matrix(p + "w"),
                                                   .biasVector = vector(p + "b"),
                                                   .resultMatrix = y});
    const MatrixFullyConnectedGradient gradient(device);
    gradient.encodeForData(
        commands,
        {.gradientMatrix = matrix(p + "dy"), .weightMatrix = matrix(p + "w"), .resultGradientForDataMatrix = dx});
    gradient.encodeForWeightsAndBias(commands, {.gradientMatrix = matrix(p + "dy"),
                                                .inputMatrix = matrix(p + "x"),
                                                .resultGradientForWeightMatrix = dw,
                                                .resultGradientForBiasVector = db});
  });
  // Sums of at most 7 products of at most 4, and a bias.
  expectClose(y, p + "y", 8, 30);
  expectClose(dx, p + "dx", 3, 12);
  expectClose(dw, p + "dw", 5, 20);
  expectClose(db, p + "db", 5, 10);
}

TEST_P(PyTorch, Neurons) {
  using enum CNNNeuronType;
  struct Named {
    std::string name;
    CNNNeuronType type;
  };
  for (const Named& neuron : std::vector<Named>{{"reLU", reLU},
                                                {"reLULeaky", reLU},
                                                {"linear", linear},
                                                {"sigmoid", sigmoid},
                                                {"hardSigmoid", hardSigmoid},
                                                {"tanH", tanH},
                                                {"tanHScaled", tanH},
                                                {"absolute", absolute},
                                                {"softPlus", softPlus},
                                                {"softPlusScaled", softPlus},
                                                {"softSign", softSign},
                                                {"ELU", ELU},
                                                {"pReLU", pReLU},
                                                {"reLU6", reLUN},
                                                {"power", power},
                                                {"powerCube", power},
                                                {"exponential", exponential},
                                                {"exponentialBase3", exponential},
                                                {"logarithm", logarithm},
                                                {"logarithmBase2", logarithm},
                                                {"geLU", geLU}}) {
    const CNNNeuronType type = neuron.type;
    SCOPED_TRACE(neuron.name);
    const std::string p = "neuron." + neuron.name + ".";
    const auto set = [&](auto& kernel) {
      kernel.alpha = 0.75;
      const auto parameters = values(p + "parameters");
      if (type == pReLU) {
        kernel.setNeuronToPReLU(values(p + "slopes"));
      } else {
        kernel.setNeuronType(type, parameters[0], parameters[1], parameters[2]);
      }
    };
    MatrixNeuron forward(device);
    MatrixNeuronGradient backward(device);
    set(forward);
    set(backward);
    const Matrix x = matrix(p + "x"), y = matrixLike(p + "y"), dx = matrixLike(p + "dx");
    const Vector bias = vector(p + "b"), db = vectorLike(p + "db");
    testing::execute(device, [&](CommandBuffer& commands) {
      forward.encode(commands, {.inputMatrix = x, .biasVector = bias, .resultMatrix = y});
      backward.encode(commands, {.gradientMatrix = matrix(p + "dy"),
                                 .inputMatrix = x,
                                 .biasVector = bias,
                                 .resultGradientForDataMatrix = dx,
                                 .resultGradientForBiasVector = db});
    });
    // Arguments of at most 12 with 2 roundings are multiplied by at most f' there, functions add up to 14 of their own
    // (7 units in the last place); derivatives of these functions stay below the values' largest or 1. Cubic growth
    // multiplies by 3.
    const auto largest = [&](const std::string& key) {
      double most = 1;
      for (const float value : values(p + key)) most = std::max(most, std::fabs(static_cast<double>(value)));
      return most;
    };
    expectClose(y, p + "y", 14 + 3 * 2, largest("y"));
    expectClose(dx, p + "dx", 2 * (14 + 3 * 2), largest("dx"));
    expectClose(db, p + "db", 6 + 2 * (14 + 3 * 2), 6 * largest("dx"));
  }
}

TEST_P(PyTorch, BatchNormalization) {
  for (const auto& [name, type] :
       {std::pair{"none", CNNNeuronType::none}, {"reLU", CNNNeuronType::reLU}, {"sigmoid", CNNNeuronType::sigmoid}}) {
    SCOPED_TRACE(name);
    const std::string p = fmt::format("batch_normalization.{}.", name);
    MatrixBatchNormalization forward(device);
    MatrixBatchNormalizationGradient backward(device);
    forward.computeStatistics = true;
    forward.epsilon = backward.epsilon = 0.0009765625f;
    forward.setNeuronType(type);
    backward.setNeuronType(type);
    const Matrix x = matrix(p + "x"), y = matrixLike(p + "y"), dx = matrixLike(p + "dx");
    const Vector mean = vectorLike(p + "mean"), variance = vectorLike(p + "variance");
    const Vector gamma = vector(p + "gamma"), beta = vector(p + "beta");
    const Vector dGamma = vectorLike(p + "dgamma"), dBeta = vectorLike(p + "dbeta");
    testing::execute(device, [&](CommandBuffer& commands) {
      forward.encode(commands, {.inputMatrix = x,
                                .meanVector = mean,
                                .varianceVector = variance,
                                .gammaVector = gamma,
                                .betaVector = beta,
                                .resultMatrix = y});
      backward.encode(commands, {.gradientMatrix = matrix(p + "dy"),
                                 .inputMatrix = x,
                                 .meanVector = mean,
                                 .varianceVector = variance,
                                 .gammaVector = gamma,
                                 .betaVector = beta,
                                 .resultGradientForDataMatrix = dx,
                                 .resultGradientForGammaVector = dGamma,
                                 .resultGradientForBetaVector = dBeta});
    });
    // Sums of 9 rows of numbers up to 3 and their squares; xhat is below 2 and gamma, beta, dy are too.
    expectClose(mean, p + "mean", 9 + 1, 3);
    expectClose(variance, p + "variance", 9 + 3, 4);
    expectClose(y, p + "y", 9 + 8, 6);
    expectClose(dBeta, p + "dbeta", 9 + 9 + 8, 18);
    expectClose(dGamma, p + "dgamma", 9 + 9 + 8, 36);
    expectClose(dx, p + "dx", 2 * (9 + 9 + 8), 16);
  }
}

template <class Forward, class Backward>
void checkSoftmax(const Device& device, const Matrix& x, const Matrix& dy, const Matrix& y, const Matrix& dx) {
  testing::execute(device, [&](CommandBuffer& commands) {
    Forward(device).encode(commands, {.inputMatrix = x, .resultMatrix = y});
    Backward(device).encode(commands, {.gradientMatrix = dy, .forwardOutputMatrix = y, .resultMatrix = dx});
  });
}

TEST_P(PyTorch, SoftMax) {
  const std::string p = "softmax.";
  const Matrix y = matrixLike(p + "y"), dx = matrixLike(p + "dx");
  checkSoftmax<MatrixSoftMax, MatrixSoftMaxGradient>(device, matrix(p + "x"), matrix(p + "dy"), y, dx);
  // Exponents below 10 in magnitude with one rounding, two exponentials, 6 terms and a division.
  expectClose(y, p + "y", 10 + 4 + 6 + 1, 1);
  expectClose(dx, p + "dx", 2 * (10 + 4 + 6 + 1) + 6, 2);
}

TEST_P(PyTorch, LogSoftMax) {
  const std::string p = "log_softmax.";
  const Matrix y = matrixLike(p + "y"), dx = matrixLike(p + "dx");
  checkSoftmax<MatrixLogSoftMax, MatrixLogSoftMaxGradient>(device, matrix(p + "x"), matrix(p + "dy"), y, dx);
  expectClose(y, p + "y", 6, 10);
  expectClose(dx, p + "dx", 10 + 2 + 6, 12);
}

TEST_P(PyTorch, CrossEntropy) {
  for (const float smoothing : {0.0f, 0.1f}) {
    const std::string p = fmt::format("cross_entropy.{:.1f}.", smoothing);
    SCOPED_TRACE(p);
    const auto labels = indices(p + "labels");
    const Vector labelVector(device, {.length = labels.size(), .dataType = DataType::uInt32});
    labelVector.write(labels);
    const Matrix dx = matrixLike(p + "dx");
    const Vector loss = vectorLike(p + "loss"), correct = vectorLike(p + "correct");
    MatrixSoftMaxCrossEntropy kernel(device);
    kernel.labelSmoothing = smoothing;
    testing::execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.sourceMatrix = matrix(p + "x"),
                               .labelVector = labelVector,
                               .resultLossVector = loss,
                               .resultCorrectVector = correct});
      kernel.weight = 1.0f / static_cast<float>(labels.size());  // PyTorch's mean, for the gradient
      kernel.encode(commands,
                    {.sourceMatrix = matrix(p + "x"), .labelVector = labelVector, .resultGradientMatrix = dx});
    });
    // smoothing is a float32 here and a double there: 0.1 differs by less than a rounding, times the losses of 10.
    expectClose(loss, p + "loss", 12, 10);
    expectClose(dx, p + "dx", 10 + 4 + 5 + 4, 1.0 / 6);
    EXPECT_EQ(correct.read<float>(), values(p + "correct"));
  }
}

// --- Optimizers -----------------------------------------------------------------------------------------------------

constexpr NNOptimizerDescriptor kRate{.learningRate = 0.0625f};
constexpr NNOptimizerDescriptor kRateAndDecay{
    .learningRate = 0.0625f, .regularizationType = NNRegularizationType::L2, .regularizationScale = 0.125f};

/// One row of a tensor of several steps.
std::vector<float> step(const std::string& name, std::size_t index) {
  const auto all = values(name);
  const auto length = static_cast<std::ptrdiff_t>(tensor(name).shape.at(1));
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(index) * length;
  return {begin, begin + length};
}

/// Calls `encode(commands, gradient, t)` for every step and `check(t)` after it.
template <class Encode, class Check>
void forEachStep(const Device& device, const std::string& p, Encode encode, Check check) {
  const auto& shape = tensor(p + "gradients").shape;
  for (std::size_t t = 0; t < shape.at(0); ++t) {
    SCOPED_TRACE(fmt::format("{} step {}", p, t + 1));
    const Vector gradient(device, {.length = shape.at(1)});
    gradient.write(step(p + "gradients", t));
    testing::execute(device, [&](CommandBuffer& commands) { encode(commands, gradient, t); });
    check(t);
  }
}

// Each step rounds the weights twice, in a subtraction and a product of the step's size, and state likewise; errors of
// earlier steps stay.
double roundingsAfter(std::size_t t) { return 2 * static_cast<double>(t + 1); }
constexpr double kScale = 4;  // no weight and no square becomes larger

TEST_P(PyTorch, StochasticGradientDescent) {
  struct Setup {
    std::string name;
    NNOptimizerStochasticGradientDescent::Descriptor descriptor;
    bool hasMomentum;
  };
  for (const auto& [name, descriptor, hasMomentum] :
       {Setup{"sgd", {.optimizerDescriptor = kRate}, false},
        Setup{"sgd_decay", {.momentumScale = 0.5f, .optimizerDescriptor = kRateAndDecay}, false},
        Setup{"sgd_momentum", {.momentumScale = 0.875f, .optimizerDescriptor = kRate}, true},
        Setup{"sgd_nesterov",
              {.momentumScale = 0.875f, .useNesterovMomentum = true, .optimizerDescriptor = kRate},
              true}}) {
    const std::string p = "optimizer." + name + ".";
    const Vector w = vector(p + "w"), momentum = hasMomentum ? vectorLike(p + "w") : Vector();
    const NNOptimizerStochasticGradientDescent kernel(device, descriptor);
    forEachStep(
        device, p,
        [&](CommandBuffer& commands, const Vector& gradient, std::size_t) {
          kernel.encode(commands, NNOptimizerStochasticGradientDescent::VectorArguments{.inputGradientVector = gradient,
                                                                                        .inputValuesVector = w,
                                                                                        .inputMomentumVector = momentum,
                                                                                        .resultValuesVector = w});
        },
        [&](std::size_t t) {
          expectClose(w.read<float>(), step(p + "weights", t), "weights", roundingsAfter(t), kScale);
          if (momentum) {
            // Nesterov's momentum has the size of gradients, of at most 2 / (1 - 0.875).
            expectClose(momentum.read<float>(), step(p + "momentum", t), "momentum", roundingsAfter(t), 16);
          }
        });
  }
}

TEST_P(PyTorch, RMSProp) {
  const std::string p = "optimizer.rmsprop.";
  const Vector w = vector(p + "w"), squares = vectorLike(p + "w");
  const NNOptimizerRMSProp kernel(device, {.decay = 0.9, .epsilon = 0.0009765625f, .optimizerDescriptor = kRate});
  forEachStep(
      device, p,
      [&](CommandBuffer& commands, const Vector& gradient, std::size_t) {
        kernel.encode(commands, NNOptimizerRMSProp::VectorArguments{.inputGradientVector = gradient,
                                                                    .inputValuesVector = w,
                                                                    .inputSumOfSquaresVector = squares,
                                                                    .resultValuesVector = w});
      },
      [&](std::size_t t) {
        expectClose(w.read<float>(), step(p + "weights", t), "weights", roundingsAfter(t), kScale);
        expectClose(squares.read<float>(), step(p + "sum_of_squares", t), "sum of squares", roundingsAfter(t), kScale);
      });
}

// PyTorch adds epsilon to the corrected root, sqrt(v / (1 - beta2^t)), we to sqrt(v): ours is
// epsilon * sqrt(1 - beta2^t), another one in every step.
TEST_P(PyTorch, AdamAndAMSGrad) {
  struct Setup {
    std::string name;
    double beta2;
    NNOptimizerDescriptor descriptor;
    bool isAMSGrad;
  };
  for (const Setup& setup : {Setup{"adam", 0.99, kRate, false}, Setup{"adam_decay", 0.99, kRateAndDecay, false},
                             Setup{"amsgrad", 0.5, kRate, true}}) {
    const std::string p = "optimizer." + setup.name + ".";
    const Vector w = vector(p + "w"), momentum = vectorLike(p + "w"), velocity = vectorLike(p + "w");
    const Vector maximum = setup.isAMSGrad ? vectorLike(p + "w") : Vector();
    forEachStep(
        device, p,
        [&](CommandBuffer& commands, const Vector& gradient, std::size_t t) {
          const double epsilon = 0.0009765625 * std::sqrt(1 - std::pow(setup.beta2, static_cast<double>(t + 1)));
          NNOptimizerAdam kernel(device, {.beta1 = 0.9,
                                          .beta2 = setup.beta2,
                                          .epsilon = static_cast<float>(epsilon),
                                          .timeStep = t,
                                          .optimizerDescriptor = setup.descriptor});
          kernel.encode(commands, NNOptimizerAdam::VectorArguments{.inputGradientVector = gradient,
                                                                   .inputValuesVector = w,
                                                                   .inputMomentumVector = momentum,
                                                                   .inputVelocityVector = velocity,
                                                                   .maximumVelocityVector = maximum,
                                                                   .resultValuesVector = w});
        },
        [&](std::size_t t) {
          expectClose(w.read<float>(), step(p + "weights", t), "weights", roundingsAfter(t), kScale);
          expectClose(momentum.read<float>(), step(p + "momentum", t), "momentum", roundingsAfter(t), kScale);
          expectClose(velocity.read<float>(), step(p + "velocity", t), "velocity", roundingsAfter(t), kScale);
          if (setup.isAMSGrad) {
            expectClose(maximum.read<float>(), step(p + "maximum_velocity", t), "maximum", roundingsAfter(t), kScale);
          }
        });
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, PyTorch, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid
