#include "operations/cnn_convolution.hpp"

#include "backends/cpu/kernels.hpp"
#include "backends/reference/elements.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::cpu {
namespace {

constexpr double kRoundoff = std::numeric_limits<float>::epsilon() / 2;

enum class Layout { block, paddedPixels, scattered };

/// Images with known bytes around and between their pixels.
class TestImages {
 public:
  TestImages(std::size_t images, std::size_t width, std::size_t height, std::size_t channels, DataType type,
             Layout layout) {
    const std::size_t size = sizeOfDataType(type);
    view_.images = images;
    view_.width = width;
    view_.height = height;
    view_.channels = channels;
    view_.type = type;
    const bool pads = layout != Layout::block;
    view_.pixelBytes = (channels + (pads ? 3 : 0)) * size;
    view_.rowBytes = view_.pixelBytes * (width + (pads ? 2 : 0));
    view_.imageBytes = view_.rowBytes * height;
    const std::size_t gap = layout == Layout::scattered ? 7 * size : 0;
    bytes_.assign(2 * kGuard + images * (view_.imageBytes + gap), kGuardByte);
    view_.data = bytes_.data() + kGuard;
    if (layout == Layout::scattered) {  // from back to front
      for (std::size_t n = 0; n < images; ++n) {
        view_.addresses.push_back(view_.data + (images - 1 - n) * (view_.imageBytes + gap));
      }
      view_.data = view_.addresses.front();
      view_.imageBytes = 0;
    }
  }

  TestImages(const TestImages&) = delete;
  TestImages& operator=(const TestImages&) = delete;

  const operations::ImageView& view() const { return view_; }

  std::byte* element(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    return view_.pixel(n, y, x) + c * sizeOfDataType(view_.type);
  }
  double at(std::size_t n, std::size_t y, std::size_t x, std::size_t c) const {
    return reference::load(element(n, y, x, c), view_.type);
  }
  void set(std::size_t n, std::size_t y, std::size_t x, std::size_t c, double value) {
    reference::store(element(n, y, x, c), view_.type, value);
  }

  void fill(std::mt19937& random) {
    const bool normalized = view_.type == DataType::unorm8 || view_.type == DataType::unorm16;
    std::uniform_real_distribution<double> values(normalized ? 0.0 : -1.0, 1.0);
    forEach([&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) { set(n, y, x, c, values(random)); });
  }

  template <class F>
  void forEach(const F& f) const {
    for (std::size_t n = 0; n < view_.images; ++n) {
      for (std::size_t y = 0; y < view_.height; ++y) {
        for (std::size_t x = 0; x < view_.width; ++x) {
          for (std::size_t c = 0; c < view_.channels; ++c) f(n, y, x, c);
        }
      }
    }
  }

  bool guardsAreWhole() const {
    std::vector<std::byte> rest = bytes_;
    forEach([&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
      std::fill_n(rest.data() + (element(n, y, x, c) - bytes_.data()), sizeOfDataType(view_.type), kGuardByte);
    });
    return std::all_of(rest.begin(), rest.end(), [](std::byte byte) { return byte == kGuardByte; });
  }

  std::vector<std::byte> bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kGuard = 256;
  static constexpr std::byte kGuardByte{0x7E};  // large as a number of any type, so that a read outside shows

  operations::ImageView view_;
  std::vector<std::byte> bytes_;
};

operations::VectorView vectorView(std::vector<float>& values) {
  return {.data = reinterpret_cast<std::byte*>(values.data()), .length = values.size()};
}

std::vector<float> randomFloats(std::size_t count, std::mt19937& random) {
  std::uniform_real_distribution<float> values(-1.0F, 1.0F);
  std::vector<float> result(count);
  for (float& value : result) value = values(random);
  return result;
}

/// One convolution with its gradients.
struct Problem {
  std::size_t images = 2;
  std::size_t width = 9;
  std::size_t height = 8;
  std::size_t outputWidth = 9;
  std::size_t outputHeight = 8;
  std::size_t sourceChannels = 5;
  std::size_t resultChannels = 7;
  std::size_t groups = 1;
  operations::Window window{};
  ImageEdgeMode edgeMode = ImageEdgeMode::zero;
  bool hasBias = true;
  CNNNeuronType neuron = CNNNeuronType::none;
  DataType type = DataType::float32;
  Layout layout = Layout::block;
  bool accumulates = false;
  std::size_t resultX = 0;  // of the gradient for the data
  std::size_t resultY = 0;

