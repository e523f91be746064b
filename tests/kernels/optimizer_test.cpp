// Long: tests have the file name of their kernels, and these are three classes, with one table of operands and layouts.

#include "kernels/kernel_checks.hpp"

#include <metalloid/nn_optimizer.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

using SGD = NNOptimizerStochasticGradientDescent;
using RMSProp = NNOptimizerRMSProp;
using Adam = NNOptimizerAdam;

class OptimizerValues : public OnDevice {};
class OptimizerChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, OptimizerValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, OptimizerChecks, testing::Values("reference", "cpu", "null"), deviceName);

/// One parameter and what an optimizer keeps for it.
struct Scalars {
  explicit Scalars(const Device& on, float w, float g)
      : device(on), values(vectorOf(on, {w})), gradient(vectorOf(on, {g})) {}

  const Device& device;
  Vector values, gradient;
  Vector first = vectorOf(device, {0}), second = vectorOf(device, {0}), third = vectorOf(device, {0});

  void step(const SGD& optimizer, bool withMomentum = true) const {
    execute(device, [&](CommandBuffer& commands) {
      optimizer.encode(commands, {.inputGradientVector = gradient,
                                  .inputValuesVector = values,
                                  .inputMomentumVector = withMomentum ? first : Vector(),
                                  .resultValuesVector = values});
    });
  }
  void step(const RMSProp& optimizer) const {
    execute(device, [&](CommandBuffer& commands) {
      optimizer.encode(commands, {.inputGradientVector = gradient,
                                  .inputValuesVector = values,
                                  .inputSumOfSquaresVector = first,
                                  .resultValuesVector = values});
    });
  }
  void step(Adam& optimizer, bool withMaximum = false) const {
    execute(device, [&](CommandBuffer& commands) {
      optimizer.encode(commands, {.inputGradientVector = gradient,
                                  .inputValuesVector = values,
                                  .inputMomentumVector = first,
                                  .inputVelocityVector = second,
                                  .maximumVelocityVector = withMaximum ? third : Vector(),
                                  .resultValuesVector = values});
    });
  }
};

double valueOf(const Vector& vector) { return vector.read<double>().at(0); }

/// A handful of roundings to float32 of numbers up to 2: those of the settings (0.1f, 0.9f), of the arithmetic and of
/// what is stored between two steps.
constexpr double kFewRoundings = 8 * 0x1p-24;

TEST_P(OptimizerValues, plainMomentumHasTheRateInside) {
  const SGD optimizer(device, {.momentumScale = 0.9f, .optimizerDescriptor = {.learningRate = 0.1f}});
  const Scalars s(device, 1, 1);
  s.step(optimizer);
  EXPECT_NEAR(valueOf(s.first), 0.1, kFewRoundings);
  EXPECT_NEAR(valueOf(s.values), 0.9, kFewRoundings);
  s.step(optimizer);
  EXPECT_NEAR(valueOf(s.first), 0.19, kFewRoundings);
  EXPECT_NEAR(valueOf(s.values), 0.71, kFewRoundings);
}

TEST_P(OptimizerValues, nesterovMomentumHasTheRateOutside) {
  const SGD optimizer(
      device, {.momentumScale = 0.9f, .useNesterovMomentum = true, .optimizerDescriptor = {.learningRate = 0.1f}});
  const Scalars s(device, 1, 1);
  s.step(optimizer);
  EXPECT_NEAR(valueOf(s.first), 1, kFewRoundings);
  EXPECT_NEAR(valueOf(s.values), 0.81, kFewRoundings);
  s.step(optimizer);
  EXPECT_NEAR(valueOf(s.first), 1.9, kFewRoundings);
  EXPECT_NEAR(valueOf(s.values), 0.539, kFewRoundings);
}

TEST_P(OptimizerValues, withoutMomentumVectorTheMomentumSettingsDoNothing) {
  const SGD optimizer(
      device, {.momentumScale = 0.9f, .useNesterovMomentum = true, .optimizerDescriptor = {.learningRate = 0.25f}});
  const Scalars s(device, 1, 2);
  s.step(optimizer, false);
  s.step(optimizer, false);
  EXPECT_EQ(valueOf(s.values), 0);  // exact in binary
}

TEST_P(OptimizerValues, momentumIsWrittenEvenWithScaleZero) {
  const SGD optimizer(device, 0.5f);
  const Scalars s(device, 1, 2);
  s.step(optimizer);
  s.step(optimizer);
  EXPECT_EQ(valueOf(s.first), 1);
  EXPECT_EQ(valueOf(s.values), -1);
}

