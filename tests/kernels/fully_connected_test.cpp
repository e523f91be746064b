#include "kernels/kernel_checks.hpp"
#include "support/devices.hpp"

#include <metalloid/matrix_fully_connected.hpp>

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

namespace metalloid::test {
namespace {

const Device kNull = Device::named("null");

class FullyConnectedValues : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Devices, FullyConnectedValues, ::testing::ValuesIn(metalloid::testing::computingDevices()),
                         [](const auto& instance) { return metalloid::testing::identifier(instance.param); });

// --- Settings -------------------------------------------------------------------------------------------------------

template <class K>
class FullyConnectedSettings : public ::testing::Test {};
using FullyConnectedKernels = ::testing::Types<MatrixFullyConnected, MatrixFullyConnectedGradient>;
TYPED_TEST_SUITE(FullyConnectedSettings, FullyConnectedKernels);

TYPED_TEST(FullyConnectedSettings, HaveTheDocumentedDefaults) {
  const TypeParam kernel(kNull);
  EXPECT_EQ(kernel.sourceNumberOfFeatureVectors, all);
  EXPECT_EQ(kernel.sourceInputFeatureChannels, all);
  EXPECT_EQ(kernel.sourceOutputFeatureChannels, all);
  EXPECT_EQ(kernel.alpha, 1.0);
  EXPECT_EQ(kernel.primarySourceMatrixOrigin, Origin());
  EXPECT_EQ(kernel.secondarySourceMatrixOrigin, Origin());
  EXPECT_EQ(kernel.resultMatrixOrigin, Origin());
  EXPECT_EQ(kernel.batchStart, 0u);
  EXPECT_EQ(kernel.batchSize, all);
  EXPECT_EQ(kernel.label, "");
  EXPECT_EQ(kernel.options, KernelOptions::none);
  EXPECT_EQ(kernel.device(), kNull);
}

TYPED_TEST(FullyConnectedSettings, BehaveAsAKernel) {
  const auto make = [](const auto& change) {
    TypeParam kernel(kNull);
    kernel.label = "fc1";
    kernel.primarySourceMatrixOrigin = {1, 2, 0};
    kernel.secondarySourceMatrixOrigin = {3, 4, 0};
    kernel.resultMatrixOrigin = {5, 6, 0};
    kernel.batchStart = 1;
    kernel.batchSize = 2;
    kernel.sourceNumberOfFeatureVectors = 7;
    kernel.sourceInputFeatureChannels = 8;
    kernel.sourceOutputFeatureChannels = 9;
    kernel.alpha = 0.1;
    change(kernel);
    return kernel;
  };
  std::vector<TypeParam> changed = {make([](auto& k) { k.label = "fc2"; }),
                                    make([](auto& k) { k.options = KernelOptions::allowReducedPrecision; }),
                                    make([](auto& k) { k.primarySourceMatrixOrigin.x = 0; }),
                                    make([](auto& k) { k.secondarySourceMatrixOrigin.y = 0; }),
                                    make([](auto& k) { k.resultMatrixOrigin.x = 0; }),
                                    make([](auto& k) { k.batchStart = 0; }),
                                    make([](auto& k) { k.batchSize = 0; }),
                                    make([](auto& k) { k.sourceNumberOfFeatureVectors = all; }),
                                    make([](auto& k) { k.sourceInputFeatureChannels = all; }),
                                    make([](auto& k) { k.sourceOutputFeatureChannels = all; }),
                                    make([](auto& k) { k.alpha = 1; })};
  std::string name = "MatrixFullyConnectedGradient";
  if constexpr (std::is_same_v<TypeParam, MatrixFullyConnected>) {
    name = "MatrixFullyConnected";
    changed.push_back(make([](auto& k) { k.setNeuronType(CNNNeuronType::geLU); }));
  }
  expectBehavesAsKernel<TypeParam>(make([](auto&) {}), changed, kNull, name);
}

TEST(FullyConnectedKernel, HasANeuron) {
  MatrixFullyConnected kernel(kNull);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::none);
  kernel.setNeuronType(CNNNeuronType::reLUN);
  EXPECT_EQ(kernel.neuronParameterA(), 1);
  EXPECT_EQ(kernel.neuronParameterB(), 6);
  kernel.setNeuronType(CNNNeuronType::logarithm, 1, 2, 10);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::logarithm);
  EXPECT_EQ(kernel.neuronParameterC(), 10);
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::pReLU, 1); }, {"pReLU"});
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::linear, kNaN); }, {"NaN"});
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::logarithm);
}

