#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_multiplication.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::test {
namespace {

class MultiplicationValues : public OnDevice {};
class MultiplicationChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, MultiplicationValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, MultiplicationChecks, testing::Values("reference", "cpu", "null"), deviceName);

/// Source type and result type.
using Types = std::pair<DataType, DataType>;
const std::vector<Types> kProducts{{DataType::float32, DataType::float32},  {DataType::float16, DataType::float16},
                                   {DataType::float16, DataType::float32},  {DataType::bFloat16, DataType::bFloat16},
                                   {DataType::bFloat16, DataType::float32}, {DataType::int8, DataType::float16},
                                   {DataType::int8, DataType::float32},     {DataType::int16, DataType::float32}};
const std::vector<Types> kVectorProducts(kProducts.begin(), kProducts.begin() + 5);

/// The numbers that a test of a product varies.
struct Case {
  std::size_t rows = 4;
  std::size_t columns = 6;
  std::size_t interior = 7;
  double alpha = 1;
  double beta = 0;
  Origin left = {};
  Origin right = {};
  Origin result = {};
  std::size_t start = 0;
  std::size_t size = all;
};

void check(const Device& device, Types types, const Layout& shape, bool transposeLeft, bool transposeRight,
           const Case& c) {
  const Layout layout{.type = types.first, .count = shape.count, .padding = shape.padding, .offset = shape.offset};
  const auto stored = [&](bool transpose, std::size_t rows, std::size_t columns, Origin origin, unsigned seed) {
    return randomMatrix(device, origin.x + (transpose ? columns : rows), origin.y + (transpose ? rows : columns),
                        layout, seed);
  };
  const Matrix a = stored(transposeLeft, c.rows, c.interior, c.left, 1);
  const Matrix b = stored(transposeRight, c.interior, c.columns, c.right, 2);
  const Matrix product = randomMatrix(device, c.result.x + c.rows + 1, c.result.y + c.columns + 1,
                                      {.type = types.second, .count = layout.count, .padding = 1}, 3);
  const Elements left(a), right(b), old(product);

  MatrixMultiplication kernel(device, {.transposeLeft = transposeLeft,
                                       .transposeRight = transposeRight,
                                       .resultRows = c.rows,
                                       .resultColumns = c.columns,
                                       .interiorColumns = c.interior,
                                       .alpha = c.alpha,
                                       .beta = c.beta});
  kernel.leftMatrixOrigin = c.left;
  kernel.rightMatrixOrigin = c.right;
  kernel.resultMatrixOrigin = c.result;
  kernel.batchStart = c.start;
  kernel.batchSize = c.size;
  const Guard guard(product);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.leftMatrix = a, .rightMatrix = b, .resultMatrix = product});
  });

  const std::size_t count = std::min(c.size, layout.count - c.start);
  guard.expectUntouchedOutside(c.result, c.rows, c.columns, c.start, count);
  const Elements result(product);
  for (std::size_t k = c.start; k < c.start + count; ++k) {
    for (std::size_t i = 0; i < c.rows; ++i) {
      for (std::size_t j = 0; j < c.columns; ++j) {
        double sum = 0, size = 0;
        for (std::size_t n = 0; n < c.interior; ++n) {
          const double x = transposeLeft ? left(k, c.left.x + n, c.left.y + i) : left(k, c.left.x + i, c.left.y + n);
          const double y =
              transposeRight ? right(k, c.right.x + j, c.right.y + n) : right(k, c.right.x + n, c.right.y + j);
          sum += x * y;
          size += std::fabs(x * y);
        }
        const double before = c.beta == 0 ? 0 : c.beta * old(k, c.result.x + i, c.result.y + j);
        // K products and K sums, then alpha, beta and their sum: each rounds numbers no larger than `size`.
        expectNear(device, result(k, c.result.x + i, c.result.y + j), c.alpha * sum + before, types.second,
                   2 * static_cast<double>(c.interior) + 4, std::fabs(c.alpha) * size + std::fabs(before),
                   kernel.description());
      }
    }
  }
}

