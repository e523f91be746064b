#include "core/format.hpp"

#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"
#include "training/network.hpp"
#include "training/optimizer.hpp"
#include "training/training_options.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr float kLearningRate = 0.01f;

training::OptimizerOptions momentumOptions() {
  training::OptimizerOptions options;
  options.kind = training::OptimizerKind::sgd;
  options.learningRate = kLearningRate;
  options.momentum = 0.9f;
  return options;
}

/// A network with its optimizer and one batch of samples.
class Training {
 public:
  Training(const Device& device, const training::NetworkOptions& options, std::size_t batch)
      : network_(device, options, batch),
        optimizer_(device, momentumOptions(), network_.parameters()),
        labels_(device, {.length = batch, .dataType = DataType::uInt32}) {
    std::vector<std::uint32_t> classes(batch);
    for (std::size_t i = 0; i < batch; ++i) classes[i] = static_cast<std::uint32_t>(i * 7 % options.classes);
    labels_.write(classes);
  }

  void encode(CommandBuffer& commands, const Matrix& inputs, const training::SampleResults& results) {
    network_.encodeTrainingStep(commands, {inputs, labels_}, results);
    optimizer_.encode(commands, kLearningRate);
  }

  training::Network& network() { return network_; }
  const Vector& labels() const { return labels_; }

 private:
  training::Network network_;
  training::ParameterOptimizer optimizer_;
  Vector labels_;
};

double norm(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return std::sqrt(sum);
}

/// By how much one update of a tensor may be off, relative to its norm. The gradient of the first layer comes out of a
/// chain of products with sums of length k: all widths forward, all backward, and the batch. A sum of length k is off
/// by at most k roundings of the sum of magnitudes, which exceeds the norm of the sum about sqrt(k) times.
double updateAllowed(const std::vector<std::size_t>& widths, std::size_t batch) {
  const auto error = [](std::size_t k) { return std::pow(static_cast<double>(k), 1.5) * kFloatRounding; };
  double sum = error(batch);
  for (const std::size_t width : widths) sum += 2 * error(width);
  return sum;
}

std::size_t batchOf(const Problem& problem) {
  for (const std::string& word : problem.words) {
    if (word.starts_with("batch=")) return std::stoul(word.substr(6));
  }
  throw Error(ErrorCode::invalidArgument, fmt::format("The problem \"{}\" needs a word like batch=128.", problem.line));
}

}  // namespace

/// A training step: forward, loss, backward, SGD with momentum. Sizes: the layers' widths; the word batch=N.
Case trainingStepCase(Operands operands, const Problem& problem) {
  const std::size_t batch = batchOf(problem);
  problem.requireSizes(std::max<std::size_t>(2, problem.sizes.size()));
  training::NetworkOptions options;
  options.inputs = problem.sizes.front();
  options.classes = problem.sizes.back();
  options.hidden.assign(problem.sizes.begin() + 1, problem.sizes.end() - 1);
  const Device device = operands.device();
  const auto training = std::make_shared<Training>(device, options, batch);
  training->network().initialize(device.makeCommandQueue(), 1);

  const Matrix inputs = operands.matrix("inputs", batch, options.inputs);
  const training::SampleResults results{.losses = operands.resultVector("losses", batch),
                                        .correct = operands.resultVector("correct", batch),
                                        .logits = {}};
  operands.add({"labels", {batch}, [training] { return training->labels().read<float>(); }});
  const auto before = std::make_shared<std::map<std::string, std::vector<float>>>();
  for (const auto& tensor : training->network().tensors()) {
    (*before)[tensor.name] = tensor.matrix.read<float>();
    operands.add({"before." + tensor.name, tensor.shape, [before, name = tensor.name] { return before->at(name); }});
    operands.add({"after." + tensor.name, tensor.shape, [matrix = tensor.matrix] { return matrix.read<float>(); }});
  }

  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.committedAlone = true;
  for (std::size_t i = 0; i + 1 < problem.sizes.size(); ++i) {
    const double product =
        2.0 * static_cast<double>(batch * problem.sizes[i]) * static_cast<double>(problem.sizes[i + 1]);
    result.operations += (i == 0 ? 2 : 3) * product;  // the first layer needs no gradient for its data
  }
  result.encode = [=](CommandBuffer& commands) { training->encode(commands, inputs, results); };
  // The oracle takes the same first step from the same parameters.
  result.error = [=, sizes = problem.sizes] {
    const Device oracleDevice = oracleOf(device);
    Training oracle(oracleDevice, options, batch);
    for (const auto& tensor : oracle.network().tensors()) tensor.matrix.write(before->at(tensor.name));
    const Matrix oracleInputs(oracleDevice, {.rows = batch, .columns = options.inputs});
    oracleInputs.write(inputs.read<float>());
    const Vector oracleLosses(oracleDevice, {.length = batch});
    CommandBuffer commands = oracleDevice.makeCommandQueue().makeCommandBuffer();
    oracle.encode(commands, oracleInputs, {.losses = oracleLosses, .correct = {}, .logits = {}});
    commands.commit();
    commands.waitUntilCompleted();

    WorstError worst;
    const double allowed = updateAllowed(sizes, batch);
    const auto losses = results.losses.read<float>(), expectedLosses = oracleLosses.read<float>();
    worst.add(norm(losses, expectedLosses), 0, allowed * norm(expectedLosses, std::vector<float>(batch)));
    const auto expected = oracle.network().tensors();
    const auto actual = training->network().tensors();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto& old = before->at(expected[i].name);
      const auto value = expected[i].matrix.read<float>();
      // The parameter itself is rounded once by each device.
      worst.add(norm(actual[i].matrix.read<float>(), value), 0,
                allowed * norm(value, old) + 2 * kFloatRounding * norm(old, std::vector<float>(old.size())));
    }
    return worst.value();
  };
  return result;
}

}  // namespace benchmark_program
