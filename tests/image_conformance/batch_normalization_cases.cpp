#include "conformance/neurons.hpp"
#include "image_conformance/image_trial.hpp"
#include "support/normalization_sources.hpp"

#include <metalloid/matrix_copy.hpp>

#include <algorithm>

namespace metalloid::image_conformance {
namespace {

using metalloid::testing::NormalizationValues;

// As large as the variance of the data, so that r <= 2 even where an image has one pixel: no result is ill-conditioned.
constexpr float kEpsilon = 0.25f;

// x is in [-2, 2]. A mean carries the roundings of a block's sum of 64 terms and a few more, each of a number up to 2;
// a normalized value twice that, as r <= 2, and some for the root: below 300. gamma and the neuron's slope are at most
// 1.5 each, and a sum of 64 products adds its own.
constexpr double kRoundings = 1024;

std::vector<float> drawSome(ImageTrial& t, std::size_t count, double lower, double upper) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(t.random().uniform(lower, upper));
  return values;
}

NormalizationValues drawValues(ImageTrial& t, std::size_t channels, bool withStatistics) {
  NormalizationValues values{.channels = channels, .epsilon = kEpsilon};
  if (t.random().coin()) values.gamma = drawSome(t, channels, -1.5, 1.5);
  if (t.random().coin()) values.beta = drawSome(t, channels, -1, 1);
  if (withStatistics) {
    values.mean = drawSome(t, channels, -1, 1);
    values.variance = drawSome(t, channels, 0.5, 2);
  }
  return values;
}

NNNeuronDescriptor describe(const conformance::NeuronExample& n) {
  return NNNeuronDescriptor::cnnNeuronDescriptor(n.type, n.a, n.b, n.c);
}

/// Any function: a value is continuous, whichever side of a kink rounding puts its argument.
NNNeuronDescriptor drawNeuron(ImageTrial& t, std::size_t channels) {
  if (t.random().below(5) == 0) return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(drawSome(t, channels, -0.5, 1.5));
  return describe(conformance::someNeuron(t.random(), false, true));
}

/// One with a continuous derivative of at most 1.5.
NNNeuronDescriptor drawSmoothNeuron(ImageTrial& t) {
  using enum CNNNeuronType;
  return describe(t.oneOf<conformance::NeuronExample>({{"none", none},
                                                       {"linear", linear, 1.5f, 0.25f},
                                                       {"sigmoid", sigmoid},
                                                       {"tanH", tanH, 1.75f, 0.625f},
                                                       {"softPlus", softPlus, 1, 1},
                                                       {"softSign", softSign},
                                                       {"ELU", ELU, 1},
                                                       {"geLU", geLU}}));
}

/// What a kernel left in a vector, in an operand.
void take(const Device& device, CommandBuffer& commands, const Vector& from, const Vector& to) {
  const MatrixDescriptor row{.rows = 1, .columns = from.length()};
  MatrixCopy(device, {.copyRows = 1, .copyColumns = from.length()})
      .encode(commands,
              {.copyDescriptor = MatrixCopyDescriptor({.sourceMatrix = Matrix(from.data(), from.offset(), row),
                                                       .destinationMatrix = Matrix(to.data(), to.offset(), row)})});
}

void batchNormalization(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(70);
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", w, h, c);
  const auto values = drawValues(t, c, true);
  const auto neuron = drawNeuron(t, c);
  t.run([&](const Device& device, CommandBuffer& commands) {
    auto kernel = testing::batchNormalization(device, values, neuron);
    kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
  });
  t.compare(y, kRoundings);
}

/// The whole chain of training, the batch in one or two parts.
void batchNormalizationTraining(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(70);
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& x = t.source("sourceImage", w, h, c);
  const auto& y = t.result("destinationImage", w, h, c);
  const auto& dx = t.result("destinationGradient", w, h, c);
  const auto &mean = t.resultVector("mean", c), &variance = t.resultVector("variance", c);
  const auto &dGamma = t.resultVector("gradientForGamma", c), &dBeta = t.resultVector("gradientForBeta", c);
  const auto values = drawValues(t, c, t.random().coin());
  const auto neuron = drawSmoothNeuron(t);
  const std::size_t first = t.random().below(t.images()) + 1;  // of two parts
  t.run([&](const Device& device, CommandBuffer& commands) {
    const auto part = [&](const ImageBatch& batch, bool isSecond) {
      const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(first);
      return isSecond ? ImageBatch(middle, batch.end()) : ImageBatch(batch.begin(), middle);
    };
    auto kernel = testing::batchNormalization(device, values, neuron);
    const auto state = kernel.resultState({.sourceImage = x.images()[0], .destinationImage = y.images()[0]});
    CNNBatchNormalizationStatistics statistics(device);
    CNNBatchNormalizationStatisticsGradient sums(device, neuron);
    CNNBatchNormalizationGradient gradient(device, neuron);
    for (const bool isSecond : {false, true}) {
      if (isSecond && first == t.images()) break;
      statistics.encodeBatch(commands, {.sourceImages = part(x.images(), isSecond), .batchNormalizationState = state});
    }
    kernel.encodeBatch(commands,
                       {.sourceImages = x.images(), .batchNormalizationState = state, .destinationImages = y.images()});
    for (const bool isSecond : {false, true}) {
      if (isSecond && first == t.images()) break;
      sums.encodeBatch(commands, {.sourceGradients = part(g.images(), isSecond),
                                  .sourceImages = part(x.images(), isSecond),
                                  .batchNormalizationState = state});
    }
    gradient.encodeBatch(commands, {.sourceGradients = g.images(),
                                    .sourceImages = x.images(),
                                    .batchNormalizationState = state,
                                    .destinationGradients = dx.images()});
    take(device, commands, state.mean(), mean.vector());
    take(device, commands, state.variance(), variance.vector());
    take(device, commands, state.gradientForGamma(), dGamma.vector());
    take(device, commands, state.gradientForBeta(), dBeta.vector());
  });
  const auto pixels = static_cast<double>(w * h * t.images());
  t.compare(mean, 128, 2);
  t.compare(variance, 256, 4);
  t.compare(y, kRoundings, 4);
  t.compare(dGamma, kRoundings, 1.5 * pixels);
  t.compare(dBeta, kRoundings, 1.5 * pixels);
  t.compare(dx, 4 * kRoundings, 4);
}

/// Statistics of the data source, and neurons with kinks: r is 1, and no argument falls on one.
void batchNormalizationFixed(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9), c = t.size(70);
  const auto onGrid = [&] { return (2 * (static_cast<double>(t.random().below(384)) - 192) + 1) * 0x1p-7; };
  const auto& g = t.source("sourceGradient", w, h, c, {-1, 1});
  const auto& x = t.source("sourceImage", t.variant().format, w, h, c, onGrid);
  const auto& dx = t.result("destinationGradient", w, h, c);
  const auto &dGamma = t.resultVector("gradientForGamma", c), &dBeta = t.resultVector("gradientForBeta", c);
  const NormalizationValues values{.channels = c,
                                   .gamma = std::vector<float>(c, t.random().coin() ? 1.0f : -1.0f),
                                   .beta = std::vector<float>(c, t.random().coin() ? 0.0f : 0.25f),
                                   .mean = std::vector<float>(c, 0.5f),
                                   .variance = std::vector<float>(c, 1 - kEpsilon),
                                   .epsilon = kEpsilon};
  const auto neuron = t.random().coin() ? NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::reLU)
                                        : NNNeuronDescriptor::cnnNeuronPReLUDescriptor(drawSome(t, c, -0.5, 1.5));
  t.run([&](const Device& device, CommandBuffer& commands) {
    auto kernel = testing::batchNormalization(device, values, neuron);
    const auto state = kernel.resultState({.sourceImage = x.images()[0], .destinationImage = dx.images()[0]});
    CNNBatchNormalizationStatisticsGradient(device, neuron)
        .encodeBatch(commands,
                     {.sourceGradients = g.images(), .sourceImages = x.images(), .batchNormalizationState = state});
    CNNBatchNormalizationGradient(device, neuron)
        .encodeBatch(commands, {.sourceGradients = g.images(),
                                .sourceImages = x.images(),
                                .batchNormalizationState = state,
                                .destinationGradients = dx.images()});
    take(device, commands, state.gradientForGamma(), dGamma.vector());
    take(device, commands, state.gradientForBeta(), dBeta.vector());
  });
  // Everything but products and sums is exact. A sum is of terms up to 1.5 * 4.
  const auto pixels = static_cast<double>(w * h * t.images());
  t.compare(dx, 4, 1.5);
  t.compare(dGamma, 64 + 4, 6 * pixels);
  t.compare(dBeta, 64 + 4, 1.5 * pixels);
}