TEST_P(OptimizerValues, rmsProp) {
  const RMSProp optimizer(device, {.decay = 0.9, .optimizerDescriptor = {.learningRate = 0.1f}});
  const Scalars s(device, 1, 2);
  s.step(optimizer);
  EXPECT_NEAR(valueOf(s.first), 0.4, kFewRoundings);
  EXPECT_NEAR(valueOf(s.values), 1 - 0.2 / (std::sqrt(0.4) + 1e-8), kFewRoundings);
}

TEST_P(OptimizerValues, rmsPropAddsEpsilonOutsideTheRoot) {
  const RMSProp optimizer(device, {.decay = 0, .epsilon = 1, .optimizerDescriptor = {.learningRate = 1}});
  const Scalars s(device, 1, 3);
  s.step(optimizer);
  EXPECT_EQ(valueOf(s.values), 0.25);  // 1 - 3/(3 + 1); inside the root it would be 1 - 3/sqrt(10)
}

TEST_P(OptimizerValues, adamsFirstStepIsTheLearningRate) {
  Adam optimizer(device, 0.001f);
  const Scalars s(device, 1, 5);
  s.step(optimizer);
  EXPECT_NEAR(valueOf(s.values), 0.999, kFewRoundings);
  EXPECT_NEAR(valueOf(s.first), 0.5, kFewRoundings);
  EXPECT_NEAR(valueOf(s.second), 0.025, kFewRoundings);
  EXPECT_EQ(optimizer.timeStep, 1u);
}

TEST_P(OptimizerValues, adamAddsEpsilonBeforeTheCorrection) {
  Adam optimizer(device, {.beta1 = 0, .beta2 = 0.75, .epsilon = 1, .optimizerDescriptor = {.learningRate = 1}});
  const Scalars s(device, 1, 2);
  s.step(optimizer);
  // v = 1, rate = sqrt(1 - 0.75) = 0.5: w = 1 - 0.5 * 2/(1 + 1)
  EXPECT_EQ(valueOf(s.values), 0.5);
}

TEST_P(OptimizerValues, amsGradKeepsTheLargestVelocity) {
  Adam optimizer(device, {.beta1 = 0, .beta2 = 0, .epsilon = 0, .optimizerDescriptor = {.learningRate = 1}});
  const Scalars s(device, 0, 4);
  s.step(optimizer, true);
  EXPECT_EQ(valueOf(s.third), 16);
  EXPECT_EQ(valueOf(s.values), -1);
  s.gradient.write(std::vector<float>{1});
  s.step(optimizer, true);  // v = 1, vmax = 16: w = -1 - 1/4
  EXPECT_EQ(valueOf(s.second), 1);
  EXPECT_EQ(valueOf(s.third), 16);
  EXPECT_EQ(valueOf(s.values), -1.25);
}

TEST_P(OptimizerValues, clipsBeforeItRescales) {
  const SGD optimizer(device, {.optimizerDescriptor = {.learningRate = 1,
                                                       .gradientRescale = 0.5f,
                                                       .applyGradientClipping = true,
                                                       .gradientClipMax = 1,
                                                       .gradientClipMin = -1}});
  const Scalars s(device, 0, 4);
  s.step(optimizer, false);
  EXPECT_EQ(valueOf(s.values), -0.5);
  s.gradient.write(std::vector<float>{-4});
  s.step(optimizer, false);
  EXPECT_EQ(valueOf(s.values), 0);
}

TEST_P(OptimizerValues, clippingIsSwitchedByThePublicMember) {
  SGD optimizer(device, {.optimizerDescriptor = {.learningRate = 1, .gradientClipMax = 1, .gradientClipMin = -1}});
  const Scalars s(device, 0, 4);
  s.step(optimizer, false);
  EXPECT_EQ(valueOf(s.values), -4);
  optimizer.applyGradientClipping = true;
  s.step(optimizer, false);
  EXPECT_EQ(valueOf(s.values), -5);
}

TEST_P(OptimizerValues, regularizesAfterClippingAndRescaling) {
  const NNOptimizerDescriptor base{.learningRate = 1,
                                   .gradientRescale = 0.5f,
                                   .applyGradientClipping = true,
                                   .gradientClipMax = 1,
                                   .gradientClipMin = -1,
                                   .regularizationType = NNRegularizationType::L2,
                                   .regularizationScale = 0.25f};
  const Scalars l2(device, 8, 4);
  l2.step(SGD(device, {.optimizerDescriptor = base}), false);
  EXPECT_EQ(valueOf(l2.values), 8 - (0.5 + 2));

  auto l1 = base;
  l1.regularizationType = NNRegularizationType::L1;
  for (const float w : {8.0f, -8.0f, 0.0f}) {
    const Scalars s(device, w, 4);
    s.step(SGD(device, {.optimizerDescriptor = l1}), false);
    EXPECT_EQ(valueOf(s.values), w - (0.5 + 0.25 * ((w > 0) - (w < 0)))) << w;
  }
}

