#pragma once

#include <metalloid/cnn_neuron.hpp>
#include <metalloid/nn_nodes.hpp>

#include <span>

namespace metalloid {

/// A neuron on every element of an image: what all neuron nodes have, and the general one. Source: MPSCNNNeuronNode.
class CNNNeuronNode : public NNFilterNode {
 public:
  CNNNeuronNode() = default;  ///< Nil.

  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;             ///< What is read.
    NNNeuronDescriptor descriptor;  ///< Which neuron.
  };
  /// @throws Error (invalidArgument) for a nil source and for parameters without a meaning.
  explicit CNNNeuronNode(const Arguments& arguments) : CNNNeuronNode("CNNNeuronNode", arguments) {}

  float a() const;  ///< The neuron's a.
  float b() const;  ///< The neuron's b.
  float c() const;  ///< The neuron's c.

 protected:
  /// For derived classes, whose name `className` is.
  CNNNeuronNode(const char* className, const Arguments& arguments);
};

/// |x|. Source: MPSCNNNeuronAbsoluteNode.
class CNNNeuronAbsoluteNode : public CNNNeuronNode {
 public:
  CNNNeuronAbsoluteNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronAbsoluteNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronAbsoluteNode",
                      {.source = arguments.source, .descriptor = {.neuronType = CNNNeuronType::absolute}}) {}
};

/// x >= 0 ? x : a*(e^x - 1). Source: MPSCNNNeuronELUNode.
class CNNNeuronELUNode : public CNNNeuronNode {
 public:
  CNNNeuronELUNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronELUNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronELUNode", {.source = arguments.source,
                                           .descriptor = {.neuronType = CNNNeuronType::ELU, .a = arguments.a}}) {}
};

/// c^(a*x + b); base e for c = -1. Source: MPSCNNNeuronExponentialNode.
class CNNNeuronExponentialNode : public CNNNeuronNode {
 public:
  CNNNeuronExponentialNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 0;         ///< Default 0.
    float c = -1;        ///< Default -1.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronExponentialNode(const Arguments& arguments)
      : CNNNeuronNode(
            "CNNNeuronExponentialNode",
            {.source = arguments.source,
             .descriptor = {
                 .neuronType = CNNNeuronType::exponential, .a = arguments.a, .b = arguments.b, .c = arguments.c}}) {}
};

/// x/2 * (1 + erf(x/sqrt(2))). Source: MPSCNNNeuronGeLUNode.
class CNNNeuronGeLUNode : public CNNNeuronNode {
 public:
  CNNNeuronGeLUNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronGeLUNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronGeLUNode",
                      {.source = arguments.source, .descriptor = {.neuronType = CNNNeuronType::geLU}}) {}
};

/// clamp(a*x + b, 0, 1). Source: MPSCNNNeuronHardSigmoidNode.
class CNNNeuronHardSigmoidNode : public CNNNeuronNode {
 public:
  CNNNeuronHardSigmoidNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 0.2F;      ///< Default 0.2.
    float b = 0.5F;      ///< Default 0.5.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronHardSigmoidNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronHardSigmoidNode",
                      {.source = arguments.source,
                       .descriptor = {.neuronType = CNNNeuronType::hardSigmoid, .a = arguments.a, .b = arguments.b}}) {}
};

/// a*x + b. Source: MPSCNNNeuronLinearNode.
class CNNNeuronLinearNode : public CNNNeuronNode {
 public:
  CNNNeuronLinearNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 0;         ///< Default 0.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronLinearNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronLinearNode",
                      {.source = arguments.source,
                       .descriptor = {.neuronType = CNNNeuronType::linear, .a = arguments.a, .b = arguments.b}}) {}
};

/// log_c(a*x + b); natural for c = -1. Source: MPSCNNNeuronLogarithmNode.
class CNNNeuronLogarithmNode : public CNNNeuronNode {
 public:
  CNNNeuronLogarithmNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 0;         ///< Default 0.
    float c = -1;        ///< Default -1.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronLogarithmNode(const Arguments& arguments)
      : CNNNeuronNode(
            "CNNNeuronLogarithmNode",
            {.source = arguments.source,
             .descriptor = {
                 .neuronType = CNNNeuronType::logarithm, .a = arguments.a, .b = arguments.b, .c = arguments.c}}) {}
};

/// (a*x + b)^c. Source: MPSCNNNeuronPowerNode.
class CNNNeuronPowerNode : public CNNNeuronNode {
 public:
  CNNNeuronPowerNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 0;         ///< Default 0.
    float c = 1;         ///< Default 1.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronPowerNode(const Arguments& arguments)
      : CNNNeuronNode(
            "CNNNeuronPowerNode",
            {.source = arguments.source,
             .descriptor = {
                 .neuronType = CNNNeuronType::power, .a = arguments.a, .b = arguments.b, .c = arguments.c}}) {}
};

