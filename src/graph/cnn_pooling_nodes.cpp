#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_pooling.hpp>
#include <metalloid/cnn_pooling_nodes.hpp>

#include <utility>

namespace metalloid {
namespace {

using detail::KernelShape;
using detail::parametersOf;
using detail::single;
using detail::StateKind;

using Class = detail::ParameterFilter<KernelShape>::Class;

CNNPooling::Descriptor descriptorOf(const KernelShape& shape) {
  return {.kernelWidth = shape.kernelWidth,
          .kernelHeight = shape.kernelHeight,
          .strideInPixelsX = shape.strideInPixelsX,
          .strideInPixelsY = shape.strideInPixelsY};
}

CNNDilatedPoolingDescriptor dilatedDescriptorOf(const KernelShape& shape) {
  return {.kernelWidth = shape.kernelWidth,
          .kernelHeight = shape.kernelHeight,
          .dilationRateX = shape.dilationRateX,
          .dilationRateY = shape.dilationRateY,
          .strideInPixelsX = shape.strideInPixelsX,
          .strideInPixelsY = shape.strideInPixelsY};
}

template <class K>
std::unique_ptr<detail::GraphKernel> pooling(const Device& device, const KernelShape& shape) {
  K kernel(device, descriptorOf(shape));
  kernel.edgeMode = ImageEdgeMode::clamp;
  return single(std::move(kernel));
}

std::unique_ptr<detail::GraphKernel> dilatedPooling(const Device& device, const KernelShape& shape) {
  CNNDilatedPoolingMax kernel(device, dilatedDescriptorOf(shape));
  kernel.edgeMode = ImageEdgeMode::clamp;
  return single(std::move(kernel));
}

template <class K>
std::unique_ptr<detail::GraphKernel> gradientOf(const Device& device, const KernelShape& shape) {
  return single(K(device, descriptorOf(shape)));
}

constexpr Class kMaxGradient{
    .name = "CNNPoolingMaxGradientNode", .makeKernel = gradientOf<CNNPoolingMaxGradient>, .isGradient = true};
constexpr Class kMax{.name = "CNNPoolingMaxNode",
                     .state = StateKind::gradient,
                     .makeKernel = pooling<CNNPoolingMax>,
                     .gradient = &kMaxGradient};
constexpr Class kAverageGradient{
    .name = "CNNPoolingAverageGradientNode", .makeKernel = gradientOf<CNNPoolingAverageGradient>, .isGradient = true};
constexpr Class kAverage{.name = "CNNPoolingAverageNode",
                         .state = StateKind::gradient,
                         .makeKernel = pooling<CNNPoolingAverage>,
                         .gradient = &kAverageGradient};
constexpr Class kL2NormGradient{
    .name = "CNNPoolingL2NormGradientNode", .makeKernel = gradientOf<CNNPoolingL2NormGradient>, .isGradient = true};
constexpr Class kL2Norm{.name = "CNNPoolingL2NormNode",
                        .state = StateKind::gradient,
                        .makeKernel = pooling<CNNPoolingL2Norm>,
                        .gradient = &kL2NormGradient};
constexpr Class kDilatedGradient{
    .name = "CNNDilatedPoolingMaxGradientNode",
    .makeKernel = [](const Device& device, const KernelShape& shape) -> std::unique_ptr<detail::GraphKernel> {
      return single(CNNDilatedPoolingMaxGradient(device, dilatedDescriptorOf(shape)));
    },
    .isGradient = true};
constexpr Class kDilated{.name = "CNNDilatedPoolingMaxNode",
                         .state = StateKind::gradient,
                         .makeKernel = dilatedPooling,
                         .gradient = &kDilatedGradient};

/// The first of the numbers that is given.
std::size_t first(std::size_t number, std::size_t otherwise) { return number ? number : otherwise; }

KernelShape checked(const KernelShape& shape, std::string_view className) {
  detail::positive(shape.kernelWidth, "kernelWidth", className);
  detail::positive(shape.kernelHeight, "kernelHeight", className);
  detail::positive(shape.strideInPixelsX, "strideInPixelsX", className);
  detail::positive(shape.strideInPixelsY, "strideInPixelsY", className);
  detail::positive(shape.dilationRateX, "dilationRateX", className);
  detail::positive(shape.dilationRateY, "dilationRateY", className);
  return shape;
}

detail::Ref<detail::RefCounted> make(const Class& nodeClass, const CNNPoolingNode::Arguments& a) {
  // The stride is the window's size unless it is given.
  const std::size_t width = first(a.kernelWidth, a.filterSize), height = first(a.kernelHeight, a.filterSize);
  const KernelShape shape{.kernelWidth = width,
                          .kernelHeight = height,
                          .strideInPixelsX = first(a.strideInPixelsX, first(a.stride, a.filterSize)),
                          .strideInPixelsY = first(a.strideInPixelsY, first(a.stride, a.filterSize))};
  return detail::makeForward(nodeClass, a.source, checked(shape, nodeClass.name));
}

detail::Ref<detail::RefCounted> makeGradient(const Class& nodeClass, const CNNPoolingGradientNode::Arguments& a) {
  const KernelShape shape{.kernelWidth = a.kernelWidth,
                          .kernelHeight = a.kernelHeight,
                          .strideInPixelsX = a.strideInPixelsX,
                          .strideInPixelsY = a.strideInPixelsY};
  auto node =
      detail::makeGradient(nodeClass, a.sourceGradient, a.sourceImage, a.gradientState, checked(shape, nodeClass.name));
  if (a.paddingPolicy) static_cast<detail::GraphNode&>(*node).filter->padding = a.paddingPolicy;
  return node;
}

}  // namespace

CNNPoolingMaxNode::CNNPoolingMaxNode(const Arguments& arguments) : CNNPoolingNode(make(kMax, arguments)) {}
CNNPoolingAverageNode::CNNPoolingAverageNode(const Arguments& arguments) : CNNPoolingNode(make(kAverage, arguments)) {}
CNNPoolingL2NormNode::CNNPoolingL2NormNode(const Arguments& arguments) : CNNPoolingNode(make(kL2Norm, arguments)) {}

std::size_t CNNPoolingNode::kernelWidth() const { return parametersOf<KernelShape>(*this).kernelWidth; }
std::size_t CNNPoolingNode::kernelHeight() const { return parametersOf<KernelShape>(*this).kernelHeight; }
std::size_t CNNPoolingNode::strideInPixelsX() const { return parametersOf<KernelShape>(*this).strideInPixelsX; }
std::size_t CNNPoolingNode::strideInPixelsY() const { return parametersOf<KernelShape>(*this).strideInPixelsY; }

CNNDilatedPoolingMaxNode::CNNDilatedPoolingMaxNode(const Arguments& a)
    : NNFilterNode(
          detail::makeForward(kDilated, a.source,
                              checked({.kernelWidth = first(a.kernelWidth, a.filterSize),
                                       .kernelHeight = first(a.kernelHeight, a.filterSize),
                                       .strideInPixelsX = first(a.strideInPixelsX, first(a.stride, a.filterSize)),
                                       .strideInPixelsY = first(a.strideInPixelsY, first(a.stride, a.filterSize)),
                                       .dilationRateX = first(a.dilationRateX, first(a.dilationRate, a.filterSize)),
                                       .dilationRateY = first(a.dilationRateY, first(a.dilationRate, a.filterSize))},
                                      kDilated.name))) {}

std::size_t CNNDilatedPoolingMaxNode::dilationRateX() const { return parametersOf<KernelShape>(*this).dilationRateX; }
std::size_t CNNDilatedPoolingMaxNode::dilationRateY() const { return parametersOf<KernelShape>(*this).dilationRateY; }

CNNPoolingMaxGradientNode::CNNPoolingMaxGradientNode(const Arguments& arguments)
    : CNNPoolingGradientNode(makeGradient(kMaxGradient, arguments)) {}
CNNPoolingAverageGradientNode::CNNPoolingAverageGradientNode(const Arguments& arguments)
    : CNNPoolingGradientNode(makeGradient(kAverageGradient, arguments)) {}
CNNPoolingL2NormGradientNode::CNNPoolingL2NormGradientNode(const Arguments& arguments)
    : CNNPoolingGradientNode(makeGradient(kL2NormGradient, arguments)) {}

CNNPoolingMaxGradientNode::CNNPoolingMaxGradientNode(const NNFilterNode& node)
    : CNNPoolingGradientNode(node.implementation()) {
  detail::requireClass(node, {kMaxGradient.name});
}
CNNPoolingAverageGradientNode::CNNPoolingAverageGradientNode(const NNFilterNode& node)
    : CNNPoolingGradientNode(node.implementation()) {
  detail::requireClass(node, {kAverageGradient.name});
}
CNNPoolingL2NormGradientNode::CNNPoolingL2NormGradientNode(const NNFilterNode& node)
    : CNNPoolingGradientNode(node.implementation()) {
  detail::requireClass(node, {kL2NormGradient.name});
}

std::size_t CNNPoolingGradientNode::kernelWidth() const { return parametersOf<KernelShape>(*this).kernelWidth; }
std::size_t CNNPoolingGradientNode::kernelHeight() const { return parametersOf<KernelShape>(*this).kernelHeight; }
std::size_t CNNPoolingGradientNode::strideInPixelsX() const { return parametersOf<KernelShape>(*this).strideInPixelsX; }
std::size_t CNNPoolingGradientNode::strideInPixelsY() const { return parametersOf<KernelShape>(*this).strideInPixelsY; }

CNNDilatedPoolingMaxGradientNode::CNNDilatedPoolingMaxGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kDilatedGradient.name});
}

