#include "graph/parameter_filter.hpp"

#include "core/format.hpp"

#include <metalloid/cnn_upsampling.hpp>
#include <metalloid/cnn_upsampling_nodes.hpp>

#include <cmath>

namespace metalloid {
namespace {

using detail::parametersOf;
using detail::StateKind;

struct Scale {
  std::size_t x = 1;
  std::size_t y = 1;
  bool alignCorners = false;
};

using Class = detail::ParameterFilter<Scale>::Class;

template <class K>
std::unique_ptr<detail::GraphKernel> make(const Device& device, const Scale& scale) {
  return detail::single(K(device, {.integerScaleFactorX = scale.x, .integerScaleFactorY = scale.y}));
}
std::unique_ptr<detail::GraphKernel> makeBilinear(const Device& device, const Scale& scale) {
  return detail::single(CNNUpsamplingBilinear(
      device, {.integerScaleFactorX = scale.x, .integerScaleFactorY = scale.y, .alignCorners = scale.alignCorners}));
}

constexpr Class kNearestGradient{
    .name = "CNNUpsamplingNearestGradientNode", .makeKernel = make<CNNUpsamplingNearestGradient>, .isGradient = true};
constexpr Class kNearest{.name = "CNNUpsamplingNearestNode",
                         .state = StateKind::gradient,
                         .makeKernel = make<CNNUpsamplingNearest>,
                         .gradient = &kNearestGradient};
constexpr Class kBilinearGradient{
    .name = "CNNUpsamplingBilinearGradientNode", .makeKernel = make<CNNUpsamplingBilinearGradient>, .isGradient = true};
constexpr Class kBilinear{.name = "CNNUpsamplingBilinearNode",
                          .state = StateKind::gradient,
                          .makeKernel = makeBilinear,
                          .gradient = &kBilinearGradient};

Scale checked(const Scale& scale, std::string_view className) {
  detail::positive(scale.x, "integerScaleFactorX", className);
  detail::positive(scale.y, "integerScaleFactorY", className);
  return scale;
}

/// The whole number that a gradient node is given as a double.
std::size_t whole(double factor, std::string_view className) {
  if (factor >= 1 && factor == std::floor(factor) && factor < 0x1p24) return static_cast<std::size_t>(factor);
  throw Error(ErrorCode::invalidArgument,
              fmt::format("A scale factor of a {} is {}, but must be a whole number from 1 on.", className, factor));
}

template <class Arguments>
detail::Ref<detail::RefCounted> gradientNode(const Class& nodeClass, const Arguments& a) {
  return detail::makeGradient(
      nodeClass, a.sourceGradient, a.sourceImage, a.gradientState,
      Scale{.x = whole(a.scaleFactorX, nodeClass.name), .y = whole(a.scaleFactorY, nodeClass.name)});
}

double scaleX(const NNFilterNode& node) { return static_cast<double>(parametersOf<Scale>(node).x); }
double scaleY(const NNFilterNode& node) { return static_cast<double>(parametersOf<Scale>(node).y); }

}  // namespace

CNNUpsamplingNearestNode::CNNUpsamplingNearestNode(const Arguments& a)
    : NNFilterNode(detail::makeForward(
          kNearest, a.source, checked({.x = a.integerScaleFactorX, .y = a.integerScaleFactorY}, kNearest.name))) {}
double CNNUpsamplingNearestNode::scaleFactorX() const { return scaleX(*this); }
double CNNUpsamplingNearestNode::scaleFactorY() const { return scaleY(*this); }

CNNUpsamplingBilinearNode::CNNUpsamplingBilinearNode(const Arguments& a)
    : NNFilterNode(detail::makeForward(
          kBilinear, a.source,
          checked({.x = a.integerScaleFactorX, .y = a.integerScaleFactorY, .alignCorners = a.alignCorners},
                  kBilinear.name))) {}
double CNNUpsamplingBilinearNode::scaleFactorX() const { return scaleX(*this); }
double CNNUpsamplingBilinearNode::scaleFactorY() const { return scaleY(*this); }
bool CNNUpsamplingBilinearNode::alignCorners() const { return parametersOf<Scale>(*this).alignCorners; }

CNNUpsamplingNearestGradientNode::CNNUpsamplingNearestGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kNearestGradient.name});
}
CNNUpsamplingNearestGradientNode::CNNUpsamplingNearestGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(gradientNode(kNearestGradient, arguments)) {}
double CNNUpsamplingNearestGradientNode::scaleFactorX() const { return scaleX(*this); }
double CNNUpsamplingNearestGradientNode::scaleFactorY() const { return scaleY(*this); }

CNNUpsamplingBilinearGradientNode::CNNUpsamplingBilinearGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {kBilinearGradient.name});
}
CNNUpsamplingBilinearGradientNode::CNNUpsamplingBilinearGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(gradientNode(kBilinearGradient, arguments)) {}
double CNNUpsamplingBilinearGradientNode::scaleFactorX() const { return scaleX(*this); }
double CNNUpsamplingBilinearGradientNode::scaleFactorY() const { return scaleY(*this); }

}  // namespace metalloid
