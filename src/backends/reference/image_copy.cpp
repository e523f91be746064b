#include "operations/image_copy.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

namespace metalloid::reference {

void run(const operations::ImageCopy& operation) {
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const bool isThere = c < operation.source.channels;
    const auto sourceY = static_cast<std::ptrdiff_t>(y) + operation.offsetY;
    const auto sourceX = static_cast<std::ptrdiff_t>(x) + operation.offsetX;
    set(operation.result, n, y, x, c, isThere ? at(operation.source, operation.edgeMode, n, sourceY, sourceX, c) : 0);
  });
}

void run(const operations::ImageFill& operation) {
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(operation.result, n, y, x, c, operation.value);
  });
}

void run(const operations::NNReshape& operation) {
  const auto& source = operation.source;
  const auto& result = operation.result;
  forEachElement(result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const std::size_t element = (y * result.width + x) * result.channels + c;
    const std::size_t pixel = element / source.channels;
    set(result, n, y, x, c, at(source, n, pixel / source.width, pixel % source.width, element % source.channels));
  });
}

}  // namespace metalloid::reference
