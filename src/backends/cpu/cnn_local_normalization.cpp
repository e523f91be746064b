// The normalizations over windows of pixels, with vectors along the channels and pixels of a row.
//
// Sums over a window go down the columns first and then along the row. Means and variances are summed up tap by tap
// instead, as deviations, so that nothing cancels. A gradient takes two sweeps: what each output passes on
// to its window, and then the sums of that over the windows that hold a pixel.

#include "operations/cnn_local_normalization.hpp"

#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_local_normalization.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/inverse_power-inl.hpp"
#include "backends/cpu/windows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

using operations::ImageView;

constexpr std::size_t kMostChannels = 512;      // at a time, so that the rows of a window stay in the caches
constexpr std::size_t kSegmentFloats = 4096;    // of a row of results at a time
constexpr std::size_t kMostBlocks = 64;         // of rows; each has buffers of its own
constexpr std::size_t kGroupFloats = 1U << 20;  // of the images that a gradient takes at a time

ImageView channelsOf(ImageView view, BlockRange channels) {
  const std::size_t first = channels.begin * sizeOfDataType(view.type);
  view.data += first;
  for (auto& address : view.addresses) address += first;
  view.channels = channels.size();
  return view;
}

ImageView imagesOf(ImageView view, BlockRange images) {
  view.data = view.image(images.begin);
  view.images = images.size();
  if (!view.addresses.empty()) {
    const auto begin = view.addresses.begin();
    view.addresses = {begin + static_cast<std::ptrdiff_t>(images.begin),
                      begin + static_cast<std::ptrdiff_t>(images.end)};
  }
  return view;
}

/// Some pixels of a row of results.
struct Segment {
  std::size_t n, y, x, width;
  bool continues;  // the row below that of the last call, the same columns
};

/// The pixels of a row that are taken at a time.
std::size_t segmentWidth(const ImageView& view) {
  return std::min(view.width, std::max<std::size_t>(1, kSegmentFloats / view.channels));
}

/// The threads, and memory for all blocks of one sweep after the other.
class Work {
 public:
  explicit Work(Context& context) : context_(context) {}

  ThreadPool& pool() { return context_.pool; }
  float* take(std::size_t floats) {
    if (floats > floats_) memory_ = context_.scratch.take<float>(floats_ = floats);
    return memory_;
  }

 private:
  Context& context_;
  float* memory_ = nullptr;
  std::size_t floats_ = 0;
};

/// For each block of rows make(memory), with `floats` of its own, gives what is called with the block's segments.
template <class Make>
void forEachSegment(const ImageView& view, std::size_t floats, Work& work, const Make& make) {
  const std::size_t width = segmentWidth(view);
  const auto split = BlockSplit::inAtMost(kMostBlocks, view.images * view.height);
  float* const memory = work.take(split.count() * floats);
  work.pool().parallelFor(split.count(), [&](std::size_t block) {
    auto f = make(memory + block * floats);
    for (std::size_t x = 0; x < view.width; x += width) {
      for (std::size_t row = split[block].begin; row < split[block].end; ++row) {
        const bool continues = row != split[block].begin && row % view.height != 0;
        f(Segment{row / view.height, row % view.height, x, std::min(width, view.width - x), continues});
      }
    }
  });
}

/// The rows under a window at a segment.
void moveTo(WindowRows& rows, const Segment& segment, std::ptrdiff_t baseX, std::ptrdiff_t baseY, std::size_t tapsX) {
  if (!segment.continues)
    rows.begin(segment.n, static_cast<std::ptrdiff_t>(segment.x) + baseX, segment.width + tapsX - 1);
  rows.moveTo(static_cast<std::ptrdiff_t>(segment.y) + baseY);
}

struct Itself {
  HWY_INLINE FloatVector operator()(FloatVector x) const { return x; }
};
struct Square {
  HWY_INLINE FloatVector operator()(FloatVector x) const { return hn::Mul(x, x); }
};

