// The gradient of a correlation for its weights as a product of matrices: a row for each tap and channel, a column for
// each output channel, and the output pixels as inner index. The left factor is read where the source lies, or where a
// task has copied it with its surroundings; the gradient is packed. The bias is summed from what has been packed.

#include "backends/cpu/correlation_gradient.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "backends/cpu/correlation_segment.hpp"
#include "backends/cpu/gemm_plan.hpp"
#include "backends/cpu/thread_scratch.hpp"

// Compiled once for each instruction set.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/correlation_gradient.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "backends/cpu/depthwise_tile-inl.hpp"
#include "backends/cpu/gemm_pack-inl.hpp"
#include "backends/cpu/image_rows-inl.hpp"
// clang-format on

#ifndef METALLOID_CPU_CORRELATION_GRADIENT_JOB
#define METALLOID_CPU_CORRELATION_GRADIENT_JOB
namespace metalloid::cpu::correlation_gradient_internal {

constexpr std::size_t ceilingQuotient(std::size_t a, std::size_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// Rows of the product that lie side by side in the source.
struct Strip {
  std::size_t offset;  // floats, from the first tap's first channel
  std::size_t rows;
};

/// Strips that are packed together: of 512 pixels, 512 KiB.
inline constexpr std::size_t kStripsTogether = 32;

/// Where the pixels of a block spread over more memory than this, one sweep over them for each strip would miss the
/// address translation's first level at every step: strips are then packed together beforehand.
inline constexpr std::size_t kSweptBytes = 192 * 1024;

struct GradientJob {
  const CorrelationGradient* gradient = nullptr;
  bool copies = false;
  std::size_t pixelFloats = 0;  // from pixel to pixel and from row to row of the source or of its copy
  std::size_t rowFloats = 0;
  std::vector<Strip> strips;
  std::vector<std::size_t> firstRows;  // of the strips
  std::vector<Segment> weights;        // where the product's rows belong, for one column
  std::vector<std::size_t> offsets;    // depth-wise: of the taps, which are the rows, in place of strips
  bool packsStrips = false;
  std::size_t rows = 0;
  std::size_t vectors = 0;  // of columns
  std::size_t stride = 0;   // of a partial result: whole vectors
  EvenParts panels{0, 1};
  BlockSplit lines{0, 1};    // output rows of all images, in blocks
  BlockSplit slices{0, 1};   // of blocks
  BlockSplit parts{0, 1};    // of strips
  BlockSplit columns{0, 1};  // of panels
  float* partials = nullptr;
  float* biasPartials = nullptr;

  std::size_t tasks() const { return slices.count() * std::max<std::size_t>(parts.count(), 1) * columns.count(); }
};

}  // namespace metalloid::cpu::correlation_gradient_internal
#endif

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::correlation_gradient_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace gemm = gemm_internal::HWY_NAMESPACE;

using cpu::HWY_NAMESPACE::FloatTag;
using cpu::HWY_NAMESPACE::FloatVector;
using cpu::HWY_NAMESPACE::loadSome;
using cpu::HWY_NAMESPACE::storeSome;
using gemm::kTileRows;
using gemm::kTileVectors;

TileShape tileShape() { return {kTileRows, kTileVectors, hn::Lanes(FloatTag())}; }

/// One register tile over some lines of pixels: c := a * b (+ c).
struct Tile {
  const float* const* lines;  // where each line of the left factor begins
  std::size_t lineCount;
  std::size_t lineLength;
  std::size_t offset;  // of the tile's first row from there
  std::size_t stride;  // from one inner index to the next
  float* copy;         // where a copy of the left factor goes, kTileRows from one inner index to the next
  const float* b;      // panel
  float* c;
  std::size_t cStride;
  bool adds;
};

template <std::size_t kVectors, std::size_t... kIndex>
HWY_INLINE void storeSums(const FloatVector (&sums)[sizeof...(kIndex)], const Tile& tile,
                          std::index_sequence<kIndex...>) {
  const FloatTag d;
  const auto store = [&](FloatVector sum, std::size_t row, std::size_t vector) HWY_ATTR {
    float* const c = tile.c + row * tile.cStride + vector * hn::Lanes(d);
    hn::StoreU(tile.adds ? hn::Add(hn::LoadU(d, c), sum) : sum, d, c);
  };
  (store(sums[kIndex], kIndex / kVectors, kIndex % kVectors), ...);
}

template <bool kCopies, std::size_t kRows, std::size_t kVectors>
void computeTile(const Tile& tile) {
  constexpr auto kSums = std::make_index_sequence<kRows * kVectors>();
  constexpr auto kColumns = std::make_index_sequence<kVectors>();
  const std::size_t lanes = hn::Lanes(FloatTag());
  const std::size_t stride = tile.stride;
  const float* b = tile.b;
  float* copy = tile.copy;
  for (std::size_t r = 0; r < kRows; ++r) {  // the results are wanted at the end of the sums
    for (std::size_t v = 0; v < kVectors; ++v) gemm::prefetch(tile.c, r * tile.cStride + v * lanes);
  }
  FloatVector sums[kRows * kVectors];
  gemm::clearSums(sums, kSums);
  for (std::size_t line = 0; line < tile.lineCount; ++line) {
    const float* a = tile.lines[line] + tile.offset;
    for (std::size_t k = 0; k < tile.lineLength; ++k) {
      FloatVector columns[kVectors];
      gemm::loadColumns(columns, b, kColumns);
      if constexpr (kCopies) {
        gemm::prefetch(a, gemm::kInnerAhead * stride);
        std::memcpy(copy, a, kRows * sizeof(float));
        copy += kTileRows;
      }
      gemm::addProducts<gemm::LeftAccess::strips>(sums, a, 1, columns, kSums);
      a += stride;
      b += kVectors * lanes;
    }
  }
  storeSums<kVectors>(sums, tile, kSums);
}

using TileFunction = void (*)(const Tile&);

template <bool kCopies, std::size_t... kIndex>
constexpr auto makeTileFunctions(std::index_sequence<kIndex...>) {
  return std::array<TileFunction, sizeof...(kIndex)>{
      &computeTile<kCopies, kIndex / kTileVectors + 1, kIndex % kTileVectors + 1>...};
}

inline TileFunction tileFunction(bool copies, std::size_t rows, std::size_t vectors) {
  constexpr auto kIndices = std::make_index_sequence<kTileRows * kTileVectors>();
  static constexpr auto kPlain = makeTileFunctions<false>(kIndices), kCopying = makeTileFunctions<true>(kIndices);
  return (copies ? kCopying : kPlain)[(rows - 1) * kTileVectors + vectors - 1];
}

/// The working memory of a task and what it holds for the block under way.
struct TaskMemory {
  std::vector<const float*> lines;  // of the source
  float* copy;
  float* right;
  float* strips;
  float* row;  // of the gradient, converted
};

/// Calls f(image, its output rows) for the images that a range of output rows touches.
template <class F>
void forEachImage(std::size_t height, BlockRange lines, const F& f) {
  for (std::size_t begin = lines.begin; begin < lines.end;) {
    const std::size_t image = begin / height, end = std::min((image + 1) * height, lines.end);
    f(image, BlockRange{begin - image * height, end - image * height});
    begin = end;
  }
}

std::size_t copiedFloats(const GradientJob& job, BlockRange lines) {
  std::size_t rows = 0;
  const CorrelationAxis& y = job.gradient->y;
  forEachImage(y.outputs, lines, [&](std::size_t, BlockRange some) { rows += y.extent(some.size()); });
  return job.copies ? rows * job.rowFloats : 0;
}

/// Where the lines of the left factor begin, copied if need be.
void locateLines(const GradientJob& job, BlockRange lines, TaskMemory& memory) {
  const CorrelationGradient& gradient = *job.gradient;
  memory.lines.clear();
  float* copy = memory.copy;
  forEachImage(gradient.y.outputs, lines, [&](std::size_t image, BlockRange some) {
    if (!job.copies) {
      for (std::size_t j = some.begin; j < some.end; ++j) {
        const auto y = static_cast<std::size_t>(gradient.y.base) + static_cast<std::size_t>(gradient.y.step) * j;
        const auto x = static_cast<std::size_t>(gradient.x.base);
        memory.lines.push_back(reinterpret_cast<const float*>(gradient.source.pixel(image, y, x)));
      }
      return;
    }
    const std::ptrdiff_t top = gradient.y.base + gradient.y.step * static_cast<std::ptrdiff_t>(some.begin);
    const std::size_t rows = gradient.y.extent(some.size());
    for (std::size_t row = 0; row < rows; ++row) {
      cpu::HWY_NAMESPACE::copyImageRow(gradient.source, gradient.edgeMode, image,
                                       top + static_cast<std::ptrdiff_t>(row), gradient.x.base,
                                       job.rowFloats / job.pixelFloats, copy + row * job.rowFloats);
    }
    for (std::size_t j = 0; j < some.size(); ++j) {
      memory.lines.push_back(copy + static_cast<std::size_t>(gradient.y.step) * j * job.rowFloats);
    }
    copy += rows * job.rowFloats;
  });
}

/// The gradient of some lines: panel after panel, for each pixel the panel's channels side by side.
void packGradient(const GradientJob& job, BlockRange lines, BlockRange panels, TaskMemory& memory) {
  const CorrelationGradient& gradient = *job.gradient;
  const operations::ImageView& view = gradient.gradient;
  const std::size_t lanes = hn::Lanes(FloatTag()), length = gradient.x.outputs;
  const std::size_t inner = lines.size() * length, origin = job.panels.begin(panels.begin) * lanes;
  std::size_t before = 0;
  forEachImage(gradient.y.outputs, lines, [&](std::size_t image, BlockRange some) {
    for (std::size_t j = some.begin; j < some.end; ++j, before += length) {
      const std::size_t y = gradient.y.firstOutput + gradient.y.outputStep * j;
      const float* from = reinterpret_cast<const float*>(view.pixel(image, y, gradient.x.firstOutput));
      std::size_t pixelFloats = view.pixelBytes / sizeof(float);
      if (view.type != DataType::float32) {
        cpu::HWY_NAMESPACE::copyImageRow(view, ImageEdgeMode::zero, image, static_cast<std::ptrdiff_t>(y), 0,
                                         view.width, memory.row);
        pixelFloats = view.channels;
        from = memory.row + gradient.x.firstOutput * pixelFloats;
      }
      for (std::size_t panel = panels.begin; panel < panels.end; ++panel) {
        const std::size_t first = job.panels.begin(panel) * lanes, vectors = job.panels.size(panel);
        gemm::packRightPanels(from + first, pixelFloats * gradient.x.outputStep, length,
                              std::min(vectors * lanes, view.channels - first), EvenParts(vectors, kTileVectors),
                              memory.right + (first - origin) * inner + before * vectors * lanes);
      }
    }
  });
}

/// sums (+)= the sums over the packed pixels
void sumGradient(const GradientJob& job, std::size_t inner, BlockRange panels, const float* right, float* sums,
                 bool adds) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d), origin = job.panels.begin(panels.begin) * lanes;
  for (std::size_t panel = panels.begin; panel < panels.end; ++panel) {
    const std::size_t first = job.panels.begin(panel) * lanes, vectors = job.panels.size(panel);
    for (std::size_t v = 0; v < vectors; ++v) {
      const float* from = right + (first - origin) * inner + v * lanes;
      auto even = hn::Zero(d), odd = hn::Zero(d);
      std::size_t k = 0;
      for (; k + 2 <= inner; k += 2, from += 2 * vectors * lanes) {
        even = hn::Add(even, hn::LoadU(d, from));
        odd = hn::Add(odd, hn::LoadU(d, from + vectors * lanes));
      }
      if (k < inner) even = hn::Add(even, hn::LoadU(d, from));
      float* const to = sums + first + v * lanes;
      const auto sum = hn::Add(even, odd);
      hn::StoreU(adds ? hn::Add(hn::LoadU(d, to), sum) : sum, d, to);
    }
  }
}

