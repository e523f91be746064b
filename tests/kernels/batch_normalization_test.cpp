#include "kernels/kernel_checks.hpp"
#include "support/devices.hpp"

#include <metalloid/matrix_batch_normalization.hpp>

#include <cmath>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

namespace metalloid::test {
namespace {

const Device kNull = Device::named("null");

class BatchNormalizationValues : public ::testing::TestWithParam<Device> {
 protected:
  const Device& device = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Devices, BatchNormalizationValues, ::testing::ValuesIn(metalloid::testing::computingDevices()),
                         [](const auto& instance) { return metalloid::testing::identifier(instance.param); });

// --- Settings -------------------------------------------------------------------------------------------------------

template <class K>
class BatchNormalizationSettings : public ::testing::Test {};
using BatchNormalizationKernels = ::testing::Types<MatrixBatchNormalization, MatrixBatchNormalizationGradient>;
TYPED_TEST_SUITE(BatchNormalizationSettings, BatchNormalizationKernels);

TYPED_TEST(BatchNormalizationSettings, HaveTheDocumentedDefaults) {
  const TypeParam kernel(kNull);
  EXPECT_EQ(kernel.sourceNumberOfFeatureVectors, all);
  EXPECT_EQ(kernel.sourceInputFeatureChannels, all);
  EXPECT_EQ(kernel.epsilon, 1.17549435e-38f);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::none);
  EXPECT_EQ(kernel.resultMatrixOrigin, Origin());
  EXPECT_EQ(kernel.batchStart, 0u);
  EXPECT_EQ(kernel.batchSize, all);
  if constexpr (std::is_same_v<TypeParam, MatrixBatchNormalization>) {
    EXPECT_FALSE(kernel.computeStatistics);
    EXPECT_EQ(kernel.sourceMatrixOrigin, Origin());
  } else {
    EXPECT_EQ(kernel.primarySourceMatrixOrigin, Origin());
    EXPECT_EQ(kernel.secondarySourceMatrixOrigin, Origin());
  }
}

TYPED_TEST(BatchNormalizationSettings, HaveANeuronButNoPReLU) {
  TypeParam kernel(kNull);
  kernel.setNeuronType(CNNNeuronType::hardSigmoid);
  EXPECT_EQ(kernel.neuronParameterA(), 0.2f);
  EXPECT_EQ(kernel.neuronParameterB(), 0.5f);
  kernel.setNeuronType(CNNNeuronType::exponential, 1, 2, 3);
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::exponential);
  EXPECT_EQ(kernel.neuronParameterC(), 3);
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::pReLU); }, {"pReLU"});
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::pReLU, 1); }, {"pReLU"});
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::count); }, {"16"});
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::exponential);
}

TYPED_TEST(BatchNormalizationSettings, BehaveAsAKernel) {
  constexpr bool kIsForward = std::is_same_v<TypeParam, MatrixBatchNormalization>;
  const auto make = [](const auto& change) {
    TypeParam kernel(kNull);
    kernel.label = "bn1";
    kernel.resultMatrixOrigin = {5, 6, 0};
    kernel.batchStart = 1;
    kernel.batchSize = 2;
    kernel.sourceNumberOfFeatureVectors = 7;
    kernel.sourceInputFeatureChannels = 8;
    kernel.epsilon = 1e-5f;
    kernel.setNeuronType(CNNNeuronType::ELU, 0.5f);
    change(kernel);
    return kernel;
  };
  std::vector<TypeParam> changed = {make([](auto& k) { k.label = "bn2"; }),
                                    make([](auto& k) { k.options = KernelOptions::verbose; }),
                                    make([](auto& k) { k.resultMatrixOrigin.x = 0; }),
                                    make([](auto& k) { k.batchStart = 0; }),
                                    make([](auto& k) { k.batchSize = 0; }),
                                    make([](auto& k) { k.sourceNumberOfFeatureVectors = all; }),
                                    make([](auto& k) { k.sourceInputFeatureChannels = all; }),
                                    make([](auto& k) { k.epsilon = std::nextafter(1e-5f, 1.0f); }),
                                    make([](auto& k) { k.setNeuronType(CNNNeuronType::ELU); })};
  if constexpr (kIsForward) {
    changed.push_back(make([](auto& k) { k.computeStatistics = true; }));
    changed.push_back(make([](auto& k) { k.sourceMatrixOrigin.x = 1; }));
  } else {
    changed.push_back(make([](auto& k) { k.primarySourceMatrixOrigin.x = 1; }));
    changed.push_back(make([](auto& k) { k.secondarySourceMatrixOrigin.y = 1; }));
  }
  expectBehavesAsKernel<TypeParam>(make([](auto&) {}), changed, kNull,
                                   kIsForward ? "MatrixBatchNormalization" : "MatrixBatchNormalizationGradient");
}

