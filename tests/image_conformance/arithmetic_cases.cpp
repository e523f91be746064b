#include "image_conformance/image_trial.hpp"

#include <metalloid/cnn_arithmetic.hpp>

#include <array>
#include <cmath>

namespace metalloid::image_conformance {
namespace {

constexpr double kRoundings = 8;  // of an element: scales, products, a quotient, the bias

/// Which axes of an operand are broadcast, and its size for a result of w x h x c.
struct Broadcasting {
  bool x = false, y = false, channels = false;

  std::size_t width(std::size_t w) const { return x ? 1 : w; }
  std::size_t height(std::size_t h) const { return y ? 1 : h; }
  std::size_t depth(std::size_t c) const { return channels ? 1 : c; }
};

Broadcasting draw(ImageTrial& t) {
  if (t.random().coin()) return {};
  return {t.random().coin(), t.random().coin(), t.random().coin()};
}

void setSecondary(CNNBinaryKernel& kernel, std::size_t& strideInFeatureChannels, const Broadcasting& broadcasting) {
  kernel.secondaryStrideInPixelsX = broadcasting.x ? 0 : 1;
  kernel.secondaryStrideInPixelsY = broadcasting.y ? 0 : 1;
  strideInFeatureChannels = broadcasting.channels ? 0 : 1;
}

struct Settings {
  float primaryScale, secondaryScale, bias;
};

template <class Kernel>
void set(Kernel& kernel, const Settings& settings, const Broadcasting& primary, const Broadcasting& secondary) {
  kernel.primaryScale = settings.primaryScale;
  kernel.secondaryScale = settings.secondaryScale;
  kernel.bias = settings.bias;
  kernel.primaryStrideInPixelsX = primary.x ? 0 : 1;
  kernel.primaryStrideInPixelsY = primary.y ? 0 : 1;
  kernel.primaryStrideInFeatureChannels = primary.channels ? 0 : 1;
  setSecondary(kernel, kernel.secondaryStrideInFeatureChannels, secondary);
}

/// A multiple of 1/8 in [-2, 2].
double eighth(ImageTrial& t) { return (static_cast<double>(t.random().below(33)) - 16) / 8; }

template <class Kernel>
void forward(ImageTrial& t, Range secondaryRange = {}) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const auto primary = draw(t), secondary = draw(t);
  const auto& x = t.source("primaryImage", primary.width(w), primary.height(h), primary.depth(c));
  const auto& y =
      t.source("secondaryImage", secondary.width(w), secondary.height(h), secondary.depth(c), secondaryRange);
  const auto& z = t.result("destinationImage", w, h, c);
  const Settings settings{static_cast<float>(t.random().uniform(-2, 2)), static_cast<float>(t.random().uniform(0.5, 2)),
                          static_cast<float>(t.random().uniform(-1, 1))};
  const bool isBounded = t.random().coin();
  t.run([&](const Device& device, CommandBuffer& commands) {
    Kernel kernel(device);
    set(kernel, settings, primary, secondary);
    if (isBounded) {
      kernel.minimumValue = -1;
      kernel.maximumValue = 1.5F;
    }
    kernel.encodeBatch(commands,
                       {.primaryImages = x.images(), .secondaryImages = y.images(), .destinationImages = z.images()});
  });
  t.compare(z, kRoundings, 8);  // values before they cancel: 2 * 2 + 2 * 2
}

void add(ImageTrial& t) { forward<CNNAdd>(t); }
void subtract(ImageTrial& t) { forward<CNNSubtract>(t); }
void multiply(ImageTrial& t) { forward<CNNMultiply>(t); }
void divide(ImageTrial& t) { forward<CNNDivide>(t, {0.5, 2}); }

/// A clip rectangle, offsets that leave the sources, channel offsets.
void region(ImageTrial& t) {
  const std::size_t w = t.size(7), h = t.size(7), c = 4 + t.size(9);
  const auto secondary = draw(t);
  const auto& x = t.source("primaryImage", w, h, c);
  const auto& y = t.source("secondaryImage", w + 1, h + 1, c + 4);
  const auto& z = t.result("destinationImage", w + 2, h + 2, c + 5);
  const Region clip{{t.random().below(w), t.random().below(h), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  const auto offset = [&] {
    return Offset{static_cast<std::ptrdiff_t>(t.random().below(5)) - 2,
                  static_cast<std::ptrdiff_t>(t.random().below(5)) - 2, 0};
  };
  const Offset primaryOffset = offset(), secondaryOffset = offset();
  const auto edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::clamp});
  t.run([&](const Device& device, CommandBuffer& commands) {
    CNNAdd kernel(device);
    set(kernel, {0.5F, 2, 0.25F}, {}, secondary);
    kernel.clipRect = clip;
    kernel.primaryOffset = primaryOffset;
    kernel.secondaryOffset = secondaryOffset;
    kernel.secondaryEdgeMode = edgeMode;
    kernel.secondarySourceFeatureChannelOffset = 4;
    kernel.secondarySourceFeatureChannelMaxCount = c;
    kernel.destinationFeatureChannelOffset = 4;
    kernel.encodeBatch(commands,
                       {.primaryImages = x.images(), .secondaryImages = y.images(), .destinationImages = z.images()});
  });
  t.compare(z, kRoundings, 8);
}

/// The forward kernel leaves a state, with a mask or without, and the gradient for one source follows from it.
template <class Forward, class Gradient>
void gradient(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(13);
  const std::array broadcasting{draw(t), draw(t)};
  // Multiples of 1/8, of which every result is exact: no rounding decides what the bounds cut.
  const auto operand = [&](const char* name, const Broadcasting& b) -> const Operand& {
    return t.source(name, t.variant().format, b.width(w), b.height(h), b.depth(c), [&] { return eighth(t); });
  };
  const auto& x = operand("primaryImage", broadcasting[0]);
  const auto& y = operand("secondaryImage", broadcasting[1]);
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& z = t.result("destinationImage", w, h, c);
  const std::size_t own = t.random().below(2);
  const auto& dx = t.result("destinationGradient", broadcasting[own].width(w), broadcasting[own].height(h),
                            broadcasting[own].depth(c));
  const bool isBounded = t.random().coin();
  t.run([&](const Device& device, CommandBuffer& commands) {
    Forward kernel(device);
    set(kernel, {0.5F, 2, 0.25F}, broadcasting[0], broadcasting[1]);
    if (isBounded) {
      kernel.minimumValue = -1;
      kernel.maximumValue = 0.875F;
    }
    StateBatch states;
    kernel.encodeBatch(commands, {.primaryImages = x.images(),
                                  .secondaryImages = y.images(),
                                  .destinationStates = &states,
                                  .destinationStateIsTemporary = true,
                                  .destinationImages = z.images()});
    Gradient backward(device, own == 1);
    backward.primaryScale = 0.75F;
    backward.secondaryScale = -2;
    const auto& other = own == 1 ? x : y;
    backward.destinationImageDescriptor({g.images().front(), other.images().front()}, states);
    backward.encodeBatch(commands, {.sourceGradients = g.images(),
                                    .sourceImages = other.images(),
                                    .gradientStates = states,
                                    .destinationGradients = dx.images()});
  });
  t.compare(z, kRoundings, 8);
  // Sums of up to n elements of at most 3; each addition rounds a partial sum, which with random signs stays below
  // 4 sqrt(n) elements.
  const double n = static_cast<double>(w * h * c);
  t.compare(dx, n + 4, 3 * 4 * std::sqrt(n));
}

}  // namespace

std::vector<Case> arithmeticCases() {
  using enum ImageFeatureChannelFormat;
  return {{"Add", add, {float32, float16, unorm8, unorm16}},
          {"Subtract", subtract},
          {"Multiply", multiply},
          {"Divide", divide},
          {"ArithmeticRegion", region},
          {"AddGradient", gradient<CNNAdd, CNNAddGradient>},
          {"SubtractGradient", gradient<CNNSubtract, CNNSubtractGradient>},
          {"MultiplyGradient", gradient<CNNMultiply, CNNMultiplyGradient>}};
}

}  // namespace metalloid::image_conformance
