#include "math/neuron.hpp"

#include "math/neuron_edges.hpp"

#include <metalloid/error.hpp>

#include <cmath>
#include <functional>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>

namespace metalloid::math {
namespace {

using Real = long double;

/// A neuron with its value and derivative written a second time, straight from the definitions, in long double.
struct Case {
  const char* name;
  CNNNeuronType type;
  NeuronParameters parameters;
  Real (*value)(Real x);
  Real (*derivative)(Real x);
  Real lower;
  Real upper;
  Real kink = 0;  // where f has no derivative; the central differences stay away from it
  Real secondKink = 0;
};

constexpr Real kPi = 3.14159265358979323846264338327950288L;

Real u(Real a, Real x, Real b) { return a * x + b; }

const Case kCases[] = {
    {"none", CNNNeuronType::none, {}, [](Real x) { return x; }, [](Real) -> Real { return 1; }, -5, 5},
    {"reLU",
     CNNNeuronType::reLU,
     {0.25f},
     [](Real x) { return x >= 0 ? x : x / 4; },
     [](Real x) -> Real { return x >= 0 ? 1 : 0.25L; },
     -5,
     5},
    {"linear",
     CNNNeuronType::linear,
     {-1.5f, 0.75f},
     [](Real x) { return u(-1.5L, x, 0.75L); },
     [](Real) -> Real { return -1.5L; },
     -5,
     5},
    {"sigmoid",
     CNNNeuronType::sigmoid,
     {},
     [](Real x) { return 1 / (1 + std::exp(-x)); },
     [](Real x) { return 1 / ((1 + std::exp(-x)) * (1 + std::exp(x))); },
     -40,
     40},
    {"hardSigmoid",
     CNNNeuronType::hardSigmoid,
     {0.25f, 0.5f},
     [](Real x) { return std::fmin(std::fmax(u(0.25L, x, 0.5L), 0.0L), 1.0L); },
     [](Real x) -> Real { return x >= -2 && x <= 2 ? 0.25L : 0; },
     -5,
     5,
     -2,
     2},
    {"tanH",
     CNNNeuronType::tanH,
     {1.5f, 0.5f},
     [](Real x) { return 1.5L * std::tanh(x / 2); },
     [](Real x) { return 0.75L / (std::cosh(x / 2) * std::cosh(x / 2)); },
     -40,
     40},
    {"absolute",
     CNNNeuronType::absolute,
     {},
     [](Real x) { return std::fabs(x); },
     [](Real x) -> Real { return x > 0 ? 1 : -1; },
     -5,
     5},
    {"softPlus",
     CNNNeuronType::softPlus,
     {0.5f, 2},
     [](Real x) { return 0.5L * std::log1p(std::exp(2 * x)); },
     [](Real x) { return 1 / (1 + std::exp(-2 * x)); },
     -30,
     30},
    {"softSign",
     CNNNeuronType::softSign,
     {},
     [](Real x) { return x / (1 + std::fabs(x)); },
     [](Real x) { return 1 / ((1 + std::fabs(x)) * (1 + std::fabs(x))); },
     -30,
     30},
    {"ELU",
     CNNNeuronType::ELU,
     {1.5f},
     [](Real x) { return x >= 0 ? x : 1.5L * std::expm1(x); },
     [](Real x) -> Real { return x >= 0 ? 1 : 1.5L * std::exp(x); },
     -30,
     5},
    {"pReLU",
     CNNNeuronType::pReLU,
     {},
     [](Real x) { return x >= 0 ? x : -0.5L * x; },
     [](Real x) -> Real { return x >= 0 ? 1 : -0.5L; },
     -5,
     5},
    {"reLUN",
     CNNNeuronType::reLUN,
     {0.5f, 3},
     [](Real x) { return std::fmin(x >= 0 ? x : x / 2, 3.0L); },
     [](Real x) -> Real { return x >= 3   ? 0
                                 : x >= 0 ? 1
                                          : 0.5L; },
     -5,
     5,
     0,
     3},
    {"power",
     CNNNeuronType::power,
     {0.5f, 3, 2.5f},
     [](Real x) { return std::pow(u(0.5L, x, 3), 2.5L); },
     [](Real x) { return 1.25L * std::pow(u(0.5L, x, 3), 1.5L); },
     -5,
     5},
    {"powerNegative",
     CNNNeuronType::power,
     {1, 0, -3},
     [](Real x) { return 1 / (x * x * x); },
     [](Real x) { return -3 / (x * x * x * x); },
     -5,
     -1},
    {"exponential",
     CNNNeuronType::exponential,
     {0.5f, 1, -1},
     [](Real x) { return std::exp(u(0.5L, x, 1)); },
     [](Real x) { return 0.5L * std::exp(u(0.5L, x, 1)); },
     -5,
     5},
    {"exponentialThree",
     CNNNeuronType::exponential,
     {-1.5f, 1, 3},
     [](Real x) { return std::pow(3.0L, u(-1.5L, x, 1)); },
     [](Real x) { return -1.5L * std::log(3.0L) * std::pow(3.0L, u(-1.5L, x, 1)); },
     -5,
     5},
    {"logarithm",
     CNNNeuronType::logarithm,
     {2, 11, -1},
     [](Real x) { return std::log(u(2, x, 11)); },
     [](Real x) { return 2 / u(2, x, 11); },
     -5,
     5},
    {"logarithmHalf",
     CNNNeuronType::logarithm,
     {2, 12, 0.5f},
     [](Real x) { return -std::log2(u(2, x, 12)); },
     [](Real x) { return -2 / (u(2, x, 12) * std::log(2.0L)); },
     -5,
     5},
    {"geLU",
     CNNNeuronType::geLU,
     {},
     [](Real x) { return x / 2 * std::erfc(-x / std::sqrt(2.0L)); },
     [](Real x) { return std::erfc(-x / std::sqrt(2.0L)) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * kPi); },
     -30,
     30},
};

constexpr float kPReLUSlope = -0.5f;

class NeuronFormula : public testing::TestWithParam<Case> {
 protected:
  Neuron neuron() const {
    const NeuronParameters& p = GetParam().parameters;
    return makeNeuron(GetParam().type, p.a, p.b, p.c);
  }

