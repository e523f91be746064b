#include "training/evaluator.hpp"

#include "training/array_parts.hpp"
#include "training/meters.hpp"

#include <utility>

namespace metalloid::training {

Evaluator::Evaluator(Model& model, const CommandQueue& queue, std::size_t maximumSamples)
    : model_(model),
      queue_(queue),
      log_(model.device(), maximumSamples),
      logits_(model.device(), {.rows = maximumSamples, .columns = model.options().classes}) {
  logits_.setLabel("logits of an evaluation");
}

Evaluation Evaluator::evaluate(BatchLoader& loader, const formats::LabelledImages& images,
                               const std::vector<std::uint32_t>& order) {
  const std::size_t batchSize = model_.maximumRows();
  log_.begin(order.size(), batchSize);
  loader.begin(images, {.order = order, .first = 0, .batchSize = batchSize});
  std::size_t first = 0;
  while (const auto batch = loader.next()) {
    CommandBuffer commands = queue_.makeCommandBuffer();
    commands.setLabel("evaluation");
    SampleResults results = log_.results(first, batch->rows());
    results.logits = someRows(logits_, first, batch->rows());
    model_.encodeEvaluation(commands, *batch, results);
    commands.commit();
    first += batch->rows();
  }

  MeanMeter loss;
  AccuracyMeter accuracy;
  for (const auto& sample : log_.read(0, first)) {
    loss.add(sample.loss);
    accuracy.add(sample.isCorrect ? 1 : 0, 1);
  }
  Evaluation result{.loss = loss.mean(), .accuracy = accuracy.accuracy(), .predicted = {}};
  const std::size_t classes = model_.options().classes;
  const auto logits = someRows(logits_, 0, first).read<float>();
  for (std::size_t row = 0; row < first; ++row) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(row * classes);
    // The first of equal largest logits, as the loss kernel counts.
    result.predicted.push_back(
        static_cast<std::uint32_t>(std::max_element(begin, begin + static_cast<std::ptrdiff_t>(classes)) - begin));
  }
  return result;
}

ConfusionMatrix confusionMatrix(const std::vector<std::string>& classNames, const std::vector<std::uint8_t>& labels,
                                const std::vector<std::uint32_t>& predicted) {
  ConfusionMatrix matrix{.classNames = classNames, .counts = {}};
  matrix.counts.resize(classNames.size() * classNames.size());
  for (std::size_t i = 0; i < predicted.size(); ++i) ++matrix.counts[labels[i] * classNames.size() + predicted[i]];
  return matrix;
}

}  // namespace metalloid::training