// --- Values ---------------------------------------------------------------------------------------------------------

TEST_P(BatchNormalizationValues, DividesByTheRootOfTheBiasedVariance) {
  // Column 0: mean 4, variance ((-3)^2 + 3^2) / 2 = 9. Column 1: mean 0, variance 16.
  const Matrix x = matrixOf(device, 2, 2, {1, -4, 7, 4}), y = makeMatrix(device, 2, 2);
  const Vector mean = vectorOf(device, {kNaN, kNaN}), variance = vectorOf(device, {kNaN, kNaN});
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  kernel.epsilon = 9;  // column 1: sqrt(16 + 9) = 5; and not included in the variance that is written
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  EXPECT_EQ(mean.read<float>(), (std::vector<float>{4, 0}));
  EXPECT_EQ(variance.read<float>(), (std::vector<float>{9, 16}));
  const auto values = y.read<float>();
  const double expected[] = {-3 / std::sqrt(18.0), -0.8, 3 / std::sqrt(18.0), 0.8};
  // A root, a division and a product: three roundings, and that of the result.
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(values[i], expected[i], 4 * 0x1p-24 * std::fabs(expected[i]));
}

TEST_P(BatchNormalizationValues, UsesGivenStatisticsAndLeavesThemAlone) {
  const Matrix x = matrixOf(device, 2, 1, {3, 5}), y = makeMatrix(device, 2, 1);
  const Vector mean = vectorOf(device, {1}), variance = vectorOf(device, {4});
  const Vector gamma = vectorOf(device, {10}), beta = vectorOf(device, {-15});
  MatrixBatchNormalization kernel(device);
  kernel.setNeuronType(CNNNeuronType::reLU, 0.5f);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x,
                             .meanVector = mean,
                             .varianceVector = variance,
                             .gammaVector = gamma,
                             .betaVector = beta,
                             .resultMatrix = y});
  });
  EXPECT_EQ(y.read<float>(), (std::vector<float>{-2.5f, 5}));  // 10 * (2 / 2) - 15 and 10 * (4 / 2) - 15
  EXPECT_EQ(mean.read<float>(), std::vector<float>{1});
  EXPECT_EQ(variance.read<float>(), std::vector<float>{4});
}

TEST_P(BatchNormalizationValues, OfOneRowOrEqualRowsIsBeta) {
  // With the default epsilon the factor is 2^63: only an exact difference of 0 leaves 0.
  for (const std::size_t rows : {1u, 2u, 3u, 50u}) {
    const Matrix x = matrixOf(device, rows, 2, std::vector<float>(rows * 2, 0.1f)), y = makeMatrix(device, rows, 2);
    const Vector mean = makeVector(device, 2), variance = makeVector(device, 2), beta = vectorOf(device, {3, -4});
    MatrixBatchNormalization kernel(device);
    kernel.computeStatistics = true;
    if (rows > 2) kernel.epsilon = 1e-3f;  // a mean of three equal numbers may be rounded
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(
          commands,
          {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .betaVector = beta, .resultMatrix = y});
    });
    const auto values = y.read<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float expected = i % 2 == 0 ? 3.0f : -4.0f;
      // The mean is within 2 * 2^-24 * 0.1 and 1 / sqrt(epsilon) is 32.
      EXPECT_NEAR(values[i], expected, rows > 2 ? 4 * 0x1p-24 * 3.2 + 0x1p-22 : 0) << rows << " rows";
    }
  }
}