/// Some strips of the left factor over all lines, one strip after the other: in each kTileRows from pixel to pixel.
void packStrips(const GradientJob& job, BlockRange strips, std::size_t inner, const TaskMemory& memory) {
  const std::size_t stride = static_cast<std::size_t>(job.gradient->x.step) * job.pixelFloats;
  std::size_t before = 0;
  for (const float* const line : memory.lines) {
    for (std::size_t begin = 0; begin < job.gradient->x.outputs; begin += gemm::kRowsTogether) {
      const std::size_t count = std::min(gemm::kRowsTogether, job.gradient->x.outputs - begin);
      for (std::size_t strip = strips.begin; strip < strips.end; ++strip) {
        const std::size_t rows = job.strips[strip].rows;
        const float* from = line + begin * stride + job.strips[strip].offset;
        float* to = memory.strips + ((strip - strips.begin) * inner + before + begin) * kTileRows;
        for (std::size_t k = 0; k < count; ++k, from += stride, to += kTileRows) {
          if (rows == kTileRows) {
            std::memcpy(to, from, kTileRows * sizeof(float));
          } else {
            std::copy_n(from, rows, to);
          }
        }
      }
    }
    before += job.gradient->x.outputs;
  }
}

/// All strips and panels of a task over one block of lines. A strip is packed beforehand, or else while its first panel
/// is computed.
void multiplyBlock(const GradientJob& job, std::size_t inner, BlockRange strips, BlockRange panels, float* result,
                   bool adds, const TaskMemory& memory) {
  const std::size_t lanes = hn::Lanes(FloatTag()), origin = job.panels.begin(panels.begin) * lanes;
  const std::size_t together = std::max<std::size_t>(kRightBlockFloats / (inner * kTileVectors * lanes), 1);
  Tile tile{};
  tile.cStride = job.stride;
  tile.adds = adds;
  const auto usePacked = [&](const float* const* strip) {
    tile.lines = strip;
    tile.lineCount = 1;
    tile.lineLength = inner;
    tile.offset = 0;
    tile.stride = kTileRows;
  };
  for (std::size_t group = strips.begin; group < strips.end; group += kStripsTogether) {
    const BlockRange some{group, std::min(group + kStripsTogether, strips.end)};
    if (job.packsStrips) packStrips(job, some, inner, memory);
    for (std::size_t begin = panels.begin; begin < panels.end; begin += together) {
      const std::size_t end = std::min(begin + together, panels.end);
      for (std::size_t strip = some.begin; strip < some.end; ++strip) {
        const float* const packed = memory.strips + (job.packsStrips ? (strip - some.begin) * inner * kTileRows : 0);
        tile.copy = memory.strips;
        tile.lines = memory.lines.data();
        tile.lineCount = memory.lines.size();
        tile.lineLength = job.gradient->x.outputs;
        tile.offset = job.strips[strip].offset;
        tile.stride = static_cast<std::size_t>(job.gradient->x.step) * job.pixelFloats;
        if (job.packsStrips) usePacked(&packed);
        for (std::size_t panel = begin; panel < end; ++panel) {
          const std::size_t column = job.panels.begin(panel) * lanes;
          tile.b = memory.right + (column - origin) * inner;
          tile.c = result + job.firstRows[strip] * job.stride + column;
          const bool copies = !job.packsStrips && panel == begin && begin + 1 < end;
          tileFunction(copies, job.strips[strip].rows, job.panels.size(panel))(tile);
          if (copies) usePacked(&packed);
        }
      }
    }
  }
}

