#pragma once

#include <metalloid/cnn_neuron_type.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace metalloid::training {

class JsonMembers;
struct LayeredNetwork;

/// The neuron of every hidden layer.
struct NeuronOptions {
  CNNNeuronType type = CNNNeuronType::reLU;
  float a = 0;  ///< With pReLU: the slope of every channel; it is not trained.
  float b = 0;
  float c = 0;

  bool operator==(const NeuronOptions&) const = default;
};

/// A neuron with the parameters its type has when none are given; pReLU gets the slope 0.25.
NeuronOptions defaultNeuron(CNNNeuronType type);

/// The type that a user calls "relu", "hard-sigmoid", "geLU": upper and lower case and hyphens make no difference.
/// @throws Error (invalidArgument) with the names there are.
CNNNeuronType neuronTypeNamed(std::string_view name);

/// "relu, linear, …": what `neuronTypeNamed` understands.
std::string neuronTypeNames();

/// A network that tells classes apart: one of described layers, see docs/network-descriptions.md, or the built-in
/// `mlp`, a network of fully connected layers that everything from `hidden` on is about.
///
/// Hidden layer:  z = x*W, y = f(gamma * normalized(z) + beta)      with batch normalization
///                z = x*W, y = f(z + b)                             without
/// Output layer:  logits = x*W + b
struct NetworkOptions {
  std::size_t inputs = 784;
  std::size_t classes = 10;
  std::string name = "mlp";                   ///< What the user called it.
  std::string text = {};                      ///< Its description; empty for `mlp`.
  std::vector<std::size_t> hidden{512, 256};  ///< Widths of the hidden layers; may be empty.
  NeuronOptions neuron = {};
  bool batchNormalization = true;
  float batchNormalizationEpsilon = 1e-5f;
  /// What one batch contributes to the running statistics: running = (1 - momentum)*running + momentum*batch.
  float batchNormalizationMomentum = 0.1f;

  bool isLayered() const { return !text.empty(); }

  bool operator==(const NetworkOptions&) const = default;
};

/// @throws Error (invalidArgument) for a network that cannot be: no inputs, a layer without units, parameters a neuron
/// cannot have, …
void check(const NetworkOptions& options);

nlohmann::json toJson(const NetworkOptions& options);

/// @throws Error (malformedFile) naming the member that is absent or wrong.
NetworkOptions networkOptionsFromJson(const JsonMembers& members);

/// The layers of a network that has a description. @throws Error (malformedFile) as `parseNetwork`.
LayeredNetwork layersOf(const NetworkOptions& options);

/// "784-512-256-10, reLU, batch normalization", or "lenet".
std::string describe(const NetworkOptions& options);

}  // namespace metalloid::training
