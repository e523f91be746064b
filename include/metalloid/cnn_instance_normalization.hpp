#pragma once

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_normalization_state.hpp>
#include <metalloid/detail/group_normalization.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace metalloid {

class CNNInstanceNormalization;

/// What the instance normalization of one image leaves for its gradient, and where that leaves the gradients of scale
/// and shift. One for each image. Source: MPSCNNInstanceNormalizationGradientState.
class CNNInstanceNormalizationGradientState : public NNGradientState {
 public:
  CNNInstanceNormalizationGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNInstanceNormalizationGradientState(const State& state);

  /// The kernel that made it, as it was then.
  const CNNInstanceNormalization& instanceNormalization() const;

  Vector gamma() const;             ///< The kernel's current factors; `data()` is the buffer.
  Vector beta() const;              ///< The kernel's current summands.
  Vector gradientForGamma() const;  ///< Of this image alone; written by the gradient kernel.
  Vector gradientForBeta() const;   ///< The same.

 protected:
  /// For derived handles.
  explicit CNNInstanceNormalizationGradientState(detail::Ref<detail::RefCounted> implementation)
      : NNGradientState(std::move(implementation)) {}
};

/// One for each image of a batch. Source: MPSCNNInstanceNormalizationGradientStateBatch.
using CNNInstanceNormalizationGradientStateBatch = std::vector<CNNInstanceNormalizationGradientState>;

/// Where a `CNNInstanceNormalization` has its parameters from, and who updates them. Source:
/// MPSCNNInstanceNormalizationDataSource.
class CNNInstanceNormalizationDataSource : public detail::NormalizationDataSource {
 public:
  /// Encodes an update of scale and shift from the sum of the states' gradients, and lowers the read counts of
  /// temporary states by 1. The caller reloads the kernel. Nil, the default: unchanged.
  virtual CNNNormalizationGammaAndBetaState updateGammaAndBeta(
      CommandBuffer& commandBuffer, const CNNInstanceNormalizationGradientStateBatch& instanceNormalizationStateBatch);
  /// Updates scale and shift on the host. @returns whether it did; the default does not.
  virtual bool updateGammaAndBeta(const CNNInstanceNormalizationGradientStateBatch& instanceNormalizationStateBatch);

  /// The data source of a kernel's copy for another device; nil, the default: this one.
  virtual std::shared_ptr<CNNInstanceNormalizationDataSource> copy(const Device& device);
};

/// Normalizes each channel of each image by its own statistics, scales and shifts it:
///
///     y = gamma[c] * (x - mean[n][c]) / sqrt(variance[n][c] + epsilon) + beta[c]
///
/// mean and biased variance are those of channel c over the pixels of image n. Size and channels stay; the channels
/// read must be those of the data source. Copies by assignment share gamma and beta on the device: what one reloads,
/// all have. `copy` gives others of its own. Source: MPSCNNInstanceNormalization.
class CNNInstanceNormalization : public detail::GroupNormalizationKernel {
 public:
  /// Reads the data source. @throws Error (invalidArgument) for a nil device or data source, for 0 channels, for
  /// spans of another length, and when `load` fails.
  CNNInstanceNormalization(const Device& device, std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource);
  /// The next kernel of an archive, which has the parameters themselves; its data source gives those and updates
  /// nothing. @throws Error (malformedFile) when it is another class or not allowed.
  CNNInstanceNormalization(Unarchiver& coder, const Device& device);

  /// Where the parameters are from.
  const std::shared_ptr<CNNInstanceNormalizationDataSource>& dataSource() const { return dataSource_; }

  /// Another data source of as many channels, of which everything is read. Deprecated by Apple. @throws as the
  /// constructor; the kernel then keeps the former.
  void reloadDataSource(std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNInstanceNormalization copy(const Device& device = {}) const;

  // For the library's own use.
  std::string_view stateClassName() const override { return "CNNInstanceNormalizationGradientState"; }

 protected:
  detail::NormalizationDataSource& source() const override { return *dataSource_; }
  std::shared_ptr<const detail::GroupNormalizationKernel> snapshot() const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  void setDevice(const Device& device) override;

 private:
  friend class Kernel;
  std::shared_ptr<CNNInstanceNormalizationDataSource> dataSource_;
};

/// The gradient of `CNNInstanceNormalization`. With g the gradient for the result, M the pixels of an image,
/// r = 1 / sqrt(variance + epsilon) and xh = (x - mean) * r, for each image and channel:
///
///     gradientForBeta  = sum of g
///     gradientForGamma = sum of g * xh
///     dx = gamma * r * (g - gradientForBeta / M - xh * gradientForGamma / M)
///
/// Every image needs a state of its own, which remembers the forward kernel. Source:
/// MPSCNNInstanceNormalizationGradient.
class CNNInstanceNormalizationGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNInstanceNormalizationGradient(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNInstanceNormalizationGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNInstanceNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
