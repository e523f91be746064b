#include "backends/cpu/correlation_plan.hpp"

#include <algorithm>
#include <limits>

namespace metalloid::cpu::correlation_internal {
namespace {

/// An inner block is at most this long, so that a panel of up to 32 columns stays in L1; a wider one does not, and
/// rather has longer blocks, after which results are read and written again.
constexpr std::size_t kColumnsInL1 = 32;
constexpr std::size_t kMostInnerInL1 = 384;
constexpr std::size_t kMostInner = 1152;

/// Fewer rows a task do not pay for what each begins with.
constexpr std::size_t kFewestRows = 64;

/// Floats of the source that a task copies, as far as it has the choice: 1.75 MiB, so that large weights are not read
/// for a few rows only.
constexpr std::size_t kCopiedFloats = 448 * 1024;

// Costs in cycles; only their ratios matter.
constexpr double kCyclesPerTileStep = 0.5;  // one row, one vector, one inner index
constexpr double kCyclesPerElement = 0.5;   // fetching a float of the source or of the weights,
constexpr double kCyclesPerCopy = 1.25;     // and copying it,
constexpr double kCyclesInCache = 0.05;     // or reading it from the core's second cache
constexpr double kCyclesPerTask = 4000;

// Threads are late now and then, by this part of a task on average: small tasks lose less by it.
constexpr double kLateness = 0.25;

/// The part of consecutive segments that a block of the inner index has.
std::vector<Segment> cut(const std::vector<Segment>& segments, std::size_t stride, BlockRange inner) {
  std::vector<Segment> result;
  std::size_t begin = 0;
  for (const Segment& segment : segments) {
    const std::size_t first = std::max(begin, inner.begin), end = std::min(begin + segment.length, inner.end);
    if (first < end) {
      result.push_back({segment.offset + static_cast<std::ptrdiff_t>((first - begin) * stride), end - first});
    }
    begin += segment.length;
  }
  return result;
}

/// Few columns and long segments: along these, vectors are fuller than along the columns.
bool prefersDots(const Correlation& correlation, const TileShape& tile, const std::vector<Segment>& left) {
  const auto isLong = [&](const Segment& segment) { return segment.length >= 2 * tile.lanes; };
  return correlation.result.channels <= kMostDotColumns && 2 * correlation.result.channels <= tile.lanes &&
         std::all_of(left.begin(), left.end(), isLong);
}

void planInner(CorrelationJob& job, const TileShape& tile) {
  const Correlation& correlation = *job.correlation;
  const std::size_t channels = correlation.depthwise ? 1 : correlation.source.channels;
  std::vector<Segment> left, right;
  for (std::size_t q = 0; q < correlation.y.taps; ++q) {
    for (std::size_t p = 0; p < correlation.x.taps; ++p) {
      const std::ptrdiff_t tap =
          (correlation.y.firstTap + correlation.y.tapIncrement * static_cast<std::ptrdiff_t>(q)) *
              static_cast<std::ptrdiff_t>(correlation.rowOfTaps) +
          correlation.x.firstTap + correlation.x.tapIncrement * static_cast<std::ptrdiff_t>(p);
      const std::ptrdiff_t weight = tap * static_cast<std::ptrdiff_t>(correlation.tapStride);
      const std::size_t offset =
          q * correlation.y.tapStep * job.rowFloats + p * correlation.x.tapStep * job.pixelFloats;
      if (correlation.depthwise) {
        job.offsets.push_back(offset);
        job.taps.push_back(static_cast<std::size_t>(weight));
        continue;
      }
      append(left, static_cast<std::ptrdiff_t>(offset), channels);
      if (correlation.channelStride == 1) {
        append(right, weight, channels);
      } else {
        right.push_back({weight, channels});
      }
    }
  }
  job.inner = correlation.x.taps * correlation.y.taps * channels;
  if (correlation.depthwise) return;
  job.dots = prefersDots(correlation, tile, left);
  const std::size_t inner = job.inner;
  const bool isWide = std::min(correlation.result.channels, tile.columns()) > kColumnsInL1;
  const std::size_t most = job.dots ? inner : isWide ? kMostInner : kMostInnerInL1;
  const std::size_t blocks = inner == 0 ? 1 : ceilingQuotient(inner, most);
  const std::size_t length = std::max<std::size_t>(ceilingQuotient(ceilingQuotient(inner, blocks), 4) * 4, 4);
  for (std::size_t begin = 0; begin == 0 || begin < inner; begin += length) {
    const BlockRange range{begin, std::min(begin + length, inner)};
    job.blocks.push_back({range, cut(left, 1, range), cut(right, correlation.channelStride, range)});
  }
}

/// Output pixels of a task, at most `most`: whole images or whole rows of them where these are small enough.
std::size_t rowsOfTask(const CorrelationJob& job, std::size_t most) {
  const Correlation& correlation = *job.correlation;
  const std::size_t width = correlation.x.outputs, height = correlation.y.outputs, image = width * height;
  if (width >= most) return most;
  const std::size_t imageFloats = job.copies ? correlation.y.extent(height) * job.rowFloats : 0;
  if (image <= most && imageFloats <= kCopiedFloats) {
    const std::size_t images = std::min(most / image, kCopiedFloats / std::max<std::size_t>(imageFloats, 1));
    return ceilingQuotient(correlation.result.images, ceilingQuotient(correlation.result.images, images)) * image;
  }
  std::size_t lines = std::min(most / width, height);
  while (job.copies && lines > 1 && correlation.y.extent(lines) * job.rowFloats > kCopiedFloats) --lines;
  return ceilingQuotient(height, ceilingQuotient(height, lines)) * width;
}

/// Floats of the source that a task reads, or copies.
std::size_t floatsOfTask(const CorrelationJob& job) {
  const Correlation& correlation = *job.correlation;
  const std::size_t lines = ceilingQuotient(job.rows[0].size(), correlation.x.outputs), height = correlation.y.outputs;
  return ceilingQuotient(lines, height) * correlation.y.extent(std::min(lines, height)) * job.rowFloats;
}

/// Cycles until the last of these threads ends, if each begins with as many tasks, one after another. These share
/// columns, and the weights of these are fetched once if they stay in the core's cache.
double cyclesOf(const CorrelationJob& job, const TileShape& tile, unsigned threads) {
  const std::size_t tasks = ceilingQuotient(job.tasks(), threads), vectors = job.columns[0].size();
  const std::size_t weights = job.inner * vectors * tile.lanes;
  const std::size_t fetches = weights > kFloatsInCaches ? tasks : ceilingQuotient(tasks, job.rows.count());
  const double part = job.dots ? static_cast<double>(job.correlation->result.channels) / static_cast<double>(tile.lanes)
                               : static_cast<double>(vectors);
  const double cyclesOfTask =
      kCyclesPerTask + static_cast<double>(job.rows[0].size() * job.inner) * part * kCyclesPerTileStep +
      static_cast<double>(weights) * kCyclesInCache +
      static_cast<double>(floatsOfTask(job)) * (job.copies ? kCyclesPerCopy : kCyclesPerElement);
  return (static_cast<double>(tasks) + kLateness) * cyclesOfTask +
         static_cast<double>(fetches * weights) * kCyclesPerElement;
}

/// How the result is cut into tasks: into these that should end first.
void cut(CorrelationJob& job, const TileShape& tile, unsigned threads) {
  const Correlation& correlation = *job.correlation;
  const std::size_t pixels = correlation.x.outputs * correlation.y.outputs * correlation.result.images;
  BlockSplit rows = job.rows, split = job.columns;
  double leastCycles = std::numeric_limits<double>::infinity();
  for (std::size_t most = threads == 1 ? kMostRows : kFewestRows; most <= kMostRows; most += kFewestRows) {
    job.rows = BlockSplit(pixels, rowsOfTask(job, most));
    for (std::size_t columns = 1; columns <= std::min<std::size_t>(threads, job.vectors); ++columns) {
      job.columns = BlockSplit::inAtMost(columns, job.vectors);
      const double cycles = cyclesOf(job, tile, threads);
      if (cycles >= leastCycles) continue;
      leastCycles = cycles;
      rows = job.rows;
      split = job.columns;
    }
  }
  job.rows = rows;
  job.columns = split;
  job.panels = ceilingQuotient(job.columns[0].size(), tile.vectors);
}

}  // namespace

CorrelationJob planCorrelation(const Correlation& correlation, const TileShape& tile, unsigned threads) {
  CorrelationJob job;
  job.correlation = &correlation;
  const operations::ImageView& source = correlation.source;
  job.copies =
      source.type != DataType::float32 || correlation.x.leaves(source.width) || correlation.y.leaves(source.height);
  job.pixelFloats = job.copies ? source.channels : source.pixelBytes / sizeof(float);
  job.rowFloats =
      job.copies ? correlation.x.extent(correlation.x.outputs) * source.channels : source.rowBytes / sizeof(float);
  planInner(job, tile);
  job.vectors = ceilingQuotient(correlation.result.channels, tile.lanes);
  cut(job, tile, threads);
  return job;
}

}  // namespace metalloid::cpu::correlation_internal
