#pragma once

#include "formats/image_dataset.hpp"
#include "training/batch_loader.hpp"
#include "training/html_report.hpp"
#include "training/model.hpp"
#include "training/sample_log.hpp"

#include <metalloid/command_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace metalloid::training {

/// How a network does on some images.
struct Evaluation {
  double loss = 0;                       ///< Mean cross entropy.
  double accuracy = 0;                   ///< 0 to 1.
  std::vector<std::uint32_t> predicted;  ///< The class of the largest logit of each image, in the order asked for.
};

/// Runs a network forward over many images.
class Evaluator {
 public:
  /// `maximumSamples`: most images of one evaluation.
  Evaluator(Model& model, const CommandQueue& queue, std::size_t maximumSamples);

  /// Evaluates the images of `order`, loaded by `loader`, in the model's largest batches. Waits for the device.
  Evaluation evaluate(BatchLoader& loader, const formats::LabelledImages& images,
                      const std::vector<std::uint32_t>& order);

 private:
  Model& model_;
  CommandQueue queue_;
  SampleLog log_;
  Matrix logits_;
};

/// Which class each image has and which one it was given.
ConfusionMatrix confusionMatrix(const std::vector<std::string>& classNames, const std::vector<std::uint8_t>& labels,
                                const std::vector<std::uint32_t>& predicted);

}  // namespace metalloid::training
