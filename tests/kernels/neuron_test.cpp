#include "kernels/kernel_checks.hpp"
#include "support/devices.hpp"

#include <metalloid/matrix_neuron.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

const Device kNull = Device::named("null");

class NeuronValues : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Devices, NeuronValues, ::testing::ValuesIn(metalloid::testing::computingDevices()),
                         [](const auto& instance) { return metalloid::testing::identifier(instance.param); });

// --- Settings -------------------------------------------------------------------------------------------------------

template <class K>
class NeuronSettings : public ::testing::Test {};
using NeuronKernels = ::testing::Types<MatrixNeuron, MatrixNeuronGradient>;
TYPED_TEST_SUITE(NeuronSettings, NeuronKernels);

TYPED_TEST(NeuronSettings, HaveTheDocumentedDefaults) {
  const TypeParam kernel(kNull);
  EXPECT_EQ(kernel.sourceNumberOfFeatureVectors, all);
  EXPECT_EQ(kernel.sourceInputFeatureChannels, all);
  EXPECT_EQ(kernel.alpha, 1.0);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::none);
  EXPECT_EQ(kernel.neuronParameterA(), 0);
  EXPECT_EQ(kernel.neuronParameterB(), 0);
  EXPECT_EQ(kernel.neuronParameterC(), 0);
  EXPECT_EQ(kernel.batchStart, 0u);
  EXPECT_EQ(kernel.batchSize, all);
}

TEST(NeuronKernel, OriginsBeginAtZero) {
  const MatrixNeuron forward(kNull);
  EXPECT_EQ(forward.sourceMatrixOrigin, Origin());
  EXPECT_EQ(forward.resultMatrixOrigin, Origin());
  const MatrixNeuronGradient gradient(kNull);
  EXPECT_EQ(gradient.primarySourceMatrixOrigin, Origin());
  EXPECT_EQ(gradient.secondarySourceMatrixOrigin, Origin());
  EXPECT_EQ(gradient.resultMatrixOrigin, Origin());
}

TYPED_TEST(NeuronSettings, EveryTypeHasItsDefaultParameters) {
  using enum CNNNeuronType;
  struct Defaults {
    CNNNeuronType type;
    float a, b, c;
  };
  for (const auto& [type, a, b, c] : std::vector<Defaults>{{none, 0, 0, 0},
                                                           {reLU, 0, 0, 0},
                                                           {linear, 1, 0, 0},
                                                           {sigmoid, 0, 0, 0},
                                                           {hardSigmoid, 0.2f, 0.5f, 0},
                                                           {tanH, 1, 1, 0},
                                                           {absolute, 0, 0, 0},
                                                           {softPlus, 1, 1, 0},
                                                           {softSign, 0, 0, 0},
                                                           {ELU, 1, 0, 0},
                                                           {reLUN, 1, 6, 0},
                                                           {power, 1, 0, 1},
                                                           {exponential, 1, 0, -1},
                                                           {logarithm, 1, 0, -1},
                                                           {geLU, 0, 0, 0}}) {
    SCOPED_TRACE(name(type));
    TypeParam kernel(kNull);
    kernel.setNeuronType(type);
    EXPECT_EQ(kernel.neuronType(), type);
    EXPECT_EQ(kernel.neuronParameterA(), a);
    EXPECT_EQ(kernel.neuronParameterB(), b);
    EXPECT_EQ(kernel.neuronParameterC(), c);
  }
}

TYPED_TEST(NeuronSettings, GiveBackTheParametersThatWereSet) {
  TypeParam kernel(kNull);
  kernel.setNeuronType(CNNNeuronType::exponential, 0.5f, -2, 10);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::exponential);
  EXPECT_EQ(kernel.neuronParameterA(), 0.5f);
  EXPECT_EQ(kernel.neuronParameterB(), -2);
  EXPECT_EQ(kernel.neuronParameterC(), 10);
  kernel.setNeuronType(CNNNeuronType::reLU, 0.125f);
  EXPECT_EQ(kernel.neuronParameterA(), 0.125f);
  EXPECT_EQ(kernel.neuronParameterB(), 0);
  EXPECT_EQ(kernel.neuronParameterC(), 0);
}

