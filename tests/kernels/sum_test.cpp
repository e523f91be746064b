#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_sum.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace metalloid::test {
namespace {

class SumValues : public OnDevice {};
class SumChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, SumValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, SumChecks, testing::Values("reference", "cpu", "null"), deviceName);

struct Case {
  bool transpose = false;
  bool scale = false;
  bool offsets = false;
  bool bias = false;
  std::size_t start = 0;
  Origin to = {};
};

void check(const Device& device, const Layout& layout, DataType biasType, std::size_t count, const Case& c) {
  const std::size_t rows = 3, columns = 5;
  const std::size_t resultRows = c.transpose ? columns : rows, resultColumns = c.transpose ? rows : columns;
  std::vector<Matrix> sources;
  for (std::size_t i = 0; i < count; ++i) {
    sources.push_back(randomMatrix(device, rows + 2 * i, columns + i, layout, static_cast<unsigned>(i)));
  }
  const Matrix result = randomMatrix(device, 7, 8, {.type = layout.type, .count = 2, .padding = 1}, 91);
  const Vector scale = randomVector(device, c.start + count, {.offset = 1}, 92);
  const Vector bias = randomVector(device, resultColumns + 1, {.type = biasType}, 93);
  std::vector<std::uint32_t> offsets(2 * c.start, 1000);  // those before startIndex belong to nobody
  for (std::size_t i = 0; i < count; ++i) {
    offsets.push_back(static_cast<std::uint32_t>(2 * i));
    offsets.push_back(static_cast<std::uint32_t>(i));
  }

  MatrixSum kernel(device, {.count = count, .rows = rows, .columns = columns, .transpose = c.transpose});
  kernel.resultMatrixOrigin = c.to;
  const Guard guard(result);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceMatrices = sources,
                             .resultMatrix = result,
                             .scaleVector = c.scale ? scale : Vector(),
                             .offsetVector = c.offsets ? labelsOf(device, offsets) : Vector(),
                             .biasVector = c.bias ? bias : Vector(),
                             .startIndex = c.start});
  });

  guard.expectUntouchedOutside(c.to, resultRows, resultColumns, 0, 1);
  const Elements scales(scale), biases(bias), sums(result);
  std::vector<Elements> terms(sources.begin(), sources.end());
  for (std::size_t i = 0; i < resultRows; ++i) {
    for (std::size_t j = 0; j < resultColumns; ++j) {
      double expected = 0;
      for (std::size_t s = 0; s < count; ++s) {
        const std::size_t row = (c.transpose ? j : i) + (c.offsets ? 2 * s : 0);
        const std::size_t column = (c.transpose ? i : j) + (c.offsets ? s : 0);
        expected += (c.scale ? scales(0, c.start + s) : 1) * terms[s](0, row, column);
      }
      if (c.bias) expected += biases(0, j);
      // One rounding for each product and each addition of terms of size 4, sums up to 4 * count.
      expectNear(device, sums(0, c.to.x + i, c.to.y + j), expected, layout.type, 2 * static_cast<double>(count) + 2,
                 4 * static_cast<double>(count), kernel.description());
    }
  }
}

TEST_P(SumValues, matchTheFormulaInEveryLayout) {
  for (const DataType type : floatTypes()) {
    for (const DataType biasType : {type, DataType::float32}) {
      for (const Layout& layout : layouts(type, 2)) {
        for (const bool transpose : {false, true}) {
          check(device, layout, biasType, 1, {.transpose = transpose});
          check(device, layout, biasType, 2, {.transpose = transpose, .scale = true, .to = {1, 2}});
          check(device, layout, biasType, 2, {.transpose = transpose, .offsets = true, .bias = true, .start = 2});
          check(device, layout, biasType, 3,
                {.transpose = transpose, .scale = true, .offsets = true, .bias = true, .start = 1, .to = {2, 3}});
        }
      }
    }
  }
}

TEST_P(SumValues, byHandWithNeuron) {
  const Matrix a = matrixOf(device, 2, 2, {1, -2, 3, -4}), b = matrixOf(device, 2, 2, {10, 20, 30, 40});
  const Matrix result = makeMatrix(device, 2, 2);
  MatrixSum kernel(device, {.count = 2, .rows = 2, .columns = 2, .transpose = true});
  kernel.setNeuronType(CNNNeuronType::reLU, 0.5f);
  execute(device, [&](CommandBuffer& commands) {
    kernel.encode(commands, {.sourceMatrices = {a, b},
                             .resultMatrix = result,
                             .scaleVector = vectorOf(device, {99, 1, -0.25f}),
                             .biasVector = vectorOf(device, {0.5f, 1}),
                             .startIndex = 1});
  });
  // S = [1 - 2.5, -2 - 5; 3 - 7.5, -4 - 10]; transposed, with the bias by column, and halved where it is negative.
  EXPECT_EQ(result.read<float>(), (std::vector<float>{-0.5f, -1.75f, -3.25f, -6.5f}));
}

