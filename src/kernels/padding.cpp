#include "core/format.hpp"

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/error.hpp>
#include <metalloid/nn_padding.hpp>

namespace metalloid {
namespace {

constexpr auto kTensorflow = NNPaddingMethod::custom | NNPaddingMethod::customAllowForNodeFusion |
                             NNPaddingMethod::alignCentered | NNPaddingMethod::addRemainderToBottomRight;

}  // namespace

ImageDescriptor NNPadding::destinationImageDescriptor(const ImageBatch&, const StateBatch&, Kernel& kernel,
                                                      const ImageDescriptor&) {
  throw Error(ErrorCode::invalidArgument,
              fmt::format("The padding policy \"{}\" of {} has the custom bit, but does not implement "
                          "destinationImageDescriptor.",
                          label(), kernel.name()));
}

NNDefaultPadding::NNDefaultPadding(NNPaddingMethod method) : method_(method) {
  const auto size = method & NNPaddingMethod::sizeMask;
  if ((method & NNPaddingMethod::alignMask) == NNPaddingMethod::alignMask ||
      (size != NNPaddingMethod::sizeValidOnly && size != NNPaddingMethod::sizeSame &&
       size != NNPaddingMethod::sizeFull)) {
    throw Error(ErrorCode::invalidArgument, fmt::format("The padding method {:#x} has a reserved alignment or size.",
                                                        static_cast<std::uint32_t>(method)));
  }
  if (contains(method, NNPaddingMethod::custom))
    throw Error(ErrorCode::invalidArgument, "A default padding has no custom method; derive from NNPadding.");
}

NNDefaultPadding::NNDefaultPadding(TensorflowAveragePooling, NNPaddingMethod size) : method_(kTensorflow | size) {}

std::shared_ptr<NNPadding> NNDefaultPadding::paddingWithMethod(NNPaddingMethod method) {
  return std::make_shared<NNDefaultPadding>(method);
}

std::shared_ptr<NNPadding> NNDefaultPadding::forTensorflowAveragePooling() {
  return std::shared_ptr<NNPadding>(new NNDefaultPadding(TensorflowAveragePooling{}, NNPaddingMethod::sizeSame));
}

std::shared_ptr<NNPadding> NNDefaultPadding::forTensorflowAveragePoolingValidOnly() {
  return std::shared_ptr<NNPadding>(new NNDefaultPadding(TensorflowAveragePooling{}, NNPaddingMethod::sizeValidOnly));
}

std::string NNDefaultPadding::label() const {
  const auto size = method_ & NNPaddingMethod::sizeMask;
  std::string text = size == NNPaddingMethod::sizeSame   ? "same size"
                     : size == NNPaddingMethod::sizeFull ? "full size"
                                                         : "valid only";
  const auto alignment = method_ & NNPaddingMethod::alignMask;
  if (alignment == NNPaddingMethod::alignTopLeft) text += ", padding on top left";
  if (alignment == NNPaddingMethod::alignBottomRight) text += ", padding on bottom right";
  if (contains(method_, NNPaddingMethod::excludeEdges)) text += ", edges excluded";
  return contains(method_, NNPaddingMethod::custom) ? text + ", as TensorFlow's average pooling" : text;
}

ImageDescriptor NNDefaultPadding::destinationImageDescriptor(const ImageBatch&, const StateBatch&, Kernel& kernel,
                                                             const ImageDescriptor& suggestedDescriptor) {
  // Average pooling shrinks its window in clamp mode; the divisor is then the number of pixels in the image.
  if (auto* const unary = dynamic_cast<CNNKernel*>(&kernel)) unary->edgeMode = ImageEdgeMode::clamp;
  return suggestedDescriptor;
}

}  // namespace metalloid
