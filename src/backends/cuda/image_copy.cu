#include "operations/image_copy.hpp"

#include "backends/cuda/images.cuh"
#include "backends/cuda/kernels.hpp"

namespace metalloid::cuda {
namespace {

using operations::ImageCopy;
using operations::ImageFill;
using operations::NNReshape;

void runCopy(const ImageCopy& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  const std::ptrdiff_t offsetX = o.offsetX, offsetY = o.offsetY;
  const ImageEdgeMode edgeMode = o.edgeMode;
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const auto sourceY = static_cast<std::ptrdiff_t>(y) + offsetY, sourceX = static_cast<std::ptrdiff_t>(x) + offsetX;
    set(result, n, y, x, c, c < source.channels ? at(source, edgeMode, n, sourceY, sourceX, c) : 0);
  });
}

void runFill(const ImageFill& o, Context& context) {
  const Images result = imagesOf(o.result, context);
  const auto value = static_cast<double>(o.value);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    set(result, n, y, x, c, value);
  });
}

void runReshape(const NNReshape& o, Context& context) {
  const Images source = imagesOf(o.source, context), result = imagesOf(o.result, context);
  forEachElement(context, result, [=] __device__(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
    const std::size_t element = (y * result.width + x) * result.channels + c;
    const Place from = placeOf(source, element, element <= 0xffffffffu);
    set(result, n, y, x, c, at(source, n, from.y, from.x, from.c));
  });
}

}  // namespace

void run(const ImageCopy& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<ImageCopy, runCopy>, operation, context, explainer);
}

void run(const ImageFill& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<ImageFill, runFill>, operation, context, explainer);
}

void run(const NNReshape& operation, Context& context, Explainer* explainer) {
  runOrExplain(kPlainOnly<NNReshape, runReshape>, operation, context, explainer);
}

}  // namespace metalloid::cuda
