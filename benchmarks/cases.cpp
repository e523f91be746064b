#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "problem.hpp"
#include "training/network.hpp"
#include "training/optimizer.hpp"
#include "training/training_options.hpp"

namespace benchmark_program {
namespace {

using namespace metalloid;

/// Where a case's operands live: on the device that is timed, and, for the check, the same values on the reference.
/// Values are normal random numbers by seed, never zeros, which would hide what is not written.
class Operands {
 public:
  Operands(const Device& device, DataType type) : device_(device), queue_(device.makeCommandQueue()), type_(type) {}

  Matrix matrix(std::size_t rows, std::size_t columns) {
    const Matrix values(device_, {.rows = rows, .columns = columns});
    fill(values);
    if (type_ == DataType::float32) return values;
    const Matrix converted(device_, {.rows = rows, .columns = columns, .dataType = type_});
    converted.write(values.read<float>());
    return converted;
  }
  Vector vector(std::size_t length) {
    const Vector values(device_, {.length = length});
    fill(values);
    return values;
  }
  Vector positiveVector(std::size_t length) {
    const Vector result = vector(length);
    auto values = result.read<float>();
    for (float& value : values) value = 0.5f + std::abs(value);
    result.write(values);
    return result;
  }
  Matrix result(std::size_t rows, std::size_t columns) const {
    return Matrix(device_, {.rows = rows, .columns = columns, .dataType = type_});
  }
  Vector resultVector(std::size_t length) const { return Vector(device_, {.length = length}); }

  const Device& device() const { return device_; }
  DataType type() const { return type_; }
  std::size_t elementSize() const { return sizeOfDataType(type_); }

 private:
  template <class Destination>
  void fill(const Destination& destination) {
    MatrixRandomPhilox random(
        device_, {.destinationDataType = DataType::float32,
                  .seed = seed_++,
                  .distributionDescriptor = MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0, 1)});
    CommandBuffer commands = queue_.makeCommandBuffer();
    if constexpr (std::is_same_v<Destination, Matrix>) {
      random.encode(commands, MatrixRandom::MatrixArguments{.destinationMatrix = destination});
    } else {
      random.encode(commands, MatrixRandom::VectorArguments{.destinationVector = destination});
    }
    commands.commit();
    commands.waitUntilCompleted();
  }

  Device device_;
  CommandQueue queue_;
  DataType type_;
  std::size_t seed_ = 1;
};

/// A case from two functions: one that encodes, one that says how wrong the results are.
class FunctionCase final : public Case {
 public:
  std::function<void(CommandBuffer&)> encodeOnce;
  std::function<double()> error;

  void encode(CommandBuffer& commandBuffer) override { encodeOnce(commandBuffer); }
  double check(CommandQueue& queue) override {
    CommandBuffer commands = queue.makeCommandBuffer();
    encodeOnce(commands);
    commands.commit();
    commands.waitUntilCompleted();
    return error ? error() : 0;
  }
};

double epsilonOf(DataType type) {
  return type == DataType::float32 ? 0x1p-23 : type == DataType::float16 ? 0x1p-10 : 0x1p-7;
}

/// Largest |result - exact| / (magnitude * (terms * eps32 + eps of the storage)) over some elements of a product: a sum
/// of `terms` products in float32 may be off by terms * eps32 of the sum of their magnitudes.
double productError(const Matrix& result, std::size_t terms,
                    const std::function<std::pair<double, double>(std::size_t, std::size_t, std::size_t)>& product) {
  const auto values = result.read<float>();
  double worst = 0;
  for (std::size_t sample = 0; sample < 256; ++sample) {
    const std::size_t i = sample * 7919 % result.rows(), j = sample * 104729 % result.columns();
    double sum = 0, magnitude = 0;
    for (std::size_t k = 0; k < terms; ++k) {
      const auto [a, b] = product(i, j, k);
      sum += a * b;
      magnitude += std::abs(a * b);
    }
    const double allowed = magnitude * (static_cast<double>(terms) * 0x1p-23 + epsilonOf(result.dataType()));
    const double difference = std::abs(static_cast<double>(values[i * result.columns() + j]) - sum);
    worst = std::max(worst, std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference / allowed);
  }
  return worst;
}

CNNNeuronType neuronOf(const Problem& problem) {
  for (int value = 0; value < static_cast<int>(CNNNeuronType::count); ++value) {
    const auto type = static_cast<CNNNeuronType>(value);
    if (problem.has(std::string(name(type)))) return type;
  }
  return CNNNeuronType::none;
}

/// The first rows of a matrix, for a check against the reference that does not take minutes.
std::vector<float> firstRows(const std::vector<float>& values, std::size_t rows, std::size_t columns) {
  return {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rows * columns)};
}

