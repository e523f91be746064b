#pragma once

#include "operations/image_views.hpp"
#include "operations/views.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

/// Images as matrices, for kernels that look at one pixel: a row for each pixel, a column for each channel.
namespace metalloid::cpu {

namespace detail {

inline operations::MatrixView matrixOf(const operations::ImageView& view, std::byte* data, std::size_t rows,
                                       std::size_t matrices) {
  return {.data = data,
          .rows = rows,
          .columns = view.channels,
          .rowBytes = view.pixelBytes,
          .matrices = matrices,
          .matrixBytes = view.imageBytes,
          .type = view.type};
}

/// Pixel follows pixel through all rows of an image.
inline bool hasEvenPixels(const operations::ImageView& view) {
  return view.height <= 1 || view.rowBytes == view.width * view.pixelBytes;
}

/// Pixel follows pixel through all images.
inline bool isEven(const operations::ImageView& view) {
  return hasEvenPixels(view) &&
         (view.images <= 1 || (view.addresses.empty() && view.imageBytes == view.pixels() * view.pixelBytes));
}

}  // namespace detail

/// Calls f with views of one size as matrices, in as few calls as their storage allows: one for a batch in one block,
/// else one for each image or each row of pixels.
template <class F, class... Views>
void forEachMatrix(F&& f, const operations::ImageView& first, const Views&... rest) {
  const auto all = [&](auto&& test) { return test(first) && (test(rest) && ...); };
  if (all([](const auto& view) { return detail::isEven(view); })) {
    const std::size_t rows = first.images * first.pixels();
    f(detail::matrixOf(first, first.data, rows, 1), detail::matrixOf(rest, rest.data, rows, 1)...);
    return;
  }
  const bool wholeImages = all([](const auto& view) { return detail::hasEvenPixels(view); });
  for (std::size_t n = 0; n < first.images; ++n) {
    if (wholeImages) {
      f(detail::matrixOf(first, first.image(n), first.pixels(), 1),
        detail::matrixOf(rest, rest.image(n), first.pixels(), 1)...);
      continue;
    }
    for (std::size_t y = 0; y < first.height; ++y) {
      f(detail::matrixOf(first, first.pixel(n, y, 0), first.width, 1),
        detail::matrixOf(rest, rest.pixel(n, y, 0), first.width, 1)...);
    }
  }
}

/// The calls of `forEachMatrix`, for kernels that go over them more than once.
template <class... Views>
std::vector<std::array<operations::MatrixView, sizeof...(Views)>> partsOf(const Views&... views) {
  std::vector<std::array<operations::MatrixView, sizeof...(Views)>> parts;
  forEachMatrix([&](const auto&... matrices) { parts.push_back({matrices...}); }, views...);
  return parts;
}

/// The rows of each part.
template <class Parts>
std::size_t rowsOf(const Parts& parts) {
  return parts.empty() ? 0 : parts.front().front().rows;
}

/// Image n alone.
inline operations::ImageView imageOf(const operations::ImageView& view, std::size_t n) {
  operations::ImageView one = view;
  one.data = view.image(n);
  one.images = 1;
  one.addresses.clear();
  return one;
}

/// A packed matrix as one long row, for kernels that treat every element alike; others as they are.
inline operations::MatrixView flattened(operations::MatrixView view, bool possible) {
  if (!possible) return view;
  view.columns *= view.rows;
  view.rows = std::min<std::size_t>(view.rows, 1);
  view.rowBytes = view.columns * sizeOfDataType(view.type);
  return view;
}

inline bool isPacked(const operations::MatrixView& view) {
  return view.rowBytes == view.columns * sizeOfDataType(view.type);
}

}  // namespace metalloid::cpu
