// Sums over windows, and the rows of pixels that they need.

#if defined(METALLOID_CPU_WINDOWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_WINDOWS_INL
#undef METALLOID_CPU_WINDOWS_INL
#else
#define METALLOID_CPU_WINDOWS_INL
#endif

#include "backends/cpu/rows-inl.hpp"
#include "operations/image_views.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

/// sums[j] = values[j] + values[j + stride] + ... + values[j + (taps - 1) * stride] for j < count. The sums of 1, 2, 4,
/// ... neighbours are made one from the other, in the place of the count + (taps - 1) * stride values.
HWY_INLINE void windowSums(float* values, float* sums, std::size_t count, std::size_t taps, std::size_t stride) {
  std::size_t length = count + (taps - 1) * stride;  // of the sums of `width` neighbours
  std::size_t done = 0;                              // neighbours that the sums hold already
  for (std::size_t width = 1;; width *= 2) {
    if ((taps & width) != 0) {
      const float* const from = values + done * stride;
      if (done == 0) {
        std::memcpy(sums, from, count * sizeof(float));
      } else {
        forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
          storeSome(hn::Add(loadSome(sums + j, n), loadSome(from + j, n)), sums + j, n);
        });
      }
      done += width;
      if (done == taps) return;
    }
    length -= width * stride;
    const float* const ahead = values + width * stride;
    forEachVector(length, [&](std::size_t j, std::size_t n) HWY_ATTR {
      storeSome(hn::Add(loadSome(values + j, n), loadSome(ahead + j, n)), values + j, n);
    });
  }
}

/// The rows that a window of `taps` rows covers, as float32, packed, with what the edge mode says outside of the image.
/// Moving down by one row loads one.
class WindowRows {
 public:
  /// `buffer` takes taps * width * channels floats, `width` as large as any that `begin` is given.
  WindowRows(const operations::ImageView& view, ImageEdgeMode edgeMode, std::size_t taps, float* buffer)
      : view_(view), edgeMode_(edgeMode), taps_(taps), buffer_(buffer) {}

  /// Columns [x, x + width) of image n from now on.
  void begin(std::size_t n, std::ptrdiff_t x, std::size_t width) {
    image_ = n;
    x_ = x;
    width_ = width;
    isLoaded_ = false;
  }

  /// Rows [y, y + taps).
  void moveTo(std::ptrdiff_t y) {
    if (isLoaded_ && y == y_ + 1) {
      load(y + static_cast<std::ptrdiff_t>(taps_) - 1, slot(0));
      top_ = (top_ + 1) % taps_;
    } else {
      top_ = 0;
      for (std::size_t t = 0; t < taps_; ++t) load(y + static_cast<std::ptrdiff_t>(t), slot(t));
    }
    y_ = y;
    isLoaded_ = true;
  }

  std::size_t taps() const { return taps_; }
  const float* row(std::size_t tap) const { return buffer_ + (top_ + tap) % taps_ * width_ * view_.channels; }

 private:
  float* slot(std::size_t tap) { return buffer_ + (top_ + tap) % taps_ * width_ * view_.channels; }

  void load(std::ptrdiff_t y, float* to) const {
    const auto height = static_cast<std::ptrdiff_t>(view_.height), width = static_cast<std::ptrdiff_t>(view_.width);
    const std::size_t channels = view_.channels;
    const bool clamps = edgeMode_ == ImageEdgeMode::clamp;
    if (clamps) y = std::clamp<std::ptrdiff_t>(y, 0, height - 1);
    if (y < 0 || y >= height) {
      std::memset(to, 0, width_ * channels * sizeof(float));
      return;
    }
    const std::ptrdiff_t end = x_ + static_cast<std::ptrdiff_t>(width_);
    const std::ptrdiff_t first = std::clamp<std::ptrdiff_t>(x_, 0, width),
                         last = std::clamp<std::ptrdiff_t>(end, first, width);
    const auto row = static_cast<std::size_t>(y);
    const auto outside = [&](std::ptrdiff_t count, std::ptrdiff_t nearest) {
      for (std::ptrdiff_t i = 0; i < count; ++i, to += channels) {
        if (clamps) {
          toFloats(view_.pixel(image_, row, static_cast<std::size_t>(nearest)), view_.type, channels, to);
        } else {
          std::memset(to, 0, channels * sizeof(float));
        }
      }
    };
    outside(std::min(first, end) - x_, 0);
    const auto inside = static_cast<std::size_t>(last - first);
    if (inside > 0 && view_.pixelBytes == channels * sizeOfDataType(view_.type)) {
      toFloats(view_.pixel(image_, row, static_cast<std::size_t>(first)), view_.type, inside * channels, to);
      to += inside * channels;
    } else {
      for (std::ptrdiff_t x = first; x < last; ++x, to += channels)
        toFloats(view_.pixel(image_, row, static_cast<std::size_t>(x)), view_.type, channels, to);
    }
    outside(end - std::max(last, x_), width - 1);
  }

  const operations::ImageView& view_;
  ImageEdgeMode edgeMode_;
  std::size_t taps_;
  float* buffer_;
  std::size_t image_ = 0;
  std::ptrdiff_t x_ = 0;
  std::size_t width_ = 0;
  std::ptrdiff_t y_ = 0;
  std::size_t top_ = 0;  // the slot of the first row
  bool isLoaded_ = false;
};

/// `width` pixels of a row, packed, to the image.
HWY_INLINE void storePixels(const operations::ImageView& view, std::size_t n, std::size_t y, std::size_t x,
                            std::size_t width, const float* from) {
  if (view.pixelBytes == view.channels * sizeOfDataType(view.type)) {
    fromFloats(from, width * view.channels, view.type, view.pixel(n, y, x));
    return;
  }
  for (std::size_t i = 0; i < width; ++i)
    fromFloats(from + i * view.channels, view.channels, view.type, view.pixel(n, y, x + i));
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
