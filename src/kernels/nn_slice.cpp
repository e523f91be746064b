#include "core/format.hpp"
#include "kernels/image_geometry.hpp"
#include "operations/image_copy.hpp"

#include <metalloid/nn_slice.hpp>

#include <algorithm>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;

NNSlice::NNSlice(const Device& device) : CNNKernel(device, "NNSlice") {}
NNSlice::NNSlice(Unarchiver& coder, const Device& device) : NNSlice(device) { decode(coder); }

void NNSlice::adjustDestination(const ImageBatch&, const StateBatch&, ImageDescriptor& suggested) {
  // What begins outside of the source is refused by the encode.
  const auto along = [](std::size_t source, std::ptrdiff_t first, std::size_t origin, std::size_t size) {
    const auto left = static_cast<std::ptrdiff_t>(source) - std::max<std::ptrdiff_t>(first, 0);
    return origin + std::clamp<std::size_t>(size, 1, static_cast<std::size_t>(std::max<std::ptrdiff_t>(left, 1)));
  };
  suggested.width = along(suggested.width, offset.x, clipRect.origin.x, clipRect.size.width);
  suggested.height = along(suggested.height, offset.y, clipRect.origin.y, clipRect.size.height);
}

void NNSlice::record(Encoding& encoding, const ImageOperands& operands) const {
  auto found = unaryOperands(encoding, *this, operands);
  const auto isInside = [](std::ptrdiff_t first, std::size_t size, std::size_t available) {
    return first >= 0 && static_cast<std::size_t>(first) <= available &&
           size <= available - static_cast<std::size_t>(first);
  };
  if (!isInside(offset.x, found.clip.width, found.source.width()) ||
      !isInside(offset.y, found.clip.height, found.source.height())) {
    encoding.refuse(fmt::format("{} slices {} x {} pixels from ({}, {}) on, but the source has {} x {}.",
                                encoding.kernelName(), found.clip.width, found.clip.height, offset.x, offset.y,
                                found.source.width(), found.source.height()));
  }
  const std::size_t channels =
      std::min(found.channels,
               found.destination.channels() - std::min(found.destination.channels(), destinationFeatureChannelOffset));
  encoding.record(operations::ImageCopy{
      .source = found.source.view(
          {static_cast<std::size_t>(offset.x), static_cast<std::size_t>(offset.y), found.clip.width, found.clip.height},
          sourceFeatureChannelOffset, channels),
      .result = found.destination.view(found.clip, destinationFeatureChannelOffset, channels)});
}

}  // namespace metalloid