TEST_P(BatchNormalizationValues, DoesNotFlushItsDefaultEpsilon) {
  const Matrix x = matrixOf(device, 1, 1, {0}), y = makeMatrix(device, 1, 1);
  const Vector zero = vectorOf(device, {0}), beta = vectorOf(device, {7});
  const Vector zeroToo = vectorOf(device, {0});
  execute(device, [&](CommandBuffer& commands) {
    MatrixBatchNormalization(device).encode(
        commands,
        {.inputMatrix = x, .meanVector = zero, .varianceVector = zeroToo, .betaVector = beta, .resultMatrix = y});
  });
  EXPECT_EQ(y.read<float>(), std::vector<float>{7});
}

TEST_P(BatchNormalizationValues, VarianceDoesNotCancel) {
  // Mean 10000, variance 2/3: the difference of E[x^2] and E[x]^2 would have no digit left in float32.
  std::vector<float> values;
  for (int i = 0; i < 999; ++i) values.push_back(10000 + static_cast<float>(i % 3));
  const Matrix x = matrixOf(device, 999, 1, values), y = makeMatrix(device, 999, 1);
  const Vector mean = makeVector(device, 1), variance = makeVector(device, 1);
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  EXPECT_EQ(mean.read<float>(), std::vector<float>{10001});
  // A sum of 999 terms of at most 4, the squared distance of the mean and any row.
  const double bound = 999 * 0x1p-24 * 4;
  EXPECT_NEAR(variance.read<float>()[0], 2.0 / 3, bound);
  EXPECT_NEAR(y.read<float>()[0], -std::sqrt(1.5), bound);  // the derivative of 1 / sqrt(v) is below 1 there
}

TEST_P(BatchNormalizationValues, IsLimitedToItsRegion) {
  const Matrix x = matrixOf(device, 3, 3, {kNaN, kNaN, kNaN, kNaN, 1, 2, kNaN, 3, 6});
  const Matrix y = matrixOf(device, 2, 3, std::vector<float>(6, -9));
  const Vector mean = vectorOf(device, {-9, -9, -9}), variance = vectorOf(device, {-9, -9, -9});
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  kernel.sourceMatrixOrigin = {1, 1, 0};
  kernel.resultMatrixOrigin = {0, 1, 0};
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  EXPECT_EQ(mean.read<float>(), (std::vector<float>{2, 4, -9})) << "Entry 0 belongs to the region's first column.";
  EXPECT_EQ(variance.read<float>(), (std::vector<float>{1, 4, -9}));
  EXPECT_EQ(y.read<float>(), (std::vector<float>{-9, -1, -1, -9, 1, 1}));
  kernel.sourceNumberOfFeatureVectors = 1;
  kernel.sourceInputFeatureChannels = 1;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  EXPECT_EQ(mean.read<float>(), (std::vector<float>{1, 4, -9}));
  EXPECT_EQ(y.read<float>(), (std::vector<float>{-9, 0, -1, -9, 1, 1}));
}

TEST_P(BatchNormalizationValues, WorksInPlace) {
  const Matrix x = matrixOf(device, 2, 1, {1, 3});
  const Vector mean = makeVector(device, 1), variance = makeVector(device, 1);
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = x});
  });
  EXPECT_EQ(x.read<float>(), (std::vector<float>{-1, 1}));
}

/// dx of two rows with the formula written out; statistics are deliberately not the batch's own.
TEST_P(BatchNormalizationValues, GradientIsCoupledEvenWithForeignStatistics) {
  const Matrix x = matrixOf(device, 2, 1, {3, 5}), dy = matrixOf(device, 2, 1, {1, 2}), dx = makeMatrix(device, 2, 1);
  const Vector mean = vectorOf(device, {1}), variance = vectorOf(device, {4}), gamma = vectorOf(device, {8});
  const Vector dGamma = makeVector(device, 1), dBeta = makeVector(device, 1);
  execute(device, [&](CommandBuffer& commands) {
    MatrixBatchNormalizationGradient(device).encode(commands, {.gradientMatrix = dy,
                                                               .inputMatrix = x,
                                                               .meanVector = mean,
                                                               .varianceVector = variance,
                                                               .gammaVector = gamma,
                                                               .resultGradientForDataMatrix = dx,
                                                               .resultGradientForGammaVector = dGamma,
                                                               .resultGradientForBetaVector = dBeta});
  });
  // xhat = 1, 2; dbeta = 3; dgamma = 1 + 4 = 5; gamma * s = 4
  EXPECT_EQ(dBeta.read<float>(), std::vector<float>{3});
  EXPECT_EQ(dGamma.read<float>(), std::vector<float>{5});
  EXPECT_EQ(dx.read<float>(), (std::vector<float>{4 * (1 - 1.5f - 2.5f), 4 * (2 - 1.5f - 5)}));
}