double largestDifference(const std::vector<float>& a, const std::vector<float>& b, double relative, double absolute) {
  double worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    const double difference = std::abs(x - y);
    if (std::isnan(x) && std::isnan(y)) continue;
    worst = std::max(worst, std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                                   : difference / (relative * std::abs(y) + absolute));
  }
  return worst;
}

std::unique_ptr<Case> fullyConnected(Operands& operands, const Problem& problem) {
  const std::size_t n = problem.sizes.at(0), inputs = problem.sizes.at(1), outputs = problem.sizes.at(2);
  const Matrix x = operands.matrix(n, inputs), w = operands.matrix(inputs, outputs), y = operands.result(n, outputs);
  const Vector b = operands.vector(outputs);
  auto result = std::make_unique<FunctionCase>();
  result->operations = 2.0 * static_cast<double>(n) * static_cast<double>(inputs) * static_cast<double>(outputs);
  const MatrixFullyConnected kernel(operands.device());
  result->encodeOnce = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x, .weightMatrix = w, .biasVector = b, .resultMatrix = y});
  };
  result->error = [=] {
    const auto xs = x.read<float>(), ws = w.read<float>(), bs = b.read<float>();
    return productError(y, inputs + 1, [&](std::size_t i, std::size_t j, std::size_t k) {
      return k == inputs ? std::pair{static_cast<double>(bs[j]), 1.0}
                         : std::pair<double, double>{xs[i * inputs + k], ws[k * outputs + j]};
    });
  };
  return result;
}

std::unique_ptr<Case> fullyConnectedGradient(Operands& operands, const Problem& problem) {
  const std::size_t n = problem.sizes.at(0), inputs = problem.sizes.at(1), outputs = problem.sizes.at(2);
  const Matrix x = operands.matrix(n, inputs), w = operands.matrix(inputs, outputs), dy = operands.matrix(n, outputs);
  const Matrix dx = operands.result(n, inputs), dw = operands.result(inputs, outputs);
  const Vector db = operands.resultVector(outputs);
  const bool data = !problem.has("weights"), weights = !problem.has("data");
  auto result = std::make_unique<FunctionCase>();
  const double product = 2.0 * static_cast<double>(n) * static_cast<double>(inputs) * static_cast<double>(outputs);
  result->operations = (data ? product : 0) + (weights ? product : 0);
  const MatrixFullyConnectedGradient kernel(operands.device());
  result->encodeOnce = [=](CommandBuffer& commands) {
    if (data)
      kernel.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
    if (weights) {
      kernel.encodeForWeightsAndBias(commands, {.gradientMatrix = dy,
                                                .inputMatrix = x,
                                                .resultGradientForWeightMatrix = dw,
                                                .resultGradientForBiasVector = db});
    }
  };
  result->error = [=] {
    const auto xs = x.read<float>(), ws = w.read<float>(), dys = dy.read<float>();
    double worst = 0;
    if (data) {
      worst = productError(dx, outputs, [&](std::size_t i, std::size_t k, std::size_t o) {
        return std::pair<double, double>{dys[i * outputs + o], ws[k * outputs + o]};
      });
    }
    if (weights) {
      worst = std::max(worst, productError(dw, n, [&](std::size_t k, std::size_t o, std::size_t i) {
                         return std::pair<double, double>{xs[i * inputs + k], dys[i * outputs + o]};
                       }));
    }
    return worst;
  };
  return result;
}

