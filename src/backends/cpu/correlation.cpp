// Correlations as products of matrices: a row for each output pixel, a column for each output channel, and as inner
// index the taps and their channels. The left factor is never laid out: its rows begin at the pixels of the source
// that the windows begin at, and each row of taps, or each tap, is a segment at the same distance from all of them.
// Where windows leave the source, a task copies the rows it sees with their surroundings, once for all taps.

#include "backends/cpu/correlation.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cpu/correlation_plan.hpp"
#include "backends/cpu/thread_scratch.hpp"

// Compiled once for each instruction set.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/correlation.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "backends/cpu/correlation_tile-inl.hpp"
#include "backends/cpu/depthwise_tile-inl.hpp"
#include "backends/cpu/gemm_pack-inl.hpp"
#include "backends/cpu/image_rows-inl.hpp"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::correlation_internal {
namespace HWY_NAMESPACE {

TileShape tileShape() { return {tileRows(kTileVectors), kTileVectors, hn::Lanes(FloatTag())}; }

/// Columns of a task.
struct Columns {
  std::size_t first;
  std::size_t count;  // that exist
  EvenParts panels;   // in vectors

  Columns(const CorrelationJob& job, BlockRange vectors)
      : first(vectors.begin * hn::Lanes(FloatTag())),
        count(std::min(vectors.size() * hn::Lanes(FloatTag()), job.correlation->result.channels - first)),
        panels(vectors.size(), kTileVectors) {}

  std::size_t begin(std::size_t panel) const { return panels.begin(panel) * hn::Lanes(FloatTag()); }
};

/// One panel of the weights over a part of an inner block.
void packPanel(const CorrelationJob& job, const InnerBlock& block, const Columns& task, std::size_t panel,
               BlockRange part) {
  const Correlation& correlation = *job.correlation;
  const std::size_t lanes = hn::Lanes(FloatTag());
  const std::size_t first = task.first + task.begin(panel), vectors = task.panels.size(panel);
  const std::size_t columns = std::min(vectors * lanes, correlation.result.channels - first);
  const EvenParts one(vectors, kTileVectors);
  float* const packed = job.packed + block.inner.begin * job.vectors * lanes + first * block.inner.size();
  std::size_t before = 0;  // in other segments
  for (const Segment& segment : block.right) {
    const std::size_t begin = std::max(before, part.begin), end = std::min(before + segment.length, part.end);
    if (begin < end) {
      const float* const from = correlation.weights + segment.offset + (begin - before) * correlation.channelStride +
                                first * correlation.columnStride;
      float* const to = packed + begin * vectors * lanes;
      if (correlation.channelStride == 1) {
        gemm::packRightPanelsTransposed(from, correlation.columnStride, end - begin, columns, one, to);
      } else {
        gemm::packRightPanels(from, correlation.channelStride, end - begin, columns, one, to);
      }
    }
    before += segment.length;
  }
}

/// All weights of a depth-wise correlation: tap by tap.
void packTaps(const CorrelationJob& job) {
  const Correlation& correlation = *job.correlation;
  const std::size_t stride = job.vectors * hn::Lanes(FloatTag());
  for (std::size_t t = 0; t < job.taps.size(); ++t) {
    const float* const from = correlation.weights + job.taps[t];
    for (std::size_t k = 0; k < correlation.result.channels; ++k) {
      job.packed[t * stride + k] = from[k * correlation.columnStride];
    }
  }
}

/// All weights of few columns, as computeDots reads them.
void packDots(const CorrelationJob& job) {
  const Correlation& correlation = *job.correlation;
  const std::size_t lanes = hn::Lanes(FloatTag()), columns = correlation.result.channels;
  const InnerBlock& block = job.blocks.front();
  const Segment* from = block.right.data();
  std::size_t k = 0;  // in the segment of the weights
  float* to = job.packed;
  for (const Segment& segment : block.left) {
    for (std::size_t begin = 0; begin < segment.length; begin += lanes, to += columns * lanes) {
      std::fill_n(to, columns * lanes, 0.0F);
      for (std::size_t lane = 0; lane < std::min(lanes, segment.length - begin); ++lane) {
        const float* const weights = correlation.weights + from->offset + k * correlation.channelStride;
        for (std::size_t c = 0; c < columns; ++c) to[c * lanes + lane] = weights[c * correlation.columnStride];
        if (++k < from->length) continue;
        ++from;
        k = 0;
      }
    }
  }
}

/// The weights in the order of the tasks, so that they mostly are in the cache of the core that needs them.
void pack(const CorrelationJob& job, std::size_t index) {
  if (job.correlation->depthwise) return packTaps(job);
  if (job.dots) return packDots(job);
  const std::size_t parts = job.partsOfBlock(), blocks = job.blocks.size();
  const std::size_t panel = index / parts / blocks % job.panels;
  const InnerBlock& block = job.blocks[index / parts % blocks];
  const Columns columns(job, job.columns[index / parts / blocks / job.panels]);
  const BlockSplit split(block.inner.size(), kInnerPackedTogether);
  if (panel < columns.panels.count() && index % parts < split.count()) {
    packPanel(job, block, columns, panel, split[index % parts]);
  }
}

/// Output pixels of a task, as a walk over images, rows and columns.
struct PixelWalk {
  std::size_t image;
  std::size_t y;
  std::size_t x;

