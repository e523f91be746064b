#include "backends/cpu/correlation_gradient_plan.hpp"

#include <algorithm>
#include <limits>

namespace metalloid::cpu::correlation_gradient_internal {
namespace {

/// Where the pixels of a block spread over more memory than this, one sweep over them for each strip would miss the
/// address translation's first level at every step: strips are then packed together beforehand.
constexpr std::size_t kSweptBytes = 192 * 1024;

// Partial results: not too large together, nor of so few pixels that adding them up costs much.
constexpr std::size_t kMostSlices = 32;
constexpr std::size_t kPartialFloats = std::size_t{1} << 20;
constexpr std::size_t kFewestPixels = 768;

/// Pixels of a block, whose products are one sum.
constexpr std::size_t kMostPixels = 640;

/// Channels of a part that is copied, where pixels follow each other without gaps: 512 pixels take 128 KiB.
constexpr std::size_t kCopiedChannels = 64;
/// And of one that is read in place, which is as wide as what is packed together.
constexpr std::size_t kChannelsInPlace = 256;

// Costs in cycles; only their ratios matter.
constexpr double kCyclesPerTileStep = 0.5;  // one row, one vector, one pixel
constexpr double kCyclesPerElement = 1.25;  // of the source or of the gradient: fetching and packing it for a task

// Threads are late now and then, by this part of a task on average: small tasks lose less by it.
constexpr double kLateness = 0.25;

Part planPart(const GradientJob& job, const TileShape& tile, std::size_t firstChannel, std::size_t count) {
  const CorrelationGradient& gradient = *job.gradient;
  Part part;
  part.source = channelsOf(gradient.source, firstChannel, count);
  part.pixelFloats = job.copies ? count : part.source.pixelBytes / sizeof(float);
  part.rowFloats = job.copies ? gradient.x.extent(gradient.x.outputs) * count : part.source.rowBytes / sizeof(float);
  const std::size_t channels = gradient.depthwise ? 1 : count;
  std::vector<Segment> runs;  // of the source
  for (std::size_t q = 0; q < gradient.y.taps; ++q) {
    for (std::size_t p = 0; p < gradient.x.taps; ++p) {
      const std::ptrdiff_t tap = (gradient.y.firstTap + gradient.y.tapIncrement * static_cast<std::ptrdiff_t>(q)) *
                                     static_cast<std::ptrdiff_t>(gradient.rowOfTaps) +
                                 gradient.x.firstTap + gradient.x.tapIncrement * static_cast<std::ptrdiff_t>(p);
      const std::size_t offset = q * gradient.y.tapStep * part.rowFloats + p * gradient.x.tapStep * part.pixelFloats;
      if (gradient.depthwise) {
        part.offsets.push_back(offset);
      } else {
        append(runs, static_cast<std::ptrdiff_t>(offset), channels);
      }
      append(part.weights,
             tap * static_cast<std::ptrdiff_t>(gradient.tapStride) + static_cast<std::ptrdiff_t>(firstChannel),
             channels);
    }
  }
  for (const Segment& run : runs) {
    const EvenParts strips(run.length, tile.rows);
    for (std::size_t strip = 0; strip < strips.count(); ++strip) {
      part.strips.push_back({static_cast<std::size_t>(run.offset) + strips.begin(strip),
                             part.rows + strips.begin(strip), strips.size(strip)});
    }
    part.rows += run.length;
  }
  if (gradient.depthwise) part.rows = part.offsets.size();
  return part;
}

void planParts(GradientJob& job, const TileShape& tile) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t channels = gradient.source.channels;
  const std::size_t copied = std::max<std::size_t>(kCopiedChannels / static_cast<std::size_t>(gradient.x.step), 16);
  const EvenParts parts(channels, gradient.depthwise ? channels : job.copies ? copied : kChannelsInPlace);
  for (std::size_t i = 0; i < parts.count(); ++i) {
    job.parts.push_back(planPart(job, tile, parts.begin(i), parts.size(i)));
    job.parts.back().firstRow = job.rows;
    job.rows += job.parts.back().rows;
  }
}

/// The order of the sums: nothing here may depend on threads or tile.
void planSums(GradientJob& job) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t lines = gradient.gradient.images * gradient.y.outputs, width = gradient.x.outputs;
  const std::size_t area = std::max<std::size_t>(job.rows * gradient.gradient.channels, 1);
  const std::size_t most = std::min({lines * width / kFewestPixels, kPartialFloats / area, lines, kMostSlices});
  std::size_t slices = 1;
  while (2 * slices <= most) slices *= 2;
  job.slices = BlockSplit::inAtMost(slices, lines);
  job.linesOfBlock = std::max<std::size_t>(kMostPixels / std::max<std::size_t>(width, 1), 1);
}

/// Into how many shares of the parts and of the columns, so that all tasks should end first.
void divide(GradientJob& job, const TileShape& tile, unsigned threads) {
  const CorrelationGradient& gradient = *job.gradient;
  const std::size_t slices = job.slices.count(), parts = job.parts.size();
  const auto pixels = static_cast<double>(gradient.x.step * gradient.y.step);  // that are copied for an output
  const auto perPart = [&](std::size_t count) { return static_cast<double>(count) / static_cast<double>(parts); };
  constexpr std::size_t kMostRounds = 4;
  const std::size_t most = threads == 1 ? 1 : ceilingQuotient(kMostRounds * threads, std::max<std::size_t>(slices, 1));
  double leastCycles = std::numeric_limits<double>::infinity();
  for (std::size_t inParts = 1; inParts <= std::min(most, parts); ++inParts) {
    for (std::size_t inColumns = 1; inColumns <= std::min(most / inParts, ceilingQuotient(job.vectors, tile.vectors));
         ++inColumns) {
      const auto shares = BlockSplit::inAtMost(inParts, parts),
                 columns = BlockSplit::inAtMost(inColumns, job.vectors, tile.vectors);
      const auto partsOfTask = static_cast<double>(shares[0].size()), vectors = static_cast<double>(columns[0].size());
      const double cycles = partsOfTask * perPart(job.rows) * vectors * kCyclesPerTileStep +
                            partsOfTask * perPart(gradient.source.channels) * pixels * kCyclesPerElement +
                            vectors * static_cast<double>(tile.lanes) * kCyclesPerElement;
      const auto rounds = static_cast<double>(ceilingQuotient(slices * shares.count() * columns.count(), threads));
      if ((rounds + kLateness) * cycles < leastCycles) {
        leastCycles = (rounds + kLateness) * cycles;
        job.shares = shares;
        job.columns = columns;
      }
    }
  }
}

}  // namespace

GradientJob planCorrelationGradient(const CorrelationGradient& gradient, const TileShape& tile, unsigned threads) {
  GradientJob job;
  job.gradient = &gradient;
  const operations::ImageView& source = gradient.source;
  job.copies = source.type != DataType::float32 || gradient.x.leaves(source.width) || gradient.y.leaves(source.height);
  planParts(job, tile);
  job.vectors = ceilingQuotient(gradient.gradient.channels, tile.lanes);
  job.stride = job.vectors * tile.lanes;
  planSums(job);
  const std::size_t pixelsOfBlock = std::min(job.linesOfBlock, job.slices[0].size()) * gradient.x.outputs;
  for (const Part& part : job.parts) {
    const std::size_t step = static_cast<std::size_t>(gradient.x.step) * part.pixelFloats * sizeof(float);
    job.packsStrips = job.packsStrips || step * pixelsOfBlock > kSweptBytes;
  }
  divide(job, tile, threads);
  return job;
}

}  // namespace metalloid::cpu::correlation_gradient_internal