// --- Values ---------------------------------------------------------------------------------------------------------

TEST_P(FullyConnectedValues, AlphaScalesTheProductAndNotTheBias) {
  const Matrix x = matrixOf(device, 2, 2, {1, 2, 3, 4}), w = matrixOf(device, 2, 3, {1, 0, -1, 0, 1, 10});
  const Vector bias = vectorOf(device, {100, 200, 0});
  const Matrix y = makeMatrix(device, 2, 3);
  MatrixFullyConnected kernel(device);
  kernel.alpha = 2;
  kernel.setNeuronType(CNNNeuronType::reLUN, 0, 204);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .biasVector = bias, .resultMatrix = y});
  });
  EXPECT_EQ(y.read<float>(), (std::vector<float>{102, 204, 38, 106, 204, 74}));
}

TEST_P(FullyConnectedValues, GradientsAreThoseOfThePrintedFormulas) {
  const Matrix dy = matrixOf(device, 2, 2, {1, 2, 3, 4});
  const Matrix w = matrixOf(device, 3, 2, {1, 0, 0, 1, 10, 100}), x = matrixOf(device, 2, 3, {1, 2, 3, 4, 5, 6});
  const Matrix dx = makeMatrix(device, 2, 3), dw = makeMatrix(device, 3, 2);
  const Vector db = makeVector(device, 2);
  MatrixFullyConnectedGradient kernel(device);
  kernel.alpha = -2;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
    kernel.encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                              .inputMatrix = x,
                                              .resultGradientForWeightMatrix = dw,
                                              .resultGradientForBiasVector = db});
  });
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{-2, -4, -420, -6, -8, -860}));
  EXPECT_EQ(dw.read<float>(), (std::vector<float>{-26, -36, -34, -48, -42, -60}));
  EXPECT_EQ(db.read<float>(), (std::vector<float>{4, 6})) << "alpha does not scale the bias gradient";
}

TEST_P(FullyConnectedValues, ResultsAreOverwritten) {
  const Matrix dy = matrixOf(device, 1, 1, {2}), x = matrixOf(device, 1, 1, {3}), dw = matrixOf(device, 1, 1, {kNaN});
  const Vector db = vectorOf(device, {kNaN});
  for (int i = 0; i < 2; ++i) {
    execute(device, [&](CommandBuffer& commands) {
      MatrixFullyConnectedGradient(device).encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                                                              .inputMatrix = x,
                                                                              .resultGradientForWeightMatrix = dw,
                                                                              .resultGradientForBiasVector = db});
    });
    EXPECT_EQ(dw.read<float>(), std::vector<float>{6});
    EXPECT_EQ(db.read<float>(), std::vector<float>{2});
  }
}

TEST_P(FullyConnectedValues, EmptySumsAreZero) {
  const Matrix dy = makeMatrix(device, 0, 2), x = makeMatrix(device, 0, 3),
               dw = matrixOf(device, 3, 2, {1, 2, 3, 4, 5, 6});
  const Vector db = vectorOf(device, {7, 8});
  const Matrix y = matrixOf(device, 2, 2, {1, 2, 3, 4});
  const Vector bias = vectorOf(device, {5, 6});
  execute(device, [&](CommandBuffer& commands) {
    MatrixFullyConnectedGradient(device).encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                                                            .inputMatrix = x,
                                                                            .resultGradientForWeightMatrix = dw,
                                                                            .resultGradientForBiasVector = db});
    MatrixFullyConnected(device).encode(commands, {.inputMatrix = makeMatrix(device, 2, 0),
                                                   .weightMatrix = makeMatrix(device, 0, 2),
                                                   .biasVector = bias,
                                                   .resultMatrix = y});
  });
  EXPECT_EQ(dw.read<float>(), std::vector<float>(6, 0));
  EXPECT_EQ(db.read<float>(), std::vector<float>(2, 0));
  EXPECT_EQ(y.read<float>(), (std::vector<float>{5, 6, 5, 6})) << "Without inputs the bias is left.";
}

