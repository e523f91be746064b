// Rows of images as float32 with what stands outside the image beside them.

#if defined(METALLOID_CPU_IMAGE_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_IMAGE_ROWS_INL
#undef METALLOID_CPU_IMAGE_ROWS_INL
#else
#define METALLOID_CPU_IMAGE_ROWS_INL
#endif

#include "backends/cpu/rows-inl.hpp"
#include "operations/image_views.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

/// Pixels [x, x + count) of row y of image n, channel by channel, packed; positions may lie outside of the image.
HWY_INLINE void copyImageRow(const operations::ImageView& view, ImageEdgeMode edgeMode, std::size_t n, std::ptrdiff_t y,
                             std::ptrdiff_t x, std::size_t count, float* to) {
  const auto width = static_cast<std::ptrdiff_t>(view.width), height = static_cast<std::ptrdiff_t>(view.height);
  const std::size_t channels = view.channels;
  const bool clamps = edgeMode == ImageEdgeMode::clamp;
  if (width == 0 || height == 0 || (!clamps && (y < 0 || y >= height))) {
    std::fill_n(to, count * channels, 0.0F);
    return;
  }
  const std::ptrdiff_t end = x + static_cast<std::ptrdiff_t>(count);
  const std::ptrdiff_t first = std::clamp<std::ptrdiff_t>(x, 0, width), last = std::clamp(end, first, width);
  const auto left = static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(-x, 0, end - x));
  const auto inside = static_cast<std::size_t>(last - first);
  const std::size_t right = count - left - inside;
  const auto nearest = static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(y, 0, height - 1));
  const std::byte* const row = view.image(n) + nearest * view.rowBytes;
  const auto outside = [&](std::size_t edge, std::size_t pixels) {
    if (!clamps) {
      std::fill_n(to, pixels * channels, 0.0F);
      to += pixels * channels;
      return;
    }
    for (std::size_t i = 0; i < pixels; ++i, to += channels) {
      toFloats(row + edge * view.pixelBytes, view.type, channels, to);
    }
  };
  outside(0, left);
  const std::byte* from = row + static_cast<std::size_t>(first) * view.pixelBytes;
  if (view.pixelBytes == channels * sizeOfDataType(view.type)) {
    if (inside > 0) toFloats(from, view.type, inside * channels, to);
    to += inside * channels;
  } else {
    for (std::size_t i = 0; i < inside; ++i, from += view.pixelBytes, to += channels) {
      toFloats(from, view.type, channels, to);
    }
  }
  outside(view.width - 1, right);
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif
