#include "backends/cuda/images.cuh"

namespace metalloid::cuda {
namespace {

/// Addresses on their way to the device: as a kernel's argument they need no memory that outlives the launch, in a
/// captured graph neither.
struct Addresses {
  static constexpr std::size_t kMost = 256;
  std::byte* address[kMost];
  unsigned count;
};

__global__ void tableKernel(Addresses addresses, std::byte** table) {
  if (threadIdx.x < addresses.count) table[threadIdx.x] = addresses.address[threadIdx.x];
}

/// Images at equal distances.
Images regularImages(const ImageView& view) {
  return {.data = view.data,
          .images = view.images,
          .height = view.height,
          .width = view.width,
          .channels = view.channels,
          .imageBytes = view.imageBytes,
          .rowBytes = view.rowBytes,
          .pixelBytes = view.pixelBytes,
          .type = view.type};
}

}  // namespace

Images imagesOf(const ImageView& view, Context& context) {
  Images images = regularImages(view);
  if (!view.data || view.addresses.empty()) return images;
  auto** const table = context.scratch<std::byte*>(view.addresses.size());
  for (std::size_t first = 0; first < view.addresses.size(); first += Addresses::kMost) {
    Addresses some{};
    some.count = static_cast<unsigned>(std::min(Addresses::kMost, view.addresses.size() - first));
    std::copy_n(view.addresses.begin() + static_cast<std::ptrdiff_t>(first), some.count, some.address);
    context.launch(tableKernel, 1, Addresses::kMost, some, table + first);
  }
  images.addresses = table;
  return images;
}

FewImages fewImagesOf(const ImageView& view) {
  FewImages few{.images = regularImages(view), .isListed = view.data && !view.addresses.empty()};
  if (few.isListed) std::copy(view.addresses.begin(), view.addresses.end(), few.addresses);
  return few;
}

ImageView imageRange(const ImageView& view, std::size_t first, std::size_t count) {
  ImageView range = view;
  range.images = count;
  range.data = view.image(first);
  if (view.addresses.empty()) return range;
  const auto begin = view.addresses.begin() + static_cast<std::ptrdiff_t>(first);
  range.addresses.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
  return range;
}

}  // namespace metalloid::cuda
