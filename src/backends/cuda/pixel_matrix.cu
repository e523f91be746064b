#include "backends/cuda/pixel_matrix.cuh"

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

MatrixView patchMatrix(const ImageView& view, const Patches& patches, Context& context) {
  if (const MatrixView direct = patchesInPlace(view, patches)) return direct;
  const std::size_t outputs = patches.height * patches.width, taps = patches.taps();
  const MatrixView matrix = scratchMatrix(view.images * outputs, taps * patches.channels, context);
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

void addPatches(const MatrixView& matrix, const Patches& patches, const PatchTarget& target, Context& context) {
  const Images result = imagesOf(target.result, context);
  Images walk = result;
  walk.channels = patches.channels;
  const Patches p = patches;
  const std::size_t height = target.sourceHeight, width = target.sourceWidth;
  const std::size_t firstY = target.resultY, firstX = target.resultX;
  forEachElement(context, walk, [=] __device__(std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
    double sum = 0;
    if (v + firstY < height && u + firstX < width) {
      const Positions rows = positionsOf(v + firstY, height, p.edgeMode);
      const Positions columns = positionsOf(u + firstX, width, p.edgeMode);
      for (std::size_t q = 0; q < p.window.y.taps; ++q) {
        const Outputs js = outputsOf(p.window.y, q, rows, p.height);
        for (std::ptrdiff_t j = js.first; j <= js.last; ++j) {
          for (std::size_t t = 0; t < p.window.x.taps; ++t) {
            const Outputs is = outputsOf(p.window.x, t, columns, p.width);
            for (std::ptrdiff_t i = is.first; i <= is.last; ++i) {
              const std::byte* const row = matrix.data + ((n * p.height + j) * p.width + i) * matrix.rowBytes;
              sum += reinterpret_cast<const float*>(row)[(q * p.window.x.taps + t) * p.channels + c];
            }
          }
        }
      }
    }
    set(result, n, v, u, p.firstChannel + c, sum);
  });
}

}  // namespace metalloid::cuda
