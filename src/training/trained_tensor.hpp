#pragma once

#include "training/checkpoint_files.hpp"
#include "training/optimizer.hpp"

#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace metalloid::training {

/// A parameter of a layer. Its home is the host; while a graph trains it, it lives in that graph's kernel on the
/// device, is updated there in place, and comes home when it is asked for.
class TrainedTensor {
 public:
  /// `optimizer` nothing: not trained by gradients.
  TrainedTensor(const Device& device, std::string name, std::vector<std::size_t> shape,
                const std::optional<OptimizerOptions>& optimizer, bool regularized);

  const std::string& name() const { return name_; }
  const std::vector<std::size_t>& shape() const { return shape_; }
  std::size_t elements() const { return values_.size(); }
  bool isTrained() const { return optimizer_.has_value(); }

  /// The values at home. A `read` waits for the device and brings them there first.
  std::span<const float> values() const { return values_; }
  std::span<const float> read();

  /// New values. What a kernel has of it is stale from then on, until it reads its data source again.
  void write(std::span<const float> values);

  /// Records an update of `live`, which holds the values on the device.
  void encodeUpdate(CommandBuffer& commandBuffer, const Vector& gradient, const Vector& live, float learningRate);

  /// Values and the optimizer's state, under the names that checkpoints have.
  void appendState(std::vector<NamedTensor>& state);
  void restore(const Checkpoint& checkpoint);
  /// An optimizer that has seen nothing.
  void resetOptimizer();

  /// For values that something else updates, in place.
  void setLive(const Vector& live) { live_ = live; }
  bool isLive() const { return static_cast<bool>(live_); }

 private:
  std::string name_;
  std::vector<std::size_t> shape_;
  std::vector<float> values_;
  Vector live_;
  std::vector<std::pair<std::string, Vector>> optimizerState_;
  std::optional<VectorOptimizer> optimizer_;
};

}  // namespace metalloid::training
