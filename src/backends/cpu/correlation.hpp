#pragma once

#include "backends/cpu/kernels.hpp"
#include "math/neuron.hpp"
#include "operations/image_views.hpp"
#include "operations/window.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <cstddef>
#include <span>
#include <vector>

/// What a convolution and its gradient for the data come to: correlations of images with weights, computed as products
/// of matrices whose left factor is read from the images where they lie.
namespace metalloid::cpu {

/// One axis of a correlation, free of divisions: output i, which is output `firstOutput + outputStep * i` of the
/// window, reads the source at base + step * i + tapStep * t, where t is the window's tap firstTap + tapIncrement * t.
struct CorrelationAxis {
  std::size_t outputs = 0;
  std::size_t firstOutput = 0;
  std::size_t outputStep = 1;
  std::ptrdiff_t step = 1;
  std::ptrdiff_t base = 0;
  std::size_t taps = 0;
  std::size_t tapStep = 1;
  std::ptrdiff_t firstTap = 0;
  std::ptrdiff_t tapIncrement = 1;

  /// How many source pixels `count` outputs see, gaps included; the first output's first tap is the first of them.
  std::size_t extent(std::size_t count) const {
    if (count == 0 || taps == 0) return 0;
    return static_cast<std::size_t>(step) * (count - 1) + tapStep * (taps - 1) + 1;
  }
  /// Whether some tap of some output stands outside a source of this size.
  bool leaves(std::size_t size) const {
    return extent(outputs) != 0 && (base < 0 || static_cast<std::size_t>(base) + extent(outputs) > size);
  }
};

/// A window as axes without division: where it has a divisor, some outputs see some of the taps, other outputs others,
/// and each such phase is an axis of its own. Together they have all outputs; some may have no taps.
std::vector<CorrelationAxis> correlationAxes(const operations::WindowAxis& window, std::size_t outputs);

/// The window that leads from the source of `window`, a region of it that begins at `begin`, to its outputs.
operations::WindowAxis inverse(const operations::WindowAxis& window, std::size_t begin);

/// result[j][i][k] = f(bias[k] + sum over taps q, p and channels c of
///                     source[y(j, q)][x(i, p)][c] * weights[tap(q, p) * tapStride + c * channelStride + k *
///                     columnStride])
///
/// with outputs, positions and taps as the axes say, and tap(q, p) = window's tap y * rowOfTaps + window's tap x. A
/// depth-wise one has as many outputs as channels, and output channel k sees channel c = k alone, without
/// channelStride.
struct Correlation {
  operations::ImageView source;  // these channels
  operations::ImageView result;  // these channels, all pixels
  CorrelationAxis x;
  CorrelationAxis y;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  bool depthwise = false;
  const float* weights = nullptr;
  std::size_t rowOfTaps = 1;
  std::size_t tapStride = 0;
  std::size_t channelStride = 0;  // it or the next is 1
  std::size_t columnStride = 0;
  const float* bias = nullptr;
  const float* slopes = nullptr;
  const math::Neuron* neuron = nullptr;  // null: none
};

/// Some channels of a view's pixels.
inline operations::ImageView channelsOf(operations::ImageView view, std::size_t begin, std::size_t count) {
  const std::size_t offset = begin * sizeOfDataType(view.type);
  view.data += offset;
  for (std::byte*& address : view.addresses) address += offset;
  view.channels = count;
  return view;
}

/// All of them, side by side on the threads. Each sum runs over the taps, row by row, and their channels in order, in
/// blocks that depend on the problem only.
void correlate(std::span<const Correlation> correlations, Context& context);

}  // namespace metalloid::cpu