TEST_P(OptimizerValues, aNaNGradientStaysNaN) {
  const SGD optimizer(
      device, {.optimizerDescriptor = {.applyGradientClipping = true, .gradientClipMax = 1, .gradientClipMin = -1}});
  const Scalars s(device, 1, kNaN);
  s.step(optimizer);
  EXPECT_TRUE(std::isnan(valueOf(s.values)));
  EXPECT_TRUE(std::isnan(valueOf(s.first)));
}

TEST_P(OptimizerValues, learningRateTakesEffectAtTheNextEncode) {
  SGD optimizer(device, 1);
  const Scalars s(device, 0, 1);
  execute(device, [&](CommandBuffer& commands) {
    const SGD::VectorArguments arguments{
        .inputGradientVector = s.gradient, .inputValuesVector = s.values, .resultValuesVector = s.values};
    optimizer.encode(commands, arguments);
    optimizer.setLearningRate(10);
    optimizer.encode(commands, arguments);
    optimizer.setLearningRate(100);  // after the last encode
  });
  EXPECT_EQ(valueOf(s.values), -11);
}

TEST_P(OptimizerValues, adamTakesTheRateOfEachStep) {
  Adam optimizer(
      device, {.beta1 = 0.5, .beta2 = 0.75, .epsilon = 0, .timeStep = 2, .optimizerDescriptor = {.learningRate = 1}});
  const Scalars s(device, 0, 1);
  double m = 0, v = 0, w = 0;
  for (int t = 3; t <= 6; ++t) {
    s.step(optimizer);
    m = 0.5 * m + 0.5;
    v = 0.75 * v + 0.25;
    w -= std::sqrt(1 - std::pow(0.75, t)) / (1 - std::pow(0.5, t)) * m / std::sqrt(v);
    EXPECT_EQ(optimizer.timeStep, static_cast<std::size_t>(t));
    EXPECT_NEAR(valueOf(s.values), w, 4 * kFewRoundings);  // |w| grows to 4
  }
}

// --- Every layout, type and form against the formulas
// ------------------------------------------------------------------

/// State after a step and the value, in double from what was stored.
struct Step {
  double w;
  std::array<double, 3> state;
};
using Formula = std::function<Step(double w, double g, std::array<double, 3> state)>;

template <class Array>
struct Operands {
  Array gradient, values, result;
  std::array<Array, 3> states;
};

Operands<Matrix> operandsOf(const Device& device, const Layout& layout, bool inPlace, Matrix*) {
  const auto make = [&](DataType type, std::size_t padding, unsigned seed) {
    return randomMatrix(device, 5, 7,
                        {.type = type, .count = layout.count, .padding = padding, .offset = layout.offset}, seed);
  };
  const Matrix values = make(layout.type, layout.padding, 2);
  Operands<Matrix> o{.gradient = make(layout.type, layout.padding + 1, 1),
                     .values = values,
                     .result = inPlace ? values : make(layout.type, layout.padding, 3),
                     .states = {}};
  for (unsigned n = 0; n < 3; ++n) o.states[n] = make(DataType::float32, layout.padding + n, 4 + n);
  return o;
}

Operands<Vector> operandsOf(const Device& device, const Layout& layout, bool inPlace, Vector*) {
  const auto make = [&](DataType type, std::size_t padding, unsigned seed) {
    return randomVector(device, 35, {.type = type, .count = layout.count, .padding = padding, .offset = layout.offset},
                        seed);
  };
  const Vector values = make(layout.type, layout.padding, 2);
  Operands<Vector> o{.gradient = make(layout.type, layout.padding + 1, 1),
                     .values = values,
                     .result = inPlace ? values : make(layout.type, layout.padding, 3),
                     .states = {}};
  for (unsigned n = 0; n < 3; ++n) o.states[n] = make(DataType::float32, layout.padding + n, 4 + n);
  return o;
}

/// The second states are squares: not negative.
template <class Array>
void makePositive(const Array& array) {
  auto values = array.template read<float>();
  for (float& value : values) value = std::fabs(value) + 0.25f;
  array.write(values);
}

