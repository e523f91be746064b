#include "core/format.hpp"
#include "graph/addition.hpp"
#include "graph/parameter_filter.hpp"

#include <metalloid/cnn_arithmetic.hpp>
#include <metalloid/nn_arithmetic_nodes.hpp>

#include <utility>

namespace metalloid {
namespace detail {
namespace {

/// What forward and gradient nodes let one set.
struct ArithmeticSettings {
  float primaryScale = 1;
  float secondaryScale = 1;
  float bias = 0;
  float minimumValue = std::numeric_limits<float>::lowest();
  float maximumValue = std::numeric_limits<float>::max();
  Size primaryStride = {1, 1, 1};  // x, y, channels
  Size secondaryStride = {1, 1, 1};

  bool cuts() const {
    return minimumValue != std::numeric_limits<float>::lowest() || maximumValue != std::numeric_limits<float>::max();
  }
  bool broadcasts() const { return primaryStride != Size{1, 1, 1} || secondaryStride != Size{1, 1, 1}; }
};

enum class Type { add, subtract, multiply, divide };

constexpr std::string_view kForwardNames[] = {"NNAdditionNode", "NNSubtractionNode", "NNMultiplicationNode",
                                              "NNDivisionNode"};
constexpr std::string_view kGradientNames[] = {"NNAdditionGradientNode", "NNSubtractionGradientNode",
                                               "NNMultiplicationGradientNode"};

class ArithmeticBase : public Filter {
 public:
  explicit ArithmeticBase(Type kind) : type(kind) {}
  const Type type;
  ArithmeticSettings settings;
};

class ArithmeticGradientFilter final : public ArithmeticBase {
 public:
  ArithmeticGradientFilter(Type kind, bool secondary) : ArithmeticBase(kind), isSecondary(secondary) {}

  std::string_view className() const override { return kGradientNames[static_cast<std::size_t>(type)]; }
  bool isGradient() const override { return true; }
  bool isGradientOf(const Filter& forward) const override {
    const auto* const filter = dynamic_cast<const ArithmeticBase*>(&forward);
    return filter && filter->type == type && !filter->isGradient();
  }
  /// The result is as large as the source that it differentiates, which is not always the one that it reads.
  ResultChannels resultChannels(SourceChannels&) const override {
    return forwardMayCutOrBroadcast() ? ResultChannels::unknown() : ResultChannels::ofSource(1);
  }
  bool isCopyOfGradient() const override {
    return type != Type::multiply && settings.primaryScale == 1 && !settings.cuts() && !settings.broadcasts() &&
           !forwardMayCutOrBroadcast();
  }
  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    switch (type) {
      case Type::add:
        return configured(CNNAddGradient(device, isSecondary));
      case Type::subtract:
        return configured(CNNSubtractGradient(device, isSecondary));
      default:
        return configured(CNNMultiplyGradient(device, isSecondary));
    }
  }

  const bool isSecondary;

 private:
  bool forwardMayCutOrBroadcast() const {
    const auto* const forward = dynamic_cast<const ArithmeticBase*>(sourceStates.front()->filter.get());
    return !forward || forward->settings.cuts() || forward->settings.broadcasts();
  }
  template <class K>
  std::unique_ptr<GraphKernel> configured(K kernel) const {
    kernel.primaryScale = settings.primaryScale;
    kernel.secondaryScale = settings.secondaryScale;
    kernel.bias = settings.bias;
    kernel.minimumValue = settings.minimumValue;
    kernel.maximumValue = settings.maximumValue;
    kernel.secondaryStrideInPixelsX = settings.secondaryStride.width;
    kernel.secondaryStrideInPixelsY = settings.secondaryStride.height;
    kernel.secondaryStrideInFeatureChannels = settings.secondaryStride.depth;
    return single(std::move(kernel));
  }
};

/// The gradient filter of a forward filter for one of its sources, with the settings that make it the derivative.
std::unique_ptr<ArithmeticGradientFilter> gradientFor(const ArithmeticBase& forward, bool isSecondary) {
  auto filter = std::make_unique<ArithmeticGradientFilter>(forward.type, isSecondary);
  filter->settings = forward.settings;
  ArithmeticSettings& settings = filter->settings;
  if (forward.type == Type::multiply) {
    // The other source is read, with its own strides.
    if (isSecondary) {
      std::swap(settings.primaryScale, settings.secondaryScale);
      settings.secondaryStride = forward.settings.primaryStride;
    }
  } else {
    if (isSecondary)
      settings.primaryScale = forward.type == Type::subtract ? -settings.secondaryScale : settings.secondaryScale;
    settings.secondaryScale = 1;
    if (!isSecondary) settings.secondaryStride = forward.settings.primaryStride;
  }
  settings.primaryStride = {1, 1, 1};
  return filter;
}

class ArithmeticFilter final : public ArithmeticBase {
 public:
  using ArithmeticBase::ArithmeticBase;

