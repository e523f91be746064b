#include "graph/batch_normalization_kernels.hpp"
#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_batch_normalization.hpp>
#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/cnn_instance_normalization.hpp>
#include <metalloid/cnn_normalization_nodes.hpp>

#include <optional>
#include <utility>

namespace metalloid {
namespace detail {
namespace {

/// What the filters of this family have in common.
class NormalizationFilter : public Filter {
 public:
  std::optional<NNTrainingStyle> trainingStyle() const override { return style; }
  ResultChannels resultChannels(SourceChannels& channels) const override {
    const std::size_t source = isGradient() ? 1 : 0;
    channels.require(source, numberOfFeatureChannels(), "its data source has parameters for");
    return ResultChannels::ofSource(source);
  }

  /// The label, or that of the filter whose state is read.
  std::string nameOfGradient() const {
    const bool hasForward = !sourceStates.empty() && sourceStates.front()->filter;
    return label.empty() && hasForward ? sourceStates.front()->filter->name() : label;
  }
  /// Of the data source.
  virtual std::size_t numberOfFeatureChannels() const = 0;

  NNTrainingStyle style = NNTrainingStyle::UpdateDeviceGPU;
};

class BatchNormalizationFilter final : public NormalizationFilter {
 public:
  explicit BatchNormalizationFilter(std::shared_ptr<CNNBatchNormalizationDataSource> source)
      : dataSource(std::move(source)) {}

  std::string_view className() const override { return "CNNBatchNormalizationNode"; }
  std::size_t numberOfFeatureChannels() const override { return dataSource->numberOfFeatureChannels(); }
  StateKind stateKind() const override { return StateKind::gradient; }
  std::string name() const override { return label.empty() ? dataSource->label() : label; }
  bool canTakeNeuron() const override { return true; }
  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override;

  /// The parameters on the device are shared by all filters of the graph with this data source.
  CNNBatchNormalization makeForward(const Device& device, const GraphNode& self, const BuildContext& context) const {
    auto& shared = context.shared(dataSource.get());
    if (!shared) shared = std::make_shared<CNNBatchNormalization>(device, context.dataSource(dataSource));
    const auto& first = *std::static_pointer_cast<CNNBatchNormalization>(shared);
    const auto neuron = context.fusedNeuron(self);
    return neuron ? CNNBatchNormalization(first, *neuron) : first;
  }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode& self,
                                          const BuildContext& context) const override {
    const bool fromBatch = flags == CNNBatchNormalizationFlags::calculateStatisticsAlways ||
                           (flags == CNNBatchNormalizationFlags::Default && context.isStateRead(self));
    return std::make_unique<BatchNormalizationKernel>(makeForward(device, self, context), fromBatch);
  }

  const std::shared_ptr<CNNBatchNormalizationDataSource> dataSource;
  CNNBatchNormalizationFlags flags = CNNBatchNormalizationFlags::Default;
};

class BatchNormalizationGradientFilter final : public NormalizationFilter {
 public:
  std::string_view className() const override { return "CNNBatchNormalizationGradientNode"; }
  std::size_t numberOfFeatureChannels() const override { return forward().numberOfFeatureChannels(); }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& filter) const override {
    return dynamic_cast<const BatchNormalizationFilter*>(&filter) != nullptr;
  }
  bool canTakeNeuronGradient() const override { return true; }
  std::string name() const override { return nameOfGradient(); }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode& self,
                                          const BuildContext& context) const override {
    const auto neuron = context.fusedNeuron(self);
    return std::make_unique<BatchNormalizationGradientKernel>(
        device, neuron.value_or(NNNeuronDescriptor()), forward().makeForward(device, *sourceStates.front(), context));
  }

 private:
  const BatchNormalizationFilter& forward() const {
    return static_cast<const BatchNormalizationFilter&>(*sourceStates.front()->filter);
  }
};

/// A gradient vertex for a forward one, with its style.
template <class G>
std::vector<GradientFilter> gradientOf(const NormalizationFilter& forward, GraphNode& self,
                                       const Ref<GraphNode>& gradient) {
  auto filter = std::make_unique<G>();
  filter->sources = {gradient, forward.sources.front()};
  filter->sourceStates = {Ref<GraphNode>(&self)};
  filter->style = forward.style;
  const auto made = makeFilter(std::move(filter));
  return {{Ref<GraphNode>(static_cast<GraphNode*>(made.get())), 0}};
}

std::vector<GradientFilter> BatchNormalizationFilter::gradients(GraphNode& self, const Ref<GraphNode>& gradient) const {
  return gradientOf<BatchNormalizationGradientFilter>(*this, self, gradient);
}

