#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_softmax.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace metalloid::test {
namespace {

class SoftMaxValues : public OnDevice {};
class SoftMaxChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, SoftMaxValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, SoftMaxChecks, testing::Values("reference", "cpu", "null"), deviceName);

template <class K>
constexpr bool kIsLogarithm = std::is_base_of_v<MatrixLogSoftMax, K> || std::is_base_of_v<MatrixLogSoftMaxGradient, K>;

/// Row i of matrix k, from `origin` on.
std::vector<double> row(const Elements& x, Origin origin, std::size_t k, std::size_t i, std::size_t columns) {
  std::vector<double> values(columns);
  for (std::size_t j = 0; j < columns; ++j) values[j] = x(k, origin.x + i, origin.y + j);
  return values;
}

/// The formula as printed, without protection against overflow.
std::vector<double> softMax(const std::vector<double>& x, bool logarithm) {
  double sum = 0;
  for (const double value : x) sum += std::exp(value);
  std::vector<double> y;
  for (const double value : x) y.push_back(logarithm ? value - std::log(sum) : std::exp(value) / sum);
  return y;
}

std::vector<double> gradientOf(const std::vector<double>& dy, const std::vector<double>& y, bool logarithm) {
  double sum = 0;
  for (std::size_t j = 0; j < y.size(); ++j) sum += logarithm ? dy[j] : dy[j] * y[j];
  std::vector<double> dx;
  for (std::size_t j = 0; j < y.size(); ++j) {
    dx.push_back(logarithm ? dy[j] - std::exp(y[j]) * sum : y[j] * (dy[j] - sum));
  }
  return dx;
}

/// Runs the forward kernel over one combination of layout, origins, limits and batch.
template <class K>
void checkForward(const Device& device, const Layout& layout, Origin from, Origin to, std::size_t start,
                  std::size_t size) {
  const std::size_t rows = 5, columns = 9;  // of the source; the limits leave 3 x 6 or less of it
  const Matrix x = randomMatrix(device, rows, columns, layout, 7);
  const Matrix y = randomMatrix(device, rows, columns, {.type = layout.type, .count = layout.count, .padding = 2}, 8);
  K kernel(device);
  kernel.sourceMatrixOrigin = from;
  kernel.resultMatrixOrigin = to;
  kernel.sourceRows = 3;
  kernel.sourceColumns = 6;
  kernel.batchStart = start;
  kernel.batchSize = size;
  const Guard guard(y);
  execute(device, [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = y}); });

  const std::size_t n = std::min<std::size_t>(3, rows - from.x), c = std::min<std::size_t>(6, columns - from.y);
  const std::size_t count = std::min(size, layout.count - start);
  guard.expectUntouchedOutside(to, n, c, start, count);
  const Elements input(x), result(y);
  for (std::size_t k = start; k < start + count; ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto expected = softMax(row(input, from, k, i, c), kIsLogarithm<K>);
      for (std::size_t j = 0; j < c; ++j) {
        // c additions, two exponentials, one logarithm or division, with |x - maximum| and |ln sum| up to 4 + ln 6.
        expectNear(device, result(k, to.x + i, to.y + j), expected[j], layout.type, static_cast<double>(c) + 12,
                   kIsLogarithm<K> ? 6 : expected[j] * 4, kernel.description());
      }
    }
  }
}

template <class K>
void checkForwardEverywhere(const Device& device) {
  for (const DataType type : floatTypes()) {
    for (const Layout& layout : layouts(type, 3)) {
      checkForward<K>(device, layout, {}, {}, 0, all);
      checkForward<K>(device, layout, {1, 2}, {2, 3}, 0, all);
      checkForward<K>(device, layout, {4, 5}, {}, 1, 1);    // limits beyond the source: 1 x 4
      checkForward<K>(device, layout, {5, 9}, {}, 0, all);  // nothing left
      checkForward<K>(device, layout, {}, {}, 1, 0);
      checkForward<K>(device, layout, {}, {}, 3, all);  // past the last matrix: nothing
    }
  }
}