  std::size_t groupChannels() const { return sourceChannels / groups; }
  std::size_t weights() const { return resultChannels * window.x.taps * window.y.taps * groupChannels(); }
  std::size_t weight(std::size_t k, std::size_t q, std::size_t p, std::size_t c) const {
    return ((k * window.y.taps + q) * window.x.taps + p) * groupChannels() + c;
  }
};

void PrintTo(const Problem& p, std::ostream* out) {
  const auto axis = [](const operations::WindowAxis& a) {
    return std::to_string(a.taps) + " taps, (" + std::to_string(a.step) + " o + " + std::to_string(a.base) + " + " +
           std::to_string(a.tapStep) + " t) / " + std::to_string(a.divisor);
  };
  *out << p.images << " images " << p.width << " x " << p.height << " x " << p.sourceChannels << " to " << p.outputWidth
       << " x " << p.outputHeight << " x " << p.resultChannels << " in " << p.groups << " groups, x "
       << axis(p.window.x) << ", y " << axis(p.window.y) << ", edge mode " << static_cast<int>(p.edgeMode)
       << ", neuron " << static_cast<int>(p.neuron) << ", type " << static_cast<int>(p.type) << ", layout "
       << static_cast<int>(p.layout);
}

/// Where a tap of an output reads, if it reads anything.
std::optional<std::size_t> positionOf(const operations::WindowAxis& axis, std::size_t output, std::size_t tap,
                                      std::size_t size, ImageEdgeMode edgeMode) {
  const std::optional<std::ptrdiff_t> position = axis.position(output, tap);
  if (!position) return std::nullopt;
  const auto last = static_cast<std::ptrdiff_t>(size) - 1;
  if (edgeMode == ImageEdgeMode::clamp) return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(*position, 0, last));
  if (*position < 0 || *position > last) return std::nullopt;
  return static_cast<std::size_t>(*position);
}

/// Calls f(n, j, i, k, q, p, c, y, x) for each product of the convolution: output (j, i, k), weight (k, q, p, c) and
/// source (y, x, channel of the source).
template <class F>
void forEachProduct(const Problem& problem, const F& f) {
  const std::size_t groupOutputs = problem.resultChannels / problem.groups;
  for (std::size_t j = 0; j < problem.outputHeight; ++j) {
    for (std::size_t q = 0; q < problem.window.y.taps; ++q) {
      const auto y = positionOf(problem.window.y, j, q, problem.height, problem.edgeMode);
      for (std::size_t i = 0; y && i < problem.outputWidth; ++i) {
        for (std::size_t p = 0; p < problem.window.x.taps; ++p) {
          const auto x = positionOf(problem.window.x, i, p, problem.width, problem.edgeMode);
          for (std::size_t n = 0; x && n < problem.images; ++n) {
            for (std::size_t k = 0; k < problem.resultChannels; ++k) {
              for (std::size_t c = 0; c < problem.groupChannels(); ++c) {
                f(n, j, i, k, problem.weight(k, q, p, c), *y, *x, k / groupOutputs * problem.groupChannels() + c);
              }
            }
          }
        }
      }
    }
  }
}

/// A sum in double precision, with what bounds its error in float32.
struct Sum {
  double value = 0;
  double magnitude = 0;
  std::size_t terms = 0;

  void add(double term) {
    value += term;
    magnitude += std::fabs(term);
    ++terms;
  }
  /// One rounding for each product and sum of the terms, in whatever order.
  double tolerance() const { return static_cast<double>(terms + 2) * kRoundoff * magnitude; }
};

/// How far a value that is stored in a type may be from what was stored.
double storageError(DataType type, double value) {
  switch (type) {
    case DataType::float16:
      return std::max(std::fabs(value) * 0x1p-11, 0x1p-25);
    case DataType::unorm8:
      return 0.5 / 255 + 1e-7;
    case DataType::unorm16:
      return 0.5 / 65535 + 1e-7;
    default:
      return std::fabs(value) * kRoundoff;
  }
}