TEST_P(SumValues, doesNotReadTheOldResult) {
  const Matrix result = matrixOf(device, 1, 2, {kNaN, kInfinity});
  execute(device, [&](CommandBuffer& commands) {
    MatrixSum(device, {.count = 1, .rows = 1, .columns = 2})
        .encode(commands, {.sourceMatrices = {matrixOf(device, 1, 2, {1, 2})}, .resultMatrix = result});
  });
  EXPECT_EQ(result.read<float>(), (std::vector<float>{1, 2}));
}

TEST_P(SumValues, mayOverwriteASource) {
  const Matrix a = matrixOf(device, 2, 2, {1, 2, 3, 4}), b = matrixOf(device, 2, 2, {10, 20, 30, 40});
  execute(device, [&](CommandBuffer& commands) {
    MatrixSum(device, {.count = 3, .rows = 2, .columns = 2})
        .encode(commands, {.sourceMatrices = {a, b, a}, .resultMatrix = a});
  });
  EXPECT_EQ(a.read<float>(), (std::vector<float>{12, 24, 36, 48}));
}

TEST_P(SumValues, readsOffsetsThatEarlierWorkWrites) {
  const Vector offsets = labelsOf(device, {9, 9});  // out of range until the command buffer before has run
  const Matrix words(offsets.data(), offsets.offset(), {.rows = 1, .columns = 2, .dataType = DataType::float32});
  const Matrix zero = matrixOf(device, 1, 2, {0, 0});  // the bits of 0.0f are those of the integer 0
  const Matrix source = matrixOf(device, 2, 2, {1, 2, 3, 4}), result = makeMatrix(device, 2, 2);
  execute(device, [&](CommandBuffer& commands) {
    MatrixSum(device, {.count = 1, .rows = 1, .columns = 2})
        .encode(commands, {.sourceMatrices = {zero}, .resultMatrix = words});
    MatrixSum(device, {.count = 1, .rows = 2, .columns = 2})
        .encode(commands, {.sourceMatrices = {source}, .resultMatrix = result, .offsetVector = offsets});
  });
  EXPECT_EQ(result.read<float>(), source.read<float>());
}

TEST_P(SumValues, refuseAnOffsetOutOfRangeBeforeAnythingIsWritten) {
  const Matrix source = makeMatrix(device, 4, 5), result = makeMatrix(device, 3, 3);
  MatrixSum kernel(device, {.count = 2, .rows = 3, .columns = 3});
  kernel.label = "sum";
  const auto bytes = [&] {
    const auto contents = result.data().contents();
    return std::vector<std::byte>(contents.begin(), contents.end());
  };
  const auto before = bytes();
  const auto message = [&](const std::vector<std::uint32_t>& offsets, std::size_t start = 0) {
    const Error error = executeToFailure(device, [&](CommandBuffer& commands) {
      kernel.encode(commands, {.sourceMatrices = {source, source},
                               .resultMatrix = result,
                               .offsetVector = labelsOf(device, offsets),
                               .startIndex = start});
    });
    EXPECT_EQ(error.code(), ErrorCode::invalidArgument);
    EXPECT_NE(std::string(error.what()).find("While executing MatrixSum \"sum\" on device " + device.name()),
              std::string::npos);
    return std::string(error.message());
  };
  EXPECT_EQ(message({1, 2, 2, 0}),
            "Source 1 has 4 rows and 5 columns, but 3 rows and 3 columns are added from its offset (2, 0) on.");
  EXPECT_EQ(message({0, 3, 0, 0}),
            "Source 0 has 4 rows and 5 columns, but 3 rows and 3 columns are added from its offset (0, 3) on.");
  EXPECT_EQ(message({9, 9, 0, 0, 0xffffffffu, 0xffffffffu}, 1),
            "Source 1 has 4 rows and 5 columns, but 3 rows and 3 columns are added from its offset (4294967295, "
            "4294967295) on.");
  EXPECT_EQ(message({5, 0, 0, 0}),
            "Source 0 has 4 rows and 5 columns, but 3 rows and 3 columns are added from its offset (5, 0) on.");
  EXPECT_EQ(message({0, 0, 0, 6}),
            "Source 1 has 4 rows and 5 columns, but 3 rows and 3 columns are added from its offset (0, 6) on.");
  EXPECT_EQ(bytes(), before);
}