TEST_P(SoftMaxValues, matchesTheFormulaInEveryLayout) { checkForwardEverywhere<MatrixSoftMax>(device); }
TEST_P(SoftMaxValues, ofLogarithmsMatchesTheFormulaInEveryLayout) { checkForwardEverywhere<MatrixLogSoftMax>(device); }

template <class K>
void checkGradient(const Device& device, const Layout& layout, Origin gradientFrom, Origin outputFrom, Origin to,
                   std::size_t start, std::size_t size) {
  const Matrix dy = randomMatrix(device, 5, 9, layout, 17);
  const Matrix y = randomMatrix(device, 6, 8, {.type = layout.type, .count = layout.count, .padding = 1}, 18);
  const Matrix dx = randomMatrix(device, 7, 10, {.type = layout.type, .count = layout.count, .padding = 2}, 19);
  K kernel(device);
  kernel.primarySourceMatrixOrigin = gradientFrom;
  kernel.secondarySourceMatrixOrigin = outputFrom;
  kernel.resultMatrixOrigin = to;
  kernel.sourceRows = 4;
  kernel.sourceColumns = 7;
  kernel.batchStart = start;
  kernel.batchSize = size;
  const Guard guard(dx);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy, .forwardOutputMatrix = y, .resultMatrix = dx});
  });

  const std::size_t n = std::min({std::size_t{4}, 5 - gradientFrom.x, 6 - outputFrom.x});
  const std::size_t c = std::min({std::size_t{7}, 9 - gradientFrom.y, 8 - outputFrom.y});
  const std::size_t count = std::min(size, layout.count - start);
  guard.expectUntouchedOutside(to, n, c, start, count);
  const Elements gradient(dy), output(y), result(dx);
  for (std::size_t k = start; k < start + count; ++k) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto expected =
          gradientOf(row(gradient, gradientFrom, k, i, c), row(output, outputFrom, k, i, c), kIsLogarithm<K>);
      for (std::size_t j = 0; j < c; ++j) {
        // The sum has up to 7 terms of size 4, or of size 2 times exp(2); then one product and one difference.
        expectNear(device, result(k, to.x + i, to.y + j), expected[j], layout.type, 16, kIsLogarithm<K> ? 120 : 64,
                   kernel.description());
      }
    }
  }
}

template <class K>
void checkGradientEverywhere(const Device& device) {
  for (const DataType type : floatTypes()) {
    for (const Layout& layout : layouts(type, 3)) {
      checkGradient<K>(device, layout, {}, {}, {}, 0, all);
      checkGradient<K>(device, layout, {1, 2}, {2, 1}, {3, 3}, 0, all);
      checkGradient<K>(device, layout, {4, 0}, {0, 5}, {6, 7}, 1, 1);  // 1 x 3: each source is the shorter one once
      checkGradient<K>(device, layout, {5, 9}, {}, {}, 0, all);
      checkGradient<K>(device, layout, {}, {}, {}, 1, 0);
    }
  }
}

TEST_P(SoftMaxValues, gradientMatchesTheFormulaInEveryLayout) {
  checkGradientEverywhere<MatrixSoftMaxGradient>(device);
}
TEST_P(SoftMaxValues, gradientOfLogarithmsMatchesTheFormulaInEveryLayout) {
  checkGradientEverywhere<MatrixLogSoftMaxGradient>(device);
}

template <class K>
std::vector<double> outputOf(const Device& device, std::size_t columns, const std::vector<float>& values) {
  const Matrix x = matrixOf(device, values.size() / columns, columns, values);
  const Matrix y = makeMatrix(device, values.size() / columns, columns);
  execute(device, [&](CommandBuffer& commands) { K(device).encode(commands, {.inputMatrix = x, .resultMatrix = y}); });
  return y.read<double>();
}

TEST_P(SoftMaxValues, byHand) {
  // p = softmax(1, 2, 0), to the six digits printed in the specification of the loss.
  const auto p = outputOf<MatrixSoftMax>(device, 3, {1, 2, 0});
  EXPECT_NEAR(p[0], 0.244728, 1e-6);
  EXPECT_NEAR(p[1], 0.665241, 1e-6);
  EXPECT_NEAR(p[2], 0.090031, 1e-6);
  const auto q = outputOf<MatrixLogSoftMax>(device, 3, {1, 2, 0});
  EXPECT_NEAR(q[1], -0.407606, 1e-6);
  EXPECT_EQ(outputOf<MatrixSoftMax>(device, 1, {-300, 300}), (std::vector<double>{1, 1}));
  EXPECT_EQ(outputOf<MatrixLogSoftMax>(device, 1, {-300, 300}), (std::vector<double>{0, 0}));
}

TEST_P(SoftMaxValues, neitherOverflowsNorUnderflows) {
  const auto p = outputOf<MatrixSoftMax>(device, 2, {3e38f, 3e38f, -3e38f, -3e38f, 1000, -1000});
  EXPECT_EQ(p, (std::vector<double>{0.5, 0.5, 0.5, 0.5, 1, 0}));
  const auto q = outputOf<MatrixLogSoftMax>(device, 2, {1000, -1000});
  EXPECT_EQ(q, (std::vector<double>{0, -2000}));
}

