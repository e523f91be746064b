#pragma once

#include "kernels/encoding.hpp"
#include "operations/window.hpp"

#include <metalloid/cnn_kernel.hpp>
#include <metalloid/detail/neuron_settings.hpp>

#include <cstddef>

/// What image kernels make of clip rectangles, offsets and channel ranges.
namespace metalloid::detail {

/// The images of a container that an encode works on.
struct ImageRange {
  std::size_t first = 0;
  std::size_t count = 1;
};
/// Of the destination: from clipRect.origin.z on, clipRect.size.depth of them, as far as there are.
ImageRange destinationImages(const Region& clipRect, const ImageBatch& destinations);
/// Of a source: as many, from offset.z on.
ImageRange sourceImages(const SourceSettings& settings, ImageRange destination);

/// @throws Error for an offset so large that positions computed from it might not fit 64 bits.
void requireModerate(const Encoding& encoding, Offset offset);

/// The number of channels read from a source. @throws Error for an offset that is no multiple of 4 or beyond the last.
std::size_t channelsRead(const Encoding& encoding, const SourceSettings& settings, const ImageDescriptor& source);
/// @throws Error for a destination channel offset that is no multiple of 4.
void checkDestinationChannel(const Encoding& encoding, std::size_t offset);

/// Source and destination operands of a kernel with one source, and what is read and written of them.
struct UnaryOperands {
  Encoding::ImageOperand source;
  Encoding::ImageOperand destination;
  PixelRect clip;            // of the destination
  std::size_t channels = 0;  // read
};
UnaryOperands unaryOperands(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands);

/// For kernels that look at one pixel: views of one size.
struct PointwiseViews {
  operations::ImageView source;
  operations::ImageView result;
};
PointwiseViews pointwiseViews(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands);

/// For kernels with a window: the whole source, the clipped result of `resultChannels` (0: as many as are read).
struct WindowedViews {
  operations::ImageView source;
  operations::ImageView result;
  operations::Window window;
};
WindowedViews windowedViews(Encoding& encoding, const CNNKernel& kernel, const ImageOperands& operands,
                            std::size_t resultChannels = 0);

/// The window of a filter: stride `shape.stride`, the centre of the first tap row at `offset`.
operations::Window windowOf(Offset offset, const KernelShape& shape);

/// What of `available` pixels lies in offset ... offset + size, along one axis.
struct Part {
  std::size_t first = 0;
  std::size_t count = 0;
};
Part partOf(std::ptrdiff_t offset, std::size_t size, std::size_t available);

/// The operands of a gradient, and what is read and written of them.
struct GradientOperands {
  Encoding::ImageOperand gradient;
  Encoding::ImageOperand source;
  Encoding::ImageOperand destination;
  PixelRect clip;            // of the destination
  std::size_t channels = 0;  // read and written
};
GradientOperands gradientOperands(Encoding& encoding, const CNNGradientKernel& kernel, const ImageOperands& operands);

/// For gradients of kernels that look at one pixel: views of one size. When the kernel made its destination, what no
/// gradient reaches becomes 0.
struct PointwiseGradientViews {
  operations::ImageView gradient;
  operations::ImageView source;
  operations::ImageView result;
};
PointwiseGradientViews pointwiseGradientViews(Encoding& encoding, const CNNGradientKernel& kernel,
                                              const ImageOperands& operands);

/// The slopes of a PReLU, of which there must be one for each channel; an empty view for other neurons.
operations::VectorView slopesFor(Encoding& encoding, const NeuronSettings& neuron, std::size_t channels);

/// Prepends a zero fill of the destination unless rectangle and channels cover it.
void clearUncovered(Encoding& encoding, Encoding::ImageOperand& destination, PixelRect written,
                    std::size_t firstChannel, std::size_t channels);

}  // namespace metalloid::detail