// --- Instance and group normalization
// ----------------------------------------------------------------------------------

struct Instance {
  using Kernel = CNNInstanceNormalization;
  using Gradient = CNNInstanceNormalizationGradient;
  using State = CNNInstanceNormalizationGradientState;
  using DataSource = CNNInstanceNormalizationDataSource;
  static constexpr const char* kForwardName = "CNNInstanceNormalizationNode";
  static constexpr const char* kGradientName = "CNNInstanceNormalizationGradientNode";
};

struct Group {
  using Kernel = CNNGroupNormalization;
  using Gradient = CNNGroupNormalizationGradient;
  using State = CNNGroupNormalizationGradientState;
  using DataSource = CNNGroupNormalizationDataSource;
  static constexpr const char* kForwardName = "CNNGroupNormalizationNode";
  static constexpr const char* kGradientName = "CNNGroupNormalizationGradientNode";
};

template <class T>
class PerImageKernel final : public SingleKernel<typename T::Kernel> {
 public:
  using SingleKernel<typename T::Kernel>::SingleKernel;
  void reload() override { this->kernel().reloadGammaAndBetaFromDataSource(); }
};

template <class T>
class PerImageGradientKernel final : public SingleKernel<typename T::Gradient> {
 public:
  PerImageGradientKernel(typename T::Gradient gradient, typename T::Kernel forward)
      : SingleKernel<typename T::Gradient>(std::move(gradient)), forward_(std::move(forward)) {}

  void update(CommandBuffer& commandBuffer, const StateBatch& states) override {
    if (const auto updated = forward_.dataSource()->updateGammaAndBeta(commandBuffer, typed(states)))
      forward_.reloadGammaAndBeta(commandBuffer, updated);
  }
  void updateOnHost(const StateBatch& states) override {
    if (forward_.dataSource()->updateGammaAndBeta(typed(states))) forward_.reloadGammaAndBetaFromDataSource();
  }

 private:
  static std::vector<typename T::State> typed(const StateBatch& states) {
    std::vector<typename T::State> batch;
    for (const State& state : states) batch.emplace_back(state);
    return batch;
  }
  typename T::Kernel forward_;
};

template <class T>
class PerImageGradientFilter;

template <class T>
class PerImageFilter final : public NormalizationFilter {
 public:
  explicit PerImageFilter(std::shared_ptr<typename T::DataSource> source) : dataSource(std::move(source)) {}

  std::string_view className() const override { return T::kForwardName; }
  std::size_t numberOfFeatureChannels() const override { return dataSource->numberOfFeatureChannels(); }
  StateKind stateKind() const override { return StateKind::gradient; }
  std::string name() const override { return label.empty() ? dataSource->label() : label; }
  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    return gradientOf<PerImageGradientFilter<T>>(*this, self, gradient);
  }
  typename T::Kernel makeForward(const Device& device, const BuildContext& context) const {
    auto& shared = context.shared(dataSource.get());
    if (!shared) shared = std::make_shared<typename T::Kernel>(device, context.dataSource(dataSource));
    return *std::static_pointer_cast<typename T::Kernel>(shared);
  }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&,
                                          const BuildContext& context) const override {
    return std::make_unique<PerImageKernel<T>>(makeForward(device, context));
  }

  const std::shared_ptr<typename T::DataSource> dataSource;
};

template <class T>
class PerImageGradientFilter final : public NormalizationFilter {
 public:
  std::string_view className() const override { return T::kGradientName; }
  std::size_t numberOfFeatureChannels() const override { return forward().numberOfFeatureChannels(); }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& filter) const override {
    return dynamic_cast<const PerImageFilter<T>*>(&filter) != nullptr;
  }
  std::string name() const override { return nameOfGradient(); }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&,
                                          const BuildContext& context) const override {
    return std::make_unique<PerImageGradientKernel<T>>(typename T::Gradient(device),
                                                       forward().makeForward(device, context));
  }

 private:
  const PerImageFilter<T>& forward() const {
    return static_cast<const PerImageFilter<T>&>(*sourceStates.front()->filter);
  }
};

// --- Making nodes
// ------------------------------------------------------------------------------------------------------

template <class F, class DataSource>
Ref<RefCounted> makeNormalization(const NNImageNode& source, const std::shared_ptr<DataSource>& dataSource,
                                  std::string_view className) {
  if (!dataSource)
    throw Error(ErrorCode::invalidArgument, "The data source of a " + std::string(className) + " is nil.");
  auto filter = std::make_unique<F>(dataSource);
  filter->sources = {vertex(source, "source", *filter)};
  return makeFilter(std::move(filter));
}

