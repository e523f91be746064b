#pragma once

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/detail/neuron_settings.hpp>

#include <optional>
#include <span>
#include <vector>

namespace metalloid {

/// A neuron function and its parameters. Source: MPSNNNeuronDescriptor.
///
/// The types' formulas and default parameters: docs/semantics.md.
struct NNNeuronDescriptor {
  CNNNeuronType neuronType = CNNNeuronType::none;  ///< The function. Default none.
  float a = 0;                                     ///< Its parameter a.
  float b = 0;                                     ///< Its parameter b.
  float c = 0;                                     ///< Its parameter c.
  std::vector<float> data = {};                    ///< PReLU: a slope for each channel.

  /// The type, with its documented default for each parameter not given.
  static NNNeuronDescriptor cnnNeuronDescriptor(CNNNeuronType type, std::optional<float> a = {},
                                                std::optional<float> b = {}, std::optional<float> c = {});
  /// PReLU with a slope for each channel.
  static NNNeuronDescriptor cnnNeuronPReLUDescriptor(std::span<const float> data);

  friend bool operator==(const NNNeuronDescriptor&, const NNNeuronDescriptor&) = default;
};

/// A neuron function on every element: y = f(x). Size and channels stay. Source: MPSCNNNeuron.
class CNNNeuron : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, unknown types and parameters without a meaning.
  CNNNeuron(const Device& device, const NNNeuronDescriptor& neuronDescriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNNeuron(Unarchiver& coder, const Device& device);

  CNNNeuronType neuronType() const { return neuron_.type(); }       ///< The function.
  float a() const { return neuron_.a(); }                           ///< Its a.
  float b() const { return neuron_.b(); }                           ///< Its b.
  float c() const { return neuron_.c(); }                           ///< Its c.
  std::span<const float> data() const { return neuron_.slopes(); }  ///< PReLU: the slopes.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNNeuron copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

/// The gradient of `CNNNeuron`: dx = g * f'(x), x the forward input. Source: MPSCNNNeuronGradient.
class CNNNeuronGradient : public CNNGradientKernel {
 public:
  /// The descriptor must equal the forward kernel's. @throws as `CNNNeuron`.
  CNNNeuronGradient(const Device& device, const NNNeuronDescriptor& neuronDescriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNNeuronGradient(Unarchiver& coder, const Device& device);

  CNNNeuronType neuronType() const { return neuron_.type(); }       ///< The function.
  float a() const { return neuron_.a(); }                           ///< Its a.
  float b() const { return neuron_.b(); }                           ///< Its b.
  float c() const { return neuron_.c(); }                           ///< Its c.
  std::span<const float> data() const { return neuron_.slopes(); }  ///< PReLU: the slopes.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNNeuronGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  detail::NeuronSettings neuron_;
};

}  // namespace metalloid
