#include "conformance/cases.hpp"

#include <metalloid/matrix_multiplication.hpp>

#include <algorithm>
#include <cmath>

namespace metalloid::conformance {
namespace {

/// Factors such that a sum of `terms` products stays around 1.
Range factorsFor(const Trial& t, std::size_t terms) {
  const double scale = 2 / std::sqrt(static_cast<double>(std::max<std::size_t>(terms, 1)));
  return t.hasSmallIntegers() ? Range{} : Range{-scale, scale};
}

void multiplication(Trial& t) {
  const std::size_t m = t.size(0), inner = t.size(1), n = t.size(2);
  const bool transposeLeft = t.choice(), transposeRight = t.choice(), isAdded = t.choice();
  const auto& a = transposeLeft ? t.source("leftMatrix", inner, m) : t.source("leftMatrix", m, inner);
  const auto range = factorsFor(t, inner);
  const auto& b = transposeRight ? t.source("rightMatrix", n, inner, range) : t.source("rightMatrix", inner, n, range);
  const DataType type = t.types().result;
  auto& result =
      t.matrix("resultMatrix", m, n, {.type = type, .isResult = true, .values = isAdded ? t.drawn(type) : nullptr});
  const double alpha = t.factor(), beta = isAdded ? t.factor() : 0;

  MatrixMultiplication kernel(t.device(), {.transposeLeft = transposeLeft,
                                           .transposeRight = transposeRight,
                                           .resultRows = m,
                                           .resultColumns = n,
                                           .interiorColumns = inner,
                                           .alpha = alpha,
                                           .beta = beta});
  kernel.leftMatrixOrigin = a.origin;
  kernel.rightMatrixOrigin = b.origin;
  kernel.resultMatrixOrigin = result.origin;
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.leftMatrix = a.matrix, .rightMatrix = b.matrix, .resultMatrix = result.matrix});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        Sum product;
        for (std::size_t l = 0; l < inner; ++l) {
          product.add(Approximation(transposeLeft ? a.at(k, l, i) : a.at(k, i, l)) *
                      (transposeRight ? b.at(k, j, l) : b.at(k, l, j)));
        }
        const auto scaled = Approximation::setting(alpha) * product.result();
        t.expect(result, k, i, j, isAdded ? scaled + Approximation::setting(beta) * result.at(k, i, j) : scaled);
      }
    }
  }
}

void vectorMultiplication(Trial& t) {
  const std::size_t rows = t.size(0), columns = t.size(1);
  const bool transpose = t.choice(), isAdded = t.choice();
  const auto& a = transpose ? t.source("inputMatrix", columns, rows) : t.source("inputMatrix", rows, columns);
  const DataType type = t.types().matrix;
  const auto& x =
      t.vector("inputVector", columns,
               {.type = type, .values = t.drawn(type, factorsFor(t, columns)), .isShared = t.random().coin()});
  auto& y =
      t.vector("resultVector", rows,
               {.type = t.types().result, .isResult = true, .values = isAdded ? t.drawn(t.types().result) : nullptr});
  const double alpha = t.factor(), beta = isAdded ? t.factor() : 0;

  MatrixVectorMultiplication kernel(
      t.device(), {.transpose = transpose, .rows = rows, .columns = columns, .alpha = alpha, .beta = beta});
  kernel.primarySourceMatrixOrigin = a.origin;
  kernel.secondarySourceMatrixOrigin = x.origin;
  kernel.resultMatrixOrigin = y.origin;
  t.setBatch(kernel);
  t.run([&](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = a.matrix, .inputVector = x.vector, .resultVector = y.vector});
  });

  for (std::size_t k = 0; k < t.count(); ++k) {
    for (std::size_t i = 0; i < rows; ++i) {
      Sum product;
      for (std::size_t j = 0; j < columns; ++j) {
        product.add(Approximation(transpose ? a.at(k, j, i) : a.at(k, i, j)) * x.at(k, 0, j));
      }
      const auto scaled = Approximation::setting(alpha) * product.result();
      t.expect(y, k, i, isAdded ? scaled + Approximation::setting(beta) * y.at(k, 0, i) : scaled);
    }
  }
}

constexpr Types mixed(const char* name, DataType factors, DataType result) { return {name, factors, factors, result}; }

const std::vector<Types> kFloatProducts = {kFloat32, kFloat16, kBFloat16,
                                           mixed("f16_to_f32", DataType::float16, DataType::float32),
                                           mixed("bf16_to_f32", DataType::bFloat16, DataType::float32)};
const std::vector<Types> kAllProducts = {kFloat32,
                                         kFloat16,
                                         kBFloat16,
                                         mixed("f16_to_f32", DataType::float16, DataType::float32),
                                         mixed("bf16_to_f32", DataType::bFloat16, DataType::float32),
                                         mixed("i8_to_f16", DataType::int8, DataType::float16),
                                         mixed("i8_to_f32", DataType::int8, DataType::float32),
                                         mixed("i16_to_f32", DataType::int16, DataType::float32)};

const std::vector<Sizes> kSmallProducts = {{0, 3, 5},  {3, 0, 5},  {3, 5, 0},  {1, 1, 1},
                                           {1, 33, 7}, {33, 7, 1}, {7, 1, 33}, {13, 17, 5}};
const std::vector<Sizes> kLargeProducts = {{64, 64, 64},  {67, 130, 37}, {131, 257, 67},
                                           {32769, 2, 3}, {2, 32769, 3}, {3, 2, 32769}};

}  // namespace

std::vector<Case> multiplicationCases() {
  return {{"Multiplication", multiplication, kSmallProducts, kLargeProducts, 3, Matrices::batch, kAllProducts, true},
          {"VectorMultiplication", vectorMultiplication, kSmallMatrices, kLargeMatrices, 2, Matrices::batch,
           kFloatProducts, true}};
}

}  // namespace metalloid::conformance
