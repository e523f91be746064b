#include "case.hpp"

#include "core/format.hpp"

#include <limits>
#include <map>
#include <utility>

namespace benchmark_program {

using namespace metalloid;

namespace {

/// While a device executes one command buffer, the next can be encoded, and a GPU has recorded them all after two.
constexpr std::size_t kMostInCommandBuffer = 64;

}  // namespace

void runRepeatedly(const CommandQueue& queue, std::size_t iterations, bool committedAlone,
                   const std::function<void(CommandBuffer&)>& encode) {
  const std::size_t most = committedAlone ? 1 : kMostInCommandBuffer;
  CommandBuffer commands = queue.makeCommandBuffer();
  for (std::size_t i = 0; i < iterations; ++i) {
    if (i > 0 && i % most == 0) {
      commands.commit();
      commands = queue.makeCommandBuffer();
    }
    encode(commands);
  }
  commands.commit();
  commands.waitUntilCompleted();
}

double Case::check(const CommandQueue& queue) const {
  operands.spoilResults();
  runRepeatedly(queue, 1, committedAlone, encode);
  return operands.resultsAreComplete() ? error() : std::numeric_limits<double>::infinity();
}

CNNNeuronType neuronOf(const Problem& problem) {
  for (int value = 0; value < static_cast<int>(CNNNeuronType::count); ++value) {
    const auto type = static_cast<CNNNeuronType>(value);
    if (problem.has(std::string(name(type)))) return type;
  }
  return CNNNeuronType::none;
}

KernelOptions optionsOf(const Problem& problem) {
  return problem.has("reduced") ? KernelOptions::allowReducedPrecision : KernelOptions::none;
}

Device oracleOf(const Device& device) { return Device::named(device.name() == "cpu" ? "reference" : "cpu"); }

Case makeCase(const Device& device, const Problem& problem) {
  using Maker = Case (*)(Operands, const Problem&);
  static const std::map<std::string, Maker> makers{
      {"copy", copyCase},
      {"fully_connected", fullyConnectedCase},
      {"fully_connected_gradient", fullyConnectedGradientCase},
      {"product_error", productErrorCase},
      {"neuron_gradient", neuronGradientCase},
      {"batch_normalization", batchNormalizationCase},
      {"batch_normalization_gradient", batchNormalizationGradientCase},
      {"convolution", convolutionCase},
      {"convolution_gradient", convolutionGradientCase},
      {"pooling", poolingCase},
      {"pooling_gradient", poolingGradientCase},
      {"image_batch_normalization", imageBatchNormalizationCase},
      {"image_batch_normalization_gradient", imageBatchNormalizationGradientCase},
      {"training_step", trainingStepCase},
      {"graph_training_step", graphTrainingStepCase},
  };
  const auto maker = makers.find(problem.operation);
  if (maker == makers.end()) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The operation \"{}\" is not known.", problem.operation));
  }
  const DataType type = problem.has("float16")    ? DataType::float16
                        : problem.has("bfloat16") ? DataType::bFloat16
                                                  : DataType::float32;
  return maker->second(Operands(device, type), problem);
}

}  // namespace benchmark_program
