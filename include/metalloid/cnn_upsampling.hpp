#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstddef>

namespace metalloid {

/// Enlarges images by whole factors: a destination that the kernel makes has scaleFactorX times the source's width and
/// scaleFactorY times its height. Channels stay. Source: MPSCNNUpsampling.
///
/// clipRect.origin shows pixel offset * scaleFactor of the whole enlarged image. What a destination holds beyond that
/// image repeats its edge, whatever the edge mode.
class CNNUpsampling : public CNNKernel {
 public:
  double scaleFactorX() const { return static_cast<double>(scaleFactorX_); }  ///< Destination pixels a source pixel.
  double scaleFactorY() const { return static_cast<double>(scaleFactorY_); }  ///< As above.
  /// Whether the centres of the corner pixels fall on each other; false without an interpolation.
  bool alignCorners() const { return alignCorners_; }

 protected:
  /// @throws Error (invalidArgument) for a nil device and for a factor of 0 or beyond 2^24.
  CNNUpsampling(const Device& device, std::string_view className, std::size_t scaleFactorX, std::size_t scaleFactorY,
                bool alignCorners);

  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  virtual bool isBilinear() const = 0;

 private:
  std::size_t scaleFactorX_;
  std::size_t scaleFactorY_;
  bool alignCorners_;
};

/// Repeats each pixel: y[i] = x[floor(i / scaleFactor)] along each axis. Source: MPSCNNUpsamplingNearest.
class CNNUpsamplingNearest : public CNNUpsampling {
 public:
  /// What it is made with.
  struct Descriptor {
    std::size_t integerScaleFactorX = 0;  ///< Destination pixels a source pixel, at least 1; must be given.
    std::size_t integerScaleFactorY = 0;  ///< The same along y.
  };
  /// @throws Error (invalidArgument) for a nil device and for a factor of 0 or beyond 2^24.
  CNNUpsamplingNearest(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNUpsamplingNearest(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNUpsamplingNearest copy(const Device& device = {}) const;

 protected:
  bool isBilinear() const override { return false; }

 private:
  friend class Kernel;
};

/// Interpolates: along each axis
///
///     y[i] = (1 - t) * x[floor(p)] + t * x[floor(p) + 1],    t = p - floor(p)
///     p = (i + 1/2) / scaleFactor - 1/2, or, with alignCorners, i * (n - 1) / (n * scaleFactor - 1)
///
/// for n source pixels; what would lie outside of them is the pixel of the edge. Source: MPSCNNUpsamplingBilinear.
class CNNUpsamplingBilinear : public CNNUpsampling {
 public:
  /// What it is made with.
  struct Descriptor {
    std::size_t integerScaleFactorX = 0;  ///< Destination pixels a source pixel, at least 1; must be given.
    std::size_t integerScaleFactorY = 0;  ///< The same along y.
    bool alignCorners = false;            ///< Whether the centres of the corner pixels fall on each other.
  };
  /// @throws Error (invalidArgument) for a nil device and for a factor of 0 or beyond 2^24.
  CNNUpsamplingBilinear(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNUpsamplingBilinear(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNUpsamplingBilinear copy(const Device& device = {}) const;

 protected:
  bool isBilinear() const override { return true; }

 private:
  friend class Kernel;
};

/// The gradient of an upsampling: each element g of the gradient is added to the source pixels that its forward result
/// was made of, with their weights. Source: MPSCNNUpsamplingGradient.
///
/// Source gradient pixel primaryOffset stands for pixel secondaryOffset * scaleFactor of the whole enlarged image;
/// sourceSize limits how many take part. Destination pixel clipRect.origin + a belongs to forward source pixel u0 + a,
/// u0 the first one that the first of them reads. The forward kernel's state sets all of this, factors and
/// interpolation included; of the source image only the size matters.
class CNNUpsamplingGradient : public CNNGradientKernel {
 public:
  double scaleFactorX() const { return static_cast<double>(scaleFactorX_); }  ///< Gradient pixels a result pixel.
  double scaleFactorY() const { return static_cast<double>(scaleFactorY_); }  ///< As above.

  /// Metalloid extension: source gradients that take part, from primaryOffset on; depth has no part. Default all.
  Size sourceSize = {all, all, all};

 protected:
  /// @throws Error (invalidArgument) for a nil device and for a factor of 0 or beyond 2^24.
  CNNUpsamplingGradient(const Device& device, std::string_view className, std::size_t scaleFactorX,
                        std::size_t scaleFactorY);

  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;
  virtual bool isBilinear() const = 0;
  /// As the forward kernel's.
  virtual bool cornersAreAligned() const { return false; }
  virtual void setCornersAreAligned(bool) {}

 private:
  std::size_t scaleFactorX_;
  std::size_t scaleFactorY_;
};

/// The gradient of `CNNUpsamplingNearest`: the sum of each block. Source: MPSCNNUpsamplingNearestGradient.
class CNNUpsamplingNearestGradient : public CNNUpsamplingGradient {
 public:
  /// What it is made with.
  using Descriptor = CNNUpsamplingNearest::Descriptor;

  /// @throws Error (invalidArgument) for a nil device and for a factor of 0 or beyond 2^24.
  CNNUpsamplingNearestGradient(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNUpsamplingNearestGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNUpsamplingNearestGradient copy(const Device& device = {}) const;

 protected:
  bool isBilinear() const override { return false; }

 private:
  friend class Kernel;
};

/// The gradient of `CNNUpsamplingBilinear`. Source: MPSCNNUpsamplingBilinearGradient.
class CNNUpsamplingBilinearGradient : public CNNUpsamplingGradient {
 public:
  /// What it is made with.
  using Descriptor = CNNUpsamplingNearest::Descriptor;

  /// Metalloid extension: the forward kernel's, whose state sets it. Default false.
  bool alignCorners = false;

  /// @throws Error (invalidArgument) for a nil device and for a factor of 0 or beyond 2^24.
  CNNUpsamplingBilinearGradient(const Device& device, const Descriptor& descriptor);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNUpsamplingBilinearGradient(Unarchiver& coder, const Device& device);

  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNUpsamplingBilinearGradient copy(const Device& device = {}) const;

 protected:
  bool isBilinear() const override { return true; }
  bool cornersAreAligned() const override { return alignCorners; }
  void setCornersAreAligned(bool aligned) override { alignCorners = aligned; }
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  friend class Kernel;
};

}  // namespace metalloid