template <class F>
Ref<RefCounted> makeNormalizationGradient(const CNNNormalizationGradientArguments& arguments) {
  auto filter = std::make_unique<F>();
  filter->sourceStates = {vertex(arguments.gradientState, "gradientState", *filter)};
  filter->sources = {vertex(arguments.sourceGradient, "sourceGradient", *filter),
                     vertex(arguments.sourceImage, "sourceImage", *filter)};
  return makeFilter(std::move(filter));
}

NNTrainingStyle& styleOf(const NNFilterNode& node) { return filterAs<NormalizationFilter>(node).style; }

}  // namespace
}  // namespace detail

using detail::BatchNormalizationFilter;
using detail::styleOf;

CNNBatchNormalizationNode::CNNBatchNormalizationNode(const Arguments& arguments)
    : NNFilterNode(detail::makeNormalization<BatchNormalizationFilter>(arguments.source, arguments.dataSource,
                                                                       "CNNBatchNormalizationNode")) {}
CNNBatchNormalizationFlags CNNBatchNormalizationNode::flags() const {
  return detail::filterAs<BatchNormalizationFilter>(*this).flags;
}
void CNNBatchNormalizationNode::setFlags(CNNBatchNormalizationFlags flags) const {
  if (flags > CNNBatchNormalizationFlags::calculateStatisticsNever)
    throw Error(ErrorCode::invalidArgument, "The flags of a CNNBatchNormalizationNode are none of its values.");
  detail::filterAs<BatchNormalizationFilter>(*this).flags = flags;
}
NNTrainingStyle CNNBatchNormalizationNode::trainingStyle() const { return styleOf(*this); }
void CNNBatchNormalizationNode::setTrainingStyle(NNTrainingStyle style) const { styleOf(*this) = style; }

CNNInstanceNormalizationNode::CNNInstanceNormalizationNode(const Arguments& arguments)
    : NNFilterNode(detail::makeNormalization<detail::PerImageFilter<detail::Instance>>(
          arguments.source, arguments.dataSource, detail::Instance::kForwardName)) {}
NNTrainingStyle CNNInstanceNormalizationNode::trainingStyle() const { return styleOf(*this); }
void CNNInstanceNormalizationNode::setTrainingStyle(NNTrainingStyle style) const { styleOf(*this) = style; }

CNNGroupNormalizationNode::CNNGroupNormalizationNode(const Arguments& arguments)
    : NNFilterNode(detail::makeNormalization<detail::PerImageFilter<detail::Group>>(
          arguments.source, arguments.dataSource, detail::Group::kForwardName)) {}
NNTrainingStyle CNNGroupNormalizationNode::trainingStyle() const { return styleOf(*this); }
void CNNGroupNormalizationNode::setTrainingStyle(NNTrainingStyle style) const { styleOf(*this) = style; }

CNNBatchNormalizationGradientNode::CNNBatchNormalizationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {"CNNBatchNormalizationGradientNode"});
}
CNNBatchNormalizationGradientNode::CNNBatchNormalizationGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(detail::makeNormalizationGradient<detail::BatchNormalizationGradientFilter>(arguments)) {}
NNTrainingStyle CNNBatchNormalizationGradientNode::trainingStyle() const { return styleOf(*this); }
void CNNBatchNormalizationGradientNode::setTrainingStyle(NNTrainingStyle style) const { styleOf(*this) = style; }

CNNInstanceNormalizationGradientNode::CNNInstanceNormalizationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {detail::Instance::kGradientName});
}
CNNInstanceNormalizationGradientNode::CNNInstanceNormalizationGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(
          detail::makeNormalizationGradient<detail::PerImageGradientFilter<detail::Instance>>(arguments)) {}
NNTrainingStyle CNNInstanceNormalizationGradientNode::trainingStyle() const { return styleOf(*this); }
void CNNInstanceNormalizationGradientNode::setTrainingStyle(NNTrainingStyle style) const { styleOf(*this) = style; }

CNNGroupNormalizationGradientNode::CNNGroupNormalizationGradientNode(const NNFilterNode& node)
    : NNGradientFilterNode(node.implementation()) {
  detail::requireClass(node, {detail::Group::kGradientName});
}
CNNGroupNormalizationGradientNode::CNNGroupNormalizationGradientNode(const Arguments& arguments)
    : NNGradientFilterNode(
          detail::makeNormalizationGradient<detail::PerImageGradientFilter<detail::Group>>(arguments)) {}
NNTrainingStyle CNNGroupNormalizationGradientNode::trainingStyle() const { return styleOf(*this); }
void CNNGroupNormalizationGradientNode::setTrainingStyle(NNTrainingStyle style) const { styleOf(*this) = style; }

}  // namespace metalloid
