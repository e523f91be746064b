#pragma once

#include <metalloid/device.hpp>
#include <metalloid/image.hpp>

#include <cstddef>
#include <vector>

namespace metalloid::testing {

/// The size of an image, in the order of its elements.
struct ImageSize {
  std::size_t height = 1;
  std::size_t width = 1;
  std::size_t channels = 1;

  std::size_t elements() const { return height * width * channels; }
};

inline Image makeImage(const Device& device, ImageSize size,
                       ImageFeatureChannelFormat format = ImageFeatureChannelFormat::float32) {
  return Image(device,
               {.channelFormat = format, .width = size.width, .height = size.height, .featureChannels = size.channels});
}

/// An image of these values, [row][column][channel].
template <class T>
Image imageOf(const Device& device, ImageSize size, const std::vector<T>& values,
              ImageFeatureChannelFormat format = ImageFeatureChannelFormat::float32) {
  const Image image = makeImage(device, size, format);
  image.write(values);
  return image;
}

/// 0, 1, 2, …
inline std::vector<float> counting(std::size_t count, float first = 0) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  return values;
}

}  // namespace metalloid::testing