TEST_P(BatchNormalizationValues, BetaMattersToTheGradientThroughTheNeuron) {
  const Matrix x = matrixOf(device, 2, 1, {-1, 1}), dy = matrixOf(device, 2, 1, {1, 1});
  const Vector mean = vectorOf(device, {0}), variance = vectorOf(device, {1}), dBeta = makeVector(device, 1);
  const Matrix dx = makeMatrix(device, 2, 1);
  MatrixBatchNormalizationGradient kernel(device);
  const auto run = [&](float beta) {
    execute(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.gradientMatrix = dy,
                               .inputMatrix = x,
                               .meanVector = mean,
                               .varianceVector = variance,
                               .betaVector = vectorOf(device, {beta}),
                               .resultGradientForDataMatrix = dx,
                               .resultGradientForBetaVector = dBeta});
    });
    return dBeta.read<float>()[0];
  };
  EXPECT_EQ(run(0), 2);
  EXPECT_EQ(run(-5), 2) << "Without a neuron beta makes no difference.";
  kernel.setNeuronType(CNNNeuronType::reLU);
  EXPECT_EQ(run(5), 2);
  EXPECT_EQ(run(0), 1);
  EXPECT_EQ(run(-5), 0);
}

TEST_P(BatchNormalizationValues, StatisticsMayBeFloat32BesideSixteenBitData) {
  const Matrix x = matrixOf(device, 2, 1, {1000, 1002}, {.type = DataType::float16});
  const Matrix y = makeMatrix(device, 2, 1, {.type = DataType::float16});
  const Vector mean = makeVector(device, 1), variance = makeVector(device, 1);
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  EXPECT_EQ(mean.read<float>(), std::vector<float>{1001});
  EXPECT_EQ(variance.read<float>(), std::vector<float>{1});
  EXPECT_EQ(y.read<float>(), (std::vector<float>{-1, 1}));
}

TEST_P(BatchNormalizationValues, UsesStatisticsOfFullPrecisionWhateverTheirStorage) {
  // The mean 1/3 is stored in float16, but what normalizes is the mean itself: the result's sum is 0.
  const Matrix half = matrixOf(device, 3, 1, {0, 0, 1}, {.type = DataType::float16});
  const Matrix y = makeMatrix(device, 3, 1, {.type = DataType::float16});
  const Vector mean = makeVector(device, 1, {.type = DataType::float16});
  const Vector variance = makeVector(device, 1, {.type = DataType::float16});
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = half, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  const auto values = y.read<double>();
  const double expected[] = {-std::sqrt(0.5), -std::sqrt(0.5), std::sqrt(2.0)};
  // One rounding to float16, and a little of float32.
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(values[i], expected[i], 0x1p-11 * std::fabs(expected[i]) + 0x1p-20);
}

// --- Errors ---------------------------------------------------------------------------------------------------------

TEST(BatchNormalizationErrors, NameTheOperandThatDoesNotFit) {
  const Matrix x = makeMatrix(kNull, 4, 5), y = makeMatrix(kNull, 4, 5);
  const Vector mean = makeVector(kNull, 5), variance = makeVector(kNull, 5), shorter = makeVector(kNull, 4);
  MatrixBatchNormalization kernel(kNull);
  kernel.label = "bn1";
  const auto refused = [&](const MatrixBatchNormalization::Arguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  expectRefusesCommandBuffers(kNull, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = y});
  });
  for (const bool computeStatistics : {false, true}) {
    kernel.computeStatistics = computeStatistics;
    refused({.inputMatrix = {}, .meanVector = mean, .varianceVector = variance, .resultMatrix = y},
            {"inputMatrix is nil", "encoding MatrixBatchNormalization \"bn1\""});
    refused({.inputMatrix = x, .meanVector = {}, .varianceVector = variance, .resultMatrix = y}, {"meanVector is nil"});
    refused({.inputMatrix = x, .meanVector = mean, .varianceVector = {}, .resultMatrix = y}, {"varianceVector is nil"});
    refused({.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .resultMatrix = {}},
            {"resultMatrix is nil"});
    refused({.inputMatrix = x, .meanVector = shorter, .varianceVector = variance, .resultMatrix = y},
            {"meanVector", "4 elements", "needs 5"});
    refused(
        {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .gammaVector = shorter, .resultMatrix = y},
        {"gammaVector", "4 elements"});
    refused(
        {.inputMatrix = x, .meanVector = mean, .varianceVector = variance, .betaVector = shorter, .resultMatrix = y},
        {"betaVector", "4 elements"});
    refused({.inputMatrix = x,
             .meanVector = makeVector(kNull, 5, {.type = DataType::float16}),
             .varianceVector = variance,
             .resultMatrix = y},
            {"meanVector", "float16"});
  }
  refused({.inputMatrix = x, .meanVector = mean, .varianceVector = mean, .resultMatrix = y}, {"overlap"});
  kernel.computeStatistics = false;
  CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
  kernel.encode(commands, {.inputMatrix = x, .meanVector = mean, .varianceVector = mean, .resultMatrix = y});
  EXPECT_EQ(commands.explain().size(), 1u) << "As inputs they may be one vector.";
}

