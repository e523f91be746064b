#include "core/format.hpp"
#include "graph/graph_node.hpp"
#include "math/neuron.hpp"

#include <metalloid/cnn_neuron_nodes.hpp>
#include <metalloid/error.hpp>

#include <utility>

namespace metalloid {
namespace detail {
namespace {

void check(const NNNeuronDescriptor& descriptor, std::string_view className) {
  if (descriptor.neuronType != CNNNeuronType::pReLU) {
    math::checkNeuronParameters(descriptor.neuronType, descriptor.a, descriptor.b, descriptor.c);
  } else if (descriptor.data.empty()) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The slopes of a {} are empty.", className));
  }
}

/// A slope for each channel; there may be more slopes.
void requireSlopes(SourceChannels& channels, std::size_t source, const NNNeuronDescriptor& descriptor) {
  if (descriptor.neuronType == CNNNeuronType::pReLU)
    channels.requireAtMost(source, descriptor.data.size(), "its slopes are for");
}

class NeuronGradientFilter final : public Filter {
 public:
  explicit NeuronGradientFilter(NNNeuronDescriptor descriptor) : descriptor_(std::move(descriptor)) {
    check(descriptor_, className());
  }

  std::string_view className() const override { return "CNNNeuronGradientNode"; }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& forward) const override { return forward.neuron().has_value(); }
  ResultChannels resultChannels(SourceChannels& channels) const override {
    requireSlopes(channels, 1, descriptor_);
    return Filter::resultChannels(channels);
  }
  std::optional<NNNeuronDescriptor> neuronGradient() const override { return descriptor_; }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(CNNNeuronGradient(device, descriptor_));
  }

  const NNNeuronDescriptor& descriptor() const { return descriptor_; }

 private:
  NNNeuronDescriptor descriptor_;
};

class NeuronFilter final : public Filter {
 public:
  NeuronFilter(std::string_view className, NNNeuronDescriptor descriptor)
      : className_(className), descriptor_(std::move(descriptor)) {
    check(descriptor_, className);
  }

  std::string_view className() const override { return className_; }
  StateKind stateKind() const override { return StateKind::gradient; }
  ResultChannels resultChannels(SourceChannels& channels) const override {
    requireSlopes(channels, 0, descriptor_);
    return Filter::resultChannels(channels);
  }
  std::optional<NNNeuronDescriptor> neuron() const override { return descriptor_; }

  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    const CNNNeuronGradientNode node({.sourceGradient = gradient->imageNode(),
                                      .sourceImage = sources.front()->imageNode(),
                                      .gradientState = NNGradientStateNode(self.stateNode()),
                                      .descriptor = descriptor_});
    return {{Ref<GraphNode>(&implementation(node)), 0}};
  }

  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    return single(CNNNeuron(device, descriptor_));
  }

  const NNNeuronDescriptor& descriptor() const { return descriptor_; }

 private:
  std::string_view className_;  // of static storage
  NNNeuronDescriptor descriptor_;
};

}  // namespace
}  // namespace detail

CNNNeuronNode::CNNNeuronNode(const char* className, const Arguments& arguments)
    : NNFilterNode([&] {
        auto filter = std::make_unique<detail::NeuronFilter>(className, arguments.descriptor);
        filter->sources = {detail::vertex(arguments.source, "source", *filter)};
        return detail::makeFilter(std::move(filter));
      }()) {}

float CNNNeuronNode::a() const { return detail::filterAs<detail::NeuronFilter>(*this).descriptor().a; }
float CNNNeuronNode::b() const { return detail::filterAs<detail::NeuronFilter>(*this).descriptor().b; }
float CNNNeuronNode::c() const { return detail::filterAs<detail::NeuronFilter>(*this).descriptor().c; }

CNNNeuronGradientNode::CNNNeuronGradientNode(const Arguments& arguments)
    : NNGradientFilterNode([&] {
        auto filter = std::make_unique<detail::NeuronGradientFilter>(arguments.descriptor);
        filter->sources = {detail::vertex(arguments.sourceGradient, "sourceGradient", *filter),
                           detail::vertex(arguments.sourceImage, "sourceImage", *filter)};
        filter->sourceStates = {detail::vertex(arguments.gradientState, "gradientState", *filter)};
        return detail::makeFilter(std::move(filter));
      }()) {}

CNNNeuronGradientNode::CNNNeuronGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node) {
  if (node && !dynamic_cast<detail::NeuronGradientFilter*>(detail::implementation(node).filter.get())) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("{} is no CNNNeuronGradientNode.", detail::implementation(node).name()));
  }
}

const NNNeuronDescriptor& CNNNeuronGradientNode::descriptor() const {
  return detail::filterAs<detail::NeuronGradientFilter>(*this).descriptor();
}

}  // namespace metalloid