  /// Calls check(x) at points across the case's range.
  void atPoints(const std::function<void(double)>& check) const {
    constexpr int kPoints = 1013;
    const Case& c = GetParam();
    for (int i = 0; i <= kPoints; ++i) check(static_cast<double>(c.lower + (c.upper - c.lower) * i / kPoints));
  }
};

// A handful of operations of half a ULP each. The largest condition number is that of GeLU's tail: the two roundings of
// erfc's argument are each multiplied by up to x^2 = 900.
constexpr double kRelative = 2000 * 0x1p-53;

TEST_P(NeuronFormula, ValueIsTheDefinition) {
  const Neuron n = neuron();
  atPoints([&](double x) {
    const auto expected = static_cast<double>(GetParam().value(x));
    EXPECT_NEAR(neuronValue(n, x, kPReLUSlope), expected, kRelative * std::fabs(expected)) << "x = " << x;
  });
}

TEST_P(NeuronFormula, DerivativeIsTheDefinition) {
  const Neuron n = neuron();
  // GeLU' has a zero that is not at x = 0: two terms of about 0.23 cancel.
  const double absolute = n.type == CNNNeuronType::geLU ? 4 * 0x1p-53 : 0;
  atPoints([&](double x) {
    const auto expected = static_cast<double>(GetParam().derivative(x));
    EXPECT_NEAR(neuronDerivative(n, x, kPReLUSlope), expected, kRelative * std::fabs(expected) + absolute)
        << "x = " << x;
  });
}

TEST_P(NeuronFormula, DerivativeIsTheCentralDifference) {
  const Case& c = GetParam();
  const Neuron n = neuron();
  // The difference quotient's error is h^2/6*|f'''| from the series and 2^-53*|f|/h from rounding.
  constexpr double kStep = 0x1p-17;
  atPoints([&](double x) {
    if (std::fabs(x - static_cast<double>(c.kink)) < 2 * kStep) return;
    if (std::fabs(x - static_cast<double>(c.secondKink)) < 2 * kStep) return;
    const double above = neuronValue(n, x + kStep, kPReLUSlope);
    const double below = neuronValue(n, x - kStep, kPReLUSlope);
    const double magnitude = std::fabs(above) + 1;
    // Measured against the largest of f and 1: all cases have |f'''| below 200*(|f| + 1).
    const double tolerance = magnitude * (200.0 / 6 * kStep * kStep + 4 * 0x1p-53 / kStep);
    EXPECT_NEAR(neuronDerivative(n, x, kPReLUSlope), (above - below) / (2 * kStep), tolerance) << "x = " << x;
  });
}

INSTANTIATE_TEST_SUITE_P(Neurons, NeuronFormula, testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Neuron, EdgesInDoublePrecision) {
  for (const NeuronEdge& edge : kNeuronEdges) {
    const Neuron n = makeNeuron(edge.type, edge.parameters.a, edge.parameters.b, edge.parameters.c);
    const double value = neuronValue(n, double{edge.x}, double{edge.slope});
    const double derivative = neuronDerivative(n, double{edge.x}, double{edge.slope});
    const auto label = [&] {
      return std::string(name(edge.type)) + " a = " + std::to_string(n.a) + " b = " + std::to_string(n.b) +
             " c = " + std::to_string(n.c) + " x = " + std::to_string(edge.x);
    };
    EXPECT_TRUE(isSame(value, edge.value)) << label() << ": value " << value << ", expected " << edge.value;
    EXPECT_TRUE(isSame(derivative, edge.derivative))
        << label() << ": derivative " << derivative << ", expected " << edge.derivative;
  }
}

TEST(Neuron, TailsKeepTheirRelativeAccuracy) {
  const Neuron sigmoid = makeNeuron(CNNNeuronType::sigmoid);
  EXPECT_NEAR(neuronDerivative(sigmoid, 100) / std::exp(-100.0), 1, 1e-14);
  EXPECT_NEAR(neuronValue(sigmoid, -700) / std::exp(-700.0), 1, 1e-14);
  EXPECT_NEAR(neuronDerivative(makeNeuron(CNNNeuronType::tanH, 1, 1), 100) / (4 * std::exp(-200.0)), 1, 1e-14);
  EXPECT_NEAR(neuronValue(makeNeuron(CNNNeuronType::softPlus, 1, 1), -300) / std::exp(-300.0), 1, 1e-14);
  // Phi(-30) from a table of the normal distribution: 4.9067139e-198
  EXPECT_NEAR(neuronValue(makeNeuron(CNNNeuronType::geLU), -30) / (-30 * 4.906713927148187e-198), 1, 1e-12);
}

TEST(Neuron, DispatchCallsTheTypesTag) {
  for (int i = 0; i < static_cast<int>(CNNNeuronType::count); ++i) {
    const auto type = static_cast<CNNNeuronType>(i);
    EXPECT_EQ(dispatch(type, [](auto tag) { return tag.value; }), type);
  }
  EXPECT_EQ(dispatch(CNNNeuronType::count, [](auto tag) { return tag.value; }), CNNNeuronType::none);
}

TEST(Neuron, NamesAreTheEnumerators) {
  EXPECT_EQ(name(CNNNeuronType::none), "none");
  EXPECT_EQ(name(CNNNeuronType::ELU), "ELU");
  EXPECT_EQ(name(CNNNeuronType::geLU), "geLU");
  EXPECT_EQ(name(static_cast<CNNNeuronType>(-1)), "unknown");
  EXPECT_EQ(name(static_cast<CNNNeuronType>(17)), "unknown");
}

TEST(NeuronParameters, DefaultsAreTheDocumentedOnes) {
  const auto expect = [](CNNNeuronType type, float a, float b, float c) {
    const NeuronParameters p = defaultParameters(type);
    EXPECT_EQ(p.a, a) << name(type);
    EXPECT_EQ(p.b, b) << name(type);
    EXPECT_EQ(p.c, c) << name(type);
  };
  expect(CNNNeuronType::reLU, 0, 0, 0);
  expect(CNNNeuronType::linear, 1, 0, 0);
  expect(CNNNeuronType::hardSigmoid, 0.2f, 0.5f, 0);
  expect(CNNNeuronType::tanH, 1, 1, 0);
  expect(CNNNeuronType::softPlus, 1, 1, 0);
  expect(CNNNeuronType::ELU, 1, 0, 0);
  expect(CNNNeuronType::reLUN, 1, 6, 0);
  expect(CNNNeuronType::power, 1, 0, 1);
  expect(CNNNeuronType::exponential, 1, 0, -1);
  expect(CNNNeuronType::logarithm, 1, 0, -1);
  EXPECT_THROW(defaultParameters(CNNNeuronType::count), Error);
}

TEST(NeuronParameters, DefaultsAreLegal) {
  for (int i = 0; i < static_cast<int>(CNNNeuronType::count); ++i) {
    const auto type = static_cast<CNNNeuronType>(i);
    if (type == CNNNeuronType::pReLU) continue;
    const NeuronParameters p = defaultParameters(type);
    EXPECT_NO_THROW(checkNeuronParameters(type, p.a, p.b, p.c)) << name(type);
  }
}

void expectRefused(CNNNeuronType type, float a, float b, float c, const std::string& part) {
  try {
    checkNeuronParameters(type, a, b, c);
    ADD_FAILURE() << name(type) << " accepts a = " << a << ", b = " << b << ", c = " << c;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(NeuronParameters, RefusesNaNInWhatTheTypeUses) {
  expectRefused(CNNNeuronType::reLU, kNaN, 0, 0, "Parameter a of the neuron type reLU is NaN");
  expectRefused(CNNNeuronType::linear, 1, kNaN, 0, "Parameter b of the neuron type linear");
  expectRefused(CNNNeuronType::reLUN, 1, kNaN, 0, "Parameter b");
  expectRefused(CNNNeuronType::power, 1, 0, kNaN, "Parameter c");
  expectRefused(CNNNeuronType::exponential, 1, 0, kNaN, "Parameter c");
  expectRefused(CNNNeuronType::logarithm, kNaN, 0, 2, "Parameter a");
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::sigmoid, kNaN, kNaN, kNaN));
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::reLU, 0, kNaN, kNaN));
}

