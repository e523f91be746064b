#include "operations/cnn_pooling.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_pooling.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using detail::KernelShape;
using operations::PoolingType;

namespace {

/// What a pooling leaves for its gradient.
class PoolingState : public detail::GradientStateImplementation {
 public:
  PoolingState(detail::Ref<detail::DeviceImplementation> device, CommandBuffer* commandBuffer,
               detail::ForwardRecord record, PoolingType type, Size zeroPadSize)
      : GradientStateImplementation(std::move(device), commandBuffer, std::move(record)),
        type_(type),
        zeroPadSize_(zeroPadSize) {}

  PoolingType type() const { return type_; }
  Size zeroPadSize() const { return zeroPadSize_; }

 private:
  PoolingType type_;
  Size zeroPadSize_;
};

KernelShape shapeOf(const CNNPooling::Descriptor& descriptor) {
  return {.kernelWidth = descriptor.kernelWidth,
          .kernelHeight = descriptor.kernelHeight,
          .strideInPixelsX = descriptor.strideInPixelsX,
          .strideInPixelsY = descriptor.strideInPixelsY};
}

KernelShape shapeOf(const CNNDilatedPoolingDescriptor& descriptor) {
  return {.kernelWidth = descriptor.kernelWidth,
          .kernelHeight = descriptor.kernelHeight,
          .strideInPixelsX = descriptor.strideInPixelsX,
          .strideInPixelsY = descriptor.strideInPixelsY,
          .dilationRateX = descriptor.dilationRateX,
          .dilationRateY = descriptor.dilationRateY};
}

/// One pixel: what a kernel has before its archive is read.
constexpr CNNPooling::Descriptor kAny{.kernelWidth = 1, .kernelHeight = 1};
constexpr CNNDilatedPoolingDescriptor kAnyDilated{.kernelWidth = 1, .kernelHeight = 1};

constexpr std::size_t kMost = std::size_t{1} << 31;  // of any size of a window: what is computed of them fits 64 bits

const KernelShape& checked(std::string_view className, const KernelShape& shape) {
  const auto check = [&](std::string_view size, std::size_t value) {
    if (value >= 1 && value <= kMost) return;
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The {} of a {} is {}, but it must be from 1 to {}.", size, className, value, kMost));
  };
  check("kernelWidth", shape.kernelWidth);
  check("kernelHeight", shape.kernelHeight);
  check("strideInPixelsX", shape.strideInPixelsX);
  check("strideInPixelsY", shape.strideInPixelsY);
  check("dilationRateX", shape.dilationRateX);
  check("dilationRateY", shape.dilationRateY);
  return shape;
}

/// Zeros that no window can reach count as little as those far outside.
std::size_t padOf(std::size_t zeroPad) { return std::min(zeroPad, std::size_t{1} << 61); }

/// The zeros that a policy adds on one axis: the most of both sides, since no window reaches farther.
std::size_t policyPad(std::ptrdiff_t offset, std::size_t window, std::size_t stride, std::size_t source,
                      std::size_t destination) {
  const auto before = static_cast<std::ptrdiff_t>(window / 2) - offset;
  const auto read = static_cast<std::ptrdiff_t>((destination - 1) * stride + window);
  const auto after = read - static_cast<std::ptrdiff_t>(source) - before;
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>({before, after, 0}));
}

}  // namespace

// --- Forward

CNNPooling::CNNPooling(const Device& device, std::string_view className, const KernelShape& shape)
    : CNNKernel(device, className) {
  shape_ = checked(className, shape);
}

State CNNPooling::makeResultState(const ResultStateArguments& arguments) {
  return detail::stateHandle<NNGradientState>(detail::makeRef<PoolingState>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      detail::recordOf(*this, arguments.sources, arguments.destination), type(), zeroPadSize()));
}

void CNNPooling::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = detail::windowedViews(encoding, *this, operands);
  encoding.record(operations::CNNPooling{.source = std::move(views.source),
                                         .result = std::move(views.result),
                                         .window = views.window,
                                         .type = type(),
                                         .edgeMode = edgeMode,
                                         .zeroPadSizeX = padOf(zeroPadSize().width),
                                         .zeroPadSizeY = padOf(zeroPadSize().height)});
}

CNNPoolingMax::CNNPoolingMax(const Device& device, const Descriptor& descriptor)
    : CNNPooling(device, "CNNPoolingMax", shapeOf(descriptor)) {}
CNNPoolingMax::CNNPoolingMax(Unarchiver& coder, const Device& device) : CNNPoolingMax(device, kAny) { decode(coder); }
CNNPoolingMax CNNPoolingMax::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNPoolingMax::type() const { return PoolingType::max; }

CNNPoolingAverage::CNNPoolingAverage(const Device& device, const Descriptor& descriptor)
    : CNNPooling(device, "CNNPoolingAverage", shapeOf(descriptor)) {}