std::unique_ptr<Case> neuronGradient(Operands& operands, const Problem& problem) {
  const std::size_t rows = problem.sizes.at(0), columns = problem.sizes.at(1);
  const Matrix x = operands.matrix(rows, columns), dy = operands.matrix(rows, columns),
               dx = operands.result(rows, columns);
  const Vector b = operands.vector(columns), db = operands.resultVector(columns);
  auto result = std::make_unique<FunctionCase>();
  result->bytes = 3.0 * static_cast<double>(rows * columns * operands.elementSize());
  const auto set = [type = neuronOf(problem), columns](MatrixNeuronGradient& kernel) {
    if (type == CNNNeuronType::pReLU) {
      kernel.setNeuronToPReLU(std::vector<float>(columns, 0.25f));
    } else if (type == CNNNeuronType::power) {
      kernel.setNeuronType(type, 1, 0, 3);
    } else {
      kernel.setNeuronType(type);
    }
  };
  MatrixNeuronGradient kernel(operands.device());
  set(kernel);
  result->encodeOnce = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy,
                             .inputMatrix = x,
                             .biasVector = b,
                             .resultGradientForDataMatrix = dx,
                             .resultGradientForBiasVector = db});
  };
  result->error = [=] {
    const Device reference = Device::named("reference");
    const std::size_t some = std::min<std::size_t>(rows, 16);
    const Matrix rx(reference, {.rows = some, .columns = columns}), rdy(reference, {.rows = some, .columns = columns});
    const Matrix rdx(reference, {.rows = some, .columns = columns});
    const Vector rb(reference, {.length = columns});
    rx.write(firstRows(x.read<float>(), some, columns));
    rdy.write(firstRows(dy.read<float>(), some, columns));
    rb.write(b.read<float>());
    MatrixNeuronGradient oracle(reference);
    set(oracle);
    CommandBuffer commands = reference.makeCommandQueue().makeCommandBuffer();
    oracle.encode(commands,
                  {.gradientMatrix = rdy, .inputMatrix = rx, .biasVector = rb, .resultGradientForDataMatrix = rdx});
    commands.commit();
    commands.waitUntilCompleted();
    // A few ULP of the function, and an absolute part for arguments near a zero of the derivative.
    const double epsilon = epsilonOf(dx.dataType());
    return largestDifference(dx.read<float>(), rdx.read<float>(), 32 * epsilon, 16 * epsilon);
  };
  return result;
}

std::unique_ptr<Case> batchNormalization(Operands& operands, const Problem& problem) {
  const std::size_t rows = problem.sizes.at(0), columns = problem.sizes.at(1);
  const Matrix x = operands.matrix(rows, columns), y = operands.result(rows, columns);
  const Vector mean = operands.resultVector(columns), variance = operands.resultVector(columns);
  const Vector gamma = operands.vector(columns), beta = operands.vector(columns);
  auto result = std::make_unique<FunctionCase>();
  result->bytes = 3.0 * static_cast<double>(rows * columns * operands.elementSize());
  MatrixBatchNormalization kernel(operands.device());
  kernel.computeStatistics = true;
  kernel.epsilon = 1e-5f;
  kernel.setNeuronType(neuronOf(problem));
  result->encodeOnce = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.inputMatrix = x,
                             .meanVector = mean,
                             .varianceVector = variance,
                             .gammaVector = gamma,
                             .betaVector = beta,
                             .resultMatrix = y});
  };
  result->error = [=] {
    const auto values = x.read<float>(), means = mean.read<float>(), variances = variance.read<float>();
    double worst = 0;
    for (std::size_t j = 0; j < columns; j += std::max<std::size_t>(1, columns / 64)) {
      double m = 0, v = 0;
      for (std::size_t i = 0; i < rows; ++i) m += static_cast<double>(values[i * columns + j]);
      m /= static_cast<double>(rows);
      for (std::size_t i = 0; i < rows; ++i) v += std::pow(static_cast<double>(values[i * columns + j]) - m, 2);
      v /= static_cast<double>(rows);
      // Tiles of at most rows/64 rows are summed in float32.
      const double allowed = (static_cast<double>(rows) / 64 + 16) * 0x1p-23;
      worst = std::max({worst, std::abs(static_cast<double>(means[j]) - m) / allowed,
                        std::abs(static_cast<double>(variances[j]) - v) / (allowed * (v + 1))});
    }
    return worst;
  };
  return result;
}

