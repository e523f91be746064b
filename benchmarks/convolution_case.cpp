// Convolutions as networks for images have them. Sizes: images x height x width x input channels x output channels;
// words kernel=K, stride=S. The padding is K/2 zeros on each side, so that the result has ceil(size / stride) pixels.

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr std::size_t kChecked = 256;  // elements of each result, spread over it

struct Shape {
  std::size_t images, height, width, inputs, outputs, kernel, stride;

  explicit Shape(const Problem& problem) {
    problem.requireSizes(5);
    images = problem.sizes[0], height = problem.sizes[1], width = problem.sizes[2];
    inputs = problem.sizes[3], outputs = problem.sizes[4];
    kernel = problem.number("kernel", 3), stride = problem.number("stride", 1);
  }
  std::size_t resultHeight() const { return (height - 1) / stride + 1; }
  std::size_t resultWidth() const { return (width - 1) / stride + 1; }
  std::size_t pixels() const { return images * resultHeight() * resultWidth(); }
  double operations() const {
    return 2.0 * static_cast<double>(pixels()) * static_cast<double>(outputs * kernel * kernel * inputs);
  }
};

class Weights final : public CNNConvolutionDataSource {
 public:
  Weights(const Shape& shape, std::vector<float> weights, std::vector<float> biases)
      : shape_(shape), weights_(std::move(weights)), biases_(std::move(biases)) {}

  DataType dataType() const override { return DataType::float32; }
  CNNConvolutionDescriptor descriptor() const override {
    return {.kernelWidth = shape_.kernel,
            .kernelHeight = shape_.kernel,
            .inputFeatureChannels = shape_.inputs,
            .outputFeatureChannels = shape_.outputs,
            .strideInPixelsX = shape_.stride,
            .strideInPixelsY = shape_.stride};
  }
  std::span<const std::byte> weights() override { return std::as_bytes(std::span(weights_)); }
  std::span<const float> biasTerms() override { return biases_; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() const override { return "weights"; }

 private:
  Shape shape_;
  std::vector<float> weights_, biases_;
};

/// Everything in double precision, an element at a time.
struct Exact {
  Shape s;
  std::vector<float> x, w, b, dy;

  struct Sum {
    double value = 0, magnitude = 0;
    void add(double term) { value += term, magnitude += std::abs(term); }
  };

  bool source(std::size_t j, std::size_t q, std::size_t size, std::size_t& y) const {
    const auto at = static_cast<std::ptrdiff_t>(j * s.stride + q) - static_cast<std::ptrdiff_t>(s.kernel / 2);
    y = static_cast<std::size_t>(at);
    return at >= 0 && y < size;
  }
  double input(std::size_t n, std::size_t y, std::size_t i, std::size_t c) const {
    return static_cast<double>(x[((n * s.height + y) * s.width + i) * s.inputs + c]);
  }
  double weight(std::size_t k, std::size_t q, std::size_t p, std::size_t c) const {
    return static_cast<double>(w[((k * s.kernel + q) * s.kernel + p) * s.inputs + c]);
  }
  double gradient(std::size_t n, std::size_t j, std::size_t i, std::size_t k) const {
    return static_cast<double>(dy[((n * s.resultHeight() + j) * s.resultWidth() + i) * s.outputs + k]);
  }

