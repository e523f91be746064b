#pragma once

#include "backends/cuda/images.cuh"
#include "backends/cuda/packs.cuh"

#include <initializer_list>

/// Images that are one run of elements in memory, sixteen bytes at a time: where an element stands does not matter.
namespace metalloid::cuda {

/// The elements of some sources and of a result of the same shape.
template <int kSources>
struct FlatImages {
  const std::byte* sources[kSources];
  std::byte* result;
  std::uint32_t elements;
};

/// result[e] = body({sources[0][e], sources[1][e], ...}), computed in float32.
template <class T, int kSources, class Body>
__global__ void flatKernel(const __grid_constant__ FlatImages<kSources> images, const __grid_constant__ Body body) {
  waitForFormer();
  constexpr std::uint32_t kSize = Pack<T>::kSize;
  const std::uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, packs = images.elements / kSize;
  for (std::uint32_t p = thread; p < packs; p += gridDim.x * blockDim.x) {
    Pack<T> source[kSources], result;
#pragma unroll
    for (int s = 0; s < kSources; ++s) source[s] = Pack<T>::of(reinterpret_cast<const uint4*>(images.sources[s])[p]);
#pragma unroll
    for (std::uint32_t n = 0; n < kSize; ++n) {
      float x[kSources];
#pragma unroll
      for (int s = 0; s < kSources; ++s) x[s] = source[s].value[n];
      result.value[n] = body(x);
    }
    reinterpret_cast<uint4*>(images.result)[p] = result.bits();
  }
  const std::uint32_t rest = packs * kSize + thread;  // fewer elements than a pack has
  if (rest >= images.elements) return;
  float x[kSources];
#pragma unroll
  for (int s = 0; s < kSources; ++s) x[s] = Pack<T>::toFloat(reinterpret_cast<const T*>(images.sources[s])[rest]);
  reinterpret_cast<T*>(images.result)[rest] = Pack<T>::fromFloat(body(x));
}

template <class T, int kSources, class Body>
void launchFlat(const ImageView* const (&sources)[kSources], const ImageView& result, const Body& body,
                Context& context) {
  const std::size_t elements = result.images * result.pixels() * result.channels;
  if (elements == 0) return;
  FlatImages<kSources> images{};
  for (int s = 0; s < kSources; ++s) images.sources[s] = sources[s]->image(0);
  images.result = result.image(0);
  images.elements = static_cast<std::uint32_t>(elements);
  context.launchEarly(flatKernel<T, kSources, Body>, blocksFor(elements, 256 * Pack<T>::kSize, 1u << 20), 256, images,
                      body);
}

/// Why images cannot be taken as flat ones; nullptr: they can.
inline const char* refusesFlat(std::initializer_list<const ImageView*> views) {
  const ImageView& first = **views.begin();
  if (first.type != DataType::float32 && first.type != DataType::float16) return "the images are of no float type";
  for (const ImageView* view : views) {
    if (view->type != first.type) return "the images are of several types";
    if (!view->isOneBlock()) return "the images are no single block without gaps";
    if (reinterpret_cast<std::uintptr_t>(view->image(0)) % 16 != 0) return "the images are not aligned to 16 bytes";
  }
  return first.images * first.pixels() * first.channels >= std::size_t{1} << 31 ? "there are 2^31 elements or more"
                                                                                : nullptr;
}

}  // namespace metalloid::cuda
