#include "graph/convolution_gradient_kernel.hpp"
#include "graph/graph_node.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_convolution.hpp>
#include <metalloid/cnn_convolution_nodes.hpp>
#include <metalloid/cnn_convolution_transpose.hpp>
#include <metalloid/cnn_fully_connected.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace detail {
namespace {

enum class Kind { convolution, fullyConnected, transpose };

/// Weights on the device; the filters of a graph that have one data source share them.
const ConvolutionWeights& weightsOf(const Device& device, std::string_view className,
                                    const std::shared_ptr<CNNConvolutionDataSource>& source,
                                    const BuildContext& context) {
  auto& shared = context.shared(source.get());
  if (!shared) shared = std::make_shared<ConvolutionWeights>(device, className, context.dataSource(source));
  return *std::static_pointer_cast<ConvolutionWeights>(shared);
}

/// A forward kernel of the family.
template <class K>
class ForwardKernel final : public SingleKernel<K> {
 public:
  using SingleKernel<K>::SingleKernel;
  void reload() override { this->kernel().reloadWeightsAndBiasesFromDataSource(); }
};

template <class K>
std::unique_ptr<GraphKernel> gradientKernel(K kernel, bool needsParameters, bool reloads) {
  if (!needsParameters) kernel.gradientOption = CNNConvolutionGradientOption::gradientWithData;
  return std::make_unique<ConvolutionGradientKernel<K>>(std::move(kernel), reloads);
}

class ConvolutionGradientFilter final : public Filter {
 public:
  ConvolutionGradientFilter(Kind kind, std::shared_ptr<CNNConvolutionDataSource> weights)
      : kind_(kind), weights_(std::move(weights)) {}

  std::string_view className() const override {
    switch (kind_) {
      case Kind::fullyConnected:
        return "CNNFullyConnectedGradientNode";
      case Kind::transpose:
        return "CNNConvolutionTransposeGradientNode";
      default:
        return "CNNConvolutionGradientNode";
    }
  }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& forward) const override;
  ResultChannels resultChannels(SourceChannels& channels) const override {
    const CNNConvolutionDescriptor descriptor = weights_->descriptor();
    channels.require(0, descriptor.outputFeatureChannels, "its weights give");
    channels.require(1, descriptor.inputFeatureChannels, "its weights take");
    return ResultChannels::ofSource(1);
  }
  std::string name() const override { return label.empty() && weights_ ? weights_->label() : label; }
  std::optional<NNTrainingStyle> trainingStyle() const override { return style; }
  Kind kind() const { return kind_; }

  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&,
                                          const BuildContext& context) const override;

  NNTrainingStyle style = NNTrainingStyle::UpdateDeviceGPU;

 private:
  Kind kind_;
  std::shared_ptr<CNNConvolutionDataSource> weights_;
};

class ConvolutionFilter final : public Filter {
 public:
  ConvolutionFilter(Kind kind, std::shared_ptr<CNNConvolutionDataSource> weights)
      : kind_(kind), weights_(std::move(weights)) {
    if (!weights_) throw Error(ErrorCode::invalidArgument, fmt::format("The weights of a {} are nil.", className()));
    if (kind == Kind::fullyConnected) padding = NNDefaultPadding::paddingWithMethod(NNPaddingMethod::sizeValidOnly);
  }

  std::string_view className() const override {
    switch (kind_) {
      case Kind::fullyConnected:
        return "CNNFullyConnectedNode";
      case Kind::transpose:
        return "CNNConvolutionTransposeNode";
      default:
        return "CNNConvolutionNode";
    }
  }
  std::string name() const override { return label.empty() ? weights_->label() : label; }
  StateKind stateKind() const override {
    return kind_ == Kind::transpose ? StateKind::convolutionTranspose : StateKind::convolution;
  }
  std::optional<NNTrainingStyle> trainingStyle() const override { return style; }
  Kind kind() const { return kind_; }
  const std::shared_ptr<CNNConvolutionDataSource>& weights() const { return weights_; }

