#include "operations/cnn_local_normalization.hpp"

#include "core/format.hpp"
#include "core/settings_visitor.hpp"
#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_local_normalization.hpp>
#include <metalloid/error.hpp>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;

namespace {

constexpr std::size_t kLargestSize = std::size_t{1} << 31;

/// The square window of the spatial kernels.
detail::KernelShape squareOf(const char* className, std::size_t width, std::size_t height) {
  if (width == 0 || width != height || width > kLargestSize) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("A {} has a square window, but kernelWidth is {} and kernelHeight is {}.", className, width,
                            height));
  }
  return {.kernelWidth = width, .kernelHeight = height};
}

/// What an archive must hold for one.
void requireSquare(const char* className, const detail::KernelShape& shape) {
  if (shape != detail::KernelShape{.kernelWidth = shape.kernelWidth, .kernelHeight = shape.kernelWidth})
    detail::refuseSetting(className, "kernelHeight", "the window is square, without strides and dilation.");
}

std::size_t checkedSize(const char* className, std::size_t kernelSize) {
  if (kernelSize == 0 || kernelSize > kLargestSize) {
    throw Error(ErrorCode::invalidArgument,
                fmt::format("The kernelSize of a {} is 1 or more, but {} is given.", className, kernelSize));
  }
  return kernelSize;
}

void visitSize(detail::SettingsVisitor& visitor, const char* className, std::size_t& kernelSize) {
  visitor.visit("kernelSize", kernelSize);
  if (kernelSize == 0 || kernelSize > kLargestSize) detail::refuseSetting(className, "kernelSize", "it is 1 or more.");
}

void checkAlpha(const Encoding& encoding, float alpha) {
  if (!(alpha < 0)) return;
  encoding.refuse(fmt::format("The alpha of {} is {}, but it must not be negative.", encoding.kernelName(), alpha));
}

template <class K>
void visitSquares(detail::SettingsVisitor& visitor, K& kernel) {
  visitor.visit("alpha", kernel.alpha);
  visitor.visit("beta", kernel.beta);
  visitor.visit("delta", kernel.delta);
}

template <class K>
void visitContrast(detail::SettingsVisitor& visitor, K& kernel) {
  visitSquares(visitor, kernel);
  visitor.visit("p0", kernel.p0);
  visitor.visit("pm", kernel.pm);
  visitor.visit("ps", kernel.ps);
}

/// The gradients' view of a neighbourhood: of the gradient what the forward kernel wrote, the whole source.
struct NeighbourhoodViews {
  operations::ImageView gradient;
  operations::ImageView source;
  operations::ImageView result;
  operations::Window window;  // the forward one, from the pixels of `gradient`
  std::size_t resultX = 0;
  std::size_t resultY = 0;
};

NeighbourhoodViews neighbourhoodViews(Encoding& encoding, const CNNGradientKernel& kernel,
                                      const ImageOperands& operands) {
  const auto primary = kernel.sourceSettings(0), secondary = kernel.sourceSettings(1);
  auto found = detail::gradientOperands(encoding, kernel, operands);
  detail::PixelRect written{0, 0, found.gradient.width(), found.gradient.height()};
  if (!operands.sourceStates.empty()) {
    const auto* const state =
        dynamic_cast<detail::GradientStateImplementation*>(&detail::implementation(operands.sourceStates.front()));
    if (state) written = state->record().clip;
  }
  if (secondary.offset.x < 0 || secondary.offset.y < 0 ||
      static_cast<std::size_t>(secondary.offset.x) + found.clip.width > found.source.width() ||
      static_cast<std::size_t>(secondary.offset.y) + found.clip.height > found.source.height()) {
    encoding.refuse(fmt::format("{} writes gradients for {} x {} pixels from ({}, {}) on, but its source has {} x {}.",
                                encoding.kernelName(), found.clip.width, found.clip.height, secondary.offset.x,
                                secondary.offset.y, found.source.width(), found.source.height()));
  }
  if (operands.destinationsAreNew) {
    detail::clearUncovered(encoding, found.destination, found.clip, kernel.destinationFeatureChannelOffset,
                           found.channels);
  }
  // Gradient pixel g belongs to source pixel g - primaryOffset + secondaryOffset.
  const Offset first{
      .x = static_cast<std::ptrdiff_t>(written.x) - primary.offset.x + secondary.offset.x,
      .y = static_cast<std::ptrdiff_t>(written.y) - primary.offset.y + secondary.offset.y,
  };
  return {.gradient = found.gradient.view(written, primary.featureChannelOffset, found.channels),
          .source = found.source.view(secondary.featureChannelOffset, found.channels),
          .result = found.destination.view(found.clip, kernel.destinationFeatureChannelOffset, found.channels),
          .window = detail::windowOf(first, secondary.shape),
          .resultX = static_cast<std::size_t>(secondary.offset.x),
          .resultY = static_cast<std::size_t>(secondary.offset.y)};
}

