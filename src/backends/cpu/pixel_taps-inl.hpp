// Reductions over the pixels that windows read: each result pixel from a few source pixels, channel by channel.

#if defined(METALLOID_CPU_PIXEL_TAPS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_PIXEL_TAPS_INL
#undef METALLOID_CPU_PIXEL_TAPS_INL
#else
#define METALLOID_CPU_PIXEL_TAPS_INL
#endif

#include "backends/cpu/axis_taps.hpp"
#include "backends/cpu/elements-inl.hpp"
#include "backends/cpu/thread_pool.hpp"
#include "operations/image_views.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using operations::ImageView;

inline constexpr std::size_t kTapsAtOnce = 16;       // as many pixels as the hardware prefetches side by side
inline constexpr std::size_t kChannelsAtOnce = 512;  // of so many channels each, so that the sums stay in L1

/// Some of the pixels that one result pixel reads.
struct TapGroup {
  std::size_t count = 0;
  const float* pixels[kTapsAtOnce];
  float weights[kTapsAtOnce];
};

struct WeightedSum {
  static constexpr bool kIsWeighted = true;
  static HWY_INLINE FloatVector start(FloatVector x, FloatVector w) { return hn::Mul(x, w); }
  static HWY_INLINE FloatVector next(FloatVector sum, FloatVector x, FloatVector w) { return hn::MulAdd(x, w, sum); }
  static HWY_INLINE FloatVector join(FloatVector before, FloatVector sum) { return hn::Add(before, sum); }
};

struct SquareSum {
  static constexpr bool kIsWeighted = true;
  static HWY_INLINE FloatVector start(FloatVector x, FloatVector w) { return hn::Mul(hn::Mul(x, w), x); }
  static HWY_INLINE FloatVector next(FloatVector sum, FloatVector x, FloatVector w) {
    return hn::MulAdd(hn::Mul(x, w), x, sum);
  }
  static HWY_INLINE FloatVector join(FloatVector before, FloatVector sum) { return hn::Add(before, sum); }
};

/// Where x replaces the largest so far: where it is larger, and where it is the first NaN.
HWY_INLINE auto isLarger(FloatVector x, FloatVector largest) {
  return hn::AndNot(hn::Le(x, largest), hn::Eq(largest, largest));
}

struct Largest {
  static constexpr bool kIsWeighted = false;
  static HWY_INLINE FloatVector start(FloatVector x, FloatVector) { return x; }
  static HWY_INLINE FloatVector next(FloatVector largest, FloatVector x, FloatVector) {
    return hn::IfThenElse(isLarger(x, largest), x, largest);
  }
  static HWY_INLINE FloatVector join(FloatVector before, FloatVector largest) { return next(before, largest, before); }
};

struct Unchanged {
  HWY_INLINE FloatVector operator()(FloatVector value, std::size_t, std::size_t) const { return value; }
};

/// `kVectors` vectors from channel j on; a single one may have fewer than all lanes.
template <class Op, int kVectors, class Finish>
HWY_INLINE void reduceVectors(const TapGroup& taps, bool isFirst, float* to, std::size_t j, std::size_t lanes,
                              const Finish& finish) {
  const FloatTag d;
  const auto load = [&](const float* from, int v) HWY_ATTR {
    return kVectors == 1 ? loadSome(from, lanes) : hn::LoadU(d, from + static_cast<std::size_t>(v) * lanes);
  };
  const float* pixel = taps.pixels[0] + j;
  auto weight = hn::Set(d, taps.weights[0]);
  auto a = Op::start(load(pixel, 0), weight), b = a, c = a, e = a;
  if constexpr (kVectors > 1) b = Op::start(load(pixel, 1), weight);
  if constexpr (kVectors > 2) c = Op::start(load(pixel, 2), weight), e = Op::start(load(pixel, 3), weight);
  for (std::size_t t = 1; t < taps.count; ++t) {
    pixel = taps.pixels[t] + j;
    weight = hn::Set(d, taps.weights[t]);
    a = Op::next(a, load(pixel, 0), weight);
    if constexpr (kVectors > 1) b = Op::next(b, load(pixel, 1), weight);
    if constexpr (kVectors > 2) {
      c = Op::next(c, load(pixel, 2), weight);
      e = Op::next(e, load(pixel, 3), weight);
    }
  }
  const auto store = [&](FloatVector value, int v) HWY_ATTR {
    float* const at = to + j + static_cast<std::size_t>(v) * lanes;
    if (!isFirst) value = Op::join(loadSome(at, lanes), value);
    storeSome(finish(value, j + static_cast<std::size_t>(v) * lanes, lanes), at, lanes);
  };
  store(a, 0);
  if constexpr (kVectors > 1) store(b, 1);
  if constexpr (kVectors > 2) store(c, 2), store(e, 3);
}

