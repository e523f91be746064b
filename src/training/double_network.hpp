#pragma once

#include "training/network_options.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace metalloid::training {

/// The loss of a network in training, in double precision and by plain loops: what the gradients of `Network` are
/// gradients of. It shares no code with the kernels but the neurons' formulas, and does no more than one number.
class DoubleNetwork {
 public:
  DoubleNetwork(const NetworkOptions& options, double labelSmoothing)
      : options_(options), labelSmoothing_(labelSmoothing) {}

  /// Parameters by the names that `Network` gives them.
  using Parameters = std::map<std::string, std::vector<double>>;

  struct Samples {
    std::vector<double> inputs;  ///< [rows, inputs]
    std::vector<std::uint32_t> labels;

    std::size_t rows() const { return labels.size(); }
  };

  struct Loss {
    double value = 0;            ///< Mean cross entropy of the samples.
    std::uint64_t branches = 0;  ///< A hash of the sides of their kinks that all neurons' arguments lie on.
    double kinkDistance = 0;     ///< Of the argument that is nearest to a kink.
  };
  Loss loss(const Parameters& parameters, const Samples& samples) const;

 private:
  NetworkOptions options_;
  double labelSmoothing_;
};

/// Where the neuron's derivative jumps, or its domain ends.
std::vector<double> kinks(const NeuronOptions& neuron);

}  // namespace metalloid::training
