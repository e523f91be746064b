#include "graph/parameter_filter.hpp"
#include "graph/reshape_kernel.hpp"

#include <metalloid/nn_reshape.hpp>
#include <metalloid/nn_reshape_nodes.hpp>

#include <utility>

namespace metalloid {
namespace {

using detail::GraphKernel;
using detail::ReshapeKernel;
using detail::StateKind;
using Shape = detail::ReshapeShape;
using Class = detail::ParameterFilter<Shape>::Class;

constexpr Class kGradient{.name = "NNReshapeGradientNode",
                          .makeKernel = [](const Device& device, const Shape&) -> std::unique_ptr<GraphKernel> {
                            return detail::single(NNReshapeGradient(device));
                          },
                          .isGradient = true};
constexpr Class kForward{
    .name = "NNReshapeNode",
    .state = StateKind::gradient,
    .makeKernel = [](const Device& device, const Shape& shape) -> std::unique_ptr<GraphKernel> {
      return std::make_unique<ReshapeKernel>(NNReshape(device), shape);
    },
    .gradient = &kGradient,
    .resultChannels = [](const Shape& shape) { return detail::ResultChannels::number(shape.channels); }};

}  // namespace

NNReshapeNode::NNReshapeNode(const Arguments& a)
    : NNFilterNode(detail::makeForward(
          kForward, a.source,
          Shape{.width = detail::positive(a.resultWidth, "resultWidth", kForward.name),
                .height = detail::positive(a.resultHeight, "resultHeight", kForward.name),
                .channels = detail::positive(a.resultFeatureChannels, "resultFeatureChannels", kForward.name)})) {}

NNReshapeGradientNode::NNReshapeGradientNode(const NNFilterNode& node) : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kGradient.name});
}
NNReshapeGradientNode::NNReshapeGradientNode(const Arguments& a)
    : NNGradientFilterNode(detail::makeGradient(kGradient, a.sourceGradient, a.sourceImage, a.gradientState, Shape())) {
}

}  // namespace metalloid
