#pragma once

#include "training/layer_sources.hpp"
#include "training/layered_network.hpp"

#include <metalloid/device.hpp>
#include <metalloid/image.hpp>
#include <metalloid/nn_graph.hpp>

#include <cstdint>
#include <memory>
#include <vector>

/// The graphs of a layered network. Both have one input, the images, and float32 as their format.
namespace metalloid::training {

/// A data source for each layer that has parameters, in the order of the layers; null for the others.
std::vector<std::shared_ptr<LayerSource>> makeSources(const TrainingContext& context, const LayeredNetwork& network);

/// What graphs are made of.
struct GraphParts {
  const LayeredNetwork& network;
  const std::vector<std::shared_ptr<LayerSource>>& sources;
  std::shared_ptr<ImageAllocator> logits;  ///< Makes the images of the logits.
  float labelSmoothing = 0;
  std::uint32_t seed = 0;           ///< Of the masks of dropout.
  std::uint64_t trainedImages = 0;  ///< Images that masks have been drawn for.
};

/// Forward pass, soft-max cross entropy of the labels that the source state holds, gradients and updates. Its result is
/// not needed; it exports the logits. The weights of the labels are to make the loss the mean over the batch.
NNGraph makeTrainingGraph(const Device& device, const GraphParts& parts);

/// The forward pass without dropout and with running statistics, up to the logits.
NNGraph makeInferenceGraph(const Device& device, const GraphParts& parts);

}  // namespace metalloid::training
