#include "core/format.hpp"

#include <cmath>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr std::size_t kCheckedRows = 32;

/// Rows spread from the first to the last, so that every tile of rows that a back end may cut has a chance.
std::vector<std::size_t> checkedRows(std::size_t rows) {
  std::vector<std::size_t> result;
  const std::size_t count = std::min(rows, kCheckedRows);
  for (std::size_t i = 0; i < count; ++i) result.push_back(count == 1 ? 0 : i * (rows - 1) / (count - 1));
  return result;
}

std::vector<float> rowsOf(const Matrix& matrix, const std::vector<std::size_t>& rows) {
  std::vector<float> result;
  for (const std::size_t row : rows) {
    const MatrixDescriptor one{.rows = 1, .columns = matrix.columns(), .dataType = matrix.dataType()};
    const auto values = Matrix(matrix.data(), matrix.offset() + row * matrix.rowBytes(), one).read<float>();
    result.insert(result.end(), values.begin(), values.end());
  }
  return result;
}

void setNeuron(MatrixNeuronGradient& kernel, CNNNeuronType type, std::size_t columns) {
  if (type == CNNNeuronType::pReLU) {
    kernel.setNeuronToPReLU(std::vector<float>(columns, 0.25f));
  } else if (type == CNNNeuronType::power) {
    kernel.setNeuronType(type, 1, 0, 3);  // the default exponent, 1, would be no test
  } else if (type == CNNNeuronType::reLUN) {
    kernel.setNeuronType(type, 0, 6, 0);  // ReLU6
  } else {
    kernel.setNeuronType(type);
  }
}

/// The data gradient that the reference device computes for these rows.
std::vector<float> referenceGradient(CNNNeuronType type, const std::vector<float>& x, const std::vector<float>& dy,
                                     const std::vector<float>& b) {
  const Device device = Device::named("reference");
  const std::size_t columns = b.size();
  const MatrixDescriptor shape{.rows = x.size() / columns, .columns = columns};
  const Matrix input(device, shape), gradient(device, shape), result(device, shape);
  const Vector bias(device, {.length = columns});
  input.write(x);
  gradient.write(dy);
  bias.write(b);
  MatrixNeuronGradient kernel(device);
  setNeuron(kernel, type, columns);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  kernel.encode(
      commands,
      {.gradientMatrix = gradient, .inputMatrix = input, .biasVector = bias, .resultGradientForDataMatrix = result});
  commands.commit();
  commands.waitUntilCompleted();
  return result.read<float>();
}

/// Whether rounding may decide on which side of a corner of the neuron, where the derivative jumps, an argument lies.
/// Only hardSigmoid multiplies before it compares; its corners are at 2.5 and -2.5.
bool isAtCorner(CNNNeuronType type, float z) {
  return type == CNNNeuronType::hardSigmoid && std::abs(std::abs(z) - 2.5f) < 1e-6f;
}

}  // namespace

Case neuronGradientCase(Operands operands, const Problem& problem) {
  problem.requireSizes(2);
  const CNNNeuronType type = neuronOf(problem);
  if (type == CNNNeuronType::none) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The problem \"{}\" names no neuron.", problem.line));
  }
  const std::size_t rows = problem.sizes[0], columns = problem.sizes[1];
  const Matrix x = operands.matrix("x", rows, columns), dy = operands.matrix("dy", rows, columns);
  const Vector b = operands.vector("b", columns);
  if (type == CNNNeuronType::logarithm) {  // near 0 its derivative is beyond all numbers
    auto values = b.read<float>();
    for (float& value : values) value = 8 + std::round(value * 64) / 64;
    b.write(values);
  }
  const Matrix dx = operands.result("dx", rows, columns);
  const Vector db = operands.resultVector("db", columns);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.bytes = 3 * result.operands.bytes(rows * columns);
  MatrixNeuronGradient kernel(x.device());
  setNeuron(kernel, type, columns);
  result.encode = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy,
                             .inputMatrix = x,
                             .biasVector = b,
                             .resultGradientForDataMatrix = dx,
                             .resultGradientForBiasVector = db});
  };
  result.error = [=] {
    const auto some = checkedRows(rows);
    const auto gradients = rowsOf(dy, some), inputs = rowsOf(x, some), biases = b.read<float>();
    const auto expected = referenceGradient(type, inputs, gradients, biases);
    const auto actual = rowsOf(dx, some);
    WorstError worst;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      if (isAtCorner(type, inputs[i] + biases[i % columns])) continue;
      // The reference adds x + b in double precision. Rounding z = x + b moves f'(z) by at most |z f''(z)| roundings:
      // 2 |f'| for the power, |f'| for the logarithm, 9 |f'| for the exponential (|z| < 9 here), and less than 1 where
      // f' stays within [0, 1.2]. Evaluating f' takes 8 ULP (16 roundings) at most, the product one, storing one.
      // GeLU's derivative is a sum of two terms that cancel near -0.75, where each is 0.23: 8 roundings of 1 for both.
      const double e = std::abs(static_cast<double>(expected[i])), g = std::abs(static_cast<double>(gradients[i]));
      worst.add(static_cast<double>(actual[i]), static_cast<double>(expected[i]),
                26 * kFloatRounding * e + (type == CNNNeuronType::geLU ? 9 : 1) * kFloatRounding * g +
                    2 * storing(dx.dataType(), e));
    }
    // The bias gradient sums what was computed for dx, before it was rounded for storing.
    const auto data = dx.read<float>(), sums = db.read<float>();
    std::vector<double> sum(columns), magnitude(columns), stored(columns);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        const double value = static_cast<double>(data[i * columns + j]);
        sum[j] += value;
        magnitude[j] += std::abs(value);
        stored[j] += storing(dx.dataType(), value);
      }
    }
    for (std::size_t j = 0; j < columns; ++j) {
      worst.add(static_cast<double>(sums[j]), sum[j],
                magnitude[j] * columnSumRoundings(rows) * kFloatRounding + 2 * stored[j]);
    }
    return worst.value();
  };
  return result;
}

}  // namespace benchmark_program