std::unique_ptr<Case> batchNormalizationGradient(Operands& operands, const Problem& problem) {
  const std::size_t rows = problem.sizes.at(0), columns = problem.sizes.at(1);
  const Matrix x = operands.matrix(rows, columns), dy = operands.matrix(rows, columns),
               dx = operands.result(rows, columns);
  const Vector mean = operands.vector(columns), variance = operands.positiveVector(columns);
  const Vector gamma = operands.vector(columns), beta = operands.vector(columns);
  const Vector dgamma = operands.resultVector(columns), dbeta = operands.resultVector(columns);
  auto result = std::make_unique<FunctionCase>();
  result->bytes = 5.0 * static_cast<double>(rows * columns * operands.elementSize());
  MatrixBatchNormalizationGradient kernel(operands.device());
  kernel.epsilon = 1e-5f;
  kernel.setNeuronType(neuronOf(problem));
  result->encodeOnce = [=](CommandBuffer& commands) {
    kernel.encode(commands, {.gradientMatrix = dy,
                             .inputMatrix = x,
                             .meanVector = mean,
                             .varianceVector = variance,
                             .gammaVector = gamma,
                             .betaVector = beta,
                             .resultGradientForDataMatrix = dx,
                             .resultGradientForGammaVector = dgamma,
                             .resultGradientForBetaVector = dbeta});
  };
  if (neuronOf(problem) != CNNNeuronType::none && neuronOf(problem) != CNNNeuronType::reLU) return result;
  const bool isReLU = neuronOf(problem) == CNNNeuronType::reLU;
  result->error = [=] {
    const auto xs = x.read<float>(), dys = dy.read<float>(), means = mean.read<float>(),
               variances = variance.read<float>();
    const auto gammas = gamma.read<float>(), betas = beta.read<float>(), dgammas = dgamma.read<float>();
    double worst = 0;
    for (std::size_t j = 0; j < columns; j += std::max<std::size_t>(1, columns / 64)) {
      const double s = 1 / std::sqrt(static_cast<double>(variances[j]) + static_cast<double>(kernel.epsilon));
      double sum = 0, magnitude = 0;
      for (std::size_t i = 0; i < rows; ++i) {
        const double xhat = (static_cast<double>(xs[i * columns + j]) - static_cast<double>(means[j])) * s;
        const double z = static_cast<double>(gammas[j]) * xhat + static_cast<double>(betas[j]);
        const double term = isReLU && z < 0 ? 0 : static_cast<double>(dys[i * columns + j]) * xhat;
        sum += term;
        magnitude += std::abs(term);
      }
      // Rounding of xhat and of each sum, and one term for an argument whose sign rounding may turn.
      const double allowed = magnitude * (static_cast<double>(rows) / 64 + 16) * 0x1p-23 + 1e-5 * magnitude;
      worst = std::max(worst, std::abs(static_cast<double>(dgammas[j]) - sum) / allowed);
    }
    return worst;
  };
  return result;
}

