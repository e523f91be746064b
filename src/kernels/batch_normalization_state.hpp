#pragma once

#include "kernels/gradient_state.hpp"
#include "kernels/normalization_parameters.hpp"

#include <metalloid/cnn_batch_normalization.hpp>

#include <cstddef>
#include <string_view>

namespace metalloid::detail {

/// Behind CNNBatchNormalizationState. How many pixels statistics and gradients are of is known when they are encoded:
/// the first encode overwrites, and nothing ever needs to be cleared on the device.
class BatchNormalizationStateImplementation final : public GradientStateImplementation {
 public:
  static constexpr std::string_view kName = "CNNBatchNormalizationState";

  BatchNormalizationStateImplementation(const CNNBatchNormalization& kernel, CommandBuffer* commandBuffer,
                                        ForwardRecord record);

  std::string_view className() const override { return kName; }

  const CNNBatchNormalization& kernel() const { return kernel_; }
  const NormalizationParameters& parameters() const { return *kernel_.parameters(); }
  std::size_t channels() const { return parameters().channels(); }

  bool hasStatistics() const { return statisticsCount > 0; }
  /// The batch's, or the data source's until there are any.
  const Vector& mean() const { return hasStatistics() ? batchMean() : parameters().mean; }
  const Vector& variance() const { return hasStatistics() ? batchVariance() : parameters().variance; }
  const Vector& batchMean() const { return vectors()[0]; }
  const Vector& batchVariance() const { return vectors()[1]; }
  const Vector& gradientForGamma() const { return vectors()[2]; }
  const Vector& gradientForBeta() const { return vectors()[3]; }

  std::size_t statisticsCount = 0;  // pixels
  std::size_t gradientCount = 0;    // pixels
  bool hasGradients = false;

 private:
  CNNBatchNormalization kernel_;
};

BatchNormalizationStateImplementation& batchNormalizationState(const State& state);

/// The one state of an encode's `sourceStates`. @throws Error (invalidArgument) for none, several, and another kind.
BatchNormalizationStateImplementation& batchNormalizationState(const Encoding& encoding, const StateBatch& states);

}  // namespace metalloid::detail