TYPED_TEST(NeuronSettings, RefuseWhatHasNoMeaning) {
  using enum CNNNeuronType;
  TypeParam kernel(kNull);
  kernel.setNeuronType(tanH, 2, 3);
  const TypeParam before = kernel;
  const auto refused = [&](CNNNeuronType type, float a, float b, float c,
                           std::initializer_list<std::string_view> parts) {
    expectRefused([&] { kernel.setNeuronType(type, a, b, c); }, parts);
    EXPECT_EQ(kernel, before);
  };
  refused(pReLU, 0, 0, 0, {"pReLU", "setNeuronToPReLU"});
  expectRefused([&] { kernel.setNeuronType(pReLU); }, {"setNeuronToPReLU"});
  refused(count, 0, 0, 0, {"16", "no neuron function"});
  refused(static_cast<CNNNeuronType>(-3), 0, 0, 0, {"-3"});
  refused(reLU, kNaN, 0, 0, {"Parameter a", "reLU", "NaN"});
  refused(hardSigmoid, 1, kNaN, 0, {"Parameter b", "hardSigmoid", "NaN"});
  refused(power, 1, 1, kNaN, {"Parameter c", "power", "NaN"});
  refused(exponential, 1, 0, 0, {"Parameter c", "exponential"});
  refused(exponential, 1, 0, -2, {"Parameter c", "-2"});
  refused(logarithm, 1, 0, 1, {"Parameter c", "logarithm"});
  refused(logarithm, 1, 0, -0.5f, {"Parameter c", "logarithm"});
}

TYPED_TEST(NeuronSettings, AcceptWhatHasOne) {
  using enum CNNNeuronType;
  TypeParam kernel(kNull);
  kernel.setNeuronType(reLUN, -1, kInfinity);  // no cap
  kernel.setNeuronType(ELU, -2);
  kernel.setNeuronType(power, 0, 0, -1.5f);
  kernel.setNeuronType(exponential, 1, 0, 0.5f);
  kernel.setNeuronType(logarithm, 1, 0, 0.5f);
  kernel.setNeuronType(sigmoid, kNaN, kNaN, kNaN);  // parameters that the type does not use are ignored
  EXPECT_EQ(kernel.neuronType(), sigmoid);
  EXPECT_EQ(kernel, kernel.copy());
}

TYPED_TEST(NeuronSettings, PReLUKeepsACopyOfItsSlopes) {
  TypeParam kernel(kNull), same(kNull);
  std::vector<float> slopes = {0.25f, -1};
  kernel.setNeuronType(CNNNeuronType::linear, 2, 3);
  kernel.setNeuronToPReLU(slopes);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::pReLU);
  EXPECT_EQ(kernel.neuronParameterA(), 0);
  EXPECT_EQ(kernel.neuronParameterB(), 0);
  same.setNeuronToPReLU(slopes);
  EXPECT_EQ(kernel, same);
  slopes[0] = 7;
  EXPECT_EQ(kernel, same);
  same.setNeuronToPReLU(slopes);
  EXPECT_NE(kernel, same);
}

TYPED_TEST(NeuronSettings, PReLURefusesSlopesWithoutAMeaning) {
  TypeParam kernel(kNull);
  expectRefused([&] { kernel.setNeuronToPReLU({}); }, {"parametersA", "empty"});
  expectRefused([&] { kernel.setNeuronToPReLU(std::vector<float>{1, kNaN, 2}); }, {"slope 1 of 3", "NaN"});
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::none);
}

