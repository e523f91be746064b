#pragma once

#include "backends/cpu/correlation_gradient.hpp"
#include "backends/cpu/correlation_segment.hpp"
#include "backends/cpu/gemm_plan.hpp"

#include <cstddef>
#include <vector>

namespace metalloid::cpu::correlation_gradient_internal {

/// Rows of the product that lie side by side in the source.
struct Strip {
  std::size_t offset;  // floats, from the first tap's first channel
  std::size_t firstRow;
  std::size_t rows;
};

/// Strips that are packed together: of 512 pixels, 512 KiB.
inline constexpr std::size_t kStripsTogether = 32;

/// Some channels of the source under all taps. They are copied together, and so few that the pixels of a block lie
/// close to each other in the copy.
struct Part {
  operations::ImageView source;
  std::size_t pixelFloats = 0;  // from pixel to pixel and from row to row of the source or of its copy
  std::size_t rowFloats = 0;
  std::size_t firstRow = 0;  // of the product
  std::size_t rows = 0;
  std::vector<Strip> strips;
  std::vector<Segment> weights;      // where the rows belong, for one column
  std::vector<std::size_t> offsets;  // depth-wise: of the taps, which are the rows, in place of strips
};

struct GradientJob {
  const CorrelationGradient* gradient = nullptr;
  bool copies = false;
  bool packsStrips = false;
  std::vector<Part> parts;
  std::size_t rows = 0;
  std::size_t vectors = 0;       // of columns
  std::size_t stride = 0;        // of a partial result: whole vectors
  BlockSplit slices{0, 1};       // of the output rows of all images, each with a partial result
  std::size_t linesOfBlock = 1;  // output rows that are packed together, and whose products are one sum
  BlockSplit shares{0, 1};       // of the parts
  BlockSplit columns{0, 1};      // of vectors
  float* partials = nullptr;
  float* biasPartials = nullptr;

  bool isSliced() const { return slices.count() > 1; }
  std::size_t tasks() const { return slices.count() * shares.count() * columns.count(); }
};

/// How to compute a gradient with these threads; partial results are left to the caller. Only shares and columns depend
/// on the threads, and no sum on these.
GradientJob planCorrelationGradient(const CorrelationGradient& gradient, const TileShape& tile, unsigned threads);

}  // namespace metalloid::cpu::correlation_gradient_internal