/// A window carries gradients beyond the pixels that the forward kernel was centred on: the whole source is written.
void configureWhole(CNNGradientKernel& kernel, const State& gradientState) {
  const auto* const state = dynamic_cast<detail::GradientStateImplementation*>(&detail::implementation(gradientState));
  if (!state || state->record().sources.size() != 1) return;
  const auto& record = state->record();
  const Offset offset = record.sources.front().settings.offset;
  kernel.clipRect.origin.x = kernel.clipRect.origin.y = 0;
  kernel.clipRect.size.width = kernel.clipRect.size.height = all;
  kernel.secondaryOffset.x = kernel.secondaryOffset.y = 0;
  kernel.primaryOffset.x = static_cast<std::ptrdiff_t>(record.clip.x) - offset.x;
  kernel.primaryOffset.y = static_cast<std::ptrdiff_t>(record.clip.y) - offset.y;
}

}  // namespace

// --- Spatial --------------------------------------------------------------------------------------------------------

CNNSpatialNormalization::CNNSpatialNormalization(const Device& device, std::size_t kernelWidth,
                                                 std::size_t kernelHeight)
    : CNNKernel(device, "CNNSpatialNormalization") {
  shape_ = squareOf("CNNSpatialNormalization", kernelWidth, kernelHeight);
}

CNNSpatialNormalization::CNNSpatialNormalization(Unarchiver& coder, const Device& device)
    : CNNSpatialNormalization(device, 1, 1) {
  decode(coder);
}

State CNNSpatialNormalization::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void CNNSpatialNormalization::record(Encoding& encoding, const ImageOperands& operands) const {
  checkAlpha(encoding, alpha);
  auto views = detail::windowedViews(encoding, *this, operands);
  encoding.record(operations::CNNSpatialNormalization{.source = std::move(views.source),
                                                      .result = std::move(views.result),
                                                      .window = views.window,
                                                      .edgeMode = edgeMode,
                                                      .alpha = alpha,
                                                      .beta = beta,
                                                      .delta = delta});
}

CNNSpatialNormalization CNNSpatialNormalization::copy(const Device& device) const { return copyOf(*this, device); }

void CNNSpatialNormalization::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  requireSquare("CNNSpatialNormalization", shape_);
  visitSquares(visitor, *this);
}

CNNSpatialNormalizationGradient::CNNSpatialNormalizationGradient(const Device& device, std::size_t kernelWidth,
                                                                 std::size_t kernelHeight)
    : CNNGradientKernel(device, "CNNSpatialNormalizationGradient") {
  secondary_ = squareOf("CNNSpatialNormalizationGradient", kernelWidth, kernelHeight);
}

CNNSpatialNormalizationGradient::CNNSpatialNormalizationGradient(Unarchiver& coder, const Device& device)
    : CNNSpatialNormalizationGradient(device, 1, 1) {
  decode(coder);
}

void CNNSpatialNormalizationGradient::configure(const State& gradientState) {
  CNNGradientKernel::configure(gradientState);
  configureWhole(*this, gradientState);
}

void CNNSpatialNormalizationGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  checkAlpha(encoding, alpha);
  auto views = neighbourhoodViews(encoding, *this, operands);
  encoding.record(operations::CNNSpatialNormalizationGradient{.gradient = std::move(views.gradient),
                                                              .source = std::move(views.source),
                                                              .result = std::move(views.result),
                                                              .window = views.window,
                                                              .resultX = views.resultX,
                                                              .resultY = views.resultY,
                                                              .edgeMode = secondaryEdgeMode,
                                                              .alpha = alpha,
                                                              .beta = beta,
                                                              .delta = delta});
}

CNNSpatialNormalizationGradient CNNSpatialNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNSpatialNormalizationGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  requireSquare("CNNSpatialNormalizationGradient", secondary_);
  visitSquares(visitor, *this);
}

// --- Local contrast -------------------------------------------------------------------------------------------------

CNNLocalContrastNormalization::CNNLocalContrastNormalization(const Device& device, std::size_t kernelWidth,
                                                             std::size_t kernelHeight)
    : CNNKernel(device, "CNNLocalContrastNormalization") {
  shape_ = squareOf("CNNLocalContrastNormalization", kernelWidth, kernelHeight);
}

CNNLocalContrastNormalization::CNNLocalContrastNormalization(Unarchiver& coder, const Device& device)
    : CNNLocalContrastNormalization(device, 1, 1) {
  decode(coder);
}

State CNNLocalContrastNormalization::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void CNNLocalContrastNormalization::record(Encoding& encoding, const ImageOperands& operands) const {
  auto views = detail::windowedViews(encoding, *this, operands);
  encoding.record(operations::CNNLocalContrastNormalization{.source = std::move(views.source),
                                                            .result = std::move(views.result),
                                                            .window = views.window,
                                                            .edgeMode = edgeMode,
                                                            .alpha = alpha,
                                                            .beta = beta,
                                                            .delta = delta,
                                                            .p0 = p0,
                                                            .pm = pm,
                                                            .ps = ps});
}