  std::string_view className() const override { return kForwardNames[static_cast<std::size_t>(type)]; }
  ResultChannels resultChannels(SourceChannels& channels) const override {
    const bool spreadsPrimary = settings.primaryStride.depth == 0,
               spreadsSecondary = settings.secondaryStride.depth == 0;
    if (!spreadsPrimary && !spreadsSecondary) channels.requireEqual(0, 1);
    if (spreadsPrimary && spreadsSecondary) return ResultChannels::number(1);
    return ResultChannels::ofSource(spreadsPrimary ? 1 : 0);
  }
  StateKind stateKind() const override { return type == Type::divide ? StateKind::none : StateKind::arithmetic; }
  bool hasOneGradient() const override { return false; }

  std::vector<GradientFilter> gradients(GraphNode& self, const Ref<GraphNode>& gradient) const override {
    if (type == Type::divide) return Filter::gradients(self, gradient);
    std::vector<GradientFilter> made;
    for (const bool isSecondary : {false, true}) {
      auto filter = gradientFor(*this, isSecondary);
      // A product's gradient needs the other source; of a sum's, the size of its own.
      const std::size_t read = (type == Type::multiply) != isSecondary ? 1 : 0;
      filter->sources = {gradient, sources[read]};
      filter->sourceStates = {Ref<GraphNode>(&self)};
      const auto node = makeFilter(std::move(filter));
      made.push_back({Ref<GraphNode>(static_cast<GraphNode*>(node.get())), isSecondary ? std::size_t{1} : 0});
    }
    return made;
  }

  std::unique_ptr<GraphKernel> makeKernel(const Device& device, const GraphNode&, const BuildContext&) const override {
    switch (type) {
      case Type::add:
        return configured(CNNAdd(device));
      case Type::subtract:
        return configured(CNNSubtract(device));
      case Type::multiply:
        return configured(CNNMultiply(device));
      default:
        return configured(CNNDivide(device));
    }
  }

 private:
  template <class K>
  std::unique_ptr<GraphKernel> configured(K kernel) const {
    kernel.primaryScale = settings.primaryScale;
    kernel.secondaryScale = settings.secondaryScale;
    kernel.bias = settings.bias;
    kernel.minimumValue = settings.minimumValue;
    kernel.maximumValue = settings.maximumValue;
    kernel.primaryStrideInPixelsX = settings.primaryStride.width;
    kernel.primaryStrideInPixelsY = settings.primaryStride.height;
    kernel.primaryStrideInFeatureChannels = settings.primaryStride.depth;
    kernel.secondaryStrideInPixelsX = settings.secondaryStride.width;
    kernel.secondaryStrideInPixelsY = settings.secondaryStride.height;
    kernel.secondaryStrideInFeatureChannels = settings.secondaryStride.depth;
    return single(std::move(kernel));
  }
};

Ref<RefCounted> makeArithmetic(Type type, const NNBinaryArithmeticNode::Arguments& arguments) {
  auto filter = std::make_unique<ArithmeticFilter>(type);
  filter->sources = {vertex(arguments.leftSource, "leftSource", *filter),
                     vertex(arguments.rightSource, "rightSource", *filter)};
  return makeFilter(std::move(filter));
}

Ref<RefCounted> makeArithmetic(Type type, const NNBinaryArithmeticNode::SourcesArguments& arguments) {
  if (arguments.sources.size() != 2) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("A {} has two sources, but {} are given.", kForwardNames[static_cast<std::size_t>(type)],
                            arguments.sources.size()));
  }
  return makeArithmetic(
      type, NNBinaryArithmeticNode::Arguments{.leftSource = arguments.sources[0], .rightSource = arguments.sources[1]});
}

Ref<RefCounted> gradientVertex(Type type, const NNArithmeticGradientNode::Arguments& arguments) {
  auto filter = std::make_unique<ArithmeticGradientFilter>(type, arguments.isSecondarySourceFilter);
  filter->sources = {vertex(arguments.sourceGradient, "sourceGradient", *filter),
                     vertex(arguments.sourceImage, "sourceImage", *filter)};
  filter->sourceStates = {vertex(arguments.gradientState, "gradientState", *filter)};
  return makeFilter(std::move(filter));
}

