#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace metalloid {

/// The settings of `CNNDropout` and its gradient, which must have equal ones.
struct CNNDropoutArguments {
  float keepProbability = 0.5F;         ///< That an element is kept: greater than 0, less than 1. Default 0.5.
  std::uint64_t seed = 0;               ///< Of the random numbers. Default 0.
  Size maskStrideInPixels = {1, 1, 1};  ///< Along x, y and channels: 1, or 0 for one mask value along the axis.

  friend bool operator==(const CNNDropoutArguments&, const CNNDropoutArguments&) = default;
};

/// The masks of an encode of `CNNDropout`, one for each image of the batch. Source: MPSCNNDropoutGradientState.
class CNNDropoutGradientState : public NNGradientState {
 public:
  CNNDropoutGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNDropoutGradientState(const State& state);

  /// The masks, 0 or 1, image by image in the order [y][x][channel], shorter along axes of stride 0; for debugging.
  /// Valid once the forward encode has been executed. @throws Error (invalidArgument) for a temporary state.
  std::vector<std::uint8_t> maskData() const;

 protected:
  /// For derived handles.
  explicit CNNDropoutGradientState(detail::Ref<detail::RefCounted> implementation)
      : NNGradientState(std::move(implementation)) {}
};

/// Drops elements by chance: y = x / keepProbability with probability keepProbability, else 0. Source: MPSCNNDropout.
///
/// Which ones depends on the seed, on the number of the image among all that this kernel has been encoded for, and on
/// the position of the element: on neither device, layout nor number of threads. Each encode draws new masks; a kernel
/// made anew repeats the sequence. One state serves a batch, with a mask for each image.
class CNNDropout : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, a keepProbability outside of (0, 1), and strides other than 0
  /// and 1.
  explicit CNNDropout(const Device& device, const CNNDropoutArguments& arguments = {});
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNDropout(Unarchiver& coder, const Device& device);

  float keepProbability() const { return arguments_.keepProbability; }              ///< That an element is kept.
  std::uint64_t seed() const { return arguments_.seed; }                            ///< Of the random numbers.
  const Size& maskStrideInPixels() const { return arguments_.maskStrideInPixels; }  ///< See `CNNDropoutArguments`.

  /// Metalloid extension: the number of the next image, which every encode, in whatever form, advances; archives keep
  /// it.
  mutable std::uint64_t nextImage = 0;

  /// Whether one state serves the whole batch.
  bool isResultStateReusedAcrossBatch() const override { return true; }

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNDropout copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  CNNDropoutArguments arguments_;
};

/// The gradient of `CNNDropout`: dx = g / keepProbability where the element was kept, else 0. The masks come from the
/// gradient state, without which there is none; `secondaryOffset` shifts them. Source: MPSCNNDropoutGradient.
class CNNDropoutGradient : public CNNGradientKernel {
 public:
  /// @throws as `CNNDropout`.
  explicit CNNDropoutGradient(const Device& device, const CNNDropoutArguments& arguments = {});
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNDropoutGradient(Unarchiver& coder, const Device& device);

  float keepProbability() const { return arguments_.keepProbability; }              ///< That an element is kept.
  std::uint64_t seed() const { return arguments_.seed; }                            ///< Of the random numbers.
  const Size& maskStrideInPixels() const { return arguments_.maskStrideInPixels; }  ///< See `CNNDropoutArguments`.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNDropoutGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  CNNDropoutArguments arguments_;
};

}  // namespace metalloid
