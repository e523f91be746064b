// A convolution is a correlation for each group of channels and each phase of its window; so is its gradient for the
// data, with the window inverted and the weights read the other way.

#include "operations/cnn_convolution.hpp"

#include "backends/cpu/columns.hpp"
#include "backends/cpu/correlation.hpp"
#include "backends/cpu/correlation_gradient.hpp"
#include "backends/cpu/gemm_operands.hpp"
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

/// One output channel for each source channel, of which it sees no other.
bool isDepthwise(std::size_t groups, std::size_t sourceChannels, std::size_t resultChannels) {
  return groups > 1 && groups == sourceChannels && groups == resultChannels;
}

/// The window is the whole image, and there is one output.
bool isFullyConnected(const operations::Window& window, const operations::ImageView& source,
                      const operations::ImageView& outputs, std::size_t groups) {
  const auto covers = [](const operations::WindowAxis& axis, std::size_t size) {
    return axis.taps == size && axis.base == 0 && (size == 1 || axis.tapStep == 1) && axis.divisor == 1;
  };
  return groups == 1 && outputs.pixels() == 1 && covers(window.x, source.width) && covers(window.y, source.height);
}

/// Images can be the rows of a matrix.
bool areRows(const operations::ImageView& view) {
  return view.type == DataType::float32 && view.isPacked() && (view.images == 1 || view.addresses.empty());
}

operations::MatrixView rowsOf(const operations::ImageView& view) {
  return {.data = view.data,
          .rows = view.images,
          .columns = view.pixels() * view.channels,
          .rowBytes = view.imageBytes,
          .type = DataType::float32};
}

operations::MatrixView weightsOf(const operations::VectorView& weights, const operations::ImageView& outputs,
                                 const operations::ImageView& source) {
  const std::size_t columns = source.pixels() * source.channels;
  return {.data = weights.data,
          .rows = outputs.channels,
          .columns = columns,
          .rowBytes = columns * sizeof(float),
          .type = DataType::float32};
}

void runFullyConnected(const operations::CNNConvolution& operation, Context& context) {
  Gemm product =
      gemmOf(rowsOf(operation.source), false, weightsOf(operation.weights, operation.result, operation.source), true,
             rowsOf(operation.result));
  product.bias = reinterpret_cast<const float*>(operation.bias.data);
  if (operation.neuron.type != CNNNeuronType::none) {
    product.epilogue.context = &operation;
    product.epilogue.call = [](const void* self, float* values, std::size_t, std::size_t column, std::size_t count) {
      const auto& convolution = *static_cast<const operations::CNNConvolution*>(self);
      const auto* const slopes = reinterpret_cast<const float*>(convolution.slopes.data);
      applyNeuron(convolution.neuron, values, count, slopes ? slopes + column : nullptr);
    };
  }
  gemm(context.pool, product);
}

void runFullyConnected(const operations::CNNConvolutionGradientForData& operation, Context& context) {
  gemm(context.pool,
       gemmOf(rowsOf(operation.gradient), false, weightsOf(operation.weights, operation.gradient, operation.result),
              false, rowsOf(operation.result)));
}

void runFullyConnected(const operations::CNNConvolutionGradientForWeightsAndBias& operation, Context& context) {
  const auto gradient = rowsOf(operation.gradient);
  Gemm product = gemmOf(gradient, true, rowsOf(operation.source), false,
                        weightsOf(operation.resultForWeights, operation.gradient, operation.source));
  product.beta = operation.accumulates ? 1.0F : 0.0F;
  gemm(context.pool, product);
  if (!operation.resultForBias) return;
  operations::VectorView sums = operation.resultForBias;
  if (operation.accumulates) sums.data = context.scratch.take<std::byte>(sums.length * sizeof(float));
  sumColumns(gradient, sums, context);
  for (std::size_t k = 0; operation.accumulates && k < sums.length; ++k) {
    reinterpret_cast<float*>(operation.resultForBias.data)[k] += reinterpret_cast<const float*>(sums.data)[k];
  }
}

}  // namespace

const char* refusesGemm(const operations::CNNConvolution& operation, const Context&) {
  const bool enlarges = operation.window.x.divisor != 1 || operation.window.y.divisor != 1;
  return enlarges && operation.edgeMode == ImageEdgeMode::clamp ? "a window with a divisor clamps" : nullptr;
}