  Sum result(std::size_t n, std::size_t j, std::size_t i, std::size_t k) const {
    Sum sum;
    sum.add(static_cast<double>(b[k]));
    for (std::size_t q = 0, y; q < s.kernel; ++q) {
      if (!source(j, q, s.height, y)) continue;
      for (std::size_t p = 0, u; p < s.kernel; ++p) {
        if (!source(i, p, s.width, u)) continue;
        for (std::size_t c = 0; c < s.inputs; ++c) sum.add(weight(k, q, p, c) * input(n, y, u, c));
      }
    }
    return sum;
  }
  Sum dataGradient(std::size_t n, std::size_t v, std::size_t u, std::size_t c) const {
    Sum sum;
    for (std::size_t q = 0, y; q < s.kernel; ++q) {
      for (std::size_t p = 0, i; p < s.kernel; ++p) {
        for (std::size_t j = 0; j < s.resultHeight(); ++j) {
          if (!source(j, q, s.height, y) || y != v) continue;
          for (std::size_t column = 0; column < s.resultWidth(); ++column) {
            if (!source(column, p, s.width, i) || i != u) continue;
            for (std::size_t k = 0; k < s.outputs; ++k) sum.add(weight(k, q, p, c) * gradient(n, j, column, k));
          }
        }
      }
    }
    return sum;
  }
  Sum weightGradient(std::size_t k, std::size_t q, std::size_t p, std::size_t c) const {
    Sum sum;
    for (std::size_t n = 0; n < s.images; ++n) {
      for (std::size_t j = 0, y; j < s.resultHeight(); ++j) {
        if (!source(j, q, s.height, y)) continue;
        for (std::size_t i = 0, u; i < s.resultWidth(); ++i) {
          if (source(i, p, s.width, u)) sum.add(gradient(n, j, i, k) * input(n, y, u, c));
        }
      }
    }
    return sum;
  }
  Sum biasGradient(std::size_t k) const {
    Sum sum;
    for (std::size_t n = 0; n < s.images; ++n) {
      for (std::size_t j = 0; j < s.resultHeight(); ++j) {
        for (std::size_t i = 0; i < s.resultWidth(); ++i) sum.add(gradient(n, j, i, k));
      }
    }
    return sum;
  }
};

/// Element `index` of an array [a][b][c][d], spread by a multiplicative sequence.
struct Index {
  std::size_t a, b, c, d;
  Index(std::size_t turn, std::size_t as, std::size_t bs, std::size_t cs, std::size_t ds) {
    std::size_t rest = turn * 2654435761u % (as * bs * cs * ds);
    d = rest % ds, rest /= ds, c = rest % cs, rest /= cs, b = rest % bs, a = rest / bs;
  }
};

std::vector<float> read(const ImageBatch& images) { return images.front().parent().read<float>(); }

/// Roundings on the way of a term into a sum of `terms` of them.
double allowed(const Exact::Sum& sum, std::size_t terms) {
  return (static_cast<double>(terms) + 4) * kFloatRounding * sum.magnitude;
}

struct Layer {
  Shape shape;
  Matrix w;
  Vector b;
  std::shared_ptr<Weights> source;

  Layer(Operands& operands, const Problem& problem)
      : shape(problem),
        w(operands.matrix("w", shape.outputs, shape.kernel * shape.kernel * shape.inputs)),
        b(operands.vector("b", shape.outputs)),
        source(std::make_shared<Weights>(shape, w.read<float>(), b.read<float>())) {}

  std::vector<std::size_t> sourceShape() const { return {shape.images, shape.height, shape.width, shape.inputs}; }
  std::vector<std::size_t> resultShape() const {
    return {shape.images, shape.resultHeight(), shape.resultWidth(), shape.outputs};
  }
  CNNConvolution kernel(const Device& device) const {
    CNNConvolution kernel(device, source);
    const auto centre = static_cast<std::ptrdiff_t>(0);  // K/2 zeros on the left: the first window's centre is pixel 0
    kernel.offset = {centre, centre, 0};
    return kernel;
  }
};

}  // namespace

Case convolutionCase(Operands operands, const Problem& problem) {
  const Layer layer(operands, problem);
  const ImageBatch x = operands.images("x", layer.sourceShape());
  const ImageBatch y = operands.resultImages("y", layer.resultShape());
  auto kernel = std::make_shared<CNNConvolution>(layer.kernel(operands.device()));
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.operations = layer.shape.operations();
  result.encode = [=](CommandBuffer& commands) {
    kernel->encodeBatch(commands, {.sourceImages = x, .destinationImages = y});
  };
  result.error = [=] {
    const Shape& s = layer.shape;
    const Exact exact{s, read(x), layer.w.read<float>(), layer.b.read<float>(), {}};
    const auto actual = read(y);
    WorstError worst;
    for (std::size_t turn = 0; turn < kChecked; ++turn) {
      const Index at(turn, s.images, s.resultHeight(), s.resultWidth(), s.outputs);
      const auto sum = exact.result(at.a, at.b, at.c, at.d);
      const std::size_t index = ((at.a * s.resultHeight() + at.b) * s.resultWidth() + at.c) * s.outputs + at.d;
      worst.add(static_cast<double>(actual[index]), sum.value, allowed(sum, s.kernel * s.kernel * s.inputs));
    }
    return worst.value();
  };
  return result;
}