TEST_P(MultiplicationValues, matchTheFormulaInEveryLayout) {
  for (const Types& types : kProducts) {
    for (const Layout& layout : layouts(types.first, 3)) {
      for (const bool left : {false, true}) {
        for (const bool right : {false, true}) {
          check(device, types, layout, left, right, {});
          check(device, types, layout, left, right,
                {.alpha = -1.5, .beta = 0.5, .left = {1, 2}, .right = {3, 1}, .result = {2, 4}});
          check(device, types, layout, left, right, {.rows = 1, .columns = 1, .interior = 1, .beta = 1, .start = 2});
          check(device, types, layout, left, right, {.beta = -1, .start = 1, .size = 1});
          check(device, types, layout, left, right, {.start = 1, .size = 0});
          check(device, types, layout, left, right, {.interior = 0, .beta = 0.5});
          check(device, types, layout, left, right, {.interior = 0, .beta = 0});
          check(device, types, layout, left, right, {.rows = 0});
          check(device, types, layout, left, right, {.columns = 0});
        }
      }
    }
  }
}

TEST_P(MultiplicationValues, matchTheFormulaForLargerSizes) {
  for (const std::size_t size : {17u, 33u, 67u}) {
    for (const bool left : {false, true}) {
      for (const bool right : {false, true}) {
        check(device, {DataType::float32, DataType::float32}, {.padding = 1}, left, right,
              {.rows = size, .columns = 2 * size + 1, .interior = size + 5, .alpha = 0.5, .beta = 2});
      }
    }
  }
}

TEST_P(MultiplicationValues, byHand) {
  const Matrix a = matrixOf(device, 2, 3, {1, 2, 3, 4, 5, 6}), b = matrixOf(device, 3, 2, {7, 8, 9, 10, 11, 12});
  const Matrix c = matrixOf(device, 2, 2, {1, 0, 0, 1});
  const auto multiply = [&](const MatrixMultiplication::Descriptor& descriptor, const Matrix& left,
                            const Matrix& right) {
    execute(device, [&](CommandBuffer& commands) {
      MatrixMultiplication(device, descriptor)
          .encode(commands, {.leftMatrix = left, .rightMatrix = right, .resultMatrix = c});
    });
    return c.read<float>();
  };
  EXPECT_EQ(multiply({.resultRows = 2, .resultColumns = 2, .interiorColumns = 3, .alpha = 2, .beta = -1}, a, b),
            (std::vector<float>{115, 128, 278, 307}));
  EXPECT_EQ(multiply({.transposeRight = true, .resultRows = 2, .resultColumns = 2, .interiorColumns = 3}, a, a),
            (std::vector<float>{14, 32, 32, 77}));
  EXPECT_EQ(multiply({.transposeLeft = true, .resultRows = 2, .resultColumns = 2, .interiorColumns = 2}, a, a),
            (std::vector<float>{17, 22, 22, 29}));
}

TEST_P(MultiplicationValues, doNotReadTheOldResultWhenBetaIsZero) {
  const Matrix a = matrixOf(device, 1, 1, {2}), b = matrixOf(device, 1, 2, {3, 4});
  const Matrix c = matrixOf(device, 1, 2, {kNaN, kInfinity}), nothing = makeMatrix(device, 1, 0);
  const Vector x = vectorOf(device, {5}), y = vectorOf(device, {kNaN});
  execute(device, [&](CommandBuffer& commands) {
    MatrixMultiplication(device, {.resultRows = 1, .resultColumns = 2, .interiorColumns = 1})
        .encode(commands, {.leftMatrix = a, .rightMatrix = b, .resultMatrix = c});
    MatrixVectorMultiplication(device, {.rows = 1, .columns = 1})
        .encode(commands, {.inputMatrix = a, .inputVector = x, .resultVector = y});
  });
  EXPECT_EQ(c.read<float>(), (std::vector<float>{6, 8}));
  EXPECT_EQ(y.read<float>(), (std::vector<float>{10}));

  c.write(std::vector<float>{kNaN, 1});
  y.write(std::vector<float>{kNaN});
  execute(device, [&](CommandBuffer& commands) {
    MatrixMultiplication(device, {.resultRows = 1, .resultColumns = 2, .interiorColumns = 0})
        .encode(commands, {.leftMatrix = a, .rightMatrix = b, .resultMatrix = c});
    MatrixVectorMultiplication(device, {.rows = 1, .columns = 0, .beta = 0})
        .encode(commands, {.inputMatrix = nothing, .inputVector = x, .resultVector = y});
  });
  EXPECT_EQ(c.read<float>(), (std::vector<float>{0, 0}));
  EXPECT_EQ(y.read<float>(), (std::vector<float>{0}));

  c.write(std::vector<float>{kNaN, 1});
  execute(device, [&](CommandBuffer& commands) {
    MatrixMultiplication(device, {.resultRows = 1, .resultColumns = 2, .interiorColumns = 0, .beta = 3})
        .encode(commands, {.leftMatrix = a, .rightMatrix = b, .resultMatrix = c});
  });
  EXPECT_TRUE(std::isnan(c.read<float>()[0]));
  EXPECT_EQ(c.read<float>()[1], 3);
}

