// Batch normalization over images, with statistics and ReLU. Sizes: images x height x width x channels.

#include <cmath>
#include <memory>
#include <vector>

#include "bounds.hpp"
#include "case.hpp"
#include "kernels/batch_normalization_state.hpp"

namespace benchmark_program {

using namespace metalloid;

namespace {

constexpr float kEpsilon = 1e-5f;

/// The roundings of z = gamma*(x - mean)*s + beta: s counts 2, difference, products and sum 1 each; rounded up.
constexpr double kArgumentRoundings = 8;

class Parameters final : public CNNBatchNormalizationDataSource {
 public:
  Parameters(std::vector<float> gamma, std::vector<float> beta) : gamma_(std::move(gamma)), beta_(std::move(beta)) {}
  std::size_t numberOfFeatureChannels() const override { return gamma_.size(); }
  std::string label() const override { return "normalization"; }
  std::span<const float> gamma() override { return gamma_; }
  std::span<const float> beta() override { return beta_; }
  std::span<const float> mean() override { return {}; }
  std::span<const float> variance() override { return {}; }
  float epsilon() const override { return kEpsilon; }
  bool load() override { return true; }
  void purge() override {}

 private:
  std::vector<float> gamma_, beta_;
};

struct Layer {
  std::vector<std::size_t> shape;
  std::size_t pixels, channels;
  Vector gamma, beta;
  std::shared_ptr<CNNBatchNormalization> forward;
  NNNeuronDescriptor neuron = NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::reLU);

  Layer(Operands& operands, const Problem& problem) : shape(problem.sizes) {
    problem.requireSizes(4);
    channels = shape[3], pixels = shape[0] * shape[1] * shape[2];
    gamma = operands.vector("gamma", channels), beta = operands.vector("beta", channels);
    forward = std::make_shared<CNNBatchNormalization>(
        operands.device(), std::make_shared<Parameters>(gamma.read<float>(), beta.read<float>()), neuron);
  }
  double bytes(double passes) const { return 4 * passes * static_cast<double>(pixels * channels); }
};

/// A channel in double precision.
struct Channel {
  double mean = 0, s = 0, gamma = 0, beta = 0;

  Channel(const std::vector<float>& x, const Layer& layer, std::size_t c)
      : gamma(static_cast<double>(layer.gamma.read<float>()[c])),
        beta(static_cast<double>(layer.beta.read<float>()[c])) {
    double variance = 0;
    for (std::size_t i = 0; i < layer.pixels; ++i) mean += static_cast<double>(x[i * layer.channels + c]);
    mean /= static_cast<double>(layer.pixels);
    for (std::size_t i = 0; i < layer.pixels; ++i)
      variance += std::pow(static_cast<double>(x[i * layer.channels + c]) - mean, 2);
    s = 1 / std::sqrt(variance / static_cast<double>(layer.pixels) + static_cast<double>(kEpsilon));
  }
  double xhat(float x) const { return (static_cast<double>(x) - mean) * s; }
  double z(float x) const { return gamma * xhat(x) + beta; }
  double allowed(float x) const {
    // Mean and variance are sums over all pixels, taken block by block.
    return (kArgumentRoundings + 64) * kFloatRounding * (std::abs(gamma) * (1 + std::abs(xhat(x))) + std::abs(beta));
  }
};

std::vector<std::size_t> checkedChannels(std::size_t channels) {
  std::vector<std::size_t> chosen;
  for (std::size_t c = 0; c < channels; c += std::max<std::size_t>(1, channels / 4)) chosen.push_back(c);
  return chosen;
}

std::vector<float> read(const ImageBatch& images) { return images.front().parent().read<float>(); }

}  // namespace

