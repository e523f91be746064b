// What the neurons give where derivatives jump and domains end, through the kernels: the stated values, to the bit.

#include "support/devices.hpp"

#include <metalloid/matrix_neuron.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();

struct Point {
  float x;
  float value;
  float derivative;
};

struct Neuron {
  const char* name;
  CNNNeuronType type;
  float a, b, c;
  std::vector<Point> points;
};

const float kBelowTwo = std::nextafter(2.0f, 0.0f), kAboveTwo = std::nextafter(2.0f, 3.0f);

const std::vector<Neuron> kNeurons = {
    {"none", CNNNeuronType::none, 0, 0, 0, {{-0.0f, -0.0f, 1}, {kInfinity, kInfinity, 1}}},
    {"reLU",
     CNNNeuronType::reLU,
     0,
     0,
     0,
     {{0, 0, 1}, {-0.0f, -0.0f, 1}, {-kTiny, 0, 0}, {kTiny, kTiny, 1}, {-kInfinity, 0, 0}, {kInfinity, kInfinity, 1}}},
    {"reLULeaky", CNNNeuronType::reLU, 0.5f, 0, 0, {{0, 0, 1}, {-2, -1, 0.5f}, {-kInfinity, -kInfinity, 0.5f}}},
    {"linear", CNNNeuronType::linear, 2, 1, 0, {{0, 1, 2}, {kNaN, kNaN, 2}}},
    {"sigmoid",
     CNNNeuronType::sigmoid,
     0,
     0,
     0,
     {{0, 0.5f, 0.25f}, {kInfinity, 1, 0}, {-kInfinity, 0, 0}, {kNaN, kNaN, kNaN}}},
    // u = 0.25 * x + 0.5: kinks at -2 and 2, the closed interval has the slope
    {"hardSigmoid",
     CNNNeuronType::hardSigmoid,
     0.25f,
     0.5f,
     0,
     {{-2, 0, 0.25f}, {2, 1, 0.25f}, {-3, 0, 0}, {3, 1, 0}, {0, 0.5f, 0.25f}, {kInfinity, 1, 0}}},
    {"tanH", CNNNeuronType::tanH, 1, 1, 0, {{0, 0, 1}, {-0.0f, -0.0f, 1}, {kInfinity, 1, 0}, {-kInfinity, -1, 0}}},
    {"absolute",
     CNNNeuronType::absolute,
     0,
     0,
     0,
     {{0, 0, 0}, {-0.0f, 0, -0.0f}, {kTiny, kTiny, 1}, {-kTiny, kTiny, -1}, {kNaN, kNaN, kNaN}}},
    {"softPlus", CNNNeuronType::softPlus, 2, 1, 0, {{kInfinity, kInfinity, 2}, {-kInfinity, 0, 0}, {200, 400, 2}}},
    {"softSign",
     CNNNeuronType::softSign,
     0,
     0,
     0,
     {{0, 0, 1}, {kInfinity, 1, 0}, {-kInfinity, -1, 0}, {1, 0.5f, 0.25f}}},
    {"ELU", CNNNeuronType::ELU, 1.5f, 0, 0, {{0, 0, 1}, {-0.0f, -0.0f, 1}, {-kInfinity, -1.5f, 0}}},
    {"reLUN",
     CNNNeuronType::reLUN,
     0.5f,
     2,
     0,
     {{0, 0, 1}, {-2, -1, 0.5f}, {kBelowTwo, kBelowTwo, 1}, {2, 2, 0}, {kAboveTwo, 2, 0}, {kNaN, kNaN, 0}}},
    // a negative slope meets the cap once more, at x = -4
    {"reLUNNegative", CNNNeuronType::reLUN, -0.5f, 2, 0, {{-4, 2, 0}, {-5, 2, 0}, {-2, 1, -0.5f}}},
    {"reLUNUncapped", CNNNeuronType::reLUN, 1, kInfinity, 0, {{5, 5, 1}, {-5, -5, 1}}},
    {"powerOne", CNNNeuronType::power, 2, 0, 1, {{0, 0, 2}, {-3, -6, 2}}},
    {"powerTwo", CNNNeuronType::power, 2, 0, 2, {{0, 0, 0}, {-1, 4, -8}}},
    {"powerHalf", CNNNeuronType::power, 2, 0, 0.5f, {{0, 0, kInfinity}, {2, 2, 0.5f}, {-1, kNaN, kNaN}}},
    {"powerHalfMirrored", CNNNeuronType::power, -2, 0, 0.5f, {{-0.0f, 0, -kInfinity}}},
    {"powerMinusOne",
     CNNNeuronType::power,
     1,
     0,
     -1,
     {{0, kInfinity, -kInfinity}, {-0.0f, kInfinity, -kInfinity}, {-2, -0.5f, -0.25f}}},
    {"powerZero", CNNNeuronType::power, 1, 0, 0, {{0, 1, 0}, {-7, 1, 0}, {kInfinity, 1, 0}}},
    {"powerConstant", CNNNeuronType::power, 0, 0, -1, {{5, kInfinity, 0}}},
    {"exponential",
     CNNNeuronType::exponential,
     1,
     0,
     -1,
     {{0, 1, 1}, {-kInfinity, 0, 0}, {1000, kInfinity, kInfinity}}},
    {"exponentialBaseOne", CNNNeuronType::exponential, 1, 0, 1, {{5, 1, 0}, {-5, 1, 0}}},
    {"exponentialBaseTwo", CNNNeuronType::exponential, 1, 1, 2, {{0, 2, 1.3862944f}, {3, 16, 11.090355f}}},
    {"logarithm",
     CNNNeuronType::logarithm,
     2,
     0,
     -1,
     {{0, -kInfinity, kInfinity}, {0.5f, 0, 2}, {-0.5f, kNaN, -2}, {kInfinity, kInfinity, 0}}},
    // below base 1 the signs flip
    {"logarithmBaseHalf", CNNNeuronType::logarithm, 1, 0, 0.5f, {{0, kInfinity, -kInfinity}, {4, -2, -0.36067376f}}},
    {"geLU", CNNNeuronType::geLU, 0, 0, 0, {{0, 0, 0.5f}, {kInfinity, kInfinity, 1}, {-kInfinity, -0.0f, 0}}},
};

