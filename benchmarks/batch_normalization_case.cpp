#include "core/format.hpp"

#include <cmath>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr float kEpsilon = 1e-5f;

/// The roundings of z = gamma*(x - mean)*s + beta: s counts 2, difference, products and sum 1 each; rounded up.
constexpr double kArgumentRoundings = 8;

bool isReLU(const Problem& problem) {
  const CNNNeuronType type = neuronOf(problem);
  if (type == CNNNeuronType::reLU) return true;
  if (type == CNNNeuronType::none) return false;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("The problem \"{}\" cannot be checked: batch normalization is timed with reLU or no neuron.",
                          problem.line));
}

/// Up to 64 columns, the first and the last among them; all of their rows are checked.
std::vector<std::size_t> checkedColumns(std::size_t columns) {
  std::vector<std::size_t> result;
  const std::size_t count = std::min<std::size_t>(columns, 64);
  for (std::size_t i = 0; i < count; ++i) result.push_back(count == 1 ? 0 : i * (columns - 1) / (count - 1));
  return result;
}

MatrixBatchNormalization forwardKernel(const Device& device, const Problem& problem) {
  MatrixBatchNormalization kernel(device);
  kernel.computeStatistics = true;
  kernel.epsilon = kEpsilon;
  kernel.setNeuronType(neuronOf(problem));
  return kernel;
}

/// A column of xhat and z in double precision, from the mean and variance that the device computed.
struct Column {
  double mean, s, gamma, beta;

  double xhat(float x) const { return (static_cast<double>(x) - mean) * s; }
  double z(float x) const { return gamma * xhat(x) + beta; }
  double zAllowed(float x) const {
    return kArgumentRoundings * kFloatRounding * (std::abs(gamma * xhat(x)) + std::abs(beta));
  }
};

struct Vectors {
  Vector mean, variance, gamma, beta;

  std::vector<Column> columns() const {
    const auto means = mean.read<double>(), variances = variance.read<double>();
    const auto gammas = gamma.read<double>(), betas = beta.read<double>();
    std::vector<Column> result;
    for (std::size_t j = 0; j < means.size(); ++j) {
      result.push_back({means[j], 1 / std::sqrt(variances[j] + static_cast<double>(kEpsilon)), gammas[j], betas[j]});
    }
    return result;
  }
};

}  // namespace

Case batchNormalizationCase(Operands operands, const Problem& problem) {
  problem.requireSizes(2);
  const bool cutsNegative = isReLU(problem);
  const std::size_t rows = problem.sizes[0], columns = problem.sizes[1];
  const Matrix x = operands.matrix("x", rows, columns);
  const Vector gamma = operands.vector("gamma", columns), beta = operands.vector("beta", columns);
  const Matrix y = operands.result("y", rows, columns);
  const Vectors vectors{operands.resultVector("mean", columns), operands.resultVector("variance", columns), gamma,
                        beta};
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.bytes = 3 * result.operands.bytes(rows * columns);  // the statistics must be known before the result
  const auto kernel = forwardKernel(x.device(), problem);
  result.encode = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x,
                             .meanVector = vectors.mean,
                             .varianceVector = vectors.variance,
                             .gammaVector = gamma,
                             .betaVector = beta,
                             .resultMatrix = y});
  };
  result.error = [=] {
    const auto xs = x.read<float>(), ys = y.read<float>(), means = vectors.mean.read<float>(),
               variances = vectors.variance.read<float>();
    const auto exact = vectors.columns();
    const double n = static_cast<double>(rows);
    const double sumAllowed = (columnSumRoundings(rows) + 2) * kFloatRounding;
    WorstError worst;
    for (const std::size_t j : checkedColumns(columns)) {
      double mean = 0, magnitude = 0, variance = 0;
      for (std::size_t i = 0; i < rows; ++i) {
        mean += static_cast<double>(xs[i * columns + j]) / n;
        magnitude += std::abs(static_cast<double>(xs[i * columns + j])) / n;
      }
      for (std::size_t i = 0; i < rows; ++i) {
        variance += std::pow(static_cast<double>(xs[i * columns + j]) - mean, 2) / n;
      }
      worst.add(static_cast<double>(means[j]), mean, sumAllowed * magnitude);
      // Each square adds three roundings; errors of the mean count squared, not at all.
      worst.add(static_cast<double>(variances[j]), variance, (sumAllowed + 3 * kFloatRounding) * variance);
      for (std::size_t i = 0; i < rows; ++i) {
        const float input = xs[i * columns + j];
        const double z = exact[j].z(input), expected = cutsNegative ? std::max(z, 0.0) : z;
        worst.add(static_cast<double>(ys[i * columns + j]), expected,
                  exact[j].zAllowed(input) + storing(y.dataType(), expected));
      }
    }
    return worst.value();
  };
  return result;
}