/// y = x through a linear neuron, the plainest use of memory there is: the ceiling for what memory bounds.
std::unique_ptr<Case> copyCase(Operands& operands, const Problem& problem) {
  const std::size_t rows = problem.sizes.at(0), columns = problem.sizes.at(1);
  const Matrix x = operands.matrix(rows, columns), y = operands.result(rows, columns);
  auto result = std::make_unique<FunctionCase>();
  result->bytes = 2.0 * static_cast<double>(rows * columns * operands.elementSize());
  const MatrixCopy kernel(operands.device(), {.copyRows = rows, .copyColumns = columns});
  const MatrixCopyDescriptor descriptor({.sourceMatrix = x, .destinationMatrix = y});
  result->encodeOnce = [=](CommandBuffer& commands) { kernel.encode(commands, {.copyDescriptor = descriptor}); };
  result->error = [=] { return x.read<float>() == y.read<float>() ? 0.0 : std::numeric_limits<double>::infinity(); };
  return result;
}

/// A training step: forward, loss, backward, SGD with momentum. Sizes: the layers' widths; the word batch=N.
std::unique_ptr<Case> trainingStep(Operands& operands, const Problem& problem) {
  std::size_t batch = 128;
  for (const std::string& word : problem.words) {
    if (word.starts_with("batch=")) batch = std::stoul(word.substr(6));
  }
  training::NetworkOptions options;
  options.inputs = problem.sizes.front();
  options.classes = problem.sizes.back();
  options.hidden.assign(problem.sizes.begin() + 1, problem.sizes.end() - 1);
  auto network = std::make_shared<training::Network>(operands.device(), options, batch);
  network->initialize(operands.device().makeCommandQueue(), 1);
  training::OptimizerOptions optimizerOptions;
  optimizerOptions.kind = training::OptimizerKind::sgd;
  optimizerOptions.momentum = 0.9f;
  auto optimizer =
      std::make_shared<training::ParameterOptimizer>(operands.device(), optimizerOptions, network->parameters());

  const Matrix x = operands.matrix(batch, options.inputs);
  const Vector labels(operands.device(), {.length = batch, .dataType = DataType::uInt32});
  std::vector<std::uint32_t> classes(batch);
  for (std::size_t i = 0; i < batch; ++i) classes[i] = static_cast<std::uint32_t>(i * 7 % options.classes);
  labels.write(classes);
  const Vector losses = operands.resultVector(batch), correct = operands.resultVector(batch);

  auto result = std::make_unique<FunctionCase>();
  for (std::size_t i = 0; i + 1 < problem.sizes.size(); ++i) {
    const double product =
        2.0 * static_cast<double>(batch * problem.sizes[i]) * static_cast<double>(problem.sizes[i + 1]);
    result->operations += (i == 0 ? 2 : 3) * product;  // the first layer needs no gradient for its data
  }
  result->encodeOnce = [=](CommandBuffer& commands) {
    network->encodeTrainingStep(commands, {x, labels}, {.losses = losses, .correct = correct, .logits = {}});
    optimizer->encode(commands, 0.01f);
  };
  result->error = [=] {
    for (const float loss : losses.read<float>()) {
      if (!std::isfinite(loss)) return std::numeric_limits<double>::infinity();
    }
    return 0.0;
  };
  return result;
}

}  // namespace

std::unique_ptr<Case> makeCase(const Device& device, const Problem& problem) {
  using Maker = std::unique_ptr<Case> (*)(Operands&, const Problem&);
  static const std::map<std::string, Maker> makers{
      {"fully_connected", fullyConnected},
      {"fully_connected_gradient", fullyConnectedGradient},
      {"neuron_gradient", neuronGradient},
      {"batch_normalization", batchNormalization},
      {"batch_normalization_gradient", batchNormalizationGradient},
      {"copy", copyCase},
      {"training_step", trainingStep},
  };
  const auto maker = makers.find(problem.operation);
  if (maker == makers.end()) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The operation \"{}\" is not known.", problem.operation));
  }
  const DataType type = problem.has("float16")    ? DataType::float16
                        : problem.has("bfloat16") ? DataType::bFloat16
                                                  : DataType::float32;
  Operands operands(device, type);
  return maker->second(operands, problem);
}

}  // namespace benchmark_program
