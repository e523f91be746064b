#include "training/network.hpp"

#include "core/format.hpp"
#include "training/array_parts.hpp"
#include "training/initialization.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace metalloid::training {
namespace {

constexpr std::size_t kElementBytes = sizeOfDataType(DataType::float32);

std::string layerName(std::size_t index) { return fmt::format("hidden.{}", index); }

std::vector<ParameterArena::Request> requests(const NetworkOptions& options) {
  std::vector<ParameterArena::Request> all;
  std::size_t inputs = options.inputs;
  for (std::size_t i = 0; i < options.hidden.size(); ++i) {
    const auto layer = HiddenLayer::parameters(layerName(i), inputs, options.hidden[i], options);
    all.insert(all.end(), layer.begin(), layer.end());
    inputs = options.hidden[i];
  }
  all.push_back({.name = "output.weight", .rows = inputs, .columns = options.classes});
  all.push_back({.name = "output.bias", .columns = options.classes});
  return all;
}

NetworkOptions checked(const NetworkOptions& options) {
  check(options);
  return options;
}

}  // namespace

Network::Network(const Device& device, const NetworkOptions& options, std::size_t maximumRows)
    : device_(device),
      options_(checked(options)),
      maximumRows_(maximumRows),
      arena_(device, requests(options)),
      multiply_(device),
      multiplyGradient_(device),
      loss_(device) {
  std::size_t inputs = options.inputs;
  std::size_t parameter = 0;
  for (std::size_t i = 0; i < options.hidden.size(); ++i) {
    layers_.emplace_back(device, options,
                         HiddenLayer::Place{.name = layerName(i),
                                            .inputs = inputs,
                                            .units = options.hidden[i],
                                            .maximumRows = maximumRows,
                                            .firstParameter = parameter},
                         arena_);
    inputs = options.hidden[i];
    parameter += HiddenLayer::parameters(layerName(i), 1, 1, options).size();
  }
  outputWeights_ = arena_.valueMatrix(parameter);
  outputWeightGradient_ = arena_.gradientMatrix(parameter);
  outputBias_ = arena_.valueVector(parameter + 1);
  outputBiasGradient_ = arena_.gradientVector(parameter + 1);
  logits_ = Matrix(device, {.rows = maximumRows, .columns = options.classes});
  logits_.setLabel("logits");
  logitGradient_ = Matrix(device, {.rows = maximumRows, .columns = options.classes});
  logitGradient_.setLabel("gradient of logits");
  multiply_.label = multiplyGradient_.label = "output";
  loss_.label = "loss";
  if (options.batchNormalization && !layers_.empty()) makeStatistics();
}

void Network::makeStatistics() {
  const std::size_t channels = std::accumulate(options_.hidden.begin(), options_.hidden.end(), std::size_t{0});
  batchStatistics_ = Matrix(device_, {.rows = 2, .columns = channels});
  runningStatistics_ = Matrix(device_, {.rows = 2, .columns = channels});
  batchStatistics_.setLabel("batch statistics");
  runningStatistics_.setLabel("running statistics");
  std::size_t first = 0;
  for (auto& layer : layers_) {
    const auto statistics = [&](const Matrix& matrix) {
      const auto row = [&](std::size_t index, const char* what) {
        const Vector vector(matrix.data(), matrix.offset() + index * matrix.rowBytes() + first * kElementBytes,
                            {.length = layer.units()});
        vector.setLabel(layer.name() + what);
        return vector;
      };
      return ChannelStatistics{.mean = row(0, ".mean"), .variance = row(1, ".variance")};
    };
    layer.setStatistics(statistics(batchStatistics_), statistics(runningStatistics_));
    first += layer.units();
  }
  mix_.emplace(device_, MatrixSum::Descriptor{.count = 2, .rows = 2, .columns = channels});
  mix_->label = "running statistics";
  mixScales_ = Vector(device_, {.length = 2});
  mixScales_.setLabel("momentum of running statistics");
  const float momentum = options_.batchNormalizationMomentum;
  mixScales_.write(std::array{1 - momentum, momentum});
}

void Network::initialize(const CommandQueue& queue, std::uint32_t seed) {
  arena_.values().write(std::vector<float>(arena_.elements()));
  CommandBuffer commands = queue.makeCommandBuffer();
  commands.setLabel("initialization");
  std::uint64_t stream = 0;
  for (const auto& layer : layers_) {
    const double kept = varianceKept(options_.neuron.type);
    const Matrix& weights = layer.weights();
    encodeNormal(commands, device_, weightKey(seed, ++stream), 1 / (kept * static_cast<double>(weights.rows())),
                 weights);
  }
  encodeNormal(commands, device_, weightKey(seed, ++stream), 1 / static_cast<double>(outputWeights_.rows()),
               outputWeights_);
  commands.commit();
  commands.waitUntilCompleted();
  for (const auto& layer : layers_) layer.initialize();
  if (runningStatistics_) {
    // A mean of 0 and a variance of 1, until batches say otherwise.
    std::vector<float> values(2 * runningStatistics_.columns(), 0.0f);
    std::fill(values.begin() + static_cast<std::ptrdiff_t>(runningStatistics_.columns()), values.end(), 1.0f);
    runningStatistics_.write(values);
  }
}

