#include "training/layer_sources.hpp"

#include <utility>

namespace metalloid::training {
namespace {

CNNConvolutionDescriptor descriptorOf(const Layer& layer, std::size_t inputChannels) {
  return {.kernelWidth = layer.kernelWidth,
          .kernelHeight = layer.kernelHeight,
          .inputFeatureChannels = inputChannels,
          .outputFeatureChannels = layer.shape.channels,
          .strideInPixelsX = layer.strideX,
          .strideInPixelsY = layer.strideY,
          .groups = layer.groups,
          .dilationRateX = layer.dilationX,
          .dilationRateY = layer.dilationY};
}

}  // namespace

ConvolutionSource::ConvolutionSource(const TrainingContext& context, const Layer& layer, std::size_t inputChannels)
    : context_(context),
      label_(layer.name),
      descriptor_(descriptorOf(layer, inputChannels)),
      weights_(context.device, layer.name + ".weight",
               {layer.shape.channels, layer.kernelHeight, layer.kernelWidth, inputChannels / layer.groups},
               context.optimizer, /*regularized=*/true),
      biases_(context.device, layer.name + ".bias", {layer.shape.channels}, context.optimizer, /*regularized=*/false) {}

bool ConvolutionSource::load() {
  weights_.read();
  biases_.read();
  return true;
}

CNNConvolutionWeightsAndBiasesState ConvolutionSource::update(CommandBuffer& commandBuffer,
                                                              const CNNConvolutionGradientState& gradientState,
                                                              const CNNConvolutionWeightsAndBiasesState& sourceState) {
  weights_.encodeUpdate(commandBuffer, gradientState.gradientForWeights(), sourceState.weights(),
                        context_.learningRate);
  biases_.encodeUpdate(commandBuffer, gradientState.gradientForBiases(), sourceState.biases(), context_.learningRate);
  return sourceState;  // updated in place
}

ScaleAndShift::ScaleAndShift(const TrainingContext& shared, const Layer& layer)
    : context(shared),
      label(layer.name),
      epsilon(layer.epsilon),
      gamma(shared.device, layer.name + ".gamma", {layer.shape.channels}, shared.optimizer, /*regularized=*/false),
      beta(shared.device, layer.name + ".beta", {layer.shape.channels}, shared.optimizer, /*regularized=*/false) {}

CNNNormalizationGammaAndBetaState ScaleAndShift::update(CommandBuffer& commandBuffer, const Vector& gammaGradient,
                                                        const Vector& betaGradient, const Vector& liveGamma,
                                                        const Vector& liveBeta) {
  gamma.encodeUpdate(commandBuffer, gammaGradient, liveGamma, context.learningRate);
  beta.encodeUpdate(commandBuffer, betaGradient, liveBeta, context.learningRate);
  return CNNNormalizationGammaAndBetaState({.gamma = liveGamma, .beta = liveBeta});  // updated in place
}

// A step of gradient descent on (running - batch)^2 / 2, whose gradient is running - batch: the batch negated, with the
// running value as its own L2 regularization.
BatchNormalizationSource::BatchNormalizationSource(const TrainingContext& context, const Layer& layer)
    : parameters_(context, layer),
      runningMean_(context.device, layer.name + ".running_mean", {layer.shape.channels}, std::nullopt, false),
      runningVariance_(context.device, layer.name + ".running_variance", {layer.shape.channels}, std::nullopt, false),
      average_(context.device, {.optimizerDescriptor = {.learningRate = layer.momentum,
                                                        .gradientRescale = -1,
                                                        .regularizationType = NNRegularizationType::L2,
                                                        .regularizationScale = 1}}) {
  average_.label = layer.name + ".running";
}

bool BatchNormalizationSource::load() {
  for (TrainedTensor* const tensor : tensors()) tensor->read();
  return true;
}

CNNNormalizationGammaAndBetaState BatchNormalizationSource::updateGammaAndBeta(
    CommandBuffer& commandBuffer, const CNNBatchNormalizationState& state) {
  return parameters_.update(commandBuffer, state.gradientForGamma(), state.gradientForBeta(), state.gamma(),
                            state.beta());
}

CNNNormalizationMeanAndVarianceState BatchNormalizationSource::updateMeanAndVariance(
    CommandBuffer& commandBuffer, const CNNBatchNormalizationState& state) {
  follow(commandBuffer, runningMean_, mean_, state.mean());
  follow(commandBuffer, runningVariance_, variance_, state.variance());
  return {};  // the graph that trains has no use for them
}

void BatchNormalizationSource::follow(CommandBuffer& commandBuffer, TrainedTensor& tensor, Vector& running,
                                      const Vector& batch) {
  if (!tensor.isLive()) {
    running = Vector(parameters_.context.device, {.length = tensor.elements()});
    running.setLabel(tensor.name());
    running.write(tensor.values());
    tensor.setLive(running);
  }
  average_.encode(commandBuffer,
                  {.inputGradientVector = batch, .inputValuesVector = running, .resultValuesVector = running});
}

GradientSum::GradientSum(const Device& device, std::size_t elements, const std::string& label)
    : zeros_(device, {.length = elements}),
      sum_(device, {.length = elements}),
      add_(device, /*learningRate=*/-1) {  // sum - (-1) * gradient
  sum_.setLabel("gradient of " + label);
  add_.label = "gradient of " + label;
}

void GradientSum::add(CommandBuffer& commandBuffer, const Vector& gradient) {
  add_.encode(
      commandBuffer,
      {.inputGradientVector = gradient, .inputValuesVector = isEmpty_ ? zeros_ : sum_, .resultValuesVector = sum_});
  isEmpty_ = false;
}

}  // namespace metalloid::training
