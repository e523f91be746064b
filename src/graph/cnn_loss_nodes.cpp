#include "graph/parameter_filter.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_loss.hpp>
#include <metalloid/cnn_loss_nodes.hpp>
#include <metalloid/nn_forward_loss.hpp>

#include <utility>

namespace metalloid {
namespace detail {
namespace {

/// The kernel's own check, when the node is made: no device computes with it.
const CNNLossDescriptor& checked(const CNNLossDescriptor& descriptor) {
  static_cast<void>(CNNLoss(Device::named("null"), descriptor));
  return descriptor;
}

// --- A loss that is its own gradient ---------------------------------------------------------------------------------

class LossFilter final : public Filter {
 public:
  explicit LossFilter(const CNNLossDescriptor& descriptor) : descriptor_(checked(descriptor)) {}

  std::string_view className() const override { return "CNNLossNode"; }
  bool isItsOwnGradient() const override { return true; }
  bool writesLoss() const override { return true; }
  bool hasOneGradient() const override { return false; }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(CNNLoss(device, descriptor_));
  }

 private:
  CNNLossDescriptor descriptor_;
};

class InitialGradientFilter final : public Filter {
 public:
  std::string_view className() const override { return "NNInitialGradientNode"; }
  bool isItsOwnGradient() const override { return true; }
  bool hasOneGradient() const override { return false; }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(NNInitialGradient(device));
  }
};

// --- A loss with a gradient ------------------------------------------------------------------------------------------

class ForwardLossBase : public Filter {
 public:
  explicit ForwardLossBase(const CNNLossDescriptor& loss) : descriptor(checked(loss)) {}
  const CNNLossDescriptor descriptor;
  std::shared_ptr<NNLossCallback> callBack;
};

/// Asks the callback for the weight before each encode.
template <class K>
class CallBackKernel final : public SingleKernel<K> {
 public:
  CallBackKernel(K kernel, std::shared_ptr<NNLossCallback> callBack, std::size_t source)
      : SingleKernel<K>(std::move(kernel)), callBack_(std::move(callBack)), source_(source) {}
  bool takesImagesOneByOne() const override { return callBack_ != nullptr; }
  void encode(CommandBuffer& commandBuffer, const ImageOperands& operands) override {
    if (callBack_)
      this->kernel().weight = callBack_->scalarWeight(operands.sources[source_].front(), operands.destinations.front());
    SingleKernel<K>::encode(commandBuffer, operands);
  }

 private:
  std::shared_ptr<NNLossCallback> callBack_;
  std::size_t source_;  // which source holds the predictions
};

class LossGradientFilter final : public ForwardLossBase {
 public:
  LossGradientFilter(const CNNLossDescriptor& loss, bool labels) : ForwardLossBase(loss), isForLabels(labels) {}

  std::string_view className() const override { return "NNLossGradientNode"; }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& forward) const override { return forward.className() == "NNForwardLossNode"; }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    NNLossGradient kernel(device, descriptor);
    kernel.computeLabelGradients = isForLabels;
    return std::make_unique<CallBackKernel<NNLossGradient>>(std::move(kernel), callBack, 1);
  }

  const bool isForLabels;
};

class ForwardLossFilter final : public ForwardLossBase {
 public:
  using ForwardLossBase::ForwardLossBase;

