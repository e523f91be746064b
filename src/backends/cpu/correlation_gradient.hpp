#pragma once

#include "backends/cpu/correlation.hpp"

namespace metalloid::cpu {

/// The gradient of a correlation for its weights, whatever the output channel k:
///
///     weights[tap(q, p) * tapStride + c + k * columnStride] (+)= sum over images and outputs j, i of
///                                                source[y(j, q)][x(i, p)][c] * gradient[j][i][k]
///     bias[k] (+)= sum over images and outputs j, i of gradient[j][i][k]
///
/// Depth-wise: for c = k alone, whose weight is at tap(q, p) * tapStride + k * columnStride.
struct CorrelationGradient {
  operations::ImageView source;    // these channels
  operations::ImageView gradient;  // these channels, all outputs of the window
  CorrelationAxis x;
  CorrelationAxis y;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  bool depthwise = false;
  float* weights = nullptr;
  std::size_t rowOfTaps = 1;
  std::size_t tapStride = 0;
  std::size_t columnStride = 0;
  float* bias = nullptr;  // null: not wanted
  bool accumulates = false;
};

/// All of them. The sums run over stretches of the pixels, cut by the problem only, and then over the stretches in
/// order.
void correlateForWeights(std::span<const CorrelationGradient> gradients, Context& context);

}  // namespace metalloid::cpu
