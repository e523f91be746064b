#include "backends/cuda/pixel_matrix.cuh"

#include "backends/cuda/divider.cuh"

namespace metalloid::cuda {
namespace {

/// The distance between pixels, if all of them stand at one distance; else 0.
std::size_t pixelDistance(const ImageView& images) {
  const bool isWide = images.width > 1, isHigh = images.height > 1, isBatch = images.images > 1;
  if (isBatch && !images.addresses.empty()) return 0;
  const std::size_t distance = isWide    ? images.pixelBytes
                               : isHigh  ? images.rowBytes
                               : isBatch ? images.imageBytes
                                         : images.channels * sizeOf(images.type);
  if (isHigh && images.rowBytes != images.width * distance) return 0;
  if (isBatch && images.imageBytes != images.pixels() * distance) return 0;
  return distance;
}

/// Whether tap t of output o stands on pixel o + t, inside: what an axis of one tap or of one output may do.
bool isStraight(const WindowAxis& axis, std::size_t outputs, std::size_t size) {
  if (axis.base != 0 || axis.divisor != 1) return false;
  if (outputs > 1 && axis.step != 1) return false;
  if (axis.taps > 1 && axis.tapStep != 1) return false;
  return outputs + axis.taps - 1 == size;
}

}  // namespace

MatrixView scratchMatrix(std::size_t rows, std::size_t columns, Context& context) {
  const std::size_t rowBytes = (columns * sizeof(float) + 15) / 16 * 16;
  return {.data = context.scratch<std::byte>(rows * rowBytes), .rows = rows, .columns = columns, .rowBytes = rowBytes};
}

MatrixView matrixOf(const ImageView& images) {
  const std::size_t distance = pixelDistance(images);
  if (images.type != DataType::float32 || distance == 0) return {};
  return {.data = images.image(0),
          .rows = images.images * images.pixels(),
          .columns = images.channels,
          .rowBytes = distance};
}

Images imagesOf(const MatrixView& pixels, const Images& shape) {
  Images images = shape;
  images.data = pixels.data;
  images.addresses = nullptr;
  images.pixelBytes = pixels.rowBytes;
  images.rowBytes = shape.width * images.pixelBytes;
  images.imageBytes = shape.height * images.rowBytes;
  images.type = pixels.type;
  return images;
}

MatrixView pixelMatrix(const ImageView& view, Context& context) {
  if (const MatrixView direct = matrixOf(view)) return direct;
  const MatrixView matrix = scratchMatrix(view.images * view.pixels(), view.channels, context);
  const Images source = imagesOf(view, context), copy = imagesOf(matrix, source);
  forEachElement(context, source, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(copy, n, y, x, c, at(source, n, y, x, c));
  });
  return matrix;
}

MatrixView patchesInPlace(const ImageView& source, const Patches& patches) {
  if (patches.channels != source.channels || source.type != DataType::float32) return {};
  if (!isStraight(patches.window.y, patches.height, source.height)) return {};
  if (!isStraight(patches.window.x, patches.width, source.width)) return {};
  if (patches.taps() == 1) return matrixOf(source);
  // One patch an image: all of it, if its elements follow each other.
  if (patches.height * patches.width != 1 || !source.isPacked()) return {};
  if (source.images > 1 && !source.addresses.empty()) return {};
  const std::size_t columns = patches.taps() * source.channels;
  return {.data = source.image(0),
          .rows = source.images,
          .columns = columns,
          .rowBytes = source.images > 1 ? source.imageBytes : columns * sizeof(float)};
}

namespace {

/// Windows in 32-bit numbers.
struct SmallAxis {
  int taps, step, base, tapStep;

