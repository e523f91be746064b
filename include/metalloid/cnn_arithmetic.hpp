#pragma once

#include <metalloid/cnn_kernel.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace metalloid {

namespace operations {
enum class ArithmeticType : std::uint8_t;
}

/// What a `CNNArithmetic` kernel leaves for its gradient: strides and sizes, and, where its bounds may have cut, which
/// elements they did not. Source: MPSCNNArithmeticGradientState.
class CNNArithmeticGradientState : public NNBinaryGradientState {
 public:
  CNNArithmeticGradientState() = default;  ///< Nil.
  /// Narrows. @throws Error (invalidArgument) for another kind of state; nil stays nil.
  explicit CNNArithmeticGradientState(const State& state);

 protected:
  /// For derived handles.
  explicit CNNArithmeticGradientState(detail::Ref<detail::RefCounted> implementation)
      : NNBinaryGradientState(std::move(implementation)) {}
};

/// Arithmetic on two images, element by element, with broadcasting. Abstract. Source: MPSCNNArithmetic.
///
/// With x the primary and y the secondary source, result = min(max(v, minimumValue), maximumValue) of
///
///     CNNAdd:      v = primaryScale * x + secondaryScale * y + bias
///     CNNSubtract: v = primaryScale * x - secondaryScale * y + bias
///     CNNMultiply: v = (primaryScale * x) * (secondaryScale * y) + bias
///     CNNDivide:   v = (primaryScale * x) / (secondaryScale * y) + bias
///
/// Broadcasting: a stride of 0 along an axis (`primaryStrideInPixelsX`, …, `secondaryStrideInFeatureChannels`) uses the
/// source's first element along it, at its offset, for the whole result; all strides are 0 or 1.
/// A result that the kernel makes has, along each axis, the size of the source that is not broadcast; of the primary
/// when neither is, and 1 when both are. Sources that are not broadcast over channels must have as many.
/// A NaN stays one. The result must not share memory with a source.
class CNNArithmetic : public CNNBinaryKernel {
 public:
  float primaryScale = 1;                                     ///< Multiplies the primary source.
  float secondaryScale = 1;                                   ///< Multiplies the secondary source.
  float bias = 0;                                             ///< Added to the result.
  float minimumValue = std::numeric_limits<float>::lowest();  ///< Lower bound of the result.
  float maximumValue = std::numeric_limits<float>::max();     ///< Upper bound of the result.
  std::size_t primaryStrideInFeatureChannels = 1;             ///< 0: broadcast over channels.
  std::size_t secondaryStrideInFeatureChannels = 1;           ///< As above.

 protected:
  /// For derived classes.
  CNNArithmetic(const Device& device, std::string_view className, operations::ArithmeticType type);
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  State makeResultState(const ResultStateArguments& arguments) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  operations::ArithmeticType type_;
};