template <class Array>
void checkUpdate(const Device& device, const Layout& layout, bool inPlace, std::size_t stateCount,
                 const Formula& formula, const std::function<void(CommandBuffer&, const Operands<Array>&)>& encode,
                 const std::string& where) {
  const auto o = operandsOf(device, layout, inPlace, static_cast<Array*>(nullptr));
  for (const auto& state : o.states) makePositive(state);
  const auto g = o.gradient.template read<double>(), w = o.values.template read<double>();
  std::array<std::vector<double>, 3> before;
  for (std::size_t n = 0; n < 3; ++n) before[n] = o.states[n].template read<double>();
  const Guard gradientGuard(o.gradient), resultGuard(o.result), stateGuard(o.states[0]);

  execute(device, [&](CommandBuffer& commands) { encode(commands, o); });

  const std::size_t columns = std::is_same_v<Array, Matrix> ? 7 : 35, rows = 35 / columns;
  gradientGuard.expectUntouched();
  resultGuard.expectUntouchedOutside({}, rows, columns, 0, layout.count);
  stateGuard.expectUntouchedOutside({}, rows, columns, 0, stateCount > 0 ? layout.count : 0);
  const auto result = o.result.template read<double>();
  if (!inPlace) {
    EXPECT_EQ(o.values.template read<double>(), w) << where;
  }
  for (std::size_t e = 0; e < w.size(); ++e) {
    const Step expected = formula(w[e], g[e], {before[0][e], before[1][e], before[2][e]});
    // Elsewhere than on the reference a dozen roundings of numbers up to 8: values to 2, squares of gradients to 4.
    expectNear(device, result[e], expected.w, layout.type, 12, 8, where);
    for (std::size_t n = 0; n < 3; ++n) {
      const double actual = o.states[n].template read<double>()[e];
      if (n < stateCount) {
        expectNear(device, actual, expected.state[n], DataType::float32, 12, 8, where);
      } else {
        EXPECT_EQ(actual, before[n][e]) << where;
      }
    }
  }
}

void checkEverywhere(const Device& device, std::size_t stateCount, const Formula& formula,
                     const std::function<void(CommandBuffer&, const Operands<Matrix>&)>& encodeMatrix,
                     const std::function<void(CommandBuffer&, const Operands<Vector>&)>& encodeVector) {
  for (const DataType type : floatTypes()) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{3}}) {
      for (const Layout& layout : layouts(type, count)) {
        for (const bool inPlace : {false, true}) {
          const std::string where = std::string(name(type)) + ", " + std::to_string(count) + ", padding " +
                                    std::to_string(layout.padding) + (inPlace ? ", in place" : "");
          checkUpdate<Matrix>(device, layout, inPlace, stateCount, formula, encodeMatrix, "matrices " + where);
          checkUpdate<Vector>(device, layout, inPlace, stateCount, formula, encodeVector, "vectors " + where);
        }
      }
    }
  }
}

const NNOptimizerDescriptor kAllOfIt{.learningRate = 0.125f,
                                     .gradientRescale = 0.75f,
                                     .applyGradientClipping = true,
                                     .gradientClipMax = 1.5f,
                                     .gradientClipMin = -1.0f,
                                     .regularizationType = NNRegularizationType::L2,
                                     .regularizationScale = 0.25f};

double preprocessed(double g, double w) { return 0.75 * std::clamp(g, -1.0, 1.5) + 0.25 * w; }

TEST_P(OptimizerValues, stochasticGradientDescentInEveryLayout) {
  for (const bool nesterov : {false, true}) {
    const SGD optimizer(device,
                        {.momentumScale = 0.875f, .useNesterovMomentum = nesterov, .optimizerDescriptor = kAllOfIt});
    const Formula formula = [&](double w, double gradient, std::array<double, 3> state) {
      const double g = preprocessed(gradient, w);
      const double m = 0.875 * state[0] + (nesterov ? 1 : 0.125) * g;
      return Step{w - (nesterov ? 0.125 * (g + 0.875 * m) : m), {m}};
    };
    checkEverywhere(
        device, 1, formula,
        [&](CommandBuffer& commands, const Operands<Matrix>& o) {
          optimizer.encode(commands, {.inputGradientMatrix = o.gradient,
                                      .inputValuesMatrix = o.values,
                                      .inputMomentumMatrix = o.states[0],
                                      .resultValuesMatrix = o.result});
        },
        [&](CommandBuffer& commands, const Operands<Vector>& o) {
          optimizer.encode(commands, {.inputGradientVector = o.gradient,
                                      .inputValuesVector = o.values,
                                      .inputMomentumVector = o.states[0],
                                      .resultValuesVector = o.result});
        });
  }
}

TEST_P(OptimizerValues, stochasticGradientDescentWithoutMomentumInEveryLayout) {
  const SGD optimizer(device, {.momentumScale = 0.875f, .optimizerDescriptor = kAllOfIt});
  checkEverywhere(
      device, 0,
      [](double w, double gradient, std::array<double, 3>) {
        return Step{w - 0.125 * preprocessed(gradient, w), {}};
      },
      [&](CommandBuffer& commands, const Operands<Matrix>& o) {
        optimizer.encode(
            commands,
            {.inputGradientMatrix = o.gradient, .inputValuesMatrix = o.values, .resultValuesMatrix = o.result});
      },
      [&](CommandBuffer& commands, const Operands<Vector>& o) {
        optimizer.encode(
            commands,
            {.inputGradientVector = o.gradient, .inputValuesVector = o.values, .resultValuesVector = o.result});
      });
}