TEST_P(MultiplicationValues, multiplyAMatrixWithItself) {
  const Matrix a = matrixOf(device, 2, 2, {1, 2, 3, 4}), c = makeMatrix(device, 2, 2);
  execute(device, [&](CommandBuffer& commands) {
    MatrixMultiplication(device, {.resultRows = 2, .resultColumns = 2, .interiorColumns = 2})
        .encode(commands, {.leftMatrix = a, .rightMatrix = a, .resultMatrix = c});
  });
  EXPECT_EQ(c.read<float>(), (std::vector<float>{7, 10, 15, 22}));
}

void checkVector(const Device& device, Types types, const Layout& shape, bool transpose, bool shared, const Case& c) {
  const Layout layout{.type = types.first, .count = shape.count, .padding = shape.padding, .offset = shape.offset};
  const Matrix a = randomMatrix(device, c.left.x + (transpose ? c.interior : c.rows),
                                c.left.y + (transpose ? c.rows : c.interior), layout, 1);
  const Vector x = randomVector(device, c.right.x + c.interior,
                                {.type = types.first, .count = shared ? 1 : layout.count, .padding = 2}, 2);
  const Vector y = randomVector(device, c.result.x + c.rows + 1,
                                {.type = types.second, .count = layout.count, .padding = 1, .offset = 3}, 3);
  const Elements matrix(a), input(x), old(y);

  MatrixVectorMultiplication kernel(
      device, {.transpose = transpose, .rows = c.rows, .columns = c.interior, .alpha = c.alpha, .beta = c.beta});
  kernel.primarySourceMatrixOrigin = c.left;
  kernel.secondarySourceMatrixOrigin = c.right;
  kernel.resultMatrixOrigin = c.result;
  kernel.batchStart = c.start;
  kernel.batchSize = c.size;
  const Guard guard(y);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = a, .inputVector = x, .resultVector = y});
  });

  const std::size_t count = std::min(c.size, layout.count - c.start);
  guard.expectUntouchedOutside({0, c.result.x, 0}, 1, c.rows, c.start, count);
  const Elements result(y);
  for (std::size_t k = c.start; k < c.start + count; ++k) {
    for (std::size_t i = 0; i < c.rows; ++i) {
      double sum = 0, size = 0;
      for (std::size_t j = 0; j < c.interior; ++j) {
        const double element =
            transpose ? matrix(k, c.left.x + j, c.left.y + i) : matrix(k, c.left.x + i, c.left.y + j);
        const double term = element * input(shared ? 0 : k, c.right.x + j);
        sum += term;
        size += std::fabs(term);
      }
      const double before = c.beta == 0 ? 0 : c.beta * old(k, c.result.x + i);
      expectNear(device, result(k, c.result.x + i), c.alpha * sum + before, types.second,
                 2 * static_cast<double>(c.interior) + 4, std::fabs(c.alpha) * size + std::fabs(before),
                 kernel.description());
    }
  }
}

TEST_P(MultiplicationValues, ofVectorsMatchTheFormulaInEveryLayout) {
  for (const Types& types : kVectorProducts) {
    for (const Layout& layout : layouts(types.first, 3)) {
      for (const bool transpose : {false, true}) {
        for (const bool shared : {false, true}) {
          checkVector(device, types, layout, transpose, shared, {});
          checkVector(device, types, layout, transpose, shared,
                      {.alpha = -1.5, .beta = 0.5, .left = {1, 2}, .right = {3, 0}, .result = {2, 0}});
          checkVector(device, types, layout, transpose, shared, {.beta = 1, .start = 1, .size = 1});
          checkVector(device, types, layout, transpose, shared, {.start = 1, .size = 0});
          checkVector(device, types, layout, transpose, shared, {.interior = 0, .beta = 0.5});
          checkVector(device, types, layout, transpose, shared, {.rows = 0});
          checkVector(device, types, layout, transpose, shared, {.rows = 35, .interior = 67, .beta = 2});
        }
      }
    }
  }
}