template <class Op, class Finish>
HWY_INLINE void reduceGroup(const TapGroup& taps, bool isFirst, float* to, std::size_t channels, const Finish& finish) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  std::size_t j = 0;
  for (; j + 4 * lanes <= channels; j += 4 * lanes) reduceVectors<Op, 4>(taps, isFirst, to, j, lanes, finish);
  if (j + 2 * lanes <= channels) {
    reduceVectors<Op, 2>(taps, isFirst, to, j, lanes, finish);
    j += 2 * lanes;
  }
  for (; j < channels; j += lanes) {
    reduceVectors<Op, 1>(taps, isFirst, to, j, std::min(lanes, channels - j), finish);
  }
}

/// One result pixel: `channels` channels at `to` from those at `image` of the pixels of one window, of which there is
/// at least one. Sums of more than a group are sums of the groups' sums.
template <class Op, class Finish>
void reducePixel(const ImageView& source, const std::byte* image, std::span<const AxisTap> rows,
                 std::span<const AxisTap> columns, float* to, std::size_t channels, const Finish& finish) {
  TapGroup group;
  bool isFirst = true;
  std::size_t left = rows.size() * columns.size();
  for (const AxisTap& y : rows) {
    const std::byte* const row = image + y.position * source.rowBytes;
    for (const AxisTap& x : columns) {
      group.pixels[group.count] = reinterpret_cast<const float*>(row + x.position * source.pixelBytes);
      group.weights[group.count] = Op::kIsWeighted ? static_cast<float>(y.weight * x.weight) : 1;
      ++group.count;
      --left;
      if (left == 0) {
        reduceGroup<Op>(group, isFirst, to, channels, finish);
      } else if (group.count == kTapsAtOnce) {
        reduceGroup<Op>(group, isFirst, to, channels, Unchanged());
        group.count = 0;
        isFirst = false;
      }
    }
  }
}

/// Work on images cut for the threads, by sizes alone: rows of pixels of all images, and some of their channels.
class PixelWork {
 public:
  /// `perRow`: elements that a row of one image reads in all its channels.
  PixelWork(std::size_t images, std::size_t height, std::size_t channels, std::size_t perRow)
      : height_(height),
        channels_(channels, kChannelsAtOnce),
        rows_(images * height, std::max<std::size_t>(kElements / std::max<std::size_t>(perRow, 1), 1)) {}

  /// Calls f(image, y, channels) for each row.
  template <class F>
  void run(ThreadPool& pool, const F& f) const {
    const std::size_t segments = channels_.count();
    pool.parallelFor(rows_.count() * segments, [&](std::size_t index) {
      const BlockRange rows = rows_[index / segments], channels = channels_[index % segments];
      for (std::size_t r = rows.begin; r < rows.end; ++r) f(r / height_, r % height_, channels);
    });
  }

 private:
  static constexpr std::size_t kElements = std::size_t{1} << 15;  // of a task, at least: some microseconds

  std::size_t height_;
  BlockSplit channels_;
  BlockSplit rows_;
};

/// Every result pixel from the source pixels of its window; 0 where the window has none. `finishOf(n, y, x, c)` gives
/// what is done with the channels from c on of a reduced pixel.
template <class Op, class FinishOf>
void reducePixels(const ImageView& source, const AxisTaps& rows, const AxisTaps& columns, const ImageView& result,
                  ThreadPool& pool, const FinishOf& finishOf) {
  if (result.pixels() == 0) return;
  const std::size_t perRow = columns.taps() * (rows.taps() / rows.outputs() + 1) * result.channels;
  const PixelWork work(result.images, result.height, result.channels, perRow);
  work.run(pool, [&](std::size_t n, std::size_t y, BlockRange channels) HWY_ATTR {
    const std::byte* const image = source.image(n) + channels.begin * sizeof(float);
    const auto window = rows[y];
    for (std::size_t x = 0; x < result.width; ++x) {
      float* const to = reinterpret_cast<float*>(result.pixel(n, y, x)) + channels.begin;
      if (window.empty() || columns[x].empty()) {
        std::memset(to, 0, channels.size() * sizeof(float));
      } else {
        reducePixel<Op>(source, image, window, columns[x], to, channels.size(), finishOf(n, y, x, channels.begin));
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
