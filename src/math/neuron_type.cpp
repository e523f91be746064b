#include <metalloid/cnn_neuron_type.hpp>

namespace metalloid {

std::string_view name(CNNNeuronType type) {
  switch (type) {
    case CNNNeuronType::none:
      return "none";
    case CNNNeuronType::reLU:
      return "reLU";
    case CNNNeuronType::linear:
      return "linear";
    case CNNNeuronType::sigmoid:
      return "sigmoid";
    case CNNNeuronType::hardSigmoid:
      return "hardSigmoid";
    case CNNNeuronType::tanH:
      return "tanH";
    case CNNNeuronType::absolute:
      return "absolute";
    case CNNNeuronType::softPlus:
      return "softPlus";
    case CNNNeuronType::softSign:
      return "softSign";
    case CNNNeuronType::ELU:
      return "ELU";
    case CNNNeuronType::pReLU:
      return "pReLU";
    case CNNNeuronType::reLUN:
      return "reLUN";
    case CNNNeuronType::power:
      return "power";
    case CNNNeuronType::exponential:
      return "exponential";
    case CNNNeuronType::logarithm:
      return "logarithm";
    case CNNNeuronType::geLU:
      return "geLU";
    case CNNNeuronType::count:
      return "count";
  }
  return "unknown";
}

}  // namespace metalloid
