#pragma once

#include <metalloid/buffer.hpp>
#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/device.hpp>

#include <span>
#include <vector>

namespace metalloid {
struct NNNeuronDescriptor;
}

namespace metalloid::math {
struct Neuron;
}

namespace metalloid::detail {

class SettingsVisitor;

/// The neuron of a kernel: type, parameters, and the slopes of a PReLU both here and on the device.
class NeuronSettings {
 public:
  /// The type with its documented default parameters. @throws Error (invalidArgument) for PReLU and unknown types.
  void set(CNNNeuronType type);

  /// @throws Error (invalidArgument) for PReLU, unknown types and parameters without a meaning, see docs/semantics.md.
  void set(CNNNeuronType type, float a, float b, float c);

  /// PReLU with one slope a column, copied. @throws Error (invalidArgument) when there is none or one is NaN.
  void setPReLU(const Device& device, std::span<const float> slopes);

  /// What a descriptor says. @throws as both of the above.
  void set(const Device& device, const NNNeuronDescriptor& descriptor);
  NNNeuronDescriptor descriptor() const;

  CNNNeuronType type() const { return type_; }
  float a() const { return a_; }
  float b() const { return b_; }
  float c() const { return c_; }
  /// The function with the constants derived from its parameters, for an operation.
  math::Neuron function() const;

  std::span<const float> slopes() const { return slopes_; }
  std::size_t slopeCount() const { return slopes_.size(); }
  const Buffer& slopesOnDevice() const { return slopesOnDevice_; }

  /// Brings the slopes to another device.
  void moveTo(const Device& device);

  /// Archives, compares, describes; what is read is checked as the setters do. Kernels that take a PReLU pass their
  /// device, for its slopes; for others an archive that holds one is refused.
  void visit(SettingsVisitor& visitor, const Device& device = {});

 private:
  CNNNeuronType type_ = CNNNeuronType::none;
  float a_ = 0;
  float b_ = 0;
  float c_ = 0;
  std::vector<float> slopes_;  // PReLU only
  Buffer slopesOnDevice_;      // never written after its making, so that copies may share it
};

}  // namespace metalloid::detail