TEST_P(SoftMaxValues, ofInfinitiesAndNaN) {
  const auto p = outputOf<MatrixSoftMax>(device, 2, {-kInfinity, 1, -kInfinity, -kInfinity, kInfinity, 1, kNaN, 1});
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(p[1], 1);
  for (std::size_t i = 2; i < p.size(); ++i) EXPECT_TRUE(std::isnan(p[i])) << i;
  const auto q = outputOf<MatrixLogSoftMax>(device, 2, {-kInfinity, 1, -kInfinity, -kInfinity, kInfinity, 1, 1, kNaN});
  EXPECT_EQ(q[0], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(q[1], 0);
  for (std::size_t i = 2; i < q.size(); ++i) EXPECT_TRUE(std::isnan(q[i])) << i;
}

/// Central differences of sum(dy * y(x)) against the gradient kernel, in float32 storage around points of size 1.
template <class Forward, class Gradient>
void checkByDifferences(const Device& device) {
  const std::vector<float> x{0.5f, -1.25f, 0.75f, 2, -0.5f, 0.125f}, dy{1, -2, 0.5f, 0.25f, 1.5f, -1};
  const std::vector<double> x64(x.begin(), x.end()), dy64(dy.begin(), dy.end());
  const Matrix gradient = matrixOf(device, 1, 6, dy), input = matrixOf(device, 1, 6, x);
  const Matrix output = makeMatrix(device, 1, 6), result = makeMatrix(device, 1, 6);
  execute(device, [&](CommandBuffer& commands) {
    Forward(device).encode(commands, {.inputMatrix = input, .resultMatrix = output});
    Gradient(device).encode(commands,
                            {.gradientMatrix = gradient, .forwardOutputMatrix = output, .resultMatrix = result});
  });
  const auto dx = result.read<double>();
  const auto objective = [&](const std::vector<double>& at) {
    const auto y = softMax(at, kIsLogarithm<Forward>);
    double sum = 0;
    for (std::size_t j = 0; j < y.size(); ++j) sum += dy64[j] * y[j];
    return sum;
  };
  const double h = 1e-5;
  for (std::size_t j = 0; j < x.size(); ++j) {
    auto above = x64, below = x64;
    above[j] += h;
    below[j] -= h;
    // h^2 of the difference quotient, 1e-16 / h of its cancellation, and the rounding of y and dx to float32.
    EXPECT_NEAR(dx[j], (objective(above) - objective(below)) / (2 * h), 2e-6) << j;
  }
}

TEST_P(SoftMaxValues, gradientIsTheDerivative) {
  checkByDifferences<MatrixSoftMax, MatrixSoftMaxGradient>(device);
  checkByDifferences<MatrixLogSoftMax, MatrixLogSoftMaxGradient>(device);
}

TEST_P(SoftMaxValues, inPlaceGivesTheSameBits) {
  for (const DataType type : floatTypes()) {
    const Layout layout{.type = type, .count = 2, .padding = 1};
    const Matrix x = randomMatrix(device, 4, 33, layout, 3), y = makeMatrix(device, 4, 33, layout);
    execute(device, [&](CommandBuffer& commands) {
      MatrixSoftMax(device).encode(commands, {.inputMatrix = x, .resultMatrix = y});
      MatrixSoftMax(device).encode(commands, {.inputMatrix = x, .resultMatrix = x});
    });
    EXPECT_EQ(x.read<float>(), y.read<float>());

    const Matrix dy = randomMatrix(device, 4, 33, layout, 4), dx = makeMatrix(device, 4, 33, layout);
    const Matrix overGradient = randomMatrix(device, 4, 33, layout, 4);
    execute(device, [&](CommandBuffer& commands) {
      const MatrixLogSoftMaxGradient kernel(device);
      kernel.encode(commands, {.gradientMatrix = dy, .forwardOutputMatrix = y, .resultMatrix = dx});
      kernel.encode(commands, {.gradientMatrix = overGradient, .forwardOutputMatrix = y, .resultMatrix = overGradient});
      kernel.encode(commands, {.gradientMatrix = dy, .forwardOutputMatrix = y, .resultMatrix = y});
    });
    EXPECT_EQ(overGradient.read<float>(), dx.read<float>());
    EXPECT_EQ(y.read<float>(), dx.read<float>());
  }
}

TEST_P(SoftMaxValues, readsAndWritesTemporaries) {
  const Matrix x = randomMatrix(device, 2, 5, {}, 3), y = makeMatrix(device, 2, 5), z = makeMatrix(device, 2, 5);
  execute(device, [&](CommandBuffer& commands) {
    const TemporaryMatrix temporary(commands, {.rows = 2, .columns = 5});
    MatrixSoftMax(device).encode(commands, {.inputMatrix = x, .resultMatrix = temporary});
    EXPECT_EQ(temporary.readCount(), 1u);
    MatrixSoftMax(device).encode(commands, {.inputMatrix = temporary, .resultMatrix = y});
    EXPECT_EQ(temporary.readCount(), 0u);
    MatrixSoftMax(device).encode(commands, {.inputMatrix = x, .resultMatrix = z});
    MatrixSoftMax(device).encode(commands, {.inputMatrix = z, .resultMatrix = z});
  });
  EXPECT_EQ(y.read<float>(), z.read<float>());
}

template <class K>
K configured(const Device& device) {
  K kernel(device);
  kernel.label = "soft";
  kernel.options = KernelOptions::verbose;
  kernel.sourceRows = 3;
  kernel.sourceColumns = 4;
  kernel.resultMatrixOrigin = {1, 2, 0};
  kernel.batchStart = 5;
  kernel.batchSize = 6;
  return kernel;
}

template <class K>
void checkKernel(const Device& device, const std::string& className) {
  const K kernel = configured<K>(device);
  std::vector<K> changed(7, kernel);
  changed[0].label = "hard";
  changed[1].options = KernelOptions::none;
  changed[2].sourceRows = all;
  changed[3].sourceColumns = all;
  changed[4].resultMatrixOrigin.y = 3;
  changed[5].batchStart = 0;
  changed[6].batchSize = all;
  changed.push_back(kernel);
  if constexpr (std::is_base_of_v<MatrixUnaryKernel, K>) {
    changed.back().sourceMatrixOrigin.x = 1;
  } else {
    changed.back().secondarySourceMatrixOrigin.x = 1;
    changed.push_back(kernel);
    changed.back().primarySourceMatrixOrigin.z = 1;
  }
  expectBehavesAsKernel(kernel, changed, device, className);

  const K initial(device);
  EXPECT_EQ(initial.sourceRows, all);
  EXPECT_EQ(initial.sourceColumns, all);
  EXPECT_EQ(initial.resultMatrixOrigin, Origin{});
  EXPECT_EQ(initial.batchStart, 0u);
  EXPECT_EQ(initial.batchSize, all);
  EXPECT_EQ(initial.options, KernelOptions::none);
  EXPECT_EQ(initial.label, "");
  expectRefused([] { K{Device{}}; }, {"The device of a " + className + " is nil."});
}

TEST_P(SoftMaxChecks, behaveAsKernels) {
  checkKernel<MatrixSoftMax>(device, "MatrixSoftMax");
  checkKernel<MatrixLogSoftMax>(device, "MatrixLogSoftMax");
  checkKernel<MatrixSoftMaxGradient>(device, "MatrixSoftMaxGradient");
  checkKernel<MatrixLogSoftMaxGradient>(device, "MatrixLogSoftMaxGradient");
}

TEST_P(SoftMaxChecks, tellTheLogarithmFromTheOther) {
  EXPECT_FALSE(static_cast<const Kernel&>(MatrixSoftMax(device)) == MatrixLogSoftMax(device));
  expectMalformed<MatrixSoftMax>(archiveOf(MatrixLogSoftMax(device)), device, "an archive of the logarithm");
  expectMalformed<MatrixLogSoftMaxGradient>(archiveOf(MatrixSoftMaxGradient(device)), device, "one of the other");
}

TEST_P(SoftMaxChecks, refuseWhatDoesNotFit) {
  const Matrix x = makeMatrix(device, 4, 5), y = makeMatrix(device, 4, 5);
  x.setLabel("x");
  y.setLabel("y");
  MatrixSoftMax kernel(device);
  kernel.label = "soft";
  const auto encode = [&](const Matrix& input, const Matrix& result) {
    return [&kernel, input, result](CommandBuffer& commands) {
      kernel.encode(commands, {.inputMatrix = input, .resultMatrix = result});
    };
  };
  const std::string_view context = "While encoding MatrixSoftMax \"soft\"";
  expectRefusesCommandBuffers(device, encode(x, y));
  expectEncodeRefused(device, encode({}, y), {"The inputMatrix is nil.", context});
  expectEncodeRefused(device, encode(x, {}), {"The resultMatrix is nil.", context});
  expectEncodeRefused(device, encode(makeMatrix(other, 4, 5), y),
                      {"Matrix (inputMatrix) is on device " + other.name(), device.name(), context});
  expectEncodeRefused(device, encode(x, makeMatrix(other, 4, 5)), {"(resultMatrix) is on device", context});
  expectEncodeRefused(device, encode(x, makeMatrix(device, 3, 5)),
                      {"(resultMatrix) has 3 rows and 5 columns", "needs 4 rows and 5 columns", context});
  expectEncodeRefused(device, encode(x, makeMatrix(device, 4, 4)), {"(resultMatrix) has 4 rows and 4 columns"});
  expectEncodeRefused(device, encode(makeMatrix(device, 4, 5, {.type = DataType::int8}), y),
                      {"(inputMatrix) is of type int8", "float32, float16, bFloat16", context});
  expectEncodeRefused(device, encode(x, makeMatrix(device, 4, 5, {.type = DataType::float16})),
                      {"(resultMatrix) is of type float16", "Matrix \"x\" (inputMatrix) is of type float32", context});

  kernel.sourceMatrixOrigin = {5, 0, 0};
  expectEncodeRefused(device, encode(x, y), {"The origin of Matrix \"x\" (inputMatrix) is row 5, column 0", "4 rows"});
  kernel.sourceMatrixOrigin = {0, 0, 1};
  expectEncodeRefused(device, encode(x, y), {"z = 1", "must be 0", context});
  kernel.sourceMatrixOrigin = {};
  kernel.resultMatrixOrigin = {0, 6, 0};
  expectEncodeRefused(device, encode(x, y), {"The origin of Matrix \"y\" (resultMatrix) is row 0, column 6"});
  kernel.resultMatrixOrigin = {1, 0, 0};
  expectEncodeRefused(device, encode(x, y), {"\"y\" (resultMatrix) has 3 rows and 5 columns from its origin (1, 0)"});
  kernel.resultMatrixOrigin = {};
  kernel.batchStart = 2;
  expectEncodeRefused(device, encode(x, y), {"The batchStart of MatrixSoftMax \"soft\" is 2", "hold 1 matrices"});
}

TEST_P(SoftMaxChecks, refusePartialOverlap) {
  const Matrix x = makeMatrix(device, 6, 8);
  MatrixSoftMax kernel(device);
  kernel.sourceRows = 3;
  kernel.sourceColumns = 4;
  kernel.resultMatrixOrigin = {2, 3, 0};
  const auto inPlace = [&](CommandBuffer& commands) { kernel.encode(commands, {.inputMatrix = x, .resultMatrix = x}); };
  expectEncodeRefused(device, inPlace, {"(inputMatrix)", "(resultMatrix)", "overlap in memory", "MatrixSoftMax"});
  kernel.resultMatrixOrigin = {3, 0, 0};  // below: apart
  execute(device, inPlace);
  kernel.resultMatrixOrigin = {0, 4, 0};  // beside: apart though rows interleave
  execute(device, inPlace);
}

TEST_P(SoftMaxChecks, gradientsRefuseWhatDoesNotFit) {
  const Matrix dy = makeMatrix(device, 4, 5), y = makeMatrix(device, 4, 5), dx = makeMatrix(device, 4, 5);
  MatrixLogSoftMaxGradient kernel(device);
  const auto encode = [&](const Matrix& gradient, const Matrix& output, const Matrix& result) {
    return [&kernel, gradient, output, result](CommandBuffer& commands) {
      kernel.encode(commands, {.gradientMatrix = gradient, .forwardOutputMatrix = output, .resultMatrix = result});
    };
  };
  const std::string_view context = "While encoding MatrixLogSoftMaxGradient";
  const Matrix half = makeMatrix(device, 4, 5, {.type = DataType::float16});
  expectRefusesCommandBuffers(device, encode(dy, y, dx));
  expectEncodeRefused(device, encode({}, y, dx), {"The gradientMatrix is nil.", context});
  expectEncodeRefused(device, encode(dy, {}, dx), {"The forwardOutputMatrix is nil.", context});
  expectEncodeRefused(device, encode(dy, y, {}), {"The resultMatrix is nil.", context});
  expectEncodeRefused(device, encode(dy, makeMatrix(other, 4, 5), dx), {"(forwardOutputMatrix) is on device", context});
  expectEncodeRefused(device, encode(dy, half, dx), {"(forwardOutputMatrix) is of type float16", context});
  expectEncodeRefused(device, encode(dy, y, makeMatrix(device, 4, 3)), {"(resultMatrix) has 4 rows and 3 columns"});
  kernel.primarySourceMatrixOrigin = {0, 6, 0};
  expectEncodeRefused(device, encode(dy, y, dx), {"(gradientMatrix) is row 0, column 6"});
  kernel.primarySourceMatrixOrigin = {};
  kernel.secondarySourceMatrixOrigin = {9, 0, 0};
  expectEncodeRefused(device, encode(dy, y, dx), {"(forwardOutputMatrix) is row 9, column 0"});
  kernel.secondarySourceMatrixOrigin = {1, 0, 0};
  expectEncodeRefused(device, encode(dy, y, y), {"overlap in memory"});  // shifted by a row
  kernel.batchStart = 3;
  expectEncodeRefused(device, encode(dy, y, dx), {"The batchStart", "is 3"});
}

}  // namespace
}  // namespace metalloid::test