TEST_P(FullyConnectedValues, SizesAreTheSmallestOfLimitsAndOperands) {
  // The input offers 3 columns, the weights 2 rows of 4 columns: I = 2, O = 4.
  const Matrix x = matrixOf(device, 2, 3, {1, 2, 1000, 3, 4, 1000});
  const Matrix w = matrixOf(device, 2, 4, {1, 2, 3, 4, 5, 6, 7, 8});
  const auto run = [&](std::size_t n, std::size_t in, std::size_t out) {
    const Matrix y = matrixOf(device, 2, 4, std::vector<float>(8, -1));
    MatrixFullyConnected kernel(device);
    kernel.sourceNumberOfFeatureVectors = n;
    kernel.sourceInputFeatureChannels = in;
    kernel.sourceOutputFeatureChannels = out;
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .resultMatrix = y});
    });
    return y.read<float>();
  };
  EXPECT_EQ(run(all, all, all), (std::vector<float>{11, 14, 17, 20, 23, 30, 37, 44}));
  EXPECT_EQ(run(9, 9, 9), run(all, all, all));
  EXPECT_EQ(run(1, all, 3), (std::vector<float>{11, 14, 17, -1, -1, -1, -1, -1}));
  EXPECT_EQ(run(all, 1, all), (std::vector<float>{1, 2, 3, 4, 3, 6, 9, 12}));
  EXPECT_EQ(run(0, all, all), std::vector<float>(8, -1));
  EXPECT_EQ(run(all, all, 0), std::vector<float>(8, -1));
  EXPECT_EQ(run(all, 0, all), std::vector<float>(8, 0));
}

TEST_P(FullyConnectedValues, OneObjectSharesItsOriginsBetweenBothEncodes) {
  // Secondary is W in one encode and x in the other, result dx or dW: the same numbers, applied to other matrices.
  const auto counted = [&](std::size_t rows, std::size_t columns, float first) {
    std::vector<float> values(rows * columns);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
    return matrixOf(device, rows, columns, values);
  };
  const Matrix dy = counted(3, 3, 1), w = counted(3, 3, 1), x = counted(3, 3, 1);
  const Matrix dx = matrixOf(device, 3, 3, std::vector<float>(9, -1)),
               dw = matrixOf(device, 3, 3, std::vector<float>(9, -1));
  const Vector db = vectorOf(device, {-1, -1, -1});
  MatrixFullyConnectedGradient kernel(device);
  kernel.primarySourceMatrixOrigin = {1, 1, 0};    // dy is [[5, 6], [8, 9]]
  kernel.secondarySourceMatrixOrigin = {1, 0, 0};  // W and x are [[4, 5, 6], [7, 8, 9]]
  kernel.resultMatrixOrigin = {0, 1, 0};
  kernel.sourceInputFeatureChannels = 2;
  execute(device, [&](CommandBuffer& commands) {
    // N = 2, O = min(2, 3) = 2, I = 2: dx = dy * [[4, 5], [7, 8]]^T
    kernel.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
    // dW = [[4, 5], [7, 8]]^T * dy
    kernel.encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                              .inputMatrix = x,
                                              .resultGradientForWeightMatrix = dw,
                                              .resultGradientForBiasVector = db});
  });
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{-1, 50, 83, -1, 77, 128, -1, -1, -1}));
  EXPECT_EQ(dw.read<float>(), (std::vector<float>{-1, 76, 87, -1, 89, 102, -1, -1, -1}));
  EXPECT_EQ(db.read<float>(), (std::vector<float>{13, 15, -1})) << "No origin applies to vectors.";
}

TEST_P(FullyConnectedValues, GradientSizesAreTheSmallestOfBothSources) {
  const Matrix dy = matrixOf(device, 2, 2, {1, 1, 1, 1});
  const Matrix w = matrixOf(device, 2, 1, {1, 2});  // fewer outputs than dy has columns
  const Matrix x = matrixOf(device, 1, 2, {3, 4});  // fewer rows than dy
  const Matrix dx = makeMatrix(device, 2, 2), dw = makeMatrix(device, 2, 2);
  const Vector db = makeVector(device, 2);
  execute(device, [&](CommandBuffer& commands) {
    const MatrixFullyConnectedGradient kernel(device);
    kernel.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
    kernel.encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                              .inputMatrix = x,
                                              .resultGradientForWeightMatrix = dw,
                                              .resultGradientForBiasVector = db});
  });
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{1, 2, 1, 2}));
  EXPECT_EQ(dw.read<float>(), (std::vector<float>{3, 3, 4, 4}));
  EXPECT_EQ(db.read<float>(), (std::vector<float>{1, 1})) << "Of the rows that both sources have.";
}

