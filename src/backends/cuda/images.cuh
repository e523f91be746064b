#pragma once

#include "backends/cuda/elements.cuh"
#include "operations/image_views.hpp"

#include <metalloid/image_edge_mode.hpp>

/// Element access to images of any format and the loops of their plain kernels.
namespace metalloid::cuda {

using operations::ImageView;

/// An ImageView as kernels see it. The addresses of images that lie anywhere stand in device memory.
struct Images {
  std::byte* data = nullptr;
  std::byte* const* addresses = nullptr;
  std::size_t images = 1;
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t channels = 0;
  std::size_t imageBytes = 0;
  std::size_t rowBytes = 0;
  std::size_t pixelBytes = 0;
  DataType type = DataType::float32;

  __host__ __device__ std::size_t pixels() const { return height * width; }
  __host__ __device__ std::size_t elements() const { return images * height * width * channels; }

  __device__ std::byte* address(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    std::byte* const image = addresses ? addresses[n] : data + n * imageBytes;
    return image + y * rowBytes + x * pixelBytes + c * sizeOf(type);
  }
};

/// For the kernels that are launched next: the table of addresses, if there must be one, is scratch memory.
Images imagesOf(const ImageView& view, Context& context);

/// A few images as an argument of a kernel, which must be a grid constant: images that lie anywhere have their
/// addresses in it, where a table in device memory would take a launch of its own.
struct FewImages {
  static constexpr std::size_t kMost = 256;

  Images images;
  bool isListed = false;
  std::byte* addresses[kMost] = {};

  __device__ Images get() const {
    Images result = images;
    if (isListed) result.addresses = addresses;
    return result;
  }
};

inline bool areFew(const ImageView& view) { return view.addresses.size() <= FewImages::kMost; }

FewImages fewImagesOf(const ImageView& view);

/// Whether threads can take four neighbouring channels of every pixel at once: float32, aligned, at known distances.
inline bool isInFours(const ImageView& view) {
  return view.type == DataType::float32 && view.channels % 4 == 0 && view.addresses.empty() &&
         (reinterpret_cast<std::uintptr_t>(view.data) | view.pixelBytes | view.rowBytes | view.imageBytes) % 16 == 0;
}

/// Images `first` to `first + count - 1` of a batch.
ImageView imageRange(const ImageView& view, std::size_t first, std::size_t count);

__device__ inline double at(const Images& images, std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
  return load(images.address(n, y, x, c), images.type);
}

/// The same for optional images, or what they stand for.
__device__ inline double atOr(const Images& images, std::size_t n, std::size_t y, std::size_t x, std::size_t c,
                              double absent) {
  return images.data ? at(images, n, y, x, c) : absent;
}

/// The same for a pixel that may lie outside: what the edge mode says.
__device__ inline double at(const Images& images, ImageEdgeMode edgeMode, std::size_t n, std::ptrdiff_t y,
                            std::ptrdiff_t x, std::size_t c) {
  const auto height = static_cast<std::ptrdiff_t>(images.height), width = static_cast<std::ptrdiff_t>(images.width);
  if (edgeMode == ImageEdgeMode::clamp) {
    y = min(max(y, std::ptrdiff_t{0}), height - 1);
    x = min(max(x, std::ptrdiff_t{0}), width - 1);
  } else if (y < 0 || y >= height || x < 0 || x >= width) {
    return 0;
  }
  return at(images, n, static_cast<std::size_t>(y), static_cast<std::size_t>(x), c);
}

__device__ inline void set(const Images& images, std::size_t n, std::size_t y, std::size_t x, std::size_t c,
                           double value) {
  store(images.address(n, y, x, c), images.type, value);
}

/// The place of an element.
struct Place {
  std::size_t n, y, x, c;
};

/// Element e of images in the order [n][y][x][c].
__device__ inline Place placeOf(const Images& images, std::size_t e, bool isSmall) {
  if (isSmall) {  // 64-bit divisions cost many times as much
    const auto element = static_cast<std::uint32_t>(e), channels = static_cast<std::uint32_t>(images.channels);
    const auto width = static_cast<std::uint32_t>(images.width), height = static_cast<std::uint32_t>(images.height);
    const std::uint32_t pixel = element / channels, row = pixel / width, n = row / height;
    return {n, row - n * height, pixel - row * width, element - pixel * channels};
  }
  const std::size_t pixel = e / images.channels, row = pixel / images.width;
  return {row / images.height, row % images.height, pixel % images.width, e % images.channels};
}

template <class Body>
__global__ void imageElementKernel(Images images, const __grid_constant__ Body body) {
  waitForFormer();
  const std::size_t elements = images.elements(), stride = std::size_t{gridDim.x} * blockDim.x;
  const bool isSmall = elements <= 0xffffffffu;
  for (std::size_t e = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; e < elements; e += stride) {
    const Place place = placeOf(images, e, isSmall);
    body(place.n, place.y, place.x, place.c);
  }
}

/// body(n, y, x, c) for every element, in any order.
template <class Body>
void forEachElement(Context& context, const Images& images, const Body& body) {
  if (images.elements() == 0) return;
  context.launchEarly(imageElementKernel<Body>, blocksFor(images.elements(), 256, 1u << 20), 256, images, body);
}

/// Neighbouring channels of a pixel of float32 that one thread takes at once.
template <int kCount>
struct alignas(kCount * sizeof(float)) Channels {
  float value[kCount];
};

/// body(n, y, x, c) for every kCount-th channel of images, in any order.
template <int kCount, class Body>
void forEachChannels(Context& context, const Images& images, const Body& body) {
  Images groups = images;
  groups.channels /= kCount;
  forEachElement(context, groups, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t group) {
    body(n, y, x, group * kCount);
  });
}

