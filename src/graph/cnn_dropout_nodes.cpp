#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_dropout.hpp>
#include <metalloid/cnn_dropout_nodes.hpp>

namespace metalloid {
namespace {

using detail::parametersOf;
using detail::StateKind;
using P = CNNDropoutArguments;

using Class = detail::ParameterFilter<P>::Class;

template <class K>
std::unique_ptr<detail::GraphKernel> make(const Device& device, const P& parameters) {
  return detail::single(K(device, parameters));
}

constexpr Class kGradient{.name = "CNNDropoutGradientNode", .makeKernel = make<CNNDropoutGradient>, .isGradient = true};
constexpr Class kForward{
    .name = "CNNDropoutNode", .state = StateKind::gradient, .makeKernel = make<CNNDropout>, .gradient = &kGradient};

/// The kernel's own check, when the node is made: no device computes with it.
P checked(const P& parameters) {
  CNNDropout(Device::named("null"), parameters);
  return parameters;
}

}  // namespace

CNNDropoutNode::CNNDropoutNode(const Arguments& a)
    : NNFilterNode(detail::makeForward(
          kForward, a.source,
          checked(
              {.keepProbability = a.keepProbability, .seed = a.seed, .maskStrideInPixels = a.maskStrideInPixels}))) {}
float CNNDropoutNode::keepProbability() const { return parametersOf<P>(*this).keepProbability; }
std::uint64_t CNNDropoutNode::seed() const { return parametersOf<P>(*this).seed; }
Size CNNDropoutNode::maskStrideInPixels() const { return parametersOf<P>(*this).maskStrideInPixels; }

CNNDropoutGradientNode::CNNDropoutGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kGradient.name});
}
CNNDropoutGradientNode::CNNDropoutGradientNode(const Arguments& a)
    : NNGradientFilterNode(detail::makeGradient(
          kGradient, a.sourceGradient, a.sourceImage, a.gradientState,
          checked(
              {.keepProbability = a.keepProbability, .seed = a.seed, .maskStrideInPixels = a.maskStrideInPixels}))) {}
float CNNDropoutGradientNode::keepProbability() const { return parametersOf<P>(*this).keepProbability; }
std::uint64_t CNNDropoutGradientNode::seed() const { return parametersOf<P>(*this).seed; }
Size CNNDropoutGradientNode::maskStrideInPixels() const { return parametersOf<P>(*this).maskStrideInPixels; }

}  // namespace metalloid