TEST_P(FullyConnectedValues, SixteenBitStorageAccumulatesInMore) {
  // 4096 times 1 plus 1: in float16 itself the sum would stop at 2048.
  for (const DataType type : {DataType::float16, DataType::bFloat16}) {
    const Matrix x = matrixOf(device, 1, 4097, std::vector<float>(4097, 1), {.type = type});
    const Matrix w = matrixOf(device, 4097, 1, std::vector<float>(4097, 1), {.type = type});
    const Matrix y = makeMatrix(device, 1, 1, {.type = type});
    MatrixFullyConnected kernel(device);
    kernel.alpha = 0x1p-10;
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .resultMatrix = y});
    });
    EXPECT_EQ(y.read<float>()[0], 4.0f) << name(type);  // 4.0009765625 rounded
  }
}

TEST_P(FullyConnectedValues, NaNAndInfinityGoWhereTheFormulaSendsThem) {
  const Matrix x = matrixOf(device, 2, 2, {1, kNaN, 0, 2}), w = matrixOf(device, 2, 2, {kInfinity, 1, 1, 0});
  const Matrix y = makeMatrix(device, 2, 2);
  execute(device, [&](CommandBuffer& commands) {
    MatrixFullyConnected(device).encode(commands, {.inputMatrix = x, .weightMatrix = w, .resultMatrix = y});
  });
  const auto values = y.read<float>();
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_TRUE(std::isnan(values[1])) << "NaN * 0";
  EXPECT_TRUE(std::isnan(values[2])) << "0 * infinity";
  EXPECT_EQ(values[3], 0);
}

// --- Errors ---------------------------------------------------------------------------------------------------------

TEST(FullyConnectedErrors, NameTheOperandThatDoesNotFit) {
  const Matrix x = makeMatrix(kNull, 4, 5), w = makeMatrix(kNull, 5, 3), y = makeMatrix(kNull, 4, 3);
  w.setLabel("weights");
  MatrixFullyConnected kernel(kNull);
  kernel.label = "fc1";
  const auto refused = [&](const MatrixFullyConnected::Arguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  expectRefusesCommandBuffers(kNull, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .resultMatrix = y});
  });
  refused({.inputMatrix = {}, .weightMatrix = w, .resultMatrix = y},
          {"inputMatrix is nil", "encoding MatrixFullyConnected \"fc1\""});
  refused({.inputMatrix = x, .weightMatrix = {}, .resultMatrix = y}, {"weightMatrix is nil"});
  refused({.inputMatrix = x, .weightMatrix = w, .resultMatrix = {}}, {"resultMatrix is nil"});
  refused({.inputMatrix = x, .weightMatrix = w, .resultMatrix = makeMatrix(kNull, 4, 2)},
          {"resultMatrix", "2 columns", "3 columns"});
  refused({.inputMatrix = x, .weightMatrix = w, .biasVector = makeVector(kNull, 2), .resultMatrix = y},
          {"biasVector", "2 elements", "needs 3"});
  refused({.inputMatrix = x, .weightMatrix = makeMatrix(kNull, 5, 3, {.type = DataType::bFloat16}), .resultMatrix = y},
          {"weightMatrix", "bFloat16", "float32"});
  refused({.inputMatrix = makeMatrix(kNull, 4, 5, {.type = DataType::int8}), .weightMatrix = w, .resultMatrix = y},
          {"inputMatrix", "int8"});
  refused({.inputMatrix = x, .weightMatrix = makeMatrix(Device::named("cpu"), 5, 3), .resultMatrix = y},
          {"weightMatrix", "device cpu", "device null"});
  kernel.secondarySourceMatrixOrigin = {6, 0, 0};
  refused({.inputMatrix = x, .weightMatrix = w, .resultMatrix = y}, {"Matrix \"weights\" (weightMatrix)", "row 6"});
  kernel.secondarySourceMatrixOrigin = {0, 0, 2};
  refused({.inputMatrix = x, .weightMatrix = w, .resultMatrix = y}, {"Matrix \"weights\" (weightMatrix)", "z = 2"});
}

