// The float32 functions and neuron formulas, scalar and on every SIMD target of this machine, against double precision.

// foreach_target.h comes first; it compiles this file once per target.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "math/vector_math_test.cpp"
#include <hwy/foreach_target.h>
#include "math/neuron.hpp"
#include "math/vector_math-inl.h"
// clang-format on

#ifndef METALLOID_TESTS_MATH_VECTOR_MATH_TEST_ONCE
#define METALLOID_TESTS_MATH_VECTOR_MATH_TEST_ONCE

#include <cstddef>

namespace metalloid::math {

enum class Function { exp, expm1, log, log1p, log1pUnit, tanh, cumulative, density };
enum class Result { value, derivative };

}  // namespace metalloid::math

#endif

HWY_BEFORE_NAMESPACE();
namespace metalloid::math {
namespace HWY_NAMESPACE {

template <Function kFunction, class Ops, class Value = typename Ops::Value>
HWY_INLINE Value evaluate(const Ops& o, Value x) {
  if constexpr (kFunction == Function::exp) return o.exp(x);
  if constexpr (kFunction == Function::expm1) return o.expm1(x);
  if constexpr (kFunction == Function::log) return o.log(x);
  if constexpr (kFunction == Function::log1p) return o.log1p(x);
  if constexpr (kFunction == Function::log1pUnit) return o.log1pUnit(x);
  if constexpr (kFunction == Function::tanh) return o.tanh(x);
  if constexpr (kFunction == Function::cumulative) return o.normal(x).cumulative;
  if constexpr (kFunction == Function::density) return o.normal(x).density;
}

// All counts are multiples of the longest vector.
template <Function kFunction>
void applyOne(const float* x, float* y, std::size_t count) {
  const hn::ScalableTag<float> d;
  const VectorOps<decltype(d)> ops;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    hn::StoreU(evaluate<kFunction>(ops, hn::LoadU(d, x + i)), d, y + i);
  }
}

void applyFunction(Function function, const float* x, float* y, std::size_t count) {
  switch (function) {
    case Function::exp:
      return applyOne<Function::exp>(x, y, count);
    case Function::expm1:
      return applyOne<Function::expm1>(x, y, count);
    case Function::log:
      return applyOne<Function::log>(x, y, count);
    case Function::log1p:
      return applyOne<Function::log1p>(x, y, count);
    case Function::log1pUnit:
      return applyOne<Function::log1pUnit>(x, y, count);
    case Function::tanh:
      return applyOne<Function::tanh>(x, y, count);
    case Function::cumulative:
      return applyOne<Function::cumulative>(x, y, count);
    case Function::density:
      return applyOne<Function::density>(x, y, count);
  }
}

void applyNeuron(const Neuron& neuron, Result result, const float* x, const float* slopes, float* y,
                 std::size_t count) {
  dispatch(neuron.type, [&](auto tag) HWY_ATTR {
    const hn::ScalableTag<float> d;
    const VectorOps<decltype(d)> ops;
    for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
      const auto argument = hn::LoadU(d, x + i);
      const auto slope = hn::LoadU(d, slopes + i);
      hn::StoreU(result == Result::value ? neuronValue<tag.value>(ops, neuron, argument, slope)
                                         : neuronDerivative<tag.value>(ops, neuron, argument, slope),
                 d, y + i);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::math
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "math/neuron_edges.hpp"
#include "math/scalar_ops.hpp"
#include "math/ulp.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::math {
namespace {

HWY_EXPORT(applyFunction);
HWY_EXPORT(applyNeuron);

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kLongestVector = 16;

constexpr std::uint32_t kStride = 9973;  // a prime, so that the samples' mantissas differ from exponent to exponent

// A run of a computation: what made it, whether multiply-add was fused there, and the results.
struct TargetRun {
  std::string name;
  bool isFused;
  std::vector<float> results;
};

// Runs compute(results) once for each SIMD target of this machine.
template <class Compute>
void appendRunsOnAllTargets(std::vector<TargetRun>& runs, std::size_t count, const Compute& compute) {
  hwy::SetSupportedTargetsForTest(0);
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    runs.push_back({hwy::TargetName(target), target <= HWY_AVX2, std::vector<float>(count)});
    compute(runs.back().results.data());
  }
  hwy::SetSupportedTargetsForTest(0);
}

// Every kStride-th float32 by representation, so that every exponent, denormals and both signs are there, and all of
// the ends and of the points where a function's evaluation changes.
std::vector<float> floatSamples(float lower, float upper) {
  std::vector<float> samples;
  const auto add = [&](float x) {
    if (std::isnan(x) || (x >= lower && x <= upper)) samples.push_back(x);
  };
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += kStride) {
    add(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  for (const float special : {0.0f,
                              1e-45f,
                              0x1p-126f,
                              0x1.fffffcp-127f,
                              1e-8f,
                              0.5f,
                              0x1.6a09e6p-1f,
                              0x1.6a09e8p-1f,
                              1.0f,
                              0x1.6a09e6p+0f,
                              2.0f,
                              18.0f,
                              40.0f,
                              87.33654f,
                              88.72283f,
                              88.72284f,
                              88.8f,
                              103.97207f,
                              103.97208f,
                              104.0f,
                              0x1p23f,
                              0x1p24f,
                              std::numeric_limits<float>::max(),
                              kInfinity}) {
    for (const float x : {special, std::nextafter(special, 0.0f), std::nextafter(special, kInfinity)}) {
      add(x);
      add(-x);
    }
  }
  add(kNan);
  while (samples.size() % kLongestVector != 0) samples.push_back(samples.front());
  return samples;
}

bool sameBits(float x, float y) {
  return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y) || (std::isnan(x) && std::isnan(y));
}

void expectFusedRunsAgree(const std::vector<float>& samples, const std::vector<TargetRun>& runs) {
  for (const TargetRun& run : runs) {
    if (!run.isFused) continue;
    std::size_t different = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (sameBits(run.results[i], runs.front().results[i])) continue;
      if (different++ == 0) {
        ADD_FAILURE() << run.name << " gives " << run.results[i] << " at " << samples[i] << ", " << runs.front().name
                      << " " << runs.front().results[i];
      }
    }
    EXPECT_EQ(different, 0u) << run.name;
  }
}

struct FunctionCase {
  Function function;
  const char* name;
  float (*scalar)(float);
  double (*reference)(double);
  float lower;
  float upper;
  double maximumUlp;         // measured over all float32 arguments with fused multiply-add, rounded up
  double maximumUlpUnfused;  // the same without
};

const scalar::FloatOps kFloatOps;

const FunctionCase kFunctions[] = {
    {Function::exp, "exp", [](float x) { return kFloatOps.exp(x); }, [](double x) { return std::exp(x); }, -kInfinity,
     kInfinity, 1.02, 1.00},
    {Function::expm1, "expm1", [](float x) { return kFloatOps.expm1(x); }, [](double x) { return std::expm1(x); },
     -kInfinity, kInfinity, 1.59, 1.72},
    {Function::log, "log", [](float x) { return kFloatOps.log(x); }, [](double x) { return std::log(x); }, -kInfinity,
     kInfinity, 0.90, 0.91},
    {Function::log1p, "log1p", [](float x) { return kFloatOps.log1p(x); }, [](double x) { return std::log1p(x); },
     -kInfinity, kInfinity, 0.90, 0.91},
    {Function::log1pUnit, "log1pUnit", [](float x) { return kFloatOps.log1pUnit(x); },
     [](double x) { return std::log1p(x); }, 0, 1, 1.21, 1.60},
    {Function::tanh, "tanh", [](float x) { return kFloatOps.tanh(x); }, [](double x) { return std::tanh(x); },
     -kInfinity, kInfinity, 2.50, 2.50},
    {Function::cumulative, "normal.cumulative", [](float x) { return kFloatOps.normal(x).cumulative; },
     [](double x) { return scalar::DoubleOps{}.normal(x).cumulative; }, -40, 40, 5.96, 5.87},
    {Function::density, "normal.density", [](float x) { return kFloatOps.normal(x).density; },
     [](double x) { return scalar::DoubleOps{}.normal(x).density; }, -40, 40, 2.13, 2.16},
};

class VectorFunction : public testing::TestWithParam<FunctionCase> {};

TEST_P(VectorFunction, StaysWithinItsUlp) {
  const FunctionCase& c = GetParam();
  const std::vector<float> samples = floatSamples(c.lower, c.upper);
  std::vector<double> expected;
  std::vector<TargetRun> runs{{"scalar", true, {}}};
  for (const float x : samples) {
    expected.push_back(c.reference(double{x}));
    runs.front().results.push_back(c.scalar(x));
  }
  appendRunsOnAllTargets(runs, samples.size(), [&](float* results) {
    HWY_DYNAMIC_DISPATCH(applyFunction)(c.function, samples.data(), results, samples.size());
  });

  for (const TargetRun& run : runs) {
    std::size_t worst = 0;
    double worstUlp = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const double ulp = ulpError(run.results[i], expected[i]);
      if (!(ulp > worstUlp)) continue;
      worstUlp = ulp;
      worst = i;
    }
    EXPECT_LE(worstUlp, run.isFused ? c.maximumUlp : c.maximumUlpUnfused)
        << run.name << " gives " << run.results[worst] << " at " << samples[worst] << ", expected " << expected[worst];
    RecordProperty(run.name, std::to_string(worstUlp));
  }
  expectFusedRunsAgree(samples, runs);
}

TEST(VectorFunctions, KeepTheSignOfZero) {
  for (const FunctionCase& c : kFunctions) {
    if (c.reference(0.0) != 0) continue;
    EXPECT_EQ(c.scalar(0.0f), 0.0f) << c.name;
    EXPECT_FALSE(std::signbit(c.scalar(0.0f))) << c.name;
    EXPECT_TRUE(std::signbit(c.scalar(-0.0f))) << c.name;
  }
}

TEST_P(VectorFunction, DoesNotDependOnTheLane) {
  const FunctionCase& c = GetParam();
  std::mt19937 random(17);
  std::uniform_real_distribution<float> distribution(std::max(c.lower, -50.0f), std::min(c.upper, 50.0f));
  std::vector<float> samples(64 + kLongestVector);
  for (float& x : samples) x = distribution(random);
  std::vector<TargetRun> atStart;
  std::vector<TargetRun> shifted;
  appendRunsOnAllTargets(atStart, 64, [&](float* results) {
    HWY_DYNAMIC_DISPATCH(applyFunction)(c.function, samples.data(), results, 64);
  });
  for (std::size_t shift = 1; shift < kLongestVector; ++shift) {
    shifted.clear();
    appendRunsOnAllTargets(shifted, 64, [&](float* results) {
      HWY_DYNAMIC_DISPATCH(applyFunction)(c.function, samples.data() + shift, results, 64);
    });
    for (std::size_t run = 0; run < shifted.size(); ++run) {
      for (std::size_t i = 0; i + shift < 64; ++i) {
        EXPECT_TRUE(sameBits(shifted[run].results[i], atStart[run].results[i + shift])) << shifted[run].name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, VectorFunction, testing::ValuesIn(kFunctions), [](const auto& test) {
  std::string label = test.param.name;
  for (char& c : label) {
    if (c == '.') c = '_';
  }
  return label;
});

struct NeuronCase {
  const char* name;
  CNNNeuronType type;
  NeuronParameters parameters;
  float lower;
  float upper;
  // Largest errors in ULP of value and derivative: the functions' above, and half a ULP for each rounding of an
  // argument or a result, a whole one where the next step halves the result's exponent. Ranges leave out what is
  // ill-conditioned: a rounded argument's error grows by the condition number.
  double valueUlp;
  double derivativeUlp;
  // An error that is always allowed: near a zero that is not at x = 0, or where a result is a product with a denormal.
  double valueAbsolute = 0;
  double derivativeAbsolute = 0;
};

constexpr float kSlope = 0.25f;
constexpr float kMost = 1e37f;  // leaves room for the parameters below float32's largest number

const NeuronCase kNeurons[] = {
    {"none", CNNNeuronType::none, {}, -kInfinity, kInfinity, 0, 0},
    {"reLU", CNNNeuronType::reLU, {0, 0, 0}, -kInfinity, kInfinity, 0, 0},
    {"leakyReLU", CNNNeuronType::reLU, {0.01f, 0, 0}, -kInfinity, kInfinity, 0.5, 0},
    {"linear", CNNNeuronType::linear, {1.5f, 0.25f, 0}, 0, kInfinity, 1, 0},
    {"sigmoid", CNNNeuronType::sigmoid, {}, -kInfinity, kInfinity, 3, 4},
    {"hardSigmoid", CNNNeuronType::hardSigmoid, {2, 0, 0}, -kInfinity, kInfinity, 0, 0},
    {"tanH", CNNNeuronType::tanH, {1, 1, 0}, -kInfinity, kInfinity, 2.6, 4},
    // derivative: half a ULP of b*x = 2.7 becomes 2*2.7 ULP
    {"tanHScaled", CNNNeuronType::tanH, {1.7159f, 0.6666f, 0}, -4, 4, 4, 9.4},
    {"absolute", CNNNeuronType::absolute, {}, -kInfinity, kInfinity, 0, 0},
    {"softPlus", CNNNeuronType::softPlus, {1, 1, 0}, -kInfinity, kInfinity, 3, 3},
    {"softPlusScaled", CNNNeuronType::softPlus, {0.5f, 2, 0}, -kMost, kMost, 3, 3},
    {"softSign", CNNNeuronType::softSign, {}, -kInfinity, kInfinity, 1.5, 3.6},
    {"ELU", CNNNeuronType::ELU, {1, 0, 0}, -kInfinity, kInfinity, 1.7, 1.1},
    {"ELUScaled", CNNNeuronType::ELU, {1.6732632f, 0, 0}, -kInfinity, kInfinity, 3, 3},
    {"pReLU", CNNNeuronType::pReLU, {}, -kInfinity, kInfinity, 0.5, 0},
    {"reLUN", CNNNeuronType::reLUN, {1, 6, 0}, -kInfinity, kInfinity, 0, 0},
    {"reLU6", CNNNeuronType::reLUN, {0, 6, 0}, -kInfinity, kInfinity, 0, 0},
    {"reLUNNegativeSlope", CNNNeuronType::reLUN, {-2, 6, 0}, -kInfinity, kInfinity, 0, 0},
    {"square", CNNNeuronType::power, {1, 0, 2}, -kInfinity, kInfinity, 3, 3},
    {"cube", CNNNeuronType::power, {1, 0, 3}, -kInfinity, kInfinity, 3, 3},
    {"squareRoot", CNNNeuronType::power, {1, 0, 0.5f}, -kInfinity, kInfinity, 3, 3},
    {"reciprocal", CNNNeuronType::power, {1, 0, -1}, -kInfinity, kInfinity, 3, 3},
    {"power", CNNNeuronType::power, {1, 0, 2.7f}, -kInfinity, kInfinity, 3, 3},
    {"powerTenth", CNNNeuronType::power, {1, 0, 0.1f}, -kInfinity, kInfinity, 3, 3},
    {"powerLarge", CNNNeuronType::power, {1, 0, -37.5f}, -kInfinity, kInfinity, 3, 3, 0, 37.5 * 0x1p-149},
    // The exponent multiplies the error of the logarithm, which has some 32 bits.
    {"powerSteep", CNNNeuronType::power, {1, 0, -242.77f}, -kInfinity, kInfinity, 4.5, 5.5, 0, 243 * 0x1p-149},
    {"powerHuge", CNNNeuronType::power, {1, 0, 1e6f}, -kInfinity, kInfinity, 3, 3},
    {"powerConstant", CNNNeuronType::power, {2, 1, 0}, -kInfinity, kInfinity, 0, 0},
    {"exponential", CNNNeuronType::exponential, {1, 0, -1}, -kInfinity, kInfinity, 3, 3},
    {"exponentialScaled", CNNNeuronType::exponential, {-1.3f, 12.7f, -1}, -kInfinity, kInfinity, 3, 3},
    {"exponentialTen", CNNNeuronType::exponential, {1, 0, 10}, -kInfinity, kInfinity, 3, 3},
    {"exponentialBelowOne", CNNNeuronType::exponential, {0.7f, -3.3f, 0.2f}, -kInfinity, kInfinity, 3, 3},
    {"exponentialOne", CNNNeuronType::exponential, {1, 0, 1}, -kMost, kMost, 0, 0},
    {"logarithm", CNNNeuronType::logarithm, {1, 0, -1}, -kInfinity, kInfinity, 2, 1},
    {"logarithmTwo", CNNNeuronType::logarithm, {1, 0, 2}, -kInfinity, kInfinity, 2, 2},
    {"logarithmBelowOne", CNNNeuronType::logarithm, {0.5f, 0, 0.25f}, 0x1p-120f, kInfinity, 3, 3},
    // value: x times a denormal Phi(x) for x > -15. Derivative: Phi(x) and x*phi(x) cancel at x = -0.75, where they are
    // 0.23 and carry the 6 and 2.2 + 0.5 ULP of 2^-26.
    {"geLU", CNNNeuronType::geLU, {}, -kInfinity, kInfinity, 7, 7, 15 * 0x1p-149, 8.7 * 0x1p-26},
};

class VectorNeuron : public testing::TestWithParam<NeuronCase> {};

void checkNeuron(const NeuronCase& c, Result result, double maximumUlp, double absolute) {
  const Neuron neuron = makeNeuron(c.type, c.parameters.a, c.parameters.b, c.parameters.c);
  const std::vector<float> samples = floatSamples(c.lower, c.upper);
  const std::vector<float> slopes(samples.size(), kSlope);
  const bool isValue = result == Result::value;
  std::vector<double> expected;
  std::vector<TargetRun> runs{{"scalar", true, {}}};
  for (const float x : samples) {
    expected.push_back(isValue ? neuronValue(neuron, x, kSlope) : neuronDerivative(neuron, x, kSlope));
    runs.front().results.push_back(dispatch(neuron.type, [&](auto tag) {
      return isValue ? scalar::neuronValue<tag.value>(kFloatOps, neuron, x, kSlope)
                     : scalar::neuronDerivative<tag.value>(kFloatOps, neuron, x, kSlope);
    }));
  }
  appendRunsOnAllTargets(runs, samples.size(), [&](float* results) {
    HWY_DYNAMIC_DISPATCH(applyNeuron)(neuron, result, samples.data(), slopes.data(), results, samples.size());
  });

  for (const TargetRun& run : runs) {
    std::size_t worst = 0;
    double worstUlp = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (std::fabs(double{run.results[i]} - expected[i]) <= absolute) continue;
      const double ulp = ulpError(run.results[i], expected[i]);
      if (!(ulp > worstUlp)) continue;
      worstUlp = ulp;
      worst = i;
    }
    EXPECT_LE(worstUlp, maximumUlp) << run.name << " gives " << run.results[worst] << " at " << samples[worst]
                                    << ", expected " << expected[worst];
    testing::Test::RecordProperty(run.name, std::to_string(worstUlp));
  }
  expectFusedRunsAgree(samples, runs);
}

TEST_P(VectorNeuron, ValueAgreesWithDoublePrecision) {
  checkNeuron(GetParam(), Result::value, GetParam().valueUlp, GetParam().valueAbsolute);
}

TEST_P(VectorNeuron, DerivativeAgreesWithDoublePrecision) {
  checkNeuron(GetParam(), Result::derivative, GetParam().derivativeUlp, GetParam().derivativeAbsolute);
}

INSTANTIATE_TEST_SUITE_P(Neurons, VectorNeuron, testing::ValuesIn(kNeurons),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(VectorNeuronEdges, HoldInFloat32) {
  for (const NeuronEdge& edge : kNeuronEdges) {
    const Neuron neuron = makeNeuron(edge.type, edge.parameters.a, edge.parameters.b, edge.parameters.c);
    const std::vector<float> samples(kLongestVector, edge.x);
    const std::vector<float> slopes(kLongestVector, edge.slope);
    for (const Result result : {Result::value, Result::derivative}) {
      const bool isValue = result == Result::value;
      const float scalarResult = dispatch(neuron.type, [&](auto tag) {
        return isValue ? scalar::neuronValue<tag.value>(kFloatOps, neuron, edge.x, edge.slope)
                       : scalar::neuronDerivative<tag.value>(kFloatOps, neuron, edge.x, edge.slope);
      });
      std::vector<TargetRun> runs{{"scalar", true, {scalarResult}}};
      appendRunsOnAllTargets(runs, kLongestVector, [&](float* results) {
        HWY_DYNAMIC_DISPATCH(applyNeuron)(neuron, result, samples.data(), slopes.data(), results, kLongestVector);
      });
      const float expected = isValue ? edge.value : edge.derivative;
      for (const TargetRun& run : runs) {
        for (const float actual : run.results) {
          EXPECT_TRUE(isSame(actual, expected))
              << run.name << ", " << name(edge.type) << " a = " << neuron.a << " b = " << neuron.b
              << " c = " << neuron.c << " x = " << edge.x << (isValue ? ": value " : ": derivative ") << actual
              << ", expected " << expected;
        }
      }
    }
  }
}

}  // namespace
}  // namespace metalloid::math

#endif  // HWY_ONCE
