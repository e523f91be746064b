#pragma once

#include "backends/cpu/correlation.hpp"
#include "backends/cpu/correlation_segment.hpp"
#include "backends/cpu/gemm_plan.hpp"

#include <cstddef>
#include <vector>

namespace metalloid::cpu::correlation_internal {

/// Packed weights beyond this are fetched ahead of their use: 1 MiB, half of an L2.
inline constexpr std::size_t kFloatsInCaches = 256 * 1024;

/// Rows of one task, whose addresses it keeps: each panel of the weights passes by all of them, over one inner block,
/// before the next, and they stay in L2 meanwhile.
inline constexpr std::size_t kMostRows = 384;

/// Inner indices of the weights that one task packs, so that small weights have tasks for many threads.
inline constexpr std::size_t kInnerPackedTogether = 96;

/// So few columns that would leave most of a vector unused are multiplied along the inner index instead.
inline constexpr std::size_t kMostDotColumns = 4;

/// A part of the inner dimension, with what the tiles read of the left factor and where the right one comes from.
struct InnerBlock {
  BlockRange inner;
  std::vector<Segment> left;
  std::vector<Segment> right;  // weights of a column
};

struct CorrelationJob {
  const Correlation* correlation = nullptr;
  std::vector<InnerBlock> blocks;
  std::size_t inner = 0;  // its whole length
  bool copies = false;
  std::size_t pixelFloats = 0;  // from pixel to pixel and from row to row of the source or of its copy
  std::size_t rowFloats = 0;
  std::size_t vectors = 0;   // of columns
  std::size_t panels = 0;    // of a task's columns, at most
  BlockSplit rows{0, 1};     // of the tasks
  BlockSplit columns{0, 1};  // of the tasks, in vectors
  float* packed = nullptr;   // weights: block by block, panel by panel, for each inner index its columns side by side
  bool dots = false;         // multiplies few columns along the inner index, in one block

  // Depth-wise, in place of the blocks, with the weights tap by tap:
  std::vector<std::size_t> offsets;  // of the taps, from where a window begins
  std::vector<std::size_t> taps;     // their weights, for one column

  std::size_t tasks() const { return rows.count() * columns.count(); }
  /// A block is packed in so many parts at most.
  std::size_t partsOfBlock() const {
    return dots ? 1 : BlockSplit(blocks.front().inner.size(), kInnerPackedTogether).count();
  }
  std::size_t packings() const {
    return correlation->depthwise ? 1 : partsOfBlock() * blocks.size() * columns.count() * panels;
  }
};

/// The neuron is one that the register tile applies itself.
inline bool endsWithReLU(const Correlation& correlation) {
  return correlation.neuron && correlation.neuron->type == CNNNeuronType::reLU && !correlation.depthwise;
}

/// How to compute a correlation with these threads; `packed` is left to the caller. Only the tasks depend on the
/// threads, and no sum on the tasks.
CorrelationJob planCorrelation(const Correlation& correlation, const TileShape& tile, unsigned threads);

}  // namespace metalloid::cpu::correlation_internal