  ResultChannels resultChannels(SourceChannels& channels) const override {
    const CNNConvolutionDescriptor descriptor = weights_->descriptor();
    channels.require(0, descriptor.inputFeatureChannels, "its weights take");
    const std::size_t r = descriptor.subPixelScaleFactor;
    if (r == 0) return ResultChannels::unknown();  // is refused with the kernel
    return ResultChannels::number(descriptor.outputFeatureChannels / (r * r));
  }
  bool canTakeNeuron() const override {
    const auto descriptor = weights_->descriptor();
    return descriptor.fusedNeuronDescriptor.neuronType == CNNNeuronType::none && descriptor.subPixelScaleFactor == 1;
  }

  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    auto filter = std::make_unique<ConvolutionGradientFilter>(kind_, weights_);
    filter->sources = {gradient, sources.front()};
    filter->sourceStates = {Ref<GraphNode>(&self)};
    filter->style = style;
    const auto made = makeFilter(std::move(filter));
    return {{Ref<GraphNode>(static_cast<GraphNode*>(made.get())), 0}};
  }

  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode& self,
                                          const BuildContext& context) const override {
    const auto neuron = context.fusedNeuron(self);
    const auto& weights = weightsOf(device, className(), weights_, context);
    switch (kind_) {
      case Kind::fullyConnected:
        return forward(CNNFullyConnected(device, weights, neuron));
      case Kind::transpose:
        return forward(CNNConvolutionTranspose(device, weights, neuron));
      default:
        return forward(CNNConvolution(device, weights, neuron));
    }
  }

  NNTrainingStyle style = NNTrainingStyle::UpdateDeviceGPU;
  NNConvolutionAccumulatorPrecisionOption precision = NNConvolutionAccumulatorPrecisionOption::float_;

 private:
  template <class K>
  std::unique_ptr<GraphKernel> forward(K kernel) const {
    kernel.accumulatorPrecisionOption = precision;
    return std::make_unique<ForwardKernel<K>>(std::move(kernel));
  }

  Kind kind_;
  std::shared_ptr<CNNConvolutionDataSource> weights_;
};

std::unique_ptr<GraphKernel> ConvolutionGradientFilter::makeKernel(const Device& device, const GraphNode&,
                                                                   const BuildContext& context) const {
  const GraphNode& forward = *sourceStates.front();
  const auto& weights = weightsOf(device, className(), weights_, context);
  const bool needsParameters = style != NNTrainingStyle::UpdateDeviceNone || forward.state.isExported;
  const bool reloads =
      !context.kernelOf(forward) || static_cast<const ConvolutionFilter&>(*forward.filter).weights() != weights_;
  switch (kind_) {
    case Kind::fullyConnected:
      return gradientKernel(CNNFullyConnectedGradient(device, weights), needsParameters, reloads);
    case Kind::transpose:
      return gradientKernel(CNNConvolutionTransposeGradient(device, weights), needsParameters, reloads);
    default:
      return gradientKernel(CNNConvolutionGradient(device, weights), needsParameters, reloads);
  }
}

/// A fully connected layer is a convolution, so that its gradient can be one of either class.
bool ConvolutionGradientFilter::isGradientOf(const Filter& forward) const {
  const auto* const filter = dynamic_cast<const ConvolutionFilter*>(&forward);
  return filter && (filter->kind() == kind_ || (kind_ == Kind::convolution && filter->kind() == Kind::fullyConnected));
}

Ref<RefCounted> makeConvolution(Kind kind, const NNImageNode& source, const NNStateNode& state,
                                const std::shared_ptr<CNNConvolutionDataSource>& weights) {
  auto filter = std::make_unique<ConvolutionFilter>(kind, weights);
  filter->sources = {vertex(source, "source", *filter)};
  if (state) filter->sourceStates = {vertex(state, "convolutionGradientState", *filter)};
  return makeFilter(std::move(filter));
}

Ref<RefCounted> makeGradient(Kind kind, const NNImageNode& sourceGradient, const NNImageNode& sourceImage,
                             const NNStateNode& state, std::shared_ptr<CNNConvolutionDataSource> weights) {
  // Narrowing has made sure that the state is a convolution's.
  if (!weights && state) weights = static_cast<const ConvolutionFilter&>(*implementation(state).filter).weights();
  auto filter = std::make_unique<ConvolutionGradientFilter>(kind, std::move(weights));
  filter->sources = {vertex(sourceGradient, "sourceGradient", *filter), vertex(sourceImage, "sourceImage", *filter)};
  filter->sourceStates = {vertex(state, "convolutionGradientState", *filter)};
  return makeFilter(std::move(filter));
}