/// sums = the sums of f over the windows of `count` neighbouring elements.
template <class F>
void sumsOver(const WindowRows& rows, std::size_t tapsX, std::size_t channels, std::size_t count, float* columns,
              float* sums, const F& f) {
  forEachVector(count + (tapsX - 1) * channels, [&](std::size_t j, std::size_t n) HWY_ATTR {
    auto sum = f(loadSome(rows.row(0) + j, n));
    for (std::size_t t = 1; t < rows.taps(); ++t) sum = hn::Add(sum, f(loadSome(rows.row(t) + j, n)));
    storeSome(sum, columns + j, n);
  });
  windowSums(columns, sums, count, tapsX, channels);
}

/// Means and variances over each window, the means as differences from the pixel that the window stands on: what is
/// large in all of them does not round them.
void momentsOver(const WindowRows& rows, std::size_t tapsX, std::size_t channels, std::size_t count, float* means,
                 float* variances) {
  const FloatTag d;
  const auto scale = hn::Set(d, 1 / static_cast<float>(tapsX * rows.taps()));
  const float* const centres = rows.row(rows.taps() / 2) + tapsX / 2 * channels;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto centre = loadSome(centres + j, n);
    auto sum = hn::Zero(d), squares = hn::Zero(d);
    for (std::size_t q = 0; q < rows.taps(); ++q) {
      const float* const row = rows.row(q) + j;
      for (std::size_t p = 0; p < tapsX; ++p) sum = hn::Add(sum, hn::Sub(loadSome(row + p * channels, n), centre));
    }
    const auto mean = hn::Mul(sum, scale);
    for (std::size_t q = 0; q < rows.taps(); ++q) {
      const float* const row = rows.row(q) + j;
      for (std::size_t p = 0; p < tapsX; ++p) {
        const auto deviation = hn::Sub(hn::Sub(loadSome(row + p * channels, n), centre), mean);
        squares = hn::MulAdd(deviation, deviation, squares);
      }
    }
    storeSome(mean, means + j, n);
    storeSome(hn::Mul(squares, scale), variances + j, n);
  });
}

/// values = scale * values + offset
void scaleAndAdd(float scale, float offset, float* values, std::size_t count) {
  const FloatTag d;
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    storeSome(hn::MulAdd(hn::Set(d, scale), loadSome(values + j, n), hn::Set(d, offset)), values + j, n);
  });
}

/// x - p0 * M, of a mean that is given as its difference from x.
HWY_INLINE FloatVector distanceFrom(float p0, FloatVector x, FloatVector mean) {
  const FloatTag d;
  return hn::NegMulAdd(hn::Set(d, p0), mean, hn::Mul(hn::Set(d, 1 - p0), x));
}

/// y = x * T^(-beta), or pm + ps * (x - p0 * M) * T^(-beta)
template <class Power>
void normalize(const Power& power, const float* x, const float* t, float* y, std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n)
                           HWY_ATTR { storeSome(hn::Mul(loadSome(x + j, n), power(loadSome(t + j, n))), y + j, n); });
}

template <class Power>
void normalizeContrast(const operations::CNNLocalContrastNormalization& operation, const Power& power, const float* x,
                       const float* means, const float* t, float* y, std::size_t count) {
  const FloatTag d;
  const auto ps = hn::Set(d, operation.ps), pm = hn::Set(d, operation.pm);
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto distance = distanceFrom(operation.p0, loadSome(x + j, n), loadSome(means + j, n));
    storeSome(hn::MulAdd(hn::Mul(ps, distance), power(loadSome(t + j, n)), pm), y + j, n);
  });
}

/// Sizes that all kernels here need.
struct Shape {
  template <class Operation>
  Shape(const Operation& operation, const ImageView& results, std::size_t channels)
      : tapsX(operation.window.x.taps),
        tapsY(operation.window.y.taps),
        taps(static_cast<float>(tapsX * tapsY)),
        count(segmentWidth(results) * channels),
        wideCount((segmentWidth(results) + tapsX - 1) * channels) {}

