#pragma once

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_normalization_state.hpp>
#include <metalloid/detail/group_normalization.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace metalloid {

class CNNGroupNormalization;

/// What the group normalization of one image leaves for its gradient, and where that leaves the gradients of scale
/// and shift. One for each image. Source: MPSCNNGroupNormalizationGradientState.
class CNNGroupNormalizationGradientState : public NNGradientState {
 public:
  CNNGroupNormalizationGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNGroupNormalizationGradientState(const State& state);

  /// The kernel that made it, as it was then.
  const CNNGroupNormalization& groupNormalization() const;

  Vector gamma() const;             ///< The kernel's current factors; `data()` is the buffer.
  Vector beta() const;              ///< The kernel's current summands.
  Vector gradientForGamma() const;  ///< Of this image alone; written by the gradient kernel.
  Vector gradientForBeta() const;   ///< The same.

 protected:
  /// For derived handles.
  explicit CNNGroupNormalizationGradientState(detail::Ref<detail::RefCounted> implementation)
      : NNGradientState(std::move(implementation)) {}
};

/// One for each image of a batch. Source: MPSCNNGroupNormalizationGradientStateBatch.
using CNNGroupNormalizationGradientStateBatch = std::vector<CNNGroupNormalizationGradientState>;

/// Where a `CNNGroupNormalization` has its parameters from, and who updates them. Source:
/// MPSCNNGroupNormalizationDataSource.
class CNNGroupNormalizationDataSource : public detail::NormalizationDataSource {
 public:
  /// Blocks of neighbouring channels with statistics of their own; divides the number of channels.
  virtual std::size_t numberOfGroups() const = 0;
  /// Sets it for kernels that are made later.
  virtual void setNumberOfGroups(std::size_t numberOfGroups) = 0;

  /// Encodes an update of scale and shift from the sum of the states' gradients, and lowers the read counts of
  /// temporary states by 1. The caller reloads the kernel. Nil, the default: unchanged.
  virtual CNNNormalizationGammaAndBetaState updateGammaAndBeta(
      CommandBuffer& commandBuffer, const CNNGroupNormalizationGradientStateBatch& groupNormalizationStateBatch);
  /// Updates scale and shift on the host. @returns whether it did; the default does not.
  virtual bool updateGammaAndBeta(const CNNGroupNormalizationGradientStateBatch& groupNormalizationStateBatch);

  /// The data source of a kernel's copy for another device; nil, the default: this one.
  virtual std::shared_ptr<CNNGroupNormalizationDataSource> copy(const Device& device);
};

/// Normalizes blocks of neighbouring channels of each image by their own statistics, scales and shifts each channel:
///
///     y = gamma[c] * (x - mean[n][q]) / sqrt(variance[n][q] + epsilon) + beta[c],    q = c / (C / numberOfGroups)
///
/// mean and biased variance are those of the block's channels over the pixels of image n. As many groups as channels
/// make it an instance normalization, one group a layer normalization over width, height and channels. Size and
/// channels stay; the channels read must be those of the data source. Copies by assignment share gamma and beta on the
/// device: what one reloads, all have. `copy` gives others of its own. Source: MPSCNNGroupNormalization.
class CNNGroupNormalization : public detail::GroupNormalizationKernel {
 public:
  /// Reads the data source. @throws Error (invalidArgument) for a nil device or data source, for 0 channels, for
  /// groups that do not divide the channels, for spans of another length, and when `load` fails.
  CNNGroupNormalization(const Device& device, std::shared_ptr<CNNGroupNormalizationDataSource> dataSource);
  /// The next kernel of an archive, which has the parameters themselves; its data source gives those and updates
  /// nothing. @throws Error (malformedFile) when it is another class or not allowed.
  CNNGroupNormalization(Unarchiver& coder, const Device& device);

  /// Where the parameters are from.
  const std::shared_ptr<CNNGroupNormalizationDataSource>& dataSource() const { return dataSource_; }
  /// Metalloid extension: blocks of channels, as the data source had it.
  std::size_t numberOfGroups() const { return groups_; }

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNGroupNormalization copy(const Device& device = {}) const;

  // For the library's own use.
  std::string_view stateClassName() const override { return "CNNGroupNormalizationGradientState"; }

 protected:
  detail::NormalizationDataSource& source() const override { return *dataSource_; }
  std::shared_ptr<const detail::GroupNormalizationKernel> snapshot() const override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  std::shared_ptr<CNNGroupNormalizationDataSource> dataSource_;
};

/// The gradient of `CNNGroupNormalization`. With g the gradient for the result, h = gamma * g,
/// r = 1 / sqrt(variance + epsilon), xh = (x - mean) * r, and means over the block of channels of the image:
///
///     gradientForBeta  = sum of g           for each image and channel
///     gradientForGamma = sum of g * xh      for each image and channel
///     dx = r * (h - mean of h - xh * mean of (h * xh))
///
/// Every image needs a state of its own, which remembers the forward kernel. Source: MPSCNNGroupNormalizationGradient.
class CNNGroupNormalizationGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNGroupNormalizationGradient(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNGroupNormalizationGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNGroupNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