Ref<RefCounted> gradientVertex(Type type, const NNArithmeticGradientNode::ForwardArguments& arguments) {
  const std::string_view className = kGradientNames[static_cast<std::size_t>(type)];
  if (arguments.gradientImages.size() != 2) {
    throw Error(ErrorCode::invalidArgument, fmt::format("A {} reads a gradient and an image, but {} are given.",
                                                        className, arguments.gradientImages.size()));
  }
  GraphNode& forward = implementation(arguments.forwardFilter);
  requireClass(arguments.forwardFilter, {kForwardNames[static_cast<std::size_t>(type)]});
  auto filter = gradientFor(static_cast<const ArithmeticFilter&>(*forward.filter), arguments.isSecondarySourceFilter);
  filter->sources = {vertex(arguments.gradientImages[0], "source gradient", *filter),
                     vertex(arguments.gradientImages[1], "source image", *filter)};
  filter->sourceStates = {Ref<GraphNode>(&forward)};
  return makeFilter(std::move(filter));
}

ArithmeticSettings& settingsOf(const NNFilterNode& node) { return filterAs<ArithmeticBase>(node).settings; }

std::size_t oneOrZero(std::size_t value, const NNFilterNode& node) {
  if (value <= 1) return value;
  throw Error(ErrorCode::invalidArgument,
              fmt::format("A stride of {} is {}, but must be 0 or 1.", implementation(node).name(), value));
}

}  // namespace

Ref<GraphNode> makeAddition(const Ref<GraphNode>& left, const Ref<GraphNode>& right) {
  auto filter = std::make_unique<ArithmeticFilter>(Type::add);
  filter->sources = {left, right};
  const auto node = makeFilter(std::move(filter));
  return Ref<GraphNode>(static_cast<GraphNode*>(node.get()));
}

}  // namespace detail

using detail::oneOrZero;
using detail::settingsOf;
using detail::Type;

NNAdditionNode::NNAdditionNode(const Arguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::add, arguments)) {}
NNAdditionNode::NNAdditionNode(const SourcesArguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::add, arguments)) {}
NNSubtractionNode::NNSubtractionNode(const Arguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::subtract, arguments)) {}
NNSubtractionNode::NNSubtractionNode(const SourcesArguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::subtract, arguments)) {}
NNMultiplicationNode::NNMultiplicationNode(const Arguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::multiply, arguments)) {}
NNMultiplicationNode::NNMultiplicationNode(const SourcesArguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::multiply, arguments)) {}
NNDivisionNode::NNDivisionNode(const Arguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::divide, arguments)) {}
NNDivisionNode::NNDivisionNode(const SourcesArguments& arguments)
    : NNBinaryArithmeticNode(detail::makeArithmetic(Type::divide, arguments)) {}

float NNBinaryArithmeticNode::primaryScale() const { return settingsOf(*this).primaryScale; }
void NNBinaryArithmeticNode::setPrimaryScale(float value) const { settingsOf(*this).primaryScale = value; }
float NNBinaryArithmeticNode::secondaryScale() const { return settingsOf(*this).secondaryScale; }
void NNBinaryArithmeticNode::setSecondaryScale(float value) const { settingsOf(*this).secondaryScale = value; }
float NNBinaryArithmeticNode::bias() const { return settingsOf(*this).bias; }
void NNBinaryArithmeticNode::setBias(float value) const { settingsOf(*this).bias = value; }
float NNBinaryArithmeticNode::minimumValue() const { return settingsOf(*this).minimumValue; }
void NNBinaryArithmeticNode::setMinimumValue(float value) const { settingsOf(*this).minimumValue = value; }
float NNBinaryArithmeticNode::maximumValue() const { return settingsOf(*this).maximumValue; }
void NNBinaryArithmeticNode::setMaximumValue(float value) const { settingsOf(*this).maximumValue = value; }
std::size_t NNBinaryArithmeticNode::primaryStrideInPixelsX() const { return settingsOf(*this).primaryStride.width; }
void NNBinaryArithmeticNode::setPrimaryStrideInPixelsX(std::size_t value) const {
  settingsOf(*this).primaryStride.width = oneOrZero(value, *this);
}
std::size_t NNBinaryArithmeticNode::primaryStrideInPixelsY() const { return settingsOf(*this).primaryStride.height; }
void NNBinaryArithmeticNode::setPrimaryStrideInPixelsY(std::size_t value) const {
  settingsOf(*this).primaryStride.height = oneOrZero(value, *this);
}
std::size_t NNBinaryArithmeticNode::primaryStrideInFeatureChannels() const {
  return settingsOf(*this).primaryStride.depth;
}
void NNBinaryArithmeticNode::setPrimaryStrideInFeatureChannels(std::size_t value) const {
  settingsOf(*this).primaryStride.depth = oneOrZero(value, *this);
}
std::size_t NNBinaryArithmeticNode::secondaryStrideInPixelsX() const { return settingsOf(*this).secondaryStride.width; }
void NNBinaryArithmeticNode::setSecondaryStrideInPixelsX(std::size_t value) const {
  settingsOf(*this).secondaryStride.width = oneOrZero(value, *this);
}
std::size_t NNBinaryArithmeticNode::secondaryStrideInPixelsY() const {
  return settingsOf(*this).secondaryStride.height;
}
void NNBinaryArithmeticNode::setSecondaryStrideInPixelsY(std::size_t value) const {
  settingsOf(*this).secondaryStride.height = oneOrZero(value, *this);
}
std::size_t NNBinaryArithmeticNode::secondaryStrideInFeatureChannels() const {
  return settingsOf(*this).secondaryStride.depth;
}
void NNBinaryArithmeticNode::setSecondaryStrideInFeatureChannels(std::size_t value) const {
  settingsOf(*this).secondaryStride.depth = oneOrZero(value, *this);
}

bool NNArithmeticGradientNode::isSecondarySourceFilter() const {
  return detail::filterAs<detail::ArithmeticGradientFilter>(*this).isSecondary;
}
float NNArithmeticGradientNode::primaryScale() const { return settingsOf(*this).primaryScale; }
void NNArithmeticGradientNode::setPrimaryScale(float value) const { settingsOf(*this).primaryScale = value; }
float NNArithmeticGradientNode::secondaryScale() const { return settingsOf(*this).secondaryScale; }
void NNArithmeticGradientNode::setSecondaryScale(float value) const { settingsOf(*this).secondaryScale = value; }
float NNArithmeticGradientNode::bias() const { return settingsOf(*this).bias; }
void NNArithmeticGradientNode::setBias(float value) const { settingsOf(*this).bias = value; }
float NNArithmeticGradientNode::minimumValue() const { return settingsOf(*this).minimumValue; }
void NNArithmeticGradientNode::setMinimumValue(float value) const { settingsOf(*this).minimumValue = value; }
float NNArithmeticGradientNode::maximumValue() const { return settingsOf(*this).maximumValue; }
void NNArithmeticGradientNode::setMaximumValue(float value) const { settingsOf(*this).maximumValue = value; }
std::size_t NNArithmeticGradientNode::secondaryStrideInPixelsX() const {
  return settingsOf(*this).secondaryStride.width;
}
void NNArithmeticGradientNode::setSecondaryStrideInPixelsX(std::size_t value) const {
  settingsOf(*this).secondaryStride.width = oneOrZero(value, *this);
}
std::size_t NNArithmeticGradientNode::secondaryStrideInPixelsY() const {
  return settingsOf(*this).secondaryStride.height;
}
void NNArithmeticGradientNode::setSecondaryStrideInPixelsY(std::size_t value) const {
  settingsOf(*this).secondaryStride.height = oneOrZero(value, *this);
}
std::size_t NNArithmeticGradientNode::secondaryStrideInFeatureChannels() const {
  return settingsOf(*this).secondaryStride.depth;
}
void NNArithmeticGradientNode::setSecondaryStrideInFeatureChannels(std::size_t value) const {
  settingsOf(*this).secondaryStride.depth = oneOrZero(value, *this);
}

NNAdditionGradientNode::NNAdditionGradientNode(const NNFilterNode& node)
    : NNArithmeticGradientNode(node.implementation()) {
  detail::requireClass(node, {"NNAdditionGradientNode"});
}
NNAdditionGradientNode::NNAdditionGradientNode(const Arguments& arguments)
    : NNArithmeticGradientNode(detail::gradientVertex(Type::add, arguments)) {}
NNAdditionGradientNode::NNAdditionGradientNode(const ForwardArguments& arguments)
    : NNArithmeticGradientNode(detail::gradientVertex(Type::add, arguments)) {}
NNSubtractionGradientNode::NNSubtractionGradientNode(const NNFilterNode& node)
    : NNArithmeticGradientNode(node.implementation()) {
  detail::requireClass(node, {"NNSubtractionGradientNode"});
}
NNSubtractionGradientNode::NNSubtractionGradientNode(const Arguments& arguments)
    : NNArithmeticGradientNode(detail::gradientVertex(Type::subtract, arguments)) {}
NNSubtractionGradientNode::NNSubtractionGradientNode(const ForwardArguments& arguments)
    : NNArithmeticGradientNode(detail::gradientVertex(Type::subtract, arguments)) {}
NNMultiplicationGradientNode::NNMultiplicationGradientNode(const NNFilterNode& node)
    : NNArithmeticGradientNode(node.implementation()) {
  detail::requireClass(node, {"NNMultiplicationGradientNode"});
}
NNMultiplicationGradientNode::NNMultiplicationGradientNode(const Arguments& arguments)
    : NNArithmeticGradientNode(detail::gradientVertex(Type::multiply, arguments)) {}
NNMultiplicationGradientNode::NNMultiplicationGradientNode(const ForwardArguments& arguments)
    : NNArithmeticGradientNode(detail::gradientVertex(Type::multiply, arguments)) {}

}  // namespace metalloid