  __device__ int position(int output, int tap) const { return step * output + base + tapStep * tap; }
};

bool isSmall(const WindowAxis& axis, std::size_t outputs) {
  constexpr std::ptrdiff_t kLimit = std::ptrdiff_t{1} << 28;
  const auto fits = [](std::ptrdiff_t value) { return -kLimit < value && value < kLimit; };
  return axis.divisor == 1 && fits(axis.base) && fits(axis.step) && fits(axis.tapStep) &&
         fits(static_cast<std::ptrdiff_t>(outputs)) && fits(static_cast<std::ptrdiff_t>(axis.taps)) &&
         fits(axis.step * static_cast<std::ptrdiff_t>(outputs)) &&
         fits(axis.tapStep * static_cast<std::ptrdiff_t>(axis.taps));
}

SmallAxis smallOf(const WindowAxis& axis) {
  return {static_cast<int>(axis.taps), static_cast<int>(axis.step), static_cast<int>(axis.base),
          static_cast<int>(axis.tapStep)};
}

/// The usual windows over images of float32; all counts fit 31 bits.
struct SmallPatches {
  SmallAxis y, x;
  ImageEdgeMode edgeMode;
  Divider outputs, width;  // of an image
  Divider tapsX;
  Divider rowPacks;  // of the matrix
  Divider channels;  // of a pixel: packs or elements
  std::uint32_t rows, columns, threads;
  std::size_t firstByte;
};

constexpr int kPatchRows = 4;  // that a thread gathers: what it knows of its columns serves them all

/// A thread for each pack of four elements of a row, and for kPatchRows rows. Packed: they are four channels of one
/// pixel; otherwise they may belong to different taps, and what fills up the last pack of a row is zero.
template <bool kIsPacked>
__global__ void __launch_bounds__(256)
    patchKernel(const __grid_constant__ Images source, const __grid_constant__ SmallPatches p, std::byte* matrix,
                std::size_t rowBytes) {
  waitForFormer();
  constexpr int kParts = kIsPacked ? 1 : 4;
  using Part = Channels<4 / kParts>;
  struct alignas(16) Pack {
    Part part[kParts];
  };
  const int height = static_cast<int>(source.height), width = static_cast<int>(source.width);
  for (std::uint32_t e = blockIdx.x * blockDim.x + threadIdx.x; e < p.threads; e += gridDim.x * blockDim.x) {
    const Divider::Result place = p.rowPacks(e);
    int tapY[kParts], tapX[kParts];
    std::uint32_t channel[kParts];
    bool isColumn[kParts];
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
      const std::uint32_t column = place.remainder * kParts + static_cast<std::uint32_t>(k);
      const Divider::Result tap = p.channels(column), rowOfTaps = p.tapsX(tap.quotient);
      tapY[k] = p.y.position(0, static_cast<int>(rowOfTaps.quotient));
      tapX[k] = p.x.position(0, static_cast<int>(rowOfTaps.remainder));
      channel[k] = tap.remainder;
      isColumn[k] = kIsPacked || column < p.columns;
    }
    Pack packs[kPatchRows];
    const std::uint32_t first = place.quotient * kPatchRows;
#pragma unroll
    for (std::uint32_t r = 0; r < kPatchRows; ++r) {
      const Divider::Result output = p.outputs(first + r), pixel = p.width(output.remainder);
      const bool isRow = first + r < p.rows;
      const std::byte* const image = source.address(isRow ? output.quotient : 0, 0, 0, 0) + p.firstByte;
#pragma unroll
      for (int k = 0; k < kParts; ++k) {
        int y = p.y.step * static_cast<int>(pixel.quotient) + tapY[k];
        int x = p.x.step * static_cast<int>(pixel.remainder) + tapX[k];
        if (p.edgeMode == ImageEdgeMode::clamp) {
          y = min(max(y, 0), height - 1);
          x = min(max(x, 0), width - 1);
        }
        const bool isInside = (y >= 0) & (y < height) & (x >= 0) & (x < width);
        const std::byte* const from =
            image + static_cast<std::uint32_t>(y) * source.rowBytes + static_cast<std::uint32_t>(x) * source.pixelBytes;
        Part part{};
        if (isRow & isColumn[k] & isInside) part = reinterpret_cast<const Part*>(from)[channel[k]];
        packs[r].part[k] = part;
      }
    }
#pragma unroll
    for (std::uint32_t r = 0; r < kPatchRows; ++r) {
      if (first + r < p.rows) reinterpret_cast<Pack*>(matrix + (first + r) * rowBytes)[place.remainder] = packs[r];
    }
  }
}