TEST_P(MultiplicationChecks, behavesAsAKernel) {
  using Descriptor = MatrixMultiplication::Descriptor;
  const Descriptor plain{};
  EXPECT_FALSE(plain.transposeLeft || plain.transposeRight);
  EXPECT_EQ(plain.alpha, 1);
  EXPECT_EQ(plain.beta, 0);
  const Descriptor descriptor{
      .transposeLeft = true, .resultRows = 2, .resultColumns = 3, .interiorColumns = 4, .alpha = 0.5, .beta = 0.25};
  const auto make = [&](auto change) {
    Descriptor changed = descriptor;
    change(changed);
    MatrixMultiplication kernel(device, changed);
    kernel.label = "product";
    kernel.leftMatrixOrigin.x = 1;
    kernel.rightMatrixOrigin.y = 2;
    kernel.resultMatrixOrigin.x = 3;
    kernel.batchStart = 4;
    kernel.batchSize = 5;
    return kernel;
  };
  const MatrixMultiplication kernel = make([](Descriptor&) {});
  std::vector<MatrixMultiplication> changed(7, kernel);
  changed[0].label.clear();
  changed[1].leftMatrixOrigin.y = 1;
  changed[2].rightMatrixOrigin.x = 1;
  changed[3].resultMatrixOrigin.z = 1;
  changed[4].batchStart = 0;
  changed[5].batchSize = all;
  changed[6].options = KernelOptions::allowReducedPrecision;
  changed.push_back(make([](Descriptor& d) { d.transposeLeft = false; }));
  changed.push_back(make([](Descriptor& d) { d.transposeRight = true; }));
  changed.push_back(make([](Descriptor& d) { d.resultRows = 9; }));
  changed.push_back(make([](Descriptor& d) { d.resultColumns = 9; }));
  changed.push_back(make([](Descriptor& d) { d.interiorColumns = 9; }));
  changed.push_back(make([](Descriptor& d) { d.alpha = 9; }));
  changed.push_back(make([](Descriptor& d) { d.beta = 9; }));
  expectBehavesAsKernel(kernel, changed, device, "MatrixMultiplication");
  expectRefused([] { MatrixMultiplication(Device{}, {}); }, {"The device of a MatrixMultiplication is nil."});
}

TEST_P(MultiplicationChecks, ofVectorsBehavesAsAKernel) {
  using Descriptor = MatrixVectorMultiplication::Descriptor;
  const auto make = [&](const Descriptor& descriptor) {
    MatrixVectorMultiplication kernel(device, descriptor);
    kernel.label = "product";
    kernel.secondarySourceMatrixOrigin.x = 3;
    return kernel;
  };
  const auto kernel = make({.transpose = true, .rows = 2, .columns = 3, .alpha = 0.5, .beta = 0.25});
  std::vector<MatrixVectorMultiplication> changed(3, kernel);
  changed[0].label.clear();
  changed[1].secondarySourceMatrixOrigin.x = 0;
  changed[2].batchSize = 1;
  changed.push_back(make({.transpose = false, .rows = 2, .columns = 3, .alpha = 0.5, .beta = 0.25}));
  changed.push_back(make({.transpose = true, .rows = 9, .columns = 3, .alpha = 0.5, .beta = 0.25}));
  changed.push_back(make({.transpose = true, .rows = 2, .columns = 9, .alpha = 0.5, .beta = 0.25}));
  changed.push_back(make({.transpose = true, .rows = 2, .columns = 3, .alpha = 9, .beta = 0.25}));
  changed.push_back(make({.transpose = true, .rows = 2, .columns = 3, .alpha = 0.5, .beta = 9}));
  expectBehavesAsKernel(kernel, changed, device, "MatrixVectorMultiplication");
}