  std::string_view className() const override { return "NNForwardLossNode"; }
  ResultChannels resultChannels(SourceChannels& channels) const override {
    channels.requireEqual(0, 1);  // predictions and labels
    return descriptor.reductionType == CNNReductionType::none ? ResultChannels::ofSource(0) : ResultChannels::number(1);
  }
  StateKind stateKind() const override { return StateKind::gradient; }
  /// Labels from outside have no use for a gradient, and a training graph would end there too.
  bool isDifferentiated(std::size_t source) const override { return source == 0 || sources[source]->filter; }

  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    std::vector<GradientFilter> made;
    for (const bool isForLabels : {false, true}) {
      auto filter = std::make_unique<LossGradientFilter>(descriptor, isForLabels);
      filter->sources = sources;
      filter->sources.insert(filter->sources.begin(), gradient);
      filter->sourceStates = {Ref<GraphNode>(&self)};
      filter->callBack = callBack;
      const auto node = makeFilter(std::move(filter));
      made.push_back({Ref<GraphNode>(static_cast<GraphNode*>(node.get())), isForLabels ? std::size_t{1} : 0});
    }
    return made;
  }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return std::make_unique<CallBackKernel<NNForwardLoss>>(NNForwardLoss(device, descriptor), callBack, 0);
  }
};

Ref<RefCounted> makeLoss(const CNNLossNode::Arguments& arguments) {
  auto filter = std::make_unique<LossFilter>(arguments.lossDescriptor);
  filter->sources = {vertex(arguments.source, "source", *filter)};
  filter->sourceStates = {makeRef<GraphNode>(GraphNode::Kind::labels)};
  return makeFilter(std::move(filter));
}

/// The images of an argument list, where the last may be nil.
std::vector<Ref<GraphNode>> vertices(std::initializer_list<std::pair<const NNImageNode*, const char*>> needed,
                                     const NNImageNode& weights, const Filter& reader) {
  std::vector<Ref<GraphNode>> all;
  for (const auto& [node, role] : needed) all.push_back(vertex(*node, role, reader));
  if (weights) all.push_back(vertex(weights, "weights", reader));
  return all;
}

void requireNumber(std::size_t count, std::size_t least, const char* className, const char* what) {
  if (count == least || count == least + 1) return;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("A {} reads {}, but {} sources are given.", className, what, count));
}

NNForwardLossNode::Arguments flat(const NNForwardLossNode::SourcesArguments& arguments) {
  const auto& sources = arguments.sources;
  requireNumber(sources.size(), 2, "NNForwardLossNode", "predictions, labels and perhaps weights");
  return {.source = sources[0],
          .labels = sources[1],
          .weights = sources.size() > 2 ? sources[2] : NNImageNode(),
          .lossDescriptor = arguments.lossDescriptor};
}

NNLossGradientNode::Arguments flat(const NNLossGradientNode::SourcesArguments& arguments) {
  const auto& sources = arguments.sources;
  requireNumber(sources.size(), 3, "NNLossGradientNode", "a gradient, predictions, labels and perhaps weights");
  return {.sourceGradient = sources[0],
          .sourceImage = sources[1],
          .labels = sources[2],
          .weights = sources.size() > 3 ? sources[3] : NNImageNode(),
          .gradientState = arguments.gradientState,
          .lossDescriptor = arguments.lossDescriptor,
          .isLabelsGradientFilter = arguments.isLabelsGradientFilter};
}

const CNNLossDescriptor& descriptorOf(const NNFilterNode& node) { return filterAs<ForwardLossBase>(node).descriptor; }

}  // namespace
}  // namespace detail

using detail::descriptorOf;
using detail::filterAs;
using detail::ForwardLossBase;

CNNLossNode::CNNLossNode(const Arguments& arguments) : NNFilterNode(detail::makeLoss(arguments)) {}

NNLabelsNode CNNLossNode::inputLabels() const {
  return NNLabelsNode(detail::implementation(*this).filter->sourceStates.front()->stateNode());
}

NNForwardLossNode::NNForwardLossNode(const Arguments& arguments)
    : NNFilterNode([&] {
        auto filter = std::make_unique<detail::ForwardLossFilter>(arguments.lossDescriptor);
        filter->sources = detail::vertices({{&arguments.source, "source"}, {&arguments.labels, "labels"}},
                                           arguments.weights, *filter);
        return detail::makeFilter(std::move(filter));
      }()) {}
