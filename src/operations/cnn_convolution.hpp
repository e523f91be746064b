#pragma once

#include "math/neuron.hpp"
#include "operations/image_views.hpp"
#include "operations/views.hpp"
#include "operations/window.hpp"

#include <metalloid/image_edge_mode.hpp>

#include <cstddef>

namespace metalloid::operations {

/// With in(y, x, c) the source, outside of which stands what the edge mode says, and g(k) the group of output channel
/// k:
///
///     result[j][i][k] = f(bias[k] + sum over q, p, c < Cg of
///                         weights[k][q][p][c] * in(window.y(j, q), window.x(i, p), g(k) * Cg + c))
///
/// Cg = source channels / groups. Convolution, transposed convolution (whose window has a divisor) and fully connected
/// layers (whose window is the image) are all this. Depth-wise: as many groups as source channels.
struct CNNConvolution {
  static constexpr const char* kName = "CNNConvolution";
  ImageView source;
  VectorView weights;  // float32 [Cout][taps y][taps x][Cg]
  VectorView bias;     // float32 [Cout], optional
  VectorView slopes;   // float32 [Cout], given for PReLU only
  ImageView result;    // Cout channels
  Window window;
  std::size_t groups = 1;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;  // clamp only where the window's divisors are 1
  math::Neuron neuron{};

  friend bool operator==(const CNNConvolution&, const CNNConvolution&) = default;
};

/// The gradient of `CNNConvolution`, before its neuron, for its source; `window` is the forward one, and the gradient
/// has the size of the forward result:
///
///     result[v][u][g*Cg + c] = sum over j, i, q, p and k of group g, where (window.y(j, q), window.x(i, p)) is
///                              (v + resultY, u + resultX), of weights[k][q][p][c] * gradient[j][i][k]
///
/// In clamp mode a tap outside the source counts for the nearest pixel of the source, which is sourceWidth x
/// sourceHeight.
struct CNNConvolutionGradientForData {
  static constexpr const char* kName = "CNNConvolutionGradientForData";
  ImageView gradient;
  VectorView weights;
  ImageView result;
  Window window;
  std::size_t sourceWidth = 0;
  std::size_t sourceHeight = 0;
  std::size_t resultX = 0;  // the source pixel of the result's first pixel
  std::size_t resultY = 0;
  std::size_t groups = 1;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;

  friend bool operator==(const CNNConvolutionGradientForData&, const CNNConvolutionGradientForData&) = default;
};

/// The gradient of `CNNConvolution`, before its neuron, for its weights and bias, summed over the batch:
///
///     resultForWeights[k][q][p][c] (+)= sum over n, j, i of gradient[n][j][i][k] * in_n(window.y(j, q), window.x(i,
///     p),
///                                                                                       g(k) * Cg + c)
///     resultForBias[k]             (+)= sum over n, j, i of gradient[n][j][i][k]
struct CNNConvolutionGradientForWeightsAndBias {
  static constexpr const char* kName = "CNNConvolutionGradientForWeightsAndBias";
  ImageView gradient;
  ImageView source;
  VectorView resultForWeights;  // float32 [Cout][taps y][taps x][Cg]
  VectorView resultForBias;     // float32 [Cout], optional
  bool accumulates = false;     // adds to what the results hold
  Window window;
  std::size_t groups = 1;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;

  friend bool operator==(const CNNConvolutionGradientForWeightsAndBias&,
                         const CNNConvolutionGradientForWeightsAndBias&) = default;
};

/// result[y][x][c] = source[y / r][x / r][(N / r^2) * (r * (y mod r) + (x mod r)) + c], r = factor, N = source channels
struct CNNSubPixel {
  static constexpr const char* kName = "CNNSubPixel";
  ImageView source;
  ImageView result;  // N / r^2 channels
  std::size_t factor = 1;

  friend bool operator==(const CNNSubPixel&, const CNNSubPixel&) = default;
};

}  // namespace metalloid::operations
