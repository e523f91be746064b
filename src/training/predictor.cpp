#include "training/predictor.hpp"

#include "training/array_parts.hpp"

#include <algorithm>

namespace metalloid::training {
namespace {

constexpr std::size_t kBatch = 256;

}  // namespace

Predictor::Predictor(const Device& device, const TrainedNetwork& trained, std::size_t top)
    : queue_(device.makeCommandQueue()),
      model_(makeModel(device, trained.description.network, kBatch)),
      loader_(device, model_->batchLayout(), kBatch, trained.description.normalization),
      softMax_(device),
      findTop_(device, std::min(top, trained.description.network.classes)),
      logits_(device, {.rows = kBatch, .columns = trained.description.network.classes}),
      probabilities_(device, {.rows = kBatch, .columns = trained.description.network.classes}),
      topIndices_(device, {.rows = kBatch, .columns = findTop_.numberOfTopKValues, .dataType = DataType::uInt32}),
      topValues_(device, {.rows = kBatch, .columns = findTop_.numberOfTopKValues}) {
  model_->assign(trained.tensors);
}

std::vector<std::vector<ClassProbability>> Predictor::predict(const formats::LabelledImages& images,
                                                              const std::vector<std::uint32_t>& order) {
  std::vector<std::vector<ClassProbability>> predictions;
  loader_.begin(images, {.order = order, .first = 0, .batchSize = kBatch});
  while (const auto batch = loader_.next()) {
    const std::size_t rows = batch->rows();
    const Matrix logits = firstRows(logits_, rows);
    const Matrix probabilities = firstRows(probabilities_, rows);
    CommandBuffer commands = queue_.makeCommandBuffer();
    commands.setLabel("prediction");
    model_->encodeEvaluation(commands, *batch, {.losses = {}, .correct = {}, .logits = logits});
    softMax_.encode(commands, {.inputMatrix = logits, .resultMatrix = probabilities});
    findTop_.encode(commands, {.inputMatrix = probabilities,
                               .resultIndexMatrix = firstRows(topIndices_, rows),
                               .resultValueMatrix = firstRows(topValues_, rows)});
    commands.commit();
    const auto indices = firstRows(topIndices_, rows).read<std::uint32_t>();
    const auto values = firstRows(topValues_, rows).read<float>();
    const std::size_t top = findTop_.numberOfTopKValues;
    for (std::size_t row = 0; row < rows; ++row) {
      auto& prediction = predictions.emplace_back();
      for (std::size_t k = 0; k < top; ++k) {
        prediction.push_back({.index = indices[row * top + k], .probability = values[row * top + k]});
      }
    }
  }
  return predictions;
}

}  // namespace metalloid::training