NNForwardLossNode::NNForwardLossNode(const SourcesArguments& arguments) : NNForwardLossNode(detail::flat(arguments)) {}

NNLossGradientNode::NNLossGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {"NNLossGradientNode"});
}
NNLossGradientNode::NNLossGradientNode(const Arguments& arguments)
    : NNGradientFilterNode([&] {
        auto filter =
            std::make_unique<detail::LossGradientFilter>(arguments.lossDescriptor, arguments.isLabelsGradientFilter);
        filter->sources = detail::vertices({{&arguments.sourceGradient, "sourceGradient"},
                                            {&arguments.sourceImage, "sourceImage"},
                                            {&arguments.labels, "labels"}},
                                           arguments.weights, *filter);
        if (arguments.gradientState)
          filter->sourceStates = {detail::vertex(arguments.gradientState, "gradientState", *filter)};
        return detail::makeFilter(std::move(filter));
      }()) {}
NNLossGradientNode::NNLossGradientNode(const SourcesArguments& arguments)
    : NNLossGradientNode(detail::flat(arguments)) {}

CNNLossType NNForwardLossNode::lossType() const { return descriptorOf(*this).lossType; }
CNNReductionType NNForwardLossNode::reductionType() const { return descriptorOf(*this).reductionType; }
bool NNForwardLossNode::reduceAcrossBatch() const { return descriptorOf(*this).reduceAcrossBatch; }
std::size_t NNForwardLossNode::numberOfClasses() const { return descriptorOf(*this).numberOfClasses; }
float NNForwardLossNode::weight() const { return descriptorOf(*this).weight; }
float NNForwardLossNode::labelSmoothing() const { return descriptorOf(*this).labelSmoothing; }
float NNForwardLossNode::epsilon() const { return descriptorOf(*this).epsilon; }
float NNForwardLossNode::delta() const { return descriptorOf(*this).delta; }
const std::shared_ptr<NNLossCallback>& NNForwardLossNode::propertyCallBack() const {
  return filterAs<ForwardLossBase>(*this).callBack;
}
void NNForwardLossNode::setPropertyCallBack(std::shared_ptr<NNLossCallback> callBack) const {
  filterAs<ForwardLossBase>(*this).callBack = std::move(callBack);
}

CNNLossType NNLossGradientNode::lossType() const { return descriptorOf(*this).lossType; }
CNNReductionType NNLossGradientNode::reductionType() const { return descriptorOf(*this).reductionType; }
bool NNLossGradientNode::reduceAcrossBatch() const { return descriptorOf(*this).reduceAcrossBatch; }
std::size_t NNLossGradientNode::numberOfClasses() const { return descriptorOf(*this).numberOfClasses; }
float NNLossGradientNode::weight() const { return descriptorOf(*this).weight; }
float NNLossGradientNode::labelSmoothing() const { return descriptorOf(*this).labelSmoothing; }
float NNLossGradientNode::epsilon() const { return descriptorOf(*this).epsilon; }
float NNLossGradientNode::delta() const { return descriptorOf(*this).delta; }
const std::shared_ptr<NNLossCallback>& NNLossGradientNode::propertyCallBack() const {
  return filterAs<ForwardLossBase>(*this).callBack;
}
void NNLossGradientNode::setPropertyCallBack(std::shared_ptr<NNLossCallback> callBack) const {
  filterAs<ForwardLossBase>(*this).callBack = std::move(callBack);
}

bool NNLossGradientNode::isLabelsGradientFilter() const {
  return filterAs<detail::LossGradientFilter>(*this).isForLabels;
}

NNInitialGradientNode::NNInitialGradientNode(const Arguments& arguments)
    : NNFilterNode([&] {
        auto filter = std::make_unique<detail::InitialGradientFilter>();
        filter->sources = {detail::vertex(arguments.source, "source", *filter)};
        return detail::makeFilter(std::move(filter));
      }()) {}

}  // namespace metalloid