/// The same for a depth-wise correlation.
void multiplyChannels(const GradientJob& job, BlockRange panels, float* result, bool adds, const TaskMemory& memory) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t lanes = hn::Lanes(FloatTag()), origin = job.panels.begin(panels.begin) * lanes;
  const std::size_t inner = memory.lines.size() * gradient.x.outputs;
  const EvenParts groups(job.offsets.size(), cpu::HWY_NAMESPACE::kDepthwiseTaps);
  cpu::HWY_NAMESPACE::DepthwiseGradientTile tile{};
  tile.lines = memory.lines.data();
  tile.lineCount = memory.lines.size();
  tile.lineLength = gradient.x.outputs;
  tile.stride = static_cast<std::size_t>(gradient.x.step) * job.pixelFloats;
  tile.resultStride = job.stride;
  tile.adds = adds;
  for (std::size_t panel = panels.begin; panel < panels.end; ++panel) {
    const std::size_t first = job.panels.begin(panel) * lanes, vectors = job.panels.size(panel);
    tile.gradientStride = vectors * lanes;
    for (std::size_t v = 0; v < vectors; ++v) {
      tile.channel = first + v * lanes;
      tile.count = std::min(lanes, gradient.source.channels - tile.channel);
      tile.gradient = memory.right + (first - origin) * inner + v * lanes;
      for (std::size_t group = 0; group < groups.count(); ++group) {
        tile.offsets = job.offsets.data() + groups.begin(group);
        tile.result = result + groups.begin(group) * job.stride + tile.channel;
        cpu::HWY_NAMESPACE::computeDepthwiseGradient(tile, groups.size(group));
      }
    }
  }
}