TEST(NeuronKernel, BehavesAsAKernel) {
  const auto make = [](const auto& change) {
    MatrixNeuron kernel(kNull);
    kernel.label = "relu1";
    kernel.options = KernelOptions::allowReducedPrecision;
    kernel.sourceMatrixOrigin = {1, 2, 0};
    kernel.resultMatrixOrigin = {3, 4, 0};
    kernel.batchStart = 5;
    kernel.batchSize = 6;
    kernel.sourceNumberOfFeatureVectors = 7;
    kernel.sourceInputFeatureChannels = 8;
    kernel.alpha = 0.1;
    kernel.setNeuronToPReLU(std::vector<float>{0.5f, 0.25f});
    change(kernel);
    return kernel;
  };
  expectBehavesAsKernel<MatrixNeuron>(
      make([](auto&) {}),
      {make([](auto& k) { k.label = "relu2"; }), make([](auto& k) { k.options = KernelOptions::none; }),
       make([](auto& k) { k.sourceMatrixOrigin.y = 0; }), make([](auto& k) { k.resultMatrixOrigin.x = 0; }),
       make([](auto& k) { k.batchStart = 0; }), make([](auto& k) { k.batchSize = all; }),
       make([](auto& k) { k.sourceNumberOfFeatureVectors = all; }),
       make([](auto& k) { k.sourceInputFeatureChannels = all; }), make([](auto& k) { k.alpha = 1; }),
       make([](auto& k) { k.setNeuronToPReLU(std::vector<float>{0.5f}); }),
       make([](auto& k) { k.setNeuronType(CNNNeuronType::reLU); })},
      kNull, "MatrixNeuron");
}

TEST(NeuronGradientKernel, BehavesAsAKernel) {
  const auto make = [](const auto& change) {
    MatrixNeuronGradient kernel(kNull);
    kernel.label = "relu1";
    kernel.primarySourceMatrixOrigin = {1, 2, 0};
    kernel.secondarySourceMatrixOrigin = {3, 4, 0};
    kernel.resultMatrixOrigin = {5, 6, 0};
    kernel.alpha = 0.1;
    kernel.setNeuronType(CNNNeuronType::power, 1, 2, 3);
    change(kernel);
    return kernel;
  };
  expectBehavesAsKernel<MatrixNeuronGradient>(
      make([](auto&) {}),
      {make([](auto& k) { k.label = ""; }), make([](auto& k) { k.options = KernelOptions::insertDebugGroups; }),
       make([](auto& k) { k.primarySourceMatrixOrigin.x = 0; }),
       make([](auto& k) { k.secondarySourceMatrixOrigin.y = 0; }), make([](auto& k) { k.resultMatrixOrigin.z = 1; }),
       make([](auto& k) { k.sourceNumberOfFeatureVectors = 0; }),
       make([](auto& k) { k.sourceInputFeatureChannels = 0; }), make([](auto& k) { k.alpha = -0.1; }),
       make([](auto& k) { k.setNeuronType(CNNNeuronType::power, 1, 2, 4); }),
       make([](auto& k) { k.setNeuronToPReLU(std::vector<float>{1}); })},
      kNull, "MatrixNeuronGradient");
}

// --- Values ---------------------------------------------------------------------------------------------------------

TEST_P(NeuronValues, AlphaComesBeforeTheBias) {
  const Matrix x = matrixOf(device, 2, 2, {1, -2, 3, 4}), y = makeMatrix(device, 2, 2);
  const Vector bias = vectorOf(device, {10, 0.5f});
  MatrixNeuron kernel(device);
  kernel.alpha = 2;
  kernel.setNeuronType(CNNNeuronType::reLU, 0.5f);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .biasVector = bias, .resultMatrix = y});
  });
  EXPECT_EQ(y.read<float>(), (std::vector<float>{12, -1.75f, 16, 8.5f}));
}

TEST_P(NeuronValues, AlphaScalesTheDataGradientAndNotThatOfTheBias) {
  const Matrix x = matrixOf(device, 2, 2, {1, -2, 3, 4}), dy = matrixOf(device, 2, 2, {1, 10, 100, 1000});
  const Matrix dx = makeMatrix(device, 2, 2);
  const Vector bias = vectorOf(device, {10, 0.5f}), db = makeVector(device, 2);
  MatrixNeuronGradient kernel(device);
  kernel.alpha = 2;
  kernel.setNeuronType(CNNNeuronType::reLU, 0.5f);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy,
                             .inputMatrix = x,
                             .biasVector = bias,
                             .resultGradientForDataMatrix = dx,
                             .resultGradientForBiasVector = db});
  });
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{2, 10, 200, 2000}));
  EXPECT_EQ(db.read<float>(), (std::vector<float>{101, 1005}));
}

