// CNNSubPixel: a row of a block is one run of channels in the source, and of pixels in the result.

#include "operations/cnn_convolution.hpp"

#include "backends/cpu/kernels.hpp"

// Compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/cnn_sub_pixel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {
namespace {

void convertElements(const std::byte* from, DataType fromType, std::byte* to, DataType toType, std::size_t count) {
  alignas(64) float values[kSegment];
  for (std::size_t i = 0; i < count; i += kSegment) {
    const std::size_t some = std::min(kSegment, count - i);
    toFloats(from + i * sizeOfDataType(fromType), fromType, some, values);
    fromFloats(values, some, toType, to + i * sizeOfDataType(toType));
  }
}

void runSubPixel(const operations::CNNSubPixel& operation, Context& context) {
  const auto &source = operation.source, &result = operation.result;
  const std::size_t r = operation.factor;
  const std::size_t sourceSize = sizeOfDataType(source.type), resultSize = sizeOfDataType(result.type);
  const bool isPacked = result.pixelBytes == result.channels * resultSize;
  const auto row = [&](std::size_t index) {
    const std::size_t n = index / result.height, y = index % result.height;
    for (std::size_t x = 0; x < result.width; x += isPacked ? r : 1) {
      const std::size_t first = result.channels * (r * (y % r) + x % r);
      const std::size_t pixels = isPacked ? std::min(r, result.width - x) : 1;
      convertElements(source.pixel(n, y / r, x / r) + first * sourceSize, source.type, result.pixel(n, y, x),
                      result.type, pixels * result.channels);
    }
  };
  context.pool.parallelFor(result.images * result.height, row);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalloid::cpu {

HWY_EXPORT(runSubPixel);

void runSimd(const operations::CNNSubPixel& operation, Context& context) {
  HWY_DYNAMIC_DISPATCH(runSubPixel)(operation, context);
}

}  // namespace metalloid::cpu
#endif  // HWY_ONCE
