#include "training/graph_model.hpp"

#include "core/format.hpp"
#include "training/array_parts.hpp"
#include "training/initialization.hpp"

#include <metalloid/error.hpp>
#include <metalloid/matrix_copy.hpp>

#include <algorithm>
#include <utility>

namespace metalloid::training {
namespace {

/// Gives out the images of one container, so that its matrix has a batch's results in its first rows.
class ContainerAllocator final : public ImageAllocator {
 public:
  explicit ContainerAllocator(const Image& container) : images_(container.batchRepresentation()) {}

  Image image(CommandBuffer&, const ImageDescriptor&, const Kernel&) override { return images_.front(); }
  ImageBatch imageBatch(CommandBuffer&, const ImageDescriptor&, const Kernel&, std::size_t count) override {
    return {images_.begin(), images_.begin() + static_cast<std::ptrdiff_t>(count)};
  }

 private:
  ImageBatch images_;
};

/// What the first neuron after a layer leaves of the variance.
double varianceKeptAfter(const LayeredNetwork& network, std::size_t index) {
  for (std::size_t i = index + 1; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.sources.front() != index) continue;
    if (layer.kind == LayerKind::neuron) return varianceKept(layer.neuron.type);
    if (layer.hasWeights()) return 1;
    return varianceKeptAfter(network, i);
  }
  return 1;
}

void fill(TrainedTensor& tensor, float value) { tensor.write(std::vector<float>(tensor.elements(), value)); }

}  // namespace

GraphModel::GraphModel(const Device& device, const TrainingOptions& options, std::size_t maximumRows)
    : context_{.device = device, .optimizer = options.optimizer},
      options_(options.network),
      network_(layersOf(options.network)),
      labelSmoothing_(options.labelSmoothing),
      seed_(options.seed),
      sources_(makeSources(context_, network_)),
      loss_(device) {
  if (network_.input().elements() != options_.inputs) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The network {} is made for images of {}, {} numbers, but the images have {}.",
                            options_.name, describe(network_.input()), network_.input().elements(), options_.inputs));
  }
  if (network_.result() != ImageShape{1, 1, options_.classes}) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The network {} makes {} of an image, but there are {} classes: it must make 1x1x{}.",
                            options_.name, describe(network_.result()), options_.classes, options_.classes));
  }
  logits_ = Image(device, {.channelFormat = ImageFeatureChannelFormat::float32,
                           .width = 1,
                           .height = 1,
                           .featureChannels = options_.classes,
                           .numberOfImages = maximumRows});
  logits_.setLabel("logits");
  logitRows_ = rowsOf(logits_);
  logitsAllocator_ = std::make_shared<ContainerAllocator>(logits_);
  loss_.label = "loss";
}

std::size_t GraphModel::minimumRows() const {
  const bool needsTwo = std::ranges::any_of(network_.layers, [](const Layer& layer) {
    return layer.kind == LayerKind::batchNormalization && layer.shape.height * layer.shape.width == 1;
  });
  return needsTwo ? 2 : 1;
}

GraphParts GraphModel::parts() const {
  return {.network = network_,
          .sources = sources_,
          .logits = logitsAllocator_,
          .labelSmoothing = labelSmoothing_,
          .seed = seed_,
          .trainedImages = images_};
}

NNGraph& GraphModel::trainingGraph() {
  if (!training_) training_.emplace(makeTrainingGraph(context_.device, parts()));
  return *training_;
}

NNGraph& GraphModel::inferenceGraph() {
  if (!inference_) {
    inference_.emplace(makeInferenceGraph(context_.device, parts()));
  } else if (inferenceIsStale_) {
    inference_->reloadFromDataSources();
  }
  inferenceIsStale_ = false;
  return *inference_;
}

std::vector<TrainedTensor*> GraphModel::trainedTensors() const {
  std::vector<TrainedTensor*> all;
  for (const auto& source : sources_) {
    if (!source) continue;
    const auto tensors = source->tensors();
    all.insert(all.end(), tensors.begin(), tensors.end());
  }
  return all;
}

/// Parameters have been written: graphs are to be made of them.
void GraphModel::begin(std::uint64_t images) {
  images_ = images;
  training_.reset();
  inference_.reset();
}

