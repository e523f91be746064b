#pragma once

#include <metalloid/image.hpp>
#include <metalloid/state.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace metalloid {

class Kernel;

/// How a kernel that makes its destination sizes it and places its window: an alignment, a remainder and a size, and
/// flags. Combine with `|`. Source: MPSNNPaddingMethod.
///
/// Sizes for n source pixels, stride s and a window of k (dilated) pixels, v = -1, 0, 1 for valid only, same, full:
/// ceil((n + v*(k-1)) / s); for kernels that enlarge, (n-1)*s + 1 + v*(k-1).
enum class NNPaddingMethod : std::uint32_t {
  alignCentered = 0,     ///< Padding split evenly between both sides.
  centered = 0,          ///< The same.
  alignTopLeft = 1,      ///< All padding on top and left.
  alignBottomRight = 2,  ///< All padding on bottom and right.
  alignMask = 3,         ///< The bits of the alignment.

  addRemainderToTopLeft = 0,       ///< The odd pixel of centred padding goes to top and left.
  topLeft = 0,                     ///< The same.
  addRemainderToTopRight = 4,      ///< To top and right.
  addRemainderToBottomLeft = 8,    ///< To bottom and left.
  addRemainderToBottomRight = 12,  ///< To bottom and right.
  addRemainderToMask = 12,         ///< The bits of the remainder.

  sizeValidOnly = 0,  ///< Only results whose window lies within the source.
  validOnly = 0,      ///< The same.
  sizeSame = 16,      ///< The source's size divided by the stride, rounded up.
  sizeFull = 32,      ///< Every result whose window touches the source.
  sizeMask = 0x7f0,   ///< The bits of the size.

  customAllowForNodeFusion = 0x2000,      ///< The custom policy does not mind that its node is fused with another.
  customWhitelistForNodeFusion = 0x2000,  ///< The same.
  custom = 0x4000,                        ///< Ask the policy's own method.
  excludeEdges = 0x8000,                  ///< Average pooling divides by the part of the window in image and padding.
};

/// Both sets of bits.
constexpr NNPaddingMethod operator|(NNPaddingMethod a, NNPaddingMethod b) {
  return static_cast<NNPaddingMethod>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
/// The common bits.
constexpr NNPaddingMethod operator&(NNPaddingMethod a, NNPaddingMethod b) {
  return static_cast<NNPaddingMethod>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
/// Whether every bit of `flags` is set.
constexpr bool contains(NNPaddingMethod method, NNPaddingMethod flags) { return (method & flags) == flags; }

/// Sizes the destination of kernels that make it. Source: MPSNNPadding.
class NNPadding {
 public:
  virtual ~NNPadding() = default;

  /// The bits.
  virtual NNPaddingMethod paddingMethod() const = 0;

  /// A name for messages.
  virtual std::string label() const { return {}; }

  /// With the `custom` bit: may change the suggestion, which the other bits have made, and the kernel, whose offset is
  /// set anew before each call while its other properties stay as they were left.
  virtual ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates,
                                                     Kernel& kernel, const ImageDescriptor& suggestedDescriptor);

  /// The policy of the gradient; nil for none of its own.
  virtual std::shared_ptr<NNPadding> inverse() const { return nullptr; }
};

/// The policies that need no code of the caller's. Source: MPSNNDefaultPadding.
class NNDefaultPadding : public NNPadding {
 public:
  /// @throws Error (invalidArgument) for the reserved alignment and sizes, and for `custom`.
  explicit NNDefaultPadding(NNPaddingMethod method);

  /// `NNDefaultPadding` as policies are held.
  static std::shared_ptr<NNPadding> paddingWithMethod(NNPaddingMethod method);
  /// Same size, centred, remainder to bottom right; average pooling divides by the pixels in the image.
  static std::shared_ptr<NNPadding> forTensorflowAveragePooling();
  /// Its valid-only counterpart.
  static std::shared_ptr<NNPadding> forTensorflowAveragePoolingValidOnly();

  NNPaddingMethod paddingMethod() const override { return method_; }
  std::string label() const override;
  ImageDescriptor destinationImageDescriptor(const ImageBatch& sourceImages, const StateBatch& sourceStates,
                                             Kernel& kernel, const ImageDescriptor& suggestedDescriptor) override;

 private:
  struct TensorflowAveragePooling {};
  NNDefaultPadding(TensorflowAveragePooling, NNPaddingMethod size);

  NNPaddingMethod method_;
};

}  // namespace metalloid
