#pragma once

#include "kernels/gradient_state.hpp"
#include "kernels/normalization_parameters.hpp"

#include <metalloid/detail/group_normalization.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace metalloid::detail {

/// Behind the gradient states of instance and group normalization, one for each image. The states of a batch have their
/// vectors in one block, so that one operation can write them all.
class GroupNormalizationStateImplementation final : public GradientStateImplementation {
 public:
  GroupNormalizationStateImplementation(std::shared_ptr<const GroupNormalizationKernel> kernel,
                                        CommandBuffer* commandBuffer, ForwardRecord record)
      : GradientStateImplementation(Ref<DeviceImplementation>(&implementation(kernel->device())), commandBuffer,
                                    std::move(record)),
        kernel_(std::move(kernel)) {}

  std::string_view className() const override { return kernel_->stateClassName(); }

  const GroupNormalizationKernel& kernel() const { return *kernel_; }
  const NormalizationParameters& parameters() const { return *kernel_->parameters(); }
  const Vector& gradientForGamma() const { return vectors()[0]; }
  const Vector& gradientForBeta() const { return vectors()[1]; }

 private:
  std::shared_ptr<const GroupNormalizationKernel> kernel_;
};

/// @throws Error (invalidArgument) for nil and for another class.
GroupNormalizationStateImplementation& groupNormalizationState(const State& state, std::string_view className);

/// What both gradient kernels record.
void recordGroupNormalizationGradient(Encoding& encoding, const CNNGradientKernel& kernel,
                                      const ImageOperands& operands, std::string_view stateClassName);

/// Gamma, beta and epsilon that an archive held, as a data source.
template <class Source>
class ArchivedGroupNormalizationSource : public Source {
 public:
  ArchivedGroupNormalizationSource(std::string label, float epsilon, NormalizationValues values)
      : label_(std::move(label)), epsilon_(epsilon), values_(std::move(values)) {}

  std::size_t numberOfFeatureChannels() const override { return values_.gamma.size(); }
  std::string label() const override { return label_; }
  std::span<const float> gamma() override { return values_.gamma; }
  std::span<const float> beta() override { return values_.beta; }
  float epsilon() const override { return epsilon_; }

 private:
  std::string label_;
  float epsilon_;
  NormalizationValues values_;
};

}  // namespace metalloid::detail