/// Clip rectangles, offsets inside and outside of the source, and channel offsets, through the whole chain.
void batchNormalizationRegion(ImageTrial& t) {
  const std::size_t w = 2 + t.size(9), h = 2 + t.size(9), c = 3;
  const auto& x = t.source("sourceImage", w, h, c + 5);
  const auto& y = t.result("destinationImage", w + 2, h + 2, c + 6);
  const auto& g = t.source("sourceGradient", w + 2, h + 2, c + 6, {-1, 1});
  const auto& dx = t.result("destinationGradient", w, h, c + 5);
  const auto values = drawValues(t, c, false);
  const auto neuron = drawSmoothNeuron(t);
  const Region clip{{t.random().below(2), t.random().below(2), 0},
                    {1 + t.random().below(w), 1 + t.random().below(h), 1}};
  const Offset offset{static_cast<std::ptrdiff_t>(t.random().below(3)) - 1,
                      static_cast<std::ptrdiff_t>(t.random().below(3)) - 1, 0};
  const auto edgeMode = t.oneOf({ImageEdgeMode::zero, ImageEdgeMode::clamp});
  // Where nothing of the source is read there are no statistics.
  if (offset.x + static_cast<std::ptrdiff_t>(clip.size.width) <= 0 ||
      offset.y + static_cast<std::ptrdiff_t>(clip.size.height) <= 0) {
    return;
  }
  t.run([&](const Device& device, CommandBuffer& commands) {
    auto kernel = testing::batchNormalization(device, values, neuron);
    CNNBatchNormalizationStatistics statistics(device);
    const auto configure = [&](CNNKernel& one) {
      one.clipRect = clip;
      one.offset = offset;
      one.edgeMode = edgeMode;
      one.sourceFeatureChannelOffset = 4;
      one.sourceFeatureChannelMaxCount = c;
    };
    configure(kernel);
    configure(statistics);
    kernel.destinationFeatureChannelOffset = 4;
    const auto state = kernel.resultState({.sourceImage = x.images()[0], .destinationImage = y.images()[0]});
    statistics.encodeBatch(commands, {.sourceImages = x.images(), .batchNormalizationState = state});
    kernel.encodeBatch(commands,
                       {.sourceImages = x.images(), .batchNormalizationState = state, .destinationImages = y.images()});
    CNNBatchNormalizationStatisticsGradient(device, neuron)
        .encodeBatch(commands,
                     {.sourceGradients = g.images(), .sourceImages = x.images(), .batchNormalizationState = state});
    CNNBatchNormalizationGradient gradient(device, neuron);
    gradient.destinationImageDescriptor({g.images()[0], x.images()[0]}, {state});
    gradient.encodeBatch(commands, {.sourceGradients = g.images(),
                                    .sourceImages = x.images(),
                                    .batchNormalizationState = state,
                                    .destinationGradients = dx.images()});
  });
  t.compare(y, kRoundings, 4);
  t.compare(dx, 4 * kRoundings, 4);
}