double stored(DataType type, double value) {
  return type == DataType::unorm8 || type == DataType::unorm16 ? std::clamp(value, 0.0, 1.0) : value;
}

template <class Operation>
void runOn(ThreadPool& pool, const Operation& operation) {
  Scratch scratch;
  Context context{pool, scratch};
  ASSERT_EQ(refusesGemm(operation, context), nullptr);
  runGemm(operation, context);
}

void checkForward(const Problem& problem) {
  std::mt19937 random(1);
  TestImages source(problem.images, problem.width, problem.height, problem.sourceChannels, problem.type,
                    problem.layout);
  source.fill(random);
  auto weights = randomFloats(problem.weights(), random);
  auto bias = randomFloats(problem.resultChannels, random), slopes = randomFloats(problem.resultChannels, random);
  operations::CNNConvolution operation;
  operation.source = source.view();
  operation.weights = vectorView(weights);
  if (problem.hasBias) operation.bias = vectorView(bias);
  operation.window = problem.window;
  operation.groups = problem.groups;
  operation.edgeMode = problem.edgeMode;
  operation.neuron = math::makeNeuron(problem.neuron, 0.5F, 0.25F, 1.0F);
  if (problem.neuron == CNNNeuronType::pReLU) operation.slopes = vectorView(slopes);

  std::optional<std::vector<std::byte>> first;
  for (const unsigned threads : {1U, 3U, 8U}) {
    TestImages result(problem.images, problem.outputWidth, problem.outputHeight, problem.resultChannels, problem.type,
                      problem.layout);
    operation.result = result.view();
    ThreadPool pool(threads);
    runOn(pool, operation);
    EXPECT_TRUE(result.guardsAreWhole());
    if (first) {
      // Scattered and padded storage is compared with its guards.
      EXPECT_EQ(*first, result.bytes()) << threads << " threads";
      continue;
    }
    first = result.bytes();

    std::vector<Sum> sums(problem.images * problem.outputHeight * problem.outputWidth * problem.resultChannels);
    const auto sumOf = [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k) -> Sum& {
      return sums[((n * problem.outputHeight + j) * problem.outputWidth + i) * problem.resultChannels + k];
    };
    forEachProduct(
        problem, [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k, std::size_t weight, std::size_t y,
                     std::size_t x, std::size_t c) { sumOf(n, j, i, k).add(weights[weight] * source.at(n, y, x, c)); });
    result.forEach([&](std::size_t n, std::size_t j, std::size_t i, std::size_t k) {
      Sum sum = sumOf(n, j, i, k);
      if (problem.hasBias) sum.add(bias[k]);
      // The neurons here have slopes of at most 1, and round a few times themselves.
      const double value = stored(problem.type, math::neuronValue(operation.neuron, sum.value, slopes[k]));
      const double tolerance =
          sum.tolerance() + 4 * kRoundoff * (1 + std::fabs(value)) + storageError(problem.type, value);
      ASSERT_NEAR(result.at(n, j, i, k), value, tolerance) << n << " " << j << " " << i << " " << k;
    });
  }
}