TEST_P(SumChecks, behavesAsAKernel) {
  const MatrixSum::Descriptor descriptor{.count = 2, .rows = 3, .columns = 4, .transpose = true};
  MatrixSum kernel(device, descriptor);
  EXPECT_EQ(kernel.count(), 2u);
  EXPECT_EQ(kernel.rows(), 3u);
  EXPECT_EQ(kernel.columns(), 4u);
  EXPECT_TRUE(kernel.transpose());
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::none);
  EXPECT_EQ(kernel.resultMatrixOrigin, Origin{});
  kernel.label = "sum";
  kernel.setNeuronType(CNNNeuronType::hardSigmoid, 0.5f, 0.25f);
  kernel.resultMatrixOrigin.x = 1;
  EXPECT_EQ(kernel.neuronType(), CNNNeuronType::hardSigmoid);
  EXPECT_EQ(kernel.neuronParameterA(), 0.5f);
  EXPECT_EQ(kernel.neuronParameterB(), 0.25f);
  EXPECT_EQ(kernel.neuronParameterC(), 0.0f);

  std::vector<MatrixSum> changed(4, kernel);
  changed[0].label = "total";
  changed[1].resultMatrixOrigin.y = 1;
  changed[2].setNeuronType(CNNNeuronType::hardSigmoid, 0.5f, 0.5f);
  changed[3].setNeuronType(CNNNeuronType::sigmoid);
  for (const MatrixSum::Descriptor& unlike :
       {MatrixSum::Descriptor{1, 3, 4, true}, MatrixSum::Descriptor{2, 1, 4, true},
        MatrixSum::Descriptor{2, 3, 1, true}, MatrixSum::Descriptor{2, 3, 4, false}}) {
    MatrixSum one(device, unlike);
    one.label = kernel.label;
    one.setNeuronType(CNNNeuronType::hardSigmoid, 0.5f, 0.25f);
    one.resultMatrixOrigin = kernel.resultMatrixOrigin;
    changed.push_back(one);
  }
  expectBehavesAsKernel(kernel, changed, device, "MatrixSum");
  expectMalformed<MatrixSum>(forged(archiveOf(kernel), "count", 0), device, "an archive with a count of 0");
  EXPECT_EQ(decoded<MatrixSum>(forged(archiveOf(kernel), "count", 7), device).count(), 7u);
}

TEST_P(SumChecks, refusesWhatItCannotBeMadeFor) {
  expectRefused([&] { MatrixSum(device, {.rows = 1, .columns = 1}); }, {"The count of a MatrixSum is 0"});
  expectRefused([] { MatrixSum(Device{}, {.count = 1}); }, {"The device of a MatrixSum is nil."});
  MatrixSum kernel(device, {.count = 1});
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::pReLU); }, {"pReLU"});
  expectRefused([&] { kernel.setNeuronType(CNNNeuronType::exponential, 1, 0, -3); }, {"Parameter c"});
}

