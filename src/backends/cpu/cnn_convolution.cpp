// A convolution is a correlation for each group of channels and each phase of its window; so is its gradient for the
// data, with the window inverted and the weights read the other way.

#include "operations/cnn_convolution.hpp"

#include "backends/cpu/columns.hpp"
#include "backends/cpu/correlation.hpp"
#include "backends/cpu/correlation_gradient.hpp"
#include "backends/cpu/kernels.hpp"

namespace metalloid::cpu {
namespace {

/// The same correlation for all phases of a window.
void appendPhases(std::vector<Correlation>& correlations, Correlation correlation, const operations::Window& window) {
  correlation.rowOfTaps = window.x.taps;
  for (const CorrelationAxis& y : correlationAxes(window.y, correlation.result.height)) {
    for (const CorrelationAxis& x : correlationAxes(window.x, correlation.result.width)) {
      correlation.x = x;
      correlation.y = y;
      correlations.push_back(correlation);
    }
  }
}

}  // namespace

const char* refusesGemm(const operations::CNNConvolution& operation, const Context&) {
  const bool enlarges = operation.window.x.divisor != 1 || operation.window.y.divisor != 1;
  return enlarges && operation.edgeMode == ImageEdgeMode::clamp ? "a window with a divisor clamps" : nullptr;
}

void runGemm(const operations::CNNConvolution& operation, Context& context) {
  const std::size_t sourceChannels = operation.source.channels / operation.groups;
  const std::size_t resultChannels = operation.result.channels / operation.groups;
  const std::size_t taps = operation.window.x.taps * operation.window.y.taps;
  const float* const weights = floatVector(operation.weights, context.scratch);
  const float* const bias = floatVector(operation.bias, context.scratch);
  const float* const slopes = floatVector(operation.slopes, context.scratch);
  std::vector<Correlation> correlations;
  for (std::size_t group = 0; group < operation.groups; ++group) {
    const std::size_t first = group * resultChannels;
    Correlation correlation;
    correlation.source = channelsOf(operation.source, group * sourceChannels, sourceChannels);
    correlation.result = channelsOf(operation.result, first, resultChannels);
    correlation.edgeMode = operation.edgeMode;
    correlation.weights = weights + first * taps * sourceChannels;
    correlation.tapStride = sourceChannels;
    correlation.channelStride = 1;
    correlation.columnStride = taps * sourceChannels;
    correlation.bias = bias ? bias + first : nullptr;
    correlation.slopes = slopes ? slopes + first : nullptr;
    correlation.neuron = operation.neuron.type == CNNNeuronType::none ? nullptr : &operation.neuron;
    appendPhases(correlations, correlation, operation.window);
  }
  correlate(correlations, context);
}

const char* refusesGemm(const operations::CNNConvolutionGradientForData& operation, const Context&) {
  return operation.edgeMode == ImageEdgeMode::clamp ? "the edge mode is clamp" : nullptr;
}

void runGemm(const operations::CNNConvolutionGradientForData& operation, Context& context) {
  const std::size_t gradientChannels = operation.gradient.channels / operation.groups;
  const std::size_t resultChannels = operation.result.channels / operation.groups;
  const std::size_t taps = operation.window.x.taps * operation.window.y.taps;
  const float* const weights = floatVector(operation.weights, context.scratch);
  const operations::Window window{inverse(operation.window.x, operation.resultX),
                                  inverse(operation.window.y, operation.resultY)};
  std::vector<Correlation> correlations;
  for (std::size_t group = 0; group < operation.groups; ++group) {
    Correlation correlation;
    correlation.source = channelsOf(operation.gradient, group * gradientChannels, gradientChannels);
    correlation.result = channelsOf(operation.result, group * resultChannels, resultChannels);
    correlation.weights = weights + group * gradientChannels * taps * resultChannels;
    correlation.tapStride = resultChannels;
    correlation.channelStride = taps * resultChannels;
    correlation.columnStride = 1;
    appendPhases(correlations, correlation, window);
  }
  correlate(correlations, context);
}

const char* refusesGemm(const operations::CNNConvolutionGradientForWeightsAndBias& operation, const Context&) {
  const bool enlarges = operation.window.x.divisor != 1 || operation.window.y.divisor != 1;
  return enlarges && operation.edgeMode == ImageEdgeMode::clamp ? "a window with a divisor clamps" : nullptr;
}

void runGemm(const operations::CNNConvolutionGradientForWeightsAndBias& operation, Context& context) {
  const std::size_t sourceChannels = operation.source.channels / operation.groups;
  const std::size_t gradientChannels = operation.gradient.channels / operation.groups;
  const std::size_t taps = operation.window.x.taps * operation.window.y.taps;
  auto* const forWeights = reinterpret_cast<float*>(operation.resultForWeights.data);
  auto* const forBias = reinterpret_cast<float*>(operation.resultForBias.data);
  const auto axesY = correlationAxes(operation.window.y, operation.gradient.height);
  const auto axesX = correlationAxes(operation.window.x, operation.gradient.width);
  // Each tap is in at most one phase, perhaps in none.
  const bool hasPhases = operation.window.x.divisor != 1 || operation.window.y.divisor != 1;
  if (hasPhases && !operation.accumulates) {
    std::fill_n(forWeights, operation.gradient.channels * taps * sourceChannels, 0.0F);
  }
  std::vector<CorrelationGradient> gradients;
  for (std::size_t group = 0; group < operation.groups; ++group) {
    CorrelationGradient gradient;
    gradient.source = channelsOf(operation.source, group * sourceChannels, sourceChannels);
    gradient.gradient = channelsOf(operation.gradient, group * gradientChannels, gradientChannels);
    gradient.edgeMode = operation.edgeMode;
    gradient.weights = forWeights + group * gradientChannels * taps * sourceChannels;
    gradient.rowOfTaps = operation.window.x.taps;
    gradient.tapStride = sourceChannels;
    gradient.columnStride = taps * sourceChannels;
    gradient.bias = forBias ? forBias + group * gradientChannels : nullptr;
    gradient.accumulates = operation.accumulates;
    if (hasPhases && forBias) {
      gradient.x.outputs = operation.gradient.width;
      gradient.y.outputs = operation.gradient.height;
      gradients.push_back(gradient);
    }
    if (hasPhases) {
      gradient.bias = nullptr;
      gradient.accumulates = true;
    }
    for (const CorrelationAxis& y : axesY) {
      for (const CorrelationAxis& x : axesX) {
        gradient.x = x;
        gradient.y = y;
        if (!hasPhases || x.taps * y.taps > 0) gradients.push_back(gradient);
      }
    }
  }
  correlateForWeights(gradients, context);
}

}  // namespace metalloid::cpu
