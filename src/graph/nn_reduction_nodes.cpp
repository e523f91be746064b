#include "graph/parameter_filter.hpp"

#include <metalloid/nn_reduce.hpp>
#include <metalloid/nn_reduction_nodes.hpp>

#include <utility>

namespace metalloid {
namespace {

using detail::GraphKernel;
using detail::parametersOf;
using detail::StateKind;

struct Reduction {
  Region clipRectSource = regionNoClip;
  float weight = 1;
};

using Class = detail::ParameterFilter<Reduction>::Class;

template <class K>
std::unique_ptr<GraphKernel> make(const Device& device, const Reduction& reduction) {
  K kernel(device);
  kernel.clipRectSource = reduction.clipRectSource;
  if constexpr (requires { kernel.weight; }) kernel.weight = reduction.weight;
  return detail::single(std::move(kernel));
}

detail::ResultChannels oneChannel(const Reduction&) { return detail::ResultChannels::number(1); }

constexpr Class kSpatialMeanGradient{
    .name = "NNReductionSpatialMeanGradientNode",
    .makeKernel = [](const Device& device, const Reduction&) -> std::unique_ptr<GraphKernel> {
      return detail::single(NNReductionSpatialMeanGradient(device));
    },
    .isGradient = true};
constexpr Class kRowMin{.name = "NNReductionRowMinNode", .makeKernel = make<NNReduceRowMin>};
constexpr Class kRowMax{.name = "NNReductionRowMaxNode", .makeKernel = make<NNReduceRowMax>};
constexpr Class kRowMean{.name = "NNReductionRowMeanNode", .makeKernel = make<NNReduceRowMean>};
constexpr Class kRowSum{.name = "NNReductionRowSumNode", .makeKernel = make<NNReduceRowSum>};
constexpr Class kColumnMin{.name = "NNReductionColumnMinNode", .makeKernel = make<NNReduceColumnMin>};
constexpr Class kColumnMax{.name = "NNReductionColumnMaxNode", .makeKernel = make<NNReduceColumnMax>};
constexpr Class kColumnMean{.name = "NNReductionColumnMeanNode", .makeKernel = make<NNReduceColumnMean>};
constexpr Class kColumnSum{.name = "NNReductionColumnSumNode", .makeKernel = make<NNReduceColumnSum>};
constexpr Class kFeatureChannelsMin{.name = "NNReductionFeatureChannelsMinNode",
                                    .makeKernel = make<NNReduceFeatureChannelsMin>,
                                    .resultChannels = oneChannel};
constexpr Class kFeatureChannelsMax{.name = "NNReductionFeatureChannelsMaxNode",
                                    .makeKernel = make<NNReduceFeatureChannelsMax>,
                                    .resultChannels = oneChannel};
constexpr Class kFeatureChannelsMean{.name = "NNReductionFeatureChannelsMeanNode",
                                     .makeKernel = make<NNReduceFeatureChannelsMean>,
                                     .resultChannels = oneChannel};
constexpr Class kFeatureChannelsSum{.name = "NNReductionFeatureChannelsSumNode",
                                    .makeKernel = make<NNReduceFeatureChannelsSum>,
                                    .resultChannels = oneChannel};
constexpr Class kFeatureChannelsArgumentMin{.name = "NNReductionFeatureChannelsArgumentMinNode",
                                            .makeKernel = make<NNReduceFeatureChannelsArgumentMin>,
                                            .resultChannels = oneChannel};
constexpr Class kFeatureChannelsArgumentMax{.name = "NNReductionFeatureChannelsArgumentMaxNode",
                                            .makeKernel = make<NNReduceFeatureChannelsArgumentMax>,
                                            .resultChannels = oneChannel};
constexpr Class kSpatialMean{.name = "NNReductionSpatialMeanNode",
                             .state = StateKind::gradient,
                             .makeKernel = make<NNReductionSpatialMean>,
                             .gradient = &kSpatialMeanGradient};

detail::Ref<detail::RefCounted> node(const Class& nodeClass, const NNUnaryReductionNode::Arguments& arguments) {
  return detail::makeForward(nodeClass, arguments.source, Reduction());
}

}  // namespace

Region NNUnaryReductionNode::clipRectSource() const { return parametersOf<Reduction>(*this).clipRectSource; }
void NNUnaryReductionNode::setClipRectSource(const Region& value) const {
  parametersOf<Reduction>(*this).clipRectSource = value;
}

NNReductionRowMinNode::NNReductionRowMinNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kRowMin, arguments)) {}
NNReductionRowMaxNode::NNReductionRowMaxNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kRowMax, arguments)) {}
NNReductionRowMeanNode::NNReductionRowMeanNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kRowMean, arguments)) {}
NNReductionRowSumNode::NNReductionRowSumNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kRowSum, arguments)) {}
NNReductionColumnMinNode::NNReductionColumnMinNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kColumnMin, arguments)) {}
NNReductionColumnMaxNode::NNReductionColumnMaxNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kColumnMax, arguments)) {}
NNReductionColumnMeanNode::NNReductionColumnMeanNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kColumnMean, arguments)) {}
NNReductionColumnSumNode::NNReductionColumnSumNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kColumnSum, arguments)) {}
NNReductionFeatureChannelsMinNode::NNReductionFeatureChannelsMinNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kFeatureChannelsMin, arguments)) {}
NNReductionFeatureChannelsMaxNode::NNReductionFeatureChannelsMaxNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kFeatureChannelsMax, arguments)) {}
NNReductionFeatureChannelsMeanNode::NNReductionFeatureChannelsMeanNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kFeatureChannelsMean, arguments)) {}
NNReductionFeatureChannelsSumNode::NNReductionFeatureChannelsSumNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kFeatureChannelsSum, arguments)) {}
NNReductionFeatureChannelsArgumentMinNode::NNReductionFeatureChannelsArgumentMinNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kFeatureChannelsArgumentMin, arguments)) {}
NNReductionFeatureChannelsArgumentMaxNode::NNReductionFeatureChannelsArgumentMaxNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kFeatureChannelsArgumentMax, arguments)) {}
NNReductionSpatialMeanNode::NNReductionSpatialMeanNode(const Arguments& arguments)
    : NNUnaryReductionNode(node(kSpatialMean, arguments)) {}

float NNReductionFeatureChannelsSumNode::weight() const { return parametersOf<Reduction>(*this).weight; }
void NNReductionFeatureChannelsSumNode::setWeight(float value) const { parametersOf<Reduction>(*this).weight = value; }

NNReductionSpatialMeanGradientNode::NNReductionSpatialMeanGradientNode(const NNFilterNode& from)
    : NNGradientFilterNode(from.implementation()) {
  detail::requireClass(from, {kSpatialMeanGradient.name});
}
NNReductionSpatialMeanGradientNode::NNReductionSpatialMeanGradientNode(const Arguments& a)
    : NNGradientFilterNode(
          detail::makeGradient(kSpatialMeanGradient, a.sourceGradient, a.sourceImage, a.gradientState, Reduction())) {}

}  // namespace metalloid