NormalizationValues drawGroups(ImageTrial& t) {
  const std::size_t groups = t.size(5), each = t.size(14);
  auto values = drawValues(t, groups * each, false);
  values.groups = groups;
  return values;
}

void groupNormalization(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9);
  const auto values = drawGroups(t);
  const auto& x = t.source("sourceImage", w, h, values.channels);
  const auto& y = t.result("destinationImage", w, h, values.channels);
  const bool isInstance = t.random().coin();
  t.run([&](const Device& device, CommandBuffer& commands) {
    const auto encode = [&](auto kernel) {
      kernel.encodeBatch(commands, {.sourceImages = x.images(), .destinationImages = y.images()});
    };
    if (isInstance) {
      encode(testing::instanceNormalization(device, values));
    } else {
      encode(testing::groupNormalization(device, values));
    }
  });
  t.compare(y, kRoundings, 4);
}

template <class State, class Kernel, class Gradient>
void encodeGroupGradient(const Device& device, CommandBuffer& commands, Kernel kernel, Gradient gradient,
                         const Operand& g, const Operand& x, const Operand& dx, const Operand& dGamma,
                         const Operand& dBeta, bool inOneBlock) {
  const auto stateArguments = [&](std::size_t count) {
    return CNNKernel::StateArguments{
        .sourceImage = x.images()[0], .destinationImage = dx.images()[0], .batchSize = count};
  };
  StateBatch states;
  if (inOneBlock) {
    states = kernel.resultStateBatch(stateArguments(x.images().size()));
  } else {
    for (std::size_t n = 0; n < x.images().size(); ++n) states.push_back(kernel.resultState(stateArguments(1)));
  }
  gradient.encodeBatch(commands, {.sourceGradients = g.images(),
                                  .sourceImages = x.images(),
                                  .gradientStates = states,
                                  .destinationGradients = dx.images()});
  // The last image's, so that a wrong stride shows.
  take(device, commands, State(states.back()).gradientForGamma(), dGamma.vector());
  take(device, commands, State(states.back()).gradientForBeta(), dBeta.vector());
}