CNNPoolingAverage::CNNPoolingAverage(Unarchiver& coder, const Device& device) : CNNPoolingAverage(device, kAny) {
  decode(coder);
}
CNNPoolingAverage CNNPoolingAverage::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNPoolingAverage::type() const { return PoolingType::average; }

void CNNPoolingAverage::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                          ImageDescriptor& suggested) {
  CNNPooling::adjustDestination(sources, sourceStates, suggested);
  if (!padding || !contains(padding->paddingMethod(), NNPaddingMethod::excludeEdges)) return;
  const auto source = sources.front().descriptor();
  edgeMode = ImageEdgeMode::clamp;
  zeroPadSizeX = policyPad(offset.x, kernelWidth(), strideInPixelsX(), source.width, suggested.width);
  zeroPadSizeY = policyPad(offset.y, kernelHeight(), strideInPixelsY(), source.height, suggested.height);
}

void CNNPoolingAverage::visitSettings(detail::SettingsVisitor& visitor) {
  CNNPooling::visitSettings(visitor);
  visitor.visit("zeroPadSizeX", zeroPadSizeX);
  visitor.visit("zeroPadSizeY", zeroPadSizeY);
}

CNNPoolingL2Norm::CNNPoolingL2Norm(const Device& device, const Descriptor& descriptor)
    : CNNPooling(device, "CNNPoolingL2Norm", shapeOf(descriptor)) {}
CNNPoolingL2Norm::CNNPoolingL2Norm(Unarchiver& coder, const Device& device) : CNNPoolingL2Norm(device, kAny) {
  decode(coder);
}
CNNPoolingL2Norm CNNPoolingL2Norm::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNPoolingL2Norm::type() const { return PoolingType::l2Norm; }

CNNDilatedPoolingMax::CNNDilatedPoolingMax(const Device& device, const Descriptor& descriptor)
    : CNNPooling(device, "CNNDilatedPoolingMax", shapeOf(descriptor)) {}
CNNDilatedPoolingMax::CNNDilatedPoolingMax(Unarchiver& coder, const Device& device)
    : CNNDilatedPoolingMax(device, kAnyDilated) {
  decode(coder);
}
CNNDilatedPoolingMax CNNDilatedPoolingMax::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNDilatedPoolingMax::type() const { return PoolingType::max; }

// --- Gradients

CNNPoolingGradient::CNNPoolingGradient(const Device& device, std::string_view className, const KernelShape& shape)
    : CNNGradientKernel(device, className) {
  secondary_ = checked(className, shape);
  secondaryStrideInPixelsX = shape.strideInPixelsX;
  secondaryStrideInPixelsY = shape.strideInPixelsY;
}

namespace {

/// The first source pixel that a window reads, along one axis; the last of the source at most.
std::size_t firstRead(std::ptrdiff_t offset, std::size_t window, std::size_t source) {
  return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(offset - static_cast<std::ptrdiff_t>(window / 2), 0,
                                                             static_cast<std::ptrdiff_t>(source) - 1));
}

}  // namespace

void CNNPoolingGradient::configure(const State& gradientState) {
  CNNGradientKernel::configure(gradientState);
  const auto* const state = dynamic_cast<const PoolingState*>(&detail::implementation(gradientState));
  if (!state || state->type() != type()) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The gradientState of {} is {}, but it must be the state of the forward pooling.", name(),
                            state ? "that of another kind of pooling" : detail::implementation(gradientState).name()));
  }
  const auto& record = state->record();
  const auto& [settings, image] = record.sources.front();
  secondary_ = settings.shape;
  secondaryStrideInPixelsX = settings.shape.strideInPixelsX;
  secondaryStrideInPixelsY = settings.shape.strideInPixelsY;
  setZeroPadSize(state->zeroPadSize());
  primaryOffset.x = static_cast<std::ptrdiff_t>(record.clip.x);
  primaryOffset.y = static_cast<std::ptrdiff_t>(record.clip.y);
  sourceSize = {record.clip.width, record.clip.height, all};
  secondaryOffset.x = settings.offset.x;
  secondaryOffset.y = settings.offset.y;
  clipRect.origin.x = firstRead(settings.offset.x, settings.shape.dilatedWidth(), image.width);
  clipRect.origin.y = firstRead(settings.offset.y, settings.shape.dilatedHeight(), image.height);
  clipRect.size.width = image.width - clipRect.origin.x;
  clipRect.size.height = image.height - clipRect.origin.y;
}

void CNNPoolingGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto found = detail::gradientOperands(encoding, *this, operands);
  if (operands.destinationsAreNew)
    detail::clearUncovered(encoding, found.destination, found.clip, destinationFeatureChannelOffset, found.channels);
  const auto primary = sourceSettings(0), forward = sourceSettings(1);
  detail::requireModerate(encoding, primary.offset);
  detail::requireModerate(encoding, forward.offset);
  for (const std::size_t stride : {secondaryStrideInPixelsX, secondaryStrideInPixelsY}) {
    if (stride >= 1 && stride <= kMost) continue;
    encoding.refuse(fmt::format("A secondary stride of {} is {}, but it must be from 1 to {}.", encoding.kernelName(),
                                stride, kMost));
  }
  const auto x = detail::partOf(primary.offset.x, sourceSize.width, found.gradient.width());
  const auto y = detail::partOf(primary.offset.y, sourceSize.height, found.gradient.height());
  const auto centre = [](std::ptrdiff_t offset, std::size_t stride, std::size_t first, std::ptrdiff_t origin) {
    return offset + static_cast<std::ptrdiff_t>(stride) * (static_cast<std::ptrdiff_t>(first) - origin);
  };
  const Offset first{centre(forward.offset.x, forward.shape.strideInPixelsX, x.first, primary.offset.x),
                     centre(forward.offset.y, forward.shape.strideInPixelsY, y.first, primary.offset.y), 0};
  encoding.record(operations::CNNPoolingGradient{
      .gradient =
          found.gradient.view({x.first, y.first, x.count, y.count}, primary.featureChannelOffset, found.channels),
      .source = found.source.view(forward.featureChannelOffset, found.channels),
      .result = found.destination.view(found.clip, destinationFeatureChannelOffset, found.channels),
      .window = detail::windowOf(first, forward.shape),
      .resultX = firstRead(forward.offset.x, forward.shape.dilatedWidth(), found.source.width()),
      .resultY = firstRead(forward.offset.y, forward.shape.dilatedHeight(), found.source.height()),
      .type = type(),
      .edgeMode = forward.edgeMode,
      .zeroPadSizeX = padOf(zeroPadSize().width),
      .zeroPadSizeY = padOf(zeroPadSize().height)});
}

void CNNPoolingGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitor.visit("sourceSize.width", sourceSize.width);
  visitor.visit("sourceSize.height", sourceSize.height);
  visitor.visit("sourceSize.depth", sourceSize.depth);
}

CNNPoolingMaxGradient::CNNPoolingMaxGradient(const Device& device, const Descriptor& descriptor)
    : CNNPoolingGradient(device, "CNNPoolingMaxGradient", shapeOf(descriptor)) {}
CNNPoolingMaxGradient::CNNPoolingMaxGradient(Unarchiver& coder, const Device& device)
    : CNNPoolingMaxGradient(device, kAny) {
  decode(coder);
}
CNNPoolingMaxGradient CNNPoolingMaxGradient::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNPoolingMaxGradient::type() const { return PoolingType::max; }

CNNPoolingAverageGradient::CNNPoolingAverageGradient(const Device& device, const Descriptor& descriptor)
    : CNNPoolingGradient(device, "CNNPoolingAverageGradient", shapeOf(descriptor)) {}
CNNPoolingAverageGradient::CNNPoolingAverageGradient(Unarchiver& coder, const Device& device)
    : CNNPoolingAverageGradient(device, kAny) {
  decode(coder);
}
CNNPoolingAverageGradient CNNPoolingAverageGradient::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNPoolingAverageGradient::type() const { return PoolingType::average; }

void CNNPoolingAverageGradient::setZeroPadSize(Size size) {
  zeroPadSizeX = size.width;
  zeroPadSizeY = size.height;
}

void CNNPoolingAverageGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNPoolingGradient::visitSettings(visitor);
  visitor.visit("zeroPadSizeX", zeroPadSizeX);
  visitor.visit("zeroPadSizeY", zeroPadSizeY);
}

CNNPoolingL2NormGradient::CNNPoolingL2NormGradient(const Device& device, const Descriptor& descriptor)
    : CNNPoolingGradient(device, "CNNPoolingL2NormGradient", shapeOf(descriptor)) {}
CNNPoolingL2NormGradient::CNNPoolingL2NormGradient(Unarchiver& coder, const Device& device)
    : CNNPoolingL2NormGradient(device, kAny) {
  decode(coder);
}
CNNPoolingL2NormGradient CNNPoolingL2NormGradient::copy(const Device& device) const { return copyOf(*this, device); }
PoolingType CNNPoolingL2NormGradient::type() const { return PoolingType::l2Norm; }

CNNDilatedPoolingMaxGradient::CNNDilatedPoolingMaxGradient(const Device& device, const Descriptor& descriptor)
    : CNNPoolingGradient(device, "CNNDilatedPoolingMaxGradient", shapeOf(descriptor)) {}
CNNDilatedPoolingMaxGradient::CNNDilatedPoolingMaxGradient(Unarchiver& coder, const Device& device)
    : CNNDilatedPoolingMaxGradient(device, kAnyDilated) {
  decode(coder);
}
CNNDilatedPoolingMaxGradient CNNDilatedPoolingMaxGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}
PoolingType CNNDilatedPoolingMaxGradient::type() const { return PoolingType::max; }

}  // namespace metalloid
