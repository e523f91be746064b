#pragma once

#include "training/batch.hpp"
#include "training/checkpoint_files.hpp"
#include "training/training_options.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace metalloid::training {

/// A network on a device with what is trained in it and its optimizer: all that the trainer, the evaluator, the
/// predictor and the files know of it.
class Model {
 public:
  virtual ~Model() = default;

  virtual const Device& device() const = 0;
  virtual const NetworkOptions& options() const = 0;
  virtual std::size_t maximumRows() const = 0;
  /// Fewer samples than this make no training step: normalization would leave nothing of a single one.
  virtual std::size_t minimumRows() const { return 1; }
  /// Numbers that are trained.
  virtual std::size_t parameters() const = 0;
  /// What batches are to hold for it.
  virtual BatchLayout batchLayout() const = 0;

  /// The seed's parameters, and an optimizer that has seen nothing. Waits for the device.
  virtual void initialize(const CommandQueue& queue, std::uint32_t seed) = 0;

  /// Records a training step: forward pass, loss, gradients, update.
  virtual void encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results,
                                  float learningRate) = 0;

  /// Records a forward pass as it is used after training. Without labels there must be no losses and no correct.
  virtual void encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) = 0;

  /// The trained network: parameters and running statistics. Waits for the steps in flight, as all that follows.
  virtual std::vector<NamedTensor> tensors() const = 0;
  /// Takes over such tensors. @throws Error (malformedFile) naming the tensor that does not fit.
  virtual void assign(const std::vector<NamedTensor>& tensors) = 0;

  /// All that a training needs to go on, the optimizer's state included.
  virtual std::vector<NamedTensor> state() const = 0;
  /// Goes on from such a state, after so many images. @throws Error (malformedFile) when it does not fit.
  virtual void restore(const Checkpoint& checkpoint, std::uint64_t images) = 0;

  /// What the last training step has made, in the order of its making and with names for messages.
  virtual std::vector<std::pair<std::string, std::vector<float>>> intermediates() const = 0;
};

/// The model that the options describe, for batches of at most `maximumRows`; one that is only evaluated has no use for
/// the options besides the network. @throws Error (invalidArgument) for impossible options.
std::unique_ptr<Model> makeModel(const Device& device, const TrainingOptions& options, std::size_t maximumRows);
std::unique_ptr<Model> makeModel(const Device& device, const NetworkOptions& network, std::size_t maximumRows);

/// The tensor of a checkpoint. @throws Error (malformedFile) unless it has so many elements.
const NamedTensor& tensorOf(const Checkpoint& checkpoint, const std::string& name, std::size_t elements);

/// The tensor of a trained network. @throws Error (malformedFile) unless it has this shape.
const NamedTensor& tensorOf(const std::vector<NamedTensor>& tensors, const std::string& name,
                            const std::vector<std::size_t>& shape);
/// @throws Error (malformedFile) unless there are as many tensors as the network has.
void requireTensors(const std::vector<NamedTensor>& tensors, std::size_t number);

}  // namespace metalloid::training