/// x >= 0 ? x : a*x. Source: MPSCNNNeuronReLUNode.
class CNNNeuronReLUNode : public CNNNeuronNode {
 public:
  CNNNeuronReLUNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 0;         ///< Default 0.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronReLUNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronReLUNode", {.source = arguments.source,
                                            .descriptor = {.neuronType = CNNNeuronType::reLU, .a = arguments.a}}) {}
};

/// min(x >= 0 ? x : a*x, b). Source: MPSCNNNeuronReLUNNode.
class CNNNeuronReLUNNode : public CNNNeuronNode {
 public:
  CNNNeuronReLUNNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 6;         ///< Default 6.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronReLUNNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronReLUNNode",
                      {.source = arguments.source,
                       .descriptor = {.neuronType = CNNNeuronType::reLUN, .a = arguments.a, .b = arguments.b}}) {}
};

/// 1 / (1 + e^-x). Source: MPSCNNNeuronSigmoidNode.
class CNNNeuronSigmoidNode : public CNNNeuronNode {
 public:
  CNNNeuronSigmoidNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronSigmoidNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronSigmoidNode",
                      {.source = arguments.source, .descriptor = {.neuronType = CNNNeuronType::sigmoid}}) {}
};

/// a * ln(1 + e^(b*x)). Source: MPSCNNNeuronSoftPlusNode.
class CNNNeuronSoftPlusNode : public CNNNeuronNode {
 public:
  CNNNeuronSoftPlusNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 1;         ///< Default 1.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronSoftPlusNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronSoftPlusNode",
                      {.source = arguments.source,
                       .descriptor = {.neuronType = CNNNeuronType::softPlus, .a = arguments.a, .b = arguments.b}}) {}
};

/// x / (1 + |x|). Source: MPSCNNNeuronSoftSignNode.
class CNNNeuronSoftSignNode : public CNNNeuronNode {
 public:
  CNNNeuronSoftSignNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronSoftSignNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronSoftSignNode",
                      {.source = arguments.source, .descriptor = {.neuronType = CNNNeuronType::softSign}}) {}
};

/// a * tanh(b*x). Source: MPSCNNNeuronTanHNode.
class CNNNeuronTanHNode : public CNNNeuronNode {
 public:
  CNNNeuronTanHNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;  ///< What is read.
    float a = 1;         ///< Default 1.
    float b = 1;         ///< Default 1.
  };
  /// @throws as `CNNNeuronNode`.
  explicit CNNNeuronTanHNode(const Arguments& arguments)
      : CNNNeuronNode("CNNNeuronTanHNode",
                      {.source = arguments.source,
                       .descriptor = {.neuronType = CNNNeuronType::tanH, .a = arguments.a, .b = arguments.b}}) {}
};

/// x >= 0 ? x : a_c*x, with a slope for each channel c. Source: MPSCNNNeuronPReLUNode.
class CNNNeuronPReLUNode : public CNNNeuronNode {
 public:
  CNNNeuronPReLUNode() = default;  ///< Nil.
  /// The parameters of the node.
  struct Arguments {
    NNImageNode source;            ///< What is read.
    std::span<const float> aData;  ///< The slopes, copied; at least as many as the image has channels.
  };
  /// @throws as `CNNNeuronNode`, and for no slopes.
  explicit CNNNeuronPReLUNode(const Arguments& arguments)
      : CNNNeuronNode(
            "CNNNeuronPReLUNode",
            {.source = arguments.source, .descriptor = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(arguments.aData)}) {
  }
};

/// The gradient of every neuron node: g * f'(x). Source: MPSCNNNeuronGradientNode.
class CNNNeuronGradientNode : public NNGradientFilterNode {
 public:
  CNNNeuronGradientNode() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another class; nil stays nil.
  explicit CNNNeuronGradientNode(const NNFilterNode& node);

  /// The parameters of the node.
  struct Arguments {
    NNImageNode sourceGradient;         ///< g, the gradient for the neuron's result.
    NNImageNode sourceImage;            ///< x, the neuron's source.
    NNGradientStateNode gradientState;  ///< The neuron's result state.
    NNNeuronDescriptor descriptor;      ///< The neuron; must equal the forward node's.
  };
  /// @throws Error (invalidArgument) for a nil node and for parameters without a meaning.
  explicit CNNNeuronGradientNode(const Arguments& arguments);

  const NNNeuronDescriptor& descriptor() const;  ///< The neuron.
};

}  // namespace metalloid