TEST_P(OptimizerValues, rmsPropInEveryLayout) {
  const RMSProp optimizer(device, {.decay = 0.75, .epsilon = 0.5f, .optimizerDescriptor = kAllOfIt});
  checkEverywhere(
      device, 1,
      [](double w, double gradient, std::array<double, 3> state) {
        const double g = preprocessed(gradient, w), s = 0.75 * state[0] + 0.25 * g * g;
        return Step{w - 0.125 * g / (std::sqrt(s) + 0.5), {s}};
      },
      [&](CommandBuffer& commands, const Operands<Matrix>& o) {
        optimizer.encode(commands, {.inputGradientMatrix = o.gradient,
                                    .inputValuesMatrix = o.values,
                                    .inputSumOfSquaresMatrix = o.states[0],
                                    .resultValuesMatrix = o.result});
      },
      [&](CommandBuffer& commands, const Operands<Vector>& o) {
        optimizer.encode(commands, {.inputGradientVector = o.gradient,
                                    .inputValuesVector = o.values,
                                    .inputSumOfSquaresVector = o.states[0],
                                    .resultValuesVector = o.result});
      });
}

TEST_P(OptimizerValues, adamAndAMSGradInEveryLayout) {
  for (const bool ams : {false, true}) {
    Adam optimizer(device, {.beta1 = 0.5, .beta2 = 0.75, .epsilon = 0.5f, .optimizerDescriptor = kAllOfIt});
    // The operation carries the corrected rate as a float32.
    const double rate = static_cast<double>(static_cast<float>(0.125 * std::sqrt(0.25) / 0.5));
    checkEverywhere(
        device, ams ? 3 : 2,
        [&](double w, double gradient, std::array<double, 3> state) {
          const double g = preprocessed(gradient, w);
          const double m = 0.5 * state[0] + 0.5 * g, v = 0.75 * state[1] + 0.25 * g * g, vmax = std::max(state[2], v);
          return Step{w - rate * m / (std::sqrt(ams ? vmax : v) + 0.5), {m, v, vmax}};
        },
        [&](CommandBuffer& commands, const Operands<Matrix>& o) {
          optimizer.timeStep = 0;
          optimizer.encode(commands, {.inputGradientMatrix = o.gradient,
                                      .inputValuesMatrix = o.values,
                                      .inputMomentumMatrix = o.states[0],
                                      .inputVelocityMatrix = o.states[1],
                                      .maximumVelocityMatrix = ams ? o.states[2] : Matrix(),
                                      .resultValuesMatrix = o.result});
        },
        [&](CommandBuffer& commands, const Operands<Vector>& o) {
          optimizer.timeStep = 0;
          optimizer.encode(commands, {.inputGradientVector = o.gradient,
                                      .inputValuesVector = o.values,
                                      .inputMomentumVector = o.states[0],
                                      .inputVelocityVector = o.states[1],
                                      .maximumVelocityVector = ams ? o.states[2] : Vector(),
                                      .resultValuesVector = o.result});
        });
  }
}

// --- What is refused
// ---------------------------------------------------------------------------------------------------

TEST_P(OptimizerChecks, defaults) {
  const NNOptimizerDescriptor d;
  EXPECT_EQ(d.learningRate, 0.001f);
  EXPECT_EQ(d.gradientRescale, 1);
  EXPECT_FALSE(d.applyGradientClipping);
  EXPECT_EQ(d.gradientClipMax, kInfinity);
  EXPECT_EQ(d.gradientClipMin, -kInfinity);
  EXPECT_EQ(d.regularizationType, NNRegularizationType::None);
  EXPECT_EQ(d.regularizationScale, 0);
  const SGD sgd(device, 0.5f);
  EXPECT_EQ(sgd.learningRate(), 0.5f);
  EXPECT_EQ(sgd.momentumScale(), 0);
  EXPECT_FALSE(sgd.useNesterovMomentum());
  EXPECT_FALSE(sgd.useNestrovMomentum());
  const RMSProp rmsProp(device, 0.5f);
  EXPECT_EQ(rmsProp.decay(), 0.9);
  EXPECT_EQ(rmsProp.epsilon(), 1e-8f);
  const Adam adam(device, 0.5f);
  EXPECT_EQ(adam.beta1(), 0.9);
  EXPECT_EQ(adam.beta2(), 0.999);
  EXPECT_EQ(adam.epsilon(), 1e-8f);
  EXPECT_EQ(adam.timeStep, 0u);
}