TEST(FullyConnectedErrors, AResultMayNotOverlapASource) {
  const Matrix x = makeMatrix(kNull, 4, 4), w = makeMatrix(kNull, 4, 4);
  const MatrixFullyConnected kernel(kNull);
  const MatrixFullyConnectedGradient gradient(kNull);
  expectEncodeRefused(kNull,
                      [&](CommandBuffer& commands) {
                        kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .resultMatrix = x});
                      },
                      {"inputMatrix", "resultMatrix", "overlap"});
  expectEncodeRefused(kNull,
                      [&](CommandBuffer& commands) {
                        gradient.encodeForData(
                            commands, {.gradientMatrix = x, .weightMatrix = w, .resultGradientForDataMatrix = w});
                      },
                      {"weightMatrix", "resultGradientForDataMatrix", "overlap"});
  const Matrix dw = makeMatrix(kNull, 4, 4);
  expectEncodeRefused(kNull,
                      [&](CommandBuffer& commands) {
                        gradient.encodeForWeightsAndBias(
                            commands, {.gradientMatrix = x,
                                       .inputMatrix = w,
                                       .resultGradientForWeightMatrix = dw,
                                       .resultGradientForBiasVector = Vector(dw.data(), {.length = 4})});
                      },
                      {"resultGradientForWeightMatrix", "resultGradientForBiasVector", "overlap"});
  // Sources may be one matrix.
  CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
  kernel.encode(commands, {.inputMatrix = x, .weightMatrix = x, .resultMatrix = w});
  EXPECT_EQ(commands.explain().size(), 1u);
}

TEST(FullyConnectedErrors, GradientsNameTheirOperands) {
  const Matrix dy = makeMatrix(kNull, 4, 3), w = makeMatrix(kNull, 5, 3), x = makeMatrix(kNull, 4, 5);
  const Matrix dx = makeMatrix(kNull, 4, 5), dw = makeMatrix(kNull, 5, 3);
  MatrixFullyConnectedGradient kernel(kNull);
  const auto data = [&](const MatrixFullyConnectedGradient::DataArguments& arguments,
                        std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encodeForData(commands, arguments); }, parts);
  };
  const auto weights = [&](const MatrixFullyConnectedGradient::WeightsAndBiasArguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encodeForWeightsAndBias(commands, arguments); }, parts);
  };
  expectRefusesCommandBuffers(kNull, [&](CommandBuffer& commands) {
    kernel.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
  });
  expectRefusesCommandBuffers(kNull, [&](CommandBuffer& commands) {
    kernel.encodeForWeightsAndBias(commands,
                                   {.gradientMatrix = dy, .inputMatrix = x, .resultGradientForWeightMatrix = dw});
  });
  data({.gradientMatrix = {}, .weightMatrix = w, .resultGradientForDataMatrix = dx}, {"gradientMatrix is nil"});
  data({.gradientMatrix = dy, .weightMatrix = {}, .resultGradientForDataMatrix = dx}, {"weightMatrix is nil"});
  data({.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = {}},
       {"resultGradientForDataMatrix is nil"});
  data({.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = makeMatrix(kNull, 4, 4)},
       {"resultGradientForDataMatrix", "4 columns", "5 columns"});
  weights({.gradientMatrix = {}, .inputMatrix = x, .resultGradientForWeightMatrix = dw}, {"gradientMatrix is nil"});
  weights({.gradientMatrix = dy, .inputMatrix = {}, .resultGradientForWeightMatrix = dw}, {"inputMatrix is nil"});
  weights({.gradientMatrix = dy, .inputMatrix = x, .resultGradientForWeightMatrix = {}},
          {"resultGradientForWeightMatrix is nil"});
  weights({.gradientMatrix = dy, .inputMatrix = x, .resultGradientForWeightMatrix = makeMatrix(kNull, 4, 3)},
          {"resultGradientForWeightMatrix", "4 rows", "5 rows"});
  weights({.gradientMatrix = dy,
           .inputMatrix = x,
           .resultGradientForWeightMatrix = dw,
           .resultGradientForBiasVector = makeVector(kNull, 2)},
          {"resultGradientForBiasVector", "2 elements", "needs 3"});
  weights({.gradientMatrix = dy,
           .inputMatrix = x,
           .resultGradientForWeightMatrix = dw,
           .resultGradientForBiasVector = makeVector(kNull, 3, {.type = DataType::bFloat16})},
          {"resultGradientForBiasVector", "bFloat16", "float32"});
  kernel.primarySourceMatrixOrigin = {0, 4, 0};
  data({.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx}, {"gradientMatrix", "column 4"});
}

}  // namespace
}  // namespace metalloid::test