/// @throws Error (invalidArgument) unless the node is nil or a gradient of one of these kinds.
void requireGradient(const NNFilterNode& node, std::string_view wanted, std::initializer_list<Kind> kinds) {
  if (!node) return;
  const auto* const filter = dynamic_cast<ConvolutionGradientFilter*>(implementation(node).filter.get());
  if (filter && std::find(kinds.begin(), kinds.end(), filter->kind()) != kinds.end()) return;
  throw Error(ErrorCode::invalidArgument, fmt::format("{} is no {}.", implementation(node).name(), wanted));
}

}  // namespace
}  // namespace detail

using detail::ConvolutionFilter;
using detail::ConvolutionGradientFilter;
using detail::filterAs;
using detail::Kind;

CNNConvolutionNode::CNNConvolutionNode(const Arguments& arguments)
    : CNNConvolutionNode(detail::makeConvolution(Kind::convolution, arguments.source, {}, arguments.weights)) {}
CNNFullyConnectedNode::CNNFullyConnectedNode(const Arguments& arguments)
    : CNNConvolutionNode(detail::makeConvolution(Kind::fullyConnected, arguments.source, {}, arguments.weights)) {}
CNNConvolutionTransposeNode::CNNConvolutionTransposeNode(const Arguments& arguments)
    : CNNConvolutionNode(detail::makeConvolution(Kind::transpose, arguments.source, arguments.convolutionGradientState,
                                                 arguments.weights)) {}

NNConvolutionAccumulatorPrecisionOption CNNConvolutionNode::accumulatorPrecision() const {
  return filterAs<ConvolutionFilter>(*this).precision;
}
void CNNConvolutionNode::setAccumulatorPrecision(NNConvolutionAccumulatorPrecisionOption precision) const {
  filterAs<ConvolutionFilter>(*this).precision = precision;
}
NNTrainingStyle CNNConvolutionNode::trainingStyle() const { return filterAs<ConvolutionFilter>(*this).style; }
void CNNConvolutionNode::setTrainingStyle(NNTrainingStyle style) const {
  filterAs<ConvolutionFilter>(*this).style = style;
}
CNNConvolutionGradientStateNode CNNConvolutionNode::convolutionGradientState() const {
  return CNNConvolutionGradientStateNode(resultState());
}

CNNConvolutionGradientNode::CNNConvolutionGradientNode(const Arguments& arguments)
    : CNNConvolutionGradientNode(detail::makeGradient(Kind::convolution, arguments.sourceGradient,
                                                      arguments.sourceImage, arguments.convolutionGradientState,
                                                      arguments.weights)) {}
CNNFullyConnectedGradientNode::CNNFullyConnectedGradientNode(const Arguments& arguments)
    : CNNConvolutionGradientNode(detail::makeGradient(Kind::fullyConnected, arguments.sourceGradient,
                                                      arguments.sourceImage, arguments.convolutionGradientState,
                                                      arguments.weights)) {}
CNNConvolutionTransposeGradientNode::CNNConvolutionTransposeGradientNode(const Arguments& arguments)
    : CNNConvolutionGradientNode(detail::makeGradient(Kind::transpose, arguments.sourceGradient, arguments.sourceImage,
                                                      arguments.convolutionTransposeGradientState, arguments.weights)) {
}

CNNConvolutionGradientNode::CNNConvolutionGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node) {
  detail::requireGradient(node, "CNNConvolutionGradientNode",
                          {Kind::convolution, Kind::fullyConnected, Kind::transpose});
}
CNNFullyConnectedGradientNode::CNNFullyConnectedGradientNode(const NNFilterNode& node)
    : CNNConvolutionGradientNode(node) {
  detail::requireGradient(node, "CNNFullyConnectedGradientNode", {Kind::fullyConnected});
}
CNNConvolutionTransposeGradientNode::CNNConvolutionTransposeGradientNode(const NNFilterNode& node)
    : CNNConvolutionGradientNode(node) {
  detail::requireGradient(node, "CNNConvolutionTransposeGradientNode", {Kind::transpose});
}

NNTrainingStyle CNNConvolutionGradientNode::trainingStyle() const {
  return filterAs<ConvolutionGradientFilter>(*this).style;
}
void CNNConvolutionGradientNode::setTrainingStyle(NNTrainingStyle style) const {
  filterAs<ConvolutionGradientFilter>(*this).style = style;
}

}  // namespace metalloid