/// False where the counts are too large or the images of another kind.
bool gatherSmall(const ImageView& view, const Patches& patches, const MatrixView& matrix, Context& context) {
  const std::size_t rowPacks = matrix.rowBytes / sizeof(float4);
  const std::size_t threads = (matrix.rows + kPatchRows - 1) / kPatchRows * rowPacks;
  constexpr std::size_t kLimit = std::size_t{1} << 30;
  if (view.type != DataType::float32 || matrix.rows * rowPacks >= kLimit || threads == 0) return false;
  if (view.width >= 1u << 28 || view.height >= 1u << 28) return false;
  if (!isSmall(patches.window.y, patches.height) || !isSmall(patches.window.x, patches.width)) return false;
  const std::size_t firstByte = patches.firstChannel * sizeof(float);
  const bool isPacked =
      view.addresses.empty() && patches.channels % 4 == 0 &&
      ((reinterpret_cast<std::uintptr_t>(view.data) | view.pixelBytes | view.rowBytes | view.imageBytes | firstByte) %
       sizeof(float4)) == 0;
  const auto divider = [](std::size_t divisor) { return Divider(static_cast<std::uint32_t>(divisor)); };
  const SmallPatches p{.y = smallOf(patches.window.y),
                       .x = smallOf(patches.window.x),
                       .edgeMode = patches.edgeMode,
                       .outputs = divider(patches.height * patches.width),
                       .width = divider(patches.width),
                       .tapsX = divider(patches.window.x.taps),
                       .rowPacks = divider(rowPacks),
                       .channels = divider(isPacked ? patches.channels / 4 : patches.channels),
                       .rows = static_cast<std::uint32_t>(matrix.rows),
                       .columns = static_cast<std::uint32_t>(matrix.columns),
                       .threads = static_cast<std::uint32_t>(threads),
                       .firstByte = firstByte};
  context.launchEarly(isPacked ? patchKernel<true> : patchKernel<false>, blocksFor(threads, 256, 1u << 20), 256,
                      imagesOf(view, context), p, matrix.data, matrix.rowBytes);
  return true;
}

}  // namespace

MatrixView patchMatrix(const ImageView& view, const Patches& patches, Context& context) {
  if (const MatrixView direct = patchesInPlace(view, patches)) return direct;
  const std::size_t outputs = patches.height * patches.width, taps = patches.taps();
  const MatrixView matrix = scratchMatrix(view.images * outputs, taps * patches.channels, context);
  if (gatherSmall(view, patches, matrix, context)) return matrix;
  const Images source = imagesOf(view, context);
  // The outputs of an image as rows, the taps as columns, to walk over all elements.
  const Images walk{.images = view.images, .height = outputs, .width = taps, .channels = patches.channels};
  const Patches p = patches;
  forEachElement(context, walk, [=] __device__(std::size_t n, std::size_t output, std::size_t tap, std::size_t c) {
    const auto j = static_cast<std::uint32_t>(output) / static_cast<std::uint32_t>(p.width);
    const auto q = static_cast<std::uint32_t>(tap) / static_cast<std::uint32_t>(p.window.x.taps);
    const auto y = p.window.y.position(j, q);
    const auto x = p.window.x.position(output - j * p.width, tap - q * p.window.x.taps);
    const double value = y && x ? at(source, p.edgeMode, n, *y, *x, p.firstChannel + c) : 0;
    reinterpret_cast<float*>(matrix.data + (n * walk.height + output) * matrix.rowBytes)[tap * p.channels + c] =
        static_cast<float>(value);
  });
  return matrix;
}

namespace {

/// The outputs that read pixels under the usual windows: at most one for each tap.
struct SmallTarget {
  SmallAxis y, x;
  int height, width;  // of the outputs
  int firstY, firstX, sourceHeight, sourceWidth;
  std::uint32_t packs;
  std::size_t firstByte;

  /// The output whose tap reads a pixel, or -1.
  __device__ static int output(const SmallAxis& axis, int pixel, int tap, int outputs) {
    const int distance = pixel - axis.base - axis.tapStep * tap;
    if (distance < 0) return -1;
    const int o = axis.step == 1 ? distance : distance / axis.step;
    return o < outputs && o * axis.step == distance ? o : -1;
  }
};

struct Sum4 {
  double x = 0, y = 0, z = 0, w = 0;
};

constexpr int kTapsAtOnce = 5;  // loads in flight

/// Four channels of a pixel a thread; `walk` has the result's shape, with packs for channels.
__global__ void addPatchesKernel(const __grid_constant__ Images walk, const __grid_constant__ SmallTarget t,
                                 const std::byte* matrix, std::size_t rowBytes) {
  waitForFormer();
  const std::size_t elements = walk.elements(), stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t e = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; e < elements; e += stride) {
    const Place place = placeOf(walk, e, true);
    const int y = static_cast<int>(place.y) + t.firstY, x = static_cast<int>(place.x) + t.firstX;
    Sum4 sum{};
    if (y < t.sourceHeight && x < t.sourceWidth) {
      const std::byte* const outputs = matrix + place.n * t.height * t.width * rowBytes + place.c * sizeof(float4);
      for (int q = 0; q < t.y.taps; ++q) {
        const int j = SmallTarget::output(t.y, y, q, t.height);
        if (j < 0) continue;
        for (int p = 0; p < t.x.taps; p += kTapsAtOnce) {
          float4 parts[kTapsAtOnce];
#pragma unroll
          for (int k = 0; k < kTapsAtOnce; ++k) {
            const int i = p + k < t.x.taps ? SmallTarget::output(t.x, x, p + k, t.width) : -1;
            const std::uint32_t row = static_cast<std::uint32_t>(j * t.width + i);
            const std::uint32_t tap = static_cast<std::uint32_t>(q * t.x.taps + p + k);
            parts[k] = float4{};
            if (i >= 0) parts[k] = reinterpret_cast<const float4*>(outputs + row * rowBytes)[tap * t.packs];
          }
#pragma unroll
          for (const float4& part : parts) {
            sum.x += double{part.x};
            sum.y += double{part.y};
            sum.z += double{part.z};
            sum.w += double{part.w};
          }
        }
      }
    }
    std::byte* const to = walk.address(place.n, place.y, place.x, 0) + t.firstByte;
    reinterpret_cast<float4*>(to)[place.c] = {static_cast<float>(sum.x), static_cast<float>(sum.y),
                                              static_cast<float>(sum.z), static_cast<float>(sum.w)};
  }
}