void GraphModel::initialize(const CommandQueue& queue, std::uint32_t seed) {
  seed_ = seed;
  CommandBuffer commands = queue.makeCommandBuffer();
  commands.setLabel("initialization");
  std::vector<std::pair<TrainedTensor*, Matrix>> drawn;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i]) continue;
    for (TrainedTensor* const tensor : sources_[i]->tensors()) {
      const bool isOne = tensor->name().ends_with(".gamma") || tensor->name().ends_with(".running_variance");
      fill(*tensor, isOne ? 1.0f : 0.0f);
      tensor->resetOptimizer();
    }
    const auto weights = std::dynamic_pointer_cast<ConvolutionSource>(sources_[i]);
    if (!weights) continue;
    const std::size_t inputs = weights->inputsOfAnOutput();
    const Matrix matrix(context_.device,
                        {.rows = network_.layers[i].shape.channels, .columns = inputs, .rowBytes = inputs * 4});
    matrix.setLabel(weights->weightTensor().name());
    encodeNormal(commands, context_.device, weightKey(seed, drawn.size() + 1),
                 1 / (varianceKeptAfter(network_, i) * static_cast<double>(inputs)), matrix);
    drawn.emplace_back(&weights->weightTensor(), matrix);
  }
  commands.commit();
  for (const auto& [tensor, matrix] : drawn) tensor->write(matrix.read<float>());
  begin(0);
}

void GraphModel::encodeLoss(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results,
                            float smoothing) {
  if (!results.losses && !results.correct) return;
  loss_.weight = 1.0f / static_cast<float>(batch.rows());
  loss_.labelSmoothing = smoothing;
  loss_.encode(commandBuffer, {.sourceMatrix = firstRows(logitRows_, batch.rows()),
                               .labelVector = batch.labels,
                               .resultLossVector = results.losses,
                               .resultCorrectVector = results.correct});
}

void GraphModel::encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results,
                                    float learningRate) {
  context_.learningRate = learningRate;
  trainingGraph().encodeBatch(commandBuffer, {.sourceImages = {batch.images}, .sourceStates = {batch.targets}});
  // The graph's own loss is for its gradient; this kernel also counts what is right, and writes where it is told to.
  encodeLoss(commandBuffer, batch, results, labelSmoothing_);
  images_ += batch.rows();
  inferenceIsStale_ = true;
}

void GraphModel::encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) {
  inferenceGraph().encodeBatch(commandBuffer, {.sourceImages = {batch.images}});
  encodeLoss(commandBuffer, batch, results, /*smoothing=*/0);
  if (!results.logits) return;
  const MatrixCopy copy(context_.device, {.copyRows = batch.rows(), .copyColumns = options_.classes});
  copy.encode(
      commandBuffer,
      {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = logitRows_, .destinationMatrix = results.logits})});
}

std::vector<NamedTensor> GraphModel::tensors() const {
  std::vector<NamedTensor> all;
  for (TrainedTensor* const tensor : trainedTensors()) {
    const auto values = tensor->read();
    all.push_back({.name = tensor->name(), .shape = tensor->shape(), .values = {values.begin(), values.end()}});
  }
  return all;
}

void GraphModel::assign(const std::vector<NamedTensor>& tensors) {
  const auto own = trainedTensors();
  for (TrainedTensor* const tensor : own) tensor->write(tensorOf(tensors, tensor->name(), tensor->shape()).values);
  requireTensors(tensors, own.size());
  begin(0);
}

std::vector<NamedTensor> GraphModel::state() const {
  std::vector<NamedTensor> all;
  for (TrainedTensor* const tensor : trainedTensors()) tensor->appendState(all);
  return all;
}

void GraphModel::restore(const Checkpoint& checkpoint, std::uint64_t images) {
  for (TrainedTensor* const tensor : trainedTensors()) tensor->restore(checkpoint);
  begin(images);
}

std::vector<std::pair<std::string, std::vector<float>>> GraphModel::intermediates() const {
  return {{"the logits", logitRows_.read<float>()}};
}

}  // namespace metalloid::training