  PixelWalk(const Correlation& correlation, std::size_t index)
      : image(index / (correlation.x.outputs * correlation.y.outputs)),
        y(index / correlation.x.outputs % correlation.y.outputs),
        x(index % correlation.x.outputs) {}

  void next(const Correlation& correlation) {
    if (++x < correlation.x.outputs) return;
    x = 0;
    if (++y < correlation.y.outputs) return;
    y = 0;
    ++image;
  }
};

/// Calls f(image, its output rows) for the images that a range of output pixels touches.
template <class F>
void forEachImage(const Correlation& correlation, BlockRange pixels, const F& f) {
  const PixelWalk first(correlation, pixels.begin), last(correlation, pixels.end - 1);
  for (std::size_t image = first.image; image <= last.image; ++image) {
    f(image, BlockRange{image == first.image ? first.y : 0, image == last.image ? last.y + 1 : correlation.y.outputs});
  }
}

std::size_t copiedFloats(const CorrelationJob& job, BlockRange pixels) {
  std::size_t rows = 0;
  forEachImage(*job.correlation, pixels,
               [&](std::size_t, BlockRange y) { rows += job.correlation->y.extent(y.size()); });
  return job.copies ? rows * job.rowFloats : 0;
}

/// Copies the rows that the windows of some output pixels see, and says where each window begins.
void locateCopied(const CorrelationJob& job, BlockRange pixels, float* copy, const float** starts) {
  const Correlation& correlation = *job.correlation;
  const std::size_t width = job.rowFloats / job.pixelFloats;
  PixelWalk pixel(correlation, pixels.begin);
  const float** const end = starts + pixels.size();
  forEachImage(correlation, pixels, [&](std::size_t image, BlockRange lines) {
    const std::ptrdiff_t top = correlation.y.base + correlation.y.step * static_cast<std::ptrdiff_t>(lines.begin);
    const std::size_t rows = correlation.y.extent(lines.size());
    for (std::size_t row = 0; row < rows; ++row) {
      cpu::HWY_NAMESPACE::copyImageRow(correlation.source, correlation.edgeMode, image,
                                       top + static_cast<std::ptrdiff_t>(row), correlation.x.base, width,
                                       copy + row * job.rowFloats);
    }
    for (; starts != end && pixel.image == image; pixel.next(correlation)) {
      *starts++ = copy + static_cast<std::size_t>(correlation.y.step) * (pixel.y - lines.begin) * job.rowFloats +
                  static_cast<std::size_t>(correlation.x.step) * pixel.x * job.pixelFloats;
    }
    copy += rows * job.rowFloats;
  });
}

/// The same where the windows stay within the source and can read it in place.
void locateInPlace(const CorrelationJob& job, BlockRange pixels, const float** starts) {
  const Correlation& correlation = *job.correlation;
  PixelWalk pixel(correlation, pixels.begin);
  for (std::size_t i = 0; i < pixels.size(); ++i, pixel.next(correlation)) {
    const auto y =
        static_cast<std::size_t>(correlation.y.base) + static_cast<std::size_t>(correlation.y.step) * pixel.y;
    const auto x =
        static_cast<std::size_t>(correlation.x.base) + static_cast<std::size_t>(correlation.x.step) * pixel.x;
    starts[i] = reinterpret_cast<const float*>(correlation.source.pixel(pixel.image, y, x));
  }
}

std::byte* resultPixel(const Correlation& correlation, const PixelWalk& pixel) {
  return correlation.result.pixel(pixel.image, correlation.y.firstOutput + correlation.y.outputStep * pixel.y,
                                  correlation.x.firstOutput + correlation.x.outputStep * pixel.x);
}

/// All columns of a task for its rows, up to the neuron unless that is a ReLU. A panel of the weights stays in L1 while
/// all rows pass by.
void multiply(const CorrelationJob& job, const Columns& columns, std::size_t rows, const float* const* starts,
              float* const* results) {
  const Correlation& correlation = *job.correlation;
  const std::size_t lanes = hn::Lanes(FloatTag());
  for (const InnerBlock& block : job.blocks) {
    const bool last = &block == &job.blocks.back();
    Tile tile{};
    tile.segments = block.left.data();
    tile.segmentCount = block.left.size();
    tile.adds = &block != &job.blocks.front();
    tile.reLU = last && endsWithReLU(correlation) ? correlation.neuron : nullptr;
    const float* const packed = job.packed + block.inner.begin * job.vectors * lanes;
    for (std::size_t panel = 0; panel < columns.panels.count(); ++panel) {
      const std::size_t vectors = columns.panels.size(panel);
      tile.column = columns.begin(panel);
      tile.columns = std::min(vectors * lanes, columns.count - tile.column);
      tile.b = packed + (columns.first + tile.column) * block.inner.size();
      tile.bias = last && correlation.bias ? correlation.bias + columns.first + tile.column : nullptr;
      // The next panel follows this one.
      const std::size_t panelFloats = block.inner.size() * vectors * lanes;
      std::size_t upcoming = job.inner * job.vectors * lanes > kFloatsInCaches ? panelFloats : 0;
      tile.upcoming = reinterpret_cast<std::uintptr_t>(tile.b + panelFloats);
      const EvenParts strips(rows, tileRows(vectors));
      for (std::size_t strip = 0; strip < strips.count(); ++strip) {
        tile.a = starts + strips.begin(strip);
        tile.c = results + strips.begin(strip);
        tileFunction(upcoming > 0, strips.size(strip), vectors)(tile);
        const std::size_t fetched = std::min(upcoming, block.inner.size() * 64 / sizeof(float));
        upcoming -= fetched;
        tile.upcoming += fetched * sizeof(float);
      }
    }
  }
}

/// The same for few columns.
void multiplyDots(const CorrelationJob& job, const Columns& columns, std::size_t rows, const float* const* starts,
                  float* const* results) {
  const Correlation& correlation = *job.correlation;
  const InnerBlock& block = job.blocks.front();
  Tile tile{};
  tile.segments = block.left.data();
  tile.segmentCount = block.left.size();
  tile.b = job.packed;
  tile.columns = columns.count;
  tile.bias = correlation.bias;
  tile.reLU = endsWithReLU(correlation) ? correlation.neuron : nullptr;
  const EvenParts strips(rows, dotRows(columns.count));
  for (std::size_t strip = 0; strip < strips.count(); ++strip) {
    tile.a = starts + strips.begin(strip);
    tile.c = results + strips.begin(strip);
    dotFunction(strips.size(strip), columns.count)(tile);
  }
}

/// The same for a depth-wise correlation, without any neuron.
void multiplyChannels(const CorrelationJob& job, const Columns& columns, std::size_t rows, const float* const* starts,
                      float* const* results) {
  const Correlation& correlation = *job.correlation;
  const std::size_t lanes = hn::Lanes(FloatTag()), stride = job.vectors * lanes;
  const EvenParts groups(rows, cpu::HWY_NAMESPACE::kDepthwisePixels);
  for (std::size_t group = 0; group < groups.count(); ++group) {
    cpu::HWY_NAMESPACE::DepthwiseTile tile{};
    tile.starts = starts + groups.begin(group);
    tile.results = results + groups.begin(group);
    tile.offsets = job.offsets.data();
    tile.taps = job.offsets.size();
    tile.weightStride = stride;
    for (std::size_t column = 0; column < columns.count; column += lanes) {
      tile.channel = columns.first + column;
      tile.resultChannel = column;
      tile.count = std::min(lanes, columns.count - column);
      tile.weights = job.packed + tile.channel;
      tile.bias = correlation.bias ? correlation.bias + tile.channel : nullptr;
      cpu::HWY_NAMESPACE::computeDepthwise(tile, groups.size(group));
    }
  }
}

/// The neuron over rows of finished results, which mostly lie one after another.
void applyNeuronToRows(const Correlation& correlation, float* const* rows, std::size_t count, std::size_t firstColumn,
                       std::size_t columns) {
  const float* const slopes = correlation.slopes ? correlation.slopes + firstColumn : nullptr;
  for (std::size_t row = 0; row < count;) {
    std::size_t together = 1;
    while (!slopes && row + together < count && rows[row + together] == rows[row] + together * columns) ++together;
    applyNeuron(*correlation.neuron, rows[row], together * columns, slopes);
    row += together;
  }
}

void runTask(const CorrelationJob& job, std::size_t index) {
  const Correlation& correlation = *job.correlation;
  const BlockRange pixels = job.rows[index % job.rows.count()];
  const Columns columns(job, job.columns[index / job.rows.count()]);
  const bool staged = correlation.result.type != DataType::float32;
  const std::size_t copied = copiedFloats(job, pixels);
  float* const copy = threadFloats(copied + (staged ? pixels.size() * columns.count : 0));
  float* const stage = copy + copied;

  std::array<const float*, kMostRows> starts{};
  std::array<float*, kMostRows> results;
  if (correlation.x.taps * correlation.y.taps == 0) {
    // These outputs see nothing.
  } else if (job.copies) {
    locateCopied(job, pixels, copy, starts.data());
  } else {
    locateInPlace(job, pixels, starts.data());
  }
  PixelWalk pixel(correlation, pixels.begin);
  for (std::size_t i = 0; i < pixels.size(); ++i, pixel.next(correlation)) {
    results[i] =
        staged ? stage + i * columns.count : reinterpret_cast<float*>(resultPixel(correlation, pixel)) + columns.first;
  }
  const auto function = correlation.depthwise ? multiplyChannels : job.dots ? multiplyDots : multiply;
  function(job, columns, pixels.size(), starts.data(), results.data());
  if (correlation.neuron && !endsWithReLU(correlation)) {
    applyNeuronToRows(correlation, results.data(), pixels.size(), columns.first, columns.count);
  }
  if (!staged) return;
  pixel = PixelWalk(correlation, pixels.begin);
  const std::size_t elementSize = sizeOfDataType(correlation.result.type);
  for (std::size_t i = 0; i < pixels.size(); ++i, pixel.next(correlation)) {
    cpu::HWY_NAMESPACE::fromFloats(results[i], columns.count, correlation.result.type,
                                   resultPixel(correlation, pixel) + columns.first * elementSize);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::correlation_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {
namespace correlation_internal {
namespace {

HWY_EXPORT(tileShape);
HWY_EXPORT(pack);
HWY_EXPORT(runTask);

void correlateAll(std::span<const Correlation> correlations, Context& context) {
  const TileShape tile = HWY_DYNAMIC_DISPATCH(tileShape)();
  std::vector<CorrelationJob> jobs;
  std::size_t packedFloats = 0;
  for (const Correlation& correlation : correlations) {
    if (correlation.x.outputs * correlation.y.outputs * correlation.result.images * correlation.result.channels == 0) {
      continue;
    }
    jobs.push_back(planCorrelation(correlation, tile, context.pool.threads()));
    packedFloats += jobs.back().inner * jobs.back().vectors * tile.lanes;
  }
  float* packed = context.scratch.take<float>(packedFloats);
  std::vector<std::size_t> packings{0}, tasks{0};  // of the jobs before
  for (CorrelationJob& job : jobs) {
    job.packed = packed;
    packed += job.inner * job.vectors * tile.lanes;
    packings.push_back(packings.back() + job.packings());
    tasks.push_back(tasks.back() + job.tasks());
  }
  const auto forEach = [&](const std::vector<std::size_t>& ends, const auto& f) {
    context.pool.parallelFor(ends.back(), [&](std::size_t index) {
      const auto job = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), index) - ends.begin()) - 1;
      f(jobs[job], index - ends[job]);
    });
  };
  forEach(packings, [](const CorrelationJob& job, std::size_t index) { HWY_DYNAMIC_DISPATCH(pack)(job, index); });
  forEach(tasks, [](const CorrelationJob& job, std::size_t index) { HWY_DYNAMIC_DISPATCH(runTask)(job, index); });
}

}  // namespace
}  // namespace correlation_internal

void correlate(std::span<const Correlation> correlations, Context& context) {
  correlation_internal::correlateAll(correlations, context);
}

}  // namespace metalloid::cpu
#endif