Case imageBatchNormalizationCase(Operands operands, const Problem& problem) {
  const Layer layer(operands, problem);
  const ImageBatch x = operands.images("x", layer.shape), y = operands.resultImages("y", layer.shape);
  auto statistics = std::make_shared<CNNBatchNormalizationStatistics>(operands.device());
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.bytes = layer.bytes(3);
  result.encode = [=](CommandBuffer& commands) {
    const auto state = layer.forward->temporaryResultState(
        commands, {.sourceImage = x.front(), .destinationImage = y.front(), .batchSize = x.size()});
    state.setReadCount(2);
    statistics->encodeBatch(commands, {.sourceImages = x, .batchNormalizationState = state});
    layer.forward->encodeBatch(commands, {.sourceImages = x, .batchNormalizationState = state, .destinationImages = y});
    if (state.readCount() > 0) state.setReadCount(0);
  };
  result.error = [=] {
    const auto source = read(x), actual = read(y);
    WorstError worst;
    for (const std::size_t c : checkedChannels(layer.channels)) {
      const Channel channel(source, layer, c);
      for (std::size_t i = 0; i < layer.pixels; ++i) {
        const float value = source[i * layer.channels + c];
        worst.add(static_cast<double>(actual[i * layer.channels + c]), std::max(channel.z(value), 0.0),
                  channel.allowed(value));
      }
    }
    return worst.value();
  };
  return result;
}

Case imageBatchNormalizationGradientCase(Operands operands, const Problem& problem) {
  const Layer layer(operands, problem);
  const ImageBatch x = operands.images("x", layer.shape), dy = operands.images("dy", layer.shape);
  const ImageBatch dx = operands.resultImages("dx", layer.shape);
  const Device device = operands.device();
  const auto state =
      layer.forward->resultState({.sourceImage = x.front(), .destinationImage = x.front(), .batchSize = x.size()});
  CNNBatchNormalizationStatistics statistics(device);
  auto statisticsGradient = std::make_shared<CNNBatchNormalizationStatisticsGradient>(device, layer.neuron);
  auto gradient = std::make_shared<CNNBatchNormalizationGradient>(device, layer.neuron);
  Case result{.operands = std::move(operands), .encode = {}, .error = {}};
  result.bytes = layer.bytes(5);
  result.encode = [=](CommandBuffer& commands) {
    // The forward half is not timed: its statistics stay in the state, which forgets the gradients of the last encode.
    auto& gradients = detail::batchNormalizationState(state);
    gradients.gradientCount = 0;
    gradients.hasGradients = false;
    statisticsGradient->encodeBatch(commands,
                                    {.sourceGradients = dy, .sourceImages = x, .batchNormalizationState = state});
    gradient->encodeBatch(
        commands,
        {.sourceGradients = dy, .sourceImages = x, .batchNormalizationState = state, .destinationGradients = dx});
  };
  {
    CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
    statistics.encodeBatch(commands, {.sourceImages = x, .batchNormalizationState = state});
    commands.commit();
    commands.waitUntilCompleted();
  }
  result.error = [=] {
    const auto source = read(x), incoming = read(dy), actual = read(dx);
    WorstError worst;
    for (const std::size_t c : checkedChannels(layer.channels)) {
      const Channel channel(source, layer, c);
      double sum = 0, product = 0, magnitude = 0;
      const auto g = [&](std::size_t i) {
        const double z = channel.z(source[i * layer.channels + c]);
        return z >= 0 ? static_cast<double>(incoming[i * layer.channels + c]) : 0.0;
      };
      for (std::size_t i = 0; i < layer.pixels; ++i) {
        const double xhat = channel.xhat(source[i * layer.channels + c]);
        sum += g(i), product += g(i) * xhat, magnitude += std::abs(g(i)) * (1 + std::abs(xhat));
      }
      const double m = static_cast<double>(layer.pixels), scale = std::abs(channel.gamma) * channel.s;
      for (std::size_t i = 0; i < layer.pixels; ++i) {
        const float value = source[i * layer.channels + c];
        if (std::abs(channel.z(value)) <= channel.allowed(value)) continue;  // at the knot rounding decides
        const double xhat = channel.xhat(value);
        const double exact = channel.gamma * channel.s * (g(i) - sum / m - xhat * product / m);
        const double terms = std::abs(g(i)) + (1 + std::abs(xhat)) * magnitude / m;
        worst.add(static_cast<double>(actual[i * layer.channels + c]), exact,
                  (kArgumentRoundings + 128) * kFloatRounding * scale * terms);
      }
    }
    return worst.value();
  };
  return result;
}

}  // namespace benchmark_program