void runTask(const GradientJob& job, std::size_t index) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t slice = index % job.slices.count(),
                    part = index / job.slices.count() % std::max<std::size_t>(job.parts.count(), 1);
  const BlockRange blocks = job.slices[slice];
  const BlockRange strips = job.parts.count() == 0 ? BlockRange{} : job.parts[part];
  const BlockRange panels = job.columns[index / job.slices.count() / std::max<std::size_t>(job.parts.count(), 1)];
  const std::size_t lanes = hn::Lanes(FloatTag());
  const std::size_t width =
      (job.panels.begin(panels.end - 1) + job.panels.size(panels.end - 1) - job.panels.begin(panels.begin)) * lanes;

  std::size_t copied = 0, inner = 0;
  for (std::size_t block = blocks.begin; block < blocks.end; ++block) {
    copied = std::max(copied, copiedFloats(job, job.lines[block]));
    inner = std::max(inner, job.lines[block].size() * gradient.x.outputs);
  }
  copied = ceilingQuotient(copied, lanes) * lanes;
  const std::size_t stripFloats = (job.packsStrips ? std::min(kStripsTogether, strips.size()) : 1) * kTileRows;
  TaskMemory memory;
  memory.right =
      threadFloats(inner * (width + stripFloats) + copied + gradient.gradient.width * gradient.gradient.channels);
  memory.strips = memory.right + inner * width;
  memory.copy = memory.strips + inner * stripFloats;
  memory.row = memory.copy + copied;

  float* const result = job.partials + slice * job.rows * job.stride;
  for (std::size_t block = blocks.begin; block < blocks.end; ++block) {
    const BlockRange lines = job.lines[block];
    const std::size_t pixels = lines.size() * gradient.x.outputs;
    const bool adds = block != blocks.begin;
    packGradient(job, lines, panels, memory);
    if (job.rows > 0) locateLines(job, lines, memory);
    if (gradient.depthwise) {
      multiplyChannels(job, panels, result, adds, memory);
    } else {
      multiplyBlock(job, pixels, strips, panels, result, adds, memory);
    }
    if (part == 0 && gradient.bias) {
      sumGradient(job, pixels, panels, memory.right, job.biasPartials + slice * job.stride, adds);
    }
  }
}

