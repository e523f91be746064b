#include "training/network_options.hpp"

#include "core/format.hpp"
#include "math/neuron.hpp"
#include "training/json_members.hpp"
#include "training/layered_network.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/ranges.h>

namespace metalloid::training {
namespace {

// A width beyond this is a slip of the keyboard: one layer would take more than 64 GiB.
constexpr std::size_t kMaximumWidth = std::size_t{1} << 20;
constexpr std::size_t kMaximumLayers = 256;

[[noreturn]] void refuse(std::string message) { throw Error(ErrorCode::invalidArgument, std::move(message)); }

std::string lowerCase(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    if (letter != '-' && letter != '_') {
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    }
  }
  return result;
}

CNNNeuronType typeAt(int index) { return static_cast<CNNNeuronType>(index); }
constexpr int kTypes = static_cast<int>(CNNNeuronType::count);

void checkWidth(std::string_view what, std::size_t width) {
  if (width == 0 || width > kMaximumWidth) {
    refuse(fmt::format("The network has {} {}, but 1 to {} are possible.", width, what, kMaximumWidth));
  }
}

}  // namespace

NeuronOptions defaultNeuron(CNNNeuronType type) {
  if (type == CNNNeuronType::pReLU) return {.type = type, .a = 0.25f};
  const auto parameters = math::defaultParameters(type);
  return {.type = type, .a = parameters.a, .b = parameters.b, .c = parameters.c};
}

CNNNeuronType neuronTypeNamed(std::string_view name) {
  for (int i = 0; i < kTypes; ++i) {
    if (lowerCase(metalloid::name(typeAt(i))) == lowerCase(name)) return typeAt(i);
  }
  refuse(fmt::format("There is no neuron \"{}\"; there are: {}.", name, neuronTypeNames()));
}

std::string neuronTypeNames() {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(kTypes));
  for (int i = 0; i < kTypes; ++i) names.push_back(lowerCase(name(typeAt(i))));
  return fmt::format("{}", fmt::join(names, ", "));
}

void check(const NetworkOptions& options) {
  checkWidth("inputs", options.inputs);
  checkWidth("classes", options.classes);
  if (options.isLayered()) {
    layersOf(options);
    return;
  }
  if (options.hidden.size() > kMaximumLayers) {
    refuse(fmt::format("The network has {} hidden layers, but at most {} are possible.", options.hidden.size(),
                       kMaximumLayers));
  }
  for (const std::size_t width : options.hidden) checkWidth("units in a hidden layer", width);
  if (options.neuron.type == CNNNeuronType::pReLU) {
    if (!std::isfinite(options.neuron.a)) refuse("The slope of the pReLU neuron is not finite.");
  } else {
    math::checkNeuronParameters(options.neuron.type, options.neuron.a, options.neuron.b, options.neuron.c);
  }
  if (!(options.batchNormalizationEpsilon > 0) || !std::isfinite(options.batchNormalizationEpsilon)) {
    refuse(fmt::format("The epsilon of batch normalization is {}, but must be finite and above 0.",
                       options.batchNormalizationEpsilon));
  }
  if (!(options.batchNormalizationMomentum > 0 && options.batchNormalizationMomentum <= 1)) {
    refuse(fmt::format("The momentum of batch normalization is {}, but must lie above 0 and not above 1.",
                       options.batchNormalizationMomentum));
  }
}

nlohmann::json toJson(const NetworkOptions& options) {
  if (options.isLayered()) {
    return {{"inputs", options.inputs},
            {"classes", options.classes},
            {"name", options.name},
            {"description", options.text}};
  }
  return {{"inputs", options.inputs},
          {"classes", options.classes},
          {"hidden", options.hidden},
          {"neuron", std::string(name(options.neuron.type))},
          {"neuron_a", options.neuron.a},
          {"neuron_b", options.neuron.b},
          {"neuron_c", options.neuron.c},
          {"batch_normalization", options.batchNormalization},
          {"bn_epsilon", options.batchNormalizationEpsilon},
          {"bn_momentum", options.batchNormalizationMomentum}};
}

NetworkOptions networkOptionsFromJson(const JsonMembers& members) {
  NetworkOptions options;
  std::string neuron;
  members.get("inputs", options.inputs);
  members.get("classes", options.classes);
  if (members.has("description")) {
    members.get("name", options.name);
    members.get("description", options.text);
    if (!options.isLayered()) members.fail("has an empty description");
    check(options);  // names the place in the description
    return options;
  }
  members.get("hidden", options.hidden);
  members.get("neuron", neuron);
  members.get("neuron_a", options.neuron.a);
  members.get("neuron_b", options.neuron.b);
  members.get("neuron_c", options.neuron.c);
  members.get("batch_normalization", options.batchNormalization);
  members.get("bn_epsilon", options.batchNormalizationEpsilon);
  members.get("bn_momentum", options.batchNormalizationMomentum);
  try {
    options.neuron.type = neuronTypeNamed(neuron);
    check(options);
  } catch (const Error& error) {
    members.fail(fmt::format("describes an impossible network: {}", error.message()));
  }
  return options;
}

LayeredNetwork layersOf(const NetworkOptions& options) { return parseNetwork(options.text, options.name); }

std::string describe(const NetworkOptions& options) {
  if (options.isLayered()) return options.name;
  std::string text = fmt::format("{}-", options.inputs);
  for (const std::size_t width : options.hidden) text += fmt::format("{}-", width);
  text += fmt::format("{}", options.classes);
  if (!options.hidden.empty()) {
    text += fmt::format(", {}", name(options.neuron.type));
    if (options.batchNormalization) text += ", batch normalization";
  }
  return text;
}

}  // namespace metalloid::training
