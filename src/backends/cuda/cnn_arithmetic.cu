#include "operations/cnn_arithmetic.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::ArithmeticType;
using operations::Broadcast;
using operations::CNNArithmetic;
using operations::CNNArithmeticGradient;

__device__ double broadcast(const Images& images, const Broadcast& stride, std::size_t n, std::size_t y, std::size_t x,
                            std::size_t c) {
  return at(images, n, y * stride.y, x * stride.x, c * stride.channels);
}

__device__ double combine(ArithmeticType type, double primary, double secondary) {
  switch (type) {
    case ArithmeticType::add:
      return primary + secondary;
    case ArithmeticType::subtract:
      return primary - secondary;
    case ArithmeticType::multiply:
      return primary * secondary;
    default:
      return primary / secondary;
  }
}

/// What is left of the operation without its images.
struct Settings {
  ArithmeticType type;
  Broadcast primaryStride, secondaryStride;
  double primaryScale, secondaryScale, bias, minimum, maximum;
};

void runPlain(const CNNArithmetic& o, Context& context) {
  const Images primary = imagesOf(o.primary, context), secondary = imagesOf(o.secondary, context);
  const Images result = imagesOf(o.result, context), mask = imagesOf(o.mask, context);
  const Settings s{
      o.type,         o.primaryStride,        o.secondaryStride,     double{o.primaryScale}, double{o.secondaryScale},
      double{o.bias}, double{o.minimumValue}, double{o.maximumValue}};
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const double p = s.primaryScale * broadcast(primary, s.primaryStride, n, y, x, c);
    const double q = s.secondaryScale * broadcast(secondary, s.secondaryStride, n, y, x, c);
    const double value = combine(s.type, p, q) + s.bias;
    // Written so that a NaN stays one.
    set(result, n, y, x, c, value < s.minimum ? s.minimum : value > s.maximum ? s.maximum : value);
    if (mask.data) *mask.address(n, y, x, c) = static_cast<std::byte>(s.minimum < value && value < s.maximum);
  });
}

/// The part of the gradient that adds up to one element of the result, along one axis.
struct Part {
  std::size_t first, count;
};

__device__ Part partOf(std::size_t resultStride, std::size_t place, std::size_t size) {
  return resultStride ? Part{place, 1} : Part{0, size};
}

struct GradientTerms {
  Images gradient, other, mask;
  Broadcast otherStride;

  __device__ double operator()(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    if (mask.data && *mask.address(n, y, x, c) == std::byte{0}) return 0;
    return at(gradient, n, y, x, c) * (other.data ? broadcast(other, otherStride, n, y, x, c) : 1);
  }
};

/// Each element of the result by itself: without a broadcast there is one term.
void runGradientElements(const CNNArithmeticGradient& o, Context& context) {
  const GradientTerms terms{imagesOf(o.gradient, context), imagesOf(o.other, context), imagesOf(o.mask, context),
                            o.otherStride};
  const Images result = imagesOf(o.result, context);
  const auto scale = static_cast<double>(o.scale);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(result, n, y, x, c, scale * terms(n, y, x, c));
  });
}

/// A warp for each element of the result.
void runGradientWarps(const CNNArithmeticGradient& o, Context& context) {
  const GradientTerms terms{imagesOf(o.gradient, context), imagesOf(o.other, context), imagesOf(o.mask, context),
                            o.otherStride};
  const Images result = imagesOf(o.result, context);
  const Broadcast stride = o.resultStride;
  const auto scale = static_cast<double>(o.scale);
  forEachRow(context, {result.images, result.pixels() * result.channels, 1},
             [=] __device__(std::size_t n, std::size_t element, unsigned lane) {
               const Place to = placeOf(result, element, false);
               const Part rows = partOf(stride.y, to.y, terms.gradient.height);
               const Part columns = partOf(stride.x, to.x, terms.gradient.width);
               const Part channels = partOf(stride.channels, to.c, terms.gradient.channels);
               double sum = 0;
               for (std::size_t e = lane; e < rows.count * columns.count * channels.count; e += 32) {
                 const std::size_t c = e % channels.count, pixel = e / channels.count;
                 sum += terms(n, rows.first + pixel / columns.count, columns.first + pixel % columns.count,
                              channels.first + c);
               }
               sum = warpSum(sum);
               if (lane == 0) set(result, n, to.y, to.x, to.c, scale * sum);
             });
}

const char* refusesElements(const CNNArithmeticGradient& o, const Context&) {
  const bool isFull = o.resultStride == Broadcast{} && o.result.pixels() == o.gradient.pixels() &&
                      o.result.channels == o.gradient.channels;
  return isFull ? nullptr : "it sums over an axis";
}

constexpr std::array<Candidate<CNNArithmeticGradient>, 2> kGradientCandidates = {
    {{"element by element", refusesElements, runGradientElements}, {"warp a sum", acceptsAll, runGradientWarps}}};

}  // namespace

void run(const CNNArithmetic& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<CNNArithmetic, runPlain>, operation, context, explainer);
}

void run(const CNNArithmeticGradient& operation, Context& context, Explainer* explainer) {
  runOrExplain(kGradientCandidates, operation, context, explainer);
}

}  // namespace metalloid::cuda
