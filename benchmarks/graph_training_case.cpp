// A training step of the built-in convolutional network, as `metalloid train --network lenet` takes it, but with SGD
// with momentum, whose first step can be compared; Adam's hangs on the signs of tiny gradients. Sizes: those of an
// image; the words batch=N, and undropped for a network without dropout, since other programs do not draw our masks.

#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"
#include "training/graph_model.hpp"
#include "training/layered_network.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr float kLearningRate = 0.01f;

/// By how much the update of a tensor may be off, relative to its norm. Errors of sums grow with the root of their
/// length, 100'000 in the first convolution's gradient: 316 roundings of 2^-24 are 2e-5. This is a hundred times that,
/// for the errors that layers hand on, and far below what a wrong formula does.
constexpr double kUpdateAllowed = 2e-3;

training::TrainingOptions optionsFor(const Problem& problem) {
  training::TrainingOptions options;
  options.network.name = "lenet";
  options.network.text = training::builtInNetwork("lenet");
  options.optimizer.kind = training::OptimizerKind::sgd;
  options.optimizer.momentum = 0.9f;
  if (!problem.has("undropped")) return options;
  const std::string line = "dropout 0.5\n";
  options.network.text.erase(options.network.text.find(line), line.size());
  return options;
}

/// A network with a batch of samples in device memory.
class Training {
 public:
  Training(const Device& device, const training::TrainingOptions& options, std::size_t batch)
      : model_(device, options, batch), slot_(device, model_.batchLayout(), batch), rows_(batch) {
    model_.initialize(device.makeCommandQueue(), 1);
  }

  void setSamples(const std::vector<float>& inputs) {
    std::vector<std::uint32_t> classes(rows_);
    for (std::size_t i = 0; i < rows_; ++i) {
      classes[i] = static_cast<std::uint32_t>(i * 7 % model_.options().classes);
    }
    slot_.write(rows_, inputs, classes);
    batch_ = slot_.batch(rows_);
  }

  void encode(CommandBuffer& commands, const Vector& losses, const Vector& correct) {
    model_.encodeTrainingStep(commands, batch_, {.losses = losses, .correct = correct, .logits = {}}, kLearningRate);
  }

  training::GraphModel& model() { return model_; }
  const Vector& labels() const { return batch_.labels; }

 private:
  training::GraphModel model_;
  training::BatchSlot slot_;
  std::size_t rows_;
  training::Batch batch_;
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return std::sqrt(sum);
}

}  // namespace

Case graphTrainingStepCase(Operands operands, const Problem& problem) {
  problem.requireSizes(3);
  const std::size_t batch = problem.number("batch", 128);
  const auto options = optionsFor(problem);
  const Device device = operands.device();
  const auto training = std::make_shared<Training>(device, options, batch);
  const Matrix inputs = operands.matrix("inputs", batch, options.network.inputs);
  training->setSamples(inputs.read<float>());
  const Vector losses = operands.resultVector("losses", batch), correct = operands.resultVector("correct", batch);

  operands.add({"labels", {batch}, [training] { return training->labels().read<float>(); }});
  const auto before = std::make_shared<std::vector<training::NamedTensor>>(training->model().tensors());
  for (std::size_t i = 0; i < before->size(); ++i) {
    const auto& [name, shape, values] = (*before)[i];
    operands.add({"before." + name, shape, [before, i] { return (*before)[i].values; }});
    operands.add({"after." + name, shape, [training, i] { return training->model().tensors()[i].values; }});
  }

  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.committedAlone = true;
  result.encode = [=](CommandBuffer& commands) { training->encode(commands, losses, correct); };
  result.error = [=] {
    const Device oracleDevice = oracleOf(device);
    Training oracle(oracleDevice, options, batch);
    oracle.model().assign(*before);
    oracle.setSamples(inputs.read<float>());
    const Vector oracleLosses(oracleDevice, {.length = batch});
    CommandBuffer commands = oracleDevice.makeCommandQueue().makeCommandBuffer();
    oracle.encode(commands, oracleLosses, {});
    commands.commit();
    commands.waitUntilCompleted();

    WorstError worst;
    const auto expectedLosses = oracleLosses.read<float>();
    worst.add(distance(losses.read<float>(), expectedLosses), 0,
              kUpdateAllowed * distance(expectedLosses, std::vector<float>(batch)));
    const auto expected = oracle.model().tensors(), actual = training->model().tensors();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto& old = (*before)[i].values;
      // The parameter itself is rounded once by each device.
      worst.add(distance(actual[i].values, expected[i].values), 0,
                kUpdateAllowed * distance(expected[i].values, old) +
                    2 * kFloatRounding * distance(old, std::vector<float>(old.size())));
    }
    return worst.value();
  };
  return result;
}

}  // namespace benchmark_program
