#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_local_normalization.hpp>
#include <metalloid/cnn_local_normalization_nodes.hpp>

#include <utility>

namespace metalloid {
namespace {

using detail::GraphKernel;
using detail::parametersOf;
using detail::StateKind;

/// Of all three; each uses what it has.
struct P {
  std::size_t width = 5;  // or the number of channels
  std::size_t height = 5;
  float alpha = 1, beta = 5, delta = 1;
  float p0 = 1, pm = 0, ps = 1;
};

constexpr P contrast(float alpha) { return {.alpha = alpha, .beta = 0.5F, .delta = 1.0F / 1024}; }

using Class = detail::ParameterFilter<P>::Class;

template <class K>
std::unique_ptr<GraphKernel> configured(K kernel, const P& p) {
  kernel.alpha = p.alpha;
  kernel.beta = p.beta;
  kernel.delta = p.delta;
  if constexpr (requires { kernel.p0; }) {
    kernel.p0 = p.p0;
    kernel.pm = p.pm;
    kernel.ps = p.ps;
  }
  return detail::single(std::move(kernel));
}
template <class K>
std::unique_ptr<GraphKernel> makeSpatial(const Device& device, const P& p) {
  return configured(K(device, p.width, p.height), p);
}
template <class K>
std::unique_ptr<GraphKernel> makeCrossChannel(const Device& device, const P& p) {
  return configured(K(device, p.width), p);
}

constexpr Class kSpatialGradient{.name = "CNNSpatialNormalizationGradientNode",
                                 .makeKernel = makeSpatial<CNNSpatialNormalizationGradient>,
                                 .isGradient = true};
constexpr Class kSpatial{.name = "CNNSpatialNormalizationNode",
                         .state = StateKind::gradient,
                         .makeKernel = makeSpatial<CNNSpatialNormalization>,
                         .gradient = &kSpatialGradient};
constexpr Class kContrastGradient{.name = "CNNLocalContrastNormalizationGradientNode",
                                  .makeKernel = makeSpatial<CNNLocalContrastNormalizationGradient>,
                                  .isGradient = true};
constexpr Class kContrast{.name = "CNNLocalContrastNormalizationNode",
                          .state = StateKind::gradient,
                          .makeKernel = makeSpatial<CNNLocalContrastNormalization>,
                          .gradient = &kContrastGradient};
constexpr Class kCrossChannelGradient{.name = "CNNCrossChannelNormalizationGradientNode",
                                      .makeKernel = makeCrossChannel<CNNCrossChannelNormalizationGradient>,
                                      .isGradient = true};
constexpr Class kCrossChannel{.name = "CNNCrossChannelNormalizationNode",
                              .state = StateKind::gradient,
                              .makeKernel = makeCrossChannel<CNNCrossChannelNormalization>,
                              .gradient = &kCrossChannelGradient};

/// `p` with a window of this size.
P sized(P p, std::size_t width, std::size_t height, std::string_view className) {
  p.width = detail::positive(width, "kernelSize", className);
  p.height = detail::positive(height, "kernelSize", className);
  return p;
}

detail::Ref<detail::RefCounted> forwardNode(const Class& nodeClass, const CNNNormalizationNode::Arguments& a,
                                            const P& p = {}) {
  return detail::makeForward(nodeClass, a.source, sized(p, a.kernelSize, a.kernelSize, nodeClass.name));
}

template <class Arguments>
detail::Ref<detail::RefCounted> gradientNode(const Class& nodeClass, const Arguments& a, std::size_t width,
                                             std::size_t height, const P& p = {}) {
  return detail::makeGradient(nodeClass, a.sourceGradient, a.sourceImage, a.gradientState,
                              sized(p, width, height, nodeClass.name));
}

}  // namespace

CNNSpatialNormalizationNode::CNNSpatialNormalizationNode(const Arguments& arguments)
    : CNNNormalizationNode(forwardNode(kSpatial, arguments)) {}
CNNLocalContrastNormalizationNode::CNNLocalContrastNormalizationNode(const Arguments& arguments)
    : CNNNormalizationNode(forwardNode(kContrast, arguments, contrast(1))) {}
CNNCrossChannelNormalizationNode::CNNCrossChannelNormalizationNode(const Arguments& arguments)
    : CNNNormalizationNode(forwardNode(kCrossChannel, arguments)) {}

CNNSpatialNormalizationGradientNode::CNNSpatialNormalizationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kSpatialGradient.name});
}
CNNSpatialNormalizationGradientNode::CNNSpatialNormalizationGradientNode(const Arguments& a)
    : NNGradientFilterNode(gradientNode(kSpatialGradient, a, a.kernelSize, a.kernelSize)) {}
CNNLocalContrastNormalizationGradientNode::CNNLocalContrastNormalizationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kContrastGradient.name});
}
CNNLocalContrastNormalizationGradientNode::CNNLocalContrastNormalizationGradientNode(const Arguments& a)
    : NNGradientFilterNode(gradientNode(kContrastGradient, a, a.kernelWidth, a.kernelHeight, contrast(0))) {}
CNNCrossChannelNormalizationGradientNode::CNNCrossChannelNormalizationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kCrossChannelGradient.name});
}
CNNCrossChannelNormalizationGradientNode::CNNCrossChannelNormalizationGradientNode(const Arguments& a)
    : NNGradientFilterNode(gradientNode(kCrossChannelGradient, a, a.kernelSize, a.kernelSize)) {}

