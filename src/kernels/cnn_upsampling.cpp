#include "operations/cnn_upsampling.hpp"

#include "core/checked_size.hpp"
#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_upsampling.hpp>
#include <metalloid/error.hpp>

#include <algorithm>
#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;
using operations::UpsamplingAxis;

namespace {

/// What an upsampling leaves for its gradient.
class UpsamplingState : public detail::GradientStateImplementation {
 public:
  UpsamplingState(detail::Ref<detail::DeviceImplementation> device, CommandBuffer* commandBuffer,
                  detail::ForwardRecord record, UpsamplingAxis x, UpsamplingAxis y)
      : GradientStateImplementation(std::move(device), commandBuffer, std::move(record)), x_(x), y_(y) {}

  const UpsamplingAxis& x() const { return x_; }
  const UpsamplingAxis& y() const { return y_; }

 private:
  UpsamplingAxis x_;
  UpsamplingAxis y_;
};

constexpr std::size_t kMost = std::size_t{1} << 24;

bool isPossible(std::size_t factor) { return factor >= 1 && factor <= kMost; }

std::size_t checked(std::string_view className, std::string_view axis, std::size_t factor) {
  if (isPossible(factor)) return factor;
  throw Error(ErrorCode::invalidArgument, fmt::format("The scaleFactor{} of a {} is {}, but it must be from 1 to {}.",
                                                      axis, className, factor, kMost));
}

void visitFactors(detail::SettingsVisitor& visitor, std::size_t& x, std::size_t& y) {
  visitor.visit("scaleFactorX", x);
  visitor.visit("scaleFactorY", y);
  if (!isPossible(x) || !isPossible(y)) detail::refuseSetting("kernel", "scaleFactor", "the number is 0 or too large.");
}

UpsamplingAxis axisOf(std::size_t scale, std::ptrdiff_t offset, bool isBilinear, bool alignCorners) {
  return {.scale = scale,
          .first = offset * static_cast<std::ptrdiff_t>(scale),
          .isBilinear = isBilinear,
          .alignCorners = alignCorners};
}

}  // namespace

// --- Forward

CNNUpsampling::CNNUpsampling(const Device& device, std::string_view className, std::size_t scaleFactorX,
                             std::size_t scaleFactorY, bool alignCorners)
    : CNNKernel(device, className),
      scaleFactorX_(checked(className, "X", scaleFactorX)),
      scaleFactorY_(checked(className, "Y", scaleFactorY)),
      alignCorners_(alignCorners) {}

void CNNUpsampling::adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                                      ImageDescriptor& suggested) {
  CNNKernel::adjustDestination(sources, sourceStates, suggested);
  const auto width = (detail::CheckedSize(suggested.width) * scaleFactorX_).value();
  const auto height = (detail::CheckedSize(suggested.height) * scaleFactorY_).value();
  if (!width || !height) {
    throw Error(ErrorCode::invalidArgument, fmt::format("{} enlarges {} x {} pixels beyond the address space.", name(),
                                                        suggested.height, suggested.width));
  }
  suggested.width = *width;
  suggested.height = *height;
}

State CNNUpsampling::makeResultState(const ResultStateArguments& arguments) {
  return detail::stateHandle<NNGradientState>(detail::makeRef<UpsamplingState>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device())), arguments.commandBuffer,
      detail::recordOf(*this, arguments.sources, arguments.destination),
      axisOf(scaleFactorX_, 0, isBilinear(), alignCorners_), axisOf(scaleFactorY_, 0, isBilinear(), alignCorners_)));
}

void CNNUpsampling::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = detail::windowedViews(encoding, *this, operands);
  encoding.record(operations::CNNUpsampling{.source = std::move(views.source),
                                            .result = std::move(views.result),
                                            .x = axisOf(scaleFactorX_, offset.x, isBilinear(), alignCorners_),
                                            .y = axisOf(scaleFactorY_, offset.y, isBilinear(), alignCorners_)});
}

void CNNUpsampling::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitFactors(visitor, scaleFactorX_, scaleFactorY_);
  visitor.visit("alignCorners", alignCorners_);
  if (alignCorners_ && !isBilinear()) detail::refuseSetting("kernel", "alignCorners", "nothing is interpolated.");
}

CNNUpsamplingNearest::CNNUpsamplingNearest(const Device& device, const Descriptor& descriptor)
    : CNNUpsampling(device, "CNNUpsamplingNearest", descriptor.integerScaleFactorX, descriptor.integerScaleFactorY,
                    false) {}
CNNUpsamplingNearest::CNNUpsamplingNearest(Unarchiver& coder, const Device& device)
    : CNNUpsamplingNearest(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}) {
  decode(coder);
}
CNNUpsamplingNearest CNNUpsamplingNearest::copy(const Device& device) const { return copyOf(*this, device); }

CNNUpsamplingBilinear::CNNUpsamplingBilinear(const Device& device, const Descriptor& descriptor)
    : CNNUpsampling(device, "CNNUpsamplingBilinear", descriptor.integerScaleFactorX, descriptor.integerScaleFactorY,
                    descriptor.alignCorners) {}
CNNUpsamplingBilinear::CNNUpsamplingBilinear(Unarchiver& coder, const Device& device)
    : CNNUpsamplingBilinear(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}) {
  decode(coder);
}
CNNUpsamplingBilinear CNNUpsamplingBilinear::copy(const Device& device) const { return copyOf(*this, device); }

