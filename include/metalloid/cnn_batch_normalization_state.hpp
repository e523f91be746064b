#pragma once

#include <metalloid/cnn_normalization_state.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/detail/normalization_parameters.hpp>
#include <metalloid/device.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstdint>
#include <memory>
#include <span>

namespace metalloid {

class CNNBatchNormalization;

/// What the four kernels of a batch normalization leave for each other: the statistics of a batch and the gradients of
/// scale and shift. One serves the whole batch. Made by `CNNBatchNormalization::resultState`. Source:
/// MPSCNNBatchNormalizationState.
class CNNBatchNormalizationState : public NNGradientState {
 public:
  CNNBatchNormalizationState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNBatchNormalizationState(const State& state);

  /// The kernel that made it, as it was then.
  const CNNBatchNormalization& batchNormalization() const;

  /// Forgets statistics and gradients: later encodes begin anew.
  void reset() const;

  Vector gamma() const;  ///< The kernel's current factors; `data()` is the buffer.
  Vector beta() const;   ///< The kernel's current summands.
  /// The batch's means; before a `CNNBatchNormalizationStatistics` has been encoded since the making or the last
  /// `reset`, the kernel's own (0 where its data source has none).
  Vector mean() const;
  Vector variance() const;          ///< The same of the biased variances (1 where the data source has none).
  Vector gradientForGamma() const;  ///< Nil until a gradient kernel has been encoded.
  Vector gradientForBeta() const;   ///< Nil until a gradient kernel has been encoded.

 protected:
  /// For derived handles.
  explicit CNNBatchNormalizationState(detail::Ref<detail::RefCounted> implementation)
      : NNGradientState(std::move(implementation)) {}
};

/// Where a `CNNBatchNormalization` has its parameters from, and who updates them. Source:
/// MPSCNNBatchNormalizationDataSource.
///
/// There is no rule for running averages: momentum and correction of the variance are the data source's business.
class CNNBatchNormalizationDataSource : public detail::NormalizationDataSource {
 public:
  /// C means for inference; empty: none, and every encode needs a state.
  virtual std::span<const float> mean() = 0;
  /// C variances for inference; empty: none.
  virtual std::span<const float> variance() = 0;

  /// Makes the parameters ready; false: they cannot be had.
  bool load() override = 0;
  /// The parameters are no longer needed.
  void purge() override = 0;

  /// Encodes an update of scale and shift from the state's gradients, and lowers the read count of a temporary state by
  /// 1. Nil, the default: unchanged.
  virtual CNNNormalizationGammaAndBetaState updateGammaAndBeta(
      CommandBuffer& commandBuffer, const CNNBatchNormalizationState& batchNormalizationState);
  /// The same of the running statistics.
  virtual CNNNormalizationMeanAndVarianceState updateMeanAndVariance(
      CommandBuffer& commandBuffer, const CNNBatchNormalizationState& batchNormalizationState);
  /// Updates scale and shift on the host. @returns whether it did; the default does not.
  virtual bool updateGammaAndBeta(const CNNBatchNormalizationState& batchNormalizationState);
  /// The same of the running statistics.
  virtual bool updateMeanAndVariance(const CNNBatchNormalizationState& batchNormalizationState);

  /// The data source of a kernel's copy for another device; nil, the default: this one.
  virtual std::shared_ptr<CNNBatchNormalizationDataSource> copy(const Device& device);
};

/// Where a batch normalization node of a graph has its statistics from. Source: MPSCNNBatchNormalizationFlags.
enum class CNNBatchNormalizationFlags : std::uint64_t {
  Default = 0,                       ///< The same as `calculateStatisticsAutomatic`.
  calculateStatisticsAutomatic = 0,  ///< From the batch in training, from the data source otherwise.
  calculateStatisticsAlways = 1,     ///< From the batch.
  calculateStatisticsNever = 2,      ///< From the data source.
  calculateStatisticsMask = 3,       ///< The bits of the above.
};

}  // namespace metalloid