TEST_P(OptimizerChecks, refusesSettingsWithoutAMeaning) {
  const auto sgd = [&](const SGD::Descriptor& d) { return [this, d] { SGD kernel(device, d); }; };
  expectRefused([&] { SGD kernel(Device(), 0.1f); }, {"The device of a NNOptimizerStochasticGradientDescent is nil."});
  expectRefused([&] { SGD kernel(device, kNaN); }, {"The learningRate", "nan", "must be finite"});
  expectRefused([&] { Adam kernel(device, kInfinity); }, {"The learningRate of a NNOptimizerAdam is inf"});
  expectRefused(sgd({.momentumScale = kNaN}), {"The momentumScale", "nan"});
  expectRefused(sgd({.optimizerDescriptor = {.gradientRescale = kNaN}}), {"The gradientRescale", "nan"});
  expectRefused(sgd({.optimizerDescriptor = {.gradientClipMax = 1, .gradientClipMin = 2}}),
                {"The gradientClipMin", "is 2", "gradientClipMax is 1"});
  expectRefused(sgd({.optimizerDescriptor = {.gradientClipMax = kNaN}}), {"gradientClipMax is nan"});
  expectRefused(sgd({.optimizerDescriptor = {.regularizationType = static_cast<NNRegularizationType>(9)}}),
                {"The regularizationType", "9", "does not exist"});
  expectRefused(sgd({.optimizerDescriptor = {.regularizationScale = kInfinity}}), {"The regularizationScale", "inf"});
  for (const double decay : {-0.1, 1.1, std::nan("")}) {
    expectRefused([&] { RMSProp kernel(device, {.decay = decay}); }, {"The decay of a NNOptimizerRMSProp"});
  }
  expectRefused([&] { RMSProp kernel(device, {.epsilon = -1}); }, {"The epsilon", "-1"});
  for (const double beta : {-0.1, 1.0, std::nan("")}) {
    expectRefused([&] { Adam kernel(device, {.beta1 = beta}); }, {"The beta1 of a NNOptimizerAdam"});
    expectRefused([&] { Adam kernel(device, {.beta2 = beta}); }, {"The beta2 of a NNOptimizerAdam"});
  }
  expectRefused([&] { Adam kernel(device, {.epsilon = kNaN}); }, {"The epsilon", "nan"});
  SGD kernel(device, 0.1f);
  kernel.label = "layer 1";
  expectRefused([&] { kernel.setLearningRate(kNaN); }, {"\"layer 1\"", "learningRate", "nan"});
  EXPECT_EQ(kernel.learningRate(), 0.1f);
}

TEST_P(OptimizerChecks, refusesOperandsThatDoNotFit) {
  Adam adam(device, 0.1f);
  adam.label = "a";
  const Adam::MatrixArguments good{.inputGradientMatrix = makeMatrix(device, 3, 4),
                                   .inputValuesMatrix = makeMatrix(device, 3, 4),
                                   .inputMomentumMatrix = makeMatrix(device, 3, 4),
                                   .inputVelocityMatrix = makeMatrix(device, 3, 4),
                                   .maximumVelocityMatrix = makeMatrix(device, 3, 4),
                                   .resultValuesMatrix = makeMatrix(device, 3, 4)};
  const auto refused = [&](Matrix Adam::MatrixArguments::*member, const Matrix& matrix,
                           std::initializer_list<std::string_view> parts) {
    auto arguments = good;
    arguments.*member = matrix;
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { adam.encode(commands, arguments); }, parts);
    EXPECT_EQ(adam.timeStep, 0u);
  };
  using A = Adam::MatrixArguments;
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) { adam.encode(commands, good); });
  refused(&A::inputGradientMatrix, {}, {"The inputGradientMatrix is nil.", "While encoding NNOptimizerAdam \"a\""});
  refused(&A::inputValuesMatrix, {}, {"The inputValuesMatrix is nil."});
  refused(&A::inputMomentumMatrix, {}, {"The inputMomentumMatrix is nil."});
  refused(&A::inputVelocityMatrix, {}, {"The inputVelocityMatrix is nil."});
  refused(&A::resultValuesMatrix, {}, {"The resultValuesMatrix is nil."});
  for (const auto member : {&A::inputGradientMatrix, &A::inputMomentumMatrix, &A::inputVelocityMatrix,
                            &A::maximumVelocityMatrix, &A::resultValuesMatrix}) {
    const Matrix larger = makeMatrix(device, 3, 5);
    larger.setLabel("larger");
    refused(member, larger, {"\"larger\"", "1 matrices of 3 rows and 5 columns", "1 matrices of 3 rows and 4 columns"});
    refused(member, makeMatrix(device, 3, 4, {.count = 2}), {"2 matrices of 3 rows and 4 columns"});
    refused(member, makeMatrix(device, 3, 4, {.type = DataType::uInt32}), {"uInt32", "float32, float16, bFloat16"});
    refused(member, makeMatrix(other, 3, 4), {"is on device " + other.name()});
  }
  refused(&A::resultValuesMatrix, good.inputGradientMatrix, {"overlap", "inputGradientMatrix", "resultValuesMatrix"});
  refused(&A::inputVelocityMatrix, good.inputMomentumMatrix, {"overlap", "inputVelocityMatrix", "inputMomentumMatrix"});
  refused(&A::inputMomentumMatrix, good.inputValuesMatrix, {"overlap"});
  refused(&A::maximumVelocityMatrix, good.inputVelocityMatrix, {"overlap"});

  adam.timeStep = all;
  expectEncodeRefused(device, [&](CommandBuffer& commands) { adam.encode(commands, good); }, {"timeStep", "largest"});
}

