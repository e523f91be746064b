#pragma once

#include <metalloid/command_buffer.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

#include <cstddef>

namespace metalloid {

/// Scale and shift of a normalization, as updates hand them to `reloadGammaAndBeta`. Source:
/// MPSCNNNormalizationGammaAndBetaState.
class CNNNormalizationGammaAndBetaState : public State {
 public:
  CNNNormalizationGammaAndBetaState() = default;  ///< Nil.

  /// What a state is made of.
  struct Arguments {
    Vector gamma;  ///< float32, one element a channel.
    Vector beta;   ///< The same.
  };
  /// Over existing vectors, which are shared and not copied. @throws Error (invalidArgument) unless both are float32,
  /// of one length and of one device.
  explicit CNNNormalizationGammaAndBetaState(const Arguments& arguments);

  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNNormalizationGammaAndBetaState(const State& state);

  /// A temporary one, for at most `numberOfFeatureChannels` channels. @throws Error (invalidArgument) for a nil or
  /// committed command buffer, and for 0 channels.
  static CNNNormalizationGammaAndBetaState temporaryState(CommandBuffer& commandBuffer,
                                                          std::size_t numberOfFeatureChannels);

  Vector gamma() const;  ///< Factors; `data()` is the buffer.
  Vector beta() const;   ///< Summands.

 protected:
  /// For derived handles.
  explicit CNNNormalizationGammaAndBetaState(detail::Ref<detail::RefCounted> implementation)
      : State(std::move(implementation)) {}
};

/// Mean and variance of a normalization, as updates hand them to `reloadMeanAndVariance`. Source:
/// MPSCNNNormalizationMeanAndVarianceState.
class CNNNormalizationMeanAndVarianceState : public State {
 public:
  CNNNormalizationMeanAndVarianceState() = default;  ///< Nil.

  /// What a state is made of.
  struct Arguments {
    Vector mean;      ///< float32, one element a channel.
    Vector variance;  ///< The same.
  };
  /// As `CNNNormalizationGammaAndBetaState`.
  explicit CNNNormalizationMeanAndVarianceState(const Arguments& arguments);

  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNNormalizationMeanAndVarianceState(const State& state);

  /// As `CNNNormalizationGammaAndBetaState::temporaryState`.
  static CNNNormalizationMeanAndVarianceState temporaryState(CommandBuffer& commandBuffer,
                                                             std::size_t numberOfFeatureChannels);

  Vector mean() const;      ///< Means; `data()` is the buffer.
  Vector variance() const;  ///< Variances.

 protected:
  /// For derived handles.
  explicit CNNNormalizationMeanAndVarianceState(detail::Ref<detail::RefCounted> implementation)
      : State(std::move(implementation)) {}
};

}  // namespace metalloid