TEST_P(NeuronValues, TheDerivativeIsTakenAtTheForwardInput) {
  // At the output of a ReLU with slope -1 every derivative would be 1.
  const Matrix x = matrixOf(device, 1, 2, {-3, 3}), dy = matrixOf(device, 1, 2, {1, 1}), dx = makeMatrix(device, 1, 2);
  MatrixNeuronGradient kernel(device);
  kernel.setNeuronType(CNNNeuronType::reLU, -1);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy, .inputMatrix = x, .resultGradientForDataMatrix = dx});
  });
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{-1, 1}));
}

TEST_P(NeuronValues, TheBiasGradientNeedsNoBias) {
  const Matrix x = matrixOf(device, 2, 1, {-3, 3}), dy = matrixOf(device, 2, 1, {4, 5}), dx = makeMatrix(device, 2, 1);
  const Vector db = makeVector(device, 1);
  MatrixNeuronGradient kernel(device);
  kernel.setNeuronType(CNNNeuronType::reLU);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(
        commands,
        {.gradientMatrix = dy, .inputMatrix = x, .resultGradientForDataMatrix = dx, .resultGradientForBiasVector = db});
  });
  EXPECT_EQ(db.read<float>(), std::vector<float>{5});
}

TEST_P(NeuronValues, ResultsAreOverwrittenAndOfNoRowsZero) {
  const Matrix x = makeMatrix(device, 0, 3), dx = makeMatrix(device, 0, 3);
  const Vector db = vectorOf(device, {7, 8, 9});
  MatrixNeuronGradient kernel(device);
  for (int i = 0; i < 2; ++i) {
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.gradientMatrix = x,
                               .inputMatrix = x,
                               .resultGradientForDataMatrix = dx,
                               .resultGradientForBiasVector = db});
    });
    EXPECT_EQ(db.read<float>(), (std::vector<float>{0, 0, 0})) << "An empty sum is 0.";
  }
}

TEST_P(NeuronValues, SizesAreTheSmallestOfLimitAndWhatIsThere) {
  // 4 x 5 with origin (1, 2): at most 3 x 3 are left.
  std::vector<float> values(20);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Matrix x = matrixOf(device, 4, 5, values);
  const Vector bias = vectorOf(device, {100, 200, 300, kNaN});  // element j goes with column origin.y + j
  MatrixNeuron kernel(device);
  kernel.sourceMatrixOrigin = {1, 2, 0};
  kernel.resultMatrixOrigin = {0, 1, 0};
  const auto run = [&](std::size_t rows, std::size_t columns) {
    kernel.sourceNumberOfFeatureVectors = rows;
    kernel.sourceInputFeatureChannels = columns;
    const Matrix y = matrixOf(device, 4, 5, std::vector<float>(20, -1));
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.inputMatrix = x, .biasVector = bias, .resultMatrix = y});
    });
    return y.read<float>();
  };
  EXPECT_EQ(run(2, 1), (std::vector<float>{-1, 107, -1, -1, -1, -1, 112, -1, -1, -1,  //
                                           -1, -1,  -1, -1, -1, -1, -1,  -1, -1, -1}));
  EXPECT_EQ(run(all, all), (std::vector<float>{-1, 107, 208, 309, -1, -1, 112, 213, 314, -1,  //
                                               -1, 117, 218, 319, -1, -1, -1,  -1,  -1,  -1}));
  EXPECT_EQ(run(17, 4), run(all, all));
  EXPECT_EQ(run(0, all), std::vector<float>(20, -1));
  EXPECT_EQ(run(all, 0), std::vector<float>(20, -1));
}

TEST_P(NeuronValues, TheGradientTakesTheSmallerOfItsSources) {
  const Matrix dy = matrixOf(device, 2, 3, {1, 2, 3, 4, 5, 6}), x = matrixOf(device, 3, 2, {0, 0, 0, 0, 0, 0});
  const Matrix dx = matrixOf(device, 3, 3, std::vector<float>(9, -1));
  const Vector db = vectorOf(device, {-1, -1, -1});
  execute(device, [&](CommandBuffer& commands) {
    MatrixNeuronGradient(device).encode(
        commands,
        {.gradientMatrix = dy, .inputMatrix = x, .resultGradientForDataMatrix = dx, .resultGradientForBiasVector = db});
  });
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{1, 2, -1, 4, 5, -1, -1, -1, -1}));
  EXPECT_EQ(db.read<float>(), (std::vector<float>{5, 7, -1}));
}

