#pragma once

#include <metalloid/cnn_kernel.hpp>

namespace metalloid {

/// Soft-max over the channels of each pixel: s_k = exp(x_k) / sum of exp(x_j). Size and channels stay; with channel
/// offsets the channels read are the ones that count. Source: MPSCNNSoftMax.
class CNNSoftMax : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNSoftMax(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNSoftMax(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNSoftMax copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

/// The logarithm of the soft-max: l_k = x_k - ln(sum of exp(x_j)). Otherwise as `CNNSoftMax`. Source: MPSCNNLogSoftMax.
class CNNLogSoftMax : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNLogSoftMax(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNLogSoftMax(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNLogSoftMax copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNSoftMax`: dx_k = s_k * (g_k - sum of g_j * s_j). `sourceImage` is the forward **result** s, not
/// the forward source. Source: MPSCNNSoftMaxGradient.
class CNNSoftMaxGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNSoftMaxGradient(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNSoftMaxGradient(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNSoftMaxGradient copy(const Device& device = {}) const;

 protected:
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNLogSoftMax`: dx_k = g_k - exp(l_k) * sum of g_j. `sourceImage` is the forward **result** l, not
/// the forward source. Source: MPSCNNLogSoftMaxGradient.
class CNNLogSoftMaxGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNLogSoftMaxGradient(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNLogSoftMaxGradient(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNLogSoftMaxGradient copy(const Device& device = {}) const;

 protected:
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
