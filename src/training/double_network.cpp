#include "training/double_network.hpp"

#include "core/format.hpp"
#include "math/neuron.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace metalloid::training {
namespace {

/// x*W: [rows, inputs] times [inputs, outputs].
std::vector<double> product(const std::vector<double>& x, const std::vector<double>& weights, std::size_t rows,
                            std::size_t outputs) {
  const std::size_t inputs = x.size() / rows;
  std::vector<double> result(rows * outputs);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t k = 0; k < inputs; ++k) {
      const double factor = x[i * inputs + k];
      for (std::size_t o = 0; o < outputs; ++o) result[i * outputs + o] += factor * weights[k * outputs + o];
    }
  }
  return result;
}

/// Column by column (z - mean) / sqrt(variance + epsilon) * gamma + beta, with the batch's own statistics.
void normalize(std::vector<double>& z, std::size_t rows, double epsilon, const std::vector<double>& gamma,
               const std::vector<double>& beta) {
  const std::size_t columns = gamma.size();
  const auto number = static_cast<double>(rows);
  for (std::size_t j = 0; j < columns; ++j) {
    double mean = 0;
    for (std::size_t i = 0; i < rows; ++i) mean += z[i * columns + j] / number;
    double variance = 0;
    for (std::size_t i = 0; i < rows; ++i) {
      const double difference = z[i * columns + j] - mean;
      variance += difference * difference / number;
    }
    const double factor = gamma[j] / std::sqrt(variance + epsilon);
    for (std::size_t i = 0; i < rows; ++i) z[i * columns + j] = (z[i * columns + j] - mean) * factor + beta[j];
  }
}

/// -sum over j of t[j] * ln softmax(logits)[j] of one sample.
double crossEntropy(const double* logits, std::size_t classes, std::uint32_t label, double smoothing) {
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0;
  for (std::size_t j = 0; j < classes; ++j) sum += std::exp(logits[j] - largest);
  const double logSum = largest + std::log(sum);
  double loss = 0;
  for (std::size_t j = 0; j < classes; ++j) {
    const double target = (j == label ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
    loss += target * (logSum - logits[j]);
  }
  return loss;
}

}  // namespace

std::vector<double> kinks(const NeuronOptions& neuron) {
  const double a = neuron.a;
  const double b = neuron.b;
  switch (neuron.type) {
    case CNNNeuronType::reLU:
    case CNNNeuronType::pReLU:
    case CNNNeuronType::ELU:
    case CNNNeuronType::absolute:
      return {0};
    case CNNNeuronType::hardSigmoid:
      return a == 0 ? std::vector<double>{} : std::vector<double>{-b / a, (1 - b) / a};
    case CNNNeuronType::reLUN:
      if (b >= 0) return {0, b};
      return a == 0 ? std::vector<double>{0} : std::vector<double>{0, b / a};
    case CNNNeuronType::power:
    case CNNNeuronType::logarithm:
      return a == 0 ? std::vector<double>{} : std::vector<double>{-b / a};
    default:
      return {};
  }
}

DoubleNetwork::Loss DoubleNetwork::loss(const Parameters& parameters, const Samples& samples) const {
  const std::size_t rows = samples.rows();
  const auto neuron = math::makeNeuron(options_.neuron.type, options_.neuron.a, options_.neuron.b, options_.neuron.c);
  const std::vector<double> jumps = kinks(options_.neuron);
  Loss result{.value = 0, .branches = 14695981039346656037u, .kinkDistance = std::numeric_limits<double>::infinity()};

  std::vector<double> x = samples.inputs;
  for (std::size_t layer = 0; layer < options_.hidden.size(); ++layer) {
    const auto parameter = [&](const char* what) -> const std::vector<double>& {
      return parameters.at(fmt::format("hidden.{}.{}", layer, what));
    };
    const std::size_t units = options_.hidden[layer];
    std::vector<double> z = product(x, parameter("weight"), rows, units);
    if (options_.batchNormalization) {
      normalize(z, rows, options_.batchNormalizationEpsilon, parameter("gamma"), parameter("beta"));
    } else {
      const auto& bias = parameter("bias");
      for (std::size_t i = 0; i < z.size(); ++i) z[i] += bias[i % units];
    }
    for (double& value : z) {
      std::uint64_t side = 0;
      for (const double jump : jumps) {
        side += value >= jump ? 1 : 0;
        result.kinkDistance = std::min(result.kinkDistance, std::abs(value - jump));
      }
      result.branches = (result.branches ^ side) * 1099511628211u;  // FNV-1a
      value = math::neuronValue(neuron, value, options_.neuron.a);
    }
    x = std::move(z);
  }
  std::vector<double> logits = product(x, parameters.at("output.weight"), rows, options_.classes);
  const auto& bias = parameters.at("output.bias");
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] += bias[i % options_.classes];
  for (std::size_t i = 0; i < rows; ++i) {
    result.value +=
        crossEntropy(logits.data() + i * options_.classes, options_.classes, samples.labels[i], labelSmoothing_) /
        static_cast<double>(rows);
  }
  return result;
}

}  // namespace metalloid::training