TEST_P(OptimizerChecks, vectorsOfOtherLengthsAreRefused) {
  const SGD sgd(device, 0.1f);
  const RMSProp rmsProp(device, 0.1f);
  const Vector four = makeVector(device, 4), five = makeVector(device, 5), result = makeVector(device, 4);
  const auto refused = [&](const std::function<void(CommandBuffer&)>& encode,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(device, encode, parts);
  };
  refused(
      [&](CommandBuffer& c) {
        sgd.encode(c, {.inputGradientVector = five, .inputValuesVector = four, .resultValuesVector = result});
      },
      {"inputGradientVector", "1 vectors of 5 elements", "1 vectors of 4 elements"});
  refused(
      [&](CommandBuffer& c) {
        sgd.encode(c, {.inputGradientVector = makeVector(device, 4),
                       .inputValuesVector = four,
                       .inputMomentumVector = five,
                       .resultValuesVector = result});
      },
      {"inputMomentumVector", "5 elements"});
  refused(
      [&](CommandBuffer& c) {
        rmsProp.encode(c, {.inputGradientVector = makeVector(device, 4),
                           .inputValuesVector = four,
                           .inputSumOfSquaresVector = {},
                           .resultValuesVector = result});
      },
      {"The inputSumOfSquaresVector is nil."});
}

TEST_P(OptimizerChecks, emptyOperandsAreNoMistake) {
  Adam adam(device, 0.1f);
  const Matrix w = makeMatrix(device, 0, 4), g = makeMatrix(device, 0, 4);
  execute(device, [&](CommandBuffer& commands) {
    adam.encode(commands, {.inputGradientMatrix = g,
                           .inputValuesMatrix = w,
                           .inputMomentumMatrix = makeMatrix(device, 0, 4),
                           .inputVelocityMatrix = makeMatrix(device, 0, 4),
                           .resultValuesMatrix = w});
  });
  EXPECT_EQ(adam.timeStep, 1u);
}

TEST_P(OptimizerChecks, aStateIsReadOnce) {
  const SGD sgd(device, 0.1f);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  const TemporaryVector gradient(commands, {.length = 4});
  const Vector w = makeVector(device, 4);
  sgd.encode(commands, {.inputGradientVector = gradient, .inputValuesVector = w, .resultValuesVector = w});
  EXPECT_EQ(gradient.readCount(), 0u);
}

// --- As kernels
// --------------------------------------------------------------------------------------------------------

template <class K>
std::vector<K> differing(const K& kernel) {
  std::vector<K> changed(4, kernel);
  changed[0].label = "b";
  changed[1].options = KernelOptions::verbose;
  changed[2].applyGradientClipping = !kernel.applyGradientClipping;
  changed[3].setLearningRate(0.75f);
  return changed;
}

const NNOptimizerDescriptor kSettings{.learningRate = 0.5f,
                                      .gradientRescale = 2,
                                      .applyGradientClipping = true,
                                      .gradientClipMax = 3,
                                      .gradientClipMin = -4,
                                      .regularizationType = NNRegularizationType::L1,
                                      .regularizationScale = 5};

/// The descriptor with each setting changed in turn.
std::vector<NNOptimizerDescriptor> differingDescriptors() {
  std::vector<NNOptimizerDescriptor> changed(5, kSettings);
  changed[0].gradientRescale = 7;
  changed[1].gradientClipMax = 8;
  changed[2].gradientClipMin = -9;
  changed[3].regularizationType = NNRegularizationType::L2;
  changed[4].regularizationScale = 6;
  return changed;
}

