#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstddef>
#include <cstdint>

namespace metalloid {

namespace operations {
enum class PoolingType : std::uint8_t;
}

/// Reduces each channel over a window: one destination pixel from kernelWidth x kernelHeight source pixels.
/// Source: MPSCNNPooling.
///
/// The windows stand as `CNNKernel` describes: one of k pixels reaches from k/2 pixels before its centre, so that an
/// even one leans to the top and the left. Destinations that the kernel makes have the size that `padding` says and the
/// source's channels. `edgeMode` is zero (the default) or clamp, with the meanings that the subclasses give.
/// A NaN in the window makes the result NaN.
class CNNPooling : public CNNKernel {
 public:
  /// What a pooling is made with.
  struct Descriptor {
    std::size_t kernelWidth = 0;      ///< Pixels of the window along x, at least 1; must be given.
    std::size_t kernelHeight = 0;     ///< Pixels of the window along y, at least 1; must be given.
    std::size_t strideInPixelsX = 1;  ///< Source pixels from window to window along x, at least 1.
    std::size_t strideInPixelsY = 1;  ///< The same along y.
  };

 protected:
  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPooling(const Device& device, std::string_view className, const detail::KernelShape& shape);

  bool hasWindow() const override { return true; }
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  virtual operations::PoolingType type() const = 0;
  /// Width and height of the zeros that the divisor counts.
  virtual Size zeroPadSize() const { return {}; }
};

/// The largest element of the window:
///
///     y[o] = max over the window of x
///
/// Outside of the source stands 0 with edge mode zero, so that negative elements near a border lose against it; with
/// edge mode clamp the nearest pixel, so that in effect the window is cut to the source. Source: MPSCNNPoolingMax.
class CNNPoolingMax : public CNNPooling {
 public:
  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingMax(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNPoolingMax(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNPoolingMax copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;

 private:
  friend class Kernel;
};

/// The mean of the window:
///
///     y[o] = sum of the window's pixels inside the source / N
///
/// With edge mode zero N = kernelWidth * kernelHeight. With edge mode clamp N counts the positions of the window within
/// the source grown by zeroPadSizeX and zeroPadSizeY pixels on each side; y is 0 where there are none.
///
/// A padding policy with the excludeEdges bit sets edge mode clamp and, as zeroPadSize, the padding that it adds;
/// `NNDefaultPadding::forTensorflowAveragePooling` sets edge mode clamp. Source: MPSCNNPoolingAverage.
class CNNPoolingAverage : public CNNPooling {
 public:
  std::size_t zeroPadSizeX = 0;  ///< Zeros left and right of the source that count, with edge mode clamp. Default 0.
  std::size_t zeroPadSizeY = 0;  ///< The same above and below.

  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingAverage(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNPoolingAverage(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNPoolingAverage copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;
  Size zeroPadSize() const override { return {zeroPadSizeX, zeroPadSizeY, 0}; }
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

/// The Euclidean length of the window:
///
///     y[o] = sqrt(sum over the window of x^2)
///
/// without a division. Outside of the source stands 0 with edge mode zero, the nearest pixel with edge mode clamp.
/// Source: MPSCNNPoolingL2Norm.
class CNNPoolingL2Norm : public CNNPooling {
 public:
  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingL2Norm(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNPoolingL2Norm(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNPoolingL2Norm copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;

 private:
  friend class Kernel;
};

/// What a dilated pooling is made with.
struct CNNDilatedPoolingDescriptor {
  std::size_t kernelWidth = 0;      ///< Taps along x, at least 1; must be given.
  std::size_t kernelHeight = 0;     ///< Taps along y, at least 1; must be given.
  std::size_t dilationRateX = 1;    ///< Source pixels from tap to tap along x, at least 1.
  std::size_t dilationRateY = 1;    ///< The same along y.
  std::size_t strideInPixelsX = 1;  ///< Source pixels from window to window along x, at least 1.
  std::size_t strideInPixelsY = 1;  ///< The same along y.
};

/// `CNNPoolingMax` over taps that stand dilationRate pixels apart. A tap outside of the source reads, with edge mode
/// clamp, the nearest pixel, be it one of the window or not. Source: MPSCNNDilatedPoolingMax.
class CNNDilatedPoolingMax : public CNNPooling {
 public:
  /// As the constructor takes it.
  using Descriptor = CNNDilatedPoolingDescriptor;

  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNDilatedPoolingMax(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNDilatedPoolingMax(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNDilatedPoolingMax copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;

 private:
  friend class Kernel;
};

/// The gradient of a pooling:
///
///     dx[u] = sum over the windows i of g[i] * dy[i] / dx[u]
///
/// The window of source gradient pixel P has its centre at secondaryOffset + secondaryStride * (P - primaryOffset);
/// those P take part that lie in the gradient image and in primaryOffset ... primaryOffset + sourceSize. Destination
/// pixel clipRect.origin + a belongs to forward source pixel u0 + a, u0 = max(0, secondaryOffset - K/2) the first one
/// that a window reads (at most the last of the source). Pixels that no window reads become 0.
///
/// sourceImage is the forward source, whatever the edge mode. The forward kernel's state sets everything, the window
/// included; without it every property must equal the forward kernel's: secondaryOffset its offset, secondaryEdgeMode
/// its edge mode, primaryOffset and sourceSize its clip rectangle. kernelOffset has no part.
/// Source: MPSCNNPoolingGradient.
class CNNPoolingGradient : public CNNGradientKernel {
 public:
  /// What a gradient is made with: the forward kernel's window.
  using Descriptor = CNNPooling::Descriptor;

  /// Source gradients that take part, from primaryOffset on; depth has no part. Default all.
  Size sourceSize = {all, all, all};

 protected:
  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingGradient(const Device& device, std::string_view className, const detail::KernelShape& shape);

  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  virtual operations::PoolingType type() const = 0;
  /// As the forward kernel's.
  virtual Size zeroPadSize() const { return {}; }
  virtual void setZeroPadSize(Size) {}
};

/// The gradient of `CNNPoolingMax`: each g goes to the largest pixel of its window, the first of several in the order
/// of rows. Where the 0 outside of the source was larger than all pixels, g goes nowhere.
/// Source: MPSCNNPoolingMaxGradient.
class CNNPoolingMaxGradient : public CNNPoolingGradient {
 public:
  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingMaxGradient(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNPoolingMaxGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNPoolingMaxGradient copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNPoolingAverage`: g / N to each pixel of the window. Of the source image only the size matters.
/// Source: MPSCNNPoolingAverageGradient.
class CNNPoolingAverageGradient : public CNNPoolingGradient {
 public:
  std::size_t zeroPadSizeX = 0;  ///< The forward kernel's. Default 0.
  std::size_t zeroPadSizeY = 0;  ///< As above.

  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingAverageGradient(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNPoolingAverageGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNPoolingAverageGradient copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;
  Size zeroPadSize() const override { return {zeroPadSizeX, zeroPadSizeY, 0}; }
  void setZeroPadSize(Size size) override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNPoolingL2Norm`: g * x[u] / y to each pixel of the window, 0 where y = 0.
/// Source: MPSCNNPoolingL2NormGradient.
class CNNPoolingL2NormGradient : public CNNPoolingGradient {
 public:
  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNPoolingL2NormGradient(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNPoolingL2NormGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNPoolingL2NormGradient copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;

 private:
  friend class Kernel;
};

/// The gradient of `CNNDilatedPoolingMax`; see `CNNPoolingMaxGradient`. Source: MPSCNNDilatedPoolingMaxGradient.
class CNNDilatedPoolingMaxGradient : public CNNPoolingGradient {
 public:
  /// As the constructor takes it.
  using Descriptor = CNNDilatedPoolingDescriptor;

  /// @throws Error (invalidArgument) for a nil device and for a size of 0.
  CNNDilatedPoolingMaxGradient(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNDilatedPoolingMaxGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNDilatedPoolingMaxGradient copy(const Device& device = {}) const;

 protected:
  operations::PoolingType type() const override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