  std::size_t tapsX, tapsY;
  float taps;
  std::size_t count, wideCount;  // floats of a segment, and of a row under its windows
};

void runSpatial(const operations::CNNSpatialNormalization& o, const ImageView& source, const ImageView& result,
                Work& work) {
  const std::size_t channels = source.channels;
  const Shape shape(o, result, channels);
  const std::size_t centre = o.window.x.taps / 2 * channels;
  const std::size_t floats = (shape.tapsY + 1) * shape.wideCount + 2 * shape.count;
  withInversePower(o.beta, [&](const auto& power) {
    forEachSegment(result, floats, work, [&](float* memory) {
      float* const columns = memory + shape.tapsY * shape.wideCount;
      float* const t = columns + shape.wideCount;
      return [&, columns, t, rows = WindowRows(source, o.edgeMode, shape.tapsY, memory)](const Segment& at) mutable {
        const std::size_t count = at.width * channels;
        moveTo(rows, at, o.window.x.base, o.window.y.base, shape.tapsX);
        sumsOver(rows, shape.tapsX, channels, count, columns, t, Square());
        scaleAndAdd(o.alpha / shape.taps, o.delta, t, count);
        normalize(power, rows.row(shape.tapsY / 2) + centre, t, t + shape.count, count);
        storePixels(result, at.n, at.y, at.x, at.width, t + shape.count);
      };
    });
  });
}

void runContrast(const operations::CNNLocalContrastNormalization& o, const ImageView& source, const ImageView& result,
                 Work& work) {
  const std::size_t channels = source.channels;
  const Shape shape(o, result, channels);
  const std::size_t centre = o.window.x.taps / 2 * channels;
  const std::size_t floats = shape.tapsY * shape.wideCount + 3 * shape.count;
  withInversePower(o.beta, [&](const auto& power) {
    forEachSegment(result, floats, work, [&](float* memory) {
      float* const means = memory + shape.tapsY * shape.wideCount;
      float* const t = means + shape.count;
      float* const y = t + shape.count;
      return [&, means, t, y, rows = WindowRows(source, o.edgeMode, shape.tapsY, memory)](const Segment& at) mutable {
        const std::size_t count = at.width * channels;
        moveTo(rows, at, o.window.x.base, o.window.y.base, shape.tapsX);
        momentsOver(rows, shape.tapsX, channels, count, means, t);
        scaleAndAdd(o.alpha, o.delta, t, count);
        normalizeContrast(o, power, rows.row(shape.tapsY / 2) + centre, means, t, y, count);
        storePixels(result, at.n, at.y, at.x, at.width, y);
      };
    });
  });
}

// --- Gradients ------------------------------------------------------------------------------------------------------

/// What the outputs pass on, as packed images of float32.
ImageView termsLike(const ImageView& gradient, float* memory) {
  const std::size_t pixelBytes = gradient.channels * sizeof(float);
  return {.data = reinterpret_cast<std::byte*>(memory),
          .images = gradient.images,
          .width = gradient.width,
          .height = gradient.height,
          .channels = gradient.channels,
          .pixelBytes = pixelBytes,
          .rowBytes = gradient.width * pixelBytes,
          .imageBytes = gradient.pixels() * pixelBytes,
          .type = DataType::float32};
}

std::size_t floatsOf(const ImageView& view) { return view.images * view.pixels() * view.channels; }
float* at(const ImageView& terms, const Segment& segment) {
  return reinterpret_cast<float*>(terms.pixel(segment.n, segment.y, segment.x));
}

/// direct = g * T^(-beta), through = direct * (x - p0 * M) / T. Means are given as their differences from x; without
/// them M is 0.
template <class Power>
void passOn(const Power& power, const float* g, const float* x, float p0, const float* means, const float* t,
            float* direct, float* through, std::size_t count) {
  forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
    const auto scale = loadSome(t + j, n), scaled = hn::Mul(loadSome(g + j, n), power(scale));
    auto distance = loadSome(x + j, n);
    if (means) distance = distanceFrom(p0, distance, loadSome(means + j, n));
    storeSome(scaled, direct + j, n);
    storeSome(hn::Div(hn::Mul(scaled, distance), scale), through + j, n);
  });
}