void runGemm(const operations::CNNConvolution& operation, Context& context) {
  if (isFullyConnected(operation.window, operation.source, operation.result, operation.groups) &&
      areRows(operation.source) && areRows(operation.result)) {
    runFullyConnected(operation, context);
    return;
  }
  const std::size_t sourceChannels = operation.source.channels / operation.groups;
  const std::size_t resultChannels = operation.result.channels / operation.groups;
  const std::size_t taps = operation.window.x.taps * operation.window.y.taps;
  const float* const weights = floatVector(operation.weights, context.scratch);
  const float* const bias = floatVector(operation.bias, context.scratch);
  const float* const slopes = floatVector(operation.slopes, context.scratch);
  std::vector<Correlation> correlations;
  const bool depthwise = isDepthwise(operation.groups, operation.source.channels, operation.result.channels);
  for (std::size_t group = 0; group < (depthwise ? 1 : operation.groups); ++group) {
    const std::size_t first = group * resultChannels;
    Correlation correlation;
    correlation.source = channelsOf(operation.source, group * sourceChannels, sourceChannels);
    correlation.result = channelsOf(operation.result, first, resultChannels);
    if (depthwise) {
      correlation.source = operation.source;
      correlation.result = operation.result;
      correlation.depthwise = true;
    }
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
  if (isFullyConnected(operation.window, operation.result, operation.gradient, operation.groups) &&
      operation.resultX == 0 && operation.resultY == 0 && areRows(operation.result) && areRows(operation.gradient)) {
    runFullyConnected(operation, context);
    return;
  }
  const std::size_t gradientChannels = operation.gradient.channels / operation.groups;
  const std::size_t resultChannels = operation.result.channels / operation.groups;
  const std::size_t taps = operation.window.x.taps * operation.window.y.taps;
  const float* const weights = floatVector(operation.weights, context.scratch);
  const operations::Window window{inverse(operation.window.x, operation.resultX),
                                  inverse(operation.window.y, operation.resultY)};
  std::vector<Correlation> correlations;
  const bool depthwise = isDepthwise(operation.groups, operation.gradient.channels, operation.result.channels);
  for (std::size_t group = 0; group < (depthwise ? 1 : operation.groups); ++group) {
    Correlation correlation;
    correlation.source = channelsOf(operation.gradient, group * gradientChannels, gradientChannels);
    correlation.result = channelsOf(operation.result, group * resultChannels, resultChannels);
    correlation.weights = weights + group * gradientChannels * taps * resultChannels;
    correlation.tapStride = resultChannels;
    correlation.channelStride = taps * resultChannels;
    correlation.columnStride = 1;
    if (depthwise) {
      correlation.source = operation.gradient;
      correlation.result = operation.result;
      correlation.depthwise = true;
      correlation.columnStride = taps;
    }
    appendPhases(correlations, correlation, window);
  }
  correlate(correlations, context);
}

const char* refusesGemm(const operations::CNNConvolutionGradientForWeightsAndBias& operation, const Context&) {
  const bool enlarges = operation.window.x.divisor != 1 || operation.window.y.divisor != 1;
  return enlarges && operation.edgeMode == ImageEdgeMode::clamp ? "a window with a divisor clamps" : nullptr;
}

void runGemm(const operations::CNNConvolutionGradientForWeightsAndBias& operation, Context& context) {
  if (isFullyConnected(operation.window, operation.source, operation.gradient, operation.groups) &&
      areRows(operation.source) && areRows(operation.gradient)) {
    runFullyConnected(operation, context);
    return;
  }
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
  const bool depthwise = isDepthwise(operation.groups, operation.source.channels, operation.gradient.channels);
  for (std::size_t group = 0; group < (depthwise ? 1 : operation.groups); ++group) {
    CorrelationGradient gradient;
    gradient.source = channelsOf(operation.source, group * sourceChannels, sourceChannels);
    gradient.gradient = channelsOf(operation.gradient, group * gradientChannels, gradientChannels);
    if (depthwise) {
      gradient.source = operation.source;
      gradient.gradient = operation.gradient;
      gradient.depthwise = true;
    }
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
