#pragma once

#include <metalloid/data_type.hpp>

#include <cstddef>
#include <vector>

namespace metalloid::operations {

/// A region of the images of a batch, resolved to addresses on the device: pixels row by row, the channels of a pixel
/// together.
struct ImageView {
  std::byte* data = nullptr;  // first channel of the first pixel of the first image; null: not given, or not wanted
  std::size_t images = 1;
  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t channels = 0;
  std::size_t pixelBytes = 0;
  std::size_t rowBytes = 0;
  std::size_t imageBytes = 0;
  DataType type = DataType::float32;    // float32, float16, unorm16 or unorm8
  std::vector<std::byte*> addresses{};  // of the images, when no imageBytes leads from each to the next; else empty

  explicit operator bool() const { return data != nullptr; }

  std::byte* image(std::size_t n) const { return addresses.empty() ? data + n * imageBytes : addresses[n]; }
  std::byte* pixel(std::size_t n, std::size_t y, std::size_t x) const {
    return image(n) + y * rowBytes + x * pixelBytes;
  }
  std::size_t pixels() const { return width * height; }

  /// All pixels of an image lie one after another, and so do all channels of a pixel.
  bool isPacked() const {
    return pixelBytes == channels * sizeOfDataType(type) && (height <= 1 || rowBytes == width * pixelBytes);
  }
  /// All images are one packed block.
  bool isOneBlock() const {
    return isPacked() && (images <= 1 || (addresses.empty() && imageBytes == pixels() * pixelBytes));
  }

  friend bool operator==(const ImageView&, const ImageView&) = default;
};

}  // namespace metalloid::operations