/// The sum of two images. Source: MPSCNNAdd.
class CNNAdd : public CNNArithmetic {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  explicit CNNAdd(const Device& device);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNAdd(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNAdd copy(const Device& device = {}) const { return copyOf(*this, device); }
};

/// The difference of two images. Source: MPSCNNSubtract.
class CNNSubtract : public CNNArithmetic {
 public:
  explicit CNNSubtract(const Device& device);                                          ///< As CNNAdd.
  CNNSubtract(Unarchiver& coder, const Device& device);                                ///< As CNNAdd.
  CNNSubtract copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As CNNAdd.
};

/// The product of two images, element by element. Source: MPSCNNMultiply.
class CNNMultiply : public CNNArithmetic {
 public:
  explicit CNNMultiply(const Device& device);                                          ///< As CNNAdd.
  CNNMultiply(Unarchiver& coder, const Device& device);                                ///< As CNNAdd.
  CNNMultiply copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As CNNAdd.
};

/// The quotient of two images, element by element. It has no gradient and leaves no state. Source: MPSCNNDivide.
class CNNDivide : public CNNArithmetic {
 public:
  explicit CNNDivide(const Device& device);                                          ///< As CNNAdd.
  CNNDivide(Unarchiver& coder, const Device& device);                                ///< As CNNAdd.
  CNNDivide copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As CNNAdd.
};

/// The gradient of arithmetic for one of its two sources. Abstract. Source: MPSCNNArithmeticGradient.
///
/// With g the source gradient and z the source image, the gradient for the source that `isSecondarySourceFilter` names
/// is, summed over the axes along which that source was broadcast,
///
///     CNNAddGradient, CNNSubtractGradient: primaryScale * g
///     CNNMultiplyGradient:                 (primaryScale * g) * (secondaryScale * z)
///
/// The scales are this kernel's own. They make the derivative of a forward kernel with scales a and b when they are:
/// for a sum a or b; for a difference a or -b; for a product a and b, in either order. z is the other source of a
/// product, broadcast by the secondary strides as it was forward. For sums and differences only its size counts:
/// without a state it is the source that the gradient is for.
///
/// The gradient state tells size, region, channels and strides, and where the forward bounds cut: there the gradient
/// is 0. Without a state nothing was cut, and a source was broadcast along an axis where the result has one element and
/// the gradient more (for sums and differences also where the secondary stride is 0).
class CNNArithmeticGradient : public CNNGradientKernel {
 public:
  float primaryScale = 1;                                     ///< Multiplies the gradient.
  float secondaryScale = 1;                                   ///< Multiplies the other source of a product.
  float bias = 0;                                             ///< Has no effect.
  float minimumValue = std::numeric_limits<float>::lowest();  ///< Has no effect: the state knows what was cut.
  float maximumValue = std::numeric_limits<float>::max();     ///< As above.
  std::size_t secondaryStrideInFeatureChannels = 1;           ///< 0: the source image was broadcast over channels.

  /// Whether the gradient is for the secondary source.
  bool isSecondarySourceFilter() const { return isSecondarySourceFilter_; }

 protected:
  /// For derived classes.
  CNNArithmeticGradient(const Device& device, std::string_view className, bool isSecondarySourceFilter, bool isProduct);
  void adjustDestination(const ImageBatch& sources, const StateBatch& sourceStates,
                         ImageDescriptor& suggested) override;
  void configure(const State& gradientState) override;
  void record(detail::Encoding& encoding, const detail::ImageOperands& operands) const override;
  void visitSettings(detail::SettingsVisitor& visitor) override;

 private:
  bool isSecondarySourceFilter_;
  bool isProduct_;
};

/// The gradient of `CNNAdd` for one source. Source: MPSCNNAddGradient.
class CNNAddGradient : public CNNArithmeticGradient {
 public:
  /// @throws Error (invalidArgument) for a nil device.
  CNNAddGradient(const Device& device, bool isSecondarySourceFilter);
  /// The next kernel of an archive. @throws Error (malformedFile) when it is another class or not allowed.
  CNNAddGradient(Unarchiver& coder, const Device& device);
  /// A copy with every setting, for `device` or, when that is nil, for the same device.
  CNNAddGradient copy(const Device& device = {}) const { return copyOf(*this, device); }
};

/// The gradient of `CNNSubtract` for one source; for the secondary `primaryScale` must be negative. Source:
/// MPSCNNSubtractGradient.
class CNNSubtractGradient : public CNNArithmeticGradient {
 public:
  CNNSubtractGradient(const Device& device, bool isSecondarySourceFilter);                     ///< As CNNAddGradient.
  CNNSubtractGradient(Unarchiver& coder, const Device& device);                                ///< As CNNAddGradient.
  CNNSubtractGradient copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As CNNAddGradient.
};

/// The gradient of `CNNMultiply` for one source. Source: MPSCNNMultiplyGradient.
class CNNMultiplyGradient : public CNNArithmeticGradient {
 public:
  CNNMultiplyGradient(const Device& device, bool isSecondarySourceFilter);                     ///< As CNNAddGradient.
  CNNMultiplyGradient(Unarchiver& coder, const Device& device);                                ///< As CNNAddGradient.
  CNNMultiplyGradient copy(const Device& device = {}) const { return copyOf(*this, device); }  ///< As CNNAddGradient.
};

}  // namespace metalloid