/// The sums over the slices of `rows` rows of the product, at their places among the weights from `weights` on.
void storeRows(const GradientJob& job, std::size_t first, std::size_t rows, float* weights) {
  const CorrelationGradient& gradient = *job.gradient;
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d), columns = gradient.gradient.channels;
  for (std::size_t row = first; row < first + rows; ++row) {
    float* const sums = job.partials + row * job.stride;
    for (std::size_t slice = 1; slice < job.slices.count(); ++slice) {
      const float* const more = sums + slice * job.rows * job.stride;
      for (std::size_t k = 0; k < job.stride; k += lanes) {
        hn::StoreU(hn::Add(hn::LoadU(d, sums + k), hn::LoadU(d, more + k)), d, sums + k);
      }
    }
  }
  if (gradient.depthwise) {
    for (std::size_t k = 0; k < columns; ++k) {
      for (std::size_t row = 0; row < rows; ++row) {
        float& weight = weights[k * gradient.columnStride + row];
        weight = job.partials[(first + row) * job.stride + k] + (gradient.accumulates ? weight : 0.0F);
      }
    }
    return;
  }
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t k = 0; k < columns; ++k) {
    for (std::size_t row = 0; row < rows; ++row) {
      float& weight = weights[k * gradient.columnStride + row];
      weight = job.partials[(first + row) * job.stride + k] + (gradient.accumulates ? weight : 0.0F);
    }
  }