CNNLocalContrastNormalization CNNLocalContrastNormalization::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNLocalContrastNormalization::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  requireSquare("CNNLocalContrastNormalization", shape_);
  visitContrast(visitor, *this);
}

CNNLocalContrastNormalizationGradient::CNNLocalContrastNormalizationGradient(const Device& device,
                                                                             std::size_t kernelWidth,
                                                                             std::size_t kernelHeight)
    : CNNGradientKernel(device, "CNNLocalContrastNormalizationGradient") {
  secondary_ = squareOf("CNNLocalContrastNormalizationGradient", kernelWidth, kernelHeight);
}

CNNLocalContrastNormalizationGradient::CNNLocalContrastNormalizationGradient(Unarchiver& coder, const Device& device)
    : CNNLocalContrastNormalizationGradient(device, 1, 1) {
  decode(coder);
}

void CNNLocalContrastNormalizationGradient::configure(const State& gradientState) {
  CNNGradientKernel::configure(gradientState);
  configureWhole(*this, gradientState);
}

void CNNLocalContrastNormalizationGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto views = neighbourhoodViews(encoding, *this, operands);
  encoding.record(operations::CNNLocalContrastNormalizationGradient{.gradient = std::move(views.gradient),
                                                                    .source = std::move(views.source),
                                                                    .result = std::move(views.result),
                                                                    .window = views.window,
                                                                    .resultX = views.resultX,
                                                                    .resultY = views.resultY,
                                                                    .edgeMode = secondaryEdgeMode,
                                                                    .alpha = alpha,
                                                                    .beta = beta,
                                                                    .delta = delta,
                                                                    .p0 = p0,
                                                                    .pm = pm,
                                                                    .ps = ps});
}

CNNLocalContrastNormalizationGradient CNNLocalContrastNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNLocalContrastNormalizationGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  requireSquare("CNNLocalContrastNormalizationGradient", secondary_);
  visitContrast(visitor, *this);
}

// --- Cross channel --------------------------------------------------------------------------------------------------

CNNCrossChannelNormalization::CNNCrossChannelNormalization(const Device& device, std::size_t kernelSize)
    : CNNKernel(device, "CNNCrossChannelNormalization"),
      kernelSize_(checkedSize("CNNCrossChannelNormalization", kernelSize)) {}

CNNCrossChannelNormalization::CNNCrossChannelNormalization(Unarchiver& coder, const Device& device)
    : CNNCrossChannelNormalization(device) {
  decode(coder);
}

State CNNCrossChannelNormalization::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void CNNCrossChannelNormalization::record(Encoding& encoding, const ImageOperands& operands) const {
  checkAlpha(encoding, alpha);
  auto views = detail::pointwiseViews(encoding, *this, operands);
  encoding.record(operations::CNNCrossChannelNormalization{.source = std::move(views.source),
                                                           .result = std::move(views.result),
                                                           .kernelSize = kernelSize_,
                                                           .alpha = alpha,
                                                           .beta = beta,
                                                           .delta = delta});
}

CNNCrossChannelNormalization CNNCrossChannelNormalization::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNCrossChannelNormalization::visitSettings(detail::SettingsVisitor& visitor) {
  CNNKernel::visitSettings(visitor);
  visitSize(visitor, "CNNCrossChannelNormalization", kernelSize_);
  visitSquares(visitor, *this);
}

CNNCrossChannelNormalizationGradient::CNNCrossChannelNormalizationGradient(const Device& device, std::size_t kernelSize)
    : CNNGradientKernel(device, "CNNCrossChannelNormalizationGradient"),
      kernelSize_(checkedSize("CNNCrossChannelNormalizationGradient", kernelSize)) {}

CNNCrossChannelNormalizationGradient::CNNCrossChannelNormalizationGradient(Unarchiver& coder, const Device& device)
    : CNNCrossChannelNormalizationGradient(device) {
  decode(coder);
}

void CNNCrossChannelNormalizationGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  checkAlpha(encoding, alpha);
  auto views = detail::pointwiseGradientViews(encoding, *this, operands);
  encoding.record(operations::CNNCrossChannelNormalizationGradient{.gradient = std::move(views.gradient),
                                                                   .source = std::move(views.source),
                                                                   .result = std::move(views.result),
                                                                   .kernelSize = kernelSize_,
                                                                   .alpha = alpha,
                                                                   .beta = beta,
                                                                   .delta = delta});
}

CNNCrossChannelNormalizationGradient CNNCrossChannelNormalizationGradient::copy(const Device& device) const {
  return copyOf(*this, device);
}

void CNNCrossChannelNormalizationGradient::visitSettings(detail::SettingsVisitor& visitor) {
  CNNGradientKernel::visitSettings(visitor);
  visitSize(visitor, "CNNCrossChannelNormalizationGradient", kernelSize_);
  visitSquares(visitor, *this);
}

}  // namespace metalloid
