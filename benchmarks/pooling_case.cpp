// Pooling over images. Sizes: images x height x width x channels; words kernel=K, stride=S, padding=P, max or average.
// The result has floor((size + 2P - K) / S) + 1 pixels; an average divides by the pixels inside the image.

#include <algorithm>
#include <memory>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

struct Shape {
  std::size_t images, height, width, channels, kernel, stride, padding;
  bool isMax;

  explicit Shape(const Problem& problem) {
    problem.requireSizes(4);
    images = problem.sizes[0], height = problem.sizes[1], width = problem.sizes[2], channels = problem.sizes[3];
    kernel = problem.number("kernel", 2), stride = problem.number("stride", kernel);
    padding = problem.number("padding", 0);
    isMax = !problem.has("average");
  }
  std::size_t pixels(std::size_t size) const { return (size + 2 * padding - kernel) / stride + 1; }
  std::vector<std::size_t> sourceShape() const { return {images, height, width, channels}; }
  std::vector<std::size_t> resultShape() const { return {images, pixels(height), pixels(width), channels}; }
  Offset offset() const {
    const auto centre = static_cast<std::ptrdiff_t>(kernel / 2) - static_cast<std::ptrdiff_t>(padding);
    return {centre, centre, 0};
  }
  CNNPooling::Descriptor descriptor() const {
    return {.kernelWidth = kernel, .kernelHeight = kernel, .strideInPixelsX = stride, .strideInPixelsY = stride};
  }
};

template <class K>
std::shared_ptr<CNNPooling> configured(const Device& device, const Shape& shape) {
  auto kernel = std::make_shared<K>(device, shape.descriptor());
  kernel->offset = shape.offset();
  kernel->edgeMode = ImageEdgeMode::clamp;
  return kernel;
}

std::shared_ptr<CNNPooling> forwardKernel(const Device& device, const Shape& shape) {
  return shape.isMax ? configured<CNNPoolingMax>(device, shape) : configured<CNNPoolingAverage>(device, shape);
}

std::shared_ptr<CNNPoolingGradient> gradientKernel(const Device& device, const Shape& shape) {
  if (shape.isMax) return std::make_shared<CNNPoolingMaxGradient>(device, shape.descriptor());
  return std::make_shared<CNNPoolingAverageGradient>(device, shape.descriptor());
}

/// Some images of a batch on the reference device.
ImageBatch onReference(const Device& reference, const ImageBatch& images, const std::vector<std::size_t>& chosen) {
  ImageBatch batch;
  for (const std::size_t n : chosen) {
    const Image image(reference, images[n].descriptor());
    image.write(images[n].read<float>());
    batch.push_back(image);
  }
  return batch;
}

ImageBatch emptyLike(const Device& reference, const ImageBatch& images, std::size_t count) {
  ImageBatch batch;
  for (std::size_t n = 0; n < count; ++n) batch.emplace_back(reference, images.front().descriptor());
  return batch;
}

/// The largest error of the chosen images; sums have at most as many terms as a window.
double compare(const ImageBatch& actual, const ImageBatch& expected, const std::vector<std::size_t>& chosen,
               std::size_t terms) {
  WorstError worst;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto a = actual[chosen[i]].read<float>(), e = expected[i].read<float>();
    double largest = 0;
    for (const float value : e) largest = std::max(largest, std::abs(static_cast<double>(value)));
    for (std::size_t j = 0; j < a.size(); ++j) {
      worst.add(static_cast<double>(a[j]), static_cast<double>(e[j]),
                (static_cast<double>(terms) + 2) * kFloatRounding * largest);
    }
  }
  return worst.value();
}

void execute(const Device& device, const std::function<void(CommandBuffer&)>& encode) {
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  encode(commands);
  commands.commit();
  commands.waitUntilCompleted();
}

}  // namespace

Case poolingCase(Operands operands, const Problem& problem) {
  const Shape shape(problem);
  const ImageBatch x = operands.images("x", shape.sourceShape());
  const ImageBatch y = operands.resultImages("y", shape.resultShape());
  const auto kernel = forwardKernel(operands.device(), shape);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  const double elements = static_cast<double>(shape.images * shape.height * shape.width * shape.channels);
  result.bytes = 4 * (elements + elements / static_cast<double>(shape.stride * shape.stride));
  result.encode = [=](CommandBuffer& commands) {
    kernel->encodeBatch(commands, {.sourceImages = x, .destinationImages = y});
  };
  result.error = [=] {
    const Device reference = Device::named("reference");
    const std::vector<std::size_t> chosen{0, shape.images - 1};
    const ImageBatch source = onReference(reference, x, chosen), expected = emptyLike(reference, y, 2);
    execute(reference, [&](CommandBuffer& commands) {
      forwardKernel(reference, shape)->encodeBatch(commands, {.sourceImages = source, .destinationImages = expected});
    });
    return compare(y, expected, chosen, shape.kernel * shape.kernel);
  };
  return result;
}

Case poolingGradientCase(Operands operands, const Problem& problem) {
  const Shape shape(problem);
  const ImageBatch x = operands.images("x", shape.sourceShape()), dy = operands.images("dy", shape.resultShape());
  const ImageBatch dx = operands.resultImages("dx", shape.sourceShape());
  const Device device = operands.device();
  const auto forward = forwardKernel(device, shape);
  const auto backward = gradientKernel(device, shape);
  const auto states =
      forward->resultStateBatch({.sourceImage = x.front(), .destinationImage = dy.front(), .batchSize = x.size()});
  backward->destinationImageDescriptor({dy.front(), x.front()}, {states.front()});  // takes the forward settings
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  const double elements = static_cast<double>(shape.images * shape.height * shape.width * shape.channels);
  result.bytes = 4 * ((shape.isMax ? 2 : 1) * elements + elements / static_cast<double>(shape.stride * shape.stride));
  result.encode = [=](CommandBuffer& commands) {
    backward->encodeBatch(commands, {.sourceGradients = dy, .sourceImages = x, .destinationGradients = dx});
  };
  result.error = [=] {
    const Device reference = Device::named("reference");
    const std::vector<std::size_t> chosen{0, shape.images - 1};
    const ImageBatch source = onReference(reference, x, chosen), gradient = onReference(reference, dy, chosen);
    const ImageBatch expected = emptyLike(reference, dx, 2);
    const auto referenceForward = forwardKernel(reference, shape);
    const auto referenceBackward = gradientKernel(reference, shape);
    const State state =
        referenceForward->resultState({.sourceImage = source.front(), .destinationImage = gradient.front()});
    referenceBackward->destinationImageDescriptor({gradient.front(), source.front()}, {state});
    execute(reference, [&](CommandBuffer& commands) {
      referenceBackward->encodeBatch(
          commands, {.sourceGradients = gradient, .sourceImages = source, .destinationGradients = expected});
    });
    return compare(dx, expected, chosen, shape.kernel * shape.kernel);
  };
  return result;
}

}  // namespace benchmark_program
