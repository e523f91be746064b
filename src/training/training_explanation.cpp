#include "training/training_explanation.hpp"

#include "training/model.hpp"
#include "training/sample_log.hpp"

#include <metalloid/command_queue.hpp>

namespace metalloid::training {

std::vector<Explanation> explainTrainingStep(const Device& device, const TrainingOptions& options) {
  check(options);
  const auto model = makeModel(device, options, options.batchSize);
  SampleLog log(device, options.batchSize);
  log.begin(options.batchSize, options.batchSize);
  const BatchSlot slot(device, model->batchLayout(), options.batchSize);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  model->encodeTrainingStep(commands, slot.batch(options.batchSize), log.results(0, options.batchSize),
                            options.optimizer.learningRate);
  return commands.explain();
}

}  // namespace metalloid::training