Case batchNormalizationGradientCase(Operands operands, const Problem& problem) {
  problem.requireSizes(2);
  const bool cutsNegative = isReLU(problem);
  const std::size_t rows = problem.sizes[0], columns = problem.sizes[1];
  const Matrix x = operands.matrix("x", rows, columns), dy = operands.matrix("dy", rows, columns);
  const Vector gamma = operands.vector("gamma", columns), beta = operands.vector("beta", columns);
  const Matrix dx = operands.result("dx", rows, columns);
  const Vector dgamma = operands.resultVector("dgamma", columns), dbeta = operands.resultVector("dbeta", columns);
  const Device device = operands.device();
  const Vectors vectors{Vector(device, {.length = columns}), Vector(device, {.length = columns}), gamma, beta};
  {
    CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
    forwardKernel(device, problem)
        .encode(commands, {.inputMatrix = x,
                           .meanVector = vectors.mean,
                           .varianceVector = vectors.variance,
                           .gammaVector = gamma,
                           .betaVector = beta,
                           .resultMatrix = dx});
    commands.commit();
    commands.waitUntilCompleted();
  }
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.bytes = 5 * result.operands.bytes(rows * columns);  // the sums must be known before the data gradient
  MatrixBatchNormalizationGradient kernel(device);
  kernel.epsilon = kEpsilon;
  kernel.setNeuronType(neuronOf(problem));
  result.encode = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy,
                             .inputMatrix = x,
                             .meanVector = vectors.mean,
                             .varianceVector = vectors.variance,
                             .gammaVector = gamma,
                             .betaVector = beta,
                             .resultGradientForDataMatrix = dx,
                             .resultGradientForGammaVector = dgamma,
                             .resultGradientForBetaVector = dbeta});
  };
  result.error = [=] {
    const auto xs = x.read<float>(), dys = dy.read<float>(), dxs = dx.read<float>();
    const auto dgammas = dgamma.read<float>(), dbetas = dbeta.read<float>();
    const auto exact = vectors.columns();
    const double n = static_cast<double>(rows);
    const double sumAllowed = (columnSumRoundings(rows) + kArgumentRoundings) * kFloatRounding;
    WorstError worst;
    for (const std::size_t j : checkedColumns(columns)) {
      const Column& column = exact[j];
      // Rounding may turn the sign of z near 0, and with it the neuron's derivative: such terms may be there or not.
      const auto isUncertain = [&](float input) {
        return cutsNegative && std::abs(column.z(input)) <= column.zAllowed(input);
      };
      const auto gradient = [&](std::size_t i) {
        const bool passes = !cutsNegative || column.z(xs[i * columns + j]) >= 0;
        return passes ? static_cast<double>(dys[i * columns + j]) : 0.0;
      };
      double forGamma = 0, forBeta = 0, gammaAllowed = 0, betaAllowed = 0;
      for (std::size_t i = 0; i < rows; ++i) {
        const float input = xs[i * columns + j];
        const double xhat = column.xhat(input), g = gradient(i);
        forGamma += g * xhat;
        forBeta += g;
        const double uncertain = isUncertain(input) ? std::abs(static_cast<double>(dys[i * columns + j])) : 0;
        gammaAllowed += sumAllowed * std::abs(g * xhat) + uncertain * std::abs(xhat);
        betaAllowed += sumAllowed * std::abs(g) + uncertain;
      }
      worst.add(static_cast<double>(dgammas[j]), forGamma, gammaAllowed);
      worst.add(static_cast<double>(dbetas[j]), forBeta, betaAllowed);
      for (std::size_t i = 0; i < rows; ++i) {
        const float input = xs[i * columns + j];
        if (isUncertain(input)) continue;
        const double xhat = column.xhat(input), g = gradient(i), scale = column.gamma * column.s;
        const double expected = scale * (g - forBeta / n - xhat * forGamma / n);
        const double magnitude = std::abs(g) + (std::abs(forBeta) + std::abs(xhat * forGamma)) / n;
        const double allowed = std::abs(scale) * (kArgumentRoundings * kFloatRounding * magnitude +
                                                  (betaAllowed + std::abs(xhat) * gammaAllowed) / n);
        worst.add(static_cast<double>(dxs[i * columns + j]), expected, allowed + storing(dx.dataType(), expected));
      }
    }
    return worst.value();
  };
  return result;
}

}  // namespace benchmark_program
