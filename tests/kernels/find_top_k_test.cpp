#include "kernels/kernel_checks.hpp"

#include <metalloid/matrix_find_top_k.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace metalloid::test {
namespace {

class FindTopKValues : public OnDevice {};
class FindTopKChecks : public OnDevice {};
INSTANTIATE_TEST_SUITE_P(Devices, FindTopKValues, testing::Values("reference", "cpu"), deviceName);
INSTANTIATE_TEST_SUITE_P(Devices, FindTopKChecks, testing::Values("reference", "cpu", "null"), deviceName);

constexpr Layout kIndices{.type = DataType::uInt32};

struct Found {
  std::vector<double> values;
  std::vector<std::uint32_t> indices;
};

Found find(const MatrixFindTopK& kernel, const Matrix& input, std::size_t rows) {
  const Matrix values = makeMatrix(kernel.device(), rows, kernel.numberOfTopKValues, {.type = input.dataType()});
  const Matrix indices = makeMatrix(kernel.device(), rows, kernel.numberOfTopKValues, kIndices);
  execute(kernel.device(), [&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = input, .resultIndexMatrix = indices, .resultValueMatrix = values});
  });
  return {values.read<double>(), indices.read<std::uint32_t>()};
}

TEST_P(FindTopKValues, countsColumnsFromTheOrigin) {
  const Matrix input = matrixOf(device, 1, 7, {6, 3, 8, 1, 9, 4, 5});
  MatrixFindTopK kernel(device, 3);
  kernel.sourceMatrixOrigin = {.x = 0, .y = 2};
  auto found = find(kernel, input, 1);
  EXPECT_EQ(found.values, (std::vector<double>{9, 8, 5}));
  EXPECT_EQ(found.indices, (std::vector<std::uint32_t>{2, 0, 4}));
  kernel.indexOffset = 2;
  found = find(kernel, input, 1);
  EXPECT_EQ(found.indices, (std::vector<std::uint32_t>{4, 2, 6}));
  kernel.sourceColumns = 3;  // 8, 1, 9
  found = find(kernel, input, 1);
  EXPECT_EQ(found.values, (std::vector<double>{9, 8, 1}));
}

TEST_P(FindTopKValues, equalsByLowerColumnAndNaNLast) {
  const Matrix input = matrixOf(device, 2, 6,
                                {2, kNaN, 5, -kInfinity, 5, 2,  //
                                 kNaN, 0.0f, -0.0f, kNaN, kInfinity, -1});
  const auto found = find(MatrixFindTopK(device, 6), input, 2);
  EXPECT_EQ(found.indices, (std::vector<std::uint32_t>{2, 4, 0, 5, 3, 1, 4, 1, 2, 5, 0, 3}));
  EXPECT_EQ(found.values[4], -kInfinity);
  EXPECT_TRUE(std::isnan(found.values[5]) && std::isnan(found.values[10]) && std::isnan(found.values[11]));
  EXPECT_TRUE(std::signbit(found.values[8]) && !std::signbit(found.values[7]));
}

TEST_P(FindTopKValues, hasNoLimitOfSixteen) {
  const std::size_t columns = 1000;
  const Matrix input = randomMatrix(device, 3, columns, {}, 5);
  const auto found = find(MatrixFindTopK(device, columns), input, 3);
  const auto values = input.read<double>();
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<double> row(values.begin() + static_cast<std::ptrdiff_t>(i * columns),
                            values.begin() + static_cast<std::ptrdiff_t>((i + 1) * columns));
    std::vector<std::uint32_t> seen(columns);
    for (std::size_t n = 0; n < columns; ++n) {
      EXPECT_EQ(found.values[i * columns + n], row[found.indices[i * columns + n]]);
      ++seen[found.indices[i * columns + n]];
    }
    EXPECT_EQ(seen, std::vector<std::uint32_t>(columns, 1));
    std::ranges::sort(row, std::greater<>());
    EXPECT_TRUE(std::equal(row.begin(), row.end(), found.values.begin() + static_cast<std::ptrdiff_t>(i * columns)));
  }
}

TEST_P(FindTopKValues, inEveryLayoutAndBatch) {
  for (const DataType type : floatTypes()) {
    for (const Layout& layout : layouts(type, 3)) {
      for (const auto& [start, size] :
           {std::pair<std::size_t, std::size_t>{0, all}, {1, 1}, {2, all}, {1, 0}, {3, all}}) {
        const Matrix input = randomMatrix(device, 5, 9, layout, 3);
        const Matrix values = makeMatrix(device, 6, 5, layout);
        const Matrix indices = makeMatrix(device, 7, 6, {.type = DataType::uInt32, .count = 3, .padding = 2});
        MatrixFindTopK kernel(device, 3);
        kernel.sourceMatrixOrigin = {.x = 1, .y = 2};
        kernel.resultMatrixOrigin = {.x = 2, .y = 1};
        kernel.sourceRows = 3;
        kernel.batchStart = start;
        kernel.batchSize = size;
        const Guard valueGuard(values), indexGuard(indices);
        execute(device, [&](CommandBuffer& commands) {
          kernel.encode(commands, {.inputMatrix = input, .resultIndexMatrix = indices, .resultValueMatrix = values});
        });
        const std::size_t count = std::min(size, 3 - start);
        valueGuard.expectUntouchedOutside({2, 1}, 3, 3, start, count);
        indexGuard.expectUntouchedOutside({2, 1}, 3, 3, start, count);
        const Elements x(input), y(values), z(indices);
        for (std::size_t k = start; k < start + count; ++k) {
          for (std::size_t i = 0; i < 3; ++i) {
            std::vector<std::size_t> columns{0, 1, 2, 3, 4, 5, 6};
            std::ranges::stable_sort(columns, [&](auto a, auto b) { return x(k, 1 + i, 2 + a) > x(k, 1 + i, 2 + b); });
            for (std::size_t n = 0; n < 3; ++n) {
              EXPECT_EQ(z(k, 2 + i, 1 + n), static_cast<double>(columns[n]));
              EXPECT_EQ(y(k, 2 + i, 1 + n), x(k, 1 + i, 2 + columns[n]));
            }
          }
        }
      }
    }
  }
}

