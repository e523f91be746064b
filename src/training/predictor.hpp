#pragma once

#include "training/batch_loader.hpp"
#include "training/model.hpp"
#include "training/network_file.hpp"

#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_find_top_k.hpp>
#include <metalloid/matrix_softmax.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace metalloid::training {

/// A class and how probable the network holds it.
struct ClassProbability {
  std::uint32_t index = 0;
  float probability = 0;
};

/// Tells the classes of images with a trained network.
class Predictor {
 public:
  /// `top`: how many classes to name for each image, at most as many as there are.
  Predictor(const Device& device, const TrainedNetwork& trained, std::size_t top);

  /// For each image of `order` its most probable classes, the best first.
  std::vector<std::vector<ClassProbability>> predict(const formats::LabelledImages& images,
                                                     const std::vector<std::uint32_t>& order);

 private:
  CommandQueue queue_;
  std::unique_ptr<Model> model_;
  BatchLoader loader_;
  MatrixSoftMax softMax_;
  MatrixFindTopK findTop_;
  Matrix logits_;
  Matrix probabilities_;
  Matrix topIndices_;
  Matrix topValues_;
};

}  // namespace metalloid::training
