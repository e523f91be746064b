#include <cmath>
#include <utility>

#include "bounds.hpp"
#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

/// Checks some elements of a matrix product, corners included. In whatever order a sum of `terms` products is taken in
/// float32, it is off by at most terms roundings of the sum of the products' magnitudes; then it is stored.
/// `productRounding`: what the factors may lose before.
template <class Factors>
double productError(const Matrix& result, std::size_t terms, double productRounding, const Factors& factors) {
  const auto values = result.read<float>();
  const std::size_t rows = result.rows(), columns = result.columns();
  WorstError worst;
  const auto add = [&](std::size_t i, std::size_t j) {
    double sum = 0, magnitude = 0;
    for (std::size_t k = 0; k < terms; ++k) {
      const std::pair<float, float> pair = factors(i, j, k);
      const double product = static_cast<double>(pair.first) * static_cast<double>(pair.second);
      sum += product;
      magnitude += std::abs(product);
    }
    worst.add(
        static_cast<double>(values[i * columns + j]), sum,
        magnitude * (static_cast<double>(terms) * kFloatRounding + productRounding) + storing(result.dataType(), sum));
  };
  for (std::size_t sample = 0; sample < 256; ++sample) add(sample * 7919 % rows, sample * 104729 % columns);
  add(0, columns - 1);
  add(rows - 1, 0);
  add(rows - 1, columns - 1);
  return worst.value();
}

double productRounding(const Problem& problem) { return problem.has("reduced") ? kReducedProductRounding : 0; }

double product(const Problem& problem) {
  problem.requireSizes(3);
  return 2.0 * static_cast<double>(problem.sizes[0]) * static_cast<double>(problem.sizes[1]) *
         static_cast<double>(problem.sizes[2]);
}

}  // namespace

Case fullyConnectedCase(Operands operands, const Problem& problem) {
  const double operations = product(problem);
  const std::size_t n = problem.sizes[0], inputs = problem.sizes[1], outputs = problem.sizes[2];
  const Matrix x = operands.matrix("x", n, inputs), w = operands.matrix("w", inputs, outputs);
  const Vector b = operands.vector("b", outputs);
  const Matrix y = operands.result("y", n, outputs);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.operations = operations;
  MatrixFullyConnected kernel(x.device());
  kernel.options = optionsOf(problem);
  result.encode = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .biasVector = b, .resultMatrix = y});
  };
  result.error = [=, lost = productRounding(problem)] {
    const auto xs = x.read<float>(), ws = w.read<float>(), bs = b.read<float>();
    return productError(y, inputs + 1, lost, [&](std::size_t i, std::size_t j, std::size_t k) {
      return k == inputs ? std::pair{bs[j], 1.0f} : std::pair{xs[i * inputs + k], ws[k * outputs + j]};
    });
  };
  return result;
}

Case fullyConnectedGradientCase(Operands operands, const Problem& problem) {
  const double operations = 2 * product(problem);
  const std::size_t n = problem.sizes[0], inputs = problem.sizes[1], outputs = problem.sizes[2];
  const Matrix x = operands.matrix("x", n, inputs), w = operands.matrix("w", inputs, outputs);
  const Matrix dy = operands.matrix("dy", n, outputs);
  const Matrix dx = operands.result("dx", n, inputs), dw = operands.result("dw", inputs, outputs);
  const Vector db = operands.resultVector("db", outputs);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.operations = operations;
  MatrixFullyConnectedGradient kernel(x.device());
  kernel.options = optionsOf(problem);
  result.encode = [=](CommandBuffer& commands) {
    kernel.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
    kernel.encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                              .inputMatrix = x,
                                              .resultGradientForWeightMatrix = dw,
                                              .resultGradientForBiasVector = db});
  };
  result.error = [=, lost = productRounding(problem)] {
    const auto xs = x.read<float>(), ws = w.read<float>(), dys = dy.read<float>(), dbs = db.read<float>();
    const double data = productError(dx, outputs, lost, [&](std::size_t i, std::size_t k, std::size_t o) {
      return std::pair{dys[i * outputs + o], ws[k * outputs + o]};
    });
    const double weights = productError(dw, n, lost, [&](std::size_t k, std::size_t o, std::size_t i) {
      return std::pair{xs[i * inputs + k], dys[i * outputs + o]};
    });
    WorstError bias;
    for (std::size_t o = 0; o < outputs; ++o) {
      double sum = 0, magnitude = 0;
      for (std::size_t i = 0; i < n; ++i) {
        sum += static_cast<double>(dys[i * outputs + o]);
        magnitude += std::abs(static_cast<double>(dys[i * outputs + o]));
      }
      bias.add(static_cast<double>(dbs[o]), sum, magnitude * columnSumRoundings(n) * kFloatRounding);
    }
    return std::max({data, weights, bias.value()});
  };
  return result;
}

}  // namespace benchmark_program