TEST_P(NeuronValues, WorksInPlace) {
  const Matrix x = matrixOf(device, 2, 3, {-1, 2, -3, 4, -5, 6});
  MatrixNeuron kernel(device);
  kernel.setNeuronType(CNNNeuronType::absolute);
  kernel.sourceMatrixOrigin = kernel.resultMatrixOrigin = {0, 1, 0};
  execute(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = x}); });
  EXPECT_EQ(x.read<float>(), (std::vector<float>{-1, 2, 3, 4, 5, 6}));

  MatrixNeuronGradient gradient(device);
  gradient.setNeuronType(CNNNeuronType::linear, 3);
  const Matrix dy = matrixOf(device, 1, 2, {1, 2}), input = matrixOf(device, 1, 2, {0, 0});
  execute(device, [&](CommandBuffer& commands) {
    gradient.encode(commands, {.gradientMatrix = dy, .inputMatrix = input, .resultGradientForDataMatrix = dy});
    gradient.encode(commands, {.gradientMatrix = dy, .inputMatrix = input, .resultGradientForDataMatrix = input});
  });
  EXPECT_EQ(dy.read<float>(), (std::vector<float>{3, 6}));
  EXPECT_EQ(input.read<float>(), (std::vector<float>{9, 18}));
}

TEST_P(NeuronValues, TheSameBytesThroughAnotherMatrixAreInPlaceToo) {
  const Matrix x = matrixOf(device, 2, 2, {-1, 2, -3, 4});
  const Matrix same(x.data(), {.rows = 2, .columns = 2, .rowBytes = x.rowBytes()});
  MatrixNeuron kernel(device);
  kernel.setNeuronType(CNNNeuronType::absolute);
  execute(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = same}); });
  EXPECT_EQ(x.read<float>(), (std::vector<float>{1, 2, 3, 4}));
}

TEST_P(NeuronValues, PReLUHasOneSlopeForEachColumnProcessed) {
  const Matrix x = matrixOf(device, 2, 4, {-1, -1, -1, -1, 2, 2, 2, -2}), y = makeMatrix(device, 2, 2);
  MatrixNeuron kernel(device);
  kernel.setNeuronToPReLU(std::vector<float>{0.5f, -3});
  kernel.sourceMatrixOrigin.y = 2;
  execute(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = y}); });
  EXPECT_EQ(y.read<float>(), (std::vector<float>{-0.5f, 3, 2, 6}));
}

TEST_P(NeuronValues, BatchesTakeASharedBiasOrOneForEachMatrix) {
  const Matrix x = matrixOf(device, 1, 1, {1, 2, 3}, {.count = 3});
  const auto run = [&](const Vector& bias, std::size_t start, std::size_t size) {
    const Matrix y = matrixOf(device, 1, 1, {-1, -1, -1}, {.count = 3});
    MatrixNeuron kernel(device);
    kernel.batchStart = start;
    kernel.batchSize = size;
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.inputMatrix = x, .biasVector = bias, .resultMatrix = y});
    });
    return y.read<float>();
  };
  const Vector shared = vectorOf(device, {10}), each = vectorOf(device, {10, 20, 30}, {.count = 3, .padding = 2});
  EXPECT_EQ(run(shared, 0, all), (std::vector<float>{11, 12, 13}));
  EXPECT_EQ(run(each, 0, all), (std::vector<float>{11, 22, 33}));
  EXPECT_EQ(run(each, 1, 1), (std::vector<float>{-1, 22, -1}));
  EXPECT_EQ(run(each, 1, 7), (std::vector<float>{-1, 22, 33}));
  EXPECT_EQ(run(each, 3, all), (std::vector<float>{-1, -1, -1}));
  EXPECT_EQ(run(each, 0, 0), (std::vector<float>{-1, -1, -1}));
}