CNNDilatedPoolingMaxGradientNode::CNNDilatedPoolingMaxGradientNode(const Arguments& a)
    : NNGradientFilterNode(detail::makeGradient(kDilatedGradient, a.sourceGradient, a.sourceImage, a.gradientState,
                                                checked({.kernelWidth = a.kernelWidth,
                                                         .kernelHeight = a.kernelHeight,
                                                         .strideInPixelsX = a.strideInPixelsX,
                                                         .strideInPixelsY = a.strideInPixelsY,
                                                         .dilationRateX = a.dilationRateX,
                                                         .dilationRateY = a.dilationRateY},
                                                        kDilatedGradient.name))) {}

std::size_t CNNDilatedPoolingMaxGradientNode::kernelWidth() const {
  return parametersOf<KernelShape>(*this).kernelWidth;
}
std::size_t CNNDilatedPoolingMaxGradientNode::kernelHeight() const {
  return parametersOf<KernelShape>(*this).kernelHeight;
}
std::size_t CNNDilatedPoolingMaxGradientNode::strideInPixelsX() const {
  return parametersOf<KernelShape>(*this).strideInPixelsX;
}
std::size_t CNNDilatedPoolingMaxGradientNode::strideInPixelsY() const {
  return parametersOf<KernelShape>(*this).strideInPixelsY;
}
std::size_t CNNDilatedPoolingMaxGradientNode::dilationRateX() const {
  return parametersOf<KernelShape>(*this).dilationRateX;
}
std::size_t CNNDilatedPoolingMaxGradientNode::dilationRateY() const {
  return parametersOf<KernelShape>(*this).dilationRateY;
}

}  // namespace metalloid