/// Where the windows that hold a pixel of the result begin, counted in pixels of the gradient.
std::ptrdiff_t adjointBase(const operations::WindowAxis& axis, std::size_t result) {
  return static_cast<std::ptrdiff_t>(result) - axis.base - (static_cast<std::ptrdiff_t>(axis.taps) - 1);
}

void runSpatialGradient(const operations::CNNSpatialNormalizationGradient& o, const ImageView& gradient,
                        const ImageView& source, const ImageView& result, float* memory, Work& work) {
  const std::size_t channels = source.channels;
  const ImageView direct = termsLike(gradient, memory), through = termsLike(gradient, memory + floatsOf(gradient));
  {
    const Shape shape(o, gradient, channels);
    const std::size_t centre = o.window.x.taps / 2 * channels;
    const std::size_t floats = (shape.tapsY + 1) * shape.wideCount + 2 * shape.count;
    withInversePower(o.beta, [&](const auto& power) {
      forEachSegment(gradient, floats, work, [&](float* own) {
        float* const columns = own + shape.tapsY * shape.wideCount;
        float* const t = columns + shape.wideCount;
        return [&, columns, t, rows = WindowRows(source, o.edgeMode, shape.tapsY, own),
                g = WindowRows(gradient, o.edgeMode, 1, t + shape.count)](const Segment& s) mutable {
          const std::size_t count = s.width * channels;
          moveTo(rows, s, o.window.x.base, o.window.y.base, shape.tapsX);
          moveTo(g, s, 0, 0, 1);
          sumsOver(rows, shape.tapsX, channels, count, columns, t, Square());
          scaleAndAdd(o.alpha / shape.taps, o.delta, t, count);
          passOn(power, g.row(0), rows.row(shape.tapsY / 2) + centre, 0, nullptr, t, at(direct, s), at(through, s),
                 count);
        };
      });
    });
  }
  const Shape shape(o, result, channels);
  const std::size_t floats = (shape.tapsY + 1) * shape.wideCount + 3 * shape.count;
  const std::ptrdiff_t baseX = adjointBase(o.window.x, o.resultX), baseY = adjointBase(o.window.y, o.resultY);
  const auto middle = [](std::size_t taps) { return static_cast<std::ptrdiff_t>((taps - 1) / 2); };
  const float factor = 2 * o.alpha * o.beta / shape.taps;
  forEachSegment(result, floats, work, [&](float* own) {
    float* const columns = own + shape.tapsY * shape.wideCount;
    float* const sums = columns + shape.wideCount;
    return [&, columns, sums, rows = WindowRows(through, ImageEdgeMode::zero, shape.tapsY, own),
            centre = WindowRows(direct, ImageEdgeMode::zero, 1, sums + shape.count),
            x = WindowRows(source, ImageEdgeMode::zero, 1, sums + 2 * shape.count)](const Segment& s) mutable {
      const std::size_t count = s.width * channels;
      moveTo(rows, s, baseX, baseY, shape.tapsX);
      moveTo(centre, s, baseX + middle(shape.tapsX), baseY + middle(shape.tapsY), 1);
      moveTo(x, s, static_cast<std::ptrdiff_t>(o.resultX), static_cast<std::ptrdiff_t>(o.resultY), 1);
      sumsOver(rows, shape.tapsX, channels, count, columns, sums, Itself());
      forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
        const auto product = hn::Mul(hn::Set(FloatTag(), factor), loadSome(x.row(0) + j, n));
        storeSome(hn::NegMulAdd(product, loadSome(sums + j, n), loadSome(centre.row(0) + j, n)), sums + j, n);
      });
      storePixels(result, s.n, s.y, s.x, s.width, sums);
    };
  });
}

