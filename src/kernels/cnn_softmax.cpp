#include "operations/cnn_softmax.hpp"

#include "kernels/gradient_state.hpp"
#include "kernels/image_geometry.hpp"

#include <metalloid/cnn_softmax.hpp>

#include <utility>

namespace metalloid {

using detail::Encoding;
using detail::ImageOperands;

namespace {

void recordValue(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands, bool isLogarithm) {
  auto views = detail::pointwiseViews(encoding, kernel, operands);
  encoding.record(operations::CNNSoftMax{
      .source = std::move(views.source), .result = std::move(views.result), .isLogarithm = isLogarithm});
}

void recordGradient(Encoding& encoding, const CNNGradientKernel& kernel, const ImageOperands& operands,
                    bool isLogarithm) {
  for (const State& state : operands.sourceStates) encoding.reads("gradientState", state);
  auto views = detail::pointwiseGradientViews(encoding, kernel, operands);
  encoding.record(operations::CNNSoftMaxGradient{.gradient = std::move(views.gradient),
                                                 .forwardResult = std::move(views.source),
                                                 .result = std::move(views.result),
                                                 .isLogarithm = isLogarithm});
}

/// The secondary source is the forward result, which lies as the gradient does.
void readForwardResult(CNNGradientKernel& kernel) {
  kernel.secondaryOffset.x = kernel.primaryOffset.x;
  kernel.secondaryOffset.y = kernel.primaryOffset.y;
  kernel.secondarySourceFeatureChannelOffset = kernel.primarySourceFeatureChannelOffset;
}

}  // namespace

CNNSoftMax::CNNSoftMax(const Device& device) : CNNKernel(device, "CNNSoftMax") {}
CNNSoftMax::CNNSoftMax(Unarchiver& coder, const Device& device) : CNNSoftMax(device) { decode(coder); }
CNNSoftMax CNNSoftMax::copy(const Device& device) const { return copyOf(*this, device); }

State CNNSoftMax::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void CNNSoftMax::record(Encoding& encoding, const ImageOperands& operands) const {
  recordValue(encoding, *this, operands, false);
}

CNNLogSoftMax::CNNLogSoftMax(const Device& device) : CNNKernel(device, "CNNLogSoftMax") {}
CNNLogSoftMax::CNNLogSoftMax(Unarchiver& coder, const Device& device) : CNNLogSoftMax(device) { decode(coder); }
CNNLogSoftMax CNNLogSoftMax::copy(const Device& device) const { return copyOf(*this, device); }

State CNNLogSoftMax::makeResultState(const ResultStateArguments& arguments) {
  return detail::makeRecordState<NNGradientState>(*this, arguments);
}

void CNNLogSoftMax::record(Encoding& encoding, const ImageOperands& operands) const {
  recordValue(encoding, *this, operands, true);
}

CNNSoftMaxGradient::CNNSoftMaxGradient(const Device& device) : CNNGradientKernel(device, "CNNSoftMaxGradient") {}
CNNSoftMaxGradient::CNNSoftMaxGradient(Unarchiver& coder, const Device& device) : CNNSoftMaxGradient(device) {
  decode(coder);
}
CNNSoftMaxGradient CNNSoftMaxGradient::copy(const Device& device) const { return copyOf(*this, device); }

void CNNSoftMaxGradient::configure(const State& gradientState) {
  CNNGradientKernel::configure(gradientState);
  readForwardResult(*this);
}

void CNNSoftMaxGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  recordGradient(encoding, *this, operands, false);
}

CNNLogSoftMaxGradient::CNNLogSoftMaxGradient(const Device& device)
    : CNNGradientKernel(device, "CNNLogSoftMaxGradient") {}
CNNLogSoftMaxGradient::CNNLogSoftMaxGradient(Unarchiver& coder, const Device& device) : CNNLogSoftMaxGradient(device) {
  decode(coder);
}
CNNLogSoftMaxGradient CNNLogSoftMaxGradient::copy(const Device& device) const { return copyOf(*this, device); }

void CNNLogSoftMaxGradient::configure(const State& gradientState) {
  CNNGradientKernel::configure(gradientState);
  readForwardResult(*this);
}

void CNNLogSoftMaxGradient::record(Encoding& encoding, const ImageOperands& operands) const {
  recordGradient(encoding, *this, operands, true);
}

}  // namespace metalloid
