// Rows of images, in parts that stay in L1, as float32; operands that are broadcast are spread out.

#if defined(METALLOID_CPU_IMAGE_SEGMENTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_IMAGE_SEGMENTS_INL
#undef METALLOID_CPU_IMAGE_SEGMENTS_INL
#else
#define METALLOID_CPU_IMAGE_SEGMENTS_INL
#endif

#include "backends/cpu/rows-inl.hpp"
#include "operations/cnn_arithmetic.hpp"
#include "operations/image_views.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

/// `count` elements as float32: in place, or in a buffer.
HWY_INLINE const float* floatsAt(const std::byte* from, DataType type, std::size_t count, float* buffer) {
  if (type == DataType::float32) return reinterpret_cast<const float*>(from);
  toFloats(from, type, count, buffer);
  return buffer;
}

/// Some pixels of a row with all their channels, or some channels of one pixel: at most kSegment elements.
struct Segment {
  std::size_t image;
  std::size_t y;
  BlockRange pixels;
  BlockRange channels;

  std::size_t count() const { return pixels.size() * channels.size(); }
};

/// All segments of images of one size.
class Segments {
 public:
  explicit Segments(const operations::ImageView& view)
      : height_(view.height),
        images_(view.images),
        pixels_(view.width, std::max<std::size_t>(kSegment / std::max<std::size_t>(view.channels, 1), 1)),
        channels_(view.channels, std::min(kSegment, view.channels)) {}

  std::size_t perRow() const { return pixels_.count() * channels_.count(); }
  std::size_t count() const { return images_ * height_ * perRow(); }

  Segment operator[](std::size_t index) const {
    const std::size_t row = index / perRow(), within = index % perRow();
    return at(row / height_, row % height_, within);
  }
  Segment at(std::size_t image, std::size_t y, std::size_t within) const {
    return {image, y, pixels_[within / channels_.count()], channels_[within % channels_.count()]};
  }

 private:
  std::size_t height_;
  std::size_t images_;
  BlockSplit pixels_;
  BlockSplit channels_;
};

inline constexpr std::size_t kSegmentsPerTask = 16;

/// Whether the elements of a segment lie together.
HWY_INLINE bool liesTogether(const operations::ImageView& view, const Segment& segment) {
  return segment.pixels.size() == 1 || view.pixelBytes == segment.channels.size() * sizeOfDataType(view.type);
}

/// Reads segments of an operand that may be broadcast.
class SegmentReader {
 public:
  explicit SegmentReader(const operations::ImageView& view, operations::Broadcast stride = {})
      : view_(view), stride_(stride), size_(sizeOfDataType(view.type)) {}

  const float* read(const Segment& s) {
    const std::byte* const from =
        view_.pixel(s.image, s.y * stride_.y, s.pixels.begin * stride_.x) + s.channels.begin * stride_.channels * size_;
    const std::size_t pixels = s.pixels.size(), channels = s.channels.size();
    if (stride_.x != 0 && stride_.channels != 0) {
      if (liesTogether(view_, s)) return floatsAt(from, view_.type, s.count(), values_);
      for (std::size_t x = 0; x < pixels; ++x)
        toFloats(from + x * view_.pixelBytes, view_.type, channels, values_ + x * channels);
    } else if (stride_.x != 0) {
      for (std::size_t x = 0; x < pixels; ++x) {
        float value;
        const float one = *floatsAt(from + x * view_.pixelBytes, view_.type, 1, &value);
        forEachVector(channels, [&](std::size_t j, std::size_t n)
                                    HWY_ATTR { storeSome(hn::Set(FloatTag(), one), values_ + x * channels + j, n); });
      }
    } else if (from != spread_ || s.count() > spreadCount_ || channels != spreadChannels_) {
      spread(from, pixels, channels);
    }
    return values_;
  }

 private:
  /// One pixel for all.
  void spread(const std::byte* from, std::size_t pixels, std::size_t channels) {
    spread_ = from;
    spreadCount_ = pixels * channels;
    spreadChannels_ = channels;
    if (stride_.channels == 0) {
      toFloats(from, view_.type, 1, values_);
      std::fill_n(values_ + 1, spreadCount_ - 1, values_[0]);
      return;
    }
    toFloats(from, view_.type, channels, values_);
    for (std::size_t done = channels; done < spreadCount_;) {
      const std::size_t count = std::min(done, spreadCount_ - done);
      std::memcpy(values_ + done, values_, count * sizeof(float));
      done += count;
    }
  }

  const operations::ImageView& view_;
  operations::Broadcast stride_;
  std::size_t size_;
  const std::byte* spread_ = nullptr;  // what `values_` holds
  std::size_t spreadCount_ = 0;
  std::size_t spreadChannels_ = 0;
  alignas(64) float values_[kSegment];
};

/// Takes segments of a result: `begin` gives the place to write, `finish` brings it home if need be.
class SegmentWriter {
 public:
  explicit SegmentWriter(const operations::ImageView& view) : view_(view), size_(sizeOfDataType(view.type)) {}

  float* begin(const Segment& s) {
    isDirect_ = view_.type == DataType::float32 && liesTogether(view_, s);
    return isDirect_ ? reinterpret_cast<float*>(address(s)) : values_;
  }
  void finish(const Segment& s) {
    if (isDirect_) return;
    std::byte* const to = address(s);
    if (liesTogether(view_, s)) {
      fromFloats(values_, s.count(), view_.type, to);
      return;
    }
    const std::size_t channels = s.channels.size();
    for (std::size_t x = 0; x < s.pixels.size(); ++x)
      fromFloats(values_ + x * channels, channels, view_.type, to + x * view_.pixelBytes);
  }

 private:
  std::byte* address(const Segment& s) const {
    return view_.pixel(s.image, s.y, s.pixels.begin) + s.channels.begin * size_;
  }

  const operations::ImageView& view_;
  std::size_t size_;
  bool isDirect_ = false;
  alignas(64) float values_[kSegment];
};

/// The bytes of a mask that belong to a segment: they lie together.
HWY_INLINE std::byte* maskAt(const operations::ImageView& mask, const Segment& s) {
  return mask.pixel(s.image, s.y, s.pixels.begin) + s.channels.begin;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
