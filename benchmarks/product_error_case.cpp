// How far products are from exact ones: what a faster path must not make worse. Sizes: rows x columns x terms; a word
// says of what kind the factors are.

#include "core/format.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr std::size_t kCheckedRows = 16;

std::vector<float> uniform(const Device& device, std::size_t seed, std::size_t rows, std::size_t columns) {
  const Matrix values(device, {.rows = rows, .columns = columns});
  MatrixRandomPhilox random(
      device, {.destinationDataType = DataType::float32,
               .seed = seed,
               .distributionDescriptor = MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(0, 1)});
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  random.encode(commands, MatrixRandom::MatrixArguments{.destinationMatrix = values});
  commands.commit();
  commands.waitUntilCompleted();
  return values.read<float>();
}

/// Magnitudes from 2^-60 to 2^60, with the signs and mantissas of the normal numbers that are there.
void widen(const Matrix& matrix, std::size_t seed) {
  auto values = matrix.read<float>();
  const auto exponents = uniform(matrix.device(), seed, matrix.rows(), matrix.columns());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto exponent = static_cast<std::uint32_t>(127 - 60 + static_cast<int>(exponents[i] * 120));
    values[i] = std::bit_cast<float>((std::bit_cast<std::uint32_t>(values[i]) & 0x807fffffu) | exponent << 23);
  }
  matrix.write(values);
}

/// Terms of the second half are the negative ones of the first, but for 2^-12 of them.
void makeCancelling(const Matrix& left, const Matrix& right) {
  auto a = left.read<float>(), b = right.read<float>();
  const std::size_t rows = left.rows(), columns = right.columns(), terms = left.columns(), half = terms / 2;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t k = 0; k < half; ++k) {
      float& second = a[i * terms + half + k];  // normal numbers, too
      second = -a[i * terms + k] * (1 + 0x1p-12f * second);
    }
  }
  for (std::size_t k = 0; k < half; ++k) {
    for (std::size_t j = 0; j < columns; ++j) b[(half + k) * columns + j] = b[k * columns + j];
  }
  left.write(a);
  right.write(b);
}

void setKind(const Problem& problem, const Matrix& left, const Matrix& right) {
  if (problem.has("normal")) return;
  if (problem.has("wide")) {
    widen(left, 11);
    widen(right, 12);
  } else if (problem.has("cancelling")) {
    makeCancelling(left, right);
  } else if (problem.has("positive")) {
    left.write(uniform(left.device(), 11, left.rows(), left.columns()));
    right.write(uniform(right.device(), 12, right.rows(), right.columns()));
  } else {
    throw Error(
        ErrorCode::invalidArgument,
        fmt::format("The problem \"{}\" needs one of the words normal, wide, cancelling and positive.", problem.line));
  }
}

/// The largest |C - C64| / (|A| * |B|), in units of `unit`, over some whole rows, the first and the last among them.
double errorOfRows(const Matrix& left, const Matrix& right, const Matrix& result, double unit) {
  const auto a = left.read<float>(), b = right.read<float>(), c = result.read<float>();
  const std::size_t rows = result.rows(), columns = result.columns(), terms = left.columns();
  const std::size_t checked = std::min(rows, kCheckedRows);
  const auto rowAt = [&](std::size_t r) { return checked == 1 ? 0 : r * (rows - 1) / (checked - 1); };
  std::vector<double> sums(checked * columns), magnitudes(checked * columns);
  for (std::size_t k = 0; k < terms; ++k) {  // the right factor, which is large, is read once
    for (std::size_t r = 0; r < checked; ++r) {
      const double factor = static_cast<double>(a[rowAt(r) * terms + k]);
      double* const sum = &sums[r * columns];
      double* const magnitude = &magnitudes[r * columns];
      for (std::size_t j = 0; j < columns; ++j) {
        const double product = factor * static_cast<double>(b[k * columns + j]);
        sum[j] += product;
        magnitude[j] += std::abs(product);
      }
    }
  }
  WorstError worst;
  for (std::size_t r = 0; r < checked; ++r) {
    for (std::size_t j = 0; j < columns; ++j) {
      const std::size_t at = r * columns + j;
      worst.add(static_cast<double>(c[rowAt(r) * columns + j]), sums[at], magnitudes[at] * unit);
    }
  }
  return worst.value();
}

}  // namespace

Case productErrorCase(Operands operands, const Problem& problem) {
  problem.requireSizes(3);
  const std::size_t rows = problem.sizes[0], columns = problem.sizes[1], terms = problem.sizes[2];
  const Matrix left = operands.matrix("left", rows, terms), right = operands.matrix("right", terms, columns);
  setKind(problem, left, right);
  const Matrix product = operands.result("product", rows, columns);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.operations = 2 * static_cast<double>(rows * columns) * static_cast<double>(terms);
  // In whatever order it is taken, a sum is off by at most as many roundings of the magnitudes as it has terms.
  result.errorUnit = static_cast<double>(terms) * kFloatRounding;
  const MatrixMultiplication kernel(left.device(),
                                    {.resultRows = rows, .resultColumns = columns, .interiorColumns = terms});
  result.encode = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.leftMatrix = left, .rightMatrix = right, .resultMatrix = product});
  };
  result.error = [=, unit = result.errorUnit] { return errorOfRows(left, right, product, unit); };
  return result;
}

}  // namespace benchmark_program
