// The gradient of a correlation for its weights as a product of matrices: a row for each tap and channel, a column for
// each output channel, and the output pixels as inner index. The left factor is read where the source lies, or where a
// task has copied some channels of it with their surroundings; the gradient is packed. The bias is summed from what has
// been packed.

#include "backends/cpu/correlation_gradient.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "backends/cpu/correlation_gradient_plan.hpp"
#include "backends/cpu/thread_scratch.hpp"
#include "backends/cpu/unroll.hpp"

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

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu::correlation_gradient_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace gemm = gemm_internal::HWY_NAMESPACE;

using cpu::HWY_NAMESPACE::FloatTag;
using cpu::HWY_NAMESPACE::FloatVector;
using cpu::HWY_NAMESPACE::loadSome;
using cpu::HWY_NAMESPACE::storeSome;

inline constexpr std::size_t kTileRows = gemm::kWideTileRows;
inline constexpr std::size_t kTileVectors = gemm::kWideTileVectors;

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
    METALLOID_CPU_UNROLL_4
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

/// Columns of a task.
struct Columns {
  std::size_t first;
  EvenParts panels;  // in vectors

  std::size_t begin(std::size_t panel) const { return panels.begin(panel) * hn::Lanes(FloatTag()); }
  std::size_t width() const { return begin(panels.count()); }
};

/// The working memory of a task and what it holds for the block under way.
struct TaskMemory {
  std::vector<const float*> lines;  // of the source
  float* copy;
  float* right;
  float* strips;
  float* row;   // of the gradient, converted
  float* sums;  // results
  std::size_t stride;
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

std::size_t copiedFloats(const GradientJob& job, const Part& part, BlockRange lines) {
  std::size_t rows = 0;
  const CorrelationAxis& y = job.gradient->y;
  forEachImage(y.outputs, lines, [&](std::size_t, BlockRange some) { rows += y.extent(some.size()); });
  return job.copies ? rows * part.rowFloats : 0;
}

/// Where the lines of the left factor begin, copied if need be.
void locateLines(const GradientJob& job, const Part& part, BlockRange lines, TaskMemory& memory) {
  const CorrelationGradient& gradient = *job.gradient;
  memory.lines.clear();
  float* copy = memory.copy;
  forEachImage(gradient.y.outputs, lines, [&](std::size_t image, BlockRange some) {
    if (!job.copies) {
      for (std::size_t j = some.begin; j < some.end; ++j) {
        const auto y = static_cast<std::size_t>(gradient.y.base) + static_cast<std::size_t>(gradient.y.step) * j;
        const auto x = static_cast<std::size_t>(gradient.x.base);
        memory.lines.push_back(reinterpret_cast<const float*>(part.source.pixel(image, y, x)));
      }
      return;
    }
    const std::ptrdiff_t top = gradient.y.base + gradient.y.step * static_cast<std::ptrdiff_t>(some.begin);
    const std::size_t rows = gradient.y.extent(some.size());
    for (std::size_t row = 0; row < rows; ++row) {
      cpu::HWY_NAMESPACE::copyImageRow(part.source, gradient.edgeMode, image, top + static_cast<std::ptrdiff_t>(row),
                                       gradient.x.base, part.rowFloats / part.pixelFloats, copy + row * part.rowFloats);
    }
    for (std::size_t j = 0; j < some.size(); ++j) {
      memory.lines.push_back(copy + static_cast<std::size_t>(gradient.y.step) * j * part.rowFloats);
    }
    copy += rows * part.rowFloats;
  });
}

/// The gradient of some lines: panel after panel, for each pixel the panel's channels side by side.
void packGradient(const GradientJob& job, BlockRange lines, const Columns& columns, TaskMemory& memory) {
  const CorrelationGradient& gradient = *job.gradient;
  const operations::ImageView& view = gradient.gradient;
  const std::size_t lanes = hn::Lanes(FloatTag()), length = gradient.x.outputs;
  const std::size_t inner = lines.size() * length;
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
      for (std::size_t panel = 0; panel < columns.panels.count(); ++panel) {
        const std::size_t first = columns.first + columns.begin(panel), vectors = columns.panels.size(panel);
        gemm::packRightPanels(from + first, pixelFloats * gradient.x.outputStep, length,
                              std::min(vectors * lanes, view.channels - first), EvenParts(vectors, kTileVectors),
                              memory.right + columns.begin(panel) * inner + before * vectors * lanes);
      }
    }
  });
}