// --- Errors ---------------------------------------------------------------------------------------------------------

TEST(NeuronErrors, NameTheOperandThatDoesNotFit) {
  const Matrix x = makeMatrix(kNull, 4, 5), y = makeMatrix(kNull, 4, 5);
  x.setLabel("x");
  const Matrix foreign = makeMatrix(Device::named("reference"), 4, 5);
  MatrixNeuron kernel(kNull);
  kernel.label = "relu1";
  using Arguments = MatrixNeuron::Arguments;
  const auto refused = [&](const Arguments& arguments, std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  expectRefusesCommandBuffers(
      kNull, [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = y}); });
  refused({.inputMatrix = {}, .resultMatrix = y}, {"inputMatrix is nil", "encoding MatrixNeuron \"relu1\""});
  refused({.inputMatrix = x, .resultMatrix = {}}, {"resultMatrix is nil"});
  refused({.inputMatrix = foreign, .resultMatrix = y}, {"inputMatrix", "device reference", "device null"});
  refused({.inputMatrix = x, .resultMatrix = makeMatrix(kNull, 3, 5)}, {"resultMatrix", "3 rows", "4 rows"});
  refused({.inputMatrix = x, .resultMatrix = makeMatrix(kNull, 4, 4)}, {"resultMatrix", "4 columns", "5 columns"});
  refused({.inputMatrix = x, .biasVector = makeVector(kNull, 4), .resultMatrix = y},
          {"biasVector", "4 elements", "needs 5"});
  refused({.inputMatrix = x, .resultMatrix = makeMatrix(kNull, 4, 5, {.type = DataType::float16})},
          {"resultMatrix", "float16", "Matrix \"x\"", "float32"});
  refused({.inputMatrix = makeMatrix(kNull, 4, 5, {.type = DataType::int32}), .resultMatrix = y},
          {"inputMatrix", "int32", "float32, float16, bFloat16"});
  refused({.inputMatrix = x, .biasVector = makeVector(kNull, 5, {.type = DataType::float16}), .resultMatrix = y},
          {"biasVector", "float16"});

  kernel.sourceMatrixOrigin = {0, 0, 1};
  refused({.inputMatrix = x, .resultMatrix = y}, {"Matrix \"x\"", "z = 1"});
  kernel.sourceMatrixOrigin = {5, 0, 0};
  refused({.inputMatrix = x, .resultMatrix = y}, {"row 5", "4 rows"});
  kernel.sourceMatrixOrigin = {0, all, 0};
  refused({.inputMatrix = x, .resultMatrix = y}, {"Matrix \"x\""});
  kernel.sourceMatrixOrigin = {};
  kernel.resultMatrixOrigin = {1, 0, 0};
  refused({.inputMatrix = x, .resultMatrix = y}, {"resultMatrix", "3 rows"});
  kernel.resultMatrixOrigin = {};
  kernel.batchStart = 2;
  refused({.inputMatrix = x, .resultMatrix = y}, {"batchStart", "is 2", "1 matrices"});
}

TEST(NeuronErrors, PReLUNeedsExactlyAsManySlopesAsColumns) {
  const Matrix x = makeMatrix(kNull, 2, 4), y = makeMatrix(kNull, 2, 4);
  MatrixNeuron forward(kNull);
  MatrixNeuronGradient gradient(kNull);
  const auto encode = [&](CommandBuffer& commands) { forward.encode(commands, {.inputMatrix = x, .resultMatrix = y}); };
  const auto encodeGradient = [&](CommandBuffer& commands) {
    gradient.encode(commands, {.gradientMatrix = x, .inputMatrix = x, .resultGradientForDataMatrix = y});
  };
  for (const std::size_t slopes : {1u, 3u, 5u}) {
    forward.setNeuronToPReLU(std::vector<float>(slopes, 0.5f));
    gradient.setNeuronToPReLU(std::vector<float>(slopes, 0.5f));
    const std::string found = std::to_string(slopes) + " slopes";
    expectEncodeRefused(kNull, encode, {found, "4 columns"});
    expectEncodeRefused(kNull, encodeGradient, {found, "4 columns"});
  }
  CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
  forward.setNeuronToPReLU(std::vector<float>(3, 0.5f));
  forward.sourceInputFeatureChannels = 3;
  encode(commands);
  gradient.setNeuronToPReLU(std::vector<float>(4, 0.5f));
  encodeGradient(commands);
  EXPECT_EQ(commands.explain().size(), 2u);
}