TEST(NeuronParameters, RefusesBasesWithoutAFunction) {
  expectRefused(CNNNeuronType::exponential, 1, 0, 0, "c of the neuron type exponential is 0");
  expectRefused(CNNNeuronType::exponential, 1, 0, -2, "c of the neuron type exponential is -2");
  expectRefused(CNNNeuronType::logarithm, 1, 0, 0, "c of the neuron type logarithm is 0");
  expectRefused(CNNNeuronType::logarithm, 1, 0, 1, "c of the neuron type logarithm is 1");
  expectRefused(CNNNeuronType::logarithm, 1, 0, std::nextafter(-1.0f, 0.0f), "base e");
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::exponential, 1, 0, 1));
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::exponential, 1, 0, 1e-30f));
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::logarithm, 1, 0, 0.5f));
}

TEST(NeuronParameters, AcceptsEverythingElse) {
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::reLU, -3, 0, 0));
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::reLUN, -3, kInf, 0));
  EXPECT_NO_THROW(checkNeuronParameters(CNNNeuronType::power, 0, 0, -1));
}

TEST(NeuronParameters, RefusesPReLUAndNamesItsSetter) {
  expectRefused(CNNNeuronType::pReLU, 0.25f, 0, 0, "setNeuronToPReLU");
}

TEST(NeuronParameters, RefusesValuesOutsideTheEnumeration) {
  expectRefused(CNNNeuronType::count, 0, 0, 0, "CNNNeuronType 16");
  expectRefused(static_cast<CNNNeuronType>(-1), 0, 0, 0, "CNNNeuronType -1");
}

}  // namespace
}  // namespace metalloid::math