float CNNNormalizationNode::alpha() const { return parametersOf<P>(*this).alpha; }
void CNNNormalizationNode::setAlpha(float value) const { parametersOf<P>(*this).alpha = value; }
float CNNNormalizationNode::beta() const { return parametersOf<P>(*this).beta; }
void CNNNormalizationNode::setBeta(float value) const { parametersOf<P>(*this).beta = value; }
float CNNNormalizationNode::delta() const { return parametersOf<P>(*this).delta; }
void CNNNormalizationNode::setDelta(float value) const { parametersOf<P>(*this).delta = value; }
std::size_t CNNSpatialNormalizationNode::kernelWidth() const { return parametersOf<P>(*this).width; }
void CNNSpatialNormalizationNode::setKernelWidth(std::size_t value) const { parametersOf<P>(*this).width = value; }
std::size_t CNNSpatialNormalizationNode::kernelHeight() const { return parametersOf<P>(*this).height; }
void CNNSpatialNormalizationNode::setKernelHeight(std::size_t value) const { parametersOf<P>(*this).height = value; }
std::size_t CNNLocalContrastNormalizationNode::kernelWidth() const { return parametersOf<P>(*this).width; }
void CNNLocalContrastNormalizationNode::setKernelWidth(std::size_t value) const {
  parametersOf<P>(*this).width = value;
}
std::size_t CNNLocalContrastNormalizationNode::kernelHeight() const { return parametersOf<P>(*this).height; }
void CNNLocalContrastNormalizationNode::setKernelHeight(std::size_t value) const {
  parametersOf<P>(*this).height = value;
}
float CNNLocalContrastNormalizationNode::p0() const { return parametersOf<P>(*this).p0; }
void CNNLocalContrastNormalizationNode::setP0(float value) const { parametersOf<P>(*this).p0 = value; }
float CNNLocalContrastNormalizationNode::pm() const { return parametersOf<P>(*this).pm; }
void CNNLocalContrastNormalizationNode::setPm(float value) const { parametersOf<P>(*this).pm = value; }
float CNNLocalContrastNormalizationNode::ps() const { return parametersOf<P>(*this).ps; }
void CNNLocalContrastNormalizationNode::setPs(float value) const { parametersOf<P>(*this).ps = value; }
std::size_t CNNCrossChannelNormalizationNode::kernelSizeInFeatureChannels() const {
  return parametersOf<P>(*this).width;
}
void CNNCrossChannelNormalizationNode::setKernelSizeInFeatureChannels(std::size_t value) const {
  parametersOf<P>(*this).width = value;
}
float CNNSpatialNormalizationGradientNode::alpha() const { return parametersOf<P>(*this).alpha; }
void CNNSpatialNormalizationGradientNode::setAlpha(float value) const { parametersOf<P>(*this).alpha = value; }
float CNNSpatialNormalizationGradientNode::beta() const { return parametersOf<P>(*this).beta; }
void CNNSpatialNormalizationGradientNode::setBeta(float value) const { parametersOf<P>(*this).beta = value; }
float CNNSpatialNormalizationGradientNode::delta() const { return parametersOf<P>(*this).delta; }
void CNNSpatialNormalizationGradientNode::setDelta(float value) const { parametersOf<P>(*this).delta = value; }
std::size_t CNNSpatialNormalizationGradientNode::kernelWidth() const { return parametersOf<P>(*this).width; }
void CNNSpatialNormalizationGradientNode::setKernelWidth(std::size_t value) const {
  parametersOf<P>(*this).width = value;
}
std::size_t CNNSpatialNormalizationGradientNode::kernelHeight() const { return parametersOf<P>(*this).height; }
void CNNSpatialNormalizationGradientNode::setKernelHeight(std::size_t value) const {
  parametersOf<P>(*this).height = value;
}
float CNNLocalContrastNormalizationGradientNode::alpha() const { return parametersOf<P>(*this).alpha; }
void CNNLocalContrastNormalizationGradientNode::setAlpha(float value) const { parametersOf<P>(*this).alpha = value; }
float CNNLocalContrastNormalizationGradientNode::beta() const { return parametersOf<P>(*this).beta; }
void CNNLocalContrastNormalizationGradientNode::setBeta(float value) const { parametersOf<P>(*this).beta = value; }
float CNNLocalContrastNormalizationGradientNode::delta() const { return parametersOf<P>(*this).delta; }
void CNNLocalContrastNormalizationGradientNode::setDelta(float value) const { parametersOf<P>(*this).delta = value; }
float CNNLocalContrastNormalizationGradientNode::p0() const { return parametersOf<P>(*this).p0; }
void CNNLocalContrastNormalizationGradientNode::setP0(float value) const { parametersOf<P>(*this).p0 = value; }
float CNNLocalContrastNormalizationGradientNode::pm() const { return parametersOf<P>(*this).pm; }
void CNNLocalContrastNormalizationGradientNode::setPm(float value) const { parametersOf<P>(*this).pm = value; }
float CNNLocalContrastNormalizationGradientNode::ps() const { return parametersOf<P>(*this).ps; }
void CNNLocalContrastNormalizationGradientNode::setPs(float value) const { parametersOf<P>(*this).ps = value; }
std::size_t CNNLocalContrastNormalizationGradientNode::kernelWidth() const { return parametersOf<P>(*this).width; }
std::size_t CNNLocalContrastNormalizationGradientNode::kernelHeight() const { return parametersOf<P>(*this).height; }
std::size_t CNNCrossChannelNormalizationGradientNode::kernelSize() const { return parametersOf<P>(*this).width; }

}  // namespace metalloid