// --- Gradients

CNNUpsamplingGradient::CNNUpsamplingGradient(const Device& device, std::string_view className, std::size_t scaleFactorX,
                                             std::size_t scaleFactorY)
    : CNNGradientKernel(device, className),
      scaleFactorX_(checked(className, "X", scaleFactorX)),
      scaleFactorY_(checked(className, "Y", scaleFactorY)) {}

void CNNUpsamplingGradient::configure(const State& gradientState) {
  CNNGradientKernel::configure(gradientState);
  const auto* const state = dynamic_cast<const UpsamplingState*>(&detail::implementation(gradientState));
  if (!state || state->x().isBilinear != isBilinear()) {
    throw Error(
        ErrorCode::invalidArgument,
        fmt::format("The gradientState of {} is {}, but it must be the state of the forward upsampling.", name(),
                    state ? "that of another kind of upsampling" : detail::implementation(gradientState).name()));
  }
  const auto& record = state->record();
  const auto& [settings, image] = record.sources.front();
  scaleFactorX_ = state->x().scale;
  scaleFactorY_ = state->y().scale;
  setCornersAreAligned(state->x().alignCorners);
  primaryOffset.x = static_cast<std::ptrdiff_t>(record.clip.x);
  primaryOffset.y = static_cast<std::ptrdiff_t>(record.clip.y);
  sourceSize = {record.clip.width, record.clip.height, all};
  secondaryOffset.x = settings.offset.x;
  secondaryOffset.y = settings.offset.y;
  const auto firstRead = [&](std::size_t scale, std::ptrdiff_t offset, std::size_t source) {
    return axisOf(scale, offset, isBilinear(), cornersAreAligned()).taps(0, source).low;
  };
  clipRect.origin.x = firstRead(scaleFactorX_, secondaryOffset.x, image.width);
  clipRect.origin.y = firstRead(scaleFactorY_, secondaryOffset.y, image.height);
  clipRect.size.width = image.width - clipRect.origin.x;
  clipRect.size.height = image.height - clipRect.origin.y;
}

void CNNUpsamplingGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto found = detail::gradientOperands(encoding, *this, operands);
  if (operands.destinationsAreNew)
    detail::clearUncovered(encoding, found.destination, found.clip, destinationFeatureChannelOffset, found.channels);
  detail::requireModerate(encoding, primaryOffset);
  detail::requireModerate(encoding, secondaryOffset);
  const auto x = detail::partOf(primaryOffset.x, sourceSize.width, found.gradient.width());
  const auto y = detail::partOf(primaryOffset.y, sourceSize.height, found.gradient.height());
  auto axisX = axisOf(scaleFactorX_, secondaryOffset.x, isBilinear(), cornersAreAligned());
  auto axisY = axisOf(scaleFactorY_, secondaryOffset.y, isBilinear(), cornersAreAligned());
  const std::size_t resultX = axisX.taps(0, found.source.width()).low;
  const std::size_t resultY = axisY.taps(0, found.source.height()).low;
  axisX.first += static_cast<std::ptrdiff_t>(x.first) - primaryOffset.x;
  axisY.first += static_cast<std::ptrdiff_t>(y.first) - primaryOffset.y;
  encoding.record(operations::CNNUpsamplingGradient{
      .gradient =
          found.gradient.view({x.first, y.first, x.count, y.count}, primarySourceFeatureChannelOffset, found.channels),
      .result = found.destination.view(found.clip, destinationFeatureChannelOffset, found.channels),
      .x = axisX,
      .y = axisY,
      .sourceWidth = found.source.width(),
      .sourceHeight = found.source.height(),
      .resultX = resultX,
      .resultY = resultY});
}

void CNNUpsamplingGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitFactors(visitor, scaleFactorX_, scaleFactorY_);
  visitor.visit("sourceSize.width", sourceSize.width);
  visitor.visit("sourceSize.height", sourceSize.height);
  visitor.visit("sourceSize.depth", sourceSize.depth);
}

CNNUpsamplingNearestGradient::CNNUpsamplingNearestGradient(const Device& device, const Descriptor& descriptor)
    : CNNUpsamplingGradient(device, "CNNUpsamplingNearestGradient", descriptor.integerScaleFactorX,
                            descriptor.integerScaleFactorY) {}
CNNUpsamplingNearestGradient::CNNUpsamplingNearestGradient(Unarchiver& coder, const Device& device)
    : CNNUpsamplingNearestGradient(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}) {
  decode(coder);
}
CNNUpsamplingNearestGradient CNNUpsamplingNearestGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

CNNUpsamplingBilinearGradient::CNNUpsamplingBilinearGradient(const Device& device, const Descriptor& descriptor)
    : CNNUpsamplingGradient(device, "CNNUpsamplingBilinearGradient", descriptor.integerScaleFactorX,
                            descriptor.integerScaleFactorY) {}
CNNUpsamplingBilinearGradient::CNNUpsamplingBilinearGradient(Unarchiver& coder, const Device& device)
    : CNNUpsamplingBilinearGradient(device, {.integerScaleFactorX = 1, .integerScaleFactorY = 1}) {
  decode(coder);
}
CNNUpsamplingBilinearGradient CNNUpsamplingBilinearGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNUpsamplingBilinearGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNUpsamplingGradient::visitSettings(visitor);
  visitor.visit("alignCorners", alignCorners);
}

}  // namespace metalloid