void checkGradientForData(const Problem& problem) {
  std::mt19937 random(2);
  TestImages gradient(problem.images, problem.outputWidth, problem.outputHeight, problem.resultChannels, problem.type,
                      problem.layout);
  gradient.fill(random);
  auto weights = randomFloats(problem.weights(), random);
  operations::CNNConvolutionGradientForData operation;
  operation.gradient = gradient.view();
  operation.weights = vectorView(weights);
  operation.window = problem.window;
  operation.sourceWidth = problem.width;
  operation.sourceHeight = problem.height;
  operation.resultX = problem.resultX;
  operation.resultY = problem.resultY;
  operation.groups = problem.groups;

  std::optional<std::vector<std::byte>> first;
  for (const unsigned threads : {1U, 3U, 8U}) {
    TestImages result(problem.images, problem.width - problem.resultX, problem.height - problem.resultY,
                      problem.sourceChannels, problem.type, problem.layout);
    operation.result = result.view();
    ThreadPool pool(threads);
    runOn(pool, operation);
    EXPECT_TRUE(result.guardsAreWhole());
    if (first) {
      EXPECT_EQ(*first, result.bytes()) << threads << " threads";
      continue;
    }
    first = result.bytes();

    std::vector<Sum> sums(problem.images * problem.height * problem.width * problem.sourceChannels);
    const auto sumOf = [&](std::size_t n, std::size_t y, std::size_t x, std::size_t c) -> Sum& {
      return sums[((n * problem.height + y) * problem.width + x) * problem.sourceChannels + c];
    };
    forEachProduct(problem, [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k, std::size_t weight,
                                std::size_t y, std::size_t x,
                                std::size_t c) { sumOf(n, y, x, c).add(weights[weight] * gradient.at(n, j, i, k)); });
    result.forEach([&](std::size_t n, std::size_t v, std::size_t u, std::size_t c) {
      const Sum& sum = sumOf(n, v + problem.resultY, u + problem.resultX, c);
      const double value = stored(problem.type, sum.value);
      ASSERT_NEAR(result.at(n, v, u, c), value, sum.tolerance() + storageError(problem.type, value))
          << n << " " << v << " " << u << " " << c;
    });
  }
}

void checkGradientForWeights(const Problem& problem) {
  std::mt19937 random(3);
  TestImages source(problem.images, problem.width, problem.height, problem.sourceChannels, problem.type,
                    problem.layout);
  TestImages gradient(problem.images, problem.outputWidth, problem.outputHeight, problem.resultChannels, problem.type,
                      problem.layout);
  source.fill(random);
  gradient.fill(random);
  const auto oldWeights = randomFloats(problem.weights(), random);
  const auto oldBias = randomFloats(problem.resultChannels, random);
  operations::CNNConvolutionGradientForWeightsAndBias operation;
  operation.gradient = gradient.view();
  operation.source = source.view();
  operation.accumulates = problem.accumulates;
  operation.window = problem.window;
  operation.groups = problem.groups;
  operation.edgeMode = problem.edgeMode;

  std::optional<std::vector<float>> first, firstBias;
  for (const unsigned threads : {1U, 3U, 8U}) {
    auto forWeights = oldWeights, forBias = oldBias;
    operation.resultForWeights = vectorView(forWeights);
    if (problem.hasBias) operation.resultForBias = vectorView(forBias);
    ThreadPool pool(threads);
    runOn(pool, operation);
    if (first) {
      EXPECT_EQ(*first, forWeights) << threads << " threads";
      EXPECT_EQ(*firstBias, forBias) << threads << " threads";
      continue;
    }
    first = forWeights;
    firstBias = forBias;

    std::vector<Sum> sums(problem.weights()), biasSums(problem.resultChannels);
    forEachProduct(problem, [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k, std::size_t weight,
                                std::size_t y, std::size_t x,
                                std::size_t c) { sums[weight].add(gradient.at(n, j, i, k) * source.at(n, y, x, c)); });
    gradient.forEach(
        [&](std::size_t n, std::size_t j, std::size_t i, std::size_t k) { biasSums[k].add(gradient.at(n, j, i, k)); });
    for (std::size_t w = 0; w < sums.size(); ++w) {
      if (problem.accumulates) sums[w].add(oldWeights[w]);
      ASSERT_NEAR(forWeights[w], sums[w].value, sums[w].tolerance()) << "weight " << w;
    }
    for (std::size_t k = 0; k < biasSums.size(); ++k) {
      if (!problem.hasBias) {
        ASSERT_EQ(forBias[k], oldBias[k]);
        continue;
      }
      if (problem.accumulates) biasSums[k].add(oldBias[k]);
      ASSERT_NEAR(forBias[k], biasSums[k].value, biasSums[k].tolerance()) << "bias " << k;
    }
  }
}

operations::WindowAxis filter(std::size_t taps, std::ptrdiff_t step, std::ptrdiff_t base, std::ptrdiff_t dilation = 1) {
  return {.taps = taps, .step = step, .base = base, .tapStep = dilation, .divisor = 1};
}

