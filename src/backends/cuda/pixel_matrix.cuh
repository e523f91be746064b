#pragma once

#include "backends/cuda/images.cuh"
#include "backends/cuda/windows.cuh"

/// Images as matrices with a row for each pixel, and their patches under windows as matrices with a row for each
/// output: what turns convolutions into products.
namespace metalloid::cuda {

/// A float32 matrix with rows of whole packs, in scratch memory.
MatrixView scratchMatrix(std::size_t rows, std::size_t columns, Context& context);

/// Images of float32 whose pixels stand at equal distances, as they are: [images * pixels][channels]. Nil for others.
MatrixView matrixOf(const ImageView& images);

/// The same for any images; copied where it must be.
MatrixView pixelMatrix(const ImageView& images, Context& context);

/// The rows of a matrix of pixels as images of the shape of others.
Images imagesOf(const MatrixView& pixels, const Images& shape);

/// Windows over some channels of a source: one patch for each of height x width outputs.
struct Patches {
  Window window;
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t firstChannel = 0;
  std::size_t channels = 0;

  __host__ __device__ std::size_t taps() const { return window.x.taps * window.y.taps; }
};

/// The patches where the images hold them already, because each patch is a pixel, or all of an image: a matrix
/// [images * outputs][taps y][taps x][channels]. Nil: they must be gathered.
MatrixView patchesInPlace(const ImageView& source, const Patches& patches);

/// The patches of images, gathered into scratch memory where they must be.
MatrixView patchMatrix(const ImageView& source, const Patches& patches, Context& context);

/// Where the gradient of patches goes: the part of a source that begins at (resultX, resultY).
struct PatchTarget {
  ImageView result;
  std::size_t sourceHeight = 0;
  std::size_t sourceWidth = 0;
  std::size_t resultY = 0;
  std::size_t resultX = 0;
};

/// The reverse of gathering: each pixel becomes the sum of its elements in all patches.
void addPatches(const MatrixView& matrix, const Patches& patches, const PatchTarget& target, Context& context);

}  // namespace metalloid::cuda