TEST_P(FindTopKChecks, emptyRegionsAreNoMistake) {
  find(MatrixFindTopK(device, 0), makeMatrix(device, 2, 3), 2);
  find(MatrixFindTopK(device, 0), makeMatrix(device, 2, 0), 2);
  find(MatrixFindTopK(device, 2), makeMatrix(device, 0, 3), 0);
}

TEST_P(FindTopKChecks, refusesWhatDoesNotFit) {
  MatrixFindTopK kernel(device, 3);
  kernel.label = "best";
  const MatrixFindTopK::Arguments good{.inputMatrix = makeMatrix(device, 4, 5),
                                       .resultIndexMatrix = makeMatrix(device, 4, 3, kIndices),
                                       .resultValueMatrix = makeMatrix(device, 4, 3)};
  const auto refused = [&](const MatrixFindTopK& k, const MatrixFindTopK::Arguments& arguments,
                           std::initializer_list<std::string_view> parts) {
    expectEncodeRefused(
        device, [&](CommandBuffer& commands) { k.encode(commands, arguments); }, parts);
  };
  using A = MatrixFindTopK::Arguments;
  const auto with = [&](Matrix A::*member, const Matrix& matrix) {
    auto arguments = good;
    arguments.*member = matrix;
    return arguments;
  };
  expectRefusesCommandBuffers(device, [&](CommandBuffer& commands) { kernel.encode(commands, good); });
  refused(kernel, with(&A::inputMatrix, {}), {"The inputMatrix is nil.", "While encoding MatrixFindTopK \"best\""});
  refused(kernel, with(&A::resultIndexMatrix, {}), {"The resultIndexMatrix is nil."});
  refused(kernel, with(&A::resultValueMatrix, {}), {"The resultValueMatrix is nil."});
  refused(kernel, with(&A::inputMatrix, makeMatrix(other, 4, 5)), {"is on device " + other.name()});
  refused(kernel, with(&A::resultIndexMatrix, makeMatrix(device, 4, 3)), {"resultIndexMatrix", "float32", "uInt32"});
  refused(kernel, with(&A::resultValueMatrix, makeMatrix(device, 4, 3, {.type = DataType::float16})),
          {"float16", "float32", "one type"});
  refused(kernel, with(&A::inputMatrix, makeMatrix(device, 4, 5, {.type = DataType::int32})), {"int32"});
  refused(kernel, with(&A::resultIndexMatrix, makeMatrix(device, 3, 3, kIndices)),
          {"resultIndexMatrix", "3 rows", "4 rows"});
  refused(kernel, with(&A::resultValueMatrix, makeMatrix(device, 4, 2)),
          {"resultValueMatrix", "2 columns", "3 columns"});
  refused(kernel, with(&A::inputMatrix, makeMatrix(device, 4, 2)), {"numberOfTopKValues", "is 3", "2 columns"});
  refused(kernel, with(&A::resultValueMatrix, good.inputMatrix), {"overlap"});

  auto changed = kernel;
  changed.sourceMatrixOrigin = {.x = 0, .y = 3};
  refused(changed, good, {"numberOfTopKValues", "is 3", "2 columns"});
  changed = kernel;
  changed.sourceMatrixOrigin = {.x = 5};
  refused(changed, good, {"origin", "row 5", "4 rows"});
  changed = kernel;
  changed.resultMatrixOrigin = {.z = 1};
  refused(changed, good, {"z = 1"});
  changed = kernel;
  changed.batchStart = 2;
  refused(changed, good, {"batchStart", "is 2", "1 matrices"});
  changed = kernel;
  changed.indexOffset = 0xfffffffcu;  // + column 4
  refused(changed, good, {"indexOffset", "4294967292", "4294967295"});
  changed.indexOffset = 0xfffffffbu;
  execute(device, [&](CommandBuffer& commands) { changed.encode(commands, good); });
}

TEST_P(FindTopKChecks, isAKernel) {
  EXPECT_EQ(MatrixFindTopK(device, 5).numberOfTopKValues, 5u);
  expectRefused([] { MatrixFindTopK kernel(Device(), 1); }, {"The device of a MatrixFindTopK is nil."});
  MatrixFindTopK kernel(device, 4);
  kernel.label = "best";
  kernel.options = KernelOptions::allowReducedPrecision;
  kernel.sourceMatrixOrigin = {1, 2, 0};
  kernel.resultMatrixOrigin = {3, 4, 0};
  kernel.batchStart = 5;
  kernel.batchSize = 6;
  kernel.sourceRows = 7;
  kernel.sourceColumns = 8;
  kernel.indexOffset = 9;
  std::vector<MatrixFindTopK> changed(10, kernel);
  changed[0].label = "";
  changed[1].options = KernelOptions::none;
  changed[2].sourceMatrixOrigin.x = 0;
  changed[3].resultMatrixOrigin.y = 0;
  changed[4].batchStart = 0;
  changed[5].batchSize = all;
  changed[6].sourceRows = all;
  changed[7].sourceColumns = all;
  changed[8].indexOffset = 0;
  changed[9].numberOfTopKValues = 3;
  expectBehavesAsKernel(kernel, changed, device, "MatrixFindTopK");
}

}  // namespace
}  // namespace metalloid::test