#else
  const float* from[hn::MaxLanes(FloatTag())];
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    from[lane] = job.partials + (first + std::min(lane, rows - 1)) * job.stride;
  }
  HWY_ALIGN float transposed[4 * hn::MaxLanes(FloatTag())];
  for (std::size_t k = 0; k < columns; k += 4) {  // the rows are whole vectors
    gemm::transposeFour(from, k, 4, transposed, lanes);
    for (std::size_t i = 0; i < std::min<std::size_t>(4, columns - k); ++i) {
      float* const to = weights + (k + i) * gradient.columnStride;
      const auto value = hn::Load(d, transposed + i * lanes);
      storeSome(gradient.accumulates ? hn::Add(value, loadSome(to, rows)) : value, to, rows);
    }
  }
#endif
}

/// The sums over the slices of rows [begin, end) of the product, at their places.
void store(const GradientJob& job, BlockRange rows) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  std::size_t begin = 0;  // of the segment
  for (const Segment& segment : job.weights) {
    const std::size_t end = std::min(begin + segment.length, rows.end);
    for (std::size_t row = std::max(begin, rows.begin); row < end;) {
      const std::size_t some = std::min(lanes, end - row);
      storeRows(job, row, some, job.gradient->weights + segment.offset + (row - begin));
      row += some;
    }
    begin += segment.length;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu::correlation_gradient_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {
namespace correlation_gradient_internal {
namespace {

HWY_EXPORT(tileShape);
HWY_EXPORT(runTask);
HWY_EXPORT(store);

// Partial results: not too large together, nor of so few pixels that adding them up costs much.
constexpr std::size_t kMostSlices = 32;
constexpr std::size_t kPartialFloats = std::size_t{4} << 20;
constexpr std::size_t kBlocksOfSlice = 4;

constexpr std::size_t kRowsOfTask = 96;  // at least: each task packs the gradient for itself

void planRows(GradientJob& job, const TileShape& tile) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t channels = gradient.depthwise ? 1 : gradient.source.channels;
  std::vector<Segment> runs;  // of the source
  const auto append = [](std::vector<Segment>& segments, std::ptrdiff_t offset, std::size_t length) {
    if (!segments.empty() && segments.back().offset + static_cast<std::ptrdiff_t>(segments.back().length) == offset) {
      segments.back().length += length;
    } else {
      segments.push_back({offset, length});
    }
  };
  for (std::size_t q = 0; q < gradient.y.taps; ++q) {
    for (std::size_t p = 0; p < gradient.x.taps; ++p) {
      const std::ptrdiff_t tap = (gradient.y.firstTap + gradient.y.tapIncrement * static_cast<std::ptrdiff_t>(q)) *
                                     static_cast<std::ptrdiff_t>(gradient.rowOfTaps) +
                                 gradient.x.firstTap + gradient.x.tapIncrement * static_cast<std::ptrdiff_t>(p);
      const std::size_t offset = q * gradient.y.tapStep * job.rowFloats + p * gradient.x.tapStep * job.pixelFloats;
      if (gradient.depthwise) {
        job.offsets.push_back(offset);
      } else {
        append(runs, static_cast<std::ptrdiff_t>(offset), channels);
      }
      append(job.weights, tap * static_cast<std::ptrdiff_t>(gradient.tapStride), channels);
    }
  }
  for (const Segment& run : runs) {
    const EvenParts parts(run.length, tile.rows);
    for (std::size_t part = 0; part < parts.count(); ++part) {
      job.firstRows.push_back(job.rows + parts.begin(part));
      job.strips.push_back({static_cast<std::size_t>(run.offset) + parts.begin(part), parts.size(part)});
    }
    job.rows += run.length;
  }
  if (gradient.depthwise) job.rows = job.offsets.size();
}

GradientJob plan(const CorrelationGradient& gradient, const TileShape& tile, unsigned threads) {
  GradientJob job;
  job.gradient = &gradient;
  const operations::ImageView& source = gradient.source;
  job.copies = source.type != DataType::float32 || gradient.x.leaves(source.width) || gradient.y.leaves(source.height);
  job.pixelFloats = job.copies ? source.channels : source.pixelBytes / sizeof(float);
  job.rowFloats =
      job.copies ? gradient.x.extent(gradient.x.outputs) * source.channels : source.rowBytes / sizeof(float);
  planRows(job, tile);
  job.vectors = ceilingQuotient(gradient.gradient.channels, tile.lanes);
  job.stride = job.vectors * tile.lanes;
  job.panels = EvenParts(job.vectors, tile.vectors);

  // The order of the sums: nothing here may depend on threads or tile.
  job.lines = BlockSplit::inAtMost(
      ceilingQuotient(gradient.gradient.images * gradient.y.outputs * gradient.x.outputs, kMaximumInnerBlock),
      gradient.gradient.images * gradient.y.outputs);
  const std::size_t pixelsOfBlock = job.lines.count() == 0 ? 0 : job.lines[0].size() * gradient.x.outputs;
  job.packsStrips =
      static_cast<std::size_t>(gradient.x.step) * job.pixelFloats * sizeof(float) * pixelsOfBlock > kSweptBytes;
  const std::size_t area = std::max<std::size_t>(job.rows * gradient.gradient.channels, 1);
  job.slices = BlockSplit::inAtMost(std::min({job.lines.count() / kBlocksOfSlice, kPartialFloats / area, kMostSlices}),
                                    job.lines.count());

  const std::size_t perSlice = threads == 1 ? 1 : ceilingQuotient(3 * threads, job.slices.count());
  job.parts = BlockSplit::inAtMost(std::min(perSlice, job.rows / kRowsOfTask), job.strips.size());
  job.columns =
      BlockSplit::inAtMost(ceilingQuotient(perSlice, std::max<std::size_t>(job.parts.count(), 1)), job.panels.count());
  return job;
}

void correlateAll(std::span<const CorrelationGradient> gradients, Context& context) {
  const TileShape tile = HWY_DYNAMIC_DISPATCH(tileShape)();
  std::vector<GradientJob> jobs;
  std::size_t floats = 0;
  for (const CorrelationGradient& gradient : gradients) {
    jobs.push_back(plan(gradient, tile, context.pool.threads()));
    floats += jobs.back().slices.count() * (jobs.back().rows + 1) * jobs.back().stride;
  }
  float* memory = context.scratch.take<float>(floats);
  constexpr std::size_t kRowsAtOnce = 64;
  std::vector<std::size_t> tasks{0}, stores{0};  // of the jobs before
  for (GradientJob& job : jobs) {
    job.partials = memory;
    memory += job.slices.count() * job.rows * job.stride;
    job.biasPartials = memory;
    memory += job.slices.count() * job.stride;
    tasks.push_back(tasks.back() + job.tasks());
    stores.push_back(stores.back() + ceilingQuotient(job.rows, kRowsAtOnce));
  }
  const auto forEach = [&](const std::vector<std::size_t>& ends, const auto& f) {
    context.pool.parallelFor(ends.back(), [&](std::size_t index) {
      const auto job = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), index) - ends.begin()) - 1;
      f(jobs[job], index - ends[job]);
    });
  };
  forEach(tasks, [](const GradientJob& job, std::size_t index) { HWY_DYNAMIC_DISPATCH(runTask)(job, index); });
  forEach(stores, [](const GradientJob& job, std::size_t index) {
    HWY_DYNAMIC_DISPATCH(store)(job, BlockSplit(job.rows, kRowsAtOnce)[index]);
  });
  for (const GradientJob& job : jobs) {
    for (std::size_t k = 0; job.gradient->bias && k < job.gradient->gradient.channels; ++k) {
      float sum = 0;
      for (std::size_t slice = 0; slice < job.slices.count(); ++slice) sum += job.biasPartials[slice * job.stride + k];
      job.gradient->bias[k] = sum + (job.gradient->accumulates ? job.gradient->bias[k] : 0.0F);
    }
  }
}

}  // namespace
}  // namespace correlation_gradient_internal

void correlateForWeights(std::span<const CorrelationGradient> gradients, Context& context) {
  correlation_gradient_internal::correlateAll(gradients, context);
}

}  // namespace metalloid::cpu
#endif
