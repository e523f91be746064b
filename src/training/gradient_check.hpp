#pragma once

#include "training/network_options.hpp"

#include <metalloid/device.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace metalloid::training {

/// What is checked, and how.
struct GradientCheckOptions {
  NetworkOptions network;
  float labelSmoothing = 0;
  std::uint32_t seed = 0;
  std::size_t rows = 8;       ///< Samples of the batch.
  std::size_t elements = 12;  ///< Of each tensor: half those with the largest gradients, half at random.
  /// Largest error that passes, see `TensorCheck`. Gradients in float32 carry rounding
  /// errors of about 6e-8 times the square root of the terms summed, a few layers of them, times what batch
  /// normalization divides by: 1e-6 to 1e-5 for networks of the usual size. A wrong formula is wrong by 1e-2 and more.
  double tolerance = 1e-4;
};

/// @throws Error (invalidArgument) for options that cannot be.
void check(const GradientCheckOptions& options);

/// The gradient of one tensor. Errors are relative to the largest gradient in the tensor, or to a hundredth of the
/// largest in the network where that is more: so small a gradient is what is left of larger terms that cancel, as that
/// of a shift before a normalization, and has their rounding errors.
struct TensorCheck {
  std::string name;
  std::size_t elements = 0;
  std::size_t checked = 0;      ///< Elements whose differences were taken.
  std::size_t atKinks = 0;      ///< Elements left out, because every step across them crosses a kink of some neuron.
  double differencesError = 0;  ///< Against central differences, element by element.
  double directionError = 0;    ///< Against the central difference along one random direction in all elements.
  double referenceError = 0;    ///< Against the gradient that the device `reference` computes, all elements.
  bool holds = false;
};

struct GradientCheck {
  double loss = 0;
  std::vector<TensorCheck> tensors;

  bool holds() const;
};

/// Compares the gradients that a training step on `device` gives with central differences of the loss in double
/// precision and with those of the device `reference`, at random parameters and samples chosen so that no neuron is at
/// a kink.
/// @throws Error (invalidArgument) when the network's loss is not finite there.
GradientCheck checkGradients(const Device& device, const GradientCheckOptions& options);

}  // namespace metalloid::training
