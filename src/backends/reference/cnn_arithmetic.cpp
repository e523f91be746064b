#include "operations/cnn_arithmetic.hpp"

#include "backends/reference/elements.hpp"
#include "backends/reference/kernels.hpp"

#include <vector>

namespace metalloid::reference {
namespace {

using operations::Broadcast;
using operations::ImageView;

double broadcast(const ImageView& view, const Broadcast& stride, std::size_t n, std::size_t y, std::size_t x,
                 std::size_t c) {
  return at(view, n, y * stride.y, x * stride.x, c * stride.channels);
}

double combine(operations::ArithmeticType type, double primary, double secondary) {
  switch (type) {
    case operations::ArithmeticType::add:
      return primary + secondary;
    case operations::ArithmeticType::subtract:
      return primary - secondary;
    case operations::ArithmeticType::multiply:
      return primary * secondary;
    default:
      return primary / secondary;
  }
}

}  // namespace

void run(const operations::CNNArithmetic& operation) {
  const double minimum = operation.minimumValue, maximum = operation.maximumValue;
  forEachElement(operation.result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const double primary = operation.primaryScale * broadcast(operation.primary, operation.primaryStride, n, y, x, c);
    const double secondary =
        operation.secondaryScale * broadcast(operation.secondary, operation.secondaryStride, n, y, x, c);
    const double value = combine(operation.type, primary, secondary) + operation.bias;
    // Written so that a NaN stays one.
    const double bounded = value < minimum ? minimum : value > maximum ? maximum : value;
    set(operation.result, n, y, x, c, bounded);
    if (operation.mask) operation.mask.pixel(n, y, x)[c] = static_cast<std::byte>(minimum < value && value < maximum);
  });
}

void run(const operations::CNNArithmeticGradient& operation) {
  const auto& result = operation.result;
  const auto& stride = operation.resultStride;
  std::vector<double> sums(result.images * result.pixels() * result.channels);
  const auto sum = [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) -> double& {
    return sums[((n * result.height + y) * result.width + x) * result.channels + c];
  };
  forEachElement(operation.gradient, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    if (operation.mask && operation.mask.pixel(n, y, x)[c] == std::byte{0}) return;
    const double other = operation.other ? broadcast(operation.other, operation.otherStride, n, y, x, c) : 1;
    sum(n, y * stride.y, x * stride.x, c * stride.channels) += at(operation.gradient, n, y, x, c) * other;
  });
  forEachElement(result, [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(result, n, y, x, c, operation.scale * sum(n, y, x, c));
  });
}

}  // namespace metalloid::reference