void runContrastGradient(const operations::CNNLocalContrastNormalizationGradient& o, const ImageView& gradient,
                         const ImageView& source, const ImageView& result, float* memory, Work& work) {
  const std::size_t channels = source.channels;
  const std::size_t each = floatsOf(gradient);
  const ImageView direct = termsLike(gradient, memory), through = termsLike(gradient, memory + each),
                  means = termsLike(gradient, memory + 2 * each);
  {
    const Shape shape(o, gradient, channels);
    const std::size_t centre = o.window.x.taps / 2 * channels;
    const std::size_t floats = shape.tapsY * shape.wideCount + 2 * shape.count;
    withInversePower(o.beta, [&](const auto& power) {
      forEachSegment(gradient, floats, work, [&](float* own) {
        float* const t = own + shape.tapsY * shape.wideCount;
        return [&, t, rows = WindowRows(source, o.edgeMode, shape.tapsY, own),
                g = WindowRows(gradient, o.edgeMode, 1, t + shape.count)](const Segment& s) mutable {
          const std::size_t count = s.width * channels;
          moveTo(rows, s, o.window.x.base, o.window.y.base, shape.tapsX);
          moveTo(g, s, 0, 0, 1);
          float* const m = at(means, s);
          momentsOver(rows, shape.tapsX, channels, count, m, t);
          scaleAndAdd(o.alpha, o.delta, t, count);
          const float* const pixels = rows.row(shape.tapsY / 2) + centre;
          passOn(power, g.row(0), pixels, o.p0, m, t, at(direct, s), at(through, s), count);
          forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
            storeSome(hn::Add(loadSome(m + j, n), loadSome(pixels + j, n)), m + j, n);  // the mean itself
          });
        };
      });
    });
  }
  const Shape shape(o, result, channels);
  const std::size_t floats = (3 * shape.tapsY + 1) * shape.wideCount + 2 * shape.count;
  const std::ptrdiff_t baseX = adjointBase(o.window.x, o.resultX), baseY = adjointBase(o.window.y, o.resultY);
  const std::size_t centre = (shape.tapsX - 1) / 2 * channels;
  const float forMean = o.p0 / shape.taps, forVariance = 2 * o.alpha * o.beta / shape.taps;
  forEachSegment(result, floats, work, [&](float* own) {
    const std::size_t window = shape.tapsY * shape.wideCount;
    float* const columns = own + 3 * window;
    float* const sums = columns + shape.wideCount;
    return [&, columns, sums, a = WindowRows(direct, ImageEdgeMode::zero, shape.tapsY, own),
            b = WindowRows(through, ImageEdgeMode::zero, shape.tapsY, own + window),
            m = WindowRows(means, ImageEdgeMode::zero, shape.tapsY, own + 2 * window),
            x = WindowRows(source, ImageEdgeMode::zero, 1, sums + shape.count)](const Segment& s) mutable {
      const std::size_t count = s.width * channels;
      for (WindowRows* const rows : {&a, &b, &m}) moveTo(*rows, s, baseX, baseY, shape.tapsX);
      moveTo(x, s, static_cast<std::ptrdiff_t>(o.resultX), static_cast<std::ptrdiff_t>(o.resultY), 1);
      sumsOver(a, shape.tapsX, channels, count, columns, sums, Itself());
      const float* const direct0 = a.row((shape.tapsY - 1) / 2) + centre;
      forEachVector(count, [&](std::size_t j, std::size_t n) HWY_ATTR {
        const FloatTag d;
        const auto value = loadSome(x.row(0) + j, n);
        auto deviations = hn::Zero(d);
        for (std::size_t q = 0; q < shape.tapsY; ++q) {
          for (std::size_t p = 0; p < shape.tapsX; ++p) {
            const std::size_t tap = j + p * channels;
            deviations =
                hn::MulAdd(loadSome(b.row(q) + tap, n), hn::Sub(value, loadSome(m.row(q) + tap, n)), deviations);
          }
        }
        auto dx = hn::NegMulAdd(hn::Set(d, forMean), loadSome(sums + j, n), loadSome(direct0 + j, n));
        dx = hn::NegMulAdd(hn::Set(d, forVariance), deviations, dx);
        storeSome(hn::Mul(hn::Set(d, o.ps), dx), sums + j, n);
      });
      storePixels(result, s.n, s.y, s.x, s.width, sums);
    };
  });
}

