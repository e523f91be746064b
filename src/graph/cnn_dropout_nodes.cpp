#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_dropout.hpp>
#include <metalloid/cnn_dropout_nodes.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace metalloid {
namespace {

using detail::parametersOf;
using detail::StateKind;

struct P {
  CNNDropoutArguments settings;
  std::uint64_t nextImage = 0;  // of a forward filter
};

using Class = detail::ParameterFilter<P>::Class;

std::unique_ptr<detail::GraphKernel> makeDropout(const Device& device, const P& parameters) {
  CNNDropout kernel(device, parameters.settings);
  kernel.nextImage = parameters.nextImage;
  return detail::single(std::move(kernel));
}
std::unique_ptr<detail::GraphKernel> makeDropoutGradient(const Device& device, const P& parameters) {
  return detail::single(CNNDropoutGradient(device, parameters.settings));
}

constexpr Class kGradient{.name = "CNNDropoutGradientNode", .makeKernel = makeDropoutGradient, .isGradient = true};
constexpr Class kForward{
    .name = "CNNDropoutNode", .state = StateKind::gradient, .makeKernel = makeDropout, .gradient = &kGradient};

/// The kernel's own check, when the node is made: no device computes with it.
P checked(const CNNDropoutArguments& settings, std::uint64_t nextImage = 0) {
  static_cast<void>(CNNDropout(Device::named("null"), settings));
  return {.settings = settings, .nextImage = nextImage};
}

}  // namespace

CNNDropoutNode::CNNDropoutNode(const Arguments& a)
    : NNFilterNode(detail::makeForward(
          kForward, a.source,
          checked({.keepProbability = a.keepProbability, .seed = a.seed, .maskStrideInPixels = a.maskStrideInPixels},
                  a.nextImage))) {}
float CNNDropoutNode::keepProbability() const { return parametersOf<P>(*this).settings.keepProbability; }
std::uint64_t CNNDropoutNode::seed() const { return parametersOf<P>(*this).settings.seed; }
Size CNNDropoutNode::maskStrideInPixels() const { return parametersOf<P>(*this).settings.maskStrideInPixels; }
std::uint64_t CNNDropoutNode::nextImage() const { return parametersOf<P>(*this).nextImage; }

CNNDropoutGradientNode::CNNDropoutGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kGradient.name});
}
CNNDropoutGradientNode::CNNDropoutGradientNode(const Arguments& a)
    : NNGradientFilterNode(detail::makeGradient(
          kGradient, a.sourceGradient, a.sourceImage, a.gradientState,
          checked(
              {.keepProbability = a.keepProbability, .seed = a.seed, .maskStrideInPixels = a.maskStrideInPixels}))) {}
float CNNDropoutGradientNode::keepProbability() const { return parametersOf<P>(*this).settings.keepProbability; }
std::uint64_t CNNDropoutGradientNode::seed() const { return parametersOf<P>(*this).settings.seed; }
Size CNNDropoutGradientNode::maskStrideInPixels() const { return parametersOf<P>(*this).settings.maskStrideInPixels; }

}  // namespace metalloid
