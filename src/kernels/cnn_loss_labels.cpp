#include "core/checked_size.hpp"
#include "core/device_implementation.hpp"
#include "core/format.hpp"
#include "kernels/loss_settings.hpp"

#include <metalloid/cnn_loss_labels.hpp>
#include <metalloid/error.hpp>

#include <cstddef>
#include <utility>

namespace metalloid {
namespace {

using detail::CheckedSize;
using detail::LossLabelsImplementation;

[[noreturn]] void refuse(std::string message) {
  throw Error(ErrorCode::invalidArgument, std::move(message)).during("making a CNNLossLabels");
}

std::string text(const Size& size) { return fmt::format("{} x {} x {}", size.height, size.width, size.depth); }

Size sizeOf(const Image& image) { return {image.width(), image.height(), image.featureChannels()}; }

ImageDescriptor floatImage(const Size& size) {
  return {.channelFormat = ImageFeatureChannelFormat::float32,
          .width = size.width,
          .height = size.height,
          .featureChannels = size.depth};
}

Image imageOf(const Device& device, std::string_view role, const CNNLossDataDescriptor& d) {
  if (!device) refuse("The device is nil.");
  const auto [width, height, channels] = d.size;
  if (width == 0 || height == 0 || channels == 0)
    refuse(fmt::format("The {} are of {}, but no size is 0.", role, text(d.size)));
  Image image(device, floatImage(d.size));
  constexpr std::size_t kElement = sizeof(float);
  const bool isHWC = d.layout == DataLayout::HeightxWidthxFeatureChannels;
  const std::size_t dense = width * (isHWC ? channels : 1) * kElement;  // fits: the image has that size
  const std::size_t row = d.bytesPerRow ? d.bytesPerRow : dense;
  const auto plane = (CheckedSize(height) * row).value();
  const std::size_t bytes = d.bytesPerImage ? d.bytesPerImage : plane.value_or(0);
  if (!plane || row < dense || row % kElement != 0 || bytes < *plane || bytes % kElement != 0) {
    refuse(
        fmt::format("The {} of {} cannot have {} bytes a row and {} an image: at least {} a row, {} rows an image, "
                    "and multiples of {}, are needed.",
                    role, text(d.size), row, bytes, dense, height, kElement));
  }
  const std::size_t planes = isHWC ? 1 : channels;
  const auto needed = (CheckedSize(planes - 1) * bytes + CheckedSize(height - 1) * row + dense).value();
  if (!needed || *needed / kElement > d.data.size()) {
    refuse(fmt::format("The {} of {} need {} numbers, but {} are given.", role, text(d.size),
                       needed.value_or(all) / kElement, d.data.size()));
  }
  std::vector<float> values;
  values.reserve(width * height * channels);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < channels; ++c)
        values.push_back(
            d.data[(isHWC ? y * row / kElement + x * channels + c : (c * bytes + y * row) / kElement + x)]);
    }
  }
  image.write(values);
  return image;
}

void checkImage(const Device& device, std::string_view role, const Image& image) {
  if (image.device() != device) refuse(fmt::format("The {} is on device {}.", role, image.device().name()));
  if (image.isTemporary()) refuse(fmt::format("The {} is temporary, but the labels outlive a command buffer.", role));
  if (image.numberOfImages() != 1)
    refuse(fmt::format("The {} holds {} images, but labels are for one.", role, image.numberOfImages()));
}

detail::Ref<detail::RefCounted> makeLabels(const Device& device, const Size& lossImageSize, Image labels,
                                           Image weights) {
  const Size size = sizeOf(labels);
  if (weights && sizeOf(weights) != size)
    refuse(fmt::format("The weights are of {}, but the labels of {}.", text(sizeOf(weights)), text(size)));
  if (lossImageSize != size && lossImageSize != Size{1, 1, 1}) {
    refuse(fmt::format("The lossImageSize is {}, but it must be 1 x 1 x 1 or the labels' {}.", text(lossImageSize),
                       text(size)));
  }
  return detail::Ref<detail::RefCounted>(detail::makeRef<LossLabelsImplementation>(
      detail::Ref<detail::DeviceImplementation>(&detail::implementation(device)), lossImageSize, std::move(labels),
      std::move(weights)));
}

}  // namespace

namespace detail {

LossLabelsImplementation::LossLabelsImplementation(Ref<DeviceImplementation> device, const Size& lossImageSize,
                                                   Image labels, Image weights)
    : StateImplementation(std::move(device)), labels_(std::move(labels)), weights_(std::move(weights)) {
  addImage(floatImage(lossImageSize));
}

}  // namespace detail

CNNLossLabels::CNNLossLabels(const Device& device, const CNNLossDataDescriptor& labelsDescriptor)
    : CNNLossLabels(device, DataArguments{.labelsDescriptor = labelsDescriptor}) {}

CNNLossLabels::CNNLossLabels(const Device& device, const DataArguments& arguments)
    : State(makeLabels(device, arguments.lossImageSize, imageOf(device, "labels", arguments.labelsDescriptor),
                       arguments.weightsDescriptor.data.empty()
                           ? Image()
                           : imageOf(device, "weights", arguments.weightsDescriptor))) {}

CNNLossLabels::CNNLossLabels(const Device& device, const ImageArguments& arguments)
    : State([&] {
        if (!device) refuse("The device is nil.");
        if (!arguments.labelsImage) refuse("The labelsImage is nil.");
        checkImage(device, "labelsImage", arguments.labelsImage);
        if (arguments.weightsImage) checkImage(device, "weightsImage", arguments.weightsImage);
        return makeLabels(device, arguments.lossImageSize, arguments.labelsImage, arguments.weightsImage);
      }()) {}

CNNLossLabels::CNNLossLabels(const State& state) : State(state) {
  if (state) detail::implementationAs<LossLabelsImplementation>(state, "CNNLossLabels");
}

Image CNNLossLabels::lossImage() const {
  return detail::implementationAs<LossLabelsImplementation>(*this, "CNNLossLabels").loss();
}
Image CNNLossLabels::labelsImage() const {
  return detail::implementationAs<LossLabelsImplementation>(*this, "CNNLossLabels").labels();
}
Image CNNLossLabels::weightsImage() const {
  return detail::implementationAs<LossLabelsImplementation>(*this, "CNNLossLabels").weights();
}

}  // namespace metalloid