/// The archive with every occurrence of one number's bits replaced by another's; `forged` repairs the checksum.
std::vector<std::byte> withBits(std::vector<std::byte> archive, std::uint64_t from, std::uint64_t to) {
  const auto bytes = [](std::uint64_t number) {
    std::array<std::byte, 8> result{};
    for (std::size_t b = 0; b < 8; ++b) result[b] = static_cast<std::byte>(number >> (8 * b));
    return result;
  };
  const auto pattern = bytes(from), replacement = bytes(to);
  const auto found = std::search(archive.begin(), archive.end(), pattern.begin(), pattern.end());
  EXPECT_NE(found, archive.end());
  if (found != archive.end()) std::ranges::copy(replacement, found);
  return forged(archive, "regularizationType", 1);
}

TEST_P(OptimizerChecks, stochasticGradientDescentIsAKernel) {
  const SGD::Descriptor descriptor{
      .momentumScale = 0.625f, .useNesterovMomentum = true, .optimizerDescriptor = kSettings};
  SGD kernel(device, descriptor);
  kernel.label = "a";
  EXPECT_TRUE(kernel.useNestrovMomentum());
  auto changed = differing(kernel);
  const auto add = [&](const SGD::Descriptor& d) { changed.emplace_back(device, d).label = "a"; };
  for (const auto& d : differingDescriptors()) add({0.625f, true, d});
  add({.momentumScale = 0.25f, .useNesterovMomentum = true, .optimizerDescriptor = kSettings});
  add({.momentumScale = 0.625f, .useNesterovMomentum = false, .optimizerDescriptor = kSettings});
  expectBehavesAsKernel(kernel, changed, device, "NNOptimizerStochasticGradientDescent");
  const auto archive = archiveOf(kernel);
  expectMalformed<SGD>(forged(archive, "regularizationType", 3), device, "regularization 3");
  expectMalformed<SGD>(withBits(archive, std::bit_cast<std::uint32_t>(0.625f), std::bit_cast<std::uint32_t>(kNaN)),
                       device, "a NaN momentumScale");
  expectMalformed<SGD>(withBits(archive, std::bit_cast<std::uint32_t>(3.0f), std::bit_cast<std::uint32_t>(-5.0f)),
                       device, "crossed bounds");
}

TEST_P(OptimizerChecks, rmsPropIsAKernel) {
  RMSProp kernel(device, {.decay = 0.375, .epsilon = 0.125f, .optimizerDescriptor = kSettings});
  kernel.label = "a";
  auto changed = differing(kernel);
  const auto add = [&](const RMSProp::Descriptor& d) { changed.emplace_back(device, d).label = "a"; };
  for (const auto& d : differingDescriptors()) add({0.375, 0.125f, d});
  add({.decay = 0.5, .epsilon = 0.125f, .optimizerDescriptor = kSettings});
  add({.decay = 0.375, .epsilon = 0.25f, .optimizerDescriptor = kSettings});
  expectBehavesAsKernel(kernel, changed, device, "NNOptimizerRMSProp");
  const auto archive = archiveOf(kernel);
  expectMalformed<RMSProp>(withBits(archive, std::bit_cast<std::uint64_t>(0.375), std::bit_cast<std::uint64_t>(1.5)),
                           device, "a decay of 1.5");
  expectMalformed<RMSProp>(
      withBits(archive, std::bit_cast<std::uint32_t>(0.125f), std::bit_cast<std::uint32_t>(-0.125f)), device,
      "a negative epsilon");
}

TEST_P(OptimizerChecks, adamIsAKernel) {
  const Adam::Descriptor descriptor{
      .beta1 = 0.375, .beta2 = 0.625, .epsilon = 0.125f, .timeStep = 77, .optimizerDescriptor = kSettings};
  Adam kernel(device, descriptor);
  kernel.label = "a";
  auto changed = differing(kernel);
  const auto add = [&](auto&& change) {
    auto d = descriptor;
    change(d);
    changed.emplace_back(device, d).label = "a";
  };
  for (const auto& common : differingDescriptors()) add([&](auto& d) { d.optimizerDescriptor = common; });
  add([](auto& d) { d.beta1 = 0.5; });
  add([](auto& d) { d.beta2 = 0.5; });
  add([](auto& d) { d.epsilon = 0.5; });
  add([](auto& d) { d.timeStep = 78; });
  expectBehavesAsKernel(kernel, changed, device, "NNOptimizerAdam");
  const auto archive = archiveOf(kernel);
  for (const double beta : {0.375, 0.625}) {
    expectMalformed<Adam>(withBits(archive, std::bit_cast<std::uint64_t>(beta), std::bit_cast<std::uint64_t>(1.0)),
                          device, "a beta of 1");
  }
}

}  // namespace
}  // namespace metalloid::test
