#include "training/training_explanation.hpp"

#include "training/network.hpp"
#include "training/optimizer.hpp"
#include "training/sample_log.hpp"

#include <metalloid/command_queue.hpp>

namespace metalloid::training {

std::vector<Explanation> explainTrainingStep(const Device& device, const TrainingOptions& options) {
  check(options);
  const Network network(device, options.network, options.batchSize);
  ParameterOptimizer optimizer(device, options.optimizer, network.parameters());
  SampleLog log(device, options.batchSize);
  log.begin(options.batchSize, options.batchSize);
  const Batch batch{.inputs = Matrix(device, {.rows = options.batchSize, .columns = options.network.inputs}),
                    .labels = Vector(device, {.length = options.batchSize, .dataType = DataType::uInt32})};
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  network.encodeTrainingStep(commands, batch, log.results(0, options.batchSize));
  optimizer.encode(commands, options.optimizer.learningRate);
  return commands.explain();
}

}  // namespace metalloid::training