void groupNormalizationGradient(ImageTrial& t) {
  const std::size_t w = t.size(9), h = t.size(9);
  const auto values = drawGroups(t);
  const auto& g = t.source("sourceGradient", w, h, values.channels, {-1, 1});
  const auto& x = t.source("sourceImage", w, h, values.channels);
  const auto& dx = t.result("destinationGradient", w, h, values.channels);
  const auto& dGamma = t.resultVector("gradientForGamma", values.channels);
  const auto& dBeta = t.resultVector("gradientForBeta", values.channels);
  const bool isInstance = t.random().coin(), inOneBlock = t.random().coin();
  t.run([&](const Device& device, CommandBuffer& commands) {
    if (isInstance) {
      encodeGroupGradient<CNNInstanceNormalizationGradientState>(
          device, commands, testing::instanceNormalization(device, values), CNNInstanceNormalizationGradient(device), g,
          x, dx, dGamma, dBeta, inOneBlock);
    } else {
      encodeGroupGradient<CNNGroupNormalizationGradientState>(
          device, commands, testing::groupNormalization(device, values), CNNGroupNormalizationGradient(device), g, x,
          dx, dGamma, dBeta, inOneBlock);
    }
  });
  const auto pixels = static_cast<double>(w * h);
  t.compare(dGamma, kRoundings, pixels);
  t.compare(dBeta, 64 + 4, pixels);
  t.compare(dx, 4 * kRoundings, 4);
}

}  // namespace

std::vector<Case> batchNormalizationCases() {
  using enum ImageFeatureChannelFormat;
  return {{"BatchNormalization", batchNormalization, {float32, float16, unorm8, unorm16}},
          {"BatchNormalizationTraining", batchNormalizationTraining},
          {"BatchNormalizationFixed", batchNormalizationFixed},
          {"BatchNormalizationRegion", batchNormalizationRegion},
          {"GroupNormalization", groupNormalization, {float32, float16, unorm8, unorm16}},
          {"GroupNormalizationGradient", groupNormalizationGradient}};
}

}  // namespace metalloid::image_conformance
