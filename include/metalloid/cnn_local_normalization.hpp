#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstddef>

namespace metalloid {

/// Each channel divided by a power of the mean square around the pixel:
///
///     T = delta + alpha / (w*h) * sum over the window of x^2        y = x * T^(-beta)
///
/// The window is w = kernelWidth by h = kernelHeight pixels around the pixel, of which even sizes have one more on the
/// left and on top; outside of the source stands what `edgeMode` (zero or clamp) says, and the divisor is always the
/// whole window. Size and channels stay; padding policies change nothing unless they are custom. Where T is 0 the
/// result is undefined. Source: MPSCNNSpatialNormalization.
class CNNSpatialNormalization : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, a size of 0, and width and height that differ.
  CNNSpatialNormalization(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNSpatialNormalization(Unarchiver& coder, const Device& device);

  float alpha = 1;  ///< Factor of the mean of squares; not negative. Default 1.
  float beta = 5;   ///< Exponent. Default 5.
  float delta = 1;  ///< Added to the mean of squares. Default 1.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNSpatialNormalization copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNSpatialNormalization`, with V the pixels whose windows hold this one:
///
///     dx = g * T^(-beta) - 2 * alpha * beta / (w*h) * x * sum over V of g * x * T^(-beta - 1)
///
/// Every setting must equal the forward kernel's. Given the forward state, gradients outside of what the forward kernel
/// wrote do not count. Source: MPSCNNSpatialNormalizationGradient, whose printed formula is not the derivative.
class CNNSpatialNormalizationGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, a size of 0, and width and height that differ.
  CNNSpatialNormalizationGradient(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNSpatialNormalizationGradient(Unarchiver& coder, const Device& device);

  float alpha = 1;  ///< Factor of the mean of squares; not negative. Default 1.
  float beta = 5;   ///< Exponent. Default 5.
  float delta = 1;  ///< Added to the mean of squares. Default 1.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNSpatialNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

/// Each channel less the mean around the pixel, divided by a power of the variance there:
///
///     M = mean, V = variance of the window (divisor w*h)
///     T = delta + alpha * V        y = pm + ps * (x - p0 * M) * T^(-beta)
///
/// The window is that of `CNNSpatialNormalization`. With alpha = 1 and delta = 0 the result has mean pm and deviation
/// ps. Where T is 0 the result is undefined. Source: MPSCNNLocalContrastNormalization.
class CNNLocalContrastNormalization : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, a size of 0, and width and height that differ.
  CNNLocalContrastNormalization(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNLocalContrastNormalization(Unarchiver& coder, const Device& device);

  float alpha = 0;            ///< Factor of the variance. Default 0, with which nothing is normalized but by delta.
  float beta = 0.5F;          ///< Exponent. Default 0.5.
  float delta = 1.0F / 1024;  ///< Added to the variance. Default 1/1024.
  float p0 = 1;               ///< Factor of the mean. Default 1.
  float pm = 0;               ///< Added to the result. Default 0.
  float ps = 1;               ///< Factor of the result. Default 1.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNLocalContrastNormalization copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNLocalContrastNormalization`, with V the pixels l whose windows hold pixel i and N = w*h:
///
///     A = g * T^(-beta)        B = A * (x - p0 * M) / T
///     dx[i] = ps * (A[i] - p0 / N * sum over V of A[l] - 2 * alpha * beta / N * sum over V of B[l] * (x[i] - M[l]))
///
/// Every setting must equal the forward kernel's. Given the forward state, gradients outside of what the forward kernel
/// wrote do not count. Source: MPSCNNLocalContrastNormalizationGradient, whose printed formula is not the derivative.
class CNNLocalContrastNormalizationGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device, a size of 0, and width and height that differ.
  CNNLocalContrastNormalizationGradient(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNLocalContrastNormalizationGradient(Unarchiver& coder, const Device& device);

  float alpha = 0;            ///< Factor of the variance. Default 0, with which nothing is normalized but by delta.
  float beta = 0.5F;          ///< Exponent. Default 0.5.
  float delta = 1.0F / 1024;  ///< Added to the variance. Default 1/1024.
  float p0 = 1;               ///< Factor of the mean. Default 1.
  float pm = 0;               ///< Added to the result. Default 0.
  float ps = 1;               ///< Factor of the result. Default 1.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNLocalContrastNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

/// Each channel divided by a power of the mean square of the channels around it (local response normalization):
///
///     L[k] = delta + alpha / N * sum of x[q]^2, q from k - N/2 to k + (N-1)/2        y[k] = x[k] * L[k]^(-beta)
///
/// with N = kernelSize, halves rounded down. Channels that are not there, or not read, are left out of the sum; the
/// divisor is always N. Size and channels stay; padding policies change nothing unless they are custom. Where L is 0
/// the result is undefined. Source: MPSCNNCrossChannelNormalization.
class CNNCrossChannelNormalization : public CNNKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device and a size of 0.
  explicit CNNCrossChannelNormalization(const Device& device, std::size_t kernelSize = 5);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNCrossChannelNormalization(Unarchiver& coder, const Device& device);

  float alpha = 1;  ///< Factor of the mean of squares; not negative. Default 1.
  float beta = 5;   ///< Exponent. Default 5.
  float delta = 1;  ///< Added to the mean of squares. Default 1.

  std::size_t kernelSize() const { return kernelSize_; }  ///< N.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNCrossChannelNormalization copy(const Device& device = {}) const;

 protected:
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  std::size_t kernelSize_;
};

/// The gradient of `CNNCrossChannelNormalization`:
///
///     dx[k] = g[k] * L[k]^(-beta)
///             - 2 * alpha * beta / N * x[k] * sum of g[r] * x[r] * L[r]^(-beta - 1), r from k - (N-1)/2 to k + N/2
///
/// Every setting must equal the forward kernel's. Source: MPSCNNCrossChannelNormalizationGradient, whose printed
/// formula lacks the 1/N.
class CNNCrossChannelNormalizationGradient : public CNNGradientKernel {
 public:
  /// @throws Error (invalidArgument) for a nil device and a size of 0.
  explicit CNNCrossChannelNormalizationGradient(const Device& device, std::size_t kernelSize = 5);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNCrossChannelNormalizationGradient(Unarchiver& coder, const Device& device);

  float alpha = 1;  ///< Factor of the mean of squares; not negative. Default 1.
  float beta = 5;   ///< Exponent. Default 5.
  float delta = 1;  ///< Added to the mean of squares. Default 1.

  std::size_t kernelSize() const { return kernelSize_; }  ///< N.

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNCrossChannelNormalizationGradient copy(const Device& device = {}) const;

 protected:
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
  std::size_t kernelSize_;
};

}  // namespace metalloid