TEST(BatchNormalizationErrors, GradientNamesItsOperands) {
  const Matrix x = makeMatrix(kNull, 4, 5), dy = makeMatrix(kNull, 4, 5), dx = makeMatrix(kNull, 4, 5);
  const Vector mean = makeVector(kNull, 5), variance = makeVector(kNull, 5), shorter = makeVector(kNull, 4);
  const MatrixBatchNormalizationGradient kernel(kNull);
  using Arguments = MatrixBatchNormalizationGradient::Arguments;
  const Arguments good{.gradientMatrix = dy,
                       .inputMatrix = x,
                       .meanVector = mean,
                       .varianceVector = variance,
                       .resultGradientForDataMatrix = dx};
  const auto refused = [&](const std::function<void(Arguments&)>& spoil,
                           std::initializer_list<std::string_view> parts) {
    Arguments arguments = good;
    spoil(arguments);
    expectEncodeRefused(
        kNull, [&](CommandBuffer& commands) { kernel.encode(commands, arguments); }, parts);
  };
  expectRefusesCommandBuffers(kNull, [&](CommandBuffer& commands) { kernel.encode(commands, good); });
  refused([](Arguments& a) { a.gradientMatrix = {}; }, {"gradientMatrix is nil"});
  refused([](Arguments& a) { a.inputMatrix = {}; }, {"inputMatrix is nil"});
  refused([](Arguments& a) { a.meanVector = {}; }, {"meanVector is nil"});
  refused([](Arguments& a) { a.varianceVector = {}; }, {"varianceVector is nil"});
  refused([](Arguments& a) { a.resultGradientForDataMatrix = {}; }, {"resultGradientForDataMatrix is nil"});
  refused([&](Arguments& a) { a.varianceVector = shorter; }, {"varianceVector", "4 elements"});
  refused([&](Arguments& a) { a.gammaVector = shorter; }, {"gammaVector", "4 elements"});
  refused([&](Arguments& a) { a.resultGradientForGammaVector = shorter; },
          {"resultGradientForGammaVector", "4 elements"});
  refused([&](Arguments& a) { a.resultGradientForBetaVector = shorter; },
          {"resultGradientForBetaVector", "4 elements"});
  refused([&](Arguments& a) { a.resultGradientForBetaVector = mean; }, {"meanVector", "resultGradientForBetaVector"});
  refused([&](Arguments& a) { a.resultGradientForDataMatrix = makeMatrix(kNull, 3, 5); },
          {"resultGradientForDataMatrix", "3 rows"});
  refused([&](Arguments& a) { a.inputMatrix = makeMatrix(kNull, 4, 5, {.type = DataType::bFloat16}); },
          {"inputMatrix", "bFloat16"});
  CommandBuffer commands = kNull.makeCommandQueue().makeCommandBuffer();
  for (const Matrix& inPlace : {x, dy}) {
    Arguments arguments = good;
    arguments.resultGradientForDataMatrix = inPlace;
    kernel.encode(commands, arguments);
  }
  EXPECT_EQ(commands.explain().size(), 2u);
}

}  // namespace
}  // namespace metalloid::test