/// body(n, y, x, lane) with one warp for every pixel.
template <class Body>
void forEachPixel(Context& context, const Images& images, const Body& body) {
  const std::size_t width = images.width;
  forEachRow(
      context, {images.images, images.pixels(), 1},
      [=] __device__(std::size_t n, std::size_t pixel, unsigned lane) { body(n, pixel / width, pixel % width, lane); });
}

/// Rows of channels, in slices of equal length: the pixels of a batch, or those of each image by itself.
struct ChannelRows {
  std::size_t slices = 1;
  std::size_t rows = 0;
  std::size_t channels = 0;
};

/// The first kernel of forEachChannelSum. Threads of a block stand in `width` columns; each adds every
/// (blockDim.x / width)-th row of the block's chunk.
template <class Value, class Store>
__global__ void channelSumKernel(ChannelRows shape, std::size_t firstSlice, std::size_t chunkRows, unsigned width,
                                 double2* partials, const __grid_constant__ Value value,
                                 const __grid_constant__ Store store) {
  waitForFormer();
  __shared__ double2 shared[256];
  const unsigned column = threadIdx.x % width, step = blockDim.x / width;
  const std::size_t slice = firstSlice + blockIdx.z, c = std::size_t{blockIdx.x} * width + column;
  const std::size_t begin = blockIdx.y * chunkRows, end = min(begin + chunkRows, shape.rows);
  double2 sum = {0, 0};
  if (c < shape.channels) {
    for (std::size_t r = begin + threadIdx.x / width; r < end; r += step) {
      const double2 term = value(slice, r, c);
      sum.x += term.x;
      sum.y += term.y;
    }
  }
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x >= width || c >= shape.channels) return;
  for (unsigned t = 1; t < step; ++t) {
    sum.x += shared[t * width + column].x;
    sum.y += shared[t * width + column].y;
  }
  if (partials) {
    partials[(slice * shape.channels + c) * gridDim.y + blockIdx.y] = sum;
  } else {
    store(slice, c, sum);
  }
}

/// store(slice, c, the sum over the rows r of value(slice, r, c)); sums come in pairs of double precision. Chunks of
/// rows are added by blocks, and chunks by a warp, in an order that only the shape and the device decide.
template <class Value, class Store>
void forEachChannelSum(Context& context, const ChannelRows& shape, const Value& value, const Store& store) {
  if (shape.slices * shape.channels == 0) return;
  unsigned width = 1;
  while (width < 32 && width < shape.channels) width *= 2;
  const std::size_t strips = (shape.channels + width - 1) / width, rowsAtOnce = 256 / width;
  // Enough blocks to fill the device, of enough rows each to be worth starting.
  constexpr std::size_t kRowsEach = 8, kMostSlices = 32768;
  const std::size_t wanted = static_cast<std::size_t>(context.multiprocessors) * 8 / (strips * shape.slices) + 1;
  const std::size_t most = shape.rows / (rowsAtOnce * kRowsEach) + 1;
  const std::size_t atLeast = (shape.rows + std::min(wanted, most) - 1) / std::min(wanted, most);
  const std::size_t chunkRows = std::max<std::size_t>(1, atLeast);
  const auto chunks = static_cast<unsigned>(std::max<std::size_t>(1, (shape.rows + chunkRows - 1) / chunkRows));
  double2* const partials = chunks > 1 ? context.scratch<double2>(chunks * shape.slices * shape.channels) : nullptr;
  for (std::size_t first = 0; first < shape.slices; first += kMostSlices) {  // the grid's limit
    const auto slices = static_cast<unsigned>(std::min(kMostSlices, shape.slices - first));
    context.launchEarly(channelSumKernel<Value, Store>, dim3(static_cast<unsigned>(strips), chunks, slices), 256, shape,
                        first, chunkRows, width, partials, value, store);
  }
  if (!partials) return;
  const std::size_t channels = shape.channels;
  forEachRow(context, {shape.slices, channels, 1}, [=] __device__(std::size_t slice, std::size_t c, unsigned lane) {
    double2 sum = {0, 0};
    for (unsigned chunk = lane; chunk < chunks; chunk += 32) {
      const double2 part = partials[(slice * channels + c) * chunks + chunk];
      sum.x += part.x;
      sum.y += part.y;
    }
    sum = {warpSum(sum.x), warpSum(sum.y)};
    if (lane == 0) store(slice, c, sum);
  });
}

}  // namespace metalloid::cuda