TEST(NeuronErrors, OverlapIsRefusedWhereItIsNotInPlace) {
  const Buffer buffer = kNull.makeBuffer(4096);
  const Matrix x(buffer, 0, {.rows = 4, .columns = 4, .rowBytes = 64});
  const Matrix shifted(buffer, 4, {.rows = 4, .columns = 4, .rowBytes = 64});
  const Matrix beside(buffer, 16, {.rows = 4, .columns = 4, .rowBytes = 64});
  const Vector inside(buffer, 64, {.length = 4});
  MatrixNeuron kernel(kNull);
  expectEncodeRefused(
      kNull, [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = shifted}); },
      {"inputMatrix", "resultMatrix", "overlap"});
  expectEncodeRefused(kNull,
                      [&](CommandBuffer& commands) {
                        kernel.encode(commands, {.inputMatrix = beside, .biasVector = inside, .resultMatrix = x});
                      },
                      {"biasVector", "resultMatrix", "overlap"});
  kernel.resultMatrixOrigin = {0, 1, 0};
  kernel.sourceInputFeatureChannels = 3;
  expectEncodeRefused(kNull,
                      [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = x}); },
                      {"overlap"});

  MatrixNeuronGradient gradient(kNull);
  expectEncodeRefused(kNull,
                      [&](CommandBuffer& commands) {
                        gradient.encode(commands, {.gradientMatrix = beside,
                                                   .inputMatrix = beside,
                                                   .resultGradientForDataMatrix = x,
                                                   .resultGradientForBiasVector = inside});
                      },
                      {"resultGradientForDataMatrix", "resultGradientForBiasVector", "overlap"});

  // Regions that interleave without meeting are fine.
  CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
  MatrixNeuron(kNull).encode(commands, {.inputMatrix = x, .resultMatrix = beside});
  EXPECT_EQ(commands.explain().size(), 1u);
}

TEST(NeuronErrors, GradientNamesItsOperands) {
  const Matrix x = makeMatrix(kNull, 4, 5), y = makeMatrix(kNull, 4, 5);
  MatrixNeuronGradient kernel(kNull);
  using Arguments = MatrixNeuronGradient::Arguments;
  const auto refused = [&](const Arguments& arguments, std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  expectRefusesCommandBuffers(kNull, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = x, .inputMatrix = x, .resultGradientForDataMatrix = y});
  });
  refused({.gradientMatrix = {}, .inputMatrix = x, .resultGradientForDataMatrix = y}, {"gradientMatrix is nil"});
  refused({.gradientMatrix = x, .inputMatrix = {}, .resultGradientForDataMatrix = y}, {"inputMatrix is nil"});
  refused({.gradientMatrix = x, .inputMatrix = x, .resultGradientForDataMatrix = {}},
          {"resultGradientForDataMatrix is nil"});
  refused({.gradientMatrix = x,
           .inputMatrix = x,
           .resultGradientForDataMatrix = y,
           .resultGradientForBiasVector = makeVector(kNull, 4)},
          {"resultGradientForBiasVector", "4 elements", "needs 5"});
  kernel.secondarySourceMatrixOrigin = {0, 6, 0};
  refused({.gradientMatrix = x, .inputMatrix = x, .resultGradientForDataMatrix = y}, {"inputMatrix", "column 6"});

  // One result vector cannot serve a batch.
  kernel = MatrixNeuronGradient(kNull);
  const Matrix several = makeMatrix(kNull, 4, 5, {.count = 3});
  refused({.gradientMatrix = several,
           .inputMatrix = several,
           .resultGradientForDataMatrix = makeMatrix(kNull, 4, 5, {.count = 3}),
           .resultGradientForBiasVector = makeVector(kNull, 5)},
          {"resultGradientForBiasVector", "1 vectors", "matrices 0 to 2"});
}

}  // namespace
}  // namespace metalloid::test
