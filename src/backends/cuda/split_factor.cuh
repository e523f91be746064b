#pragma once

#include "backends/cuda/context.hpp"
#include "backends/cuda/hopper.cuh"
#include "operations/views.hpp"

#include <cuda.h>
#include <cuda_bf16.h>

/// What split products multiply: matrices of float32, or the patches of images under windows, which are stored nowhere.
namespace metalloid::cuda {

using hopper::Tile;
using operations::MatrixView;

/// Windows over images of which a matrix has a row for each pixel: [images * height * width][channels]. A patch is
/// [taps y][taps x][channels], and zero outside of the images. There are outputs [images][outputHeight][outputWidth].
struct PatchWalk {
  struct Axis {
    int size = 0;     // of the images
    int outputs = 0;  // an image
    int taps = 1;
    int step = 1;
    int base = 0;  // tap t of output o stands on pixel step * o + base + tapStep * t
    int tapStep = 1;
  };
  Axis y, x;
  int images = 0;
  int channels = 0;

  /// Where a patch begins, in pixels.
  struct Corner {
    int image, y, x;
  };
  __host__ __device__ Corner corner(unsigned output) const {
    const auto width = static_cast<unsigned>(x.outputs), height = static_cast<unsigned>(y.outputs);
    const unsigned line = output / width;
    return {static_cast<int>(line / height), y.step * static_cast<int>(line % height) + y.base,
            x.step * static_cast<int>(output % width) + x.base};
  }

  /// An element of a patch: how far its pixel is from the corner, and its channel.
  struct Element {
    int y, x, channel;
  };
  __host__ __device__ Element element(unsigned index) const {
    const auto count = static_cast<unsigned>(channels), taps = static_cast<unsigned>(x.taps);
    const unsigned tap = index / count;
    return {y.tapStep * static_cast<int>(tap / taps), x.tapStep * static_cast<int>(tap % taps),
            static_cast<int>(index % count)};
  }

  __host__ __device__ bool isInside(int pixelY, int pixelX) const {
    return 0 <= pixelY && pixelY < y.size && 0 <= pixelX && pixelX < x.size;
  }
};

/// A factor: rows and terms.
struct SplitFactor {
  MatrixView matrix;                  // float32
  Tile tile = Tile::termsSideBySide;  // whether terms or rows are the columns of the matrix, or elements of patches
  bool isPatched = false;
  PatchWalk patches;
  /// Above 1: terms are [taps][matrix rows], and the columns of the matrix [taps, the last one first][rows].
  unsigned reversedTaps = 1;
  std::size_t rows = 0;
  std::size_t terms = 0;

  __device__ float at(std::size_t row, std::size_t term) const {
    const bool isTurned = tile == Tile::rowsSideBySide;
    if (isPatched) {
      const PatchWalk::Corner corner = patches.corner(static_cast<unsigned>(isTurned ? term : row));
      const PatchWalk::Element element = patches.element(static_cast<unsigned>(isTurned ? row : term));
      const int y = corner.y + element.y, x = corner.x + element.x;
      if (!patches.isInside(y, x)) return 0;
      return stored((std::size_t{static_cast<unsigned>(corner.image)} * patches.y.size + y) * patches.x.size + x,
                    element.channel);
    }
    const std::size_t tap = term / (terms / reversedTaps);
    if (reversedTaps > 1) return stored(term % (terms / reversedTaps), (reversedTaps - 1 - tap) * rows + row);
    return isTurned ? stored(term, row) : stored(row, term);
  }

 private:
  __device__ float stored(std::size_t row, std::size_t column) const {
    return reinterpret_cast<const float*>(matrix.data + row * matrix.rowBytes)[column];
  }
};

/// A matrix in three parts of bfloat16, each of them stored as the matrix is: [part][row][column].
struct SplitParts {
  static constexpr unsigned kParts = 3;

  __nv_bfloat16* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t rowElements = 0;  // whole packs of 16 bytes
  std::size_t partElements = 0;
};

/// Splits a matrix; the parts are scratch memory.
SplitParts split(const MatrixView& matrix, Context& context);

/// Parts as the copy engine sees them: boxes of `columns` columns and `rows` rows of `parts` parts, with the swizzle
/// that the columns fill. Coordinates: column, row, part.
CUtensorMap tensorOf(const SplitParts& parts, unsigned columns, unsigned rows, unsigned partsOfBox);

/// A matrix as it is, likewise: boxes of 32 columns, which fill the swizzle of 128 bytes, and `rows` rows. Part 0 is
/// all.
CUtensorMap tensorOf(const MatrixView& matrix, unsigned rows);

/// Patches of pixels in parts: boxes of 64 channels of one tap of so many outputs. Coordinates: channel, x, y and image
/// of the first output's corner, and distances in x and y from there; the images of the second part follow those of the
/// first.
CUtensorMap tensorOf(const SplitParts& pixels, const PatchWalk& walk, unsigned outputs);

/// Patches of pixels as they are: boxes of 32 channels.
CUtensorMap tensorOf(const MatrixView& pixels, const PatchWalk& walk, unsigned outputs);

/// Whether the copy engine can read a matrix as it is.
bool isCopyable(const MatrixView& matrix);

/// Why the copy engine cannot walk so; nullptr: it can.
const char* refusesWalk(const PatchWalk& walk);

}  // namespace metalloid::cuda