Matrix Network::encodeForward(CommandBuffer& commandBuffer, const Matrix& inputs, bool training) const {
  Matrix activations = inputs;
  for (const auto& layer : layers_) activations = layer.encodeForward(commandBuffer, activations, training);
  return activations;
}

void Network::encodeTrainingStep(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) const {
  const std::size_t rows = batch.rows();
  std::vector<Matrix> inputs{batch.inputs};  // of each layer, the output layer included
  for (const auto& layer : layers_) {
    inputs.push_back(layer.encodeForward(commandBuffer, inputs.back(), /*training=*/true));
  }
  const Matrix logits = firstRows(logits_, rows);
  multiply_.encode(commandBuffer, {.inputMatrix = inputs.back(),
                                   .weightMatrix = outputWeights_,
                                   .biasVector = outputBias_,
                                   .resultMatrix = logits});

  const Matrix logitGradient = firstRows(logitGradient_, rows);
  MatrixSoftMaxCrossEntropy loss = loss_;
  loss.weight = 1.0f / static_cast<float>(rows);
  loss.labelSmoothing = labelSmoothing;
  loss.encode(commandBuffer, {.sourceMatrix = logits,
                              .labelVector = batch.labels,
                              .resultLossVector = results.losses,
                              .resultCorrectVector = results.correct,
                              .resultGradientMatrix = logitGradient});

  multiplyGradient_.encodeForWeightsAndBias(commandBuffer, {.gradientMatrix = logitGradient,
                                                            .inputMatrix = inputs.back(),
                                                            .resultGradientForWeightMatrix = outputWeightGradient_,
                                                            .resultGradientForBiasVector = outputBiasGradient_});
  if (!layers_.empty()) {
    multiplyGradient_.encodeForData(commandBuffer, {.gradientMatrix = logitGradient,
                                                    .weightMatrix = outputWeights_,
                                                    .resultGradientForDataMatrix = layers_.back().gradient(rows)});
  }
  for (std::size_t i = layers_.size(); i-- > 0;) {
    // Nobody asks for the gradient of the samples themselves.
    const Matrix below = i == 0 ? Matrix() : layers_[i - 1].gradient(rows);
    layers_[i].encodeGradient(commandBuffer, layers_[i].gradient(rows), inputs[i], below);
  }
  encodeRunningStatistics(commandBuffer);
}

void Network::encodeRunningStatistics(CommandBuffer& commandBuffer) const {
  if (!mix_) return;
  mix_->encode(commandBuffer, {.sourceMatrices = {runningStatistics_, batchStatistics_},
                               .resultMatrix = runningStatistics_,
                               .scaleVector = mixScales_});
}

void Network::encodeEvaluation(CommandBuffer& commandBuffer, const Batch& batch, const SampleResults& results) const {
  const std::size_t rows = batch.rows();
  const Matrix activations = encodeForward(commandBuffer, batch.inputs, /*training=*/false);
  const Matrix logits = results.logits ? results.logits : firstRows(logits_, rows);
  multiply_.encode(
      commandBuffer,
      {.inputMatrix = activations, .weightMatrix = outputWeights_, .biasVector = outputBias_, .resultMatrix = logits});
  if (!results.losses && !results.correct) return;
  MatrixSoftMaxCrossEntropy loss = loss_;
  loss.weight = 1.0f / static_cast<float>(rows);
  loss.encode(commandBuffer, {.sourceMatrix = logits,
                              .labelVector = batch.labels,
                              .resultLossVector = results.losses,
                              .resultCorrectVector = results.correct});
}

std::vector<Network::Tensor> Network::tensors() const {
  std::vector<Tensor> all;
  const auto& parameters = arena_.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& parameter = parameters[i];
    std::vector<std::size_t> shape{parameter.columns};
    if (!parameter.isVector) shape.insert(shape.begin(), parameter.rows);
    all.push_back({.name = parameter.name, .shape = std::move(shape), .matrix = arena_.valueMatrix(i)});
  }
  std::size_t first = 0;
  for (const auto& layer : layers_) {
    if (!runningStatistics_) break;
    const auto row = [&](std::size_t index) {
      return Matrix(runningStatistics_.data(),
                    runningStatistics_.offset() + index * runningStatistics_.rowBytes() + first * kElementBytes,
                    {.rows = 1, .columns = layer.units(), .rowBytes = layer.units() * kElementBytes});
    };
    all.push_back({.name = layer.name() + ".running_mean", .shape = {layer.units()}, .matrix = row(0)});
    all.push_back({.name = layer.name() + ".running_variance", .shape = {layer.units()}, .matrix = row(1)});
    first += layer.units();
  }
  return all;
}

std::vector<std::pair<std::string, Matrix>> Network::intermediates() const {
  std::vector<std::pair<std::string, Matrix>> all;
  for (const auto& layer : layers_) {
    const auto matrices = layer.activations();
    all.insert(all.end(), matrices.begin(), matrices.end());
  }
  all.emplace_back("the logits of layer output", logits_);
  all.emplace_back("the gradient of the logits", logitGradient_);
  const auto& parameters = arena_.parameters();
  for (std::size_t i = parameters.size(); i-- > 0;) {
    all.emplace_back("the gradient of " + parameters[i].name, arena_.gradientMatrix(i));
  }
  return all;
}

}  // namespace metalloid::training
