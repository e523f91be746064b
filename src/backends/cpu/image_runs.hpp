#pragma once

#include "backends/cpu/thread_pool.hpp"
#include "operations/image_views.hpp"

#include <algorithm>
#include <cstddef>
#include <initializer_list>

namespace metalloid::cpu {

/// Images of one size cut into runs: elements that lie one after another in every view. The cuts depend on the views
/// alone; runs are numbered through the images, each of which has equally many.
class ImageRuns {
 public:
  /// Views that are not given do not count. `wholePixels`: a run is the channels of one pixel; else it is as long as
  /// the views allow, up to `kLongest`.
  ImageRuns(const operations::ImageView& first, std::initializer_list<const operations::ImageView*> rest,
            bool wholePixels)
      : width_(first.width), images_(first.images) {
    bool pixelsTouch = isPixelPacked(first), isPacked = first.isPacked();
    for (const auto* const view : rest) {
      if (!*view) continue;
      pixelsTouch = pixelsTouch && isPixelPacked(*view);
      isPacked = isPacked && view->isPacked();
    }
    if (wholePixels || !pixelsTouch) {
      stretch_ = first.channels;
      perStretch_ = 1;
      stretches_ = first.pixels();
    } else {
      // One row of pixels, or the image as one row.
      pixelsPerStretch_ = isPacked ? first.pixels() : first.width;
      stretch_ = pixelsPerStretch_ * first.channels;
      perStretch_ = (stretch_ + kLongest - 1) / kLongest;
      stretches_ = isPacked ? std::min<std::size_t>(first.pixels(), 1) : first.height;
    }
    length_ = wholePixels || !pixelsTouch ? stretch_ : std::min(stretch_, kLongest);
  }

  std::size_t perImage() const { return stretches_ * perStretch_; }
  std::size_t count() const { return images_ * perImage(); }
  std::size_t longest() const { return length_; }

  struct Run {
    std::size_t index;
    std::size_t image;
    std::size_t x, y;      // the pixel that it begins in
    std::size_t elements;  // before it, from that pixel on
    std::size_t length;

    /// Its first element; null for a view that is not given.
    std::byte* of(const operations::ImageView& view) const {
      return view ? view.pixel(image, y, x) + elements * sizeOfDataType(view.type) : nullptr;
    }
  };
  Run operator[](std::size_t index) const {
    const std::size_t inImage = index % perImage();
    const std::size_t stretch = inImage / perStretch_, begin = inImage % perStretch_ * length_;
    const std::size_t firstPixel = stretch * pixelsPerStretch_;
    return {.index = index,
            .image = index / perImage(),
            .x = firstPixel % width_,
            .y = firstPixel / width_,
            .elements = begin,
            .length = std::min(length_, stretch_ - begin)};
  }

  /// The runs that a thread takes at a time: a few microseconds.
  BlockSplit tasks() const {
    constexpr std::size_t kElements = 4096;
    return {count(), std::max<std::size_t>(1, kElements / std::max<std::size_t>(1, length_))};
  }

 private:
  static constexpr std::size_t kLongest = 1024;  // converted copies stay in L1

  static bool isPixelPacked(const operations::ImageView& view) {
    return view.pixelBytes == view.channels * sizeOfDataType(view.type);
  }

  std::size_t width_;
  std::size_t images_;
  std::size_t pixelsPerStretch_ = 1;
  std::size_t stretch_ = 0;     // elements one after another
  std::size_t stretches_ = 0;   // in an image
  std::size_t perStretch_ = 1;  // runs of one
  std::size_t length_ = 0;      // of a run; the last of a stretch may be shorter
};

}  // namespace metalloid::cpu
