#include "training/network_graphs.hpp"

#include "training/initialization.hpp"

#include <metalloid/metalloid.hpp>

#include <utility>

namespace metalloid::training {
namespace {

// Masks draw from other streams than weights, whose numbers are those of layers.
constexpr std::uint64_t kFirstMaskStream = 1 << 16;

std::shared_ptr<NNPadding> paddingOf(Border border) {
  switch (border) {
    case Border::valid:
      return NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeValidOnly);
    case Border::full:
      return NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeFull);
    default:
      return NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeSame);
  }
}

NNNeuronDescriptor neuronOf(const Layer& layer) {
  const NeuronOptions& neuron = layer.neuron;
  if (neuron.type == CNNNeuronType::pReLU)
    return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::vector<float>(layer.shape.channels, neuron.a));
  return {.neuronType = neuron.type, .a = neuron.a, .b = neuron.b, .c = neuron.c};
}

/// The nodes of the layers up to the logits.
class Nodes {
 public:
  Nodes(const GraphParts& parts, bool isTraining) : parts_(parts), isTraining_(isTraining) {
    const auto& layers = parts.network.layers;
    images_.emplace_back(NNImageNode::Arguments{.label = layers.front().name});
    for (std::size_t i = 1; i <= parts.network.logits(); ++i) images_.push_back(add(i));
  }

  const NNImageNode& logits() const { return images_.back(); }
  const NNFilterNode& last() const { return last_; }

 private:
  template <class Source>
  std::shared_ptr<Source> source(std::size_t layer) const {
    return std::dynamic_pointer_cast<Source>(parts_.sources[layer]);
  }

  NNImageNode add(std::size_t index) {
    const Layer& layer = parts_.network.layers[index];
    if (layer.kind == LayerKind::dropout && !isTraining_) return images_[layer.sources.front()];
    last_ = make(index, layer, images_[layer.sources.front()]);
    last_.setLabel(layer.name);
    return last_.resultImage();
  }

  template <class Node>
  NNFilterNode pool(const Layer& layer, const NNImageNode& from) const {
    const Node node(typename Node::Arguments{.source = from,
                                             .kernelWidth = layer.kernelWidth,
                                             .kernelHeight = layer.kernelHeight,
                                             .strideInPixelsX = layer.strideX,
                                             .strideInPixelsY = layer.strideY});
    node.setPaddingPolicy(paddingOf(layer.border));
    return node;
  }

  template <class Node>
  NNFilterNode combine(const Layer& layer) const {
    return Node(
        typename Node::Arguments{.leftSource = images_[layer.sources[0]], .rightSource = images_[layer.sources[1]]});
  }

  NNFilterNode make(std::size_t index, const Layer& layer, const NNImageNode& from) const {
    switch (layer.kind) {
      case LayerKind::convolution: {
        const CNNConvolutionNode node({.source = from, .weights = source<ConvolutionSource>(index)});
        node.setPaddingPolicy(paddingOf(layer.border));
        return node;
      }
      case LayerKind::dense:
        return CNNFullyConnectedNode({.source = from, .weights = source<ConvolutionSource>(index)});
      case LayerKind::neuron:
        return CNNNeuronNode({.source = from, .descriptor = neuronOf(layer)});
      case LayerKind::maxPool:
        return pool<CNNPoolingMaxNode>(layer, from);
      case LayerKind::averagePool:
        return pool<CNNPoolingAverageNode>(layer, from);
      case LayerKind::l2Pool:
        return pool<CNNPoolingL2NormNode>(layer, from);
      case LayerKind::batchNormalization:
        return CNNBatchNormalizationNode({.source = from, .dataSource = source<BatchNormalizationSource>(index)});
      case LayerKind::instanceNormalization:
        return CNNInstanceNormalizationNode({.source = from, .dataSource = source<InstanceNormalizationSource>(index)});
      case LayerKind::groupNormalization:
        return CNNGroupNormalizationNode({.source = from, .dataSource = source<GroupNormalizationSource>(index)});
      case LayerKind::dropout:
        return CNNDropoutNode({.source = from,
                               .keepProbability = 1 - layer.dropped,
                               .seed = weightKey(parts_.seed, kFirstMaskStream + index),
                               .nextImage = parts_.trainedImages});
      case LayerKind::softMax:
        return CNNSoftMaxNode({.source = from});
      case LayerKind::logSoftMax:
        return CNNLogSoftMaxNode({.source = from});
      case LayerKind::spatialMean:
        return NNReductionSpatialMeanNode({.source = from});
      case LayerKind::reshape:
        return NNReshapeNode({.source = from,
                              .resultWidth = layer.shape.width,
                              .resultHeight = layer.shape.height,
                              .resultFeatureChannels = layer.shape.channels});
      case LayerKind::add:
        return combine<NNAdditionNode>(layer);
      case LayerKind::subtract:
        return combine<NNSubtractionNode>(layer);
      case LayerKind::multiply:
        return combine<NNMultiplicationNode>(layer);
      case LayerKind::concatenate: {
        std::vector<NNImageNode> all;
        for (const std::size_t other : layer.sources) all.push_back(images_[other]);
        return NNConcatenationNode({.sources = all});
      }
      case LayerKind::input:
        break;
    }
    return {};
  }

  const GraphParts& parts_;
  bool isTraining_;
  std::vector<NNImageNode> images_;  // of each layer
  NNFilterNode last_;
};

}  // namespace

std::vector<std::shared_ptr<LayerSource>> makeSources(const TrainingContext& context, const LayeredNetwork& network) {
  std::vector<std::shared_ptr<LayerSource>> sources;
  for (const Layer& layer : network.layers) {
    std::shared_ptr<LayerSource> source;
    if (layer.hasWeights()) {
      source = std::make_shared<ConvolutionSource>(context, layer, network.sourceChannels(layer));
    } else if (layer.kind == LayerKind::batchNormalization) {
      source = std::make_shared<BatchNormalizationSource>(context, layer);
    } else if (layer.kind == LayerKind::instanceNormalization) {
      source = std::make_shared<InstanceNormalizationSource>(context, layer);
    } else if (layer.kind == LayerKind::groupNormalization) {
      source = std::make_shared<GroupNormalizationSource>(context, layer);
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

NNGraph makeTrainingGraph(const Device& device, const GraphParts& parts) {
  const Nodes nodes(parts, /*isTraining=*/true);
  nodes.logits().setExportFromGraph(true);
  nodes.logits().setImageAllocator(parts.logits);
  const CNNLossNode loss({.source = nodes.logits(),
                          .lossDescriptor = {.lossType = CNNLossType::softMaxCrossEntropy,
                                             .reductionType = CNNReductionType::sum,
                                             .labelSmoothing = parts.labelSmoothing,
                                             .numberOfClasses = parts.network.result().channels}});
  loss.setLabel("loss");
  NNGraph::SeveralArguments arguments;
  const auto nameGradient = [](const NNFilterNode& gradient, const NNFilterNode& forward, const NNImageNode&,
                               const NNImageNode&) {
    if (forward) gradient.setLabel("gradient of " + forward.label());
  };
  for (const auto& end : loss.trainingGraph({.nodeHandler = nameGradient})) {
    arguments.resultImages.push_back(end.resultImage());
    arguments.resultsAreNeeded.push_back(false);
  }
  NNGraph graph(device, arguments);
  graph.label = "training";
  graph.format = ImageFeatureChannelFormat::float32;
  return graph;
}

NNGraph makeInferenceGraph(const Device& device, const GraphParts& parts) {
  const Nodes nodes(parts, /*isTraining=*/false);
  NNGraph graph(device, {.resultImage = nodes.logits()});
  graph.label = "inference";
  graph.format = ImageFeatureChannelFormat::float32;
  graph.destinationImageAllocator = parts.logits;
  return graph;
}

}  // namespace metalloid::training
