#include "graph/parameter_filter.hpp"

#include <metalloid/nn_reshape.hpp>
#include <metalloid/nn_reshape_nodes.hpp>

#include <utility>

namespace metalloid {
namespace {

using detail::GraphKernel;
using detail::StateKind;

struct Shape {
  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t channels = 0;
};

using Class = detail::ParameterFilter<Shape>::Class;

/// The kernel takes its shape from the destination; the node knows it.
class ReshapeKernel final : public detail::SingleKernel<NNReshape> {
 public:
  ReshapeKernel(const Device& device, const Shape& shape) : SingleKernel(NNReshape(device)), shape_(shape) {}
  ImageDescriptor sizeDestination(const ImageBatch& sources, const StateBatch& sourceStates) override {
    ImageDescriptor size = kernel().sizeDestination(sources, sourceStates);
    size.width = shape_.width;
    size.height = shape_.height;
    size.featureChannels = shape_.channels;
    return size;
  }

 private:
  Shape shape_;
};

constexpr Class kGradient{.name = "NNReshapeGradientNode",
                          .makeKernel = [](const Device& device, const Shape&) -> std::unique_ptr<GraphKernel> {
                            return detail::single(NNReshapeGradient(device));
                          },
                          .isGradient = true};
constexpr Class kForward{.name = "NNReshapeNode",
                         .state = StateKind::gradient,
                         .makeKernel = [](const Device& device, const Shape& shape) -> std::unique_ptr<GraphKernel> {
                           return std::make_unique<ReshapeKernel>(device, shape);
                         },
                         .gradient = &kGradient};

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
