#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_softmax.hpp>
#include <metalloid/cnn_softmax_nodes.hpp>

namespace metalloid {
namespace {

using detail::NoParameters;
using detail::StateKind;

using Class = detail::ParameterFilter<NoParameters>::Class;

template <class K>
std::unique_ptr<detail::GraphKernel> make(const Device& device, const NoParameters&) {
  return detail::single(K(device));
}

constexpr Class kSoftMaxGradient{
    .name = "CNNSoftMaxGradientNode", .makeKernel = make<CNNSoftMaxGradient>, .isGradient = true};
constexpr Class kSoftMax{.name = "CNNSoftMaxNode",
                         .state = StateKind::gradient,
                         .makeKernel = make<CNNSoftMax>,
                         .gradient = &kSoftMaxGradient,
                         .gradientReadsResult = true};
constexpr Class kLogSoftMaxGradient{
    .name = "CNNLogSoftMaxGradientNode", .makeKernel = make<CNNLogSoftMaxGradient>, .isGradient = true};
constexpr Class kLogSoftMax{.name = "CNNLogSoftMaxNode",
                            .state = StateKind::gradient,
                            .makeKernel = make<CNNLogSoftMax>,
                            .gradient = &kLogSoftMaxGradient,
                            .gradientReadsResult = true};

detail::Ref<detail::RefCounted> gradientNode(const Class& nodeClass, const CNNSoftMaxGradientNode::Arguments& a) {
  return detail::makeGradient(nodeClass, a.sourceGradient, a.sourceImage, a.gradientState, NoParameters());
}

}  // namespace

CNNSoftMaxNode::CNNSoftMaxNode(const Arguments& arguments)
    : NNFilterNode(detail::makeForward(kSoftMax, arguments.source, NoParameters())) {}
CNNLogSoftMaxNode::CNNLogSoftMaxNode(const Arguments& arguments)
    : NNFilterNode(detail::makeForward(kLogSoftMax, arguments.source, NoParameters())) {}

CNNSoftMaxGradientNode::CNNSoftMaxGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kSoftMaxGradient.name});
}
CNNSoftMaxGradientNode::CNNSoftMaxGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(gradientNode(kSoftMaxGradient, arguments)) {}
CNNLogSoftMaxGradientNode::CNNLogSoftMaxGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kLogSoftMaxGradient.name});
}
CNNLogSoftMaxGradientNode::CNNLogSoftMaxGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(gradientNode(kLogSoftMaxGradient, arguments)) {}

}  // namespace metalloid