TEST_P(MultiplicationChecks, refusesWhatDoesNotFit) {
  const Matrix a = makeMatrix(device, 4, 7), b = makeMatrix(device, 7, 6), c = makeMatrix(device, 4, 6);
  a.setLabel("a");
  MatrixMultiplication kernel(device, {.resultRows = 4, .resultColumns = 6, .interiorColumns = 7});
  kernel.label = "product";
  const auto encode = [&](const Matrix& left, const Matrix& right, const Matrix& result) {
    return [&kernel, left, right, result](CommandBuffer& commands) {
      kernel.encode(commands, {.leftMatrix = left, .rightMatrix = right, .resultMatrix = result});
    };
  };
  const std::string_view context = "While encoding MatrixMultiplication \"product\"";
  execute(device, encode(a, b, c));
  expectRefusesCommandBuffers(device, encode(a, b, c));
  expectEncodeRefused(device, encode({}, b, c), {"The leftMatrix is nil.", context});
  expectEncodeRefused(device, encode(a, {}, c), {"The rightMatrix is nil.", context});
  expectEncodeRefused(device, encode(a, b, {}), {"The resultMatrix is nil.", context});
  expectEncodeRefused(device, encode(makeMatrix(other, 4, 7), b, c), {"(leftMatrix) is on device " + other.name()});
  expectEncodeRefused(device, encode(a, makeMatrix(other, 7, 6), c), {"(rightMatrix) is on device " + other.name()});
  expectEncodeRefused(device, encode(a, b, makeMatrix(other, 4, 6)), {"(resultMatrix) is on device " + other.name()});
  expectEncodeRefused(device, encode(makeMatrix(device, 4, 6), b, c),
                      {"(leftMatrix) has 4 rows and 6 columns", "needs 4 rows and 7 columns", context});
  expectEncodeRefused(device, encode(a, makeMatrix(device, 6, 6), c),
                      {"(rightMatrix) has 6 rows and 6 columns", "needs 7 rows and 6 columns", context});
  expectEncodeRefused(device, encode(a, b, makeMatrix(device, 3, 6)),
                      {"(resultMatrix) has 3 rows and 6 columns", "needs 4 rows and 6 columns", context});
  expectEncodeRefused(device, encode(a, b, a), {"Matrix \"a\" (leftMatrix)", "(resultMatrix)", "overlap in memory"});

  const auto typed = [&](DataType left, DataType right, DataType result) {
    return encode(makeMatrix(device, 4, 7, {.type = left}), makeMatrix(device, 7, 6, {.type = right}),
                  makeMatrix(device, 4, 6, {.type = result}));
  };
  using enum DataType;
  expectEncodeRefused(device, typed(int32, int32, float32), {"(leftMatrix) is of type int32", "int8, int16", context});
  expectEncodeRefused(device, typed(float16, float32, float32), {"(rightMatrix) is of type float32", "takes float16"});
  expectEncodeRefused(device, typed(float32, float32, float16), {"(resultMatrix) is of type float16", "takes float32"});
  expectEncodeRefused(device, typed(float16, float16, bFloat16), {"bFloat16", "takes float16, float32 there"});
  expectEncodeRefused(device, typed(bFloat16, bFloat16, float16), {"float16", "takes bFloat16, float32 there"});
  expectEncodeRefused(device, typed(int8, int8, int8), {"int8", "takes float16, float32 there"});
  expectEncodeRefused(device, typed(int16, int16, float16), {"float16", "takes float32 there"});

  kernel.batchStart = 2;
  expectEncodeRefused(device, encode(a, b, c), {"The batchStart", "is 2", "hold 1 matrices", context});
  kernel.batchStart = 0;
  kernel.leftMatrixOrigin = {5, 0, 0};
  expectEncodeRefused(device, encode(a, b, c), {"Matrix \"a\" (leftMatrix) is row 5, column 0", context});
  kernel.leftMatrixOrigin = {0, 1, 0};
  expectEncodeRefused(device, encode(a, b, c), {"(leftMatrix) has 4 rows and 6 columns from its origin (0, 1)"});
  kernel.leftMatrixOrigin = {};
  kernel.rightMatrixOrigin = {0, 0, 1};
  expectEncodeRefused(device, encode(a, b, c), {"(rightMatrix) has z = 1", context});
  kernel.rightMatrixOrigin = {};
  kernel.resultMatrixOrigin = {1, 0, 0};
  expectEncodeRefused(device, encode(a, b, c), {"(resultMatrix) has 3 rows and 6 columns from its origin (1, 0)"});

  const MatrixMultiplication transposed(
      device,
      {.transposeLeft = true, .transposeRight = true, .resultRows = 4, .resultColumns = 6, .interiorColumns = 7});
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        transposed.encode(commands, {.leftMatrix = a, .rightMatrix = b, .resultMatrix = c});
                      },
                      {"(leftMatrix) has 4 rows and 7 columns", "needs 7 rows and 4 columns"});
  const MatrixMultiplication huge(device, {.resultRows = all, .resultColumns = all, .interiorColumns = all});
  expectEncodeRefused(
      device,
      [&](CommandBuffer& commands) { huge.encode(commands, {.leftMatrix = a, .rightMatrix = b, .resultMatrix = c}); },
      {"needs 18446744073709551615 rows"});
}