TEST_P(SumChecks, refusesWhatDoesNotFit) {
  using Arguments = MatrixSum::Arguments;
  const Matrix a = makeMatrix(device, 3, 5), b = makeMatrix(device, 4, 6), result = makeMatrix(device, 3, 5);
  a.setLabel("a");
  const Arguments good{.sourceMatrices = {a, b},
                       .resultMatrix = result,
                       .scaleVector = makeVector(device, 3),
                       .offsetVector = labelsOf(device, {0, 0, 0, 0, 0, 0}),
                       .biasVector = makeVector(device, 5),
                       .startIndex = 1};
  MatrixSum kernel(device, {.count = 2, .rows = 3, .columns = 5});
  kernel.label = "sum";
  const auto encode = [&](auto change) {
    Arguments arguments = good;
    change(arguments);
    return [&kernel, arguments](CommandBuffer& commands) { kernel.encode(commands, arguments); };
  };
  const auto unchanged = encode([](Arguments&) {});
  const Layout half{.type = DataType::float16};
  const std::string_view context = "While encoding MatrixSum \"sum\"";
  execute(device, unchanged);
  expectRefusesCommandBuffers(device, unchanged);
  expectEncodeRefused(device, encode([&](Arguments& x) { x.sourceMatrices = {a}; }),
                      {"has 1 sourceMatrices, but its count is 2", context});
  expectEncodeRefused(device, encode([&](Arguments& x) {
                        x.sourceMatrices = {a, b, b};
                      }),
                      {"has 3 sourceMatrices, but its count is 2", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.sourceMatrices[1] = {}; }),
                      {"The sourceMatrices[1] is nil.", context});
  expectEncodeRefused(device, encode([](Arguments& x) { x.resultMatrix = {}; }), {"The resultMatrix is nil.", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.sourceMatrices[1] = makeMatrix(other, 4, 6); }),
                      {"(sourceMatrices[1]) is on device " + other.name(), context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.offsetVector = makeVector(other, 6); }),
                      {"(offsetVector) is on device " + other.name(), context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.sourceMatrices[1] = makeMatrix(device, 3, 4); }),
                      {"(sourceMatrices[1]) has 3 rows and 4 columns", "needs 3 rows and 5 columns", context});
  expectEncodeRefused(device, encode([&](Arguments& x) {
                        x.sourceMatrices[0] = makeMatrix(device, 2, 5);
                        x.offsetVector = {};
                      }),
                      {"(sourceMatrices[0]) has 2 rows and 5 columns", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.sourceMatrices[1] = makeMatrix(device, 4, 6, half); }),
                      {"(resultMatrix) is of type float32", "(sourceMatrices[1]) is of type float16", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.resultMatrix = makeMatrix(device, 2, 5); }),
                      {"(resultMatrix) has 2 rows and 5 columns", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.scaleVector = makeVector(device, 3, half); }),
                      {"(scaleVector) is of type float16", "takes float32", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.offsetVector = makeVector(device, 6); }),
                      {"(offsetVector) is of type float32", "takes uInt32", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.biasVector = makeVector(device, 5, half); }),
                      {"(biasVector) is of type float16", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.biasVector = makeVector(device, 4); }),
                      {"(biasVector) has 4 elements", "needs 5", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.startIndex = 2; }),
                      {"(scaleVector) has 1 elements from its origin 2", "needs 2", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.startIndex = 4; }),
                      {"(scaleVector) is element 4, but the vector has 3", context});
  expectEncodeRefused(device, encode([&](Arguments& x) {
                        x.scaleVector = {};
                        x.startIndex = 2;
                      }),
                      {"(offsetVector) has 2 elements from its origin 4", "needs 4", context});
  expectEncodeRefused(device, encode([&](Arguments& x) {
                        x.scaleVector = {};
                        x.startIndex = all;
                      }),
                      {"The startIndex of MatrixSum \"sum\" is 18446744073709551615", context});
  expectEncodeRefused(device, encode([&](Arguments& x) { x.resultMatrix = a; }),  // there are offsets
                      {"Matrix \"a\" (sourceMatrices[0])", "(resultMatrix)", "overlap in memory", context});
  kernel.resultMatrixOrigin = {1, 0, 0};
  expectEncodeRefused(device, unchanged, {"(resultMatrix) has 2 rows and 5 columns from its origin (1, 0)"});
  expectEncodeRefused(device, encode([&](Arguments& x) {
                        x.offsetVector = {};
                        x.resultMatrix = b;
                      }),
                      {"(sourceMatrices[1])", "overlap in memory"});  // not the same region
  kernel.resultMatrixOrigin = {0, 0, 2};
  expectEncodeRefused(device, unchanged, {"z = 2", context});

  const Matrix square = makeMatrix(device, 3, 3);
  expectEncodeRefused(device,
                      [&](CommandBuffer& commands) {
                        MatrixSum(device, {.count = 1, .rows = 3, .columns = 3, .transpose = true})
                            .encode(commands, {.sourceMatrices = {square}, .resultMatrix = square});
                      },
                      {"overlap in memory", "While encoding MatrixSum"});
}

TEST_P(SumChecks, countsATemporaryInTwoRolesOnce) {
  const Matrix result = makeMatrix(device, 2, 2);
  execute(device, [&](CommandBuffer& commands) {
    const TemporaryMatrix temporary(commands, {.rows = 2, .columns = 2});
    temporary.setReadCount(2);
    MatrixSum(device, {.count = 2, .rows = 2, .columns = 2})
        .encode(commands, {.sourceMatrices = {temporary, temporary}, .resultMatrix = result});
    EXPECT_EQ(temporary.readCount(), 1u);
  });
}

}  // namespace
}  // namespace metalloid::test