Case convolutionGradientCase(Operands operands, const Problem& problem) {
  const Layer layer(operands, problem);
  const Shape& s = layer.shape;
  const ImageBatch x = operands.images("x", layer.sourceShape()), dy = operands.images("dy", layer.resultShape());
  const ImageBatch dx = operands.resultImages("dx", layer.sourceShape());
  const Device device = operands.device();
  auto forward = std::make_shared<CNNConvolution>(layer.kernel(device));
  auto backward = std::make_shared<CNNConvolutionGradient>(device, layer.source);
  const auto stateFor = [=](CommandBuffer* commands) {
    const CNNConvolution::StateArguments arguments{.sourceImage = x.front(), .destinationImage = dy.front()};
    return commands ? forward->temporaryResultState(*commands, arguments) : forward->resultState(arguments);
  };
  // What the check reads; the timed encodes have states of their own, as training has.
  const CNNConvolutionGradientState kept(stateFor(nullptr));
  operands.add(
      {"dw", {s.outputs, s.kernel * s.kernel * s.inputs}, [=] { return kept.gradientForWeights().read<float>(); }});
  operands.add({"db", {s.outputs}, [=] { return kept.gradientForBiases().read<float>(); }});
  auto isFirst = std::make_shared<bool>(true);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.operations = 2 * s.operations();
  result.encode = [=](CommandBuffer& commands) {
    const State state = *isFirst ? State(kept) : stateFor(&commands);
    *isFirst = false;
    backward->encodeBatch(commands, {.sourceGradients = dy,
                                     .sourceImages = x,
                                     .gradientStates = StateBatch(x.size(), state),
                                     .destinationGradients = dx});
    if (state.isTemporary() && state.readCount() > 0) state.setReadCount(0);
  };
  result.error = [=] {
    const Shape& shape = layer.shape;
    const Exact exact{shape, read(x), layer.w.read<float>(), {}, read(dy)};
    const auto data = read(dx), weights = kept.gradientForWeights().read<float>();
    const auto biases = kept.gradientForBiases().read<float>();
    WorstError worst;
    for (std::size_t turn = 0; turn < kChecked / 8; ++turn) {
      const Index at(turn, shape.images, shape.height, shape.width, shape.inputs);
      const auto sum = exact.dataGradient(at.a, at.b, at.c, at.d);
      const std::size_t index = ((at.a * shape.height + at.b) * shape.width + at.c) * shape.inputs + at.d;
      worst.add(static_cast<double>(data[index]), sum.value, allowed(sum, shape.kernel * shape.kernel * shape.outputs));
    }
    for (std::size_t turn = 0; turn < kChecked / 8; ++turn) {
      const Index at(turn, shape.outputs, shape.kernel, shape.kernel, shape.inputs);
      const auto sum = exact.weightGradient(at.a, at.b, at.c, at.d);
      const std::size_t index = ((at.a * shape.kernel + at.b) * shape.kernel + at.c) * shape.inputs + at.d;
      worst.add(static_cast<double>(weights[index]), sum.value, allowed(sum, shape.pixels()));
    }
    for (std::size_t k = 0; k < shape.outputs; k += std::max<std::size_t>(1, shape.outputs / 8)) {
      const auto sum = exact.biasGradient(k);
      worst.add(static_cast<double>(biases[k]), sum.value, allowed(sum, shape.pixels()));
    }
    return worst.value();
  };
  return result;
}

}  // namespace benchmark_program