/// False where a window, a size or the images are of another kind.
bool addSmall(const MatrixView& matrix, const Patches& patches, const PatchTarget& target, Context& context) {
  const ImageView& result = target.result;
  constexpr std::size_t kLimit = std::size_t{1} << 28;
  if (patches.edgeMode != ImageEdgeMode::zero || result.type != DataType::float32 || !result.addresses.empty() ||
      patches.channels % 4 != 0 || result.images * result.pixels() * patches.channels >= std::size_t{1} << 31) {
    return false;
  }
  if (matrix.rows * matrix.columns >= std::size_t{1} << 31) return false;
  if (!isSmall(patches.window.y, patches.height) || !isSmall(patches.window.x, patches.width)) return false;
  if (patches.window.y.step < 1 || patches.window.x.step < 1) return false;
  for (const std::size_t size : {target.sourceHeight, target.sourceWidth, target.resultY, target.resultX}) {
    if (size >= kLimit) return false;
  }
  const std::size_t firstByte = patches.firstChannel * sizeof(float);
  if ((reinterpret_cast<std::uintptr_t>(result.data) | result.pixelBytes | result.rowBytes | result.imageBytes |
       firstByte) %
          sizeof(float4) !=
      0) {
    return false;
  }
  const SmallTarget t{.y = smallOf(patches.window.y),
                      .x = smallOf(patches.window.x),
                      .height = static_cast<int>(patches.height),
                      .width = static_cast<int>(patches.width),
                      .firstY = static_cast<int>(target.resultY),
                      .firstX = static_cast<int>(target.resultX),
                      .sourceHeight = static_cast<int>(target.sourceHeight),
                      .sourceWidth = static_cast<int>(target.sourceWidth),
                      .packs = static_cast<std::uint32_t>(patches.channels / 4),
                      .firstByte = firstByte};
  Images walk = imagesOf(result, context);
  walk.channels = t.packs;
  if (walk.elements() == 0) return true;
  context.launchEarly(addPatchesKernel, blocksFor(walk.elements(), 256, 1u << 20), 256, walk, t, matrix.data,
                      matrix.rowBytes);
  return true;
}

}  // namespace

void addPatches(const MatrixView& matrix, const Patches& patches, const PatchTarget& target, Context& context) {
  if (addSmall(matrix, patches, target, context)) return;
  const Images result = imagesOf(target.result, context);
  Images walk = result;
  walk.channels = patches.channels;
  const Patches p = patches;
  const std::size_t height = target.sourceHeight, width = target.sourceWidth;
  const std::size_t firstY = target.resultY, firstX = target.resultX;
  forEachElement(context, walk, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    double sum = 0;
    if (v + firstY < height && u + firstX < width) {
      const ReversedWindow reversed{p.window, p.edgeMode, height, width, p.height, p.width};
      reversed.forEachReader(v + firstY, u + firstX, [&](std::size_t q, std::size_t t, std::size_t j, std::size_t i) {
        const std::byte* const row = matrix.data + ((n * p.height + j) * p.width + i) * matrix.rowBytes;
        sum += reinterpret_cast<const float*>(row)[(q * p.window.x.taps + t) * p.channels + c];
      });
    }
    set(result, n, v, u, p.firstChannel + c, sum);
  });
}

}  // namespace metalloid::cuda