/// Equal bits, but that every NaN is the same, and 0 and -0 where a formula does not say which.
void expectSame(float actual, float expected, const char* what, float x) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << what << " at " << x << " is " << actual;
  } else {
    EXPECT_EQ(actual, expected) << what << " at " << x;
  }
}

class Kinks : public ::testing::TestWithParam<Device> {};

TEST_P(Kinks, AreAsStated) {
  const Device& device = GetParam();
  for (const Neuron& neuron : kNeurons) {
    SCOPED_TRACE(neuron.name);
    // More columns than the longest vector, so that whole vectors and their ends both see every point.
    constexpr std::size_t kRepeats = 7;
    std::vector<float> x;
    for (std::size_t i = 0; i < kRepeats; ++i) {
      for (const Point& point : neuron.points) x.push_back(point.x);
    }
    const MatrixDescriptor row{.rows = 1, .columns = x.size()};
    const Matrix input(device, row), value(device, row), derivative(device, row), ones(device, row);
    input.write(x);
    ones.write(std::vector<float>(x.size(), 1));
    MatrixNeuron forward(device);
    MatrixNeuronGradient backward(device);
    forward.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
    backward.setNeuronType(neuron.type, neuron.a, neuron.b, neuron.c);
    testing::execute(device, [&](CommandBuffer& commands) {
      forward.encode(commands, {.inputMatrix = input, .resultMatrix = value});
      backward.encode(commands,
                      {.gradientMatrix = ones, .inputMatrix = input, .resultGradientForDataMatrix = derivative});
    });
    const auto values = value.read<float>(), derivatives = derivative.read<float>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Point& point = neuron.points[i % neuron.points.size()];
      expectSame(values[i], point.value, "f", point.x);
      expectSame(derivatives[i], point.derivative, "f'", point.x);
      if (point.x == 0 && point.value == 0 && neuron.type == CNNNeuronType::reLU) {
        EXPECT_EQ(std::signbit(values[i]), std::signbit(point.value)) << "the sign of " << point.x << " is lost";
      }
    }
  }
}

TEST_P(Kinks, OfAPReLUBelongToTheSlope) {
  const Device& device = GetParam();
  const std::vector<float> slopes = {0.25f, -3, 0}, x = {0, -0.0f, -kInfinity, -2, -2, -2};
  const MatrixDescriptor shape{.rows = 2, .columns = 3};
  const Matrix input(device, shape), value(device, shape), derivative(device, shape), ones(device, shape);
  input.write(x);
  ones.write(std::vector<float>(6, 1));
  MatrixNeuron forward(device);
  MatrixNeuronGradient backward(device);
  forward.setNeuronToPReLU(slopes);
  backward.setNeuronToPReLU(slopes);
  testing::execute(device, [&](CommandBuffer& commands) {
    forward.encode(commands, {.inputMatrix = input, .resultMatrix = value});
    backward.encode(commands,
                    {.gradientMatrix = ones, .inputMatrix = input, .resultGradientForDataMatrix = derivative});
  });
  EXPECT_EQ(value.read<float>(), (std::vector<float>{0, -0.0f, 0, -0.5f, 6, 0}));
  EXPECT_EQ(derivative.read<float>(), (std::vector<float>{1, 1, 0, 0.25f, -3, 0}));
}

INSTANTIATE_TEST_SUITE_P(Devices, Kinks, ::testing::ValuesIn(testing::computingDevices()),
                         [](const auto& test) { return testing::identifier(test.param); });

}  // namespace
}  // namespace metalloid::conformance