TEST_P(MultiplicationChecks, ofVectorsRefusesWhatDoesNotFit) {
  const Matrix a = makeMatrix(device, 4, 7);
  const Vector x = makeVector(device, 7), y = makeVector(device, 4);
  MatrixVectorMultiplication kernel(device, {.rows = 4, .columns = 7});
  const auto encode = [&](const Matrix& matrix, const Vector& input, const Vector& result) {
    return [&kernel, matrix, input, result](CommandBuffer& commands) {
      kernel.encode(commands, {.inputMatrix = matrix, .inputVector = input, .resultVector = result});
    };
  };
  const std::string_view context = "While encoding MatrixVectorMultiplication";
  const Layout half{.type = DataType::float16}, brain{.type = DataType::bFloat16}, byte{.type = DataType::int8};
  execute(device, encode(a, x, y));
  expectRefusesCommandBuffers(device, encode(a, x, y));
  expectEncodeRefused(device, encode({}, x, y), {"The inputMatrix is nil.", context});
  expectEncodeRefused(device, encode(a, {}, y), {"The inputVector is nil.", context});
  expectEncodeRefused(device, encode(a, x, {}), {"The resultVector is nil.", context});
  expectEncodeRefused(device, encode(a, makeVector(other, 7), y), {"(inputVector) is on device " + other.name()});
  expectEncodeRefused(device, encode(makeMatrix(device, 4, 6), x, y),
                      {"(inputMatrix) has 4 rows and 6 columns", "needs 4 rows and 7 columns", context});
  expectEncodeRefused(device, encode(a, makeVector(device, 6), y), {"(inputVector) has 6 elements", "needs 7"});
  expectEncodeRefused(device, encode(a, x, makeVector(device, 3)), {"(resultVector) has 3 elements", "needs 4"});
  expectEncodeRefused(device, encode(makeMatrix(device, 4, 7, byte), makeVector(device, 7, byte), y),
                      {"(inputMatrix) is of type int8", context});
  expectEncodeRefused(device, encode(a, makeVector(device, 7, half), y),
                      {"(inputVector) is of type float16", "takes float32 there"});
  expectEncodeRefused(device,
                      encode(makeMatrix(device, 4, 7, half), makeVector(device, 7, half), makeVector(device, 4, brain)),
                      {"(resultVector) is of type bFloat16", "takes float16, float32 there"});
  expectEncodeRefused(device, encode(a, x, x), {"(inputVector)", "(resultVector)", "overlap in memory", context});
  const auto batch = encode(makeMatrix(device, 4, 7, {.count = 2}), x, y);
  expectEncodeRefused(device, batch, {"(resultVector) holds 1 vectors", "matrices 0 to 1", context});
  kernel.secondarySourceMatrixOrigin = {0, 1, 0};
  expectEncodeRefused(device, encode(a, x, y), {"(inputVector) is (0, 1, 0), but y and z must be 0", context});
  kernel.secondarySourceMatrixOrigin = {8, 0, 0};
  expectEncodeRefused(device, encode(a, x, y), {"(inputVector) is element 8, but the vector has 7", context});
  kernel.secondarySourceMatrixOrigin = {};
  kernel.resultMatrixOrigin = {0, 0, 1};
  expectEncodeRefused(device, encode(a, x, y), {"(resultVector) is (0, 0, 1)", context});
  kernel.resultMatrixOrigin = {1, 0, 0};
  expectEncodeRefused(device, encode(a, x, y), {"(resultVector) has 3 elements from its origin 1", "needs 4"});
}

TEST_P(MultiplicationChecks, readsATemporaryResultOnlyWhenBetaIsNotZero) {
  const Matrix a = makeMatrix(device, 2, 2);
  execute(device, [&](CommandBuffer& commands) {
    const TemporaryMatrix c(commands, {.rows = 2, .columns = 2});
    c.setReadCount(2);
    const auto encode = [&](double beta) {
      MatrixMultiplication(device, {.resultRows = 2, .resultColumns = 2, .interiorColumns = 2, .beta = beta})
          .encode(commands, {.leftMatrix = a, .rightMatrix = a, .resultMatrix = c});
    };
    encode(0);
    EXPECT_EQ(c.readCount(), 2u);
    encode(1);
    EXPECT_EQ(c.readCount(), 1u);
  });
}

}  // namespace
}  // namespace metalloid::test