// --- Channels and images at a time ----------------------------------------------------------------------------------

template <class Operation, class F>
void runValues(const Operation& o, const F& f) {
  if (floatsOf(o.result) == 0) return;
  const BlockSplit channels(o.source.channels, kMostChannels);
  for (std::size_t i = 0; i < channels.count(); ++i)
    f(channelsOf(o.source, channels[i]), channelsOf(o.result, channels[i]));
}

/// f has scratch for `kinds` terms of each element of the gradient.
template <class Operation, class F>
void runGradients(const Operation& o, std::size_t kinds, Context& context, const F& f) {
  if (floatsOf(o.result) == 0) return;
  const std::size_t most = std::min(kMostChannels, o.source.channels);
  const std::size_t image = std::max<std::size_t>(1, o.gradient.pixels() * most);
  const BlockSplit groups(o.gradient.images, std::max<std::size_t>(1, kGroupFloats / image));
  auto* const memory = context.scratch.take<float>(kinds * image * std::min(o.gradient.images, groups[0].size()));
  const BlockSplit channels(o.source.channels, kMostChannels);
  for (std::size_t i = 0; i < channels.count(); ++i) {
    for (std::size_t g = 0; g < groups.count(); ++g) {
      const auto part = [&](const ImageView& view) { return imagesOf(channelsOf(view, channels[i]), groups[g]); };
      f(part(o.gradient), part(o.source), part(o.result), memory);
    }
  }
}

void runSpatialAll(const operations::CNNSpatialNormalization& o, Context& context) {
  Work work(context);
  runValues(o, [&](const ImageView& source, const ImageView& result) { runSpatial(o, source, result, work); });
}

void runContrastAll(const operations::CNNLocalContrastNormalization& o, Context& context) {
  Work work(context);
  runValues(o, [&](const ImageView& source, const ImageView& result) { runContrast(o, source, result, work); });
}

void runSpatialGradientAll(const operations::CNNSpatialNormalizationGradient& o, Context& context) {
  Work work(context);
  runGradients(o, 2, context, [&](const auto& gradient, const auto& source, const auto& result, float* memory) {
    runSpatialGradient(o, gradient, source, result, memory, work);
  });
}

void runContrastGradientAll(const operations::CNNLocalContrastNormalizationGradient& o, Context& context) {
  Work work(context);
  runGradients(o, 3, context, [&](const auto& gradient, const auto& source, const auto& result, float* memory) {
    runContrastGradient(o, gradient, source, result, memory, work);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {
namespace {

/// In clamp mode the pixels of the edge receive what falls outside.
template <class Operation>
const char* refusesClamp(const Operation& operation) {
  return operation.edgeMode == ImageEdgeMode::clamp ? "gradients in clamp mode" : nullptr;
}

}  // namespace

HWY_EXPORT(runSpatialAll);
HWY_EXPORT(runContrastAll);
HWY_EXPORT(runSpatialGradientAll);
HWY_EXPORT(runContrastGradientAll);

void runSimd(const operations::CNNSpatialNormalization& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runSpatialAll)(operation, context);
}

void runSimd(const operations::CNNLocalContrastNormalization& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runContrastAll)(operation, context);
}

const char* refusesSimd(const operations::CNNSpatialNormalizationGradient& operation, const Context&) {
  return refusesClamp(operation);
}
void runSimd(const operations::CNNSpatialNormalizationGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runSpatialGradientAll)(operation, context);
}

const char* refusesSimd(const operations::CNNLocalContrastNormalizationGradient& operation, const Context&) {
  return refusesClamp(operation);
}
void runSimd(const operations::CNNLocalContrastNormalizationGradient& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runContrastGradientAll)(operation, context);
}

}  // namespace metalloid::cpu
#endif