/// sums (+)= the sums over the packed pixels
void sumGradient(const Columns& columns, std::size_t inner, const float* right, float* sums, bool adds) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t panel = 0; panel < columns.panels.count(); ++panel) {
    const std::size_t first = columns.begin(panel), vectors = columns.panels.size(panel);
    for (std::size_t v = 0; v < vectors; ++v) {
      const float* from = right + first * inner + v * lanes;
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
void packStrips(const GradientJob& job, const Part& part, BlockRange strips, std::size_t inner,
                const TaskMemory& memory) {
  const std::size_t stride = static_cast<std::size_t>(job.gradient->x.step) * part.pixelFloats;
  std::size_t before = 0;
  for (const float* const line : memory.lines) {
    for (std::size_t begin = 0; begin < job.gradient->x.outputs; begin += gemm::kRowsTogether) {
      const std::size_t count = std::min(gemm::kRowsTogether, job.gradient->x.outputs - begin);
      for (std::size_t strip = strips.begin; strip < strips.end; ++strip) {
        const std::size_t rows = part.strips[strip].rows;
        const float* from = line + begin * stride + part.strips[strip].offset;
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

/// All strips of a part and all panels of a task over one block of lines. A strip is packed beforehand, or else while
/// its first panel is computed.
void multiplyBlock(const GradientJob& job, const Part& part, std::size_t inner, const Columns& columns, float* result,
                   bool adds, const TaskMemory& memory) {
  const std::size_t panelFloats = inner * kTileVectors * hn::Lanes(FloatTag()), panels = columns.panels.count();
  const std::size_t together = std::max<std::size_t>(kRightBlockFloats / panelFloats, 1);
  Tile tile{};
  tile.cStride = memory.stride;
  tile.adds = adds;
  const auto usePacked = [&](const float* const* strip) {
    tile.lines = strip;
    tile.lineCount = 1;
    tile.lineLength = inner;
    tile.offset = 0;
    tile.stride = kTileRows;
  };
  for (std::size_t group = 0; group < part.strips.size(); group += kStripsTogether) {
    const BlockRange some{group, std::min(group + kStripsTogether, part.strips.size())};
    if (job.packsStrips) packStrips(job, part, some, inner, memory);
    for (std::size_t begin = 0; begin < panels; begin += together) {
      const std::size_t end = std::min(begin + together, panels);
      for (std::size_t index = some.begin; index < some.end; ++index) {
        const Strip& strip = part.strips[index];
        const float* const packed = memory.strips + (job.packsStrips ? (index - some.begin) * inner * kTileRows : 0);
        tile.copy = memory.strips;
        tile.lines = memory.lines.data();
        tile.lineCount = memory.lines.size();
        tile.lineLength = job.gradient->x.outputs;
        tile.offset = strip.offset;
        tile.stride = static_cast<std::size_t>(job.gradient->x.step) * part.pixelFloats;
        if (job.packsStrips) usePacked(&packed);
        for (std::size_t panel = begin; panel < end; ++panel) {
          tile.b = memory.right + columns.begin(panel) * inner;
          tile.c = result + strip.firstRow * memory.stride + columns.begin(panel);
          const bool copies = !job.packsStrips && panel == begin && begin + 1 < end;
          tileFunction(copies, strip.rows, columns.panels.size(panel))(tile);
          if (copies) usePacked(&packed);
        }
      }
    }
  }
}

/// The same for a depth-wise correlation.
void multiplyChannels(const GradientJob& job, const Part& part, const Columns& columns, float* result, bool adds,
                      const TaskMemory& memory) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t lanes = hn::Lanes(FloatTag());
  const std::size_t inner = memory.lines.size() * gradient.x.outputs;
  const EvenParts groups(part.offsets.size(), cpu::HWY_NAMESPACE::kDepthwiseTaps);
  cpu::HWY_NAMESPACE::DepthwiseGradientTile tile{};
  tile.lines = memory.lines.data();
  tile.lineCount = memory.lines.size();
  tile.lineLength = gradient.x.outputs;
  tile.stride = static_cast<std::size_t>(gradient.x.step) * part.pixelFloats;
  tile.resultStride = memory.stride;
  tile.adds = adds;
  for (std::size_t panel = 0; panel < columns.panels.count(); ++panel) {
    const std::size_t first = columns.begin(panel), vectors = columns.panels.size(panel);
    tile.gradientStride = vectors * lanes;
    for (std::size_t v = 0; v < vectors; ++v) {
      tile.channel = columns.first + first + v * lanes;
      tile.count = std::min(lanes, gradient.source.channels - tile.channel);
      tile.gradient = memory.right + first * inner + v * lanes;
      for (std::size_t group = 0; group < groups.count(); ++group) {
        tile.offsets = part.offsets.data() + groups.begin(group);
        tile.result = result + groups.begin(group) * memory.stride + first + v * lanes;
        cpu::HWY_NAMESPACE::computeDepthwiseGradient(tile, groups.size(group));
      }
    }
  }
}

/// sums[row * stride + i], for `count` rows that lie together among the weights, whose first is at `weights` for column
/// 0, and for some columns.
void storeRows(const CorrelationGradient& gradient, const float* sums, std::size_t stride, std::size_t count,
               BlockRange columns, float* weights) {
#if HWY_TARGET != HWY_SCALAR
  if (!gradient.depthwise) {
    const FloatTag d;
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float transposed[4 * hn::MaxLanes(FloatTag())];
    for (std::size_t k = columns.begin; k < columns.end; k += 4) {  // the rows are whole vectors
      for (std::size_t begin = 0; begin < count; begin += lanes) {
        const std::size_t some = std::min(lanes, count - begin);
        const float* from[hn::MaxLanes(FloatTag())];
        for (std::size_t i = 0; i < lanes; ++i) from[i] = sums + (begin + std::min(i, some - 1)) * stride;
        gemm::transposeFour(from, k - columns.begin, 4, transposed, lanes);
        for (std::size_t i = 0; i < std::min<std::size_t>(4, columns.end - k); ++i) {
          float* const to = weights + (k + i) * gradient.columnStride + begin;
          const auto value = hn::Load(d, transposed + i * lanes);
          storeSome(gradient.accumulates ? hn::Add(value, loadSome(to, some)) : value, to, some);
        }
      }
    }
    return;
  }
#endif
  for (std::size_t k = columns.begin; k < columns.end; ++k) {
    for (std::size_t row = 0; row < count; ++row) {
      float& weight = weights[k * gradient.columnStride + row];
      weight = sums[row * stride + (k - columns.begin)] + (gradient.accumulates ? weight : 0.0F);
    }
  }
}

/// Sums of a part at their places among the weights, for some of its rows and some columns; `sums` begin with the
/// part's first row and the first of these columns.
void storeSums(const GradientJob& job, const Part& part, BlockRange rows, BlockRange columns, const float* sums,
               std::size_t stride) {
  std::size_t before = 0;  // rows of other segments
  for (const Segment& segment : part.weights) {
    const std::size_t begin = std::max(before, rows.begin), end = std::min(before + segment.length, rows.end);
    if (begin < end) {
      storeRows(*job.gradient, sums + begin * stride, stride, end - begin, columns,
                job.gradient->weights + segment.offset + (begin - before));
    }
    before += segment.length;
  }
}

void runTask(const GradientJob& job, std::size_t index) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t share = index % job.shares.count(), column = index / job.shares.count() % job.columns.count();
  const std::size_t slice = index / job.shares.count() / job.columns.count();
  const BlockRange lines = job.slices[slice], parts = job.shares[share], vectors = job.columns[column];
  const EvenParts blocks(lines.size(), job.linesOfBlock);
  const std::size_t lanes = hn::Lanes(FloatTag());
  const Columns columns{vectors.begin * lanes, EvenParts(vectors.size(), kTileVectors)};
  const std::size_t width = columns.width();
  const auto linesOf = [&](std::size_t block) {
    const std::size_t begin = lines.begin + blocks.begin(block);
    return BlockRange{begin, begin + blocks.size(block)};
  };

  std::size_t copied = 0, strips = 1;
  for (std::size_t i = parts.begin; i < parts.end; ++i) {
    const Part& part = job.parts[i];
    for (std::size_t block = 0; block < blocks.count(); ++block) {
      copied = std::max(copied, copiedFloats(job, part, linesOf(block)));
    }
    if (job.packsStrips) strips = std::max(strips, std::min(kStripsTogether, part.strips.size()));
  }
  copied = hwy::RoundUpTo(copied, lanes);
  const std::size_t inner = blocks.count() == 0 ? 0 : blocks.size(0) * gradient.x.outputs;
  const std::size_t firstRow = job.parts[parts.begin].firstRow;
  const std::size_t rows = job.parts[parts.end - 1].firstRow + job.parts[parts.end - 1].rows - firstRow;
  const std::size_t sums = job.isSliced() ? 0 : rows * width;
  TaskMemory memory;
  memory.sums = threadFloats(sums + inner * (width + strips * kTileRows) + copied +
                             gradient.gradient.width * gradient.gradient.channels);
  memory.stride = width;
  memory.right = memory.sums + sums;
  memory.strips = memory.right + inner * width;
  memory.copy = memory.strips + inner * strips * kTileRows;
  memory.row = memory.copy + copied;
  if (job.isSliced()) {
    memory.sums = job.partials + (slice * job.rows + firstRow) * job.stride + columns.first;
    memory.stride = job.stride;
  }

  for (std::size_t block = 0; block < blocks.count(); ++block) {
    const BlockRange some = linesOf(block);
    const std::size_t pixels = some.size() * gradient.x.outputs;
    const bool adds = block > 0;
    packGradient(job, some, columns, memory);
    for (std::size_t i = parts.begin; i < parts.end; ++i) {
      const Part& part = job.parts[i];
      float* const result = memory.sums + (part.firstRow - firstRow) * memory.stride;
      if (part.rows > 0) locateLines(job, part, some, memory);
      if (gradient.depthwise) {
        multiplyChannels(job, part, columns, result, adds, memory);
      } else {
        multiplyBlock(job, part, pixels, columns, result, adds, memory);
      }
    }
    if (share == 0 && gradient.bias) {
      sumGradient(columns, pixels, memory.right, job.biasPartials + slice * job.stride + columns.first, adds);
    }
  }
  if (job.isSliced()) return;
  const BlockRange stored{columns.first, std::min(columns.first + width, gradient.gradient.channels)};
  for (std::size_t i = parts.begin; i < parts.end; ++i) {
    const Part& part = job.parts[i];
    storeSums(job, part, {0, part.rows}, stored, memory.sums + (part.firstRow - firstRow) * memory.stride,
              memory.stride);
  }
}

/// Rows [begin, end) of the product: their sums over the slices, at their places.
void addSlices(const GradientJob& job, BlockRange rows) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t row = rows.begin; row < rows.end; ++row) {
    float* const sums = job.partials + row * job.stride;
    for (std::size_t slice = 1; slice < job.slices.count(); ++slice) {
      const float* const more = sums + slice * job.rows * job.stride;
      for (std::size_t k = 0; k < job.stride; k += lanes) {
        hn::StoreU(hn::Add(hn::LoadU(d, sums + k), hn::LoadU(d, more + k)), d, sums + k);
      }
    }
  }
  for (const Part& part : job.parts) {
    const std::size_t begin = std::max(part.firstRow, rows.begin), end = std::min(part.firstRow + part.rows, rows.end);
    if (begin >= end) continue;
    storeSums(job, part, {begin - part.firstRow, end - part.firstRow}, {0, job.gradient->gradient.channels},
              job.partials + part.firstRow * job.stride, job.stride);
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
HWY_EXPORT(addSlices);

void correlateAll(std::span<const CorrelationGradient> gradients, Context& context) {
  const TileShape tile = HWY_DYNAMIC_DISPATCH(tileShape)();
  std::vector<GradientJob> jobs;
  std::size_t floats = 0;
  for (const CorrelationGradient& gradient : gradients) {
    jobs.push_back(planCorrelationGradient(gradient, tile, context.pool.threads()));
    const GradientJob& job = jobs.back();
    floats += job.slices.count() * ((job.isSliced() ? job.rows : 0) + 1) * job.stride;
  }
  float* memory = context.scratch.take<float>(floats);
  constexpr std::size_t kRowsAtOnce = 16;
  std::vector<std::size_t> tasks{0}, additions{0};  // of the jobs before
  for (GradientJob& job : jobs) {
    job.partials = memory;
    if (job.isSliced()) memory += job.slices.count() * job.rows * job.stride;
    job.biasPartials = memory;
    memory += job.slices.count() * job.stride;
    tasks.push_back(tasks.back() + job.tasks());
    additions.push_back(additions.back() + (job.isSliced() ? BlockSplit(job.rows, kRowsAtOnce).count() : 0));
  }
  const auto forEach = [&](const std::vector<std::size_t>& ends, const auto& f) {
    context.pool.parallelFor(ends.back(), [&](std::size_t index) {
      const auto job = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), index) - ends.begin()) - 1;
      f(jobs[job], index - ends[job]);
    });
  };
  forEach(tasks, [](const GradientJob& job, std::size_t index) { HWY_DYNAMIC_DISPATCH(runTask)(job, index); });
  forEach(additions, [](const GradientJob& job, std::size_t index) {
    HWY_DYNAMIC_DISPATCH(addSlices)(job, BlockSplit(job.rows, kRowsAtOnce)[index]);
  });
  for (const GradientJob& job : jobs) {
    const std::size_t columns = job.gradient->bias ? job.gradient->gradient.channels : 0;
    for (std::size_t slice = 1; slice < job.slices.count(); ++slice) {
      for (std::size_t k = 0; k < columns; ++k) job.biasPartials[k] += job.biasPartials[slice * job.stride + k];
    }
    for (std::size_t k = 0; k < columns; ++k) {
      job.gradient->bias[k] = job.biasPartials[k] + (job.gradient->accumulates ? job.gradient->bias[k] : 0.0F);
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