operations::WindowAxis enlarging(std::size_t taps, std::ptrdiff_t divisor, std::ptrdiff_t base,
                                 std::ptrdiff_t tapStep = 1) {
  return {.taps = taps, .step = 1, .base = base, .tapStep = tapStep, .divisor = divisor};
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  const auto add = [&](Problem problem, const operations::WindowAxis& x, const operations::WindowAxis& y) -> Problem& {
    problem.window = {x, y};
    return all.emplace_back(problem);
  };
  const auto square = [&](const Problem& problem, const operations::WindowAxis& axis) -> Problem& {
    return add(problem, axis, axis);
  };
  // Windows
  square({}, filter(1, 1, 0));
  square({}, filter(3, 1, -1));
  square({}, filter(3, 1, -1)).edgeMode = ImageEdgeMode::clamp;
  add({}, filter(5, 1, -4), filter(2, 1, 3));
  add({}, filter(3, 1, -20), filter(3, 1, 20));
  add({}, filter(3, 1, -20), filter(3, 1, 20)).edgeMode = ImageEdgeMode::clamp;
  square({.outputWidth = 5, .outputHeight = 4}, filter(3, 2, -1));
  square({.outputWidth = 5, .outputHeight = 4}, filter(3, 2, -1)).edgeMode = ImageEdgeMode::clamp;
  square({.outputWidth = 5, .outputHeight = 4}, filter(1, 2, 0));
  square({.outputWidth = 3, .outputHeight = 3}, filter(2, 3, -1));
  add({.outputWidth = 9, .outputHeight = 3}, filter(4, 1, -2, 2), filter(3, 3, -3, 2));
  add({.outputWidth = 3, .outputHeight = 4}, filter(3, 3, 0, 3), filter(3, 2, 0, 4));
  square({.outputWidth = 17, .outputHeight = 16}, enlarging(3, 2, -1));
  square({.outputWidth = 17, .outputHeight = 16}, enlarging(4, 2, 1, -1));
  square({.outputWidth = 25, .outputHeight = 20}, enlarging(2, 3, -2));  // some outputs have no taps
  add({.outputWidth = 14, .outputHeight = 9}, {.taps = 5, .step = 2, .base = -3, .tapStep = 2, .divisor = 3},
      enlarging(3, 4, 0, 2));
  // Few and many channels, and groups
  square({.sourceChannels = 1, .resultChannels = 32}, filter(5, 1, -2));
  square({.sourceChannels = 3, .resultChannels = 20}, filter(7, 2, -3)).outputWidth = 5;
  square({.sourceChannels = 64, .resultChannels = 1}, filter(3, 1, -1));
  square({.sourceChannels = 45, .resultChannels = 3, .neuron = CNNNeuronType::reLU}, filter(3, 1, -1));
  square({.outputWidth = 5, .outputHeight = 4, .sourceChannels = 2, .resultChannels = 70}, filter(3, 2, -1));
  square({.sourceChannels = 4, .resultChannels = 35, .layout = Layout::scattered}, filter(2, 1, 0));
  square(
      {.images = 24, .sourceChannels = 70, .resultChannels = 20, .layout = Layout::paddedPixels, .accumulates = true},
      filter(3, 1, -1));
  square({.images = 1,
          .width = 5,
          .height = 5,
          .outputWidth = 5,
          .outputHeight = 5,
          .sourceChannels = 130,
          .resultChannels = 150},
         filter(3, 1, -1));
  square({.images = 1,
          .width = 3,
          .height = 3,
          .outputWidth = 3,
          .outputHeight = 3,
          .sourceChannels = 20,
          .resultChannels = 700},
         filter(1, 1, 0));
  square({.sourceChannels = 6, .resultChannels = 9, .groups = 3}, filter(3, 1, -1));
  square({.outputWidth = 5, .outputHeight = 4, .sourceChannels = 6, .resultChannels = 9, .groups = 3},
         filter(3, 2, -1));
  square({.sourceChannels = 21, .resultChannels = 21, .groups = 21}, filter(3, 1, -1));
  square({.sourceChannels = 21, .resultChannels = 21, .groups = 21}, filter(3, 1, -1)).edgeMode = ImageEdgeMode::clamp;
  square({.outputWidth = 5, .outputHeight = 4, .sourceChannels = 40, .resultChannels = 40, .groups = 40},
         filter(3, 2, -1));
  square({.sourceChannels = 5, .resultChannels = 10, .groups = 5}, filter(3, 1, -1));
  // Fully connected
  add({.images = 19, .outputWidth = 1, .outputHeight = 1, .resultChannels = 33}, filter(9, 1, 0), filter(8, 1, 0));
  // Sizes: wide rows, many images
  add({.images = 1, .width = 1500, .height = 3, .outputWidth = 1500, .outputHeight = 3, .sourceChannels = 2},
      filter(3, 1, -1), filter(3, 1, -1));
  square({.images = 70, .width = 5, .height = 5, .outputWidth = 5, .outputHeight = 5}, filter(3, 1, -1));
  square({.images = 3, .width = 40, .height = 36, .outputWidth = 40, .outputHeight = 36, .sourceChannels = 4},
         filter(3, 1, -1));
  square({.images = 1,
          .width = 1,
          .height = 1,
          .outputWidth = 1,
          .outputHeight = 1,
          .sourceChannels = 1,
          .resultChannels = 1},
         filter(1, 1, 0));
  // Epilogues
  square({.hasBias = false}, filter(3, 1, -1));
  square({.neuron = CNNNeuronType::reLU}, filter(3, 1, -1));
  square({.resultChannels = 50, .neuron = CNNNeuronType::pReLU}, filter(3, 1, -1));
  square({.sourceChannels = 6, .resultChannels = 6, .groups = 6, .neuron = CNNNeuronType::pReLU}, filter(3, 1, -1));
  square({.outputWidth = 17, .outputHeight = 16, .neuron = CNNNeuronType::sigmoid}, enlarging(3, 2, -1));
  square({.accumulates = true}, filter(3, 1, -1));
  square({.accumulates = true}, filter(1, 1, 0));
  square({.sourceChannels = 6, .resultChannels = 6, .groups = 6, .accumulates = true}, filter(3, 1, -1));
  // Regions
  square({.resultX = 2, .resultY = 3}, filter(3, 1, -1));
  square({.outputWidth = 5, .outputHeight = 4, .resultX = 3, .resultY = 2}, filter(3, 2, -1));
  square({.outputWidth = 17, .outputHeight = 16, .resultX = 3, .resultY = 2}, enlarging(3, 2, -1));
  square({.sourceChannels = 6, .resultChannels = 6, .groups = 6, .resultX = 3, .resultY = 2}, filter(3, 1, -1));
  // Storage
  const std::size_t simple = all.size();
  for (const DataType type : {DataType::float32, DataType::float16, DataType::unorm8, DataType::unorm16}) {
    for (const Layout layout : {Layout::block, Layout::paddedPixels, Layout::scattered}) {
      for (const std::size_t index :
           {std::size_t{0}, std::size_t{1}, std::size_t{6}, std::size_t{24}, std::size_t{28}}) {
        if (type == DataType::float32 && layout == Layout::block) continue;
        Problem problem = all[index];
        problem.type = type;
        problem.layout = layout;
        all.push_back(problem);
      }
    }
  }
  EXPECT_LT(28U, simple);
  return all;
}

class CNNConvolutionOnCpu : public testing::TestWithParam<Problem> {};

TEST_P(CNNConvolutionOnCpu, Forward) {
  const Problem& problem = GetParam();
  checkForward(problem);
}

TEST_P(CNNConvolutionOnCpu, GradientForData) {
  if (GetParam().edgeMode == ImageEdgeMode::clamp) GTEST_SKIP() << "left to the reference";
  checkGradientForData(GetParam());
}

TEST_P(CNNConvolutionOnCpu, GradientForWeights) { checkGradientForWeights(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Problems, CNNConvolutionOnCpu, testing::ValuesIn(problems()));

}  // namespace
}  // namespace metalloid::cpu
